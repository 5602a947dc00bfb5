// RUN: saddle-opt %s --verify-roundtrip | FileCheck %s

// Every op and attribute form of the `dist` dialect, as it prints.

// CHECK: module attributes {dist.topology = {tp = 8 : i64}}
module attributes {dist.topology = {tp = 8}} {

// CHECK: dist.mesh @mesh ["tp" = 8]
dist.mesh @mesh ["tp" = 8]
// CHECK: dist.mesh @grid ["dp" = 2, "tp" = 4]
dist.mesh @grid ["dp" = 2, "tp" = 4]

// CHECK: model.weight @q {{.*}} {dist.sharding = #dist.sharding<@mesh, ["tp", _]>}
model.weight @q from "q" dims ["q_heads", "hidden"] {dist.sharding = #dist.sharding<@mesh, ["tp", _]>} : tensor<64x32xbf16>
// CHECK: model.weight @k {{.*}} {dist.sharding = #dist.sharding<@mesh, ["tp":(1)4, _]>}
model.weight @k from "k" dims ["kv_heads", "hidden"] {dist.sharding = #dist.sharding<@mesh, ["tp":(1)4, _]>} : tensor<32x32xbf16>
model.weight @f from "f" dims ["out", "in"] stored <scale f32 [128, 128] from "f_scale"> : tensor<1024x256xf8E4M3FN>

// One rank of 8 has 64 / 8 = 8 rows of q, and 32 / 4 = 8 rows of k, which it
// shares with a neighbour.
// CHECK: dist.weight_shard @qk of [@q, @k]
// CHECK-SAME: shardings [#dist.sharding<@mesh, ["tp", _]>, #dist.sharding<@mesh, ["tp":(1)4, _]>]
// CHECK-SAME: concat 0 : tensor<16x32xbf16>
dist.weight_shard @qk of [@q, @k] shardings [#dist.sharding<@mesh, ["tp", _]>, #dist.sharding<@mesh, ["tp":(1)4, _]>]
    concat 0 : tensor<16x32xbf16>
// Concatenation along columns, and an exact widening to f32.
// CHECK: dist.weight_shard @wide of [@q, @q] {{.*}} concat 1 : tensor<8x64xf32>
dist.weight_shard @wide of [@q, @q] shardings [#dist.sharding<@mesh, ["tp", _]>, #dist.sharding<@mesh, ["tp", _]>]
    concat 1 : tensor<8x64xf32>
// 1024 rows over 2 x 4 ranks by rows and columns; blocks of 64 rows divide 128.
// CHECK: dist.weight_shard @scaled of [@f] shardings [#dist.sharding<@grid, ["dp", "tp"]>] concat 0 stored <scale f32 [64, 64]> : tensor<512x64xf8E4M3FN>
dist.weight_shard @scaled of [@f] shardings [#dist.sharding<@grid, ["dp", "tp"]>] concat 0 stored <scale f32 [64, 64]> : tensor<512x64xf8E4M3FN>

// CHECK-LABEL: func.func @shardings
// CHECK-SAME: %[[X:.*]]: tensor<8x32xf32>
func.func @shardings(%x: tensor<8x32xf32>) {
  // CHECK: model.add {{.*}} {dist.shardings = [#dist.sharding<@mesh, [_, _] unreduced ["tp"]>]}
  %y = model.add %x, %x {dist.shardings = [#dist.sharding<@mesh, [_, _] unreduced ["tp"]>]} : tensor<8x32xf32>
  // CHECK: dist.reshard %{{.*}} from <@mesh, [_, _] unreduced ["tp"]> to <@mesh, [_, "tp"]> : tensor<8x32xf32> -> tensor<8x32xf32>
  %z = dist.reshard %y from <@mesh, [_, _] unreduced ["tp"]> to <@mesh, [_, "tp"]>
      : tensor<8x32xf32> -> tensor<8x32xf32>
  return
}

// CHECK-LABEL: func.func @collectives
// CHECK-SAME: %[[X:.*]]: tensor<8x32xf32>
func.func @collectives(%x: tensor<8x32xf32>) {
  // CHECK: dist.all_reduce %[[X]] over <@mesh, ["tp"]> : tensor<8x32xf32>
  %a = dist.all_reduce %x over <@mesh, ["tp"]> : tensor<8x32xf32>
  // Two factors of one axis that do not overlap.
  // CHECK: dist.all_reduce %[[X]] over <@mesh, ["tp":(1)2, "tp":(4)2]> : tensor<8x32xf32>
  %b = dist.all_reduce %x over <@mesh, ["tp":(1)2, "tp":(4)2]> : tensor<8x32xf32>
  // Groups of 2 x 4 = 8 ranks; 32 columns become 256.
  // CHECK: dist.all_gather %[[X]] dim 1 over <@grid, ["dp", "tp"]> : tensor<8x32xf32> -> tensor<8x256xf32>
  %c = dist.all_gather %x dim 1 over <@grid, ["dp", "tp"]> : tensor<8x32xf32> -> tensor<8x256xf32>
  // Groups of 4; 32 columns become 8.
  // CHECK: dist.reduce_scatter %[[X]] dim 1 over <@grid, ["tp"]> : tensor<8x32xf32> -> tensor<8x8xf32>
  %d = dist.reduce_scatter %x dim 1 over <@grid, ["tp"]> : tensor<8x32xf32> -> tensor<8x8xf32>
  return
}

// CHECK-LABEL: func.func @rows_and_stages
func.func @rows_and_stages(%x: tensor<8x32xf32>) {
  // CHECK: dist.all_gather %{{.*}} dim 0 over <@grid, ["tp"]> rows packed : tensor<8x32xf32> -> tensor<32x32xf32>
  %a = dist.all_gather %x dim 0 over <@grid, ["tp"]> rows packed : tensor<8x32xf32> -> tensor<32x32xf32>
  // CHECK: dist.reduce_scatter %{{.*}} dim 0 over <@grid, ["tp"]> rows shares : tensor<32x32xf32> -> tensor<8x32xf32>
  %b = dist.reduce_scatter %a dim 0 over <@grid, ["tp"]> rows shares : tensor<32x32xf32> -> tensor<8x32xf32>
  // CHECK: dist.send %{{.*}} : tensor<8x32xf32>
  dist.send %b : tensor<8x32xf32>
  // CHECK: dist.receive : tensor<8x32xf32>
  %c = dist.receive : tensor<8x32xf32>
  return
}

// CHECK-LABEL: func.func @rank_values
// CHECK-SAME: dist.expert_start = #dist.rank_value<0 + (rank div 4 mod 2) * 16>
// CHECK-SAME: dist.head_start = #dist.rank_value<0 + (rank div 1 mod 4) * 2>
// CHECK-SAME: dist.vocab_start = #dist.rank_value<0 + (rank div 1 mod 8) * 12>
func.func @rank_values() attributes {
    dist.vocab_start = #dist.rank_value<0 + (rank div 1 mod 8) * 12>,
    dist.head_start = #dist.rank_value<0 + (rank div 1 mod 4) * 2>,
    dist.expert_start = #dist.rank_value<0 + (rank div 4 mod 2) * 16>} {
  return
}

}
