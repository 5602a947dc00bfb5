// RUN: saddle-opt %s --kernel-form-groups=target=sm_90a | FileCheck %s

dist.mesh @mesh ["tp" = 2]
model.weight @norm from "norm" dims ["hidden"] : tensor<32xf32>
model.weight @q_norm from "q_norm" dims ["q_heads"] : tensor<64xf32>
model.weight @k_norm from "k_norm" dims ["kv_heads"] : tensor<32xf32>
model.weight @router from "router" dims ["experts", "hidden"] : tensor<6x32xbf16>
model.weight @scaled from "s.weight" dims ["q_heads", "hidden"] stored <scale f32 [128, 128] from "s.weight_scale_inv"> : tensor<64x32xf8E4M3FN>
model.weight @wide_norm from "wide_norm" dims ["hidden"] : tensor<128xf32>
model.weight @wide_router from "wide_router" dims ["experts", "hidden"] : tensor<6x128xf32>
model.weight @bias from "bias" dims ["experts"] : tensor<6xf32>
model.kv_cache @kv heads 2 head_dim 16 : bf16
model.kv_cache @other_kv heads 2 head_dim 16 : bf16
model.weight @wide from "wide.weight" dims ["q_heads", "hidden"] stored <scale f32 [128, 128] from "wide.weight_scale_inv"> : tensor<64x64xf8E4M3FN>
model.weight @k_scale from "k_scale" dims [""] : tensor<1xf32>
model.weight @v_scale from "v_scale" dims [""] : tensor<1xf32>
model.recurrent_state @state heads 2 rows 16 cols 16 dim "q_heads"

// CHECK-LABEL: func.func @residual_and_norm_are_one_kernel
func.func @residual_and_norm_are_one_kernel(%x: tensor<8x32xbf16>, %o: tensor<8x32xbf16>) -> (tensor<8x32xbf16>, tensor<8x32xbf16>) {
  // CHECK: kernel.group "add_rms_norm" using "add_rms_norm"
  %s = model.add %x, %o : tensor<8x32xbf16>
  %n = model.rms_norm %s, @norm eps 0.5 : tensor<8x32xbf16>
  return %s, %n : tensor<8x32xbf16>, tensor<8x32xbf16>
}

// Post-norm: the norm is the next residual, and nobody else reads the sum, which the kernel would write for nothing.
// CHECK-LABEL: func.func @a_norm_that_is_the_residual_stays_alone
func.func @a_norm_that_is_the_residual_stays_alone(%x: tensor<8x32xbf16>, %o: tensor<8x32xbf16>) -> (tensor<8x32xbf16>, tensor<8x64xbf16>, tensor<8x32xbf16>) {
  // CHECK-NEXT: model.add
  // CHECK-NEXT: model.rms_norm
  // CHECK-NOT: kernel.group
  // CHECK: return
  %s = model.add %x, %o : tensor<8x32xbf16>
  %n = model.rms_norm %s, @norm eps 0.5 : tensor<8x32xbf16>
  %q = model.linear %n, @scaled act_group 32 : tensor<8x32xbf16> -> tensor<8x64xbf16>
  // Factors and a sum that others read: no kernel has both.
  %t = model.scaled_add %n, %o alpha 2.0 beta 1.0 : tensor<8x32xbf16>
  %m = model.rms_norm %t, @norm eps 0.5 : tensor<8x32xbf16>
  return %n, %q, %t : tensor<8x32xbf16>, tensor<8x64xbf16>, tensor<8x32xbf16>
}

// With factors there is a kernel that keeps the sum to itself.
// CHECK-LABEL: func.func @factors_and_a_norm_that_is_the_residual
func.func @factors_and_a_norm_that_is_the_residual(%x: tensor<8x32xbf16>, %o: tensor<8x32xbf16>) -> tensor<8x32xbf16> {
  // CHECK-NEXT: %[[G:.*]] = kernel.group "scaled_add_rms_norm" using "scaled_add_rms_norm"
  // CHECK: return %[[G]]
  %s = model.scaled_add %x, %o alpha 2.0 beta 1.0 : tensor<8x32xbf16>
  %n = model.rms_norm %s, @norm eps 0.5 : tensor<8x32xbf16>
  return %n : tensor<8x32xbf16>
}

// The taps of a draft.
// CHECK-LABEL: func.func @norms_that_are_joined_are_one_kernel
func.func @norms_that_are_joined_are_one_kernel(%x: tensor<8x32xbf16>, %y: tensor<8x32xbf16>, %z: tensor<8x32xbf16>) -> tensor<8x96xbf16> {
  // CHECK-NEXT: %[[G:.*]] = kernel.group "three_norms_concat" using "norms_concat"
  // CHECK: return %[[G]]
  %a = model.rms_norm %x, @norm eps 0.5 : tensor<8x32xbf16>
  %b = model.rms_norm %y, @norm eps 0.5 : tensor<8x32xbf16>
  %c = model.rms_norm %z, @norm eps 0.5 : tensor<8x32xbf16>
  %d = model.concat %a, %b, %c : (tensor<8x32xbf16>, tensor<8x32xbf16>, tensor<8x32xbf16>) -> tensor<8x96xbf16>
  return %d : tensor<8x96xbf16>
}

// Others read a norm, epsilons differ, or one of the joined rows is no norm.
// CHECK-LABEL: func.func @unlike_rows_are_joined_alone
func.func @unlike_rows_are_joined_alone(%x: tensor<8x32xbf16>, %y: tensor<8x32xbf16>) -> (tensor<8x64xbf16>, tensor<8x64xbf16>, tensor<8x64xbf16>, tensor<8x32xbf16>) {
  // CHECK-NOT: kernel.group
  // CHECK: return
  %a = model.rms_norm %x, @norm eps 0.5 : tensor<8x32xbf16>
  %b = model.rms_norm %y, @norm eps 0.5 : tensor<8x32xbf16>
  %read = model.concat %a, %b : (tensor<8x32xbf16>, tensor<8x32xbf16>) -> tensor<8x64xbf16>
  %c = model.rms_norm %x, @norm eps 0.5 : tensor<8x32xbf16>
  %d = model.rms_norm %y, @norm eps 0.25 : tensor<8x32xbf16>
  %unlike = model.concat %c, %d : (tensor<8x32xbf16>, tensor<8x32xbf16>) -> tensor<8x64xbf16>
  %e = model.rms_norm %x, @norm eps 0.5 : tensor<8x32xbf16>
  %plain = model.concat %e, %y : (tensor<8x32xbf16>, tensor<8x32xbf16>) -> tensor<8x64xbf16>
  return %read, %unlike, %plain, %b : tensor<8x64xbf16>, tensor<8x64xbf16>, tensor<8x64xbf16>, tensor<8x32xbf16>
}

