// RUN: saddle-opt %s -split-input-file -verify-diagnostics

// One module or function for each constraint of DistOps.td, named after it.
// Further cases of one constraint have a word behind the id.

//===----------------------------------------------------------------------===//
// Symbols
//===----------------------------------------------------------------------===//

module @mesh_c1 {
  // expected-error @+1 {{expected at least one axis and a size for each, but got 0 names and 0 sizes}}
  dist.mesh @mesh []
}

// -----

module @mesh_c1_sizes {
  // expected-error @+1 {{expected at least one axis and a size for each, but got 1 names and 2 sizes}}
  "dist.mesh"() <{sym_name = "mesh", axes = ["tp"], sizes = array<i64: 2, 4>}> : () -> ()
}

// -----

module @mesh_c2 {
  // expected-error @+1 {{expected a positive size of axis "tp", but got 0}}
  dist.mesh @mesh ["tp" = 0]
}

// -----

module @mesh_c3 {
  // expected-error @+1 {{axis "tp" is named twice}}
  dist.mesh @mesh ["tp" = 2, "tp" = 4]
}

// -----

module @weight_shard_c1 {
  // expected-error @+1 {{expected at least one part and a sharding for each, but got 0 parts and 0 shardings}}
  dist.weight_shard @s of [] shardings [] concat 0 : tensor<8x32xbf16>
}

// -----

