// RUN: saddle-opt %s --split-input-file --kernel-verify-groups --verify-diagnostics

func.func @no_implementation(%x: tensor<8x32xf32>) -> tensor<8x32xf32> {
  // expected-error @+1 {{group "twice" has no implementation; run kernel-form-groups}}
  %y = kernel.group "twice" (%a = %x) : (tensor<8x32xf32>) -> tensor<8x32xf32> {
    %0 = model.add %a, %a : tensor<8x32xf32>
    %1 = model.add %0, %0 : tensor<8x32xf32>
    kernel.yield %1 : tensor<8x32xf32>
  }
  return %y : tensor<8x32xf32>
}

// -----

engine.arena @activations transient bytes 4096 align 256
func.func @op_of_a_later_level() {
  // expected-error @+1 {{op 'engine.buffer' is not allowed at the kernel level}}
  %x = engine.buffer in @activations : memref<8x32xf32>
  return
}

// -----

// expected-error @+1 {{function @declared has no body}}
func.func private @declared()
