// The utility that makes weights from a seed; no op of a model.

#include "passes/Target/Sm90a/Plans/Plans.h"

using namespace saddle::cuda;

KernelPlan saddle::cuda::planSyntheticWeights() {
  KernelPlan plan;
  plan.headers = {"impls/synthetic_weights.cuh"};
  FunctionPlan only;
  only.body = "syntheticWeights(p);";
  // A full H200, whatever the number of pieces.
  only.grid[0] = kMultiprocessors * 8;
  only.block = 256;
  plan.functions.push_back(std::move(only));
  return plan;
}
