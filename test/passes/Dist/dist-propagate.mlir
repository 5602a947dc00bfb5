// RUN: saddle-opt %s --dist-propagate | FileCheck %s

// Weights decide, values follow: one attribute entry for each result.

dist.mesh @mesh ["tp" = 4]
model.weight @table from "table" dims ["vocab", "hidden"] {dist.sharding = #dist.sharding<@mesh, ["tp", _]>} : tensor<96x32xbf16>
model.weight @whole_table from "whole_table" dims ["vocab", "hidden"] {dist.sharding = #dist.sharding<@mesh, [_, _]>} : tensor<97x32xbf16>
model.weight @norm from "norm" dims ["hidden"] {dist.sharding = #dist.sharding<@mesh, [_]>} : tensor<32xbf16>
model.weight @q_proj from "q" dims ["q_heads", "hidden"] {dist.sharding = #dist.sharding<@mesh, ["tp", _]>} : tensor<64x32xbf16>
model.weight @k_proj from "k" dims ["kv_heads", "hidden"] {dist.sharding = #dist.sharding<@mesh, ["tp":(1)2, _]>} : tensor<32x32xbf16>
model.weight @v_one from "v" dims ["kv_heads", "hidden"] {dist.sharding = #dist.sharding<@mesh, [_, _]>} : tensor<16x32xbf16>
model.weight @q_norm from "q_norm" dims ["q_heads"] {dist.sharding = #dist.sharding<@mesh, ["tp"]>} : tensor<64xbf16>
model.weight @k_norm from "k_norm" dims ["kv_heads"] {dist.sharding = #dist.sharding<@mesh, ["tp":(1)2]>} : tensor<32xbf16>
model.weight @o_proj from "o" dims ["hidden", "q_heads"] {dist.sharding = #dist.sharding<@mesh, [_, "tp"]>} : tensor<32x64xbf16>
model.weight @qkv_proj from "qkv" dims ["q_heads" x 40, "hidden"] {dist.sharding = #dist.sharding<@mesh, ["tp", _]>} : tensor<160x32xbf16>
model.recurrent_state @state heads 4 rows 16 cols 8 dim "q_heads" {dist.sharding = #dist.sharding<@mesh, ["tp"]>}
model.weight @bias from "bias" dims ["router_experts"] {dist.sharding = #dist.sharding<@mesh, [_]>} : tensor<6xf32>
model.weight @router from "router" dims ["router_experts", "hidden"] {dist.sharding = #dist.sharding<@mesh, [_, _]>} : tensor<6x32xf32>
model.weight @w1 from "{}.w1" dims ["experts", "width", "hidden"] {dist.sharding = #dist.sharding<@mesh, [_, "tp", _]>} : tensor<6x24x32xbf16>
model.weight @w3 from "{}.w3" dims ["experts", "width", "hidden"] {dist.sharding = #dist.sharding<@mesh, [_, "tp", _]>} : tensor<6x24x32xbf16>
model.weight @w2 from "{}.w2" dims ["experts", "hidden", "width"] {dist.sharding = #dist.sharding<@mesh, [_, _, "tp"]>} : tensor<6x32x24xbf16>
model.kv_cache @kv heads 2 head_dim 16 {dist.sharding = #dist.sharding<@mesh, ["tp":(1)2]>} : bf16

model.weight @shared_w1 from "s1" dims ["shared_experts", "shared_width", "hidden"] {dist.sharding = #dist.sharding<@mesh, [_, "tp", _]>} : tensor<1x12x32xbf16>
model.weight @shared_w3 from "s3" dims ["shared_experts", "shared_width", "hidden"] {dist.sharding = #dist.sharding<@mesh, [_, "tp", _]>} : tensor<1x12x32xbf16>
model.weight @shared_w2 from "s2" dims ["shared_experts", "hidden", "shared_width"] {dist.sharding = #dist.sharding<@mesh, [_, _, "tp"]>} : tensor<1x32x12xbf16>

// Rows held elsewhere contribute zero: a partial sum.
// CHECK-LABEL: func.func @embedding_of_a_split_table_is_a_partial_sum
func.func @embedding_of_a_split_table_is_a_partial_sum(%tokens: tensor<8xi32>) {
  // CHECK: model.embedding {{.*}}, @table {dist.shardings = [#dist.sharding<@mesh, [_, _] unreduced ["tp"]>]}
  %x = model.embedding %tokens, @table : tensor<8xi32> -> tensor<8x32xbf16>
  // CHECK: model.embedding {{.*}}, @whole_table {dist.shardings = [#dist.sharding<@mesh, [_, _]>]}
  %y = model.embedding %tokens, @whole_table : tensor<8xi32> -> tensor<8x32xbf16>
  return
}

// Split rows of the weight split the result's columns; a split contraction
// leaves a partial sum.
// CHECK-LABEL: func.func @column_parallel_then_row_parallel
func.func @column_parallel_then_row_parallel(%x: tensor<8x32xbf16>) {
  // CHECK: model.linear {{.*}}, @q_proj {dist.shardings = [#dist.sharding<@mesh, [_, "tp"]>]}
  %q = model.linear %x, @q_proj : tensor<8x32xbf16> -> tensor<8x64xbf16>
  // CHECK: model.linear {{.*}}, @o_proj {dist.shardings = [#dist.sharding<@mesh, [_, _] unreduced ["tp"]>]}
  %o = model.linear %q, @o_proj : tensor<8x64xbf16> -> tensor<8x32xbf16>
  // What follows wants the whole value; dist-insert-reshards will provide it.
  // CHECK: model.add {{.*}} {dist.shardings = [#dist.sharding<@mesh, [_, _]>]}
  %r = model.add %x, %o : tensor<8x32xbf16>
  // CHECK: model.rms_norm {{.*}} {dist.shardings = [#dist.sharding<@mesh, [_, _]>]}
  %n = model.rms_norm %r, @norm eps 0.5 : tensor<8x32xbf16>
  return
}

// The sum of squares goes over the whole axis even where k is split by a
// factor of it: replicas are counted, and dist-partition corrects the divisor.
// CHECK-LABEL: func.func @attention_with_replicated_kv_heads
func.func @attention_with_replicated_kv_heads(%x: tensor<8x32xbf16>, %positions: tensor<8xi32>, %context: !model.context) {
  %q = model.linear %x, @q_proj : tensor<8x32xbf16> -> tensor<8x64xbf16>
  // CHECK: model.linear {{.*}}, @k_proj {dist.shardings = [#dist.sharding<@mesh, [_, "tp":(1)2]>]}
  %k = model.linear %x, @k_proj : tensor<8x32xbf16> -> tensor<8x32xbf16>
  // CHECK: model.sum_of_squares {{.*}} {dist.shardings = [#dist.sharding<@mesh, [_, _] unreduced ["tp"]>]}
  %s = model.sum_of_squares %q, %k : (tensor<8x64xbf16>, tensor<8x32xbf16>) -> tensor<8x2xf32>
  // CHECK: model.rms_scale {{.*}}, @q_norm {{.*}} {dist.shardings = [#dist.sharding<@mesh, [_, "tp"]>]}
  %qn = model.rms_scale %q, %s[0], @q_norm divisor 64 eps 0.5 : tensor<8x64xbf16>, tensor<8x2xf32> -> tensor<8x64xbf16>
  // CHECK: model.rms_scale {{.*}}, @k_norm {{.*}} {dist.shardings = [#dist.sharding<@mesh, [_, "tp":(1)2]>]}
  %kn = model.rms_scale %k, %s[1], @k_norm divisor 32 eps 0.5 : tensor<8x32xbf16>, tensor<8x2xf32> -> tensor<8x32xbf16>
  // CHECK: model.rope {{.*}} {dist.shardings = [#dist.sharding<@mesh, [_, "tp"]>]}
  %qr = model.rope %qn, %positions head_dim 16 rotary_dim 8 theta 1.0e4 : tensor<8x64xbf16>, tensor<8xi32>
  // CHECK: model.rope {{.*}} {dist.shardings = [#dist.sharding<@mesh, [_, "tp":(1)2]>]}
  %kr = model.rope %kn, %positions head_dim 16 rotary_dim 8 theta 1.0e4 : tensor<8x32xbf16>, tensor<8xi32>
  // CHECK: model.kv_append
  // CHECK-NOT: dist.shardings
  // CHECK-SAME: : tensor<8x32xbf16>
  model.kv_append %kr, %k, @kv, %context : tensor<8x32xbf16>
  // CHECK: model.attention {{.*}} {dist.shardings = [#dist.sharding<@mesh, [_, "tp"]>]}
  %a = model.attention %qr, @kv, %context scale 0.25 : tensor<8x64xbf16>
  return
}

// What works element by element stays as it is split.
// CHECK-LABEL: func.func @pointwise_ops_pass_splits_through
func.func @pointwise_ops_pass_splits_through(%x: tensor<8x32xbf16>) {
  %g = model.linear %x, @q_proj : tensor<8x32xbf16> -> tensor<8x64xbf16>
  // CHECK: model.swiglu_oai {{.*}} {dist.shardings = [#dist.sharding<@mesh, [_, "tp"]>]}
  %y = model.swiglu_oai %g, %g alpha 1.702 limit 7.0 : tensor<8x64xbf16>
  // CHECK: model.swiglu_oai {{.*}} {dist.shardings = [#dist.sharding<@mesh, [_, _]>]}
  %z = model.swiglu_oai %x, %x alpha 1.702 limit 7.0 : tensor<8x32xbf16>
  return
}

// Heads of a scan do not mix: it is split as its state is, and so are the norm
// behind it, whose sum is partial, and the gate.
// CHECK-LABEL: func.func @scans_are_split_by_heads
func.func @scans_are_split_by_heads(%x: tensor<8x32xbf16>, %context: !model.context) {
  %qkv = model.linear %x, @qkv_proj : tensor<8x32xbf16> -> tensor<8x160xbf16>
  // CHECK: model.silu {{.*}} {dist.shardings = [#dist.sharding<@mesh, [_, "tp"]>]}
  %a = model.silu %qkv : tensor<8x160xbf16>
  // CHECK: model.decay_scan {{.*}} {dist.shardings = [#dist.sharding<@mesh, [_, "tp"]>]}
  %y = model.decay_scan %a, @state, %context heads 4 rate 1.0 : tensor<8x160xbf16> -> tensor<8x32xbf16>
  // CHECK: model.sum_of_squares {{.*}} {dist.shardings = [#dist.sharding<@mesh, [_, _] unreduced ["tp"]>]}
  %s = model.sum_of_squares %y : (tensor<8x32xbf16>) -> tensor<8x1xf32>
  // CHECK: model.sigmoid_gate {{.*}} {dist.shardings = [#dist.sharding<@mesh, [_, "tp"]>]}
  %g = model.sigmoid_gate %y, %y : tensor<8x32xbf16>
  return
}

// CHECK-LABEL: func.func @softmax_routers_see_everything
func.func @softmax_routers_see_everything(%x: tensor<8x32xf32>) {
  %l = model.linear %x, @router : tensor<8x32xf32> -> tensor<8x6xf32>
  // CHECK: model.softmax_router {{.*}} {dist.shardings = [#dist.sharding<@mesh, [_, _]>, #dist.sharding<@mesh, [_, _]>]}
  %w, %e = model.softmax_router %l : tensor<8x6xf32> -> tensor<8x2xf32>, tensor<8x2xi32>
  return
}

// Partial sums over the same ranks are finished as one; others each by itself.
// CHECK-LABEL: func.func @a_shared_expert_joins_the_partial_sum
func.func @a_shared_expert_joins_the_partial_sum(%x: tensor<8x32xbf16>, %w: tensor<8x2xf32>, %e: tensor<8x2xi32>, %l: tensor<8x1xf32>) {
  // CHECK: model.shared_gate {{.*}} {dist.shardings = [#dist.sharding<@mesh, [_, _]>, #dist.sharding<@mesh, [_, _]>, #dist.sharding<@mesh, [_, _]>]}
  %r, %c, %zero = model.shared_gate %w, %l : tensor<8x2xf32>, tensor<8x1xf32> -> tensor<8x1xi32>
  %y = model.experts %x, %r, %e gate_up [@w1, @w3] down @w2 : tensor<8x32xbf16>, tensor<8x2xf32>, tensor<8x2xi32>
  // CHECK: model.experts {{.*}} down @shared_w2 {dist.shardings = [#dist.sharding<@mesh, [_, _] unreduced ["tp"]>]}
  %s = model.experts %x, %c, %zero gate_up [@shared_w1, @shared_w3] down @shared_w2 : tensor<8x32xbf16>, tensor<8x1xf32>, tensor<8x1xi32>
  // CHECK: model.branch_sum {{.*}} {dist.shardings = [#dist.sharding<@mesh, [_, _] unreduced ["tp"]>]}
  %both = model.branch_sum %y, %s : tensor<8x32xbf16>
  // CHECK: model.branch_sum {{.*}} {dist.shardings = [#dist.sharding<@mesh, [_, _]>]}
  %other = model.branch_sum %both, %x : tensor<8x32xbf16>
  return
}

// CHECK-LABEL: func.func @scaled_sums_need_whole_rows
func.func @scaled_sums_need_whole_rows(%x: tensor<8x32xbf16>) {
  // CHECK: model.scaled_add {{.*}} {dist.shardings = [#dist.sharding<@mesh, [_, _]>]}
  %r = model.scaled_add %x, %x alpha 2.0 beta 0.5 : tensor<8x32xbf16>
  return
}

// Sums of replicated inputs are complete on every rank.
// CHECK-LABEL: func.func @sum_of_replicated_inputs_is_complete
func.func @sum_of_replicated_inputs_is_complete(%x: tensor<8x32xbf16>) {
  // CHECK: model.linear {{.*}}, @v_one {dist.shardings = [#dist.sharding<@mesh, [_, _]>]}
  %v = model.linear %x, @v_one : tensor<8x32xbf16> -> tensor<8x16xbf16>
  // CHECK: model.sum_of_squares {{.*}} {dist.shardings = [#dist.sharding<@mesh, [_, _]>]}
  %s = model.sum_of_squares %x, %v : (tensor<8x32xbf16>, tensor<8x16xbf16>) -> tensor<8x2xf32>
  return
}

// Each rank chooses for its share of the rows where dist-choose-exchanges says
// so, and the experts gather the choices. A split weight has no say in that.
// CHECK-LABEL: func.func @routers_of_own_rows
func.func @routers_of_own_rows(%x: tensor<8x32xbf16>) {
  // CHECK: model.linear {{.*}} {dist.shardings = [#dist.sharding<@mesh, ["tp", _]>], dist.token_axis
  %l = model.linear %x, @router {dist.token_axis = #dist.axes<@mesh, ["tp"]>} : tensor<8x32xbf16> -> tensor<8x6xf32>
  // CHECK: model.router {{.*}} {dist.shardings = [#dist.sharding<@mesh, ["tp", _]>, #dist.sharding<@mesh, ["tp", _]>], dist.token_axis
  %w, %e = model.router %l, @bias routed_scale 1.0 {dist.token_axis = #dist.axes<@mesh, ["tp"]>} : tensor<8x6xf32> -> tensor<8x2xf32>, tensor<8x2xi32>
  // CHECK: model.experts {{.*}} {dist.shardings = [#dist.sharding<@mesh, [_, _] unreduced ["tp"]>]}
  %y = model.experts %x, %w, %e gate_up [@w1, @w3] down @w2 : tensor<8x32xbf16>, tensor<8x2xf32>, tensor<8x2xi32>
  // CHECK: model.linear {{.*}}, @q_proj {dist.shardings = [#dist.sharding<@mesh, [_, "tp"]>], dist.token_axis
  %q = model.linear %x, @q_proj {dist.token_axis = #dist.axes<@mesh, ["tp"]>} : tensor<8x32xbf16> -> tensor<8x64xbf16>
  return
}

// CHECK-LABEL: func.func @experts_leave_a_partial_sum
func.func @experts_leave_a_partial_sum(%x: tensor<8x32xbf16>, %rows: tensor<4xi32>) {
  %l = model.linear %x, @router : tensor<8x32xbf16> -> tensor<8x6xf32>
  // Both results of the router are whole.
  // CHECK: model.router {{.*}} {dist.shardings = [#dist.sharding<@mesh, [_, _]>, #dist.sharding<@mesh, [_, _]>]}
  %w, %e = model.router %l, @bias routed_scale 1.0 : tensor<8x6xf32> -> tensor<8x2xf32>, tensor<8x2xi32>
  // CHECK: model.experts {{.*}} {dist.shardings = [#dist.sharding<@mesh, [_, _] unreduced ["tp"]>]}
  %y = model.experts %x, %w, %e gate_up [@w1, @w3] down @w2 : tensor<8x32xbf16>, tensor<8x2xf32>, tensor<8x2xi32>
  // CHECK: model.select_rows {{.*}} {dist.shardings = [#dist.sharding<@mesh, [_, _]>]}
  %last = model.select_rows %y, %rows : tensor<8x32xbf16>, tensor<4xi32> -> tensor<4x32xbf16>
  return
}
