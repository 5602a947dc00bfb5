// rope and kv_append.

#include "passes/Target/Sm90a/Plans/Literals.h"
#include "passes/Target/Sm90a/Plans/Plans.h"

#include "llvm/ADT/StringExtras.h"
#include "llvm/Support/FormatVariadic.h"

#include <cmath>

using namespace mlir;
using namespace saddle::cuda;

std::string saddle::cuda::rotaryFrequencies(int64_t rotaryDim, double theta) {
  // As the reference computes them (runtime/src/cpu/Elementwise.cpp): a power
  // in double precision, rounded once.
  int64_t half = rotaryDim / 2;
  std::string text = "static __constant__ const float frequencies[] = {";
  for (int64_t j = 0; j < half; ++j) {
    text += j % 6 == 0 ? "\n    " : " ";
    text += floatLiteral(std::pow(theta, -double(j) / double(half)));
    text += j + 1 < half ? "," : "};\n";
  }
  return text;
}

FailureOr<KernelPlan> saddle::cuda::planRope(const LaunchDesc &launch,
                                             std::string &) {
  const Operand &x = launch.operands[0], &out = launch.operands[2];
  FunctionPlan only;
  only.body =
      rotaryFrequencies(launch.integer("rotary_dim"), launch.real("theta"));
  only.body += llvm::formatv(
      "rope<{0}, {1}, {2}, {3}, {4}>(p, frequencies);",
      static_cast<int>(launch.extent), launch.integer("head_dim"),
      launch.integer("rotary_dim"), matrixType(x), matrixType(out));
  only.block = threadsFor(out.shape.back() / commonVector({&x, &out}), 256);
  only.grid[0] = static_cast<uint32_t>(
      std::clamp<int64_t>(launch.capacity, 1, kMultiprocessors * 16));
  KernelPlan plan;
  plan.headers = {"impls/rope.cuh"};
  plan.functions.push_back(std::move(only));
  return plan;
}

FailureOr<KernelPlan> saddle::cuda::planKVAppend(const LaunchDesc &launch,
                                                 std::string &error) {
  const Operand &k = launch.operands[0], &v = launch.operands[1],
                &kCache = launch.operands[3], &vCache = launch.operands[4];
  for (const Operand *cache : {&kCache, &vCache})
    if (!cache->isContiguous()) {
      error = "kv_append needs dense caches, but \"" + cache->name +
              "\" has gaps between pages, slots or heads";
      return failure();
    }
  int64_t width = k.shape.back();
  FunctionPlan only;
  only.body = llvm::formatv("kvAppend<{0}, {1}, {2}, {3}>(p);",
                            static_cast<int>(launch.extent), matrixType(k),
                            matrixType(v), rowsType(kCache, width));
  only.block = 128;
  int64_t vectors = k.shape[0] * width / commonVector({&k, &v});
  only.grid[0] = static_cast<uint32_t>(
      std::clamp<int64_t>(vectors / only.block, 1, kMultiprocessors * 8));
  KernelPlan plan;
  plan.headers = {"impls/rope.cuh"};
  plan.functions.push_back(std::move(only));
  return plan;
}
