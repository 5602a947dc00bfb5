// RUN: saddle-opt %s --split-input-file --model-specialize-buckets | FileCheck %s --check-prefixes=CHECK,DEFAULT
// RUN: saddle-opt %s --split-input-file --model-specialize-buckets="buckets=6,2,2 prefill-rows=3" | FileCheck %s --check-prefixes=CHECK,GIVEN

// max_batch 6: powers of two below it, and itself: 1, 2, 4, 6. Given buckets
// are sorted and made unique. The prefill function offers max(6, 32) rows of
// logits, but a chunk has only 16 tokens; --prefill-rows=3 asks for less.

module attributes {model.limits = {max_batch = 6, max_seq_len = 64, prefill_chunk = 16, page_size = 16}} {

// CHECK: model.weight @embed
model.weight @embed from "embed" dims ["vocab", "hidden"] : tensor<96x32xbf16>
// CHECK: model.kv_cache @kv
model.kv_cache @kv heads 2 head_dim 16 : bf16

func.func @step(%tokens: tensor<?xi32>, %positions: tensor<?xi32>, %rows: tensor<?xi32>, %context: !model.context) -> tensor<?x96xf32> {
  %x = model.embedding %tokens, @embed : tensor<?xi32> -> tensor<?x32xbf16>
  %a = model.attention %x, @kv, %context scale 0.25 : tensor<?x32xbf16>
  %last = model.select_rows %a, %rows : tensor<?x32xbf16>, tensor<?xi32> -> tensor<?x32xbf16>
  %logits = model.linear %last, @embed : tensor<?x32xbf16> -> tensor<?x96xf32>
  return %logits : tensor<?x96xf32>
}

}

// DEFAULT: func.func @decode_1(%{{.*}}: tensor<1xi32>, %{{.*}}: tensor<1xi32>, %{{.*}}: tensor<1xi32>, %{{.*}}: !model.context) -> tensor<1x96xf32>
// DEFAULT-SAME: model.phase = "decode"
// CHECK: func.func @decode_2(%{{.*}}: tensor<2xi32>, %{{.*}}: tensor<2xi32>, %{{.*}}: tensor<2xi32>, %{{.*}}: !model.context) -> tensor<2x96xf32>
// CHECK-SAME: model.phase = "decode"
// CHECK: model.embedding {{.*}} : tensor<2xi32> -> tensor<2x32xbf16>
// CHECK: model.attention {{.*}} : tensor<2x32xbf16>
// CHECK: model.select_rows {{.*}} : tensor<2x32xbf16>, tensor<2xi32> -> tensor<2x32xbf16>
// CHECK: model.linear {{.*}} : tensor<2x32xbf16> -> tensor<2x96xf32>
// CHECK-NOT: func.func @decode_2
// DEFAULT: func.func @decode_4(
// CHECK: func.func @decode_6(

// In prefill the rows differ from the tokens from model.select_rows on.
// CHECK: func.func @prefill_16(%{{[a-z0-9]+}}: tensor<16xi32>, %{{[a-z0-9]+}}: tensor<16xi32>
// DEFAULT-SAME: %{{[a-z0-9]+}}: tensor<16xi32>, %{{[a-z0-9]+}}: !model.context) -> tensor<16x96xf32>
// GIVEN-SAME: %{{[a-z0-9]+}}: tensor<3xi32>, %{{[a-z0-9]+}}: !model.context) -> tensor<3x96xf32>
// CHECK-SAME: model.phase = "prefill"
// CHECK: model.attention {{.*}} : tensor<16x32xbf16>
// GIVEN: model.select_rows {{.*}} : tensor<16x32xbf16>, tensor<3xi32> -> tensor<3x32xbf16>
// GIVEN: model.linear {{.*}} : tensor<3x32xbf16> -> tensor<3x96xf32>
// CHECK-NOT: @step

// -----

// A chunk of 64 offers max(6, 32) rows.

module attributes {model.limits = {max_batch = 6, max_seq_len = 64, prefill_chunk = 64, page_size = 16}} {
func.func @step(%tokens: tensor<?xi32>, %rows: tensor<?xi32>, %x: tensor<?x32xf32>) -> tensor<?x32xf32> {
  %last = model.select_rows %x, %rows : tensor<?x32xf32>, tensor<?xi32> -> tensor<?x32xf32>
  return %last : tensor<?x32xf32>
}
}

// DEFAULT: func.func @decode_6({{.*}}) -> tensor<6x32xf32>
// DEFAULT: func.func @prefill_64({{.*}}) -> tensor<32x32xf32>
// GIVEN: func.func @prefill_64({{.*}}) -> tensor<3x32xf32>
