// RUN: saddle-opt %s --split-input-file --dist-seed-shardings --verify-diagnostics | FileCheck %s

// Everything divides: 8 query heads, 4 KV heads, width 24, 96 words over 4
// ranks. Split along each weight's own dimension, so q/k/v and gate/up are cut
// by rows and o and down by columns; experts, router and hidden stay whole.

// CHECK-LABEL: module @kv_heads_are_partitioned
module @kv_heads_are_partitioned {
dist.mesh @mesh ["tp" = 4]
// CHECK: model.weight @embed {{.*}} {dist.sharding = #dist.sharding<@mesh, ["tp", _]>}
model.weight @embed from "embed" dims ["embedding_vocab", "hidden"] : tensor<96x32xbf16>
// CHECK: model.weight @norm {{.*}} {dist.sharding = #dist.sharding<@mesh, [_]>}
model.weight @norm from "norm" dims ["hidden"] : tensor<32xbf16>
// CHECK: model.weight @q_proj {{.*}} {dist.sharding = #dist.sharding<@mesh, ["tp", _]>}
model.weight @q_proj from "q" dims ["q_heads" x 8, "hidden"] : tensor<64x32xbf16>
// CHECK: model.weight @k_proj {{.*}} {dist.sharding = #dist.sharding<@mesh, ["tp", _]>}
model.weight @k_proj from "k" dims ["kv_heads" x 8, "hidden"] : tensor<32x32xbf16>
// CHECK: model.weight @k_norm {{.*}} {dist.sharding = #dist.sharding<@mesh, ["tp"]>}
model.weight @k_norm from "kn" dims ["kv_heads" x 8] : tensor<32xbf16>
// CHECK: model.weight @o_proj {{.*}} {dist.sharding = #dist.sharding<@mesh, [_, "tp"]>}
model.weight @o_proj from "o" dims ["hidden", "q_heads" x 8] : tensor<32x64xbf16>
// CHECK: model.weight @router {{.*}} {dist.sharding = #dist.sharding<@mesh, [_, _]>}
model.weight @router from "router" dims ["router_experts", "hidden"] : tensor<6x32xf32>
// CHECK: model.weight @w1 {{.*}} {dist.sharding = #dist.sharding<@mesh, [_, "tp", _]>}
model.weight @w1 from "{}.w1" dims ["experts", "expert_width", "hidden"] : tensor<6x24x32xbf16>
// CHECK: model.weight @w2 {{.*}} {dist.sharding = #dist.sharding<@mesh, [_, _, "tp"]>}
model.weight @w2 from "{}.w2" dims ["experts", "hidden", "expert_width"] : tensor<6x32x24xbf16>
// CHECK: model.weight @shared_w2 {{.*}} {dist.sharding = #dist.sharding<@mesh, [_, _, "tp"]>}
model.weight @shared_w2 from "s2" dims ["shared_experts", "hidden", "shared_width"] : tensor<1x32x12xbf16>
// CHECK: model.kv_cache @kv {{.*}} {dist.sharding = #dist.sharding<@mesh, ["tp"]>}
model.kv_cache @kv heads 4 head_dim 8 : bf16
// One index key serves all heads.
// CHECK: model.index_keys @index {{.*}} {dist.sharding = #dist.sharding<@mesh, [_]>}
model.index_keys @index heads 1 head_dim 8 : bf16
// CHECK: model.index_keys @split_index {{.*}} {dist.sharding = #dist.sharding<@mesh, ["tp"]>}
model.index_keys @split_index heads 4 head_dim 8 dim "kv_heads" : bf16
// CHECK: model.recurrent_state @state {{.*}} {dist.sharding = #dist.sharding<@mesh, ["tp"]>}
model.recurrent_state @state heads 8 rows 8 cols 4 dim "q_heads"
}

// -----

// 8 ranks over 4 KV heads: the major factor of tp counts heads, so ranks 2j
// and 2j+1 hold head j, and with it query heads 2j and 2j+1.

// CHECK-LABEL: module @kv_heads_are_replicated
module @kv_heads_are_replicated {
dist.mesh @mesh ["tp" = 8]
// CHECK: model.weight @q_proj {{.*}} {dist.sharding = #dist.sharding<@mesh, ["tp", _]>}
model.weight @q_proj from "q" dims ["q_heads" x 8, "hidden"] : tensor<128x32xbf16>
// CHECK: model.weight @k_proj {{.*}} {dist.sharding = #dist.sharding<@mesh, ["tp":(1)4, _]>}
model.weight @k_proj from "k" dims ["kv_heads" x 8, "hidden"] : tensor<32x32xbf16>
// CHECK: model.kv_cache @kv {{.*}} {dist.sharding = #dist.sharding<@mesh, ["tp":(1)4]>}
model.kv_cache @kv heads 4 head_dim 8 : bf16
}

