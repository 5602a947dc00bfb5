// RUN: saddle-opt %s --dist-propagate --dist-insert-reshards | FileCheck %s

dist.mesh @mesh ["tp" = 4]
model.weight @q_proj from "q" dims ["q_heads", "hidden"] {dist.sharding = #dist.sharding<@mesh, ["tp", _]>} : tensor<64x32xbf16>
model.weight @o_proj from "o" dims ["hidden", "q_heads"] {dist.sharding = #dist.sharding<@mesh, [_, "tp"]>} : tensor<32x64xbf16>
model.weight @q_norm from "q_norm" dims ["q_heads"] {dist.sharding = #dist.sharding<@mesh, ["tp"]>} : tensor<64xbf16>
model.weight @norm from "norm" dims ["hidden"] {dist.sharding = #dist.sharding<@mesh, [_]>} : tensor<32xbf16>

// Column then row parallel: the only disagreement is the partial sum at the
// end.
// CHECK-LABEL: func.func @one_reshard_after_a_row_parallel_linear
func.func @one_reshard_after_a_row_parallel_linear(%x: tensor<8x32xbf16>) -> tensor<8x32xbf16> {
  // CHECK: %[[Q:.*]] = model.linear
  // CHECK-NEXT: %[[O:.*]] = model.linear %[[Q]], @o_proj
  %q = model.linear %x, @q_proj : tensor<8x32xbf16> -> tensor<8x64xbf16>
  %o = model.linear %q, @o_proj : tensor<8x64xbf16> -> tensor<8x32xbf16>
  // CHECK-NEXT: %[[R:.*]] = dist.reshard %[[O]] from <@mesh, [_, _] unreduced ["tp"]> to <@mesh, [_, _]>
  // CHECK-NEXT: %[[S:.*]] = model.add %{{.*}}, %[[R]]
  // CHECK-NEXT: return %[[S]]
  %s = model.add %x, %o : tensor<8x32xbf16>
  return %s : tensor<8x32xbf16>
}

// CHECK-LABEL: func.func @users_that_want_the_same_share_one_reshard
func.func @users_that_want_the_same_share_one_reshard(%x: tensor<8x64xbf16>) -> (tensor<8x32xbf16>, tensor<8x32xbf16>) {
  // A value that is whole is asked for in columns.
  // CHECK: %[[IN:.*]] = dist.reshard %{{.*}} from <@mesh, [_, _]> to <@mesh, [_, "tp"]>
  // CHECK-NEXT: %[[O:.*]] = model.linear %[[IN]], @o_proj
  %o = model.linear %x, @o_proj : tensor<8x64xbf16> -> tensor<8x32xbf16>
  // CHECK-NEXT: %[[R:.*]] = dist.reshard %[[O]]
  // CHECK-NEXT: model.add %[[R]], %[[R]]
  // CHECK-NEXT: model.rms_norm %[[R]]
  // CHECK-NOT: dist.reshard
  %s = model.add %o, %o : tensor<8x32xbf16>
  %n = model.rms_norm %o, @norm eps 0.5 : tensor<8x32xbf16>
  return %s, %n : tensor<8x32xbf16>, tensor<8x32xbf16>
}

// CHECK-LABEL: func.func @results_are_whole
func.func @results_are_whole(%x: tensor<8x32xbf16>) -> tensor<8x64xbf16> {
  // CHECK: %[[Q:.*]] = model.linear
  // CHECK-NEXT: %[[G:.*]] = dist.reshard %[[Q]] from <@mesh, [_, "tp"]> to <@mesh, [_, _]>
  // CHECK-NEXT: return %[[G]]
  %q = model.linear %x, @q_proj : tensor<8x32xbf16> -> tensor<8x64xbf16>
  return %q : tensor<8x64xbf16>
}

// The scaling wants its input as its weight lies, and whole sums.
// CHECK-LABEL: func.func @sums_are_completed_before_scaling
func.func @sums_are_completed_before_scaling(%x: tensor<8x32xbf16>) {
  // CHECK: %[[Q:.*]] = model.linear
  // CHECK-NEXT: %[[S:.*]] = model.sum_of_squares %[[Q]]
  // CHECK-NEXT: %[[R:.*]] = dist.reshard %[[S]] from <@mesh, [_, _] unreduced ["tp"]> to <@mesh, [_, _]>
  // CHECK-NEXT: model.rms_scale %[[Q]], %[[R]][0]
  %q = model.linear %x, @q_proj : tensor<8x32xbf16> -> tensor<8x64xbf16>
  %s = model.sum_of_squares %q : (tensor<8x64xbf16>) -> tensor<8x1xf32>
  %n = model.rms_scale %q, %s[0], @q_norm divisor 64 eps 0.5 : tensor<8x64xbf16>, tensor<8x1xf32> -> tensor<8x64xbf16>
  return
}