// CHECK-LABEL: func.func @a_softmax_router_goes_with_its_norm
func.func @a_softmax_router_goes_with_its_norm(%x: tensor<2x128xbf16>, %o: tensor<2x128xbf16>) -> (tensor<2x128xbf16>, tensor<2x2xf32>, tensor<2x2xi32>) {
  // CHECK-NEXT: %[[G:.*]]:3 = kernel.group "scaled_add_rms_norm_router" using "scaled_add_rms_norm_router"
  // CHECK: return %[[G]]#0, %[[G]]#1, %[[G]]#2
  %s = model.scaled_add %x, %o alpha 2.0 beta 1.0 : tensor<2x128xbf16>
  %n = model.rms_norm %s, @wide_norm eps 0.5 : tensor<2x128xbf16>
  %l = model.linear %n, @wide_router : tensor<2x128xbf16> -> tensor<2x6xf32>
  %w, %e = model.softmax_router %l : tensor<2x6xf32> -> tensor<2x2xf32>, tensor<2x2xi32>
  return %n, %w, %e : tensor<2x128xbf16>, tensor<2x2xf32>, tensor<2x2xi32>
}

// The norm behind a recurrence and the gate of its output; the sums, of all ranks or not, stay inside.
// CHECK-LABEL: func.func @norm_and_gate_are_one_kernel
func.func @norm_and_gate_are_one_kernel(%y: tensor<8x64xbf16>, %g: tensor<8x64xbf16>) -> (tensor<8x64xbf16>, tensor<8x64xbf16>) {
  // CHECK-NEXT: %[[G:.*]] = kernel.group "norm_gate" using "norm_gate"
  // CHECK: %[[R:.*]] = kernel.group "norm_all_reduce_gate" using "norm_gate"
  // CHECK: return %[[G]], %[[R]]
  %s = model.sum_of_squares %y : (tensor<8x64xbf16>) -> tensor<8x1xf32>
  %n = model.rms_scale %y, %s[0], @q_norm divisor 64 eps 0.5 : tensor<8x64xbf16>, tensor<8x1xf32> -> tensor<8x64xbf16>
  %out = model.sigmoid_gate %n, %g : tensor<8x64xbf16>
  %t = model.sum_of_squares %out : (tensor<8x64xbf16>) -> tensor<8x1xf32>
  %r = dist.all_reduce %t over <@mesh, ["tp"]> : tensor<8x1xf32>
  %m = model.rms_scale %out, %r[0], @q_norm divisor 128 eps 0.5 : tensor<8x64xbf16>, tensor<8x1xf32> -> tensor<8x64xbf16>
  %two = model.sigmoid_gate %m, %g : tensor<8x64xbf16>
  return %out, %two : tensor<8x64xbf16>, tensor<8x64xbf16>
}

// With the product that alone reads the gated rows and quantises what it reads, where a rank has whole rows.
// CHECK-LABEL: func.func @a_quantised_product_goes_with_norm_and_gate
func.func @a_quantised_product_goes_with_norm_and_gate(%y: tensor<8x32xbf16>, %g: tensor<8x32xbf16>) -> (tensor<8x64xbf16>, tensor<8x64xbf16>) {
  // CHECK-NEXT: %[[G:.*]] = kernel.group "norm_gate_linear" using "norm_gate_linear"
  // CHECK: kernel.group "norm_all_reduce_gate" using "norm_gate"
  // CHECK: %[[L:.*]] = model.linear
  // CHECK: return %[[G]], %[[L]]
  %s = model.sum_of_squares %y : (tensor<8x32xbf16>) -> tensor<8x1xf32>
  %n = model.rms_scale %y, %s[0], @norm divisor 32 eps 0.5 : tensor<8x32xbf16>, tensor<8x1xf32> -> tensor<8x32xbf16>
  %o = model.sigmoid_gate %n, %g : tensor<8x32xbf16>
  %q = model.linear %o, @scaled act_group 32 : tensor<8x32xbf16> -> tensor<8x64xbf16>
  %t = model.sum_of_squares %g : (tensor<8x32xbf16>) -> tensor<8x1xf32>
  %r = dist.all_reduce %t over <@mesh, ["tp"]> : tensor<8x1xf32>
  %m = model.rms_scale %g, %r[0], @norm divisor 64 eps 0.5 : tensor<8x32xbf16>, tensor<8x1xf32> -> tensor<8x32xbf16>
  %two = model.sigmoid_gate %m, %y : tensor<8x32xbf16>
  %p = model.linear %two, @scaled act_group 32 : tensor<8x32xbf16> -> tensor<8x64xbf16>
  return %q, %p : tensor<8x64xbf16>, tensor<8x64xbf16>
}

// CHECK-LABEL: func.func @a_norm_that_others_read_runs_op_by_op
func.func @a_norm_that_others_read_runs_op_by_op(%y: tensor<8x64xbf16>, %g: tensor<8x64xbf16>) -> (tensor<8x64xbf16>, tensor<8x64xbf16>) {
  // CHECK-NOT: kernel.group
  // CHECK: return
  %s = model.sum_of_squares %y : (tensor<8x64xbf16>) -> tensor<8x1xf32>
  %n = model.rms_scale %y, %s[0], @q_norm divisor 64 eps 0.5 : tensor<8x64xbf16>, tensor<8x1xf32> -> tensor<8x64xbf16>
  %out = model.sigmoid_gate %n, %g : tensor<8x64xbf16>
  return %out, %n : tensor<8x64xbf16>, tensor<8x64xbf16>
}

