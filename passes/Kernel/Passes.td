#ifndef SADDLE_PASSES_KERNEL
#define SADDLE_PASSES_KERNEL

include "mlir/Pass/PassBase.td"

def FormGroups : Pass<"kernel-form-groups", "::mlir::ModuleOp"> {
  let summary = "Group ops that one launch may do together";
  let description = [{
    | signature | ops |
    | --- | --- |
    | `qk_norm[_all_reduce]_rope_kv_append` | sum of squares, its all-reduce, both scalings, both rotations, the append |
    | `[reduce_scatter_][all_reduce_][add_]rms_norm[_all_gather]` | the collectives that finish a branch's sum, the residual add, the next norm, the gather of its result; the sum is a result too |
    | `router_top_k` | the router's linear and the choice |

    The parts in brackets are absent where a topology does without; a norm alone is not a group. Ops stay in order; a group forms only where no op in
    between uses what it produces or touches memory that it touches, and where each value plays the part that the signature says. Where `dist.choices` of the
    function says reduction = "all_reduce", the collectives that finish a branch's sum stay outside.

    ```mlir
    %r = dist.all_reduce %o over #dist.axes<@mesh, ["tp"]> : tensor<8x3072xbf16>
    %s = model.add %x, %r : tensor<8x3072xbf16>
    %n = model.rms_norm %s, @norm eps 1.0e-6 : tensor<8x3072xbf16>
    ```
    becomes
    ```mlir
    %s, %n = kernel.group "all_reduce_add_rms_norm" (%a = %o, %b = %x) : (...) -> (...) { ... }
    ```
  }];
  let dependentDialects = ["::saddle::kernel::KernelDialect"];
}

def Select : Pass<"kernel-select", "::mlir::ModuleOp"> {
  let summary = "Choose what runs each group";
  let description = [{
    On the CPU target every group runs `inline`: its body, op by op, which is also the definition that other targets are tested against. sm_90a has kernels for
    some signatures (`kernel`): `add_rms_norm`, and `qk_norm[_all_reduce]_rope_kv_append` where q and k are normalised and rotated alike and the sum spans at most 32 ranks. Where it has none for a whole group, but one for what is left
    without the collectives at the group's ends, these leave the group. Other groups are `inline`.
  }];
  let options = [Option<"target", "target", "std::string", /*default=*/"\"cpu\"", "Target name">];
}

def VerifyGroups : Pass<"kernel-verify-groups", "::mlir::ModuleOp"> {
  let summary = "Close the kernel level: every group has an implementation";
  let description = [{
    Every `kernel.group` has an implementation, and only `model`, `dist` and `kernel` ops stand in functions.
  }];
}

#endif // SADDLE_PASSES_KERNEL
