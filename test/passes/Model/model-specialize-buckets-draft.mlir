// RUN: saddle-opt %s --model-specialize-buckets | FileCheck %s --check-prefix=DEFAULT
// RUN: saddle-opt %s --model-specialize-buckets=spec-tokens=3 | FileCheck %s --check-prefix=SPEC

// A draft beside the model: K = 3 drafted tokens make decode functions of four
// times as many tokens, of both programs.

module attributes {model.limits = {max_batch = 2, max_seq_len = 64, prefill_chunk = 64, page_size = 16}} {
func.func @step(%tokens: tensor<?xi32>, %positions: tensor<?xi32>, %rows: tensor<?xi32>, %x: tensor<?x32xf32>) -> tensor<?x32xf32> {
  %last = model.select_rows %x, %rows : tensor<?x32xf32>, tensor<?xi32> -> tensor<?x32xf32>
  return %last : tensor<?x32xf32>
}
func.func @draft(%tokens: tensor<?xi32>, %positions: tensor<?xi32>, %rows: tensor<?xi32>, %x: tensor<?x32xf32>) -> tensor<?x32xf32>
    attributes {model.program = "draft"} {
  %last = model.select_rows %x, %rows : tensor<?x32xf32>, tensor<?xi32> -> tensor<?x32xf32>
  return %last : tensor<?x32xf32>
}
}

// DEFAULT: func.func @decode_2(
// DEFAULT-NEXT: model.select_rows
// DEFAULT: func.func @draft.decode_2({{.*}}) -> tensor<2x32xf32> attributes {model.phase = "decode", model.program = "draft"}
// SPEC: func.func @decode_1(
// SPEC: func.func @decode_2(
// SPEC: func.func @decode_4({{.*}}) -> tensor<4x32xf32>
// SPEC: func.func @decode_8({{.*}}) -> tensor<8x32xf32>
// SPEC: func.func @prefill_64({{.*}}) -> tensor<32x32xf32>
// SPEC: func.func @draft.decode_8({{.*}}) -> tensor<8x32xf32> attributes {model.phase = "decode", model.program = "draft"}
// SPEC: func.func @draft.prefill_64({{.*}}) -> tensor<32x32xf32>
