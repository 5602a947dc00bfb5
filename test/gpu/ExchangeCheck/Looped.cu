// A rank alone, whose peers are itself: as saddle-bench --alone runs it.

#include "test/gpu/ExchangeCheck/Matrices.h"

using namespace saddle::device;

namespace {

/// Runs `Body` on rank 0 twice, so that both epochs are used, from random rows
/// of In to poisoned rows of Out.
template <typename Body, typename In, typename Out>
std::pair<Host<typename In::Element>, Host<typename Out::Element>>
runTwice(Ranks &looped) {
  static_assert(Body::kMemory <= kExchange);
  const Places &places = looped.places;
  looped.use(0);
  Host<typename In::Element> in = {
      randomValues<typename In::Element>(In::kRows * In::kStride), In::kStride};
  CUDA(cudaMemcpy(looped.at(0, places.input), in.values.data(),
                  in.values.size() * sizeof(in.values[0]),
                  cudaMemcpyHostToDevice));
  Host<typename Out::Element> out = {
      std::vector<typename Out::Element>(Out::kRows * Out::kStride),
      Out::kStride};
  uint64_t bytes = out.values.size() * sizeof(out.values[0]);
  for (int i = 0; i < 2; ++i) {
    CUDA(cudaMemset(looped.at(0, places.output), kPoison, bytes));
    uint32_t block, grid = gridFor(looped, block);
    looped.launch(0, run<Body>, grid, block, looped.params(0));
    looped.sync();
  }
  CUDA(cudaMemcpy(out.values.data(), looped.at(0, places.output), bytes,
                  cudaMemcpyDeviceToHost));
  return {in, out};
}

template <typename T>
bool isPoison(T value) {
  T poison;
  std::memset(&poison, kPoison, sizeof(T));
  return std::memcmp(&value, &poison, sizeof(T)) == 0;
}

template <Way way, int size, typename M>
void checkSum(Ranks &looped, Report &report, const char *name) {
  using T = typename M::Element;
  for (uint32_t rows : {uint32_t(M::kRows), uint32_t(M::kRows) / 2}) {
    looped.setStep({0, rows});
    auto [in, out] = runTwice<SumBody<way, size, 1, M, M>, M, M>(looped);
    bool good = looped.fault->raised == 0;
    for (int64_t i = 0; i < M::kRows; ++i)
      for (int64_t j = 0; j < M::kCols; ++j) {
        float total = float(in.row(i)[j]);
        for (int r = 1; r < size; ++r)
          total += float(in.row(i)[j]);
        bool isReal = i < rows;
        good &= isPoison(out.row(i)[j]) == !isReal;
        if (isReal)
          good &= out.row(i)[j] == T(total);
      }
    report(good, std::string("looped sum ") + name + " way " +
                     std::to_string(way) + " size " + std::to_string(size) +
                     " rows " + std::to_string(rows) + " fault " +
                     std::to_string(looped.fault->reason));
  }
}

template <bool bulk, int size, typename Part, typename All>
void checkJoins(Ranks &looped, Report &report, uint32_t mine, uint32_t others) {
  std::vector<uint32_t> tokens(size, others);
  tokens[0] = mine;
  looped.setStep({0, mine}, tokens);
  uint32_t all = mine + (size - 1) * others;
  std::string what = std::string(bulk ? " bulk" : " packets") + " size " +
                     std::to_string(size) + " rows " + std::to_string(mine) +
                     " and " + std::to_string(others);
  constexpr RowLayout kPacked = RowLayout::Packed;
  {
    auto [in, out] =
        runTwice<GatherBody<bulk, size, kPacked, 1, Part, All>, Part, All>(
            looped);
    bool good = looped.fault->raised == 0;
    for (uint32_t i = 0; i < all; ++i) {
      uint32_t member = i < mine ? 0 : 1 + (i - mine) / others;
      uint32_t row = i < mine ? i : (i - mine) % others;
      // Each member's row begins with another part of it.
      uint32_t turn = member * Part::kCols / size;
      for (int64_t j = 0; j < Part::kCols; ++j)
        good &=
            out.row(i)[j] == (row < mine ? in.row(row)[(j + turn) % Part::kCols]
                                         : typename All::Element(0));
    }
    good &= all == All::kRows || isPoison(out.row(all)[0]);
    report(good, "looped gather" + what);
  }
  auto [in, out] =
      runTwice<ScatterBody<bulk, size, kPacked, 1, All, Part>, All, Part>(
          looped);
  bool good = looped.fault->raised == 0;
  for (uint32_t i = 0; i < mine; ++i)
    for (int64_t j = 0; j < Part::kCols; ++j) {
      float total = float(in.row(i)[j]);
      for (int r = 1; r < size; ++r)
        total += float(in.row(i)[j]);
      good &= out.row(i)[j] == typename Part::Element(total);
    }
  good &= mine == Part::kRows || isPoison(out.row(mine)[0]);
  report(good, "looped scatter" + what);
}

template <int size, typename M>
void checkWays(Ranks &looped, Report &report, const char *name) {
  checkSum<OneShot, size, M>(looped, report, name);
  checkSum<TwoShots, size, M>(looped, report, name);
  checkSum<Bulk, size, M>(looped, report, name);
}

template <int size>
void checkSize(Ranks &looped, Report &report) {
  checkWays<size, Matrix<bf16, 64, 3072, 3072>>(looped, report, "bf16 3072");
  // Units that do not divide among the owners, and fewer than those.
  checkWays<size, Matrix<f32, 3, 10, 10>>(looped, report, "f32 10");
  checkWays<size, Matrix<f32, 2, 2, 2>>(looped, report, "f32 2");
  using Part = Matrix<bf16, 16, 512, 512>;
  using All = Matrix<bf16, 16 * size, 512, 512>;
  for (auto [mine, others] :
       {std::pair{16u, 16u}, {9u, 9u}, {3u, 7u}, {7u, 3u}, {0u, 5u}}) {
    checkJoins<false, size, Part, All>(looped, report, mine, others);
    checkJoins<true, size, Part, All>(looped, report, mine, others);
  }
}

} // namespace

void saddle::device::checkLooped(Ranks &ranks, Report &report) {
  FOR_SIZE(checkSize, ranks, report);
}