// The same norm, divided by behind the product that follows: one launch in front of the product, one with its sum over ranks.
// CHECK-LABEL: func.func @a_sunk_root_mean_square_goes_with_the_sum
func.func @a_sunk_root_mean_square_goes_with_the_sum(%y: tensor<8x64xbf16>, %g: tensor<8x64xbf16>, %p: tensor<8x32xbf16>) -> (tensor<8x64xbf16>, tensor<8x32xbf16>) {
  // CHECK-NEXT: %[[G:.*]]:2 = kernel.group "squares_gate" using "squares_gate"
  // CHECK: %[[D:.*]] = kernel.group "all_reduce_divide_by_rms" using "all_reduce_divide_by_rms" ({{.*}}, %{{.*}} = %[[G]]#0)
  // CHECK: return %[[G]]#1, %[[D]]
  %s = model.sum_of_squares %y : (tensor<8x64xbf16>) -> tensor<8x1xf32>
  %n = model.scale_columns %y, @q_norm : tensor<8x64xbf16>
  %out = model.sigmoid_gate %n, %g : tensor<8x64xbf16>
  %a = dist.all_reduce %p over <@mesh, ["tp"]> : tensor<8x32xbf16>
  %t = dist.all_reduce %s over <@mesh, ["tp"]> : tensor<8x1xf32>
  %d = model.divide_by_rms %a, %t[0] divisor 128 eps 0.5 : tensor<8x32xbf16>, tensor<8x1xf32>
  return %out, %d : tensor<8x64xbf16>, tensor<8x32xbf16>
}

// 8192 x 32 x 2 bytes are the most that two ranks sum in one shot; with a row more the sums go their own ways.
// CHECK-LABEL: func.func @many_bytes_are_summed_alone
func.func @many_bytes_are_summed_alone(%p: tensor<8193x32xbf16>, %s: tensor<8193x1xf32>, %q: tensor<8192x32xbf16>, %r: tensor<8192x1xf32>) -> (tensor<8193x32xbf16>, tensor<8192x32xbf16>) {
  // CHECK-NEXT: dist.all_reduce
  // CHECK-NEXT: dist.all_reduce
  // CHECK-NEXT: model.divide_by_rms
  // CHECK-NEXT: kernel.group "all_reduce_divide_by_rms"
  %a = dist.all_reduce %p over <@mesh, ["tp"]> : tensor<8193x32xbf16>
  %t = dist.all_reduce %s over <@mesh, ["tp"]> : tensor<8193x1xf32>
  %d = model.divide_by_rms %a, %t[0] divisor 128 eps 0.5 : tensor<8193x32xbf16>, tensor<8193x1xf32>
  %b = dist.all_reduce %q over <@mesh, ["tp"]> : tensor<8192x32xbf16>
  %u = dist.all_reduce %r over <@mesh, ["tp"]> : tensor<8192x1xf32>
  %e = model.divide_by_rms %b, %u[0] divisor 128 eps 0.5 : tensor<8192x32xbf16>, tensor<8192x1xf32>
  return %d, %e : tensor<8193x32xbf16>, tensor<8192x32xbf16>
}

// The recurrence activates what it reads, of decodes and of prompts; SiLU that others read is a launch of its own.
// CHECK-LABEL: func.func @decodes_activate_within_the_recurrence
func.func @decodes_activate_within_the_recurrence(%x: tensor<2x96xbf16>, %z: tensor<2x96xbf16>, %context: !model.context) -> (tensor<2x32xbf16>, tensor<2x32xbf16>, tensor<2x96xbf16>) attributes {model.phase = "decode"} {
  // CHECK-NEXT: %[[G:.*]] = kernel.group "silu_decay_scan" using "silu_decay_scan"
  // CHECK: model.silu
  // CHECK-NEXT: model.decay_scan
  // CHECK: model.silu
  // CHECK-NEXT: model.decay_scan
  %a = model.silu %x : tensor<2x96xbf16>
  %y = model.decay_scan %a, @state, %context heads 2 rate 0.5 : tensor<2x96xbf16> -> tensor<2x32xbf16>
  %b = model.silu %z : tensor<2x96xbf16>
  %w = model.decay_scan %b, @state, %context heads 2 rate 0.5 : tensor<2x96xbf16> -> tensor<2x32xbf16>
  return %y, %w, %b : tensor<2x32xbf16>, tensor<2x32xbf16>, tensor<2x96xbf16>
}

// CHECK-LABEL: func.func @prompts_activate_within_the_recurrence
func.func @prompts_activate_within_the_recurrence(%x: tensor<64x96xbf16>, %context: !model.context) -> tensor<64x32xbf16> attributes {model.phase = "prefill"} {
  // CHECK-NEXT: kernel.group "silu_decay_scan" using "silu_decay_scan"
  %a = model.silu %x : tensor<64x96xbf16>
  %y = model.decay_scan %a, @state, %context heads 2 rate 0.5 : tensor<64x96xbf16> -> tensor<64x32xbf16>
  return %y : tensor<64x32xbf16>
}

// With the product that alone reads the norm and quantises what it reads; its weight needs no norm in memory.
// CHECK-LABEL: func.func @a_quantised_product_goes_with_its_norm
func.func @a_quantised_product_goes_with_its_norm(%x: tensor<8x32xbf16>, %o: tensor<8x32xbf16>) -> (tensor<8x32xbf16>, tensor<8x64xbf16>) {
  // CHECK-NEXT: %[[G:.*]]:2 = kernel.group "add_rms_norm_linear" using "add_rms_norm_linear"
  // CHECK: return %[[G]]#0, %[[G]]#1
  %s = model.add %x, %o : tensor<8x32xbf16>
  %n = model.rms_norm %s, @norm eps 0.5 : tensor<8x32xbf16>
  %q = model.linear %n, @scaled act_group 32 : tensor<8x32xbf16> -> tensor<8x64xbf16>
  return %s, %q : tensor<8x32xbf16>, tensor<8x64xbf16>
}

// The router's product and choice go with the norm before them, for few tokens; experts read the norm, so it is a result, too.
// CHECK-LABEL: func.func @a_router_goes_with_its_norm
func.func @a_router_goes_with_its_norm(%x: tensor<2x128xbf16>, %o: tensor<2x128xbf16>) -> (tensor<2x128xbf16>, tensor<2x128xbf16>, tensor<2x2xf32>, tensor<2x2xi32>) {
  // CHECK-NEXT: %[[G:.*]]:4 = kernel.group "add_rms_norm_router" using "add_rms_norm_router"
  // CHECK: return %[[G]]#0, %[[G]]#1, %[[G]]#2, %[[G]]#3
  %s = model.add %x, %o : tensor<2x128xbf16>
  %n = model.rms_norm %s, @wide_norm eps 0.5 : tensor<2x128xbf16>
  %l = model.linear %n, @wide_router : tensor<2x128xbf16> -> tensor<2x6xf32>
  %w, %e = model.router %l, @bias routed_scale 1.0 : tensor<2x6xf32> -> tensor<2x2xf32>, tensor<2x2xi32>
  return %s, %n, %w, %e : tensor<2x128xbf16>, tensor<2x128xbf16>, tensor<2x2xf32>, tensor<2x2xi32>
}

