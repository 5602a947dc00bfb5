// RUN: saddle-opt %s --split-input-file --dist-choose-exchanges --verify-diagnostics | FileCheck %s

// Times are of one layer on H200: hop 3.7 us, links 391000 bytes/us, memory
// 4550000 bytes/us, launch 1.3 us; far links (beyond 8 ranks) 15 us and 50000
// bytes/us. Rows are 3072 bf16, 6144 bytes.

// 8 tokens are b = 49152 bytes. One-shot all-reduce: 3.7 + 7b / 391000 = 4.58
// us, twice in a layer. Deferred: the add and norm read and write 2 tensors
// each, 2 * 4b / 4550000 = 0.09. Alone: two launches more, and the sum is
// written and read, 2 * 6b / 4550000 = 0.13. Scatter and gather: 4 * (3.7 + 7/8
// * b / 391000) = 15.24 and an eighth of the rows. Two hops lose against one.

module attributes {dist.topology = {tp = 8, dp = 1, ep = 1, pp = 1}} {
dist.mesh @mesh ["tp" = 8]
model.weight @n from "n" dims ["hidden"] : tensor<3072xf32>
// CHECK-LABEL: func.func @decode_8
// CHECK-SAME: dist.choices = {experts = "masked", reduction = "deferred"}
// CHECK-NOT: dist.token_axis
// CHECK: return
// expected-remark @+2 {{@decode_8: reduction = deferred, the fastest predicted for a layer on H200: all_reduce 11.89 us (exchanges 9.16, launches 2.60, memory 0.13), deferred 9.25 us (exchanges 9.16, launches 0.00, memory 0.09), reduce_scatter 15.25 us (exchanges 15.24, launches 0.00, memory 0.01)}}
// expected-remark @+1 {{@decode_8: experts = masked, the fastest predicted for a layer on H200: masked 9.25 us (exchanges 9.16, launches 0.00, memory 0.09), gathered 15.25 us (exchanges 15.24, launches 0.00, memory 0.01)}}
func.func @decode_8(%x: tensor<8x3072xbf16>, %y: tensor<8x3072xbf16>) -> tensor<8x3072xbf16> {
  %a = model.add %x, %y : tensor<8x3072xbf16>
  %b = model.rms_norm %a, @n eps 1.0e-6 : tensor<8x3072xbf16>
  return %b : tensor<8x3072xbf16>
}
}

// -----

// 4096 tokens are b = 25165824 bytes. Two-shot all-reduce, as scatter and
// gather: 4 * (3.7 + 7/8 * b / 391000) = 240.07 us. Memory: 2 * 4b / 4550000 =
// 44.25 for all rows, 5.53 for an eighth. Late norm: the sum is written and
// read by the add, 5 tensors of own rows, then all rows are read and written:
// 2 * (5b / 8 + 2b) / 4550000 = 29.04; 4 launches more. Logits rows behind
// select_rows are not tokens.

module attributes {dist.topology = {tp = 8, dp = 1, ep = 1, pp = 1}} {
dist.mesh @mesh ["tp" = 8]
model.weight @n from "n" dims ["hidden"] : tensor<3072xf32>
// CHECK-LABEL: func.func @prefill_4096
// CHECK-SAME: dist.choices = {experts = "gathered", norm = "early", reduction = "reduce_scatter"}
// CHECK: model.layer_boundary {{.*}} {dist.token_axis = #dist.axes<@mesh, ["tp"]>}
// CHECK: model.add {{.*}} {dist.token_axis = #dist.axes<@mesh, ["tp"]>}
// CHECK: model.select_rows
// CHECK-NEXT: model.rms_norm
// CHECK-NOT: dist.token_axis
// CHECK: return
// expected-remark @+3 {{@prefill_4096: reduction = reduce_scatter, the fastest predicted for a layer on H200: all_reduce 309.04 us (exchanges 240.07, launches 2.60, memory 66.37), deferred 284.32 us (exchanges 240.07, launches 0.00, memory 44.25), reduce_scatter 245.60 us (exchanges 240.07, launches 0.00, memory 5.53)}}
// expected-remark @+2 {{@prefill_4096: norm = early, the fastest predicted for a layer on H200: early 245.60 us (exchanges 240.07, launches 0.00, memory 5.53), late 274.31 us (exchanges 240.07, launches 5.20, memory 29.04)}}
// expected-remark @+1 {{@prefill_4096: experts = gathered, the fastest predicted for a layer on H200: masked 284.32 us (exchanges 240.07, launches 0.00, memory 44.25), gathered 245.60 us (exchanges 240.07, launches 0.00, memory 5.53)}}
func.func @prefill_4096(%x: tensor<4096x3072xbf16>, %y: tensor<4096x3072xbf16>, %rows: tensor<32xi32>) -> tensor<32x3072xbf16> {
  %0 = model.layer_boundary %x layer 0 : tensor<4096x3072xbf16>
  %a = model.add %0, %y : tensor<4096x3072xbf16>
  %r = model.select_rows %a, %rows : tensor<4096x3072xbf16>, tensor<32xi32> -> tensor<32x3072xbf16>
  %b = model.rms_norm %r, @n eps 1.0e-6 : tensor<32x3072xbf16>
  return %b : tensor<32x3072xbf16>
}
}

