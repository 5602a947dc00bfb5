// RUN: saddle-opt %s --split-input-file --convert-to-engine | FileCheck %s

// One entry of every kind of op, for two ranks. States are those of one page of
// 16 tokens.

// CHECK: module attributes {
// CHECK-NOT: model.ignored_sources
module attributes {
  model.ignored_sources = {inv_freq = {reason = "derived from rope_theta", stack = 0, type = tensor<8xf32>},
                           q.g_idx = {group = 4, reason = "in their groups", stack = 0, type = tensor<8xi32>}},
  model.limits = {max_batch = 2, max_seq_len = 40, prefill_chunk = 8, page_size = 16}
} {

// Sources take over the weights' names. Stacks are described by one member.
// CHECK: engine.source @table from "table" : tensor<96x32xbf16>
// CHECK: engine.source @w1 from "{}.w1" stack 6 : tensor<24x32xbf16>

// CHECK: engine.source @ignored.0 from "inv_freq" ignored "derived from rope_theta" : tensor<8xf32>
// CHECK: engine.source @ignored.1 from "q.g_idx" ignored "in their groups" group 4 : tensor<8xi32>

// CHECK: engine.arena @weights constant bytes 0 align 1
// CHECK: engine.arena @kv pages bytes 0 align 1
// CHECK: engine.arena @activations transient bytes 0 align 1
// CHECK: engine.arena @io io bytes 0 align 1

dist.mesh @mesh ["tp" = 2]
model.weight @table from "table" dims ["vocab", "hidden"] : tensor<96x32xbf16>
model.weight @norm from "norm" dims ["hidden"] : tensor<32xbf16>
model.weight @qk from "qk" dims ["q_heads", "hidden"] : tensor<64x32xbf16>
model.weight @q_norm from "q_norm" dims ["q_heads"] : tensor<32xbf16>
model.weight @router from "router" dims ["router_experts", "hidden"] : tensor<6x32xbf16>
model.weight @bias from "bias" dims ["router_experts"] : tensor<6xf32>
model.weight @w1 from "{}.w1" dims ["experts", "width", "hidden"] : tensor<6x24x32xbf16>
model.weight @w3 from "{}.w3" dims ["experts", "width", "hidden"] : tensor<6x24x32xbf16>
model.weight @w2 from "{}.w2" dims ["experts", "hidden", "width"] : tensor<6x32x24xbf16>
dist.weight_shard @table.shard of [@table] shardings [#dist.sharding<@mesh, ["tp", _]>] concat 0 : tensor<48x32xbf16>
dist.weight_shard @norm.shard of [@norm] shardings [#dist.sharding<@mesh, [_]>] concat 0 : tensor<32xf32>
dist.weight_shard @qk.shard of [@qk] shardings [#dist.sharding<@mesh, ["tp", _]>] concat 0 : tensor<32x32xbf16>
dist.weight_shard @q_norm.shard of [@q_norm] shardings [#dist.sharding<@mesh, ["tp"]>] concat 0 : tensor<16xf32>
dist.weight_shard @router.shard of [@router] shardings [#dist.sharding<@mesh, [_, _]>] concat 0 : tensor<6x32xbf16>
dist.weight_shard @bias.shard of [@bias] shardings [#dist.sharding<@mesh, [_]>] concat 0 : tensor<6xf32>
dist.weight_shard @w13.shard of [@w1, @w3] shardings [#dist.sharding<@mesh, [_, "tp", _]>, #dist.sharding<@mesh, [_, "tp", _]>]
    concat 1 : tensor<6x24x32xbf16>
dist.weight_shard @w2.shard of [@w2] shardings [#dist.sharding<@mesh, [_, _, "tp"]>] concat 0 : tensor<6x32x12xbf16>

// CHECK: engine.program @stage_0 stage 0 {
// CHECK: engine.weight @table.shard in @weights pieces {{.*}} : memref<48x32xbf16>
// CHECK: engine.state @kv.k kind paged in @kv : memref<1x16x1x16xbf16>
// CHECK-NEXT: engine.state @kv.v kind paged in @kv : memref<1x16x1x16xbf16>
model.kv_cache @kv heads 1 head_dim 16 : bf16

// CHECK: engine.entry @prefill_8 prefill tokens 8 rows 4 {
func.func @prefill_8(%tokens: tensor<8xi32>, %positions: tensor<8xi32>, %rows: tensor<4xi32>, %context: !model.context)
    -> tensor<4x96xf32> attributes {model.phase = "prefill"} {
  // The step's inputs of docs/Runtime.md, in the io arena.
  // CHECK: %[[TOKENS:.*]] = engine.buffer in @io : memref<8xi32>
  // CHECK-NEXT: engine.bind "tokens", %[[TOKENS]]
  // CHECK-NEXT: %[[POS:.*]] = engine.buffer in @io : memref<8xi32>
  // CHECK-NEXT: engine.bind "positions", %[[POS]]
  // CHECK-NEXT: %[[ROWS:.*]] = engine.buffer in @io : memref<4xi32>
  // CHECK-NEXT: engine.bind "rows", %[[ROWS]]
  // CHECK-NEXT: %[[SEQ:.*]] = engine.buffer in @io : memref<8xi32>
  // CHECK-NEXT: engine.bind "sequences", %[[SEQ]]
  // CHECK-NEXT: %[[SLOTS:.*]] = engine.buffer in @io : memref<8xi32>
  // CHECK-NEXT: engine.bind "slots", %[[SLOTS]]
  // CHECK-NEXT: %[[BLOCKS:.*]] = engine.buffer in @io : memref<2x3xi32>
  // CHECK-NEXT: engine.bind "block_table", %[[BLOCKS]]

  // CHECK: %[[TABLE:.*]] = engine.global @table.shard : memref<48x32xbf16>
  // CHECK: %[[X:.*]] = engine.buffer in @activations : memref<8x32xbf16>
  // CHECK: engine.launch @embedding_0(%[[TOKENS]], %[[TABLE]]) outs(%[[X]]) tokens at "model.embedding" :
  %x = model.embedding %tokens, @table.shard {dist.vocab_start = #dist.rank_value<0 + (rank div 1 mod 2) * 48>} : tensor<8xi32> -> tensor<8x32xbf16>
  // An inline group opens; its launches and collectives carry the signature.
  // CHECK: %[[R:.*]] = engine.buffer in @activations : memref<8x32xbf16>
  // CHECK: engine.collective all_reduce_sum %[[X]] to %[[R]] over @groups.tp dim 0 tokens at "dist.all_reduce" fusion @all_reduce_rms_norm
  // CHECK: %[[NW:.*]] = engine.global @norm.shard : memref<32xf32>
  // CHECK: %[[N:.*]] = engine.buffer in @activations : memref<8x32xbf16>
  // CHECK: engine.launch @rms_norm_0(%[[R]], %[[NW]]) outs(%[[N]]) tokens at "model.rms_norm" fusion @all_reduce_rms_norm
  %n = kernel.group "all_reduce_rms_norm" using "inline" (%a = %x) : (tensor<8x32xbf16>) -> tensor<8x32xbf16> {
    %r = dist.all_reduce %a over <@mesh, ["tp"]> : tensor<8x32xbf16>
    %0 = model.rms_norm %r, @norm.shard eps 0.5 : tensor<8x32xbf16>
    kernel.yield %0 : tensor<8x32xbf16>
  }
  // A split is views of one buffer, not copies.
  // CHECK: %[[QK:.*]] = engine.buffer in @activations : memref<8x32xbf16>
  // CHECK: engine.launch @linear_0(%[[N]], %{{.*}}) outs(%[[QK]])
  // CHECK-NOT: fusion
  // CHECK: %[[Q:.*]] = engine.view %[[QK]] column 0 : memref<8x32xbf16> -> memref<8x16xbf16, strided<[32, 1]>>
  // CHECK: %[[K:.*]] = engine.view %[[QK]] column 16 : memref<8x32xbf16> -> memref<8x16xbf16, strided<[32, 1], offset: 16>>
  %qk = model.linear %n, @qk.shard : tensor<8x32xbf16> -> tensor<8x32xbf16>
  %q, %k = model.split %qk : tensor<8x32xbf16> -> tensor<8x16xbf16>, tensor<8x16xbf16>
  // CHECK: %[[S:.*]] = engine.buffer in @activations : memref<8x2xf32>
  // CHECK: engine.launch @sum_of_squares_0(%[[Q]], %[[K]]) outs(%[[S]])
  %s = model.sum_of_squares %q, %k : (tensor<8x16xbf16>, tensor<8x16xbf16>) -> tensor<8x2xf32>
  // CHECK: engine.launch @rms_scale_0(%[[Q]], %[[S]], %{{.*}}) outs(%[[QN:.*]]) tokens
  %qn = model.rms_scale %q, %s[0], @q_norm.shard divisor 32 eps 0.5 : tensor<8x16xbf16>, tensor<8x2xf32> -> tensor<8x16xbf16>
  // Another column is another constant, so another kernel.
  // CHECK: engine.launch @rms_scale_1(
  %kn = model.rms_scale %k, %s[1], @q_norm.shard divisor 32 eps 0.5 : tensor<8x16xbf16>, tensor<8x2xf32> -> tensor<8x16xbf16>
  // CHECK: engine.launch @rope_0(%[[QN]], %[[POS]]) outs(%[[QR:.*]]) tokens
  %qr = model.rope %qn, %positions head_dim 16 rotary_dim 8 theta 1.0e4 : tensor<8x16xbf16>, tensor<8xi32>
  // Equal constants share a kernel.
  // CHECK: engine.launch @rope_0(
  %kr = model.rope %kn, %positions head_dim 16 rotary_dim 8 theta 1.0e4 : tensor<8x16xbf16>, tensor<8xi32>
  // The context becomes step inputs; caches are written in place.
  // CHECK: %[[KC:.*]] = engine.global @kv.k : memref<1x16x1x16xbf16>
  // CHECK-NEXT: %[[VC:.*]] = engine.global @kv.v : memref<1x16x1x16xbf16>
  // CHECK: engine.launch @kv_append_0(%{{.*}}, %[[K]], %[[SLOTS]]) outs(%[[KC]], %[[VC]]) tokens
  model.kv_append %kr, %k, @kv, %context : tensor<8x16xbf16>
  // CHECK: engine.launch @attention_0(%[[QR]], %{{.*}}, %{{.*}}, %[[POS]], %[[SEQ]], %[[BLOCKS]]) outs(%[[A:.*]]) tokens
  %a = model.attention %qr, @kv, %context scale 0.25 : tensor<8x16xbf16>
  // CHECK: engine.collective all_gather %[[A]] to %[[G:.*]] over @groups.tp dim 1 tokens {{.*}} : memref<8x16xbf16> to memref<8x32xbf16>
  %g = dist.all_gather %a dim 1 over <@mesh, ["tp"]> : tensor<8x16xbf16> -> tensor<8x32xbf16>
  // CHECK: engine.launch @add_0(%[[N]], %[[G]]) outs(%[[H:.*]]) tokens
  %h = model.add %n, %g : tensor<8x32xbf16>
  // CHECK: engine.launch @linear_0(%[[H]], %{{.*}}) outs(%[[L:.*]]) tokens
  %l = model.linear %h, @router.shard : tensor<8x32xbf16> -> tensor<8x6xf32>
  // CHECK: engine.launch @router_topk_0(%[[L]], %{{.*}}) outs(%[[W:[^,]*]], %[[E:.*]]) tokens {{.*}} outs(memref<8x2xf32>, memref<8x2xi32>)
  %w, %e = model.router %l, @bias.shard routed_scale 2.0 : tensor<8x6xf32> -> tensor<8x2xf32>, tensor<8x2xi32>
  // CHECK: engine.launch @experts_0(%[[H]], %[[W]], %[[E]], %{{.*}}, %{{.*}}) outs(%[[Y:.*]]) tokens {{.*}} memref<6x24x32xbf16>, memref<6x32x12xbf16>)
  %y = model.experts %h, %w, %e gate_up [@w13.shard] down @w2.shard {dist.expert_start = #dist.rank_value<0 + (rank div 1 mod 1) * 0>}
      : tensor<8x32xbf16>, tensor<8x2xf32>, tensor<8x2xi32>
  // CHECK: engine.collective reduce_scatter_sum %[[Y]] to %[[RS:.*]] over @groups.tp dim 1 tokens {{.*}} : memref<8x32xbf16> to memref<8x16xbf16>
  %rs = dist.reduce_scatter %y dim 1 over <@mesh, ["tp"]> : tensor<8x32xbf16> -> tensor<8x16xbf16>
  %z = dist.all_gather %rs dim 1 over <@mesh, ["tp"]> : tensor<8x16xbf16> -> tensor<8x32xbf16>
  // From here on commands run over rows, not tokens.
  // CHECK: engine.launch @select_rows_0(%{{.*}}, %[[ROWS]]) outs(%[[LAST:.*]]) rows
  %last = model.select_rows %z, %rows : tensor<8x32xbf16>, tensor<4xi32> -> tensor<4x32xbf16>
  // CHECK: engine.launch @linear_0(%[[LAST]], %{{.*}}) outs(%[[PART:.*]]) rows
  %part = model.linear %last, @table.shard : tensor<4x32xbf16> -> tensor<4x48xf32>
  // Logits are io too, and bound last.
  // CHECK: %[[LOGITS:.*]] = engine.buffer in @io : memref<4x96xf32>
  // CHECK: engine.collective all_gather %[[PART]] to %[[LOGITS]] over @groups.tp dim 1 rows
  // CHECK: engine.bind "logits", %[[LOGITS]]
  %logits = dist.all_gather %part dim 1 over <@mesh, ["tp"]> : tensor<4x48xf32> -> tensor<4x96xf32>
  return %logits : tensor<4x96xf32>
}

// CHECK: engine.kernel @embedding_0 op "embedding" {vocab_start = #dist.rank_value<0 + (rank div 1 mod 2) * 48>}
// CHECK: engine.fusion @all_reduce_rms_norm ops ["dist.all_reduce", "model.rms_norm"]
// CHECK: engine.rank_groups @groups.tp axes "tp" size 2 ranks [0, 1]
// CHECK: engine.kernel @rms_norm_0 op "rms_norm" {eps = 5.000000e-01 : f64}
// CHECK: engine.kernel @linear_0 op "linear" {act_group = 0 : i64}
// CHECK: engine.kernel @sum_of_squares_0 op "sum_of_squares" {}
// CHECK: engine.kernel @rms_scale_0 op "rms_scale" {column = 0 : i64, divisor = 32 : i64, eps = 5.000000e-01 : f64}
// CHECK: engine.kernel @rms_scale_1 op "rms_scale" {column = 1 : i64, divisor = 32 : i64, eps = 5.000000e-01 : f64}
// CHECK: engine.kernel @rope_0 op "rope" {head_dim = 16 : i64, rotary_dim = 8 : i64, theta = 1.000000e+04 : f64}
// CHECK: engine.kernel @kv_append_0 op "kv_append" {}
// CHECK: engine.kernel @attention_0 op "attention" {head_dim = 16 : i64, scale = 2.500000e-01 : f64}
// CHECK: engine.kernel @add_0 op "add" {}
// CHECK: engine.kernel @router_topk_0 op "router_topk" {routed_scale = 2.000000e+00 : f64}
// CHECK: engine.kernel @experts_0 op "experts" {act_group = 0 : i64, expert_start = #dist.rank_value<0 + (rank div 1 mod 1) * 0>}
// CHECK: engine.kernel @select_rows_0 op "select_rows" {}
// CHECK-NOT: {{(model|dist|kernel)\.(weight|linear|group|mesh|kv_cache)}}

}

// -----

// Logits that a group yields, a place that the importer named, scaled storage,
// and a token count shared by two entries. Without rank values the starts are
// 0. A decode entry has as many rows as tokens.

module attributes {model.limits = {max_batch = 4, max_seq_len = 32, prefill_chunk = 8, page_size = 16}} {
dist.mesh @mesh ["tp" = 1]
model.weight @table from "table" dims ["vocab", "hidden"] : tensor<96x32xbf16>
model.weight @head from "head" dims ["vocab", "hidden"] stored <scale f32 [16, 8] from "head_s"> : tensor<96x32xf8E4M3FN>
dist.weight_shard @table.shard of [@table] shardings [#dist.sharding<@mesh, [_, _]>] concat 0 : tensor<96x32xbf16>
dist.weight_shard @head.shard of [@head] shardings [#dist.sharding<@mesh, [_, _]>] concat 0 stored <scale f32 [16, 8]> : tensor<96x32xf8E4M3FN>

// CHECK: engine.entry @decode_4 decode tokens 4 rows 4 {
func.func @decode_4(%tokens: tensor<4xi32>, %positions: tensor<4xi32>, %rows: tensor<4xi32>, %context: !model.context)
    -> tensor<4x96xf32> attributes {model.phase = "decode"} {
  // CHECK: engine.launch @embedding_0({{.*}} at "embed" :
  %x = model.embedding %tokens, @table.shard : tensor<4xi32> -> tensor<4x32xbf16> loc("embed")
  // CHECK: %[[W:.*]] = engine.global @head.shard : memref<96x32xf8E4M3FN>
  // CHECK: %[[S:.*]] = engine.global @head.shard.scale : memref<6x4xf32>
  // CHECK: %[[T:.*]] = engine.buffer in @activations : memref<4x96xf32>
  // CHECK: engine.launch @linear_0(%{{.*}}, %[[W]], %[[S]]) outs(%[[T]]) tokens at "head" fusion @head_twice
  // CHECK: %[[LOGITS:.*]] = engine.buffer in @io : memref<4x96xf32>
  // CHECK: engine.launch @add_0(%[[T]], %[[T]]) outs(%[[LOGITS]]) tokens at "twice" fusion @head_twice
  // CHECK: engine.bind "logits", %[[LOGITS]]
  %y = kernel.group "head_twice" using "inline" (%a = %x) : (tensor<4x32xbf16>) -> tensor<4x96xf32> {
    %t = model.linear %a, @head.shard act_group 8 : tensor<4x32xbf16> -> tensor<4x96xf32> loc("head")
    %0 = model.add %t, %t : tensor<4x96xf32> loc(fused["twice", "other"])
    kernel.yield %0 : tensor<4x96xf32>
  }
  return %y : tensor<4x96xf32>
}

// CHECK: engine.kernel @embedding_0 op "embedding" {vocab_start = #dist.rank_value<0 + (rank div 1 mod 1) * 0>}
// CHECK: engine.kernel @linear_0 op "linear" {act_group = 8 : i64, storage = [#model.storage<scale f32 [16, 8]>]}
}

// -----

// Scaled experts name the storage of both stacks.

module attributes {model.limits = {max_batch = 4, max_seq_len = 32, prefill_chunk = 8, page_size = 16}} {
dist.mesh @mesh ["ep" = 2, "tp" = 2]
model.weight @w13 from "{}.w13" dims ["experts", "width", "hidden"] stored <scale f32 [16, 8] from "{}.w13_s"> : tensor<6x96x32xf8E4M3FN>
model.weight @w2 from "{}.w2" dims ["experts", "hidden", "width"] stored <scale f32 [16, 8] from "{}.w2_s"> : tensor<6x32x48xf8E4M3FN>
dist.weight_shard @w13.shard of [@w13] shardings [#dist.sharding<@mesh, ["ep", _, _]>] concat 0 stored <scale f32 [16, 8]> : tensor<3x96x32xf8E4M3FN>
dist.weight_shard @w2.shard of [@w2] shardings [#dist.sharding<@mesh, ["ep", _, _]>] concat 0 stored <scale f32 [16, 4]> : tensor<3x32x48xf8E4M3FN>

func.func @decode_4(%tokens: tensor<4xi32>, %positions: tensor<4xi32>, %rows: tensor<4xi32>, %context: !model.context)
    -> tensor<4x32xf32> attributes {model.phase = "decode"} {
  %t = model.embedding %tokens, @table.shard : tensor<4xi32> -> tensor<4x32xf32>
  %l = model.linear %t, @router.shard : tensor<4x32xf32> -> tensor<4x6xf32>
  %w, %e = model.router %l, @bias.shard routed_scale 2.0 : tensor<4x6xf32> -> tensor<4x2xf32>, tensor<4x2xi32>
  // [96 / 16, 32 / 8] and [32 / 16, 48 / 4] scales for each of 3 experts.
  // CHECK: engine.launch @experts_0({{.*}} memref<3x96x32xf8E4M3FN>, memref<3x6x4xf32>, memref<3x32x48xf8E4M3FN>, memref<3x2x12xf32>)
  %y = model.experts %t, %w, %e gate_up [@w13.shard] down @w2.shard {dist.expert_start = #dist.rank_value<0 + (rank div 2 mod 2) * 3>}
      : tensor<4x32xf32>, tensor<4x2xf32>, tensor<4x2xi32>
  // Two axes and a factor make groups of their own: ranks 0, 1 | 2, 3 along
  // "tp" and 0, 2 | 1, 3 along "ep".
  %a = dist.all_reduce %y over <@mesh, ["tp"]> : tensor<4x32xf32>
  %b = dist.all_reduce %a over <@mesh, ["ep"]> : tensor<4x32xf32>
  %c = dist.all_reduce %b over <@mesh, ["ep", "tp"]> : tensor<4x32xf32>
  return %c : tensor<4x32xf32>
}
model.weight @table from "table" dims ["vocab", "hidden"] : tensor<96x32xf32>
model.weight @router from "router" dims ["router_experts", "hidden"] : tensor<6x32xf32>
model.weight @bias from "bias" dims ["router_experts"] : tensor<6xf32>
dist.weight_shard @table.shard of [@table] shardings [#dist.sharding<@mesh, [_, _]>] concat 0 : tensor<96x32xf32>
dist.weight_shard @router.shard of [@router] shardings [#dist.sharding<@mesh, [_, _]>] concat 0 : tensor<6x32xf32>
dist.weight_shard @bias.shard of [@bias] shardings [#dist.sharding<@mesh, [_]>] concat 0 : tensor<6xf32>

// CHECK: engine.kernel @experts_0 op "experts" {act_group = 0 : i64, expert_start = #dist.rank_value<0 + (rank div 2 mod 2) * 3>,
// CHECK-SAME: storage = [#model.storage<scale f32 [16, 8]>, #model.storage<scale f32 [16, 4]>]}
// CHECK: engine.rank_groups @groups.tp axes "tp" size 2 ranks [0, 1, 2, 3]
// CHECK: engine.rank_groups @groups.ep axes "ep" size 2 ranks [0, 2, 1, 3]
// CHECK: engine.rank_groups @groups.ep_tp axes "ep_tp" size 4 ranks [0, 1, 2, 3]
}

// -----

// Half of an axis: "tp":(1)2 of 4 is the major digit of the rank, so groups
// are 0, 2 and 1, 3.

module attributes {model.limits = {max_batch = 4, max_seq_len = 32, prefill_chunk = 8, page_size = 16}} {
dist.mesh @mesh ["tp" = 4]
model.weight @table from "table" dims ["vocab", "hidden"] : tensor<96x32xf32>
dist.weight_shard @table.shard of [@table] shardings [#dist.sharding<@mesh, [_, _]>] concat 0 : tensor<96x32xf32>
func.func @decode_4(%tokens: tensor<4xi32>, %positions: tensor<4xi32>, %rows: tensor<4xi32>, %context: !model.context)
    -> tensor<4x32xf32> attributes {model.phase = "decode"} {
  %t = model.embedding %tokens, @table.shard : tensor<4xi32> -> tensor<4x32xf32>
  %a = dist.all_reduce %t over <@mesh, ["tp":(1)2]> : tensor<4x32xf32>
  return %a : tensor<4x32xf32>
}
// CHECK: engine.rank_groups @groups.tp.1.2 axes "tp.1.2" size 2 ranks [0, 2, 1, 3]
}

// -----

// The same factors in a topology have names: two replicas of two ranks.

module attributes {dist.topology = {tp = 4, dp = 2, ep = 1, pp = 1}, model.limits = {max_batch = 4, max_seq_len = 32, prefill_chunk = 8, page_size = 16}} {
dist.mesh @mesh ["tp" = 4]
model.weight @table from "table" dims ["vocab", "hidden"] : tensor<96x32xf32>
dist.weight_shard @table.shard of [@table] shardings [#dist.sharding<@mesh, [_, _]>] concat 0 : tensor<96x32xf32>
func.func @decode_4(%tokens: tensor<4xi32>, %positions: tensor<4xi32>, %rows: tensor<4xi32>, %context: !model.context)
    -> tensor<4x32xf32> attributes {model.phase = "decode"} {
  %t = model.embedding %tokens, @table.shard : tensor<4xi32> -> tensor<4x32xf32>
  %a = dist.all_reduce %t over <@mesh, ["tp":(1)2]> : tensor<4x32xf32>
  %b = dist.all_reduce %a over <@mesh, ["tp":(2)2]> : tensor<4x32xf32>
  return %b : tensor<4x32xf32>
}
// CHECK: engine.rank_groups @groups.replicas axes "replicas" size 2 ranks [0, 2, 1, 3]
// CHECK: engine.rank_groups @groups.attention axes "attention" size 2 ranks [0, 1, 2, 3]
}

// -----

// A rank of two has columns 32 .. 63 of GPTQ's [64, 48] words of 8 rows: 16
// bytes from byte 16 on, and its two groups of 16.

module attributes {model.limits = {max_batch = 4, max_seq_len = 32, prefill_chunk = 8, page_size = 16}} {
dist.mesh @mesh ["tp" = 2]
model.weight @down from "down.qweight" dims ["hidden", "width"]
    stored <packed i32 rows [0, 1, 2, 3, 4, 5, 6, 7], transposed, scale f16 [1, 16] transposed from "down.scales",
            zero ui4 [1, 16] packed i32 [0, 1, 2, 3, 4, 5, 6, 7] transposed plus 1 from "down.qzeros"> : tensor<48x64xui4>
dist.weight_shard @down.shard of [@down] shardings [#dist.sharding<@mesh, [_, "tp"]>] concat 0
    stored <packed i8 [0, 1], scale f32 [1, 16], zero ui8 [1, 16]> : tensor<48x32xui4>

// CHECK: engine.source @down from "down.qweight" unpacked <packed <i32 rows [0, 1, 2, 3, 4, 5, 6, 7]> transposed per 2 to 48 x 32> : tensor<8x48xi32>
// CHECK: engine.source @down.scale from "down.scales" companion scale of @down unpacked <transposed to 48 x 4> : tensor<4x48xf16>
// CHECK: engine.source @down.zero from "down.qzeros" companion zero of @down
// CHECK-SAME: unpacked <packed <i32 [0, 1, 2, 3, 4, 5, 6, 7]> transposed plus 1 to 48 x 4> : tensor<4x6xi32>
// CHECK: engine.weight @down.shard in @weights
// CHECK-SAME: rows = 48, col = <0 + (rank div 1 mod 2) * 16>, cols = 16, dest_row = 0, dest_col = 0, blocks = 1, 1, 1, 1
// CHECK-SAME: memref<48x16xui8>
// CHECK: engine.weight @down.shard.scale in @weights
// CHECK-SAME: col = <0 + (rank div 1 mod 2) * 32>, cols = 2, dest_row = 0, dest_col = 0, blocks = 1, 16, 1, 16
// CHECK-SAME: memref<48x2xf32>
// CHECK: engine.weight @down.shard.zero in @weights
// CHECK-SAME: memref<48x2xui8>
func.func @decode_4(%tokens: tensor<4xi32>, %positions: tensor<4xi32>, %rows: tensor<4xi32>, %context: !model.context)
    -> tensor<4x48xf32> attributes {model.phase = "decode"} {
  %x = model.embedding %tokens, @table.shard : tensor<4xi32> -> tensor<4x32xf32> loc("embed")
  // CHECK: %[[W:.*]] = engine.global @down.shard : memref<48x16xui8>
  // CHECK: %[[S:.*]] = engine.global @down.shard.scale : memref<48x2xf32>
  // CHECK: %[[Z:.*]] = engine.global @down.shard.zero : memref<48x2xui8>
  // CHECK: engine.launch @linear_0(%{{.*}}, %[[W]], %[[S]], %[[Z]])
  %y = model.linear %x, @down.shard : tensor<4x32xf32> -> tensor<4x48xf32> loc("down")
  return %y : tensor<4x48xf32>
}
// CHECK: storage = [#model.storage<packed i8 [0, 1], codes ui4, scale f32 [1, 16], zero ui8 [1, 16]>]
model.weight @table from "t" dims ["vocab", "hidden"] : tensor<96x32xf32>
dist.weight_shard @table.shard of [@table] shardings [#dist.sharding<@mesh, [_, _]>] concat 0 : tensor<96x32xf32>
}

// -----

// Outputs have buffers of their own: a part of a result is copied to one.
// CHECK-LABEL: engine.entry @logits_of_a_split
module attributes {model.limits = {max_batch = 2, max_seq_len = 32, prefill_chunk = 8, page_size = 16}} {
  dist.mesh @mesh ["tp" = 1]
  model.weight @table from "table" dims ["vocab", "hidden"] : tensor<96x32xf32>
  dist.weight_shard @table.shard of [@table] shardings [#dist.sharding<@mesh, [_, _]>] concat 0 : tensor<96x32xf32>
  func.func @logits_of_a_split(%tokens: tensor<2xi32>, %positions: tensor<2xi32>, %rows: tensor<2xi32>, %context: !model.context)
      -> tensor<2x16xf32> attributes {model.phase = "decode"} {
    // CHECK: %[[X:.*]] = engine.buffer in @activations : memref<2x32xf32>
    // CHECK: %[[A:.*]] = engine.view %[[X]]
    %x = model.embedding %tokens, @table.shard : tensor<2xi32> -> tensor<2x32xf32>
    %a, %b = model.split %x : tensor<2x32xf32> -> tensor<2x16xf32>, tensor<2x16xf32> loc("parts")
    // CHECK: %[[OWN:.*]] = engine.buffer in @io : memref<2x16xf32>
    // CHECK-NEXT: engine.copy %[[A]] to %[[OWN]] tokens at "parts"
    // CHECK-NEXT: engine.bind "logits", %[[OWN]]
    return %a : tensor<2x16xf32>
  }
}

// -----

// Rows of bytes are no copy: 32 codes, then 2 factors from byte 32 on, which is
// the eighth f32 of rows of 48 / 4 = 12.
// CHECK-LABEL: engine.entry @rows_of_bytes
module attributes {dist.topology = {tp = 2, dp = 1, ep = 1, pp = 1}, model.limits = {max_batch = 2, max_seq_len = 32, prefill_chunk = 8, page_size = 16}} {
  dist.mesh @mesh ["tp" = 2]
  model.weight @table from "table" dims ["vocab", "hidden"] : tensor<96x32xf32>
  dist.weight_shard @table.shard of [@table] shardings [#dist.sharding<@mesh, [_, _]>] concat 0 : tensor<96x32xf32>
  model.weight @head from "head" dims ["vocab", "hidden"] stored <scale f32 [16, 16] from "head_scale"> : tensor<96x32xf8E4M3FN>
  dist.weight_shard @head.shard of [@head] shardings [#dist.sharding<@mesh, [_, _]>] concat 0 stored <scale f32 [16, 16]> : tensor<96x32xf8E4M3FN>
  func.func @rows_of_bytes(%tokens: tensor<2xi32>, %positions: tensor<2xi32>, %rows: tensor<2xi32>, %context: !model.context)
      -> tensor<4x96xf32> attributes {model.phase = "decode"} {
    // CHECK: %[[X:.*]] = engine.buffer in @activations : memref<2x32xf32>
    // CHECK: %[[OWN:.*]] = engine.buffer in @activations : memref<2x48xui8>
    // CHECK: %[[C:.*]] = engine.view %[[OWN]] column 0 : memref<2x48xui8> -> memref<2x32xf8E4M3FN, strided<[48, 1]>>
    // CHECK: %[[F:.*]] = engine.view %[[OWN]] column 32 : memref<2x48xui8> -> memref<2x2xf32, strided<[12, 1], offset: 8>>
    // CHECK: engine.launch @encode_rows_0(%[[X]]) outs(%[[C]], %[[F]])
    // CHECK: engine.collective all_gather %[[OWN]] to %[[ALL:.*]] over
    // CHECK: %[[AC:.*]] = engine.view %[[ALL]] column 0
    // CHECK: %[[AF:.*]] = engine.view %[[ALL]] column 32
    // CHECK: engine.launch @linear_of_codes_0(%[[AC]], %[[AF]],
    %x = model.embedding %tokens, @table.shard : tensor<2xi32> -> tensor<2x32xf32>
    %c, %f = model.encode_rows %x group 16 : tensor<2x32xf32> -> tensor<2x32xf8E4M3FN>, tensor<2x2xf32>
    %own = model.join_bytes %c, %f : (tensor<2x32xf8E4M3FN>, tensor<2x2xf32>) -> tensor<2x48xui8>
    %all = dist.all_gather %own dim 0 over <@mesh, ["tp"]> rows packed : tensor<2x48xui8> -> tensor<4x48xui8>
    %ac, %af = model.split_bytes %all : tensor<4x48xui8> -> tensor<4x32xf8E4M3FN>, tensor<4x2xf32>
    %y = model.linear_of_codes %ac, %af, @head.shard act_group 16 : tensor<4x32xf8E4M3FN>, tensor<4x2xf32> -> tensor<4x96xf32>
    return %y : tensor<4x96xf32>
  }
}

// -----

// Of two outputs, what only whole logits need is marked: gathering them. The
// product leads to both, and what changes state is always needed.
// CHECK-LABEL: engine.entry @logits_and_candidates
module attributes {dist.topology = {tp = 2, dp = 1, ep = 1, pp = 1}, model.limits = {max_batch = 2, max_seq_len = 32, prefill_chunk = 8, page_size = 16}} {
  dist.mesh @mesh ["tp" = 2]
  model.weight @table from "table" dims ["vocab", "hidden"] : tensor<96x32xf32>
  dist.weight_shard @table.shard of [@table] shardings [#dist.sharding<@mesh, [_, _]>] concat 0 : tensor<96x32xf32>
  model.weight @head from "head" dims ["vocab", "hidden"] : tensor<96x32xf32>
  dist.weight_shard @head.shard of [@head] shardings [#dist.sharding<@mesh, ["tp", _]>] concat 0 : tensor<48x32xf32>
  func.func @logits_and_candidates(%tokens: tensor<2xi32>, %positions: tensor<2xi32>, %rows: tensor<2xi32>, %context: !model.context)
      -> (tensor<2x96xf32>, tensor<2x4xf32>, tensor<2x4xi32>) attributes {model.phase = "decode"} {
    // CHECK: engine.launch {{.*}} at "model.embedding" :
    %x = model.embedding %tokens, @table.shard : tensor<2xi32> -> tensor<2x32xf32>
    // CHECK: engine.launch {{.*}} at "lm_head" :
    %part = model.linear %x, @head.shard : tensor<2x32xf32> -> tensor<2x48xf32> loc("lm_head")
    // CHECK: engine.collective all_gather {{.*}} at "logits" {engine.output = "logits"}
    %logits = dist.all_gather %part dim 1 over <@mesh, ["tp"]> : tensor<2x48xf32> -> tensor<2x96xf32> loc("logits")
    // CHECK: engine.launch {{.*}} at "top" {engine.output = "candidates"}
    %v, %t = model.top_candidates %part : tensor<2x48xf32> -> tensor<2x4xf32>, tensor<2x4xi32> loc("top")
    return %logits, %v, %t : tensor<2x96xf32>, tensor<2x4xf32>, tensor<2x4xi32>
  }
}
