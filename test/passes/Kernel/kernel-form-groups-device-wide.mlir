// RUN: saddle-opt %s --kernel-form-groups=target=sm_90a | FileCheck %s

// A warp of the kernel that exchanges has a lane for each rank: 64 are too many.

dist.mesh @mesh ["tp" = 64]
model.weight @q_norm from "q_norm" dims ["q_heads"] : tensor<64xf32>
model.weight @k_norm from "k_norm" dims ["kv_heads"] : tensor<32xf32>
model.kv_cache @kv heads 2 head_dim 16 : bf16

// CHECK-LABEL: func.func @too_many_ranks_for_the_kernel
func.func @too_many_ranks_for_the_kernel(%q: tensor<8x64xbf16>, %k: tensor<8x32xbf16>, %v: tensor<8x32xbf16>, %positions: tensor<8xi32>, %context: !model.context) -> tensor<8x64xbf16> {
  // CHECK-NOT: kernel.group
  // CHECK: return
  %s = model.sum_of_squares %q, %k : (tensor<8x64xbf16>, tensor<8x32xbf16>) -> tensor<8x2xf32>
  %r = dist.all_reduce %s over <@mesh, ["tp"]> : tensor<8x2xf32>
  %qn = model.rms_scale %q, %r[0], @q_norm divisor 128 eps 1.0e-6 : tensor<8x64xbf16>, tensor<8x2xf32> -> tensor<8x64xbf16>
  %kn = model.rms_scale %k, %r[1], @k_norm divisor 64 eps 1.0e-6 : tensor<8x32xbf16>, tensor<8x2xf32> -> tensor<8x32xbf16>
  %qr = model.rope %qn, %positions head_dim 16 rotary_dim 8 theta 1.0e4 : tensor<8x64xbf16>, tensor<8xi32>
  %kr = model.rope %kn, %positions head_dim 16 rotary_dim 8 theta 1.0e4 : tensor<8x32xbf16>, tensor<8xi32>
  model.kv_append %kr, %v, @kv, %context : tensor<8x32xbf16>
  return %qr : tensor<8x64xbf16>
}