// Three tokens are one too many.
// CHECK-LABEL: func.func @many_tokens_route_op_by_op
func.func @many_tokens_route_op_by_op(%x: tensor<3x128xbf16>, %o: tensor<3x128xbf16>) -> (tensor<3x2xi32>, tensor<3x128xbf16>) {
  // CHECK-NEXT: kernel.group "add_rms_norm" using "add_rms_norm"
  // CHECK: model.linear
  // CHECK: model.router
  %s = model.add %x, %o : tensor<3x128xbf16>
  %n = model.rms_norm %s, @wide_norm eps 0.5 : tensor<3x128xbf16>
  %l = model.linear %n, @wide_router : tensor<3x128xbf16> -> tensor<3x6xf32>
  %w, %e = model.router %l, @bias routed_scale 1.0 : tensor<3x6xf32> -> tensor<3x2xf32>, tensor<3x2xi32>
  return %e, %s : tensor<3x2xi32>, tensor<3x128xbf16>
}

// Rows of 32 are no whole warp of the kernel's.
// CHECK-LABEL: func.func @narrow_rows_route_op_by_op
func.func @narrow_rows_route_op_by_op(%x: tensor<2x32xbf16>, %o: tensor<2x32xbf16>) -> (tensor<2x2xi32>, tensor<2x32xbf16>) {
  // CHECK-NEXT: kernel.group "add_rms_norm" using "add_rms_norm"
  // CHECK: model.router
  %s = model.add %x, %o : tensor<2x32xbf16>
  %n = model.rms_norm %s, @norm eps 0.5 : tensor<2x32xbf16>
  %l = model.linear %n, @router : tensor<2x32xbf16> -> tensor<2x6xf32>
  %w, %e = model.router %l, @bias routed_scale 1.0 : tensor<2x6xf32> -> tensor<2x2xf32>, tensor<2x2xi32>
  return %e, %s : tensor<2x2xi32>, tensor<2x32xbf16>
}

// Logits that somebody else wants are in no group.
// CHECK-LABEL: func.func @logits_of_two_readers_stay
func.func @logits_of_two_readers_stay(%x: tensor<2x128xbf16>, %o: tensor<2x128xbf16>) -> (tensor<2x6xf32>, tensor<2x2xi32>, tensor<2x128xbf16>) {
  // CHECK-NEXT: kernel.group "add_rms_norm" using "add_rms_norm"
  // CHECK: model.router
  %s = model.add %x, %o : tensor<2x128xbf16>
  %n = model.rms_norm %s, @wide_norm eps 0.5 : tensor<2x128xbf16>
  %l = model.linear %n, @wide_router : tensor<2x128xbf16> -> tensor<2x6xf32>
  %w, %e = model.router %l, @bias routed_scale 1.0 : tensor<2x6xf32> -> tensor<2x2xf32>, tensor<2x2xi32>
  return %l, %e, %s : tensor<2x6xf32>, tensor<2x2xi32>, tensor<2x128xbf16>
}

// Attention of few tokens goes with the quantised product that alone reads it.
// CHECK-LABEL: func.func @a_quantised_product_goes_with_its_attention
func.func @a_quantised_product_goes_with_its_attention(%q: tensor<16x32xbf16>, %context: !model.context) -> tensor<16x64xbf16> {
  // CHECK-NEXT: kernel.group "attention_linear" using "attention_linear"
  %a = model.attention %q, @kv, %context scale 0.25 : tensor<16x32xbf16>
  %y = model.linear %a, @scaled act_group 32 : tensor<16x32xbf16> -> tensor<16x64xbf16>
  return %y : tensor<16x64xbf16>
}

// CHECK-LABEL: func.func @attention_of_many_tokens_stays_alone
func.func @attention_of_many_tokens_stays_alone(%q: tensor<17x32xbf16>, %context: !model.context) -> tensor<17x64xbf16> {
  // CHECK-NOT: kernel.group
  // CHECK: return
  %a = model.attention %q, @kv, %context scale 0.25 : tensor<17x32xbf16>
  %y = model.linear %a, @scaled act_group 32 : tensor<17x32xbf16> -> tensor<17x64xbf16>
  return %y : tensor<17x64xbf16>
}

// CHECK-LABEL: func.func @attention_before_a_plain_product_stays_alone
func.func @attention_before_a_plain_product_stays_alone(%q: tensor<8x32xbf16>, %context: !model.context) -> tensor<8x6xf32> {
  // CHECK-NOT: kernel.group
  // CHECK: return
  %a = model.attention %q, @kv, %context scale 0.25 : tensor<8x32xbf16>
  %y = model.linear %a, @router : tensor<8x32xbf16> -> tensor<8x6xf32>
  return %y : tensor<8x6xf32>
}

// Who else reads the norm needs it in memory.
// CHECK-LABEL: func.func @a_norm_of_two_readers_stays
func.func @a_norm_of_two_readers_stays(%x: tensor<8x32xbf16>, %o: tensor<8x32xbf16>) -> (tensor<8x64xbf16>, tensor<8x64xbf16>, tensor<8x32xbf16>) {
  // CHECK-NEXT: kernel.group "add_rms_norm" using "add_rms_norm"
  // CHECK: model.linear
  // CHECK: model.linear
  %s = model.add %x, %o : tensor<8x32xbf16>
  %n = model.rms_norm %s, @norm eps 0.5 : tensor<8x32xbf16>
  %q = model.linear %n, @scaled act_group 32 : tensor<8x32xbf16> -> tensor<8x64xbf16>
  %r = model.linear %n, @scaled act_group 32 : tensor<8x32xbf16> -> tensor<8x64xbf16>
  return %q, %r, %s : tensor<8x64xbf16>, tensor<8x64xbf16>, tensor<8x32xbf16>
}

