// RUN: saddle-opt %s --split-input-file --dist-predict-step --verify-diagnostics

// Memory 4550000 bytes/us, hop 3.7 us, links 391000 bytes/us.
// The linear reads 3072 x 768 bf16 = 4718592 bytes = 4.7 MB: 1.04 us. The
// all-reduce of 8 x 3072 bf16 = 49152 bytes over 8 ranks takes one shot: 3.7 +
// 7 * 49152 / 391000 = 4.58 us. Sum 5.62 us.
dist.mesh @mesh ["tp" = 8]
model.weight @o from "o" dims ["hidden", "q_heads"] : tensor<3072x6144xbf16>
dist.weight_shard @o.shard of [@o] shardings [#dist.sharding<@mesh, [_, "tp"]>] concat 0 : tensor<3072x768xbf16>
// expected-remark @+1 {{@decode_8: 0.006 ms predicted for H200: 4.7 MB of weights 0.001 ms, 1 collectives 0.005 ms; not counted: activations, states (0 bytes a sequence), caches (0 bytes a token)}}
func.func @decode_8(%x: tensor<8x768xbf16>) -> tensor<8x3072xbf16> {
  %y = model.linear %x, @o.shard : tensor<8x768xbf16> -> tensor<8x3072xbf16>
  %z = dist.all_reduce %y over <@mesh, ["tp"]> : tensor<8x3072xbf16>
  return %z : tensor<8x3072xbf16>
}

// -----

// A rank holds 64 of 256 experts (4 groups). One token chooses 8 of 256: the
// rank expects 8/256 of what it holds: 64 x (2 x 1024 x 1024 + 1024 x 1024)
// bf16 = 402.7 MB / 32 = 12.6 MB, 2.77 us. No collective.
dist.mesh @mesh ["tp" = 4]
model.weight @w13 from "{}.w13" dims ["experts", "expert_width", "hidden"] : tensor<256x2048x1024xbf16>
model.weight @w2 from "{}.w2" dims ["experts", "hidden", "expert_width"] : tensor<256x1024x1024xbf16>
dist.weight_shard @a of [@w13] shardings [#dist.sharding<@mesh, ["tp", _, _]>] concat 1 : tensor<64x2048x1024xbf16>
dist.weight_shard @b of [@w2] shardings [#dist.sharding<@mesh, ["tp", _, _]>] concat 1 : tensor<64x1024x1024xbf16>
// expected-remark @+1 {{@decode_1: 0.003 ms predicted for H200: 12.6 MB of weights 0.003 ms, 0 collectives 0.000 ms}}
func.func @decode_1(%x: tensor<1x1024xbf16>, %w: tensor<1x8xf32>, %e: tensor<1x8xi32>) -> tensor<1x1024xbf16> {
  %y = model.experts %x, %w, %e gate_up [@a] down @b {dist.expert_start = #dist.rank_value<0 + (rank div 1 mod 4) * 64>}
      : tensor<1x1024xbf16>, tensor<1x8xf32>, tensor<1x8xi32>
  return %y : tensor<1x1024xbf16>
}

// -----

// What a sequence leaves on a rank is told apart: two states of 8 heads of
// 128 x 128 in fp32, one of them asked twice, 2 x 8 x 16384 x 4 = 1048576 bytes; keys
// and values of one head of 128 in bf16 are 2 x 256 = 512 bytes a token.
model.recurrent_state @s heads 8 rows 128 cols 128 dim "q_heads"
model.recurrent_state @t heads 8 rows 128 cols 128 dim "q_heads"
model.kv_cache @c heads 1 head_dim 128 : bf16
// expected-remark @+1 {{not counted: activations, states (1048576 bytes a sequence), caches (512 bytes a token)}}
func.func @decode_2(%x: tensor<2x3072xbf16>, %k: tensor<2x128xbf16>, %context: !model.context) -> tensor<2x1024xbf16> {
  model.kv_append %k, %k, @c, %context : tensor<2x128xbf16>
  %0 = model.decay_scan %x, @s, %context heads 64 rate 1.0 {dist.head_start = #dist.rank_value<0 + (rank div 1 mod 8) * 8>} : tensor<2x3072xbf16> -> tensor<2x1024xbf16>
  %1 = model.decay_scan %x, @t, %context heads 64 rate 0.5 {dist.head_start = #dist.rank_value<0 + (rank div 1 mod 8) * 8>} : tensor<2x3072xbf16> -> tensor<2x1024xbf16>
  %2 = model.decay_scan %x, @t, %context heads 64 rate 0.5 {dist.head_start = #dist.rank_value<0 + (rank div 1 mod 8) * 8>} : tensor<2x3072xbf16> -> tensor<2x1024xbf16>
  %3 = model.attention %0, @c, %context scale 1.0 : tensor<2x1024xbf16>
  return %3 : tensor<2x1024xbf16>
}

// -----

// A step with candidates reads those: the gather of whole logits is left out.
// What counts are the gathers of four ranks' values and tokens, 2 x 16 x 4 =
// 128 bytes to a rank each: 3.7 us for the hop and next to nothing for 96 bytes.
dist.mesh @mesh ["tp" = 4]
// expected-remark @+1 {{@decode_2: 0.007 ms predicted for H200: 0.0 MB of weights 0.000 ms, 2 collectives 0.007 ms; not counted: activations, states (0 bytes a sequence), caches (0 bytes a token), collectives of whole logits, which a step with candidates leaves out}}
func.func @decode_2(%part: tensor<2x48xf32>) -> (tensor<2x192xf32>, tensor<2x16xf32>, tensor<2x16xi32>) {
  %logits = dist.all_gather %part dim 1 over <@mesh, ["tp"]> : tensor<2x48xf32> -> tensor<2x192xf32>
  %v, %t = model.top_candidates %part {dist.vocab_start = #dist.rank_value<0 + (rank div 1 mod 4) * 48>} : tensor<2x48xf32> -> tensor<2x4xf32>, tensor<2x4xi32>
  %values = dist.all_gather %v dim 1 over <@mesh, ["tp"]> : tensor<2x4xf32> -> tensor<2x16xf32>
  %tokens = dist.all_gather %t dim 1 over <@mesh, ["tp"]> : tensor<2x4xi32> -> tensor<2x16xi32>
  return %logits, %values, %tokens : tensor<2x192xf32>, tensor<2x16xf32>, tensor<2x16xi32>
}

// -----

// Without candidates logits are what is read.
dist.mesh @mesh ["tp" = 4]
// expected-remark @+1 {{1 collectives 0.004 ms; not counted: activations, states (0 bytes a sequence), caches (0 bytes a token)}}
func.func @decode_2(%part: tensor<2x48xf32>) -> tensor<2x192xf32> {
  %logits = dist.all_gather %part dim 1 over <@mesh, ["tp"]> : tensor<2x48xf32> -> tensor<2x192xf32>
  return %logits : tensor<2x192xf32>
}
