// RUN: saddle-opt %s --convert-to-engine | FileCheck %s

// The three kinds of state, one page or one sequence of each; an arena of
// sequences only where something lies in it.

module attributes {model.limits = {max_batch = 2, max_seq_len = 40, prefill_chunk = 8, page_size = 16}} {

// CHECK: engine.arena @kv pages bytes 0 align 1
// CHECK-NEXT: engine.arena @sequences sequences bytes 0 align 1

dist.mesh @mesh ["tp" = 2]
// CHECK: engine.state @kv.k kind paged in @kv : memref<1x16x1x8xf8E4M3FN>
// CHECK-NEXT: engine.state @kv.v kind paged in @kv : memref<1x16x1x8xf8E4M3FN>
// CHECK-NEXT: engine.state @index.keys kind index_keys in @kv : memref<1x16x1x4xbf16>
// CHECK-NEXT: engine.state @state.state kind sequence in @sequences : memref<1x2x4x8xf32>
model.kv_cache @kv heads 1 head_dim 8 : f8E4M3FN
model.index_keys @index heads 1 head_dim 4 : bf16
model.recurrent_state @state heads 2 rows 4 cols 8 dim "q_heads"

// CHECK: engine.bind "positions", %[[POS:.*]] :
// CHECK: engine.bind "sequences", %[[SEQ:.*]] :
func.func @decode_2(%tokens: tensor<2xi32>, %positions: tensor<2xi32>, %rows: tensor<2xi32>, %context: !model.context)
    -> tensor<2x32xf32> attributes {model.phase = "decode"} {
  // CHECK: engine.launch @embedding_0(%{{.*}}) outs(%[[X:.*]]) tokens
  %x = model.embedding %tokens, @table.shard : tensor<2xi32> -> tensor<2x16xf32>
  // CHECK: engine.launch @linear_0(%[[X]], {{.*}}) outs(%[[QKV:.*]]) tokens
  // CHECK: %[[S:.*]] = engine.global @state.state : memref<1x2x4x8xf32>
  // CHECK: engine.launch @decay_scan_0(%[[QKV]], %[[POS]], %[[SEQ]]) outs(%[[S]], %[[Y:.*]]) tokens
  %qkv = model.linear %x, @qkv.shard : tensor<2x16xf32> -> tensor<2x32xf32>
  %y = model.decay_scan %qkv, @state, %context heads 4 rate 0.5 {dist.head_start = #dist.rank_value<0 + (rank div 1 mod 2) * 2>} : tensor<2x32xf32> -> tensor<2x16xf32>
  %z = model.linear %y, @head.shard : tensor<2x16xf32> -> tensor<2x32xf32>
  return %z : tensor<2x32xf32>
}
// CHECK: engine.kernel @decay_scan_0 op "decay_scan" {head_start = #dist.rank_value<0 + (rank div 1 mod 2) * 2>, heads = 4 : i64, rate = 5.000000e-01 : f64}
model.weight @table from "table" dims ["vocab", "hidden"] : tensor<32x16xf32>
dist.weight_shard @table.shard of [@table] shardings [#dist.sharding<@mesh, [_, _]>] concat 0 : tensor<32x16xf32>
model.weight @qkv from "qkv" dims ["q_heads" x 16, "hidden"] : tensor<64x16xf32>
dist.weight_shard @qkv.shard of [@qkv] shardings [#dist.sharding<@mesh, ["tp", _]>] concat 0 : tensor<32x16xf32>
model.weight @head from "head" dims ["vocab", "hidden"] : tensor<32x16xf32>
dist.weight_shard @head.shard of [@head] shardings [#dist.sharding<@mesh, [_, _]>] concat 0 : tensor<32x16xf32>
}
