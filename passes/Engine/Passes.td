#ifndef SADDLE_PASSES_ENGINE
#define SADDLE_PASSES_ENGINE

include "mlir/Pass/PassBase.td"

def ConvertToEngine : Pass<"convert-to-engine", "::mlir::ModuleOp"> {
  let summary = "Values become buffers, ops become launches";
  let description = [{
    Functions become entries of one program, in order; every tensor value becomes a buffer, a split becomes views, inline groups are opened, others become one launch as their fusion says,
    and both leave their signature on the launches; weight shards become recipes over checkpoint sources, with a recipe for each companion; caches become states; step inputs and
    logits become bound io buffers (a part of a result, as of fused projections, is copied to one). Equal kernels with equal constants are one `engine.kernel`. Nothing of the other dialects survives.

    ```mlir
    %n = model.rms_norm %s, @norm.shard eps 1.0e-6 : tensor<8x3072xbf16>
    ```
    becomes
    ```mlir
    %w = engine.global @norm.shard : memref<3072xf32>
    %n = engine.buffer in @activations : memref<8x3072xbf16>
    engine.launch @rms_norm_0(%s, %w) outs(%n) tokens at "layers.0.input_norm" : ...
    ```
  }];
  let dependentDialects = ["::saddle::engine::EngineDialect"];
  let options = [Option<"target", "target", "std::string", /*default=*/"::saddle::defaultTarget().name().str()", "Target name">];
}

def SpecializeKernels : Pass<"engine-specialize-kernels", "::mlir::ModuleOp"> {
  let summary = "Print a device kernel for every distinct command";
  let description = [{
    Asks the target (Target::specializeKernels). On cpu nothing happens. On sm_90a every launch, collective, transfer and copy is looked up in the catalogue
    (passes/Target/Sm90a/KernelPlan.h) with its shapes, strides, extent and constants. Equal plans become one `engine.kernel`; the kernels of an op are printed into one `engine.module`. A plan that needs scratch memory gives its
    commands a workspace; exchange memory is one state for each partition of the ranks, as large as the largest need, the same in every program.
    Kernels of the level before are replaced. Where a product was measured (passes/Target/Sm90a/Tuned.json) it is divided as was fastest, and a remark quotes the figures.

    ```mlir
    engine.kernel @rms_norm_0 op "rms_norm" {eps = 1.0e-6 : f64}
    ...
    engine.launch @rms_norm_0(%s, %w) outs(%n) tokens at "layers.0.input_norm" : ...
    ```
    becomes, with two buckets,
    ```mlir
    engine.module @rms_norm.cu source "..."
    engine.kernel @rms_norm_0 op "rms_norm" {eps = 1.0e-6 : f64} functions [#engine.function<@rms_norm.cu, "rms_norm_0" grid[8, 1, 1] block 256 shared 0>]
    engine.kernel @rms_norm_1 op "rms_norm" {eps = 1.0e-6 : f64} functions [#engine.function<@rms_norm.cu, "rms_norm_1" grid[64, 1, 1] block 256 shared 0>]
    ```
  }];
  let options = [
    Option<"target", "target", "std::string", /*default=*/"::saddle::defaultTarget().name().str()", "Target name">,
    Option<"tuningCandidate", "tuning-candidate", "int64_t", /*default=*/"-1",
           "Divide every product as the candidate of this number, 0 as planned; -1: as measured">
  ];
  let dependentDialects = ["::saddle::engine::EngineDialect"];
}

def PlanMemory : Pass<"engine-plan-memory", "::mlir::ModuleOp"> {
  let summary = "Give every weight, state and buffer its offset";
  let description = [{
    Weights and states lie one after another. Transient buffers live from their first to their last use (views included) and share bytes when their lives do
    not meet: greedy by size, each at the lowest offset that is free for its whole life (the "greedy by size" planner of Pisarchyk and Lee 2020). That is not
    optimal in general (the problem is NP-hard); it is within a few per cent for programs like these, and deterministic. Entries share the transient and io
    arenas, since one entry runs at a time. Arena sizes are set to what was used.

    ```mlir
    %n = engine.buffer in @activations at 49152 : memref<8x3072xbf16>
    ```
  }];
  let options = [Option<"alignment", "alignment", "int64_t", /*default=*/"256", "Alignment of every offset in bytes, a power of two">];
}

def VerifyMemory : Pass<"engine-verify-memory", "::mlir::ModuleOp"> {
  let summary = "Close the engine level: check the memory plan";
  let description = [{
    Shares no code with the planner. Replays every entry in order and keeps, for every byte range, which buffer wrote it last: a command may read only bytes
    that belong to its operand, so an overlap of two live buffers shows as a read of foreign bytes. A write to some columns counts as a write to the
    whole buffer. Also: every offset is set, aligned and inside its arena; weights and states do not overlap; no tensor type is left; nothing is read before
    it is written; no command overwrites what it reads.
  }];
  let options = [Option<"alignment", "alignment", "int64_t", /*default=*/"256", "Alignment that every offset must have">];
}

def VerifyExtents : Pass<"engine-verify-extents", "::mlir::ModuleOp"> {
  let summary = "Close the engine level: every command reads rows that were made";
  let description = [{
    Dimension 0 of a buffer is an upper bound; a run-time count says how many rows are real, and a command's extent says which count. A command must read a
    buffer with the extent with which it was last written. `select_rows` alone reads tokens to make rows. Otherwise stale rows would pass for
    results, and only when a step has fewer rows than tokens.

    ```mlir
    engine.launch @linear_0(%x, %w) outs(%y) tokens at "layers.0.o_proj" : ...
    engine.launch @add_0(%y, %r) outs(%z) rows at "layers.0.attention_residual" : ...   // error: reads rows, was written as tokens
    ```
  }];
}

#endif // SADDLE_PASSES_ENGINE
