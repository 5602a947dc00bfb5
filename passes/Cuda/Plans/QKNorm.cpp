// qk_norm_rope_kv_append.

#include "passes/Cuda/Plans/Literals.h"
#include "passes/Cuda/Plans/Plans.h"

#include "llvm/Support/FormatVariadic.h"
#include "llvm/Support/MathExtras.h"

using namespace mlir;
using namespace saddle::cuda;

FailureOr<KernelPlan>
saddle::cuda::planQKNormRopeKVAppend(const LaunchDesc &launch,
                                     std::string &error) {
  const Operand &q = launch.operands[0], &k = launch.operands[1],
                &v = launch.operands[2], &out = launch.operands[7],
                &kCache = launch.operands[8], &vCache = launch.operands[9];
  for (const Operand *cache : {&kCache, &vCache})
    if (!cache->isContiguous()) {
      error = "qk_norm_rope_kv_append needs dense caches, but \"" +
              cache->name + "\" has gaps between pages, slots or heads";
      return failure();
    }
  // Units as in impls/rope.cuh, HeadUnits: vectors of a head, those of the
  // lower half of the rotated part together with their partners.
  int64_t headDim = launch.integer("head_dim"),
          half = launch.integer("rotary_dim") / 2;
  Operand cacheRows = kCache;
  cacheRows.shape = {kCache.shape[0] * kCache.shape[1], k.shape[1]};
  cacheRows.strides = {k.shape[1], 1};
  int64_t count = commonVector({&q, &k, &v, &out, &cacheRows});
  if (headDim % count != 0 || half % count != 0)
    count = 1;
  int64_t perHead = (headDim - half) / count;
  int64_t units =
      (q.shape[1] + k.shape[1]) / headDim * perHead + v.shape[1] / count;
  // What a thread's registers hold (impls/qk_norm.cuh).
  constexpr uint32_t kThreads = 512;
  int64_t most = kThreads * (32 / count);
  if (units > most) {
    error = llvm::formatv("qk_norm_rope_kv_append has {0} vectors of {1} "
                          "elements in a row, expected {2} at most",
                          units, count, most);
    return failure();
  }
  uint32_t threads = threadsFor(units, kThreads);
  FunctionPlan only;
  only.body = rotaryFrequencies(2 * half, launch.real("theta"));
  only.body += llvm::formatv(
      "qkNormRopeKVAppend<{0}, {1}, {2}, {3},\n"
      "                   {4},\n                   {5},\n"
      "                   {6},\n                   {7},\n"
      "                   {8}>(\n    p, {9}, {10}, {11}, frequencies);",
      static_cast<int>(launch.extent), threads, headDim, 2 * half,
      matrixType(q), matrixType(k), matrixType(v), matrixType(out),
      matrixType(cacheRows), floatLiteral(launch.integer("q_divisor")),
      floatLiteral(launch.integer("k_divisor")),
      floatLiteral(launch.real("eps")));
  only.block = threads;
  only.grid[0] =
      static_cast<uint32_t>(std::clamp<int64_t>(launch.capacity, 1, 132 * 16));
  KernelPlan plan;
  plan.headers = {"impls/qk_norm.cuh"};
  plan.functions.push_back(std::move(only));
  return plan;
}
