// Which planner answers for which op.

#include "passes/Target/Sm90a/Plans/Plans.h"

#include "llvm/ADT/STLExtras.h"

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
    {"add_rms_norm", planAddRMSNorm},
    {"all_gather", planAllGather},
    {"all_reduce_sum", planAllReduceSum},
    {"attention", planAttention},
    {"copy", planCopy},
    {"embedding", planEmbedding},
    {"experts", planExperts},
    {"kv_append", planKVAppend},
    {"linear", planLinear},
    {"merge_candidates", planMergeCandidates},
    {"qk_norm_all_reduce_rope_kv_append", planQKNormAllReduceRopeKVAppend},
    {"qk_norm_rope_kv_append", planQKNormRopeKVAppend},
    {"receive", planReceive},
    {"reduce_scatter_sum", planReduceScatterSum},
    {"rms_norm", planRMSNorm},
    {"rms_scale", planRMSScale},
    {"rope", planRope},
    {"router_topk", planRouterTopK},
    {"select_rows", planSelectRows},
    {"send", planSend},
    {"sum_of_squares", planSumOfSquares},
    {"top_candidates", planTopCandidates},
};

} // namespace

FailureOr<KernelPlan> saddle::cuda::planKernel(const LaunchDesc &launch,
                                               std::string &error) {
  for (const CatalogueEntry &entry : kCatalogue)
    if (entry.op == launch.op)
      return entry.plan(launch, error);
  error = "op \"" + launch.op + "\" has no CUDA kernel; ops that have one: ";
  llvm::raw_string_ostream os(error);
  llvm::interleaveComma(kCatalogue, os,
                        [&](const CatalogueEntry &entry) { os << entry.op; });
  return failure();
}
