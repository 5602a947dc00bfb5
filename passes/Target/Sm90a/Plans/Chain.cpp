// The utility behind each step of a chain; no op of a model.

#include "passes/Target/Sm90a/Plans/Plans.h"

using namespace saddle::cuda;

KernelPlan saddle::cuda::planChainSteps() {
  KernelPlan plan;
  plan.headers = {"impls/chain.cuh"};
  FunctionPlan only;
  only.body = "chainSteps(p);";
  only.block = 256;
  only.residentBlocks = 1; // registers before occupancy: it runs alone
  plan.functions.push_back(std::move(only));
  return plan;
}
