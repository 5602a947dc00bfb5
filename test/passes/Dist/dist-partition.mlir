// RUN: saddle-opt %s --split-input-file --dist-propagate --dist-insert-reshards --dist-partition | FileCheck %s

// Four ranks. Weights become shares beside the weight, types become local.

dist.mesh @mesh ["tp" = 4]
// 96 rows / 4 = 24.
// CHECK: model.weight @table
// CHECK-NOT: dist.sharding =
// CHECK: dist.weight_shard @table.shard of [@table] shardings [#dist.sharding<@mesh, ["tp", _]>] concat 0 : tensor<24x32xbf16>
model.weight @table from "table" dims ["vocab", "hidden"] {dist.sharding = #dist.sharding<@mesh, ["tp", _]>} : tensor<96x32xbf16>
// CHECK: dist.weight_shard @whole_table.shard of [@whole_table] {{.*}} : tensor<97x32xbf16>
model.weight @whole_table from "whole" dims ["vocab", "hidden"] {dist.sharding = #dist.sharding<@mesh, [_, _]>} : tensor<97x32xbf16>
// Norm weights are multiplied in f32.
// CHECK: dist.weight_shard @norm.shard of [@norm] {{.*}} : tensor<32xf32>
model.weight @norm from "norm" dims ["hidden"] {dist.sharding = #dist.sharding<@mesh, [_]>} : tensor<32xbf16>
// CHECK: dist.weight_shard @q_proj.shard of [@q_proj] {{.*}} : tensor<16x32xbf16>
model.weight @q_proj from "q" dims ["q_heads", "hidden"] {dist.sharding = #dist.sharding<@mesh, ["tp", _]>} : tensor<64x32xbf16>
// CHECK: dist.weight_shard @o_proj.shard of [@o_proj] {{.*}} : tensor<32x16xbf16>
model.weight @o_proj from "o" dims ["hidden", "q_heads"] {dist.sharding = #dist.sharding<@mesh, [_, "tp"]>} : tensor<32x64xbf16>
// So is the bias of the router, if it is not f32 already.
// CHECK: dist.weight_shard @bias.shard of [@bias] {{.*}} : tensor<6xf32>
model.weight @bias from "bias" dims ["router_experts"] {dist.sharding = #dist.sharding<@mesh, [_]>} : tensor<6xbf16>
// 24 rows of width / 4 = 6.
// CHECK: dist.weight_shard @w1.shard of [@w1] {{.*}} : tensor<6x6x32xbf16>
model.weight @w1 from "{}.w1" dims ["experts", "width", "hidden"] {dist.sharding = #dist.sharding<@mesh, [_, "tp", _]>} : tensor<6x24x32xbf16>
model.weight @w3 from "{}.w3" dims ["experts", "width", "hidden"] {dist.sharding = #dist.sharding<@mesh, [_, "tp", _]>} : tensor<6x24x32xbf16>
// CHECK: dist.weight_shard @w2.shard of [@w2] {{.*}} : tensor<6x32x6xbf16>
model.weight @w2 from "{}.w2" dims ["experts", "hidden", "width"] {dist.sharding = #dist.sharding<@mesh, [_, _, "tp"]>} : tensor<6x32x24xbf16>

// Rank r looks up rows from 24 r on; the reshard is of local values now.
// CHECK-LABEL: func.func @split_embedding
func.func @split_embedding(%tokens: tensor<8xi32>) -> tensor<8x32xbf16> {
  // CHECK: model.embedding {{.*}}, @table.shard {dist.vocab_start = #dist.rank_value<0 + (rank div 1 mod 4) * 24>} {{.*}} -> tensor<8x32xbf16>
  // CHECK: dist.reshard {{.*}} : tensor<8x32xbf16> -> tensor<8x32xbf16>
  %x = model.embedding %tokens, @table : tensor<8xi32> -> tensor<8x32xbf16>
  return %x : tensor<8x32xbf16>
}

// CHECK-LABEL: func.func @whole_embedding
func.func @whole_embedding(%tokens: tensor<8xi32>) {
  // CHECK: model.embedding {{.*}}, @whole_table.shard {dist.vocab_start = #dist.rank_value<0 + (rank div 1 mod 1) * 0>}
  %x = model.embedding %tokens, @whole_table : tensor<8xi32> -> tensor<8x32xbf16>
  return
}

// CHECK-LABEL: func.func @column_parallel_then_row_parallel
func.func @column_parallel_then_row_parallel(%x: tensor<8x32xbf16>) -> tensor<8x32xbf16> {
  // CHECK: model.rms_norm {{.*}}, @norm.shard
  %n = model.rms_norm %x, @norm eps 0.5 : tensor<8x32xbf16>
  // CHECK: model.linear {{.*}}, @q_proj.shard : tensor<8x32xbf16> -> tensor<8x16xbf16>
  %q = model.linear %n, @q_proj : tensor<8x32xbf16> -> tensor<8x64xbf16>
  // CHECK: model.linear {{.*}}, @o_proj.shard : tensor<8x16xbf16> -> tensor<8x32xbf16>
  // CHECK-NOT: dist.shardings
  %o = model.linear %q, @o_proj : tensor<8x64xbf16> -> tensor<8x32xbf16>
  return %o : tensor<8x32xbf16>
}

// CHECK-LABEL: func.func @gathered_columns_are_whole_again
func.func @gathered_columns_are_whole_again(%x: tensor<8x32xbf16>) -> tensor<8x64xbf16> {
  // CHECK: dist.reshard {{.*}} : tensor<8x16xbf16> -> tensor<8x64xbf16>
  %q = model.linear %x, @q_proj : tensor<8x32xbf16> -> tensor<8x64xbf16>
  return %q : tensor<8x64xbf16>
}

// Every rank has all 6 experts, so the first is number 0.
// CHECK-LABEL: func.func @experts_split_by_width
func.func @experts_split_by_width(%x: tensor<8x32xbf16>, %l: tensor<8x6xf32>) {
  // CHECK: model.router {{.*}}, @bias.shard
  %w, %e = model.router %l, @bias routed_scale 1.0 : tensor<8x6xf32> -> tensor<8x2xf32>, tensor<8x2xi32>
  // CHECK: model.experts {{.*}} gate_up [@w1.shard, @w3.shard] down @w2.shard {dist.expert_start = #dist.rank_value<0 + (rank div 1 mod 1) * 0>}
  %y = model.experts %x, %w, %e gate_up [@w1, @w3] down @w2 : tensor<8x32xbf16>, tensor<8x2xf32>, tensor<8x2xi32>
  return
}

// -----

// 8 ranks over 4 KV heads of 8 columns; q has 8 heads. k has 32 / 4 = 8 local
// columns, and each is summed by 8 / 4 = 2 ranks: the divisor doubles. q is
// summed once.

dist.mesh @mesh ["tp" = 8]
model.weight @q_proj from "q" dims ["q_heads", "hidden"] {dist.sharding = #dist.sharding<@mesh, ["tp", _]>} : tensor<64x32xbf16>
// CHECK: dist.weight_shard @k_proj.shard of [@k_proj] shardings [#dist.sharding<@mesh, ["tp":(1)4, _]>] concat 0 : tensor<8x32xbf16>
model.weight @k_proj from "k" dims ["kv_heads", "hidden"] {dist.sharding = #dist.sharding<@mesh, ["tp":(1)4, _]>} : tensor<32x32xbf16>
// CHECK: dist.weight_shard @q_norm.shard {{.*}} : tensor<8xf32>
model.weight @q_norm from "q_norm" dims ["q_heads"] {dist.sharding = #dist.sharding<@mesh, ["tp"]>} : tensor<64xbf16>
// CHECK: dist.weight_shard @k_norm.shard of [@k_norm] shardings [#dist.sharding<@mesh, ["tp":(1)4]>] concat 0 : tensor<8xf32>
model.weight @k_norm from "k_norm" dims ["kv_heads"] {dist.sharding = #dist.sharding<@mesh, ["tp":(1)4]>} : tensor<32xbf16>
// CHECK: model.kv_cache @kv heads 1 head_dim 8 : bf16
model.kv_cache @kv heads 4 head_dim 8 {dist.sharding = #dist.sharding<@mesh, ["tp":(1)4]>} : bf16

// CHECK-LABEL: func.func @replicated_kv_heads_are_counted_twice
func.func @replicated_kv_heads_are_counted_twice(%x: tensor<8x32xbf16>, %context: !model.context) {
  %q = model.linear %x, @q_proj : tensor<8x32xbf16> -> tensor<8x64xbf16>
  %k = model.linear %x, @k_proj : tensor<8x32xbf16> -> tensor<8x32xbf16>
  // CHECK: model.sum_of_squares {{.*}} : (tensor<8x8xbf16>, tensor<8x8xbf16>) -> tensor<8x2xf32>
  %s = model.sum_of_squares %q, %k : (tensor<8x64xbf16>, tensor<8x32xbf16>) -> tensor<8x2xf32>
  // CHECK: model.rms_scale {{.*}}[0], @q_norm.shard divisor 64
  %qn = model.rms_scale %q, %s[0], @q_norm divisor 64 eps 0.5 : tensor<8x64xbf16>, tensor<8x2xf32> -> tensor<8x64xbf16>
  // CHECK: model.rms_scale {{.*}}[1], @k_norm.shard divisor 64
  %kn = model.rms_scale %k, %s[1], @k_norm divisor 32 eps 0.5 : tensor<8x32xbf16>, tensor<8x2xf32> -> tensor<8x32xbf16>
  // CHECK: model.kv_append {{.*}} : tensor<8x8xbf16>
  model.kv_append %kn, %k, @kv, %context : tensor<8x32xbf16>
  // CHECK: model.attention {{.*}} : tensor<8x8xbf16>
  %a = model.attention %qn, @kv, %context scale 0.25 : tensor<8x64xbf16>
  return
}

// -----

dist.mesh @mesh ["tp" = 4]
// CHECK: model.recurrent_state @state heads 2 rows 4 cols 8 dim "q_heads"{{$}}
model.recurrent_state @state heads 8 rows 4 cols 8 dim "q_heads" {dist.sharding = #dist.sharding<@mesh, ["tp"]>}
// CHECK: model.index_keys @index heads 1 head_dim 8 : bf16
model.index_keys @index heads 1 head_dim 8 {dist.sharding = #dist.sharding<@mesh, [_]>} : bf16
model.weight @qkv from "qkv" dims ["q_heads" x 16, "hidden"] {dist.sharding = #dist.sharding<@mesh, ["tp", _]>} : tensor<128x32xbf16>

// Rank r scans heads 2r and 2r + 1 of 8.
// CHECK-LABEL: func.func @state_is_split_by_heads
func.func @state_is_split_by_heads(%x: tensor<8x32xbf16>, %context: !model.context) {
  %qkv = model.linear %x, @qkv : tensor<8x32xbf16> -> tensor<8x128xbf16>
  // CHECK: model.decay_scan {{.*}}, @state, {{.*}} heads 8 rate 5.000000e-01 {dist.head_start = #dist.rank_value<0 + (rank div 1 mod 4) * 2>} : tensor<8x32xbf16> -> tensor<8x16xbf16>
  %y = model.decay_scan %qkv, @state, %context heads 8 rate 0.5 : tensor<8x128xbf16> -> tensor<8x64xbf16>
  return
}

// -----

// One KV head of 16 columns on each of 4 ranks: its columns are summed 4
// times, 16 * 4 = 64.

dist.mesh @mesh ["tp" = 4]
model.weight @q_proj from "q" dims ["q_heads", "hidden"] {dist.sharding = #dist.sharding<@mesh, ["tp", _]>} : tensor<64x32xbf16>
model.weight @k_proj from "k" dims ["kv_heads", "hidden"] {dist.sharding = #dist.sharding<@mesh, [_, _]>} : tensor<16x32xbf16>
model.weight @k_norm from "k_norm" dims ["kv_heads"] {dist.sharding = #dist.sharding<@mesh, [_]>} : tensor<16xbf16>

// CHECK-LABEL: func.func @one_kv_head_is_counted_by_every_rank
func.func @one_kv_head_is_counted_by_every_rank(%x: tensor<8x32xbf16>) {
  %q = model.linear %x, @q_proj : tensor<8x32xbf16> -> tensor<8x64xbf16>
  %k = model.linear %x, @k_proj : tensor<8x32xbf16> -> tensor<8x16xbf16>
  %s = model.sum_of_squares %q, %k : (tensor<8x64xbf16>, tensor<8x16xbf16>) -> tensor<8x2xf32>
  // CHECK: model.rms_scale {{.*}}[1], @k_norm.shard divisor 64
  %kn = model.rms_scale %k, %s[1], @k_norm divisor 16 eps 0.5 : tensor<8x16xbf16>, tensor<8x2xf32> -> tensor<8x16xbf16>
  return
}

// CHECK-LABEL: func.func @a_complete_sum_keeps_its_divisor
func.func @a_complete_sum_keeps_its_divisor(%x: tensor<8x32xbf16>) {
  %k = model.linear %x, @k_proj : tensor<8x32xbf16> -> tensor<8x16xbf16>
  %s = model.sum_of_squares %k : (tensor<8x16xbf16>) -> tensor<8x1xf32>
  // CHECK: model.rms_scale {{.*}}[0], @k_norm.shard divisor 16
  %kn = model.rms_scale %k, %s[0], @k_norm divisor 16 eps 0.5 : tensor<8x16xbf16>, tensor<8x1xf32> -> tensor<8x16xbf16>
  return
}

// -----

// FP8 blocks of 128 x 128 over 8 ranks.

dist.mesh @mesh ["tp" = 8]
// 1536 / 8 = 192 rows: rank 1 starts in the middle of a block, and 64 is the
// largest size that divides 128 and 192.
// CHECK: dist.weight_shard @rows.shard {{.*}} concat 0 stored <scale f32 [64, 128]> : tensor<192x256xf8E4M3FN>
model.weight @rows from "rows" dims ["width", "hidden"] stored <scale f32 [128, 128] from "rows_s">
    {dist.sharding = #dist.sharding<@mesh, ["tp", _]>} : tensor<1536x256xf8E4M3FN>
// 3072 / 8 = 384 rows are three blocks.
// CHECK: dist.weight_shard @aligned.shard {{.*}} concat 0 stored <scale f32 [128, 128]> : tensor<384x256xf8E4M3FN>
model.weight @aligned from "aligned" dims ["width", "hidden"] stored <scale f32 [128, 128] from "aligned_s">
    {dist.sharding = #dist.sharding<@mesh, ["tp", _]>} : tensor<3072x256xf8E4M3FN>
// The same along columns. An unsplit dimension keeps its blocks, the last of
// which may be short (200 = 128 + 72).
// CHECK: dist.weight_shard @columns.shard {{.*}} concat 0 stored <scale f32 [128, 64]> : tensor<200x192xf8E4M3FN>
model.weight @columns from "columns" dims ["hidden", "width"] stored <scale f32 [128, 128] from "columns_s">
    {dist.sharding = #dist.sharding<@mesh, [_, "tp"]>} : tensor<200x1536xf8E4M3FN>

// CHECK-LABEL: func.func @blocks_get_finer_where_a_share_starts_inside_one
func.func @blocks_get_finer_where_a_share_starts_inside_one(%x: tensor<8x256xbf16>) {
  %y = model.linear %x, @rows : tensor<8x256xbf16> -> tensor<8x1536xbf16>
  %a = model.linear %x, @aligned : tensor<8x256xbf16> -> tensor<8x3072xbf16>
  %z = model.linear %y, @columns : tensor<8x1536xbf16> -> tensor<8x200xbf16>
  return
}

// -----

// A scale for each row, or for all: whole dimensions stay whole, and bf16
// scales become f32.

dist.mesh @mesh ["tp" = 8]
// CHECK: dist.weight_shard @rows.shard {{.*}} concat 0 stored <scale f32 [1, *]> : tensor<192x256xf8E4M3FN>
model.weight @rows from "rows" dims ["width", "hidden"] stored <scale bf16 [1, *] from "rows_s">
    {dist.sharding = #dist.sharding<@mesh, ["tp", _]>} : tensor<1536x256xf8E4M3FN>
// CHECK: dist.weight_shard @columns.shard {{.*}} concat 0 stored <scale f32 [1, *]> : tensor<200x192xf8E4M3FN>
model.weight @columns from "columns" dims ["hidden", "width"] stored <scale f32 [1, *] from "columns_s">
    {dist.sharding = #dist.sharding<@mesh, [_, "tp"]>} : tensor<200x1536xf8E4M3FN>

// CHECK-LABEL: func.func @whole_dimensions_stay_whole
func.func @whole_dimensions_stay_whole(%x: tensor<8x256xbf16>) {
  %y = model.linear %x, @rows : tensor<8x256xbf16> -> tensor<8x1536xbf16>
  %z = model.linear %y, @columns : tensor<8x1536xbf16> -> tensor<8x200xbf16>
  return
}

// -----

// Stacks: blocks are those of the last two dimensions. 6 experts over the two
// ranks of "ep" are 3 each, and rank r of 4 is in group r / 2 mod 2. Within it,
// 384 / 2 = 192 columns make blocks of 64.

dist.mesh @mesh ["ep" = 2, "tp" = 2]
// CHECK: dist.weight_shard @w2.shard {{.*}} stored <scale f32 [128, 64]> : tensor<3x256x192xf8E4M3FN>
model.weight @w2 from "{}.w2" dims ["experts", "hidden", "width"] stored <scale f32 [128, 128] from "{}.w2_s">
    {dist.sharding = #dist.sharding<@mesh, ["ep", _, "tp"]>} : tensor<6x256x384xf8E4M3FN>
model.weight @w1 from "{}.w1" dims ["experts", "width", "hidden"] stored <scale f32 [128, 128] from "{}.w1_s">
    {dist.sharding = #dist.sharding<@mesh, ["ep", "tp", _]>} : tensor<6x384x256xf8E4M3FN>

// CHECK-LABEL: func.func @experts_split_by_expert_and_width
func.func @experts_split_by_expert_and_width(%x: tensor<8x256xbf16>, %w: tensor<8x2xf32>, %e: tensor<8x2xi32>) -> tensor<8x256xbf16> {
  // CHECK: model.experts {{.*}} {dist.expert_start = #dist.rank_value<0 + (rank div 2 mod 2) * 3>}
  // CHECK: dist.reshard {{.*}} from <@mesh, [_, _] unreduced ["ep", "tp"]> to <@mesh, [_, _]>
  %y = model.experts %x, %w, %e gate_up [@w1, @w1] down @w2 : tensor<8x256xbf16>, tensor<8x2xf32>, tensor<8x2xi32>
  return %y : tensor<8x256xbf16>
}

// -----

// Candidates of a split vocabulary: each rank finds those of its 96 / 4 = 24
// tokens, and 4 * 16 = 64 become the best 16. A rank has but 24 tokens, so of 30
// candidates each gives 24.

dist.mesh @mesh ["tp" = 4]
model.weight @head from "head" dims ["vocab", "hidden"] {dist.sharding = #dist.sharding<@mesh, ["tp", _]>} : tensor<96x32xbf16>
model.weight @whole from "whole" dims ["vocab", "hidden"] {dist.sharding = #dist.sharding<@mesh, [_, _]>} : tensor<97x32xbf16>

// CHECK-LABEL: func.func @candidates
func.func @candidates(%x: tensor<8x32xbf16>) -> (tensor<8x96xf32>, tensor<8x16xf32>, tensor<8x16xi32>) {
  // CHECK: %[[PART:.*]] = model.linear {{.*}} -> tensor<8x24xf32>
  %l = model.linear %x, @head : tensor<8x32xbf16> -> tensor<8x96xf32>
  // CHECK: %[[V:.*]], %[[T:.*]] = model.top_candidates %[[PART]] {dist.vocab_start = #dist.rank_value<0 + (rank div 1 mod 4) * 24>} : tensor<8x24xf32> -> tensor<8x16xf32>, tensor<8x16xi32>
  // CHECK: %[[VS:.*]] = dist.reshard %[[V]] from <@mesh, [_, "tp"]> to <@mesh, [_, _]> : tensor<8x16xf32> -> tensor<8x64xf32>
  // CHECK: %[[TS:.*]] = dist.reshard %[[T]] from <@mesh, [_, "tp"]> to <@mesh, [_, _]> : tensor<8x16xi32> -> tensor<8x64xi32>
  // CHECK: %[[MV:.*]], %[[MT:.*]] = model.merge_candidates %[[VS]], %[[TS]] : {{.*}} -> tensor<8x16xf32>, tensor<8x16xi32>
  %v, %t = model.top_candidates %l : tensor<8x96xf32> -> tensor<8x16xf32>, tensor<8x16xi32>
  // CHECK: %[[L:.*]] = dist.reshard %[[PART]] {{.*}} : tensor<8x24xf32> -> tensor<8x96xf32>
  // CHECK: return %[[L]], %[[MV]], %[[MT]]
  return %l, %v, %t : tensor<8x96xf32>, tensor<8x16xf32>, tensor<8x16xi32>
}

// CHECK-LABEL: func.func @more_candidates_than_a_share
func.func @more_candidates_than_a_share(%x: tensor<8x32xbf16>) -> tensor<8x30xi32> {
  %l = model.linear %x, @head : tensor<8x32xbf16> -> tensor<8x96xf32>
  // CHECK: model.top_candidates {{.*}} -> tensor<8x24xf32>, tensor<8x24xi32>
  // CHECK: model.merge_candidates {{.*}} : tensor<8x96xf32>, tensor<8x96xi32> -> tensor<8x30xf32>, tensor<8x30xi32>
  %v, %t = model.top_candidates %l : tensor<8x96xf32> -> tensor<8x30xf32>, tensor<8x30xi32>
  return %t : tensor<8x30xi32>
}

// CHECK-LABEL: func.func @candidates_of_a_whole_vocabulary
func.func @candidates_of_a_whole_vocabulary(%x: tensor<8x32xbf16>) -> tensor<8x16xi32> {
  %l = model.linear %x, @whole : tensor<8x32xbf16> -> tensor<8x97xf32>
  // CHECK: %{{.*}}, %[[T:.*]] = model.top_candidates %{{.*}} : tensor<8x97xf32> -> tensor<8x16xf32>, tensor<8x16xi32>
  // CHECK-NEXT: return %[[T]]
  %v, %t = model.top_candidates %l : tensor<8x97xf32> -> tensor<8x16xf32>, tensor<8x16xi32>
  return %t : tensor<8x16xi32>
}
