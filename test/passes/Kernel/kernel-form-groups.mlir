// RUN: saddle-opt %s --kernel-form-groups | FileCheck %s
// RUN: saddle-opt %s --kernel-form-groups=target=cpu | FileCheck %s

// The groups of the cpu target, which is the default: all run op by op.

dist.mesh @mesh ["tp" = 2]
model.weight @norm from "norm" dims ["hidden"] : tensor<32xf32>
model.weight @q_norm from "q_norm" dims ["q_heads"] : tensor<64xf32>
model.weight @k_norm from "k_norm" dims ["kv_heads"] : tensor<32xf32>
model.weight @router from "router" dims ["experts", "hidden"] : tensor<6x32xbf16>
model.weight @bias from "bias" dims ["experts"] : tensor<6xf32>
model.kv_cache @kv heads 2 head_dim 16 : bf16

//===----------------------------------------------------------------------===//
// [all_reduce_]add_rms_norm, all_reduce_rms_norm
//===----------------------------------------------------------------------===//

// The sum is a result too: the next residual needs it. Inputs are the values
// from outside in order of use.
// CHECK-LABEL: func.func @branch_residual_and_norm
// CHECK-SAME: %[[X:.*]]: tensor<8x32xbf16>, %[[O:.*]]: tensor<8x32xbf16>
func.func @branch_residual_and_norm(%x: tensor<8x32xbf16>, %o: tensor<8x32xbf16>) -> (tensor<8x32xbf16>, tensor<8x32xbf16>) {
  // CHECK-NEXT: %[[G:.*]]:2 = kernel.group "all_reduce_add_rms_norm" using "inline" (%[[A:.*]] = %[[O]], %[[B:.*]] = %[[X]])
  // CHECK-NEXT: %[[R:.*]] = dist.all_reduce %[[A]]
  // CHECK-NEXT: %[[S:.*]] = model.add %[[B]], %[[R]]
  // CHECK-NEXT: %[[N:.*]] = model.rms_norm %[[S]], @norm
  // CHECK-NEXT: kernel.yield %[[S]], %[[N]]
  // CHECK-NEXT: }
  // CHECK-NEXT: return %[[G]]#0, %[[G]]#1
  %r = dist.all_reduce %o over <@mesh, ["tp"]> : tensor<8x32xbf16>
  %s = model.add %x, %r : tensor<8x32xbf16>
  %n = model.rms_norm %s, @norm eps 0.5 : tensor<8x32xbf16>
  return %s, %n : tensor<8x32xbf16>, tensor<8x32xbf16>
}

// Nobody else wants the sum, so only the norm leaves.
// CHECK-LABEL: func.func @without_ranks_there_is_no_all_reduce
func.func @without_ranks_there_is_no_all_reduce(%x: tensor<8x32xbf16>, %o: tensor<8x32xbf16>) -> tensor<8x32xbf16> {
  // CHECK: %[[G:.*]] = kernel.group "add_rms_norm"
  // CHECK-NEXT: model.add
  // CHECK-NEXT: %[[N:.*]] = model.rms_norm
  // CHECK-NEXT: kernel.yield %[[N]] : tensor<8x32xbf16>
  // CHECK: return %[[G]]
  %s = model.add %x, %o : tensor<8x32xbf16>
  %n = model.rms_norm %s, @norm eps 0.5 : tensor<8x32xbf16>
  return %n : tensor<8x32xbf16>
}

