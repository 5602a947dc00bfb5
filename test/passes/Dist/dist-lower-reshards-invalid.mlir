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

// The sum goes over dp, which the shares do not give up.
dist.mesh @mesh ["dp" = 2, "tp" = 4]
func.func @a_partial_sum_cannot_be_made(%x: tensor<8x32xbf16>) {
  // expected-error @+1 {{has no collective from #dist.sharding<@mesh, [_, _]> to #dist.sharding<@mesh, [_, _] unreduced ["dp"]>}}
  %r = dist.reshard %x from <@mesh, [_, _]> to <@mesh, [_, _] unreduced ["dp"]> : tensor<8x32xbf16> -> tensor<8x32xbf16>
  return
}
