#ifndef SADDLE_PASSES_CUDA
#define SADDLE_PASSES_CUDA

include "mlir/Pass/PassBase.td"

def SpecializeKernels : Pass<"engine-specialize-kernels", "::mlir::ModuleOp"> {
  let summary = "Print a device kernel for every distinct command";
  let description = [{
    Nothing on the cpu target. On sm_90a every launch, collective, transfer and copy is looked up in the catalogue (passes/Target/Sm90a/KernelPlan.h) with its shapes,
    strides, extent and constants. Equal plans become one `engine.kernel`; the kernels of an op are printed into one `engine.module`. A plan that needs scratch memory gives its
    commands a workspace; exchange memory is one state for each partition of the ranks, as large as the largest need, the same in every program.
    Kernels of the level before are replaced.

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
  let options = [Option<"target", "target", "std::string", /*default=*/"\"cpu\"", "Target name">];
  let dependentDialects = ["::saddle::engine::EngineDialect"];
}

#endif // SADDLE_PASSES_CUDA