// -----

// CHECK-LABEL: module @one_kv_head_is_held_by_all
module @one_kv_head_is_held_by_all {
dist.mesh @mesh ["tp" = 4]
// CHECK: model.weight @k_proj {{.*}} {dist.sharding = #dist.sharding<@mesh, [_, _]>}
model.weight @k_proj from "k" dims ["kv_heads" x 8, "hidden"] : tensor<8x32xbf16>
// CHECK: model.kv_cache @kv {{.*}} {dist.sharding = #dist.sharding<@mesh, [_]>}
model.kv_cache @kv heads 1 head_dim 8 : bf16
}

// -----

// 97 words over 2 ranks: no remainder is ever cut off; both tables stay whole.

// CHECK-LABEL: module @a_vocabulary_that_does_not_divide_is_replicated
// expected-remark @+2 {{vocab_size = 97 does not divide by 2; the embedding is replicated}}
// expected-remark @+1 {{vocab_size = 97 does not divide by 2; lm_head is replicated}}
module @a_vocabulary_that_does_not_divide_is_replicated {
dist.mesh @mesh ["tp" = 2]
// CHECK: model.weight @embed {{.*}} {dist.sharding = #dist.sharding<@mesh, [_, _]>}
model.weight @embed from "embed" dims ["embedding_vocab", "hidden"] : tensor<97x32xbf16>
// CHECK: model.weight @lm_head {{.*}} {dist.sharding = #dist.sharding<@mesh, [_, _]>}
model.weight @lm_head from "lm_head" dims ["vocab", "hidden"] : tensor<97x32xbf16>
}

// -----

// One rank splits nothing, whatever the counts are.

// CHECK-LABEL: module @one_rank_splits_nothing
module @one_rank_splits_nothing {
dist.mesh @mesh ["tp" = 1]
// CHECK: model.weight @embed {{.*}} {dist.sharding = #dist.sharding<@mesh, [_, _]>}
model.weight @embed from "embed" dims ["embedding_vocab", "hidden"] : tensor<7x32xbf16>
// CHECK: model.weight @q_proj {{.*}} {dist.sharding = #dist.sharding<@mesh, [_, _]>}
model.weight @q_proj from "q" dims ["q_heads" x 8, "hidden"] : tensor<24x32xbf16>
// CHECK: model.kv_cache @kv {{.*}} {dist.sharding = #dist.sharding<@mesh, [_]>}
model.kv_cache @kv heads 3 head_dim 8 : bf16
}

// -----

// 16 ranks as 2 replicas x width 8, and as 4 expert groups x width 4. Heads are
// split inside a replica; 4 KV heads by the major factor of its 8 ranks. The
// table is read for a replica's own tokens, lm_head for everybody's.

// CHECK-LABEL: module @replicas_and_expert_groups
module @replicas_and_expert_groups attributes {dist.topology = {tp = 16, dp = 2, ep = 4, pp = 1}} {
dist.mesh @mesh ["tp" = 16]
// CHECK: model.weight @embed {{.*}} {dist.sharding = #dist.sharding<@mesh, ["tp":(2)8, _]>}
model.weight @embed from "embed" dims ["embedding_vocab", "hidden"] : tensor<96x32xbf16>
// CHECK: model.weight @q_proj {{.*}} {dist.sharding = #dist.sharding<@mesh, ["tp":(2)8, _]>}
model.weight @q_proj from "q" dims ["q_heads" x 8, "hidden"] : tensor<64x32xbf16>
// CHECK: model.weight @k_proj {{.*}} {dist.sharding = #dist.sharding<@mesh, ["tp":(2)4, _]>}
model.weight @k_proj from "k" dims ["kv_heads" x 8, "hidden"] : tensor<32x32xbf16>
// CHECK: model.weight @w2 {{.*}} {dist.sharding = #dist.sharding<@mesh, ["tp":(1)4, _, "tp":(4)4]>}
model.weight @w2 from "{}.w2" dims ["experts", "hidden", "expert_width"] : tensor<8x32x24xbf16>
// CHECK: model.weight @lm_head {{.*}} {dist.sharding = #dist.sharding<@mesh, ["tp", _]>}
model.weight @lm_head from "lm_head" dims ["vocab", "hidden"] : tensor<96x32xbf16>
// CHECK: func.func @decode_1(%{{.*}}: tensor<2xi32> {dist.sharding = #dist.sharding<@mesh, ["tp":(1)2]>})
func.func @decode_1(%tokens: tensor<2xi32>) {
  return
}
}

