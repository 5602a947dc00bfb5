// RUN: saddle-opt %s --model-decompose-qk-norm | FileCheck %s

model.weight @q_norm from "q_norm" dims ["q_heads"] : tensor<64xbf16>
model.weight @k_norm from "k_norm" dims ["kv_heads"] : tensor<32xbf16>

// One tensor holds both sums, q in column 0 and k in column 1; each divisor is
// the number of columns summed: 64 for q, 32 for k. The norm's eps goes to
// both.
// CHECK-LABEL: func.func @one_sum_serves_both_scalings
// CHECK-SAME: %[[Q:.*]]: tensor<?x64xbf16>, %[[K:.*]]: tensor<?x32xbf16>
func.func @one_sum_serves_both_scalings(%q: tensor<?x64xbf16>, %k: tensor<?x32xbf16>) -> (tensor<?x64xbf16>, tensor<?x32xbf16>) {
  // CHECK: %[[S:.*]] = model.sum_of_squares %[[Q]], %[[K]] : (tensor<?x64xbf16>, tensor<?x32xbf16>) -> tensor<?x2xf32>
  // CHECK-NEXT: %[[QN:.*]] = model.rms_scale %[[Q]], %[[S]][0], @q_norm divisor 64 eps 5.000000e-01
  // CHECK-NEXT: %[[KN:.*]] = model.rms_scale %[[K]], %[[S]][1], @k_norm divisor 32 eps 5.000000e-01
  // CHECK-NEXT: return %[[QN]], %[[KN]]
  %qn, %kn = model.qk_norm %q, %k, @q_norm, @k_norm eps 0.5 : tensor<?x64xbf16>, tensor<?x32xbf16>
  return %qn, %kn : tensor<?x64xbf16>, tensor<?x32xbf16>
}

// Sums are f32 whatever the activations are; a known token count stays known.
// CHECK-LABEL: func.func @sums_keep_the_token_count
// CHECK: model.sum_of_squares {{.*}} -> tensor<8x2xf32>
// CHECK-NOT: model.qk_norm
func.func @sums_keep_the_token_count(%q: tensor<8x64xf32>, %k: tensor<8x32xf32>) -> (tensor<8x64xf32>, tensor<8x32xf32>) {
  %qn, %kn = model.qk_norm %q, %k, @q_norm, @k_norm eps 0.5 : tensor<8x64xf32>, tensor<8x32xf32>
  return %qn, %kn : tensor<8x64xf32>, tensor<8x32xf32>
}
