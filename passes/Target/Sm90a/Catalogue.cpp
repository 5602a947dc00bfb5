// Which planner answers for which op: those of single ops are listed here,
// those of fusions come with them.

#include "passes/Target/Sm90a/Fusions/Fusions.h"
#include "passes/Target/Sm90a/Plans/Plans.h"

#include "llvm/ADT/StringExtras.h"

using namespace mlir;
using namespace saddle::cuda;

namespace {

struct CatalogueEntry {
  llvm::StringLiteral op;
  FailureOr<KernelPlan> (*plan)(const LaunchDesc &, std::string &error);
};

// By name, so that two people who add lines do not meet at the end.
constexpr CatalogueEntry kCatalogue[] = {
    {"add", planAdd},
    {"all_gather", planAllGather},
    {"all_reduce_sum", planAllReduceSum},
    {"attention", planAttention},
    {"concat", planConcat},
    {"copy", planCopy},
    {"decay_scan", planDecayScan},
    {"divide_by_rms", planDivideByRMS},
    {"embedding", planEmbedding},
    {"encode_rows", planEncodeRows},
    {"experts", planExperts},
    {"experts_of_codes", planExpertsOfCodes},
    {"keep_next_rows", planKeepNextRows},
    {"keep_rows", planKeepRows},
    {"kept_rows", planKeptRows},
    {"kv_append", planKVAppend},
    {"linear", planLinear},
    {"linear_of_codes", planLinearOfCodes},
    {"map_tokens", planMapTokens},
    {"merge_candidates", planMergeCandidates},
    {"receive", planReceive},
    {"reduce_scatter_sum", planReduceScatterSum},
    {"rms_norm", planRMSNorm},
    {"rms_scale", planRMSScale},
    {"rope", planRope},
    {"router_topk", planRouterTopK},
    {"scale", planScale},
    {"scale_columns", planScaleColumns},
    {"scaled_add", planScaledAdd},
    {"select_rows", planSelectRows},
    {"send", planSend},
    {"shared_gate", planSharedGate},
    {"sigmoid_gate", planSigmoidGate},
    {"silu", planSiLU},
    {"softmax_topk", planSoftmaxTopK},
    {"sum_of_squares", planSumOfSquares},
    {"swiglu", planSwiGLU},
    {"swiglu_oai", planSwiGLUOAI},
    {"top_candidates", planTopCandidates},
};

} // namespace

/// Whether the body's values are those that the fusion's kernel takes.
static bool takes(const DeviceFusion &fusion, const LaunchDesc &launch) {
  std::vector<std::vector<int64_t>> values = fusion.values(launch.op);
  return llvm::equal(values, launch.body,
                     [](ArrayRef<int64_t> wanted, const LaunchStep &step) {
                       return wanted == ArrayRef<int64_t>(step.values);
                     });
}

FailureOr<KernelPlan> saddle::cuda::planKernel(const LaunchDesc &launch,
                                               std::string &error) {
  for (const CatalogueEntry &entry : kCatalogue)
    if (entry.op == launch.op)
      return entry.plan(launch, error);
  if (const DeviceFusion *fusion = fusionOf(launch.op)) {
    if (!takes(*fusion, launch)) {
      error = "the kernel of \"" + launch.op +
              "\" takes other values than the body has";
      return failure();
    }
    return fusion->plan(launch, error);
  }
  SmallVector<StringRef> known;
  for (const CatalogueEntry &entry : kCatalogue)
    known.push_back(entry.op);
  for (const DeviceFusion *fusion : deviceFusions())
    llvm::append_range(known, fusion->signatures());
  llvm::sort(known);
  error = "op \"" + launch.op + "\" has no CUDA kernel; ops that have one: " +
          llvm::join(known, ", ");
  return failure();
}
