// Matrices of all ranks: random inputs, poisoned outputs, comparison bit for
// bit.

#ifndef SADDLE_TEST_GPU_EXCHANGECHECK_MATRICES_H
#define SADDLE_TEST_GPU_EXCHANGECHECK_MATRICES_H

#include "test/gpu/ExchangeCheck/Bodies.h"
#include "test/gpu/ExchangeCheck/Checks.h"

#include <algorithm>
#include <type_traits>

namespace saddle::device {

struct Random {
  uint64_t state = 88172645463325252ull;
  uint32_t operator()() {
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return state >> 16;
  }
};
inline Random random32;

template <typename T>
std::vector<T> randomValues(size_t count) {
  std::vector<T> values(count);
  for (T &value : values) {
    if constexpr (std::is_same_v<T, i32>)
      value = random32();
    else if constexpr (sizeof(T) == 1)
      value = T(float(int(random32() % 200) - 100));
    else
      value = T(float(int32_t(random32())) / 1e9f);
  }
  return values;
}

/// A rank's matrix on the host.
template <typename T>
struct Host {
  std::vector<T> values;
  int64_t stride;
  T *row(int64_t i) { return values.data() + i * stride; }
};

template <typename T>
T sumOf(const std::vector<T> &terms) {
  float sum = float(terms[0]);
  for (size_t i = 1; i < terms.size(); ++i)
    sum += float(terms[i]);
  return T(sum);
}

inline constexpr unsigned char kPoison = 0xcd;

/// Every rank's matrix at `place` becomes that of `hosts`.
template <typename T>
void write(Ranks &ranks, uint64_t place, const std::vector<Host<T>> &hosts) {
  for (uint32_t r = 0; r < ranks.count; ++r) {
    ranks.use(r);
    CUDA(cudaMemcpy(ranks.at(r, place), hosts[r].values.data(),
                    hosts[r].values.size() * sizeof(T),
                    cudaMemcpyHostToDevice));
  }
}
/// Random values for every rank's matrix at `place`; what they are.
template <typename M>
std::vector<Host<typename M::Element>> upload(Ranks &ranks, uint64_t place) {
  using T = typename M::Element;
  std::vector<Host<T>> hosts(ranks.count);
  for (Host<T> &host : hosts)
    host = {randomValues<T>(M::kRows * M::kStride), M::kStride};
  write(ranks, place, hosts);
  return hosts;
}
/// Bytes that no result has, and some behind the matrix. A test writes the
/// expected result into what is returned; the rest must stay.
template <typename M>
std::vector<Host<typename M::Element>> poison(Ranks &ranks, uint64_t place) {
  using T = typename M::Element;
  // 1 KiB of canary behind it.
  Host<T> poisoned = {std::vector<T>(M::kRows * M::kStride + 1024 / sizeof(T)),
                      M::kStride};
  std::memset(poisoned.values.data(), kPoison,
              poisoned.values.size() * sizeof(T));
  std::vector<Host<T>> hosts(ranks.count, poisoned);
  write(ranks, place, hosts);
  return hosts;
}
template <typename T>
bool same(Ranks &ranks, uint64_t place, std::vector<Host<T>> &expected) {
  bool good = ranks.fault->raised == 0;
  std::vector<T> got;
  for (uint32_t r = 0; r < ranks.count; ++r) {
    got.resize(expected[r].values.size());
    ranks.use(r);
    CUDA(cudaMemcpy(got.data(), ranks.at(r, place), got.size() * sizeof(T),
                    cudaMemcpyDeviceToHost));
    good &= std::memcmp(got.data(), expected[r].values.data(),
                        got.size() * sizeof(T)) == 0;
  }
  return good;
}

inline uint32_t gridFor(const Ranks &ranks, uint32_t &block) {
  // Any shape of grid must do; bulk needs no more than that all are alike. The
  // last one needs a device for each rank.
  static const uint32_t shapes[][2] = {
      {32, 256}, {16, 128}, {3, 96}, {1, 32}, {128, 256}};
  auto &shape = shapes[random32() % (ranks.devices == ranks.count ? 5 : 4)];
  block = shape[1];
  return shape[0];
}

} // namespace saddle::device

#endif // SADDLE_TEST_GPU_EXCHANGECHECK_MATRICES_H
