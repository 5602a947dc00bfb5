#ifndef SADDLE_KERNEL_OPS
#define SADDLE_KERNEL_OPS

include "mlir/IR/BuiltinAttributes.td"
include "mlir/IR/OpBase.td"
include "mlir/Interfaces/SideEffectInterfaces.td"
include "mlir/Interfaces/ControlFlowInterfaces.td"

def Kernel_Dialect : Dialect {
  let name = "kernel";
  let cppNamespace = "::saddle::kernel";
  let summary = "How work is grouped into launches";
  let description = [{
    A fused operation is never a new op with prose for semantics: it is a group around the original ops. A target either has a launch for the group or
    runs the body op by op, so every fusion has its oracle for free. `kernel-verify-groups` closes the level.
  }];
}

def Kernel_GroupOp : Op<Kernel_Dialect, "group", [IsolatedFromAbove, RecursiveMemoryEffects, SingleBlock]> {
  let summary = "ops that one launch may do together";
  let description = [{
    The body is the definition. `signature` is what reports call the group. `implementation`, attached by `kernel-form-groups`, is what will run: `inline` runs
    the body op by op, any other name is that of the target's fusion that makes one launch of it.

    ```mlir
    %sum, %normed = kernel.group "all_reduce_add_rms_norm" using "inline" (%a = %attn, %b = %x)
        : (tensor<8x3072xbf16>, tensor<8x3072xbf16>) -> (tensor<8x3072xbf16>, tensor<8x3072xbf16>) {
      %r = dist.all_reduce %a over <@mesh, ["tp"]> : tensor<8x3072xbf16>
      %s = model.add %b, %r : tensor<8x3072xbf16>
      %n = model.rms_norm %s, @norm eps 1.0e-6 : tensor<8x3072xbf16>
      kernel.yield %s, %n : tensor<8x3072xbf16>, tensor<8x3072xbf16>
    }
    ```

    **Constraints**
    - (group_c1) the body's arguments are the operands, type by type;
    - (group_c2) the body yields the results, type by type;
    - (group_c3) the body holds at least two ops besides the yield, and no group.
  }];
  let arguments = (ins StrAttr:$signature, OptionalAttr<StrAttr>:$implementation, Variadic<AnyType>:$inputs);
  let results = (outs Variadic<AnyType>:$results);
  let regions = (region SizedRegion<1>:$body);
  let hasCustomAssemblyFormat = 1;
  let hasVerifier = 1;
}

// yield_c1: Terminator and ParentOneOf.
def Kernel_YieldOp : Op<Kernel_Dialect, "yield", [Pure, Terminator, ReturnLike, ParentOneOf<["GroupOp"]>]> {
  let summary = "the results of a group";
  let description = [{
    Ends a `kernel.group`.

    **Constraints**
    - (yield_c1) it stands at the end of a `kernel.group`.
  }];
  let arguments = (ins Variadic<AnyType>:$operands);
  let assemblyFormat = "($operands^ `:` type($operands))? attr-dict";
}

#endif // SADDLE_KERNEL_OPS