// Behind a norm that is the residual: the sum does not leave, and what it was
// added to came from outside.
// CHECK-LABEL: func.func @scaled_residual_of_normed_rows
// CHECK-SAME: %[[X:.*]]: tensor<8x32xbf16>, %[[O:.*]]: tensor<8x32xbf16>
func.func @scaled_residual_of_normed_rows(%x: tensor<8x32xbf16>, %o: tensor<8x32xbf16>) -> tensor<8x32xbf16> {
  // CHECK-NEXT: %[[G:.*]] = kernel.group "all_reduce_scaled_add_rms_norm" using "inline" (%[[A:.*]] = %[[O]], %[[B:.*]] = %[[X]])
  // CHECK-NEXT: %[[R:.*]] = dist.all_reduce %[[A]]
  // CHECK-NEXT: %[[S:.*]] = model.scaled_add %[[B]], %[[R]] alpha 2.000000e+00 beta 5.000000e-01
  // CHECK-NEXT: %[[N:.*]] = model.rms_norm %[[S]], @norm
  // CHECK-NEXT: kernel.yield %[[N]] :
  %r = dist.all_reduce %o over <@mesh, ["tp"]> : tensor<8x32xbf16>
  %s = model.scaled_add %x, %r alpha 2.0 beta 0.5 : tensor<8x32xbf16>
  %n = model.rms_norm %s, @norm eps 0.5 : tensor<8x32xbf16>
  return %n : tensor<8x32xbf16>
}

// The first norm of the network has no residual.
// CHECK-LABEL: func.func @all_reduce_and_norm
func.func @all_reduce_and_norm(%o: tensor<8x32xbf16>) -> (tensor<8x32xbf16>, tensor<8x32xbf16>) {
  // CHECK: kernel.group "all_reduce_rms_norm"
  // CHECK-NEXT: %[[R:.*]] = dist.all_reduce
  // CHECK-NEXT: %[[N:.*]] = model.rms_norm %[[R]]
  // CHECK-NEXT: kernel.yield %[[R]], %[[N]]
  %r = dist.all_reduce %o over <@mesh, ["tp"]> : tensor<8x32xbf16>
  %n = model.rms_norm %r, @norm eps 0.5 : tensor<8x32xbf16>
  return %r, %n : tensor<8x32xbf16>, tensor<8x32xbf16>
}

// CHECK-LABEL: func.func @a_norm_alone_is_no_group
// CHECK-NOT: kernel.group
func.func @a_norm_alone_is_no_group(%x: tensor<8x32xbf16>) -> tensor<8x32xbf16> {
  %n = model.rms_norm %x, @norm eps 0.5 : tensor<8x32xbf16>
  return %n : tensor<8x32xbf16>
}

// The branch's own value has a second user, so its exchange stays outside.
// CHECK-LABEL: func.func @an_all_reduce_with_two_users_stays_outside
func.func @an_all_reduce_with_two_users_stays_outside(%x: tensor<8x32xbf16>, %o: tensor<8x32xbf16>) -> (tensor<8x32xbf16>, tensor<8x32xbf16>) {
  // CHECK: dist.all_reduce
  // CHECK-NEXT: kernel.group "add_rms_norm"
  %r = dist.all_reduce %o over <@mesh, ["tp"]> : tensor<8x32xbf16>
  %s = model.add %x, %r : tensor<8x32xbf16>
  %n = model.rms_norm %s, @norm eps 0.5 : tensor<8x32xbf16>
  return %r, %n : tensor<8x32xbf16>, tensor<8x32xbf16>
}

// Grouped ops move to the place of the last one, behind the use of the sum.
// CHECK-LABEL: func.func @a_use_in_between_forbids_a_group
// CHECK-NOT: kernel.group
func.func @a_use_in_between_forbids_a_group(%x: tensor<8x32xbf16>, %o: tensor<8x32xbf16>) -> (tensor<8x6xf32>, tensor<8x32xbf16>) {
  %s = model.add %x, %o : tensor<8x32xbf16>
  %l = model.linear %s, @router : tensor<8x32xbf16> -> tensor<8x6xf32>
  %n = model.rms_norm %s, @norm eps 0.5 : tensor<8x32xbf16>
  return %l, %n : tensor<8x6xf32>, tensor<8x32xbf16>
}

