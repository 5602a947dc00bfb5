// RUN: saddle-opt %s --verify-roundtrip | FileCheck %s

// Every op and attribute form of the `model` dialect, as it prints.

// CHECK: module attributes {
// CHECK-SAME: model.checkpoints = {draft = "00ff"}
// CHECK-SAME: model.config = {architecture = "toy"}
// CHECK-SAME: model.ignored_sources = {inv_freq = {reason = "derived from rope_theta", stack = 0 : i64, type = tensor<8xf32>}}
// CHECK-SAME: model.limits = {max_batch = 4 : i64, max_seq_len = 64 : i64, page_size = 16 : i64, prefill_chunk = 8 : i64}
module attributes {
  model.checkpoints = {draft = "00ff"},
  model.config = {architecture = "toy"},
  model.ignored_sources = {inv_freq = {reason = "derived from rope_theta", stack = 0, type = tensor<8xf32>}},
  model.limits = {max_batch = 4, max_seq_len = 64, prefill_chunk = 8, page_size = 16},
  model.stored_parts = [{name = "a.{}", tensor = "b", stack = 2, columns = false, first = 0, count = 4, of = 8}]
} {

// CHECK: model.weight @embed from "embed.weight" dims ["vocab", "hidden"] : tensor<96x32xbf16>
model.weight @embed from "embed.weight" dims ["vocab", "hidden"] : tensor<96x32xbf16>
// CHECK: model.weight @factor from "factor" dims ["scale"] : tensor<1xf32>
model.weight @factor from "factor" dims ["scale"] : tensor<1xf32>
// CHECK: model.weight @of_draft from "fc.weight" of "draft" dims ["hidden", "features"] : tensor<32x96xbf16>
model.weight @of_draft from "fc.weight" of "draft" dims ["hidden", "features"] : tensor<32x96xbf16>
// CHECK: model.weight @d2t from "d2t" of "draft" dims ["drafted_vocab"] : tensor<16xi64>
model.weight @d2t from "d2t" of "draft" dims ["drafted_vocab"] : tensor<16xi64>
// CHECK: model.weight @norm from "norm.weight" dims ["hidden"] : tensor<32xf32>
model.weight @norm from "norm.weight" dims ["hidden"] : tensor<32xf32>
// CHECK: model.weight @scaled from "s.weight" dims ["q_heads", "hidden"] stored <scale f32 [128, 128] from "s.weight_scale_inv"> : tensor<64x32xf8E4M3FN>
model.weight @scaled from "s.weight" dims ["q_heads", "hidden"] stored <scale f32 [128, 128] from "s.weight_scale_inv"> : tensor<64x32xf8E4M3FN>
// Storage that no pass makes yet has its form all the same.
// CHECK: model.weight @channels from "c.weight" dims ["q_heads", "hidden"] stored <scale bf16 [1, *] from "c.weight_scale"> : tensor<64x32xf8E4M3FN>
model.weight @channels from "c.weight" dims ["q_heads", "hidden"] stored <scale bf16 [1, *] from "c.weight_scale"> : tensor<64x32xf8E4M3FN>
// CHECK: model.weight @packed from "p.weight" dims ["q_heads", "hidden"] stored <packed i32 [0, 2, 1, 3]> : tensor<64x32xf8E4M3FN>
model.weight @packed from "p.weight" dims ["q_heads", "hidden"] stored <packed i32 [0, 2, 1, 3]> : tensor<64x32xf8E4M3FN>
// CHECK: model.weight @rotated from "r.weight" dims ["q_heads", "hidden"] stored <packed i8 rows [0, 1], transposed, plus 8, offset 8, rotated 32, scale f32 [1, *] transposed over 7 from "r.weight_scale"> : tensor<64x32xui4>
model.weight @rotated from "r.weight" dims ["q_heads", "hidden"] stored <packed i8 rows [0, 1], transposed, plus 8, offset 8, rotated 32, scale f32 [1, *] transposed over 7 from "r.weight_scale"> : tensor<64x32xui4>
// CHECK: model.weight @values from "v.weight" dims ["q_heads", "hidden"] stored <> : tensor<64x32xbf16>
model.weight @values from "v.weight" dims ["q_heads", "hidden"] stored <> : tensor<64x32xbf16>
// CHECK: awq = #model.storage<packed i32 [0, 2, 4, 6, 1, 3, 5, 7], scale f16 [1, 128], zero i4 [1, 128] packed i32 [0, 2, 4, 6, 1, 3, 5, 7]>
// CHECK-SAME: gptq = #model.storage<packed i32 rows [0, 1, 2, 3, 4, 5, 6, 7], transposed, scale f16 [1, 128] transposed, zero ui4 [1, 128] packed i32 [0, 1, 2, 3, 4, 5, 6, 7] transposed plus 1>
// CHECK-SAME: nvfp4 = #model.storage<packed i8 [0, 1], scale f8E4M3FN [1, 16], global_scale f32 [*, *] divided from "g">
// CHECK-SAME: one = #model.companion<scale f8E8M0FNU [1, 32]>
// CHECK-SAME: order = #model.packing<i8 [1, 0]>
func.func private @storages() attributes {
  awq = #model.storage<packed i32 [0, 2, 4, 6, 1, 3, 5, 7], scale f16 [1, 128], zero i4 [1, 128] packed i32 [0, 2, 4, 6, 1, 3, 5, 7]>,
  gptq = #model.storage<packed i32 rows [0, 1, 2, 3, 4, 5, 6, 7], transposed, scale f16 [1, 128] transposed, zero ui4 [1, 128] packed i32 [0, 1, 2, 3, 4, 5, 6, 7] transposed plus 1>,
  nvfp4 = #model.storage<packed i8 [0, 1], scale f8E4M3FN [1, 16], global_scale f32 [*, *] divided from "g">,
  one = #model.companion<scale f8E8M0FNU [1, 32]>, order = #model.packing<i8 [1, 0]>
}
// CHECK: model.weight @proj from "proj.weight" dims ["q_heads", "hidden"] : tensor<64x32xf16>
model.weight @proj from "proj.weight" dims ["q_heads", "hidden"] : tensor<64x32xf16>
// CHECK: model.weight @q_norm from "q_norm" dims ["q_heads" x 8] : tensor<64xbf16>
model.weight @q_norm from "q_norm" dims ["q_heads" x 8] : tensor<64xbf16>
// CHECK: model.weight @o_proj from "o_proj" dims ["hidden", "q_heads" x 8] : tensor<32x64xbf16>
model.weight @o_proj from "o_proj" dims ["hidden" x 1, "q_heads" x 8] : tensor<32x64xbf16>
// CHECK: logical_dims = [#model.dim<"q_heads" x 8>, #model.dim<"hidden">]
func.func private @dims() attributes {logical_dims = [#model.dim<"q_heads" x 8>, #model.dim<"hidden" x 1>]}
model.weight @k_norm from "k_norm" dims ["kv_heads"] : tensor<32xbf16>
model.weight @bias from "bias" dims ["experts"] : tensor<6xf32>
// CHECK: model.weight @w1 from "experts.{}.w1" dims ["experts", "expert_width", "hidden"] : tensor<6x24x32xbf16>
model.weight @w1 from "experts.{}.w1" dims ["experts", "expert_width", "hidden"] : tensor<6x24x32xbf16>
model.weight @w3 from "experts.{}.w3" dims ["experts", "expert_width", "hidden"] : tensor<6x24x32xbf16>
model.weight @shared_gate from "coefficient" dims ["shared_experts", "hidden"] : tensor<1x32xbf16>
// A stack of one is a tensor of its own.
// CHECK: model.weight @shared_w1 from "shared.w1" dims ["shared_experts", "shared_width", "hidden"] : tensor<1x12x32xbf16>
model.weight @shared_w1 from "shared.w1" dims ["shared_experts", "shared_width", "hidden"] : tensor<1x12x32xbf16>
model.weight @shared_w3 from "shared.w3" dims ["shared_experts", "shared_width", "hidden"] : tensor<1x12x32xbf16>
model.weight @shared_w2 from "shared.w2" dims ["shared_experts", "hidden", "shared_width"] : tensor<1x32x12xbf16>
model.weight @w2 from "experts.{}.w2" dims ["experts", "hidden", "expert_width"] : tensor<6x32x24xbf16>
// CHECK: model.weight @w13_scaled from "experts.{}.w13" {{.*}} stored <scale f32 [16, 8] from "experts.{}.w13_scale">
model.weight @w13_scaled from "experts.{}.w13" dims ["experts", "expert_width", "hidden"] stored <scale f32 [16, 8] from "experts.{}.w13_scale">
    : tensor<6x48x32xf8E4M3FN>
model.weight @w2_scaled from "experts.{}.w2" dims ["experts", "hidden", "expert_width"] stored <scale f32 [16, 8] from "experts.{}.w2_scale">
    : tensor<6x32x24xf8E4M3FN>
// CHECK: model.kv_cache @kv heads 2 head_dim 16 : bf16
model.kv_cache @kv heads 2 head_dim 16 : bf16
// CHECK: model.kv_cache @draft_kv heads 2 head_dim 16 dim "draft.kv_heads" : bf16
model.kv_cache @draft_kv heads 2 head_dim 16 dim "draft.kv_heads" : bf16
// CHECK: model.token_rows @rows width 32 : f32
model.token_rows @rows width 32 : f32
// CHECK: model.kv_cache @kv_fp8 heads 2 head_dim 16 : f8E4M3FN
model.kv_cache @kv_fp8 heads 2 head_dim 16 : f8E4M3FN
// CHECK: model.index_keys @index heads 1 head_dim 16 : bf16
model.index_keys @index heads 1 head_dim 16 : bf16
// CHECK: model.index_keys @index_split heads 2 head_dim 16 dim "kv_heads" : f8E4M3FN
model.index_keys @index_split heads 2 head_dim 16 dim "kv_heads" : f8E4M3FN
// CHECK: model.recurrent_state @state heads 4 rows 16 cols 8 dim "q_heads"
model.recurrent_state @state heads 4 rows 16 cols 8 dim "q_heads"
model.weight @scan_proj from "scan_proj" dims ["q_heads" x 40, "hidden"] : tensor<160x64xf32>

// CHECK-LABEL: func.func @dense
// CHECK-SAME: %[[TOKENS:.*]]: tensor<?xi32>, %[[ROWS:.*]]: tensor<?xi32>
// CHECK-SAME: model.phase = "prefill"
func.func @dense(%tokens: tensor<?xi32>, %rows: tensor<?xi32>) attributes {model.phase = "prefill"} {
  // CHECK: %[[X:.*]] = model.embedding %[[TOKENS]], @embed : tensor<?xi32> -> tensor<?x32xbf16>
  %x = model.embedding %tokens, @embed : tensor<?xi32> -> tensor<?x32xbf16>
  // CHECK: %[[N:.*]] = model.rms_norm %[[X]], @norm eps 5.000000e-01 : tensor<?x32xbf16>
  %n = model.rms_norm %x, @norm eps 0.5 : tensor<?x32xbf16>
  // CHECK: %[[Q:.*]] = model.linear %[[N]], @proj : tensor<?x32xbf16> -> tensor<?x64xbf16>
  %q = model.linear %n, @proj : tensor<?x32xbf16> -> tensor<?x64xbf16>
  // CHECK: model.linear %[[N]], @scaled act_group 32 : tensor<?x32xbf16> -> tensor<?x64xf32>
  %s = model.linear %n, @scaled act_group 32 : tensor<?x32xbf16> -> tensor<?x64xf32>
  // CHECK: %[[PARTS:.*]]:2 = model.split %[[Q]] : tensor<?x64xbf16> -> tensor<?x32xbf16>, tensor<?x32xbf16>
  %a, %b = model.split %q : tensor<?x64xbf16> -> tensor<?x32xbf16>, tensor<?x32xbf16>
  // CHECK: %[[SUM:.*]] = model.add %[[PARTS]]#0, %[[PARTS]]#1 : tensor<?x32xbf16>
  %r = model.add %a, %b : tensor<?x32xbf16>
  // CHECK: model.scaled_add %[[PARTS]]#0, %[[PARTS]]#1 alpha 3.500000e+00 beta 5.000000e-01 : tensor<?x32xbf16>
  %scaled = model.scaled_add %a, %b alpha 3.5 beta 0.5 : tensor<?x32xbf16>
  // CHECK: model.layer_boundary %[[SUM]] layer 3 : tensor<?x32xbf16>
  %boundary = model.layer_boundary %r layer 3 : tensor<?x32xbf16>
  // CHECK: model.select_rows %[[SUM]], %[[ROWS]] : tensor<?x32xbf16>, tensor<?xi32> -> tensor<?x32xbf16>
  %last = model.select_rows %r, %rows : tensor<?x32xbf16>, tensor<?xi32> -> tensor<?x32xbf16>
  return
}

// CHECK-LABEL: func.func @attention
// CHECK-SAME: %[[Q:.*]]: tensor<8x64xf32>, %[[K:.*]]: tensor<8x32xf32>, %[[POS:.*]]: tensor<8xi32>, %[[CTX:.*]]: !model.context
// CHECK-SAME: model.phase = "decode"
func.func @attention(%q: tensor<8x64xf32>, %k: tensor<8x32xf32>, %positions: tensor<8xi32>, %context: !model.context)
    attributes {model.phase = "decode"} {
  // CHECK: model.qk_norm %[[Q]], %[[K]], @q_norm, @k_norm eps 5.000000e-01 : tensor<8x64xf32>, tensor<8x32xf32>
  %qn, %kn = model.qk_norm %q, %k, @q_norm, @k_norm eps 0.5 : tensor<8x64xf32>, tensor<8x32xf32>
  // CHECK: %[[SUMS:.*]] = model.sum_of_squares %[[Q]], %[[K]] : (tensor<8x64xf32>, tensor<8x32xf32>) -> tensor<8x2xf32>
  %sums = model.sum_of_squares %q, %k : (tensor<8x64xf32>, tensor<8x32xf32>) -> tensor<8x2xf32>
  // CHECK: model.rms_scale %[[K]], %[[SUMS]][1], @k_norm divisor 64 eps 5.000000e-01 : tensor<8x32xf32>, tensor<8x2xf32> -> tensor<8x32xf32>
  %ks = model.rms_scale %k, %sums[1], @k_norm divisor 64 eps 0.5 : tensor<8x32xf32>, tensor<8x2xf32> -> tensor<8x32xf32>
  // CHECK: model.scale_columns %[[K]], @k_norm : tensor<8x32xf32>
  %kc = model.scale_columns %k, @k_norm : tensor<8x32xf32>
  // CHECK: model.divide_by_rms %[[K]], %[[SUMS]][1] divisor 64 eps 5.000000e-01 : tensor<8x32xf32>, tensor<8x2xf32>
  %kq = model.divide_by_rms %k, %sums[1] divisor 64 eps 0.5 : tensor<8x32xf32>, tensor<8x2xf32>
  // CHECK: model.scale %[[K]], @factor inverse 1 : tensor<8x32xf32>
  %kd = model.scale %k, @factor inverse 1 : tensor<8x32xf32>
  // CHECK: model.swiglu %[[Q]], %[[Q]] : tensor<8x64xf32>
  %glu = model.swiglu %q, %q : tensor<8x64xf32>
  // CHECK: model.concat %[[Q]], %[[K]] : (tensor<8x64xf32>, tensor<8x32xf32>) -> tensor<8x96xf32>
  %both = model.concat %q, %k : (tensor<8x64xf32>, tensor<8x32xf32>) -> tensor<8x96xf32>
  // CHECK: %[[CODES:.*]], %[[FACTORS:.*]] = model.encode_rows %[[K]] group 24 : tensor<8x32xf32> -> tensor<8x32xf8E4M3FN>, tensor<8x2xf32>
  %codes, %factors = model.encode_rows %k group 24 : tensor<8x32xf32> -> tensor<8x32xf8E4M3FN>, tensor<8x2xf32>
  // 32 codes, then 8 bytes of factors, to the next multiple of 16.
  // CHECK: %[[BYTES:.*]] = model.join_bytes %[[CODES]], %[[FACTORS]] : (tensor<8x32xf8E4M3FN>, tensor<8x2xf32>) -> tensor<8x48xui8>
  %bytes = model.join_bytes %codes, %factors : (tensor<8x32xf8E4M3FN>, tensor<8x2xf32>) -> tensor<8x48xui8>
  // CHECK: model.split_bytes %[[BYTES]] : tensor<8x48xui8> -> tensor<8x32xf8E4M3FN>, tensor<8x2xf32>
  %parts:2 = model.split_bytes %bytes : tensor<8x48xui8> -> tensor<8x32xf8E4M3FN>, tensor<8x2xf32>
  // CHECK: model.linear_of_codes %{{.*}}#0, %{{.*}}#1, @scaled act_group 24 : tensor<8x32xf8E4M3FN>, tensor<8x2xf32> -> tensor<8x64xf32>
  %ofcodes = model.linear_of_codes %parts#0, %parts#1, @scaled act_group 24 : tensor<8x32xf8E4M3FN>, tensor<8x2xf32> -> tensor<8x64xf32>
  // CHECK: model.keep_rows %[[K]], @rows, %[[CTX]] : tensor<8x32xf32>
  model.keep_rows %k, @rows, %context : tensor<8x32xf32>
  // CHECK: model.keep_next_rows %[[K]], %[[POS]], @rows, %[[CTX]] : tensor<8x32xf32>, tensor<8xi32>
  model.keep_next_rows %k, %positions, @rows, %context : tensor<8x32xf32>, tensor<8xi32>
  // CHECK: model.kept_rows %[[POS]], @rows, %[[CTX]] : tensor<8xi32> -> tensor<8x32xf32>
  %kept = model.kept_rows %positions, @rows, %context : tensor<8xi32> -> tensor<8x32xf32>
  // CHECK: model.swiglu_oai %[[Q]], %[[Q]] alpha 1.702000e+00 limit 7.000000e+00 : tensor<8x64xf32>
  %act = model.swiglu_oai %q, %q alpha 1.702 limit 7.0 : tensor<8x64xf32>
  // CHECK: model.rope %[[Q]], %[[POS]] head_dim 16 rotary_dim 8 theta 1.000000e+04 : tensor<8x64xf32>, tensor<8xi32>
  %qr = model.rope %q, %positions head_dim 16 rotary_dim 8 theta 1.0e4 : tensor<8x64xf32>, tensor<8xi32>
  // CHECK: model.kv_append %[[K]], %[[K]], @kv, %[[CTX]] : tensor<8x32xf32>
  model.kv_append %k, %k, @kv, %context : tensor<8x32xf32>
  // CHECK: model.attention %[[Q]], @kv, %[[CTX]] scale 2.500000e-01 : tensor<8x64xf32>
  %o = model.attention %q, @kv, %context scale 0.25 : tensor<8x64xf32>
  %qkv = model.linear %q, @scan_proj : tensor<8x64xf32> -> tensor<8x160xf32>
  // CHECK: %[[SCAN:.*]] = model.silu %{{.*}} : tensor<8x160xf32>
  %act_qkv = model.silu %qkv : tensor<8x160xf32>
  // CHECK: model.decay_scan %[[SCAN]], @state, %[[CTX]] heads 4 rate 5.000000e-01 : tensor<8x160xf32> -> tensor<8x32xf32>
  %y = model.decay_scan %act_qkv, @state, %context heads 4 rate 0.5 : tensor<8x160xf32> -> tensor<8x32xf32>
  // CHECK: model.sigmoid_gate %{{.*}}, %[[K]] : tensor<8x32xf32>
  %gated = model.sigmoid_gate %y, %k : tensor<8x32xf32>
  return
}

// CHECK-LABEL: func.func @experts
// CHECK-SAME: %[[X:.*]]: tensor<8x32xf32>, %[[LOGITS:.*]]: tensor<8x6xf32>
func.func @experts(%x: tensor<8x32xf32>, %logits: tensor<8x6xf32>) {
  // CHECK: %[[W:.*]], %[[E:.*]] = model.router %[[LOGITS]], @bias routed_scale 2.500000e+00 : tensor<8x6xf32> -> tensor<8x2xf32>, tensor<8x2xi32>
  %w, %e = model.router %logits, @bias routed_scale 2.5 : tensor<8x6xf32> -> tensor<8x2xf32>, tensor<8x2xi32>
  // CHECK: model.softmax_router %[[LOGITS]] : tensor<8x6xf32> -> tensor<8x2xf32>, tensor<8x2xi32>
  %sw, %se = model.softmax_router %logits : tensor<8x6xf32> -> tensor<8x2xf32>, tensor<8x2xi32>
  // CHECK: model.experts %[[X]], %[[W]], %[[E]] gate_up [@w1, @w3] down @w2 : tensor<8x32xf32>, tensor<8x2xf32>, tensor<8x2xi32>
  %y = model.experts %x, %w, %e gate_up [@w1, @w3] down @w2 : tensor<8x32xf32>, tensor<8x2xf32>, tensor<8x2xi32>
  // CHECK: %[[R:.*]], %[[C:.*]], %[[ZERO:.*]] = model.shared_gate %[[W]], %{{.*}} : tensor<8x2xf32>, tensor<8x1xf32> -> tensor<8x1xi32>
  %logit = model.linear %x, @shared_gate : tensor<8x32xf32> -> tensor<8x1xf32>
  %routed, %c, %zero = model.shared_gate %w, %logit : tensor<8x2xf32>, tensor<8x1xf32> -> tensor<8x1xi32>
  // CHECK: %[[S:.*]] = model.experts %[[X]], %[[C]], %[[ZERO]] gate_up [@shared_w1, @shared_w3] down @shared_w2 : tensor<8x32xf32>, tensor<8x1xf32>, tensor<8x1xi32>
  %s = model.experts %x, %c, %zero gate_up [@shared_w1, @shared_w3] down @shared_w2 : tensor<8x32xf32>, tensor<8x1xf32>, tensor<8x1xi32>
  // CHECK: model.branch_sum %{{.*}}, %[[S]] : tensor<8x32xf32>
  %both = model.branch_sum %y, %s : tensor<8x32xf32>
  // CHECK: model.experts %[[X]], %[[W]], %[[E]] gate_up [@w13_scaled] down @w2_scaled act_group 8 : tensor<8x32xf32>
  %z = model.experts %x, %w, %e gate_up [@w13_scaled] down @w2_scaled act_group 8 : tensor<8x32xf32>, tensor<8x2xf32>, tensor<8x2xi32>
  return
}

// CHECK-LABEL: func.func @candidates
// CHECK-SAME: %[[L:.*]]: tensor<8x96xf32>
func.func @candidates(%l: tensor<8x96xf32>) {
  // CHECK: %[[V:.*]], %[[T:.*]] = model.top_candidates %[[L]] : tensor<8x96xf32> -> tensor<8x16xf32>, tensor<8x16xi32>
  %v, %t = model.top_candidates %l : tensor<8x96xf32> -> tensor<8x16xf32>, tensor<8x16xi32>
  // CHECK: model.merge_candidates %[[V]], %[[T]] : tensor<8x16xf32>, tensor<8x16xi32> -> tensor<8x4xf32>, tensor<8x4xi32>
  %a, %b = model.merge_candidates %v, %t : tensor<8x16xf32>, tensor<8x16xi32> -> tensor<8x4xf32>, tensor<8x4xi32>
  // CHECK: model.map_tokens %[[T]], @d2t : tensor<8x16xi32>
  %m = model.map_tokens %t, @d2t : tensor<8x16xi32>
  return
}

}