// A product that reads it as it is gains nothing.
// CHECK-LABEL: func.func @a_plain_product_stays_alone
func.func @a_plain_product_stays_alone(%x: tensor<8x32xbf16>, %o: tensor<8x32xbf16>) -> (tensor<8x6xf32>, tensor<8x32xbf16>) {
  // CHECK-NEXT: kernel.group "add_rms_norm" using "add_rms_norm"
  // CHECK: model.linear
  %s = model.add %x, %o : tensor<8x32xbf16>
  %n = model.rms_norm %s, @norm eps 0.5 : tensor<8x32xbf16>
  %r = model.linear %n, @router : tensor<8x32xbf16> -> tensor<8x6xf32>
  return %r, %s : tensor<8x6xf32>, tensor<8x32xbf16>
}

// No kernel sums over ranks and normalises, so the sum runs alone.
// CHECK-LABEL: func.func @collectives_at_the_ends_run_alone
// CHECK-SAME: %[[X:.*]]: tensor<8x32xbf16>, %[[O:.*]]: tensor<16x32xbf16>
func.func @collectives_at_the_ends_run_alone(%x: tensor<8x32xbf16>, %o: tensor<16x32xbf16>) -> (tensor<8x32xbf16>, tensor<16x32xbf16>) {
  // CHECK-NEXT: %[[R:.*]] = dist.reduce_scatter %[[O]]
  // CHECK-NEXT: %[[G:.*]]:2 = kernel.group "add_rms_norm" using "add_rms_norm" (%{{.*}} = %[[X]], %{{.*}} = %[[R]])
  // CHECK: kernel.yield
  // CHECK-NEXT: }
  // CHECK-NEXT: %[[A:.*]] = dist.all_gather %[[G]]#1
  // CHECK-NEXT: return %[[G]]#0, %[[A]]
  %r = dist.reduce_scatter %o dim 0 over <@mesh, ["tp"]> rows shares : tensor<16x32xbf16> -> tensor<8x32xbf16>
  %s = model.add %x, %r : tensor<8x32xbf16>
  %n = model.rms_norm %s, @norm eps 0.5 : tensor<8x32xbf16>
  %g = dist.all_gather %n dim 0 over <@mesh, ["tp"]> rows shares : tensor<8x32xbf16> -> tensor<16x32xbf16>
  return %s, %g : tensor<8x32xbf16>, tensor<16x32xbf16>
}

// What is left beside the sum is the norm alone.
// CHECK-LABEL: func.func @sum_and_norm_run_op_by_op
func.func @sum_and_norm_run_op_by_op(%o: tensor<8x32xbf16>) -> (tensor<8x32xbf16>, tensor<8x32xbf16>) {
  // CHECK-NOT: kernel.group
  // CHECK: return
  %r = dist.all_reduce %o over <@mesh, ["tp"]> : tensor<8x32xbf16>
  %n = model.rms_norm %r, @norm eps 0.5 : tensor<8x32xbf16>
  return %r, %n : tensor<8x32xbf16>, tensor<8x32xbf16>
}

// Of one token all between the QKV projection and the output projection is one launch, and that with it where it quantises what it reads.
// CHECK-LABEL: func.func @a_token_is_normed_and_attends_in_one_launch
func.func @a_token_is_normed_and_attends_in_one_launch(%q: tensor<1x64xbf16>, %k: tensor<1x32xbf16>, %v: tensor<1x32xbf16>, %positions: tensor<1xi32>, %context: !model.context) -> tensor<1x64xbf16> {
  // CHECK-NEXT: %[[A:.*]] = kernel.group "qk_norm_rope_kv_append_attention" using "qk_norm_attention"
  // CHECK: return %[[A]]
  %s = model.sum_of_squares %q, %k : (tensor<1x64xbf16>, tensor<1x32xbf16>) -> tensor<1x2xf32>
  %qn = model.rms_scale %q, %s[0], @q_norm divisor 64 eps 1.0e-6 : tensor<1x64xbf16>, tensor<1x2xf32> -> tensor<1x64xbf16>
  %kn = model.rms_scale %k, %s[1], @k_norm divisor 32 eps 1.0e-6 : tensor<1x32xbf16>, tensor<1x2xf32> -> tensor<1x32xbf16>
  %qr = model.rope %qn, %positions head_dim 16 rotary_dim 8 theta 1.0e4 : tensor<1x64xbf16>, tensor<1xi32>
  %kr = model.rope %kn, %positions head_dim 16 rotary_dim 8 theta 1.0e4 : tensor<1x32xbf16>, tensor<1xi32>
  model.kv_append %kr, %v, @kv, %context : tensor<1x32xbf16>
  %a = model.attention %qr, @kv, %context scale 0.25 : tensor<1x64xbf16>
  return %a : tensor<1x64xbf16>
}

// CHECK-LABEL: func.func @with_its_product_and_the_sums_of_other_ranks
func.func @with_its_product_and_the_sums_of_other_ranks(%q: tensor<1x64xbf16>, %k: tensor<1x32xbf16>, %v: tensor<1x32xbf16>, %positions: tensor<1xi32>, %context: !model.context) -> tensor<1x64xbf16> {
  // CHECK-NEXT: %[[Y:.*]] = kernel.group "qk_norm_all_reduce_rope_kv_append_attention_linear" using "qk_norm_attention"
  // CHECK: return %[[Y]]
  %s = model.sum_of_squares %q, %k : (tensor<1x64xbf16>, tensor<1x32xbf16>) -> tensor<1x2xf32>
  %r = dist.all_reduce %s over <@mesh, ["tp"]> : tensor<1x2xf32>
  %qn = model.rms_scale %q, %r[0], @q_norm divisor 64 eps 1.0e-6 : tensor<1x64xbf16>, tensor<1x2xf32> -> tensor<1x64xbf16>
  %kn = model.rms_scale %k, %r[1], @k_norm divisor 32 eps 1.0e-6 : tensor<1x32xbf16>, tensor<1x2xf32> -> tensor<1x32xbf16>
  %qr = model.rope %qn, %positions head_dim 16 rotary_dim 8 theta 1.0e4 : tensor<1x64xbf16>, tensor<1xi32>
  %kr = model.rope %kn, %positions head_dim 16 rotary_dim 8 theta 1.0e4 : tensor<1x32xbf16>, tensor<1xi32>
  model.kv_append %kr, %v, @kv, %context : tensor<1x32xbf16>
  %a = model.attention %qr, @kv, %context scale 0.25 : tensor<1x64xbf16>
  %y = model.linear %a, @wide act_group 32 : tensor<1x64xbf16> -> tensor<1x64xbf16>
  return %y : tensor<1x64xbf16>
}