// Without memory effects in the group, others in between do not matter.
// CHECK-LABEL: func.func @an_unrelated_op_in_between_is_passed
func.func @an_unrelated_op_in_between_is_passed(%x: tensor<8x32xbf16>, %o: tensor<8x32xbf16>, %context: !model.context) -> tensor<8x32xbf16> {
  // CHECK-NEXT: model.kv_append
  // CHECK-NEXT: kernel.group "add_rms_norm"
  %s = model.add %x, %o : tensor<8x32xbf16>
  model.kv_append %x, %x, @kv, %context : tensor<8x32xbf16>
  %n = model.rms_norm %s, @norm eps 0.5 : tensor<8x32xbf16>
  return %n : tensor<8x32xbf16>
}

// Two norms of one sum: the first takes it, the second finds it taken.
// CHECK-LABEL: func.func @an_op_belongs_to_one_group
func.func @an_op_belongs_to_one_group(%x: tensor<8x32xbf16>, %o: tensor<8x32xbf16>) -> (tensor<8x32xbf16>, tensor<8x32xbf16>) {
  // CHECK: %[[G:.*]]:2 = kernel.group "add_rms_norm"
  // CHECK: }
  // CHECK-NEXT: %[[N:.*]] = model.rms_norm %[[G]]#0
  // CHECK-NEXT: return %[[G]]#1, %[[N]]
  %s = model.add %x, %o : tensor<8x32xbf16>
  %n = model.rms_norm %s, @norm eps 0.5 : tensor<8x32xbf16>
  %m = model.rms_norm %s, @norm eps 0.25 : tensor<8x32xbf16>
  return %n, %m : tensor<8x32xbf16>, tensor<8x32xbf16>
}

//===----------------------------------------------------------------------===//
// qk_norm[_all_reduce]_rope_kv_append
//===----------------------------------------------------------------------===//

// v enters, only the rotated q leaves: k and v go to the cache.
// CHECK-LABEL: func.func @qk_norm_across_ranks
func.func @qk_norm_across_ranks(%q: tensor<8x64xbf16>, %k: tensor<8x32xbf16>, %v: tensor<8x32xbf16>, %positions: tensor<8xi32>, %context: !model.context) -> tensor<8x64xbf16> {
  // CHECK: %[[G:.*]] = kernel.group "qk_norm_all_reduce_rope_kv_append" using "inline"
  // CHECK-SAME: (tensor<8x64xbf16>, tensor<8x32xbf16>, tensor<8xi32>, tensor<8x32xbf16>, !model.context) -> tensor<8x64xbf16>
  // CHECK-NEXT: model.sum_of_squares
  // CHECK-NEXT: dist.all_reduce
  // CHECK-NEXT: model.rms_scale
  // CHECK-NEXT: model.rms_scale
  // CHECK-NEXT: %[[Q:.*]] = model.rope
  // CHECK-NEXT: model.rope
  // CHECK-NEXT: model.kv_append
  // CHECK-NEXT: kernel.yield %[[Q]]
  // CHECK: model.attention %[[G]]
  %s = model.sum_of_squares %q, %k : (tensor<8x64xbf16>, tensor<8x32xbf16>) -> tensor<8x2xf32>
  %r = dist.all_reduce %s over <@mesh, ["tp"]> : tensor<8x2xf32>
  %qn = model.rms_scale %q, %r[0], @q_norm divisor 64 eps 0.5 : tensor<8x64xbf16>, tensor<8x2xf32> -> tensor<8x64xbf16>
  %kn = model.rms_scale %k, %r[1], @k_norm divisor 32 eps 0.5 : tensor<8x32xbf16>, tensor<8x2xf32> -> tensor<8x32xbf16>
  %qr = model.rope %qn, %positions head_dim 16 rotary_dim 8 theta 1.0e4 : tensor<8x64xbf16>, tensor<8xi32>
  %kr = model.rope %kn, %positions head_dim 16 rotary_dim 8 theta 1.0e4 : tensor<8x32xbf16>, tensor<8xi32>
  model.kv_append %kr, %v, @kv, %context : tensor<8x32xbf16>
  %a = model.attention %qr, @kv, %context scale 0.25 : tensor<8x64xbf16>
  return %a : tensor<8x64xbf16>
}

