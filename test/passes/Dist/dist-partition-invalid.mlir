// RUN: saddle-opt %s --split-input-file --dist-partition --verify-diagnostics

// expected-error @+1 {{module has no mesh; run dist-attach-mesh first}}
module {
}

// -----

dist.mesh @mesh ["tp" = 2]
func.func @values_need_shardings(%x: tensor<8x32xbf16>) {
  // expected-error @+1 {{result has no sharding; run dist-propagate first}}
  %y = model.add %x, %x : tensor<8x32xbf16>
  return
}

// -----

dist.mesh @mesh ["tp" = 2]
model.weight @w from "w" dims ["out", "in"] : tensor<64x32xbf16>
func.func @weights_need_shardings(%x: tensor<8x32xbf16>) {
  // expected-error @+1 {{@w is not a weight with a sharding; run dist-seed-shardings first}}
  %y = model.linear %x, @w {dist.shardings = [#dist.sharding<@mesh, [_, _]>]} : tensor<8x32xbf16> -> tensor<8x64xbf16>
  return
}

// -----

// The norm's weight is looked at before its share is made.
dist.mesh @mesh ["tp" = 2]
model.weight @w from "w" dims ["q_heads"] : tensor<32xbf16>
func.func @scaling_needs_a_sharding(%x: tensor<8x32xbf16>, %s: tensor<8x1xf32>) {
  %r = dist.reshard %s from <@mesh, [_, _] unreduced ["tp"]> to <@mesh, [_, _]> : tensor<8x1xf32> -> tensor<8x1xf32>
  // expected-error @+1 {{@w is not a weight with a sharding; run dist-seed-shardings first}}
  %y = model.rms_scale %x, %r[0], @w divisor 32 eps 0.5 {dist.shardings = [#dist.sharding<@mesh, [_, _]>]} : tensor<8x32xbf16>, tensor<8x1xf32> -> tensor<8x32xbf16>
  return
}

// -----

// 65 rows over 2 ranks: never rounded.
dist.mesh @mesh ["tp" = 2]
// expected-note @+1 {{weight defined here}}
model.weight @w from "w" dims ["out", "in"] {dist.sharding = #dist.sharding<@mesh, ["tp", _]>} : tensor<65x32xbf16>
func.func @weight_that_does_not_divide(%x: tensor<8x32xbf16>) {
  // expected-error @+1 {{weight @w of type 'tensor<65x32xbf16>' cannot be split by #dist.sharding<@mesh, ["tp", _]>}}
  %y = model.linear %x, @w {dist.shardings = [#dist.sharding<@mesh, [_, "tp"]>]} : tensor<8x32xbf16> -> tensor<8x65xbf16>
  return
}

// -----

dist.mesh @mesh ["tp" = 2]
// expected-note @+1 {{weight defined here}}
model.weight @w from "w" dims ["out", "in"] {dist.sharding = #dist.sharding<@mesh, ["ep", _]>} : tensor<64x32xbf16>
func.func @weight_on_an_unknown_axis(%x: tensor<8x32xbf16>) {
  // expected-error @+1 {{weight @w of type 'tensor<64x32xbf16>' cannot be split by #dist.sharding<@mesh, ["ep", _]>}}
  %y = model.linear %x, @w {dist.shardings = [#dist.sharding<@mesh, [_, _]>]} : tensor<8x32xbf16> -> tensor<8x64xbf16>
  return
}

// -----

dist.mesh @mesh ["tp" = 2]
func.func @value_that_does_not_divide(%x: tensor<8x33xbf16>) {
  // expected-error @+1 {{result 'tensor<8x33xbf16>' cannot be split by #dist.sharding<@mesh, [_, "tp"]>}}
  %y = model.add %x, %x {dist.shardings = [#dist.sharding<@mesh, [_, "tp"]>]} : tensor<8x33xbf16>
  return
}

// -----

dist.mesh @mesh ["tp" = 2]
func.func @value_of_another_rank(%x: tensor<8x32xbf16>) {
  // expected-error @+1 {{result 'tensor<8x32xbf16>' cannot be split by #dist.sharding<@mesh, ["tp"]>}}
  %y = model.add %x, %x {dist.shardings = [#dist.sharding<@mesh, ["tp"]>]} : tensor<8x32xbf16>
  return
}

// -----

dist.mesh @mesh ["tp" = 2]
// expected-error @+1 {{state @kv has no sharding; run dist-seed-shardings first}}
model.kv_cache @kv heads 2 head_dim 16 : bf16

// -----

dist.mesh @mesh ["tp" = 2]
// expected-error @+1 {{heads = 3 cannot be split by #dist.sharding<@mesh, ["tp"]>}}
model.kv_cache @kv heads 3 head_dim 16 {dist.sharding = #dist.sharding<@mesh, ["tp"]>} : bf16

// -----

dist.mesh @mesh ["tp" = 2]
// expected-error @+1 {{heads = 5 cannot be split by #dist.sharding<@mesh, ["tp"]>}}
model.recurrent_state @state heads 5 rows 4 cols 4 dim "q_heads" {dist.sharding = #dist.sharding<@mesh, ["tp"]>}
