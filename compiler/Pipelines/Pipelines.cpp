// Order is meaning here: each pipeline says what holds when it starts and what
// its last pass has proved.

#include "compiler/Pipelines/Pipelines.h"

#include "passes/Dist/Passes.h"
#include "passes/Engine/Passes.h"
#include "passes/Kernel/Passes.h"
#include "passes/Model/Passes.h"

#include "mlir/Pass/PassRegistry.h"

using namespace mlir;
using namespace saddle;

void saddle::buildModelPipeline(OpPassManager &pm,
                                const ModelPipelineOptions &options) {
  pm.addPass(model::createVerifyInput());

  // Rewrites of the one symbolic function come before it is cloned: they are
  // done once, whatever the number of buckets.
  pm.addPass(model::createDecomposeQKNorm());
  pm.addPass(model::createAssignQuantization());

  model::SpecializeBucketsOptions buckets;
  buckets.buckets.assign(options.buckets.begin(), options.buckets.end());
  buckets.specTokens = options.specTokens;
  pm.addPass(model::createSpecializeBuckets(buckets));

  // Decode functions alone, so there must be some.
  if (options.rmsFactors == kSunkRMSFactors)
    pm.addPass(model::createSinkRMSFactors());

  // From here on every shape is static.
  pm.addPass(model::createVerifyStatic());
}

void saddle::buildDistPipeline(OpPassManager &pm,
                               const TopologyOptions &options) {
  dist::AttachMeshOptions mesh;
  mesh.tp = options.tp;
  mesh.dp = options.dp;
  mesh.ep = options.ep;
  mesh.pp = options.pp;
  pm.addPass(dist::createAttachMesh(mesh));

  // A bucket is one replica's share of the step; shapes are global from here.
  pm.addPass(dist::createExpandReplicas());

  // Weights decide; values follow. Nothing here changes what is computed.
  pm.addPass(dist::createSeedShardings());
  dist::ChooseExchangesOptions choose;
  choose.reduction = options.reduction;
  choose.norm = options.norm;
  choose.experts = options.experts;
  choose.rows = options.rows;
  choose.target = options.target;
  pm.addPass(dist::createChooseExchanges(choose));
  pm.addPass(dist::createPropagate());
  pm.addPass(dist::createInsertReshards());

  // Every edge agrees now, so each op can be rewritten on its own.
  pm.addPass(dist::createPartition());
  pm.addPass(dist::createLowerReshards());

  // After partitioning, so that shares of different widths concatenate as they
  // are (docs/decisions/0003-projections-fuse-after-partition.md).
  pm.addPass(dist::createFuseProjections());

  // Who reads a gather is known now, and how it rounds what it reads.
  dist::EncodeGathersOptions encode;
  encode.target = options.target;
  pm.addPass(dist::createEncodeGathers(encode));

  // Last, so that every stage is cut from one finished program.
  dist::SplitStagesOptions stages;
  stages.layers.assign(options.layers.begin(), options.layers.end());
  pm.addPass(dist::createSplitStages(stages));
  dist::PredictStepOptions predict;
  predict.target = options.target;
  pm.addPass(dist::createPredictStep(predict));
  pm.addPass(dist::createVerifySPMD());
}

void saddle::buildKernelPipeline(OpPassManager &pm,
                                 const TargetOptions &options) {
  kernel::FormGroupsOptions groups;
  groups.target = options.target;
  pm.addPass(kernel::createFormGroups(groups));
  pm.addPass(kernel::createVerifyGroups());
}

void saddle::buildEnginePipeline(OpPassManager &pm,
                                 const TargetOptions &options) {
  engine::ConvertToEngineOptions convert;
  convert.target = options.target;
  pm.addPass(engine::createConvertToEngine(convert));
  // Strides, extents and places are known now, and the buffers that kernels
  // ask for are planned with the others.
  engine::SpecializeKernelsOptions specialize;
  specialize.target = options.target;
  specialize.tuningCandidate = options.tuningCandidate;
  pm.addPass(engine::createSpecializeKernels(specialize));
  pm.addPass(engine::createPlanMemory());
  pm.addPass(engine::createVerifyExtents());
  // Independent of the planner: a checker that shares its code proves nothing.
  pm.addPass(engine::createVerifyMemory());
}

void saddle::registerAllPipelines() {
  PassPipelineRegistration<ModelPipelineOptions>(
      "saddle-model-pipeline", "An imported module to static buckets",
      buildModelPipeline);
  PassPipelineRegistration<TopologyOptions>(
      "saddle-dist-pipeline", "Global shapes to one rank's program",
      buildDistPipeline);
  PassPipelineRegistration<TargetOptions>(
      "saddle-kernel-pipeline", "Ops to launch groups with implementations",
      buildKernelPipeline);
  PassPipelineRegistration<TargetOptions>("saddle-engine-pipeline",
                                          "Values to bytes and commands",
                                          buildEnginePipeline);
}
