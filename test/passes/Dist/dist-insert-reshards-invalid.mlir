// RUN: saddle-opt %s --split-input-file --dist-insert-reshards --verify-diagnostics

// Values without a sharding: dist-propagate has not run. Rules that look at
// their operands say so as well as rules that do not.

dist.mesh @mesh ["tp" = 2]
func.func @rule_without_operands(%x: tensor<8x32xbf16>) {
  %y = model.add %x, %x : tensor<8x32xbf16>
  // expected-error @+1 {{operand 0 has no sharding; run dist-propagate first}}
  %z = model.add %y, %x : tensor<8x32xbf16>
  return
}

// -----

dist.mesh @mesh ["tp" = 2]
func.func @sum_of_squares(%x: tensor<8x32xbf16>) {
  %y = model.add %x, %x : tensor<8x32xbf16>
  // expected-error @+1 {{operand 1 has no sharding; run dist-propagate first}}
  %s = model.sum_of_squares %x, %y : (tensor<8x32xbf16>, tensor<8x32xbf16>) -> tensor<8x2xf32>
  return
}

// -----

dist.mesh @mesh ["tp" = 2]
func.func @rope(%x: tensor<8x32xbf16>, %positions: tensor<8xi32>) {
  %y = model.add %x, %x : tensor<8x32xbf16>
  // expected-error @+1 {{operand 0 has no sharding; run dist-propagate first}}
  %z = model.rope %y, %positions head_dim 16 rotary_dim 8 theta 1.0e4 : tensor<8x32xbf16>, tensor<8xi32>
  return
}

// -----

dist.mesh @mesh ["tp" = 2]
model.kv_cache @kv heads 2 head_dim 16 {dist.sharding = #dist.sharding<@mesh, [_]>} : bf16
func.func @attention(%x: tensor<8x32xbf16>, %context: !model.context) {
  %y = model.add %x, %x : tensor<8x32xbf16>
  // expected-error @+1 {{operand 0 has no sharding; run dist-propagate first}}
  %a = model.attention %y, @kv, %context scale 0.25 : tensor<8x32xbf16>
  return
}

// -----

dist.mesh @mesh ["tp" = 2]
model.weight @w from "w" dims ["out", "in"] : tensor<64x32xbf16>
func.func @weights(%x: tensor<8x32xbf16>) {
  // expected-error @+1 {{@w has no sharding; run dist-seed-shardings first}}
  %y = model.linear %x, @w : tensor<8x32xbf16> -> tensor<8x64xbf16>
  return
}

// -----

dist.mesh @mesh ["tp" = 2]
func.func @shardings_of_another_rank(%x: tensor<8x32xbf16>) {
  %y = model.add %x, %x {dist.shardings = [#dist.sharding<@mesh, ["tp"]>]} : tensor<8x32xbf16>
  // expected-error @+1 {{operand 0 of type 'tensor<8x32xbf16>' has sharding #dist.sharding<@mesh, ["tp"]> of another rank}}
  %z = model.add %y, %x {dist.shardings = [#dist.sharding<@mesh, [_, _]>]} : tensor<8x32xbf16>
  return
}

// -----

dist.mesh @mesh ["tp" = 2]
model.weight @w from "w" dims ["out", "in"] {dist.sharding = #dist.sharding<@mesh, ["tp"]>} : tensor<64x32xbf16>
func.func @weight_of_another_rank(%x: tensor<8x32xbf16>) {
  // expected-error @+1 {{@w has sharding #dist.sharding<@mesh, ["tp"]> of another rank}}
  %y = model.linear %x, @w : tensor<8x32xbf16> -> tensor<8x64xbf16>
  return
}
