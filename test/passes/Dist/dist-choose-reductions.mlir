// RUN: saddle-opt %s --split-input-file --dist-choose-reductions --verify-diagnostics | FileCheck %s
// RUN: saddle-opt %s --split-input-file --dist-choose-reductions=reduction=reduce_scatter 2>/dev/null | FileCheck %s --check-prefix=ASKED

// H200, 8 ranks: hop 3.7 us, links 391000 bytes/us, memory 4550000 bytes/us.
// 8 tokens x 3072 bf16 = 49152 bytes. One-shot all-reduce: 3.7 + 7 * 49152 /
// 391000 = 4.58 us, and 4 * 49152 / 4550000 = 0.04 us for add and norm: 4.6.
// Scatter and gather: 2 * (3.7 + 7/8 * 49152 / 391000) = 7.62 us and an eighth
// of the rows: 7.6. Two hops lose.

module attributes {dist.topology = {tp = 8, dp = 1, ep = 1, pp = 1}} {
dist.mesh @mesh ["tp" = 8]
model.weight @n from "n" dims ["hidden"] : tensor<3072xf32>
// CHECK-LABEL: func.func @decode_8
// CHECK-NOT: dist.token_axis
// ASKED-LABEL: func.func @decode_8
// ASKED: model.add {{.*}} {dist.token_axis = #dist.axes<@mesh, ["tp"]>}
// ASKED: model.rms_norm {{.*}} {dist.token_axis = #dist.axes<@mesh, ["tp"]>}
// expected-remark @+1 {{@decode_8: all_reduce for 8 tokens over tp = 8 (predicted for H200): all_reduce 4.6 us, reduce_scatter + all_gather 7.6 us}}
func.func @decode_8(%x: tensor<8x3072xbf16>, %y: tensor<8x3072xbf16>) -> tensor<8x3072xbf16> {
  %a = model.add %x, %y : tensor<8x3072xbf16>
  %b = model.rms_norm %a, @n eps 1.0e-6 : tensor<8x3072xbf16>
  return %b : tensor<8x3072xbf16>
}
}

// -----

// 4096 tokens are 25.2 MB. Two-shot: 2 * (3.7 + 7/8 * 25165824 / 391000) =
// 120.0 us; rows 4 * 25165824 / 4550000 = 22.1 us for all of them, 2.8 for an
// eighth: 142.2 against 122.8. Logits rows behind select_rows are not tokens.

module attributes {dist.topology = {tp = 8, dp = 1, ep = 1, pp = 1}} {
dist.mesh @mesh ["tp" = 8]
model.weight @n from "n" dims ["hidden"] : tensor<3072xf32>
// CHECK-LABEL: func.func @prefill_4096
// CHECK: model.layer_boundary {{.*}} {dist.token_axis = #dist.axes<@mesh, ["tp"]>}
// CHECK: model.add {{.*}} {dist.token_axis = #dist.axes<@mesh, ["tp"]>}
// CHECK: model.select_rows
// CHECK-NEXT: model.rms_norm
// CHECK-NOT: dist.token_axis
// CHECK: return
// expected-remark @+1 {{@prefill_4096: reduce_scatter + all_gather for 4096 tokens over tp = 8 (predicted for H200): all_reduce 142.2 us, reduce_scatter + all_gather 122.8 us}}
func.func @prefill_4096(%x: tensor<4096x3072xbf16>, %y: tensor<4096x3072xbf16>, %rows: tensor<32xi32>) -> tensor<32x3072xbf16> {
  %0 = model.layer_boundary %x layer 0 : tensor<4096x3072xbf16>
  %a = model.add %0, %y : tensor<4096x3072xbf16>
  %r = model.select_rows %a, %rows : tensor<4096x3072xbf16>, tensor<32xi32> -> tensor<32x3072xbf16>
  %b = model.rms_norm %r, @n eps 1.0e-6 : tensor<32x3072xbf16>
  return %b : tensor<32x3072xbf16>
}
}

// -----

module attributes {dist.topology = {tp = 8, dp = 1, ep = 1, pp = 1}} {
dist.mesh @mesh ["tp" = 8]
// CHECK-LABEL: func.func @tokens_that_do_not_divide
// CHECK-NOT: dist.token_axis
// ASKED-LABEL: func.func @tokens_that_do_not_divide
// ASKED-NOT: dist.token_axis
// expected-remark @+1 {{@tokens_that_do_not_divide: all_reduce, because 12 tokens cannot be split over tp = 8}}
func.func @tokens_that_do_not_divide(%x: tensor<12x32xbf16>) -> tensor<12x32xbf16> {
  %a = model.add %x, %x : tensor<12x32xbf16>
  return %a : tensor<12x32xbf16>
}
}

// -----

// Replicas have their tokens apart already.
module attributes {dist.topology = {tp = 8, dp = 2, ep = 1, pp = 1}} {
dist.mesh @mesh ["tp" = 8]
// CHECK-LABEL: func.func @replicas_choose_nothing
// CHECK-NOT: dist.token_axis
// ASKED-LABEL: func.func @replicas_choose_nothing
// ASKED-NOT: dist.token_axis
func.func @replicas_choose_nothing(%x: tensor<16x32xbf16>) -> tensor<16x32xbf16> {
  %a = model.add %x, %x : tensor<16x32xbf16>
  return %a : tensor<16x32xbf16>
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
// ASKED-LABEL: func.func @a_complete_embedding
// ASKED-NOT: dist.token_axis
// expected-remark @+1 {{@a_complete_embedding: all_reduce, because some branch is complete, or summed over fewer ranks than tp = 8}}
func.func @a_complete_embedding(%tokens: tensor<8xi32>) -> tensor<8x32xbf16> {
  %x = model.embedding %tokens, @embed : tensor<8xi32> -> tensor<8x32xbf16>
  %a = model.add %x, %x : tensor<8x32xbf16>
  return %a : tensor<8x32xbf16>
}
}
