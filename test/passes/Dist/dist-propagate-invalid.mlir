// RUN: saddle-opt %s --split-input-file --dist-propagate --verify-diagnostics

dist.mesh @mesh ["tp" = 2]
model.weight @w from "w" dims ["out", "in"] : tensor<64x32xbf16>
func.func @weights_come_first(%x: tensor<8x32xbf16>) {
  // expected-error @+1 {{@w has no sharding; run dist-seed-shardings first}}
  %y = model.linear %x, @w : tensor<8x32xbf16> -> tensor<8x64xbf16>
  return
}

// -----

dist.mesh @mesh ["tp" = 2]
func.func @collectives_come_later(%x: tensor<8x32xbf16>) {
  // expected-error @+1 {{op 'dist.all_reduce' has no sharding rule}}
  %y = dist.all_reduce %x over <@mesh, ["tp"]> : tensor<8x32xbf16>
  return
}

// -----

dist.mesh @mesh ["tp" = 2]
model.weight @n from "n" dims ["hidden"] {dist.sharding = #dist.sharding<@mesh, [_]>} : tensor<32xf32>
func.func @norms_are_decomposed_first(%x: tensor<8x32xbf16>) {
  // expected-error @+1 {{op 'model.qk_norm' has no sharding rule; run model-decompose-qk-norm first}}
  %q, %k = model.qk_norm %x, %x, @n, @n eps 1.0e-6 : tensor<8x32xbf16>, tensor<8x32xbf16>
  return
}

// -----

dist.mesh @mesh ["tp" = 2]
func.func @projections_fuse_later(%x: tensor<8x32xbf16>) {
  // expected-error @+1 {{op 'model.split' has no sharding rule; dist-fuse-projections makes it behind dist-partition}}
  %a, %b = model.split %x : tensor<8x32xbf16> -> tensor<8x16xbf16>, tensor<8x16xbf16>
  return
}

// -----

dist.mesh @mesh ["tp" = 2]
func.func @candidates_merge_later(%v: tensor<2x8xf32>, %t: tensor<2x8xi32>) {
  // expected-error @+1 {{op 'model.merge_candidates' has no sharding rule; dist-partition makes it}}
  %a, %b = model.merge_candidates %v, %t : tensor<2x8xf32>, tensor<2x8xi32> -> tensor<2x4xf32>, tensor<2x4xi32>
  return
}

// -----

// One exchange carries the sums of q and k, so both must lie along one axis.
dist.mesh @mesh ["dp" = 2, "tp" = 2]
model.weight @a from "a" dims ["out", "in"] {dist.sharding = #dist.sharding<@mesh, ["dp", _]>} : tensor<64x32xbf16>
model.weight @b from "b" dims ["out", "in"] {dist.sharding = #dist.sharding<@mesh, ["tp", _]>} : tensor<64x32xbf16>
func.func @sums_over_two_axes(%x: tensor<8x32xbf16>) {
  %p = model.linear %x, @a : tensor<8x32xbf16> -> tensor<8x64xbf16>
  %q = model.linear %x, @b : tensor<8x32xbf16> -> tensor<8x64xbf16>
  // expected-error @+1 {{expected inputs split by one axis or its major factors, but got #dist.sharding<@mesh, [_, "tp"]> beside #dist.sharding<@mesh, [_, "dp"]>}}
  %s = model.sum_of_squares %p, %q : (tensor<8x64xbf16>, tensor<8x64xbf16>) -> tensor<8x2xf32>
  return
}

// -----

// Every rank has all query heads but only half of the cache's.
dist.mesh @mesh ["tp" = 2]
// expected-note @+1 {{cache defined here}}
model.kv_cache @kv heads 2 head_dim 16 {dist.sharding = #dist.sharding<@mesh, ["tp"]>} : bf16
func.func @query_heads_without_their_cache(%q: tensor<8x64xbf16>, %context: !model.context) {
  // expected-error @+1 {{query heads are split by #dist.sharding<@mesh, [_, _]> but cache heads by #dist.sharding<@mesh, ["tp"]>}}
  %a = model.attention %q, @kv, %context scale 0.25 : tensor<8x64xbf16>
  return
}

// -----

// Query heads split by the major factor cannot use heads split by the minor.
dist.mesh @mesh ["tp" = 4]
model.weight @q from "q" dims ["out", "in"] {dist.sharding = #dist.sharding<@mesh, ["tp", _]>} : tensor<64x32xbf16>
// expected-note @+1 {{cache defined here}}
model.kv_cache @kv heads 2 head_dim 16 {dist.sharding = #dist.sharding<@mesh, ["tp":(2)2]>} : bf16
func.func @cache_heads_of_other_ranks(%x: tensor<8x32xbf16>, %context: !model.context) {
  %q = model.linear %x, @q : tensor<8x32xbf16> -> tensor<8x64xbf16>
  // expected-error @+1 {{query heads are split by #dist.sharding<@mesh, [_, "tp"]> but cache heads by #dist.sharding<@mesh, ["tp":(2)2]>}}
  %a = model.attention %q, @kv, %context scale 0.25 : tensor<8x64xbf16>
  return
}
