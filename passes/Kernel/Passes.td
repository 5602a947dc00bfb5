#ifndef SADDLE_PASSES_KERNEL
#define SADDLE_PASSES_KERNEL

include "mlir/Pass/PassBase.td"

def FormGroups : Pass<"kernel-form-groups", "::mlir::ModuleOp"> {
  let summary = "Group ops that one launch may do together";
  let description = [{
    Forms the fusions of the target (passes/Target/Fusion.h). Ops stay in order; a group forms only where no op in between uses what it produces or touches memory that
    it touches, and where each value plays the part that the fusion says. What the target runs as one launch is marked with the fusion's name; other groups are
    `inline`.

    | target | signature | ops | runs |
    | --- | --- | --- | --- |
    | cpu | `qk_norm[_all_reduce]_rope_kv_append` | sum of squares, its all-reduce, both scalings, both rotations, the append | `inline` |
    | | `[reduce_scatter_][all_reduce_][add_]rms_norm[_all_gather]` | the collectives that finish a branch's sum, the residual add, the next norm, the gather of its result; the sum is a result too | `inline` |
    | | `router_top_k` | the router's linear and the choice | `inline` |
    | sm_90a | `qk_norm[_all_reduce]_rope[_scale]_kv_append` | as above, with the stored scales of a cache, where q and k are normalised and rotated alike, nothing but the rotated q and the cache leaves, and the sum spans at most 32 ranks | `qk_norm_rope_kv_append` |
    | | `add_rms_norm` | the residual add and the next norm | `add_rms_norm` |
    | | `add_rms_norm_linear` | these and the quantised product that alone reads the norm, which leaves as codes | `add_rms_norm_linear` |
    | | `add_rms_norm_router` | these, the router's product and the choice of experts, for up to two tokens | `add_rms_norm_router` |
    | | `scaled_add_rms_norm` | the residual add with factors and the next norm, where nobody else reads the sum | `scaled_add_rms_norm` |
    | | `scaled_add_rms_norm_router` | these, the router's product and a softmax choice, for up to two tokens | `scaled_add_rms_norm_router` |
    | | `norm[_all_reduce]_gate` | sum of squares of one input, its all-reduce over at most 32 ranks, the scaling and the gate behind it | `norm_gate` |
    | | `norm_gate_linear` | these on one rank and the quantised product that alone reads them, which they reach as codes | `norm_gate_linear` |
    | | `silu_decay_scan` | SiLU and the recurrence that alone reads it | `silu_decay_scan` |
    | | `squares_gate` | with sunk factors: sum of squares of one input, its columns scaled, and the gate | `squares_gate` |
    | | `all_reduce_divide_by_rms` | with sunk factors: the all-reduces of a product and of those sums, and the division | `all_reduce_divide_by_rms` |
    | | `two..seven_norms_concat` | norms of one width and epsilon, and the concatenation that alone reads them: the taps of a draft | `norms_concat` |
    | | `attention_linear` | attention and the quantised product that alone reads it, for up to 16 tokens | `attention_linear` |

    The parts in brackets are absent where a topology does without; a norm alone is not a group. Groups of cpu run op by op and say in reports which ops belong
    together; where `dist.choices` of the function says reduction = "all_reduce", the collectives that finish a branch's sum stay outside.

    ```mlir
    %r = dist.all_reduce %o over #dist.axes<@mesh, ["tp"]> : tensor<8x3072xbf16>
    %s = model.add %x, %r : tensor<8x3072xbf16>
    %n = model.rms_norm %s, @norm eps 1.0e-6 : tensor<8x3072xbf16>
    ```
    becomes
    ```mlir
    %s, %n = kernel.group "all_reduce_add_rms_norm" using "inline" (%a = %o, %b = %x) : (...) -> (...) { ... }
    ```
  }];
  let dependentDialects = ["::saddle::kernel::KernelDialect"];
  let options = [Option<"target", "target", "std::string", /*default=*/"::saddle::defaultTarget().name().str()", "Target name">];
}

def VerifyGroups : Pass<"kernel-verify-groups", "::mlir::ModuleOp"> {
  let summary = "Close the kernel level: every group has an implementation";
  let description = [{
    Every `kernel.group` has an implementation, and only `model`, `dist` and `kernel` ops stand in functions.
  }];
}

#endif // SADDLE_PASSES_KERNEL