// -----

// The same where the stream goes on from the normed rows: a rank has them for
// its own tokens only, so they cannot be normalised behind the gather.

module attributes {dist.topology = {tp = 8, dp = 1, ep = 1, pp = 1}} {
dist.mesh @mesh ["tp" = 8]
model.weight @n from "n" dims ["hidden"] : tensor<3072xf32>
// CHECK-LABEL: func.func @post_norm
// CHECK-SAME: dist.choices = {experts = "gathered", norm = "early", reduction = "reduce_scatter"}
// CHECK: model.rms_norm {{.*}} {dist.token_axis = #dist.axes<@mesh, ["tp"]>}
// CHECK: model.scaled_add {{.*}} {dist.token_axis = #dist.axes<@mesh, ["tp"]>}
// expected-remark @+3 {{@post_norm: reduction = reduce_scatter}}
// expected-remark @+2 {{@post_norm: norm = early, the only one possible; predicted for a layer on H200: early 245.60 us (exchanges 240.07, launches 0.00, memory 5.53), late impossible (the normed rows are the residual too, which every rank keeps for its own rows)}}
// expected-remark @+1 {{@post_norm: experts = gathered}}
func.func @post_norm(%x: tensor<4096x3072xbf16>, %y: tensor<4096x3072xbf16>) -> tensor<4096x3072xbf16> {
  %0 = model.layer_boundary %x layer 0 : tensor<4096x3072xbf16>
  %n = model.rms_norm %0, @n eps 1.0e-6 : tensor<4096x3072xbf16>
  %a = model.scaled_add %n, %y alpha 2.0 beta 1.0 : tensor<4096x3072xbf16>
  return %a : tensor<4096x3072xbf16>
}
}

// -----

// 16 ranks leave the island. b = 98304 bytes; two-shot beats one-shot: 4 * (15
// + 15/16 * b / 50000) = 67.37 us either way, and own rows are a sixteenth of
// 2 * 4b / 4550000 = 0.17.

module attributes {dist.topology = {tp = 16, dp = 1, ep = 1, pp = 1}} {
dist.mesh @mesh ["tp" = 16]
// CHECK-LABEL: func.func @two_nodes
// CHECK-SAME: reduction = "reduce_scatter"
// expected-remark @+3 {{@two_nodes: reduction = reduce_scatter, the fastest predicted for a layer on H200: all_reduce 70.23 us (exchanges 67.37, launches 2.60, memory 0.26), deferred 67.55 us (exchanges 67.37, launches 0.00, memory 0.17), reduce_scatter 67.38 us (exchanges 67.37, launches 0.00, memory 0.01)}}
// expected-remark @+2 {{norm = early}}
// expected-remark @+1 {{experts = gathered}}
func.func @two_nodes(%x: tensor<16x3072xbf16>) -> tensor<16x3072xbf16> {
  %a = model.add %x, %x : tensor<16x3072xbf16>
  return %a : tensor<16x3072xbf16>
}
}

// -----

