#include "test/gpu/KernelCheck/Inputs.h"

#include "runtime/src/base/Convert.h"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstring>
#include <thread>
#include <vector>

namespace saddle::check {

/// The place below which a share `part` < 1/2 of a standard normal lies.
static double normalPlace(double part) {
  double low = -10, high = 0;
  for (int step = 0; step < 50; ++step) {
    double middle = (low + high) / 2;
    (0.5 * std::erfc(-middle / std::sqrt(2.0)) < part ? low : high) = middle;
  }
  return low;
}

Quantiles normalQuantiles(float deviation) {
  static const Quantiles standard = [] {
    Quantiles result;
    size_t count = result.size();
    for (size_t i = 0; i < count / 2; ++i) {
      result[i] = float(normalPlace((double(i) + 0.5) / double(count)));
      result[count - 1 - i] = -result[i];
    }
    return result;
  }();
  Quantiles result = standard;
  for (float &value : result)
    value *= deviation;
  return result;
}

Quantiles uniformQuantiles(float least, float most) {
  Quantiles result;
  for (size_t i = 0; i < result.size(); ++i)
    result[i] =
        least + (most - least) * (float(i) + 0.5f) / float(result.size());
  return result;
}

template <typename Element>
static void fillRow(uint8_t *row, uint64_t width, const Element *codes,
                    uint64_t seed, uint64_t counter) {
  constexpr unsigned kDraws = 5; // of 12 bits
  for (uint64_t i = 0; i < width; i += kDraws) {
    uint64_t bits = randomBits(seed, counter++);
    uint64_t held = std::min<uint64_t>(kDraws, width - i);
    for (uint64_t j = 0; j < held; ++j, bits >>= 12)
      std::memcpy(row + (i + j) * sizeof(Element), codes + bits % 4096,
                  sizeof(Element));
  }
}

template <typename Element>
static void fillCodes(const View &view, const std::vector<Element> &codes,
                      uint64_t seed, unsigned threads) {
  uint64_t width = view.shape[view.rank - 1], rows = 1;
  for (unsigned i = 0; i + 1 < view.rank; ++i)
    rows *= view.shape[i];
  // A piece of some MiB at a time.
  uint64_t each = std::max<uint64_t>(1, (uint64_t(1) << 22) / (width + 1));
  forEachIndex((rows + each - 1) / each, threads, [&](uint64_t piece) {
    uint64_t end = std::min(rows, (piece + 1) * each);
    for (uint64_t row = piece * each; row < end; ++row) {
      uint64_t offset = 0, rest = row;
      for (unsigned i = view.rank - 1; i-- > 0;) {
        offset += rest % view.shape[i] * view.strides[i];
        rest /= view.shape[i];
      }
      fillRow(view.data + offset * sizeof(Element), width, codes.data(), seed,
              row * width);
    }
  });
}

template <typename Element>
static void fillTyped(const View &view, const Quantiles &from, uint64_t seed,
                      unsigned threads) {
  std::vector<Element> codes(from.size());
  storeRow(from.data(), view.dtype, reinterpret_cast<uint8_t *>(codes.data()),
           from.size());
  fillCodes(view, codes, seed, threads);
}

void fillBytes(const View &view, unsigned least, unsigned most, uint64_t seed,
               unsigned threads) {
  std::vector<uint8_t> codes(Quantiles().size());
  for (size_t i = 0; i < codes.size(); ++i)
    codes[i] = uint8_t(least + i * (most - least + 1) / codes.size());
  fillCodes(view, codes, seed, threads);
}

void fillElements(const View &view, const Quantiles &from, uint64_t seed,
                  unsigned threads) {
  switch (elementBytes(view.dtype)) {
  case 1:
    return fillTyped<uint8_t>(view, from, seed, threads);
  case 2:
    return fillTyped<uint16_t>(view, from, seed, threads);
  default:
    return fillTyped<float>(view, from, seed, threads);
  }
}

void forEachIndex(uint64_t count, unsigned threads,
                  const std::function<void(uint64_t)> &work) {
  std::atomic<uint64_t> next{0};
  auto loop = [&] {
    for (uint64_t i; (i = next.fetch_add(1)) < count;)
      work(i);
  };
  std::vector<std::thread> helpers;
  for (uint64_t i = 1; i < std::min<uint64_t>(threads, count); ++i)
    helpers.emplace_back(loop);
  loop();
  for (std::thread &helper : helpers)
    helper.join();
}

} // namespace saddle::check
