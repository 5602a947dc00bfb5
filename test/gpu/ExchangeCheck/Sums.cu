// all_reduce_sum against a loop.

#include "test/gpu/ExchangeCheck/Matrices.h"

using namespace saddle::device;

namespace {

template <Way way, int size, typename In, typename Out, bool inPlace = false>
void checkSum(Ranks &ranks, Report &report, const char *name,
              std::initializer_list<uint32_t> counts) {
  using T = typename In::Element;
  using Body = SumBody<way, size, 1, In, Out>;
  static_assert(Body::kMemory <= kExchange);
  for (uint32_t n : counts) {
    // `alignment` of Matrix below 16: move the operand off.
    uint64_t shiftIn = In::isVectorizable(8 / sizeof(T)) ? 0 : sizeof(T),
             shiftOut = Out::isVectorizable(8 / sizeof(T)) ? 0 : sizeof(T);
    uint64_t from = ranks.places.input + shiftIn,
             to = inPlace ? from : ranks.places.output + shiftOut;
    auto in = upload<In>(ranks, from);
    auto out = inPlace ? in : poison<Out>(ranks, to);
    for (int64_t i = 0; i < n; ++i)
      for (int64_t j = 0; j < In::kCols; ++j) {
        float total = float(in[0].row(i)[j]);
        for (uint32_t r = 1; r < size; ++r)
          total += float(in[r].row(i)[j]);
        T sum = T(total);
        for (auto &host : out)
          host.row(i)[j] = sum;
      }
    ranks.setStep({0, n});
    uint32_t block, grid = gridFor(ranks, block);
    for (uint32_t r = 0; r < ranks.count; ++r) {
      LaunchParams p = ranks.params(r);
      p.operands[0] = ranks.at(r, from);
      p.operands[1] = ranks.at(r, to);
      ranks.launch(r, run<Body>, grid, block, p);
    }
    ranks.sync();
    report(same(ranks, to, out),
           std::string("sum ") + name + " way " + std::to_string(way) +
               " size " + std::to_string(size) + " n " + std::to_string(n) +
               " grid " + std::to_string(grid) + "x" + std::to_string(block) +
               " fault " + std::to_string(ranks.fault->reason));
  }
}

template <int size, typename In, typename Out>
void checkShape(Ranks &ranks, Report &report, const char *name,
                std::initializer_list<uint32_t> counts) {
  checkSum<OneShot, size, In, Out>(ranks, report, name, counts);
  checkSum<TwoShots, size, In, Out>(ranks, report, name, counts);
  checkSum<Bulk, size, In, Out>(ranks, report, name, counts);
  checkSum<OneShot, size, In, In, true>(ranks, report, name, counts);
  checkSum<TwoShots, size, In, In, true>(ranks, report, name, counts);
  checkSum<Bulk, size, In, In, true>(ranks, report, name, counts);
}

template <int size>
void checkSize(Ranks &ranks, Report &report) {
  checkShape<size, Matrix<bf16, 342, 3072, 3072>,
             Matrix<bf16, 342, 3072, 3072>>(ranks, report, "bf16 3072",
                                            {0, 1, 2, 8, 21, 77});
  checkShape<size, Matrix<f32, 64, 2, 2>, Matrix<f32, 64, 2, 2>>(
      ranks, report, "f32 2", {0, 1, 64, 33});
  checkShape<size, Matrix<f32, 7, 33, 37, 4>, Matrix<f32, 7, 33, 40, 4>>(
      ranks, report, "f32 33", {7, 1, 0, 5});
  checkShape<size, Matrix<bf16, 5, 35, 36, 2>, Matrix<bf16, 5, 35, 35, 2>>(
      ranks, report, "bf16 35", {5, 3, 0});
  checkShape<size, Matrix<f16, 6, 20, 24>, Matrix<f16, 6, 20, 20>>(
      ranks, report, "f16 20", {6, 3, 0});
  checkShape<size, Matrix<f32, 9, 1, 1>, Matrix<f32, 9, 1, 3>>(
      ranks, report, "f32 1", {9, 1, 0});
  // 64 MB in bulk.
  checkSum<Bulk, size, Matrix<bf16, 10922, 3072, 3072>,
           Matrix<bf16, 10922, 3072, 3072>, true>(ranks, report, "64 MB",
                                                  {10922});
}

} // namespace

void saddle::device::checkSums(Ranks &ranks, Report &report) {
  FOR_SIZE(checkSize, ranks, report);
}
