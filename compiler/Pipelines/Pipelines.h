// The phases of the compiler as pass pipelines.

#ifndef SADDLE_COMPILER_PIPELINES_PIPELINES_H
#define SADDLE_COMPILER_PIPELINES_PIPELINES_H

#include "passes/Target/Target.h"

#include "mlir/Pass/PassManager.h"
#include "mlir/Pass/PassOptions.h"

namespace saddle {

/// tp ranks for each of pp stages; see docs/Architecture.md.
struct TopologyOptions : mlir::PassPipelineOptions<TopologyOptions> {
  Option<int64_t> tp{*this, "tp", llvm::cl::desc("Ranks of a pipeline stage"),
                     llvm::cl::init(1)};
  Option<int64_t> dp{*this, "dp",
                     llvm::cl::desc("Attention replicas inside tp"),
                     llvm::cl::init(1)};
  Option<int64_t> ep{*this, "ep", llvm::cl::desc("Expert groups inside tp"),
                     llvm::cl::init(1)};
  Option<int64_t> pp{*this, "pp", llvm::cl::desc("Pipeline stages"),
                     llvm::cl::init(1)};
  ListOption<int64_t> layers{*this, "layers",
                             llvm::cl::desc("Layers of each pipeline stage")};
  // Choices of dist-choose-exchanges; auto leaves them to the cost model.
  Option<std::string> reduction{
      *this, "reduction",
      llvm::cl::desc("How branches' sums are finished: auto, all_reduce, "
                     "deferred or reduce_scatter"),
      llvm::cl::init("auto")};
  Option<std::string> norm{
      *this, "norm",
      llvm::cl::desc("Norms before or behind a gather: auto, early or late"),
      llvm::cl::init("auto")};
  Option<std::string> experts{
      *this, "experts",
      llvm::cl::desc("Where experts' tokens come from: auto, masked or "
                     "gathered"),
      llvm::cl::init("auto")};
  Option<std::string> rows{*this, "rows",
                           llvm::cl::desc("Layout of replicas' gathered rows: "
                                          "auto, packed or padded"),
                           llvm::cl::init("auto")};
  Option<std::string> target{*this, "target",
                             llvm::cl::desc("Target that costs are for"),
                             llvm::cl::init(defaultTarget().name().str())};
};

struct ModelPipelineOptions : mlir::PassPipelineOptions<ModelPipelineOptions> {
  ListOption<int64_t> buckets{*this, "buckets",
                              llvm::cl::desc("Token counts of decode entries")};
  Option<int64_t> specTokens{
      *this, "spec-tokens",
      llvm::cl::desc("Drafted tokens of a sequence that a step verifies"),
      llvm::cl::init(0)};
  Option<std::string> rmsFactors{
      *this, "rms-factors",
      llvm::cl::desc("Where decodes divide by root mean squares that may be "
                     "divided by later: reference or sunk"),
      llvm::cl::init("reference")};
};

/// The value of rms-factors that is not the order of the published code.
inline constexpr llvm::StringLiteral kSunkRMSFactors = "sunk";

/// What the engine runs on: see docs/Architecture.md.
struct TargetOptions : mlir::PassPipelineOptions<TargetOptions> {
  Option<std::string> target{*this, "target", llvm::cl::desc("Target name"),
                             llvm::cl::init(defaultTarget().name().str())};
  Option<int64_t> tuningCandidate{
      *this, "tuning-candidate",
      llvm::cl::desc("Divide products as the candidate of this number"),
      llvm::cl::init(-1)};
};

/// An imported module to static buckets: everything that needs no devices.
void buildModelPipeline(mlir::OpPassManager &pm,
                        const ModelPipelineOptions &options);
/// Global shapes to one rank's program with collectives.
void buildDistPipeline(mlir::OpPassManager &pm, const TopologyOptions &options);
/// Ops to launch groups with implementations.
void buildKernelPipeline(mlir::OpPassManager &pm, const TargetOptions &options);
/// Values to bytes and commands.
void buildEnginePipeline(mlir::OpPassManager &pm, const TargetOptions &options);

/// Makes saddle-{model,dist,kernel,engine}-pipeline known to saddle-opt.
void registerAllPipelines();

} // namespace saddle

#endif // SADDLE_COMPILER_PIPELINES_PIPELINES_H