// CHECK-LABEL: func.func @with_the_scales_of_a_cache
func.func @with_the_scales_of_a_cache(%q: tensor<1x64xbf16>, %k: tensor<1x32xbf16>, %v: tensor<1x32xbf16>, %positions: tensor<1xi32>, %context: !model.context) -> tensor<1x64xbf16> {
  // CHECK-NEXT: kernel.group "qk_norm_rope_scale_kv_append_attention" using "qk_norm_attention"
  %s = model.sum_of_squares %q, %k : (tensor<1x64xbf16>, tensor<1x32xbf16>) -> tensor<1x2xf32>
  %qn = model.rms_scale %q, %s[0], @q_norm divisor 64 eps 1.0e-6 : tensor<1x64xbf16>, tensor<1x2xf32> -> tensor<1x64xbf16>
  %kn = model.rms_scale %k, %s[1], @k_norm divisor 32 eps 1.0e-6 : tensor<1x32xbf16>, tensor<1x2xf32> -> tensor<1x32xbf16>
  %qr = model.rope %qn, %positions head_dim 16 rotary_dim 8 theta 1.0e4 : tensor<1x64xbf16>, tensor<1xi32>
  %kr = model.rope %kn, %positions head_dim 16 rotary_dim 8 theta 1.0e4 : tensor<1x32xbf16>, tensor<1xi32>
  %ks = model.scale %kr, @k_scale inverse 1 : tensor<1x32xbf16>
  %vs = model.scale %v, @v_scale inverse 1 : tensor<1x32xbf16>
  %qs = model.scale %qr, @k_scale inverse 0 : tensor<1x64xbf16>
  model.kv_append %ks, %vs, @kv, %context : tensor<1x32xbf16>
  %a = model.attention %qs, @kv, %context scale 0.25 : tensor<1x64xbf16>
  return %a : tensor<1x64xbf16>
}

// Of two tokens one may be behind the other in a sequence, whose key the other has not written yet.
// CHECK-LABEL: func.func @two_tokens_are_normed_before_they_attend
func.func @two_tokens_are_normed_before_they_attend(%q: tensor<2x64xbf16>, %k: tensor<2x32xbf16>, %v: tensor<2x32xbf16>, %positions: tensor<2xi32>, %context: !model.context) -> tensor<2x64xbf16> {
  // CHECK-NEXT: kernel.group "qk_norm_rope_kv_append" using "qk_norm_rope_kv_append"
  // CHECK: model.attention
  %s = model.sum_of_squares %q, %k : (tensor<2x64xbf16>, tensor<2x32xbf16>) -> tensor<2x2xf32>
  %qn = model.rms_scale %q, %s[0], @q_norm divisor 64 eps 1.0e-6 : tensor<2x64xbf16>, tensor<2x2xf32> -> tensor<2x64xbf16>
  %kn = model.rms_scale %k, %s[1], @k_norm divisor 32 eps 1.0e-6 : tensor<2x32xbf16>, tensor<2x2xf32> -> tensor<2x32xbf16>
  %qr = model.rope %qn, %positions head_dim 16 rotary_dim 8 theta 1.0e4 : tensor<2x64xbf16>, tensor<2xi32>
  %kr = model.rope %kn, %positions head_dim 16 rotary_dim 8 theta 1.0e4 : tensor<2x32xbf16>, tensor<2xi32>
  model.kv_append %kr, %v, @kv, %context : tensor<2x32xbf16>
  %a = model.attention %qr, @kv, %context scale 0.25 : tensor<2x64xbf16>
  return %a : tensor<2x64xbf16>
}

// The kernel keeps q to itself.
// CHECK-LABEL: func.func @a_query_that_others_read_leaves_the_norm
func.func @a_query_that_others_read_leaves_the_norm(%q: tensor<1x64xbf16>, %k: tensor<1x32xbf16>, %v: tensor<1x32xbf16>, %positions: tensor<1xi32>, %context: !model.context) -> (tensor<1x64xbf16>, tensor<1x64xbf16>) {
  // CHECK-NEXT: kernel.group "qk_norm_rope_kv_append" using "qk_norm_rope_kv_append"
  // CHECK: model.attention
  %s = model.sum_of_squares %q, %k : (tensor<1x64xbf16>, tensor<1x32xbf16>) -> tensor<1x2xf32>
  %qn = model.rms_scale %q, %s[0], @q_norm divisor 64 eps 1.0e-6 : tensor<1x64xbf16>, tensor<1x2xf32> -> tensor<1x64xbf16>
  %kn = model.rms_scale %k, %s[1], @k_norm divisor 32 eps 1.0e-6 : tensor<1x32xbf16>, tensor<1x2xf32> -> tensor<1x32xbf16>
  %qr = model.rope %qn, %positions head_dim 16 rotary_dim 8 theta 1.0e4 : tensor<1x64xbf16>, tensor<1xi32>
  %kr = model.rope %kn, %positions head_dim 16 rotary_dim 8 theta 1.0e4 : tensor<1x32xbf16>, tensor<1xi32>
  model.kv_append %kr, %v, @kv, %context : tensor<1x32xbf16>
  %a = model.attention %qr, @kv, %context scale 0.25 : tensor<1x64xbf16>
  return %a, %qr : tensor<1x64xbf16>, tensor<1x64xbf16>
}

// Keys go to one cache, attention reads another.
// CHECK-LABEL: func.func @attention_over_another_cache_stays_alone
func.func @attention_over_another_cache_stays_alone(%q: tensor<1x64xbf16>, %k: tensor<1x32xbf16>, %v: tensor<1x32xbf16>, %positions: tensor<1xi32>, %context: !model.context) -> tensor<1x64xbf16> {
  // CHECK-NEXT: kernel.group "qk_norm_rope_kv_append" using "qk_norm_rope_kv_append"
  // CHECK: model.attention
  %s = model.sum_of_squares %q, %k : (tensor<1x64xbf16>, tensor<1x32xbf16>) -> tensor<1x2xf32>
  %qn = model.rms_scale %q, %s[0], @q_norm divisor 64 eps 1.0e-6 : tensor<1x64xbf16>, tensor<1x2xf32> -> tensor<1x64xbf16>
  %kn = model.rms_scale %k, %s[1], @k_norm divisor 32 eps 1.0e-6 : tensor<1x32xbf16>, tensor<1x2xf32> -> tensor<1x32xbf16>
  %qr = model.rope %qn, %positions head_dim 16 rotary_dim 8 theta 1.0e4 : tensor<1x64xbf16>, tensor<1xi32>
  %kr = model.rope %kn, %positions head_dim 16 rotary_dim 8 theta 1.0e4 : tensor<1x32xbf16>, tensor<1xi32>
  model.kv_append %kr, %v, @kv, %context : tensor<1x32xbf16>
  %a = model.attention %qr, @other_kv, %context scale 0.25 : tensor<1x64xbf16>
  return %a : tensor<1x64xbf16>
}

