// RUN: saddle-opt %s --model-verify-input | FileCheck %s

// What the pass accepts it leaves alone: weights, caches, one function @step
// of model ops, and every weight read by it.

module attributes {
  model.config = {architecture = "toy"},
  model.limits = {max_batch = 4, max_seq_len = 64, prefill_chunk = 8, page_size = 16}
} {

// CHECK: model.weight @embed
model.weight @embed from "embed" dims ["vocab", "hidden"] : tensor<96x32xbf16>
// CHECK: model.kv_cache @kv
model.kv_cache @kv heads 2 head_dim 16 : bf16

// CHECK-LABEL: func.func @step
func.func @step(%tokens: tensor<?xi32>) -> tensor<?x32xbf16> {
  // CHECK: model.embedding
  %x = model.embedding %tokens, @embed : tensor<?xi32> -> tensor<?x32xbf16>
  return %x : tensor<?x32xbf16>
}

}