// CHECK-LABEL: func.func @qk_norm_on_one_rank
func.func @qk_norm_on_one_rank(%q: tensor<8x64xbf16>, %k: tensor<8x32xbf16>, %positions: tensor<8xi32>, %context: !model.context) -> tensor<8x64xbf16> {
  // CHECK: kernel.group "qk_norm_rope_kv_append"
  // CHECK-NOT: dist.all_reduce
  %s = model.sum_of_squares %q, %k : (tensor<8x64xbf16>, tensor<8x32xbf16>) -> tensor<8x2xf32>
  %qn = model.rms_scale %q, %s[0], @q_norm divisor 64 eps 0.5 : tensor<8x64xbf16>, tensor<8x2xf32> -> tensor<8x64xbf16>
  %kn = model.rms_scale %k, %s[1], @k_norm divisor 32 eps 0.5 : tensor<8x32xbf16>, tensor<8x2xf32> -> tensor<8x32xbf16>
  %qr = model.rope %qn, %positions head_dim 16 rotary_dim 8 theta 1.0e4 : tensor<8x64xbf16>, tensor<8xi32>
  %kr = model.rope %kn, %positions head_dim 16 rotary_dim 8 theta 1.0e4 : tensor<8x32xbf16>, tensor<8xi32>
  model.kv_append %kr, %k, @kv, %context : tensor<8x32xbf16>
  return %qr : tensor<8x64xbf16>
}

// The append would move behind a read of the cache.
// CHECK-LABEL: func.func @a_read_of_memory_in_between_forbids_a_group
// CHECK-NOT: kernel.group
func.func @a_read_of_memory_in_between_forbids_a_group(%q: tensor<8x64xbf16>, %k: tensor<8x32xbf16>, %positions: tensor<8xi32>, %context: !model.context) -> (tensor<8x64xbf16>, tensor<8x64xbf16>) {
  %s = model.sum_of_squares %q, %k : (tensor<8x64xbf16>, tensor<8x32xbf16>) -> tensor<8x2xf32>
  %qn = model.rms_scale %q, %s[0], @q_norm divisor 64 eps 0.5 : tensor<8x64xbf16>, tensor<8x2xf32> -> tensor<8x64xbf16>
  %kn = model.rms_scale %k, %s[1], @k_norm divisor 32 eps 0.5 : tensor<8x32xbf16>, tensor<8x2xf32> -> tensor<8x32xbf16>
  %a = model.attention %q, @kv, %context scale 0.25 : tensor<8x64xbf16>
  %qr = model.rope %qn, %positions head_dim 16 rotary_dim 8 theta 1.0e4 : tensor<8x64xbf16>, tensor<8xi32>
  %kr = model.rope %kn, %positions head_dim 16 rotary_dim 8 theta 1.0e4 : tensor<8x32xbf16>, tensor<8xi32>
  model.kv_append %kr, %k, @kv, %context : tensor<8x32xbf16>
  return %qr, %a : tensor<8x64xbf16>, tensor<8x64xbf16>
}