module @weight_shard_c1_shardings {
  // expected-error @+1 {{expected at least one part and a sharding for each, but got 2 parts and 1 shardings}}
  dist.weight_shard @s of [@a, @b] shardings [#dist.sharding<@mesh, [_, _]>] concat 0 : tensor<8x32xbf16>
}

// -----

module @weight_shard_c2 {
  // expected-error @+1 {{expected concat to be a dimension of 'tensor<8x32xbf16>', but got 2}}
  dist.weight_shard @s of [@a] shardings [#dist.sharding<@mesh, [_, _]>] concat 2 : tensor<8x32xbf16>
}

// -----

module @weight_shard_c3 {
  dist.mesh @mesh ["tp" = 8]
  // expected-error @+1 {{@mesh is not a 'model.weight'}}
  dist.weight_shard @s of [@mesh] shardings [#dist.sharding<@mesh, [_, _]>] concat 0 : tensor<8x32xbf16>
}

// -----

module @weight_shard_c3_rank {
  dist.mesh @mesh ["tp" = 8]
  model.weight @a from "a" dims ["out"] : tensor<64xbf16>
  // expected-error @+1 {{expected part @a and its sharding of rank 2, but got 'tensor<64xbf16>' and #dist.sharding<@mesh, ["tp"]>}}
  dist.weight_shard @s of [@a] shardings [#dist.sharding<@mesh, ["tp"]>] concat 0 : tensor<8x32xbf16>
}

// -----

module @weight_shard_c4 {
  dist.mesh @mesh ["tp" = 8]
  model.weight @a from "a" dims ["out", "in"] : tensor<60x32xbf16>
  // 60 rows over 8 ranks would leave 4 over.
  // expected-error @+1 {{part @a of type 'tensor<60x32xbf16>' cannot be split by #dist.sharding<@mesh, ["tp", _]>}}
  dist.weight_shard @s of [@a] shardings [#dist.sharding<@mesh, ["tp", _]>] concat 0 : tensor<7x32xbf16>
}

// -----

module @weight_shard_c4_unreduced {
  dist.mesh @mesh ["tp" = 8]
  model.weight @a from "a" dims ["out", "in"] : tensor<64x32xbf16>
  // expected-error @+1 {{part @a of type 'tensor<64x32xbf16>' cannot be split by #dist.sharding<@mesh, [_, _] unreduced ["tp"]>}}
  dist.weight_shard @s of [@a] shardings [#dist.sharding<@mesh, [_, _] unreduced ["tp"]>] concat 0 : tensor<64x32xbf16>
}

// -----

module @weight_shard_c4_mesh {
  model.weight @a from "a" dims ["out", "in"] : tensor<64x32xbf16>
  // expected-error @+1 {{mesh @mesh is not defined}}
  dist.weight_shard @s of [@a] shardings [#dist.sharding<@mesh, ["tp", _]>] concat 0 : tensor<8x32xbf16>
}

// -----

module @weight_shard_c4_axis {
  dist.mesh @mesh ["tp" = 8]
  model.weight @a from "a" dims ["out", "in"] : tensor<64x32xbf16>
  // expected-error @+1 {{axis ["ep"] is not part of mesh @mesh}}
  dist.weight_shard @s of [@a] shardings [#dist.sharding<@mesh, ["ep", _]>] concat 0 : tensor<8x32xbf16>
}

// -----

module @weight_shard_c4_overlap {
  dist.mesh @mesh ["tp" = 8]
  model.weight @a from "a" dims ["out", "in"] : tensor<64x32xbf16>
  // expected-error @+1 {{axis ["tp":(1)4] overlaps axis ["tp"]}}
  dist.weight_shard @s of [@a] shardings [#dist.sharding<@mesh, ["tp", "tp":(1)4]>] concat 0 : tensor<8x8xbf16>
}

// -----

module @weight_shard_c5 {
  dist.mesh @mesh ["tp" = 8]
  model.weight @a from "a" dims ["out", "in"] : tensor<64x32xbf16>
  // 64 / 8 rows from each of two parts.
  // expected-error @+1 {{expected parts of 24 in all along dimension 0, but got 16}}
  dist.weight_shard @s of [@a, @a] shardings [#dist.sharding<@mesh, ["tp", _]>, #dist.sharding<@mesh, ["tp", _]>] concat 0
      : tensor<24x32xbf16>
}

// -----

module @weight_shard_c5_other {
  dist.mesh @mesh ["tp" = 8]
  model.weight @a from "a" dims ["out", "in"] : tensor<64x32xbf16>
  // expected-error @+1 {{expected part @a to have extent 16 in dimension 1, but its share is 'tensor<8x32xbf16>'}}
  dist.weight_shard @s of [@a] shardings [#dist.sharding<@mesh, ["tp", _]>] concat 0 : tensor<8x16xbf16>
}

// -----

module @weight_shard_c6 {
  dist.mesh @mesh ["tp" = 8]
  model.weight @a from "a" dims ["out", "in"] : tensor<64x32xbf16>
  // expected-error @+1 {{expected storage of part @a ('bf16') or f32, but got 'f16'}}
  dist.weight_shard @s of [@a] shardings [#dist.sharding<@mesh, ["tp", _]>] concat 0 : tensor<8x32xf16>
}

// -----

module @weight_shard_c7 {
  dist.mesh @mesh ["tp" = 8]
  model.weight @a from "a" dims ["out", "in"] stored <scale f32 [128, 128] from "a_scale"> : tensor<768x256xf8E4M3FN>
  // A rank has 768 / 8 = 96 rows, but 96 does not divide a block of 128.
  // expected-error @+1 {{expected blocks that divide [128, 128] of part @a}}
  dist.weight_shard @s of [@a] shardings [#dist.sharding<@mesh, ["tp", _]>] concat 0 stored <scale f32 [96, 128]> : tensor<96x256xf8E4M3FN>
}

// -----

module @weight_shard_c7_missing {
  dist.mesh @mesh ["tp" = 8]
  model.weight @a from "a" dims ["out", "in"] stored <scale f32 [128, 128] from "a_scale"> : tensor<768x256xf8E4M3FN>
  // expected-error @+1 {{expected the storage of part @a, #model.storage<scale f32 [128, 128] from "a_scale">, but got #model.storage<>}}
  dist.weight_shard @s of [@a] shardings [#dist.sharding<@mesh, ["tp", _]>] concat 0 : tensor<96x256xf8E4M3FN>
}

// -----

module @weight_shard_c7_plain {
  dist.mesh @mesh ["tp" = 8]
  model.weight @a from "a" dims ["out", "in"] : tensor<64x32xbf16>
  // expected-error @+1 {{expected the storage of part @a, #model.storage<>, but got #model.storage<scale f32 [8, 8]>}}
  dist.weight_shard @s of [@a] shardings [#dist.sharding<@mesh, ["tp", _]>] concat 0 stored <scale f32 [8, 8]> : tensor<8x32xbf16>
}

// -----

module @weight_shard_c7_bytes {
  dist.mesh @mesh ["tp" = 4]
  model.weight @a from "a" dims ["out", "in"] stored <packed i32 [0, 1, 2, 3, 4, 5, 6, 7], offset 8, scale f32 [1, *] from "s"> : tensor<64x20xui4>
  // expected-error @+1 {{expected whole bytes of 2 values in a row, but got 'tensor<64x5xui4>'; split part @a less finely}}
  dist.weight_shard @s of [@a] shardings [#dist.sharding<@mesh, [_, "tp"]>] concat 0 stored <packed i8 [0, 1], offset 8, scale f32 [1, *]> : tensor<64x5xui4>
}

// -----

module @weight_shard_c7_rotated {
  dist.mesh @mesh ["tp" = 4]
  model.weight @a from "a" dims ["out", "in"] stored <rotated 64> : tensor<64x128xbf16>
  // expected-error @+1 {{expected whole groups of 64 columns, which are rotated together, but got 'tensor<64x32xbf16>'; split part @a less finely}}
  dist.weight_shard @s of [@a] shardings [#dist.sharding<@mesh, [_, "tp"]>] concat 0 stored <rotated 64> : tensor<64x32xbf16>
}

// -----

// A scale may become f32, not anything else, and loses its source.
module @weight_shard_c7_companion {
  dist.mesh @mesh ["tp" = 8]
  model.weight @a from "a" dims ["out", "in"] stored <scale bf16 [1, *] from "a_scale"> : tensor<64x32xf8E4M3FN>
  // expected-error @+1 {{expected the storage of part @a, #model.storage<scale bf16 [1, *] from "a_scale">, but got #model.storage<scale f16 [1, *]>}}
  dist.weight_shard @s of [@a] shardings [#dist.sharding<@mesh, ["tp", _]>] concat 0 stored <scale f16 [1, *]> : tensor<8x32xf8E4M3FN>
}

// -----

module @weight_shard_c7_widened {
  dist.mesh @mesh ["tp" = 8]
  model.weight @a from "a" dims ["out", "in"] stored <scale f32 [1, *] from "a_scale"> : tensor<64x32xf8E4M3FN>
  // expected-error @+1 {{part @a is stored as #model.storage<scale f32 [1, *] from "a_scale">, so it cannot be widened to 'f32'}}
  dist.weight_shard @s of [@a] shardings [#dist.sharding<@mesh, ["tp", _]>] concat 0 stored <scale f32 [1, *]> : tensor<8x32xf32>
}

// -----

//===----------------------------------------------------------------------===//
// Resharding and collectives
//===----------------------------------------------------------------------===//

func.func @reshard_c1(%x: tensor<8x32xf32>) {
  // expected-error @+1 {{expected #dist.sharding<@mesh, ["tp"]> to have one entry for each dimension of 'tensor<8x32xf32>'}}
  %y = dist.reshard %x from <@mesh, [_, _]> to <@mesh, ["tp"]> : tensor<8x32xf32> -> tensor<8x32xf32>
  return
}

// -----

func.func @reshard_c2(%x: tensor<8x32xf32>) {
  // expected-error @+1 {{expected one mesh, but got @mesh and @grid}}
  %y = dist.reshard %x from <@mesh, [_, _]> to <@grid, ["tp", _]> : tensor<8x32xf32> -> tensor<8x32xf32>
  return
}

// -----

dist.mesh @mesh ["tp" = 8]
func.func @all_reduce_c1(%x: tensor<8x32xf32>) {
  // expected-error @+1 {{axis ["ep"] is not part of mesh @mesh}}
  %y = dist.all_reduce %x over <@mesh, ["ep"]> : tensor<8x32xf32>
  return
}

// -----

func.func @all_reduce_c1_mesh(%x: tensor<8x32xf32>) {
  // expected-error @+1 {{mesh @mesh is not defined}}
  %y = dist.all_reduce %x over <@mesh, ["tp"]> : tensor<8x32xf32>
  return
}

// -----

// 3 does not divide 8, so there is no such factor.
dist.mesh @mesh ["tp" = 8]
func.func @all_reduce_c1_factor(%x: tensor<8x32xf32>) {
  // expected-error @+1 {{axis ["tp":(1)3] is not part of mesh @mesh}}
  %y = dist.all_reduce %x over <@mesh, ["tp":(1)3]> : tensor<8x32xf32>
  return
}

// -----

dist.mesh @mesh ["tp" = 8]
func.func @all_reduce_c1_twice(%x: tensor<8x32xf32>) {
  // expected-error @+1 {{axis ["tp"] overlaps axis ["tp"]}}
  %y = dist.all_reduce %x over <@mesh, ["tp", "tp"]> : tensor<8x32xf32>
  return
}

// -----

// The factor of size 4 spans bits 1 and 2 of the rank, the other one bit 1.
dist.mesh @mesh ["tp" = 8]
func.func @all_reduce_c1_overlap(%x: tensor<8x32xf32>) {
  // expected-error @+1 {{axis ["tp":(2)2] overlaps axis ["tp":(1)4]}}
  %y = dist.all_reduce %x over <@mesh, ["tp":(1)4, "tp":(2)2]> : tensor<8x32xf32>
  return
}

// -----

dist.mesh @mesh ["tp" = 8]
func.func @all_gather_c1(%x: tensor<8x32xf32>) {
  // expected-error @+1 {{axis ["ep"] is not part of mesh @mesh}}
  %y = dist.all_gather %x dim 1 over <@mesh, ["ep"]> : tensor<8x32xf32> -> tensor<8x256xf32>
  return
}

// -----

dist.mesh @mesh ["tp" = 8]
func.func @all_gather_c2(%x: tensor<8x32xf32>) {
  // expected-error @+1 {{expected dim below 2, but got 2}}
  %y = dist.all_gather %x dim 2 over <@mesh, ["tp"]> : tensor<8x32xf32> -> tensor<8x256xf32>
  return
}

// -----

dist.mesh @mesh ["tp" = 8]
func.func @all_gather_c3(%x: tensor<8x32xf32>) {
  // expected-error @+1 {{expected the result to be 'tensor<8x256xf32>' (the input 'tensor<8x32xf32>' times 8 along dimension 1), but got 'tensor<8x128xf32>'}}
  %y = dist.all_gather %x dim 1 over <@mesh, ["tp"]> : tensor<8x32xf32> -> tensor<8x128xf32>
  return
}

// -----

dist.mesh @mesh ["tp" = 8]
func.func @reduce_scatter_c1(%x: tensor<8x32xf32>) {
  // expected-error @+1 {{axis ["ep"] is not part of mesh @mesh}}
  %y = dist.reduce_scatter %x dim 1 over <@mesh, ["ep"]> : tensor<8x32xf32> -> tensor<8x4xf32>
  return
}

// -----

dist.mesh @mesh ["tp" = 8]
func.func @reduce_scatter_c2(%x: tensor<8x32xf32>) {
  // expected-error @+1 {{expected dim below 2, but got -1}}
  %y = dist.reduce_scatter %x dim -1 over <@mesh, ["tp"]> : tensor<8x32xf32> -> tensor<8x4xf32>
  return
}

// -----

dist.mesh @mesh ["tp" = 8]
func.func @reduce_scatter_c3(%x: tensor<8x32xf32>) {
  // expected-error @+1 {{expected the input to be 'tensor<8x64xf32>' (the result 'tensor<8x8xf32>' times 8 along dimension 1), but got 'tensor<8x32xf32>'}}
  %y = dist.reduce_scatter %x dim 1 over <@mesh, ["tp"]> : tensor<8x32xf32> -> tensor<8x8xf32>
  return
}

// -----

//===----------------------------------------------------------------------===//
// Attributes of the dialect
//===----------------------------------------------------------------------===//

// expected-error @+1 {{'dist.sharding' must be a #dist.sharding}}
module @sharding attributes {dist.sharding = "tp"} {}

// -----

func.func @shardings(%x: tensor<8x32xf32>) {
  // expected-error @+1 {{'dist.shardings' must be an array of #dist.sharding}}
  %y = model.add %x, %x {dist.shardings = ["tp"]} : tensor<8x32xf32>
  return
}

// -----

func.func @shardings_count(%x: tensor<8x32xf32>) {
  // expected-error @+1 {{'dist.shardings' must have one entry for each of 1 results, but has 2}}
  %y = model.add %x, %x {dist.shardings = [#dist.sharding<@mesh, [_, _]>, #dist.sharding<@mesh, [_, _]>]} : tensor<8x32xf32>
  return
}

// -----

// expected-error @+1 {{'dist.vocab_start' must be a #dist.rank_value}}
func.func @vocab_start() attributes {dist.vocab_start = 0} {
  return
}

// -----

// expected-error @+1 {{'dist.expert_start' must be a #dist.rank_value}}
func.func @expert_start() attributes {dist.expert_start = 0} {
  return
}

// -----

// expected-error @+1 {{'dist.head_start' must be a #dist.rank_value}}
func.func @head_start() attributes {dist.head_start = 0} {
  return
}

// -----

// expected-error @+1 {{'dist.topology' must be a dictionary on the module}}
func.func @topology() attributes {dist.topology = {tp = 8}} {
  return
}

// -----

// expected-error @+1 {{attribute 'dist.colour' is not known}}
module @unknown attributes {dist.colour = "red"} {}

// -----

// expected-error @+1 {{expected base and step of at least 0, divisor and modulus of at least 1, but got base 0, divisor 0, modulus 1, step 1}}
module @rank_value attributes {dist.vocab_start = #dist.rank_value<0 + (rank div 0 mod 1) * 1>} {}

// -----

// expected-error @+1 {{expected a positive axis factor}}
module @axis_factor attributes {dist.sharding = #dist.sharding<@mesh, ["tp":(0)4]>} {}

// -----

dist.mesh @mesh ["tp" = 2]
func.func @all_gather_c4(%x: tensor<8x32xf32>) {
  // expected-error @+1 {{needs 'rows' along dimension 0}}
  %y = dist.all_gather %x dim 0 over <@mesh, ["tp"]> : tensor<8x32xf32> -> tensor<16x32xf32>
  return
}

// -----

dist.mesh @mesh ["tp" = 2]
func.func @reduce_scatter_c4(%x: tensor<8x32xf32>) {
  // expected-error @+1 {{has 'rows', but not along dimension 0}}
  %y = dist.reduce_scatter %x dim 1 over <@mesh, ["tp"]> rows packed : tensor<8x32xf32> -> tensor<8x16xf32>
  return
}

// -----

func.func @send_c1(%x: tensor<*xf32>) {
  // expected-error @+1 {{custom op 'dist.send' invalid kind of type specified: expected builtin.tensor, but found 'tensor<*xf32>'}}
  dist.send %x : tensor<*xf32>
  return
}

// -----

func.func @receive_c1() {
  // expected-error @+1 {{custom op 'dist.receive' invalid kind of type specified: expected builtin.tensor, but found 'tensor<*xf32>'}}
  %x = dist.receive : tensor<*xf32>
  return
}

// -----

// expected-error @+1 {{'dist.choices' must be a dictionary of strings}}
func.func @choices_of_numbers() attributes {dist.choices = {rows = 1}} {
  return
}

// -----

// expected-error @+1 {{'dist.stage' must be an integer of at least 0}}
func.func @stage_below_0() attributes {dist.stage = -1 : i64} {
  return
}

// -----

// expected-error @+1 {{'dist.entry' must be a string}}
func.func @entry_of_a_number() attributes {dist.entry = 1} {
  return
}

// -----

// expected-error @+1 {{'dist.token_axis' must be a #dist.axes}}
func.func @token_axis_of_a_string() attributes {dist.token_axis = "tp"} {
  return
}