// CHECK-LABEL: func.func @q_and_k_are_one_kernel
func.func @q_and_k_are_one_kernel(%q: tensor<8x64xbf16>, %k: tensor<8x32xbf16>, %v: tensor<8x32xbf16>, %positions: tensor<8xi32>, %context: !model.context) -> tensor<8x64xbf16> {
  // CHECK: kernel.group "qk_norm_rope_kv_append" using "qk_norm_rope_kv_append"
  %s = model.sum_of_squares %q, %k : (tensor<8x64xbf16>, tensor<8x32xbf16>) -> tensor<8x2xf32>
  %qn = model.rms_scale %q, %s[0], @q_norm divisor 64 eps 1.0e-6 : tensor<8x64xbf16>, tensor<8x2xf32> -> tensor<8x64xbf16>
  %kn = model.rms_scale %k, %s[1], @k_norm divisor 32 eps 1.0e-6 : tensor<8x32xbf16>, tensor<8x2xf32> -> tensor<8x32xbf16>
  %qr = model.rope %qn, %positions head_dim 16 rotary_dim 8 theta 1.0e4 : tensor<8x64xbf16>, tensor<8xi32>
  %kr = model.rope %kn, %positions head_dim 16 rotary_dim 8 theta 1.0e4 : tensor<8x32xbf16>, tensor<8xi32>
  model.kv_append %kr, %v, @kv, %context : tensor<8x32xbf16>
  return %qr : tensor<8x64xbf16>
}

// A cache with stored scales: q leaves the kernel multiplied, k and v divided.
// CHECK-LABEL: func.func @scales_of_a_cache_stay_in_the_kernel
func.func @scales_of_a_cache_stay_in_the_kernel(%q: tensor<8x64xbf16>, %k: tensor<8x32xbf16>, %v: tensor<8x32xbf16>, %positions: tensor<8xi32>, %context: !model.context) -> tensor<8x64xbf16> {
  // CHECK-NEXT: %[[Q:.*]] = kernel.group "qk_norm_rope_scale_kv_append" using "qk_norm_rope_kv_append"
  // CHECK: return %[[Q]]
  %s = model.sum_of_squares %q, %k : (tensor<8x64xbf16>, tensor<8x32xbf16>) -> tensor<8x2xf32>
  %qn = model.rms_scale %q, %s[0], @q_norm divisor 64 eps 1.0e-6 : tensor<8x64xbf16>, tensor<8x2xf32> -> tensor<8x64xbf16>
  %kn = model.rms_scale %k, %s[1], @k_norm divisor 32 eps 1.0e-6 : tensor<8x32xbf16>, tensor<8x2xf32> -> tensor<8x32xbf16>
  %qr = model.rope %qn, %positions head_dim 16 rotary_dim 8 theta 1.0e4 : tensor<8x64xbf16>, tensor<8xi32>
  %kr = model.rope %kn, %positions head_dim 16 rotary_dim 8 theta 1.0e4 : tensor<8x32xbf16>, tensor<8xi32>
  %ks = model.scale %kr, @k_scale inverse 1 : tensor<8x32xbf16>
  %vs = model.scale %v, @v_scale inverse 1 : tensor<8x32xbf16>
  %qs = model.scale %qr, @k_scale inverse 0 : tensor<8x64xbf16>
  model.kv_append %ks, %vs, @kv, %context : tensor<8x32xbf16>
  return %qs : tensor<8x64xbf16>
}

// The kernel multiplies q by what it divides k by.
// CHECK-LABEL: func.func @another_scale_of_q_runs_op_by_op
func.func @another_scale_of_q_runs_op_by_op(%q: tensor<8x64xbf16>, %k: tensor<8x32xbf16>, %v: tensor<8x32xbf16>, %positions: tensor<8xi32>, %context: !model.context) -> tensor<8x64xbf16> {
  // CHECK-NOT: kernel.group
  // CHECK: return
  %s = model.sum_of_squares %q, %k : (tensor<8x64xbf16>, tensor<8x32xbf16>) -> tensor<8x2xf32>
  %qn = model.rms_scale %q, %s[0], @q_norm divisor 64 eps 1.0e-6 : tensor<8x64xbf16>, tensor<8x2xf32> -> tensor<8x64xbf16>
  %kn = model.rms_scale %k, %s[1], @k_norm divisor 32 eps 1.0e-6 : tensor<8x32xbf16>, tensor<8x2xf32> -> tensor<8x32xbf16>
  %qr = model.rope %qn, %positions head_dim 16 rotary_dim 8 theta 1.0e4 : tensor<8x64xbf16>, tensor<8xi32>
  %kr = model.rope %kn, %positions head_dim 16 rotary_dim 8 theta 1.0e4 : tensor<8x32xbf16>, tensor<8xi32>
  %ks = model.scale %kr, @k_scale inverse 1 : tensor<8x32xbf16>
  %vs = model.scale %v, @v_scale inverse 1 : tensor<8x32xbf16>
  %qs = model.scale %qr, @v_scale inverse 0 : tensor<8x64xbf16>
  model.kv_append %ks, %vs, @kv, %context : tensor<8x32xbf16>
  return %qs : tensor<8x64xbf16>
}