// The rotated q is used before the append, the last op of the group.
// CHECK-LABEL: func.func @a_use_of_the_rotated_q_in_between_forbids_a_group
// CHECK-NOT: kernel.group
func.func @a_use_of_the_rotated_q_in_between_forbids_a_group(%q: tensor<8x64xbf16>, %k: tensor<8x32xbf16>, %positions: tensor<8xi32>, %context: !model.context) -> tensor<8x64xbf16> {
  %s = model.sum_of_squares %q, %k : (tensor<8x64xbf16>, tensor<8x32xbf16>) -> tensor<8x2xf32>
  %qn = model.rms_scale %q, %s[0], @q_norm divisor 64 eps 0.5 : tensor<8x64xbf16>, tensor<8x2xf32> -> tensor<8x64xbf16>
  %kn = model.rms_scale %k, %s[1], @k_norm divisor 32 eps 0.5 : tensor<8x32xbf16>, tensor<8x2xf32> -> tensor<8x32xbf16>
  %qr = model.rope %qn, %positions head_dim 16 rotary_dim 8 theta 1.0e4 : tensor<8x64xbf16>, tensor<8xi32>
  %kr = model.rope %kn, %positions head_dim 16 rotary_dim 8 theta 1.0e4 : tensor<8x32xbf16>, tensor<8xi32>
  %t = model.add %qr, %qr : tensor<8x64xbf16>
  model.kv_append %kr, %k, @kv, %context : tensor<8x32xbf16>
  return %t : tensor<8x64xbf16>
}

// Both scalings, both rotations and the append, or nothing.
// CHECK-LABEL: func.func @a_missing_scaling_is_no_group
// CHECK-NOT: kernel.group
func.func @a_missing_scaling_is_no_group(%q: tensor<8x64xbf16>, %k: tensor<8x32xbf16>, %positions: tensor<8xi32>, %context: !model.context) -> tensor<8x64xbf16> {
  %s = model.sum_of_squares %q, %k : (tensor<8x64xbf16>, tensor<8x32xbf16>) -> tensor<8x2xf32>
  %qn = model.rms_scale %q, %s[0], @q_norm divisor 64 eps 0.5 : tensor<8x64xbf16>, tensor<8x2xf32> -> tensor<8x64xbf16>
  %qr = model.rope %qn, %positions head_dim 16 rotary_dim 8 theta 1.0e4 : tensor<8x64xbf16>, tensor<8xi32>
  %kr = model.rope %k, %positions head_dim 16 rotary_dim 8 theta 1.0e4 : tensor<8x32xbf16>, tensor<8xi32>
  model.kv_append %kr, %k, @kv, %context : tensor<8x32xbf16>
  return %qr : tensor<8x64xbf16>
}

// CHECK-LABEL: func.func @a_missing_append_is_no_group
// CHECK-NOT: kernel.group
func.func @a_missing_append_is_no_group(%q: tensor<8x64xbf16>, %k: tensor<8x32xbf16>, %positions: tensor<8xi32>) -> (tensor<8x64xbf16>, tensor<8x32xbf16>) {
  %s = model.sum_of_squares %q, %k : (tensor<8x64xbf16>, tensor<8x32xbf16>) -> tensor<8x2xf32>
  %qn = model.rms_scale %q, %s[0], @q_norm divisor 64 eps 0.5 : tensor<8x64xbf16>, tensor<8x2xf32> -> tensor<8x64xbf16>
  %kn = model.rms_scale %k, %s[1], @k_norm divisor 32 eps 0.5 : tensor<8x32xbf16>, tensor<8x2xf32> -> tensor<8x32xbf16>
  %qr = model.rope %qn, %positions head_dim 16 rotary_dim 8 theta 1.0e4 : tensor<8x64xbf16>, tensor<8xi32>
  %kr = model.rope %kn, %positions head_dim 16 rotary_dim 8 theta 1.0e4 : tensor<8x32xbf16>, tensor<8xi32>
  return %qr, %kr : tensor<8x64xbf16>, tensor<8x32xbf16>
}

// CHECK-LABEL: func.func @a_sum_of_one_input_is_no_group
// CHECK-NOT: kernel.group
func.func @a_sum_of_one_input_is_no_group(%k: tensor<8x32xbf16>, %positions: tensor<8xi32>, %context: !model.context) {
  %s = model.sum_of_squares %k : (tensor<8x32xbf16>) -> tensor<8x1xf32>
  %kn = model.rms_scale %k, %s[0], @k_norm divisor 32 eps 0.5 : tensor<8x32xbf16>, tensor<8x1xf32> -> tensor<8x32xbf16>
  %kr = model.rope %kn, %positions head_dim 16 rotary_dim 8 theta 1.0e4 : tensor<8x32xbf16>, tensor<8xi32>
  model.kv_append %kr, %k, @kv, %context : tensor<8x32xbf16>
  return
}

