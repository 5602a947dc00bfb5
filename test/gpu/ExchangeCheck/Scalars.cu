// Sums of a few numbers per row in the middle of a kernel.

#include "test/gpu/ExchangeCheck/Matrices.h"

using namespace saddle::device;

namespace {

template <int size>
struct ScalarsBody {
  static __device__ void run(const LaunchParams &p) {
    uint32_t n = p.step->counts[1];
    ExchangedScalars<size, 64> scalars(p, 17, n);
    uint32_t warp = blockIdx.x * (blockDim.x / 32) + threadIdx.x / 32,
             warps = gridDim.x * (blockDim.x / 32);
    auto *in = static_cast<float2 *>(p.operands[0]);
    auto *out = static_cast<float2 *>(p.operands[1]);
    for (uint32_t row = warp; row < n; row += warps)
      scalars.send(row, in[row]);
    for (uint32_t row = warp; row < n; row += warps) {
      float2 values = in[row];
      if (scalars.sum(row, values) && threadIdx.x % 32 == 0)
        out[row] = values;
    }
    scalars.finish();
  }
};

template <int size>
void checkSize(Ranks &ranks, Report &report) {
  using M = Matrix<f32, 64, 2, 2>;
  for (uint32_t n : {64u, 1u, 0u, 37u}) {
    auto in = upload<M>(ranks, ranks.places.input);
    auto out = poison<M>(ranks, ranks.places.output);
    for (uint32_t i = 0; i < n * 2; ++i) {
      std::vector<f32> terms;
      for (auto &host : in)
        terms.push_back(host.values[i]);
      for (auto &host : out)
        host.values[i] = sumOf(terms);
    }
    ranks.setStep({0, n});
    ranks.launch(run<ScalarsBody<size>>, 8, 128);
    ranks.sync();
    report(same(ranks, ranks.places.output, out),
           "scalars size " + std::to_string(size) + " n " + std::to_string(n));
  }
}

} // namespace

void saddle::device::checkScalars(Ranks &ranks, Report &report) {
  FOR_SIZE(checkSize, ranks, report);
}
