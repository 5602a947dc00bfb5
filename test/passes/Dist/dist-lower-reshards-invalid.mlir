// RUN: saddle-opt %s --split-input-file --dist-lower-reshards --verify-diagnostics

dist.mesh @mesh ["tp" = 4]
func.func @replicated_to_split(%x: tensor<8x32xbf16>) {
  // expected-error @+1 {{has no collective from #dist.sharding<@mesh, [_, _]> to #dist.sharding<@mesh, [_, "tp"]>}}
  %r = dist.reshard %x from <@mesh, [_, _]> to <@mesh, [_, "tp"]> : tensor<8x32xbf16> -> tensor<8x8xbf16>
  return
}

// -----

dist.mesh @mesh ["tp" = 4]
func.func @one_split_to_another(%x: tensor<8x8xbf16>) {
  // expected-error @+1 {{has no collective from #dist.sharding<@mesh, [_, "tp"]> to #dist.sharding<@mesh, ["tp", _]>}}
  %r = dist.reshard %x from <@mesh, [_, "tp"]> to <@mesh, ["tp", _]> : tensor<8x8xbf16> -> tensor<2x32xbf16>
  return
}

// -----

// The sum goes over two axes, but shares are wanted along one.
dist.mesh @mesh ["dp" = 2, "tp" = 4]
func.func @partial_sum_to_a_split_by_less(%x: tensor<8x32xbf16>) {
  // expected-error @+1 {{has no collective from #dist.sharding<@mesh, [_, _] unreduced ["dp", "tp"]> to #dist.sharding<@mesh, [_, "tp"]>}}
  %r = dist.reshard %x from <@mesh, [_, _] unreduced ["dp", "tp"]> to <@mesh, [_, "tp"]> : tensor<8x32xbf16> -> tensor<8x8xbf16>
  return
}

// -----

dist.mesh @mesh ["dp" = 2, "tp" = 4]
func.func @partial_sum_of_a_split_value(%x: tensor<8x8xbf16>) {
  // expected-error @+1 {{has no collective from #dist.sharding<@mesh, [_, "tp"] unreduced ["dp"]> to #dist.sharding<@mesh, [_, _]>}}
  %r = dist.reshard %x from <@mesh, [_, "tp"] unreduced ["dp"]> to <@mesh, [_, _]> : tensor<8x8xbf16> -> tensor<8x32xbf16>
  return
}

// -----

dist.mesh @mesh ["dp" = 2, "tp" = 4]
func.func @split_twice(%x: tensor<4x8xbf16>) {
  // expected-error @+1 {{has no collective from #dist.sharding<@mesh, ["dp", "tp"]> to #dist.sharding<@mesh, [_, _]>}}
  %r = dist.reshard %x from <@mesh, ["dp", "tp"]> to <@mesh, [_, _]> : tensor<4x8xbf16> -> tensor<8x32xbf16>
  return
}