// The signature says that k is what is scaled, rotated and stored. Here q's
// sum scales k.
// CHECK-LABEL: func.func @scalings_of_other_values_are_no_group
// CHECK-NOT: kernel.group
func.func @scalings_of_other_values_are_no_group(%q: tensor<8x32xbf16>, %k: tensor<8x32xbf16>, %positions: tensor<8xi32>, %context: !model.context) -> tensor<8x32xbf16> {
  %s = model.sum_of_squares %q, %k : (tensor<8x32xbf16>, tensor<8x32xbf16>) -> tensor<8x2xf32>
  %qn = model.rms_scale %k, %s[0], @k_norm divisor 32 eps 0.5 : tensor<8x32xbf16>, tensor<8x2xf32> -> tensor<8x32xbf16>
  %kn = model.rms_scale %q, %s[1], @k_norm divisor 32 eps 0.5 : tensor<8x32xbf16>, tensor<8x2xf32> -> tensor<8x32xbf16>
  %qr = model.rope %qn, %positions head_dim 16 rotary_dim 8 theta 1.0e4 : tensor<8x32xbf16>, tensor<8xi32>
  %kr = model.rope %kn, %positions head_dim 16 rotary_dim 8 theta 1.0e4 : tensor<8x32xbf16>, tensor<8xi32>
  model.kv_append %kr, %k, @kv, %context : tensor<8x32xbf16>
  return %qr : tensor<8x32xbf16>
}

// Nor is storing the rotated k as values.
// CHECK-LABEL: func.func @k_stored_as_v_is_no_group
// CHECK-NOT: kernel.group
func.func @k_stored_as_v_is_no_group(%q: tensor<8x64xbf16>, %k: tensor<8x32xbf16>, %positions: tensor<8xi32>, %context: !model.context) -> tensor<8x64xbf16> {
  %s = model.sum_of_squares %q, %k : (tensor<8x64xbf16>, tensor<8x32xbf16>) -> tensor<8x2xf32>
  %qn = model.rms_scale %q, %s[0], @q_norm divisor 64 eps 0.5 : tensor<8x64xbf16>, tensor<8x2xf32> -> tensor<8x64xbf16>
  %kn = model.rms_scale %k, %s[1], @k_norm divisor 32 eps 0.5 : tensor<8x32xbf16>, tensor<8x2xf32> -> tensor<8x32xbf16>
  %qr = model.rope %qn, %positions head_dim 16 rotary_dim 8 theta 1.0e4 : tensor<8x64xbf16>, tensor<8xi32>
  %kr = model.rope %kn, %positions head_dim 16 rotary_dim 8 theta 1.0e4 : tensor<8x32xbf16>, tensor<8xi32>
  model.kv_append %k, %kr, @kv, %context : tensor<8x32xbf16>
  return %qr : tensor<8x64xbf16>
}