// -----

// 64 ranks over 48 heads and 8 KV heads: the largest factor of 64 that divides
// 48 and that 8 divides is 16, so groups of 4 ranks repeat a share.

// CHECK-LABEL: module @more_ranks_than_heads
module @more_ranks_than_heads attributes {dist.topology = {tp = 64, dp = 1, ep = 64, pp = 1}} {
dist.mesh @mesh ["tp" = 64]
// CHECK: model.weight @q_proj {{.*}} {dist.sharding = #dist.sharding<@mesh, ["tp":(1)16, _]>}
model.weight @q_proj from "q" dims ["q_heads" x 128, "hidden"] : tensor<6144x32xbf16>
// CHECK: model.weight @k_proj {{.*}} {dist.sharding = #dist.sharding<@mesh, ["tp":(1)8, _]>}
model.weight @k_proj from "k" dims ["kv_heads" x 128, "hidden"] : tensor<1024x32xbf16>
// CHECK: model.weight @w1 {{.*}} {dist.sharding = #dist.sharding<@mesh, ["tp", _, _]>}
model.weight @w1 from "{}.w1" dims ["experts", "expert_width", "hidden"] : tensor<256x1536x32xbf16>
}

// -----

// Units are counted, not elements: 6 heads of 4 values go to 3 ranks. A model
// without experts has no width that could object.

// CHECK-LABEL: module @a_dense_model_splits_what_it_has
module @a_dense_model_splits_what_it_has {
dist.mesh @mesh ["tp" = 3]
// CHECK: model.weight @q_proj from "q" dims ["q_heads" x 4, "hidden"] {dist.sharding = #dist.sharding<@mesh, ["tp", _]>}
model.weight @q_proj from "q" dims ["q_heads" x 4, "hidden"] : tensor<24x32xbf16>
// CHECK: model.weight @norm {{.*}} {dist.sharding = #dist.sharding<@mesh, [_]>}
model.weight @norm from "norm" dims ["hidden"] : tensor<32xbf16>
}

// -----

// A cache alone says how many KV heads there are.

// CHECK-LABEL: module @caches_count_kv_heads
module @caches_count_kv_heads {
dist.mesh @mesh ["tp" = 8]
// CHECK: model.kv_cache @kv {{.*}} {dist.sharding = #dist.sharding<@mesh, ["tp":(1)2]>}
model.kv_cache @kv heads 2 head_dim 8 : bf16
}

// -----

// A draft has sizes of its own: dimensions with a prefix are planned apart. 12
// heads over 4 ranks, 2 KV heads on two ranks each; a dense network is split
// where it divides.

// CHECK-LABEL: module @prefixes_are_planned_apart
module @prefixes_are_planned_apart {
dist.mesh @mesh ["tp" = 4]
// CHECK: model.weight @q_proj {{.*}} {dist.sharding = #dist.sharding<@mesh, ["tp", _]>}
model.weight @q_proj from "q" dims ["q_heads" x 8, "hidden"] : tensor<64x32xbf16>
// CHECK: model.weight @draft_q {{.*}} {dist.sharding = #dist.sharding<@mesh, ["tp", _]>}
model.weight @draft_q from "q" of "draft" dims ["draft.q_heads" x 8, "features"] : tensor<96x64xbf16>
// CHECK: model.weight @draft_k {{.*}} {dist.sharding = #dist.sharding<@mesh, ["tp":(1)2, _]>}
model.weight @draft_k from "k" of "draft" dims ["draft.kv_heads" x 8, "features"] : tensor<16x64xbf16>
// CHECK: model.weight @gate {{.*}} {dist.sharding = #dist.sharding<@mesh, ["tp", _]>}
model.weight @gate from "g" of "draft" dims ["draft.dense_width", "hidden"] : tensor<20x32xbf16>
// CHECK: model.kv_cache @kv {{.*}} {dist.sharding = #dist.sharding<@mesh, ["tp":(1)2]>}
model.kv_cache @kv heads 2 head_dim 8 dim "draft.kv_heads" : bf16
// CHECK: model.token_rows @rows {{.*}} {dist.sharding = #dist.sharding<@mesh, [_]>}
model.token_rows @rows width 32 : bf16
}

// -----

// expected-remark @+1 {{intermediate_size = 18 does not divide by 4; the dense network is replicated}}
module @what_does_not_divide_stays_whole {
dist.mesh @mesh ["tp" = 4]
// CHECK: model.weight @gate {{.*}} {dist.sharding = #dist.sharding<@mesh, [_, _]>}
model.weight @gate from "g" dims ["draft.dense_width", "hidden"] : tensor<18x32xbf16>
}
