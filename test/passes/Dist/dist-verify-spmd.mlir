// RUN: saddle-opt %s --dist-verify-spmd | FileCheck %s

dist.mesh @mesh ["tp" = 4]
model.weight @w from "w" dims ["out", "in"] : tensor<64x32xbf16>
dist.weight_shard @w.shard of [@w] shardings [#dist.sharding<@mesh, ["tp", _]>] concat 0 : tensor<16x32xbf16>

// CHECK-LABEL: func.func @one_program_for_all_ranks
func.func @one_program_for_all_ranks(%x: tensor<8x32xbf16>) -> tensor<8x64xbf16> {
  // CHECK: dist.all_gather
  %y = model.linear %x, @w.shard : tensor<8x32xbf16> -> tensor<8x16xbf16>
  %g = dist.all_gather %y dim 1 over <@mesh, ["tp"]> : tensor<8x16xbf16> -> tensor<8x64xbf16>
  return %g : tensor<8x64xbf16>
}