// CHECK-LABEL: func.func @sums_used_twice_stay_apart
func.func @sums_used_twice_stay_apart(%q: tensor<8x64xbf16>, %k: tensor<8x32xbf16>, %positions: tensor<8xi32>, %context: !model.context) -> (tensor<8x64xbf16>, tensor<8x64xbf16>) {
  // Which of the two scalings of q the norm means is not clear.
  // CHECK-NOT: kernel.group
  %s = model.sum_of_squares %q, %k : (tensor<8x64xbf16>, tensor<8x32xbf16>) -> tensor<8x2xf32>
  %qn = model.rms_scale %q, %s[0], @q_norm divisor 64 eps 0.5 : tensor<8x64xbf16>, tensor<8x2xf32> -> tensor<8x64xbf16>
  %qm = model.rms_scale %q, %s[0], @q_norm divisor 64 eps 0.25 : tensor<8x64xbf16>, tensor<8x2xf32> -> tensor<8x64xbf16>
  %kn = model.rms_scale %k, %s[1], @k_norm divisor 32 eps 0.5 : tensor<8x32xbf16>, tensor<8x2xf32> -> tensor<8x32xbf16>
  %qr = model.rope %qn, %positions head_dim 16 rotary_dim 8 theta 1.0e4 : tensor<8x64xbf16>, tensor<8xi32>
  %kr = model.rope %kn, %positions head_dim 16 rotary_dim 8 theta 1.0e4 : tensor<8x32xbf16>, tensor<8xi32>
  model.kv_append %kr, %k, @kv, %context : tensor<8x32xbf16>
  return %qr, %qm : tensor<8x64xbf16>, tensor<8x64xbf16>
}

//===----------------------------------------------------------------------===//
// norm[_all_reduce]_gate
//===----------------------------------------------------------------------===//

// CHECK-LABEL: func.func @norm_of_shared_rows_and_gate
// CHECK-SAME: %[[Y:.*]]: tensor<8x64xbf16>, %[[GATE:.*]]: tensor<8x64xbf16>
func.func @norm_of_shared_rows_and_gate(%y: tensor<8x64xbf16>, %gate: tensor<8x64xbf16>) -> tensor<8x64xbf16> {
  // CHECK-NEXT: kernel.group "norm_all_reduce_gate" using "inline" (%[[A:.*]] = %[[Y]], %[[B:.*]] = %[[GATE]])
  // CHECK-NEXT: %[[S:.*]] = model.sum_of_squares %[[A]]
  // CHECK-NEXT: %[[R:.*]] = dist.all_reduce %[[S]]
  // CHECK-NEXT: %[[N:.*]] = model.rms_scale %[[A]], %[[R]][0]
  // CHECK-NEXT: %[[G:.*]] = model.sigmoid_gate %[[N]], %[[B]]
  // CHECK-NEXT: kernel.yield %[[G]] :
  %s = model.sum_of_squares %y : (tensor<8x64xbf16>) -> tensor<8x1xf32>
  %r = dist.all_reduce %s over <@mesh, ["tp"]> : tensor<8x1xf32>
  %n = model.rms_scale %y, %r[0], @q_norm divisor 128 eps 0.5 : tensor<8x64xbf16>, tensor<8x1xf32> -> tensor<8x64xbf16>
  %g = model.sigmoid_gate %n, %gate : tensor<8x64xbf16>
  return %g : tensor<8x64xbf16>
}

// CHECK-LABEL: func.func @norm_and_gate_on_one_rank
func.func @norm_and_gate_on_one_rank(%y: tensor<8x64xbf16>, %gate: tensor<8x64xbf16>) -> tensor<8x64xbf16> {
  // CHECK: kernel.group "norm_gate"
  %s = model.sum_of_squares %y : (tensor<8x64xbf16>) -> tensor<8x1xf32>
  %n = model.rms_scale %y, %s[0], @q_norm divisor 64 eps 0.5 : tensor<8x64xbf16>, tensor<8x1xf32> -> tensor<8x64xbf16>
  %g = model.sigmoid_gate %n, %gate : tensor<8x64xbf16>
  return %g : tensor<8x64xbf16>
}

// CHECK-LABEL: func.func @a_norm_that_gates_is_no_group
// CHECK-NOT: kernel.group
func.func @a_norm_that_gates_is_no_group(%y: tensor<8x64xbf16>, %x: tensor<8x64xbf16>) -> tensor<8x64xbf16> {
  %s = model.sum_of_squares %y : (tensor<8x64xbf16>) -> tensor<8x1xf32>
  %n = model.rms_scale %y, %s[0], @q_norm divisor 64 eps 0.5 : tensor<8x64xbf16>, tensor<8x1xf32> -> tensor<8x64xbf16>
  %g = model.sigmoid_gate %x, %n : tensor<8x64xbf16>
  return %g : tensor<8x64xbf16>
}