// The kernel has one epsilon.
// CHECK-LABEL: func.func @unlike_norms_run_op_by_op
func.func @unlike_norms_run_op_by_op(%q: tensor<8x64xbf16>, %k: tensor<8x32xbf16>, %v: tensor<8x32xbf16>, %positions: tensor<8xi32>, %context: !model.context) -> tensor<8x64xbf16> {
  // CHECK-NOT: kernel.group
  // CHECK: return
  %s = model.sum_of_squares %q, %k : (tensor<8x64xbf16>, tensor<8x32xbf16>) -> tensor<8x2xf32>
  %qn = model.rms_scale %q, %s[0], @q_norm divisor 64 eps 1.0e-6 : tensor<8x64xbf16>, tensor<8x2xf32> -> tensor<8x64xbf16>
  %kn = model.rms_scale %k, %s[1], @k_norm divisor 32 eps 1.0e-5 : tensor<8x32xbf16>, tensor<8x2xf32> -> tensor<8x32xbf16>
  %qr = model.rope %qn, %positions head_dim 16 rotary_dim 8 theta 1.0e4 : tensor<8x64xbf16>, tensor<8xi32>
  %kr = model.rope %kn, %positions head_dim 16 rotary_dim 8 theta 1.0e4 : tensor<8x32xbf16>, tensor<8xi32>
  model.kv_append %kr, %v, @kv, %context : tensor<8x32xbf16>
  return %qr : tensor<8x64xbf16>
}

// CHECK-LABEL: func.func @sums_are_exchanged_inside_the_kernel
func.func @sums_are_exchanged_inside_the_kernel(%q: tensor<8x64xbf16>, %k: tensor<8x32xbf16>, %v: tensor<8x32xbf16>, %positions: tensor<8xi32>, %context: !model.context) -> tensor<8x64xbf16> {
  // CHECK: kernel.group "qk_norm_all_reduce_rope_kv_append" using "qk_norm_rope_kv_append"
  %s = model.sum_of_squares %q, %k : (tensor<8x64xbf16>, tensor<8x32xbf16>) -> tensor<8x2xf32>
  %r = dist.all_reduce %s over <@mesh, ["tp"]> : tensor<8x2xf32>
  %qn = model.rms_scale %q, %r[0], @q_norm divisor 128 eps 1.0e-6 : tensor<8x64xbf16>, tensor<8x2xf32> -> tensor<8x64xbf16>
  %kn = model.rms_scale %k, %r[1], @k_norm divisor 64 eps 1.0e-6 : tensor<8x32xbf16>, tensor<8x2xf32> -> tensor<8x32xbf16>
  %qr = model.rope %qn, %positions head_dim 16 rotary_dim 8 theta 1.0e4 : tensor<8x64xbf16>, tensor<8xi32>
  %kr = model.rope %kn, %positions head_dim 16 rotary_dim 8 theta 1.0e4 : tensor<8x32xbf16>, tensor<8xi32>
  model.kv_append %kr, %v, @kv, %context : tensor<8x32xbf16>
  return %qr : tensor<8x64xbf16>
}

// The kernel leaves the rotated q and the cache, and nothing else.
// CHECK-LABEL: func.func @a_rotated_k_that_others_read_forbids_the_kernel
func.func @a_rotated_k_that_others_read_forbids_the_kernel(%q: tensor<8x64xbf16>, %k: tensor<8x32xbf16>, %v: tensor<8x32xbf16>, %positions: tensor<8xi32>, %context: !model.context) -> (tensor<8x64xbf16>, tensor<8x32xbf16>) {
  // CHECK-NOT: kernel.group
  // CHECK: return
  %s = model.sum_of_squares %q, %k : (tensor<8x64xbf16>, tensor<8x32xbf16>) -> tensor<8x2xf32>
  %qn = model.rms_scale %q, %s[0], @q_norm divisor 64 eps 1.0e-6 : tensor<8x64xbf16>, tensor<8x2xf32> -> tensor<8x64xbf16>
  %kn = model.rms_scale %k, %s[1], @k_norm divisor 32 eps 1.0e-6 : tensor<8x32xbf16>, tensor<8x2xf32> -> tensor<8x32xbf16>
  %qr = model.rope %qn, %positions head_dim 16 rotary_dim 8 theta 1.0e4 : tensor<8x64xbf16>, tensor<8xi32>
  %kr = model.rope %kn, %positions head_dim 16 rotary_dim 8 theta 1.0e4 : tensor<8x32xbf16>, tensor<8xi32>
  model.kv_append %kr, %v, @kv, %context : tensor<8x32xbf16>
  return %qr, %kr : tensor<8x64xbf16>, tensor<8x32xbf16>
}

// Both rotations are by the same positions.
// CHECK-LABEL: func.func @rotations_by_other_positions_run_op_by_op
func.func @rotations_by_other_positions_run_op_by_op(%q: tensor<8x64xbf16>, %k: tensor<8x32xbf16>, %v: tensor<8x32xbf16>, %positions: tensor<8xi32>, %others: tensor<8xi32>, %context: !model.context) -> tensor<8x64xbf16> {
  // CHECK-NOT: kernel.group
  // CHECK: return
  %s = model.sum_of_squares %q, %k : (tensor<8x64xbf16>, tensor<8x32xbf16>) -> tensor<8x2xf32>
  %qn = model.rms_scale %q, %s[0], @q_norm divisor 64 eps 1.0e-6 : tensor<8x64xbf16>, tensor<8x2xf32> -> tensor<8x64xbf16>
  %kn = model.rms_scale %k, %s[1], @k_norm divisor 32 eps 1.0e-6 : tensor<8x32xbf16>, tensor<8x2xf32> -> tensor<8x32xbf16>
  %qr = model.rope %qn, %positions head_dim 16 rotary_dim 8 theta 1.0e4 : tensor<8x64xbf16>, tensor<8xi32>
  %kr = model.rope %kn, %others head_dim 16 rotary_dim 8 theta 1.0e4 : tensor<8x32xbf16>, tensor<8xi32>
  model.kv_append %kr, %v, @kv, %context : tensor<8x32xbf16>
  return %qr : tensor<8x64xbf16>
}

// The router's linear and the choice are two kernels.
// CHECK-LABEL: func.func @router_and_choice_run_op_by_op
func.func @router_and_choice_run_op_by_op(%x: tensor<8x32xbf16>) -> (tensor<8x2xf32>, tensor<8x2xi32>) {
  // CHECK-NOT: kernel.group
  // CHECK: return
  %l = model.linear %x, @router : tensor<8x32xbf16> -> tensor<8x6xf32>
  %w, %e = model.router %l, @bias routed_scale 1.0 : tensor<8x6xf32> -> tensor<8x2xf32>, tensor<8x2xi32>
  return %w, %e : tensor<8x2xf32>, tensor<8x2xi32>
}