// 2 * (3.7 + 7 * 12 * 64 / 391000) = 7.43.
module attributes {dist.topology = {tp = 8, dp = 1, ep = 1, pp = 1}} {
dist.mesh @mesh ["tp" = 8]
// CHECK-LABEL: func.func @tokens_that_do_not_divide
// CHECK-NOT: dist.token_axis
// CHECK: return
// expected-remark @+2 {{reduce_scatter impossible (12 tokens cannot be split over tp = 8)}}
// expected-remark @+1 {{@tokens_that_do_not_divide: experts = masked, the only one possible; predicted for a layer on H200: masked 7.43 us (exchanges 7.43, launches 0.00, memory 0.00), gathered impossible (12 tokens cannot be split over tp = 8)}}
func.func @tokens_that_do_not_divide(%x: tensor<12x32xbf16>) -> tensor<12x32xbf16> {
  %a = model.add %x, %x : tensor<12x32xbf16>
  return %a : tensor<12x32xbf16>
}
}

// -----

// 97 words do not divide by 8, so the embedding is complete on every rank:
// there is no partial sum to scatter.
module attributes {dist.topology = {tp = 8, dp = 1, ep = 1, pp = 1}} {
dist.mesh @mesh ["tp" = 8]
model.weight @embed from "embed" dims ["embedding_vocab", "hidden"] {dist.sharding = #dist.sharding<@mesh, [_, _]>} : tensor<97x32xbf16>
// CHECK-LABEL: func.func @a_complete_embedding
// CHECK-NOT: dist.token_axis
// CHECK: return
// expected-remark @+2 {{reduce_scatter impossible (some branch is complete, or summed over fewer ranks than tp = 8)}}
// expected-remark @+1 {{gathered impossible (some branch is complete, or summed over fewer ranks than tp = 8)}}
func.func @a_complete_embedding(%tokens: tensor<8xi32>) -> tensor<8x32xbf16> {
  %x = model.embedding %tokens, @embed : tensor<8xi32> -> tensor<8x32xbf16>
  %a = model.add %x, %x : tensor<8x32xbf16>
  return %a : tensor<8x32xbf16>
}
}

// -----

// Embeddings of tokens beside features of slots, which every rank holds: as in a
// draft, where ranks cannot take blocks of the one without the other.
module attributes {dist.topology = {tp = 8, dp = 1, ep = 1, pp = 1}} {
dist.mesh @mesh ["tp" = 8]
model.weight @embed from "embed" dims ["embedding_vocab", "hidden"] {dist.sharding = #dist.sharding<@mesh, ["tp", _]>} : tensor<96x32xbf16>
model.weight @norm from "norm" dims ["hidden"] {dist.sharding = #dist.sharding<@mesh, [_]>} : tensor<32xbf16>
model.token_rows @rows width 32 : bf16
// CHECK-LABEL: func.func @features_beside_tokens
// CHECK-NOT: dist.token_axis
// CHECK: return
// expected-remark @+2 {{reduce_scatter impossible (some branch is complete, or summed over fewer ranks than tp = 8)}}
// expected-remark @+1 {{gathered impossible (some branch is complete, or summed over fewer ranks than tp = 8)}}
func.func @features_beside_tokens(%tokens: tensor<8xi32>, %slots: tensor<8xi32>, %context: !model.context) -> tensor<8x64xbf16> {
  %features = model.kept_rows %slots, @rows, %context : tensor<8xi32> -> tensor<8x32xbf16>
  %x = model.embedding %tokens, @embed : tensor<8xi32> -> tensor<8x32xbf16>
  %a = model.rms_norm %x, @norm eps 1.0e-6 : tensor<8x32xbf16>
  %b = model.rms_norm %features, @norm eps 1.0e-6 : tensor<8x32xbf16>
  %both = model.concat %a, %b : (tensor<8x32xbf16>, tensor<8x32xbf16>) -> tensor<8x64xbf16>
  return %both : tensor<8x64xbf16>
}
}

// -----

// One rank meets nobody.
module attributes {dist.topology = {tp = 1, dp = 1, ep = 1, pp = 1}} {
dist.mesh @mesh ["tp" = 1]
// CHECK-LABEL: func.func @one_rank
// CHECK-NOT: dist.choices
// CHECK: return
func.func @one_rank(%x: tensor<8x32xbf16>) -> tensor<8x32xbf16> {
  %a = model.add %x, %x : tensor<8x32xbf16>
  return %a : tensor<8x32xbf16>
}
}