// CHECK-LABEL: func.func @a_norm_of_other_rows_is_no_group
// CHECK-NOT: kernel.group
func.func @a_norm_of_other_rows_is_no_group(%y: tensor<8x64xbf16>, %x: tensor<8x64xbf16>) -> tensor<8x64xbf16> {
  %s = model.sum_of_squares %y : (tensor<8x64xbf16>) -> tensor<8x1xf32>
  %n = model.rms_scale %x, %s[0], @q_norm divisor 64 eps 0.5 : tensor<8x64xbf16>, tensor<8x1xf32> -> tensor<8x64xbf16>
  %g = model.sigmoid_gate %n, %x : tensor<8x64xbf16>
  return %g : tensor<8x64xbf16>
}

//===----------------------------------------------------------------------===//
// router_top_k, softmax_top_k
//===----------------------------------------------------------------------===//

// CHECK-LABEL: func.func @router_and_its_choice
func.func @router_and_its_choice(%x: tensor<8x32xbf16>) -> (tensor<8x2xf32>, tensor<8x2xi32>) {
  // CHECK: %[[G:.*]]:2 = kernel.group "router_top_k"
  // CHECK-NEXT: %[[L:.*]] = model.linear
  // CHECK-NEXT: %[[W:.*]], %[[E:.*]] = model.router %[[L]]
  // CHECK-NEXT: kernel.yield %[[W]], %[[E]]
  %l = model.linear %x, @router : tensor<8x32xbf16> -> tensor<8x6xf32>
  %w, %e = model.router %l, @bias routed_scale 1.0 : tensor<8x6xf32> -> tensor<8x2xf32>, tensor<8x2xi32>
  return %w, %e : tensor<8x2xf32>, tensor<8x2xi32>
}

// CHECK-LABEL: func.func @softmax_router_and_its_choice
func.func @softmax_router_and_its_choice(%x: tensor<8x32xbf16>) -> (tensor<8x2xf32>, tensor<8x2xi32>) {
  // CHECK: kernel.group "softmax_top_k"
  // CHECK-NEXT: %[[L:.*]] = model.linear
  // CHECK-NEXT: model.softmax_router %[[L]]
  %l = model.linear %x, @router : tensor<8x32xbf16> -> tensor<8x6xf32>
  %w, %e = model.softmax_router %l : tensor<8x6xf32> -> tensor<8x2xf32>, tensor<8x2xi32>
  return %w, %e : tensor<8x2xf32>, tensor<8x2xi32>
}

// CHECK-LABEL: func.func @logits_with_a_second_user_stay_outside
// CHECK-NOT: kernel.group
func.func @logits_with_a_second_user_stay_outside(%x: tensor<8x32xbf16>) -> (tensor<8x6xf32>, tensor<8x2xf32>, tensor<8x2xi32>) {
  %l = model.linear %x, @router : tensor<8x32xbf16> -> tensor<8x6xf32>
  %w, %e = model.router %l, @bias routed_scale 1.0 : tensor<8x6xf32> -> tensor<8x2xf32>, tensor<8x2xi32>
  return %l, %w, %e : tensor<8x6xf32>, tensor<8x2xf32>, tensor<8x2xi32>
}

// CHECK-LABEL: func.func @a_router_without_its_linear_is_no_group
// CHECK-NOT: kernel.group
func.func @a_router_without_its_linear_is_no_group(%l: tensor<8x6xf32>) -> (tensor<8x2xf32>, tensor<8x2xi32>) {
  %w, %e = model.router %l, @bias routed_scale 1.0 : tensor<8x6xf32> -> tensor<8x2xf32>, tensor<8x2xi32>
  return %w, %e : tensor<8x2xf32>, tensor<8x2xi32>
}
