// RUN: saddle-opt %s --split-input-file --dist-fuse-projections | FileCheck %s

// 8 ranks over 4 KV heads: q has 64 / 8 = 8 local rows, k and v have 16 / 4 =
// 4 each, so the fused weight has 8 + 4 + 4 = 16 rows.

dist.mesh @mesh ["tp" = 8]
model.weight @q from "q" dims ["q_heads", "hidden"] : tensor<64x32xbf16>
model.weight @k from "k" dims ["kv_heads", "hidden"] : tensor<16x32xbf16>
model.weight @v from "v" dims ["kv_heads", "hidden"] : tensor<16x32xbf16>
// The separate shares are gone; the fused one stands after the last of them.
// CHECK-NOT: dist.weight_shard @q.shard of
// CHECK: dist.weight_shard @"q.shard+k.shard+v.shard" of [@q, @k, @v]
// CHECK-SAME: shardings [#dist.sharding<@mesh, ["tp", _]>, #dist.sharding<@mesh, ["tp":(1)4, _]>, #dist.sharding<@mesh, ["tp":(1)4, _]>]
// CHECK-SAME: concat 0 : tensor<16x32xbf16>
// CHECK-NOT: dist.weight_shard
dist.weight_shard @q.shard of [@q] shardings [#dist.sharding<@mesh, ["tp", _]>] concat 0 : tensor<8x32xbf16>
dist.weight_shard @k.shard of [@k] shardings [#dist.sharding<@mesh, ["tp":(1)4, _]>] concat 0 : tensor<4x32xbf16>
dist.weight_shard @v.shard of [@v] shardings [#dist.sharding<@mesh, ["tp":(1)4, _]>] concat 0 : tensor<4x32xbf16>

// CHECK-LABEL: func.func @shares_of_different_widths_concatenate
// CHECK-SAME: %[[X:.*]]: tensor<8x32xbf16>
func.func @shares_of_different_widths_concatenate(%x: tensor<8x32xbf16>) -> (tensor<8x8xbf16>, tensor<8x4xbf16>, tensor<8x4xbf16>) {
  // CHECK-NEXT: %[[F:.*]] = model.linear %[[X]], @"q.shard+k.shard+v.shard" : tensor<8x32xbf16> -> tensor<8x16xbf16>
  // CHECK-NEXT: %[[P:.*]]:3 = model.split %[[F]] : tensor<8x16xbf16> -> tensor<8x8xbf16>, tensor<8x4xbf16>, tensor<8x4xbf16>
  // CHECK-NEXT: return %[[P]]#0, %[[P]]#1, %[[P]]#2
  %q = model.linear %x, @q.shard : tensor<8x32xbf16> -> tensor<8x8xbf16>
  %k = model.linear %x, @k.shard : tensor<8x32xbf16> -> tensor<8x4xbf16>
  %v = model.linear %x, @v.shard : tensor<8x32xbf16> -> tensor<8x4xbf16>
  return %q, %k, %v : tensor<8x8xbf16>, tensor<8x4xbf16>, tensor<8x4xbf16>
}

// Another bucket reads the same fused weight.
// CHECK-LABEL: func.func @one_weight_serves_all_functions
func.func @one_weight_serves_all_functions(%x: tensor<2x32xbf16>) -> (tensor<2x8xbf16>, tensor<2x4xbf16>, tensor<2x4xbf16>) {
  // CHECK-NEXT: model.linear {{.*}}, @"q.shard+k.shard+v.shard" : tensor<2x32xbf16> -> tensor<2x16xbf16>
  %q = model.linear %x, @q.shard : tensor<2x32xbf16> -> tensor<2x8xbf16>
  %k = model.linear %x, @k.shard : tensor<2x32xbf16> -> tensor<2x4xbf16>
  %v = model.linear %x, @v.shard : tensor<2x32xbf16> -> tensor<2x4xbf16>
  return %q, %k, %v : tensor<2x8xbf16>, tensor<2x4xbf16>, tensor<2x4xbf16>
}

// -----

dist.mesh @mesh ["tp" = 1]
model.weight @a from "a" dims ["out", "in"] : tensor<64x32xbf16>
model.weight @b from "b" dims ["out", "in"] : tensor<64x32xbf16>
model.weight @f32 from "f32" dims ["out", "in"] : tensor<64x32xf32>
// CHECK: dist.weight_shard @a.shard of [@a]
dist.weight_shard @a.shard of [@a] shardings [#dist.sharding<@mesh, [_, _]>] concat 0 : tensor<64x32xbf16>
// CHECK: dist.weight_shard @b.shard of [@b]
dist.weight_shard @b.shard of [@b] shardings [#dist.sharding<@mesh, [_, _]>] concat 0 : tensor<64x32xbf16>
// CHECK: dist.weight_shard @f32.shard of [@f32]
dist.weight_shard @f32.shard of [@f32] shardings [#dist.sharding<@mesh, [_, _]>] concat 0 : tensor<64x32xf32>

// CHECK-LABEL: func.func @other_inputs_stay_apart
func.func @other_inputs_stay_apart(%x: tensor<8x32xbf16>, %y: tensor<8x32xbf16>) {
  // CHECK: model.linear {{.*}}, @a.shard
  // CHECK: model.linear {{.*}}, @b.shard
  %a = model.linear %x, @a.shard : tensor<8x32xbf16> -> tensor<8x64xbf16>
  %b = model.linear %y, @b.shard : tensor<8x32xbf16> -> tensor<8x64xbf16>
  return
}

// CHECK-LABEL: func.func @other_storage_stays_apart
func.func @other_storage_stays_apart(%x: tensor<8x32xbf16>) {
  // CHECK: model.linear {{.*}}, @a.shard
  // CHECK: model.linear {{.*}}, @f32.shard
  %a = model.linear %x, @a.shard : tensor<8x32xbf16> -> tensor<8x64xbf16>
  %f = model.linear %x, @f32.shard : tensor<8x32xbf16> -> tensor<8x64xbf16>
  return
}

// CHECK-LABEL: func.func @other_results_stay_apart
func.func @other_results_stay_apart(%x: tensor<8x32xbf16>) {
  // CHECK: model.linear {{.*}}, @a.shard {{.*}} -> tensor<8x64xbf16>
  // CHECK: model.linear {{.*}}, @b.shard {{.*}} -> tensor<8x64xf32>
  %a = model.linear %x, @a.shard : tensor<8x32xbf16> -> tensor<8x64xbf16>
  %b = model.linear %x, @b.shard : tensor<8x32xbf16> -> tensor<8x64xf32>
  return
}

// The fused linear stands where the first one stood, so a user in between
// still comes after it.
// CHECK-LABEL: func.func @users_in_between_follow
func.func @users_in_between_follow(%x: tensor<8x32xbf16>) -> tensor<8x64xbf16> {
  // CHECK-NEXT: %[[F:.*]] = model.linear {{.*}}, @"a.shard+b.shard" : tensor<8x32xbf16> -> tensor<8x128xbf16>
  // CHECK-NEXT: %[[P:.*]]:2 = model.split %[[F]]
  // CHECK-NEXT: %[[S:.*]] = model.add %[[P]]#0, %[[P]]#0
  // CHECK-NEXT: model.add %[[S]], %[[P]]#1
  %a = model.linear %x, @a.shard : tensor<8x32xbf16> -> tensor<8x64xbf16>
  %s = model.add %a, %a : tensor<8x64xbf16>
  %b = model.linear %x, @b.shard : tensor<8x32xbf16> -> tensor<8x64xbf16>
  %t = model.add %s, %b : tensor<8x64xbf16>
  return %t : tensor<8x64xbf16>
}

// -----

// Scaled parts of 192 rows with blocks of 64, then 96 rows with blocks of 32:
// the second part starts at row 192, and 32 divides 64, 32 and 192. Columns
// keep 128.

dist.mesh @mesh ["tp" = 8]
model.weight @a from "a" dims ["out", "in"] stored <scale f32 [128, 128] from "a_s"> : tensor<1536x256xf8E4M3FN>
model.weight @b from "b" dims ["out", "in"] stored <scale f32 [128, 128] from "b_s"> : tensor<768x256xf8E4M3FN>
// CHECK: dist.weight_shard @"a.shard+b.shard" {{.*}} concat 0 stored <scale f32 [32, 128]> : tensor<288x256xf8E4M3FN>
dist.weight_shard @a.shard of [@a] shardings [#dist.sharding<@mesh, ["tp", _]>] concat 0 stored <scale f32 [64, 128]> : tensor<192x256xf8E4M3FN>
dist.weight_shard @b.shard of [@b] shardings [#dist.sharding<@mesh, ["tp", _]>] concat 0 stored <scale f32 [32, 128]> : tensor<96x256xf8E4M3FN>

// CHECK-LABEL: func.func @scaled_parts_start_at_a_block
func.func @scaled_parts_start_at_a_block(%x: tensor<8x256xbf16>) {
  // CHECK: model.linear {{.*}}, @"a.shard+b.shard" act_group 128 {{.*}} -> tensor<8x288xbf16>
  %a = model.linear %x, @a.shard act_group 128 : tensor<8x256xbf16> -> tensor<8x192xbf16>
  %b = model.linear %x, @b.shard act_group 128 : tensor<8x256xbf16> -> tensor<8x96xbf16>
  return
}

// -----

// One scale for each tensor: 192 rows, then 96, are blocks of gcd(192, 96) = 96.
// Weights with and without
// scales are never one.

dist.mesh @mesh ["tp" = 8]
model.weight @a from "a" dims ["out", "in"] stored <scale f32 [*, *] from "a_s"> : tensor<1536x256xf8E4M3FN>
model.weight @b from "b" dims ["out", "in"] stored <scale f32 [*, *] from "b_s"> : tensor<768x256xf8E4M3FN>
model.weight @c from "c" dims ["out", "in"] : tensor<768x256xf8E4M3FN>
// CHECK: dist.weight_shard @"a.shard+b.shard" {{.*}} concat 0 stored <scale f32 [96, 256]> : tensor<288x256xf8E4M3FN>
dist.weight_shard @a.shard of [@a] shardings [#dist.sharding<@mesh, ["tp", _]>] concat 0 stored <scale f32 [*, *]> : tensor<192x256xf8E4M3FN>
dist.weight_shard @b.shard of [@b] shardings [#dist.sharding<@mesh, ["tp", _]>] concat 0 stored <scale f32 [*, *]> : tensor<96x256xf8E4M3FN>
dist.weight_shard @c.shard of [@c] shardings [#dist.sharding<@mesh, ["tp", _]>] concat 0 : tensor<96x256xf8E4M3FN>

// CHECK-LABEL: func.func @whole_blocks_become_numbers
func.func @whole_blocks_become_numbers(%x: tensor<8x256xbf16>) {
  // CHECK: model.linear {{.*}}, @"a.shard+b.shard" : {{.*}} -> tensor<8x288xbf16>
  // CHECK: model.linear {{.*}}, @c.shard :
  %a = model.linear %x, @a.shard : tensor<8x256xbf16> -> tensor<8x192xbf16>
  %b = model.linear %x, @b.shard : tensor<8x256xbf16> -> tensor<8x96xbf16>
  %c = model.linear %x, @c.shard : tensor<8x256xbf16> -> tensor<8x96xbf16>
  return
}

// -----

// Here both parts have blocks of 128, but the first has 200 rows: the second
// starts at row 200, and gcd(128, 200) = 8.

dist.mesh @mesh ["tp" = 1]
model.weight @a from "a" dims ["out", "in"] stored <scale f32 [128, 128] from "a_s"> : tensor<200x256xf8E4M3FN>
model.weight @b from "b" dims ["out", "in"] stored <scale f32 [128, 128] from "b_s"> : tensor<128x256xf8E4M3FN>
// CHECK: dist.weight_shard @"a.shard+b.shard" {{.*}} stored <scale f32 [8, 128]> : tensor<328x256xf8E4M3FN>
dist.weight_shard @a.shard of [@a] shardings [#dist.sharding<@mesh, [_, _]>] concat 0 stored <scale f32 [128, 128]> : tensor<200x256xf8E4M3FN>
dist.weight_shard @b.shard of [@b] shardings [#dist.sharding<@mesh, [_, _]>] concat 0 stored <scale f32 [128, 128]> : tensor<128x256xf8E4M3FN>

func.func @a_ragged_part_makes_blocks_finer(%x: tensor<8x256xbf16>) {
  %a = model.linear %x, @a.shard act_group 128 : tensor<8x256xbf16> -> tensor<8x200xbf16>
  %b = model.linear %x, @b.shard act_group 128 : tensor<8x256xbf16> -> tensor<8x128xbf16>
  return
}

// A group of another size is another quantisation of the input.
// CHECK-LABEL: func.func @other_act_groups_stay_apart
func.func @other_act_groups_stay_apart(%x: tensor<8x256xbf16>) {
  // CHECK: model.linear {{.*}}, @a.shard act_group 128
  // CHECK: model.linear {{.*}}, @b.shard :
  %a = model.linear %x, @a.shard act_group 128 : tensor<8x256xbf16> -> tensor<8x200xbf16>
  %b = model.linear %x, @b.shard : tensor<8x256xbf16> -> tensor<8x128xbf16>
  return
}

// -----

// Gate and up of 24 / 4 = 6 local rows each: 12 rows, gate first, along
// dimension 1 of the stack.

dist.mesh @mesh ["tp" = 4]
model.weight @w1 from "{}.w1" dims ["experts", "width", "hidden"] : tensor<6x24x32xbf16>
model.weight @w3 from "{}.w3" dims ["experts", "width", "hidden"] : tensor<6x24x32xbf16>
model.weight @w3f from "{}.w3f" dims ["experts", "width", "hidden"] : tensor<6x24x32xf32>
model.weight @w2 from "{}.w2" dims ["experts", "hidden", "width"] : tensor<6x32x24xbf16>
dist.weight_shard @w1.shard of [@w1] shardings [#dist.sharding<@mesh, [_, "tp", _]>] concat 0 : tensor<6x6x32xbf16>
// CHECK: dist.weight_shard @"w1.shard+w3.shard" of [@w1, @w3] {{.*}} concat 1 : tensor<6x12x32xbf16>
dist.weight_shard @w3.shard of [@w3] shardings [#dist.sharding<@mesh, [_, "tp", _]>] concat 0 : tensor<6x6x32xbf16>
dist.weight_shard @w3f.shard of [@w3f] shardings [#dist.sharding<@mesh, [_, "tp", _]>] concat 0 : tensor<6x6x32xf32>
dist.weight_shard @w2.shard of [@w2] shardings [#dist.sharding<@mesh, [_, _, "tp"]>] concat 0 : tensor<6x32x6xbf16>

// CHECK-LABEL: func.func @gate_and_up_become_one_stack
func.func @gate_and_up_become_one_stack(%x: tensor<8x32xbf16>, %w: tensor<8x2xf32>, %e: tensor<8x2xi32>) {
  // CHECK: model.experts {{.*}} gate_up [@"w1.shard+w3.shard"] down @w2.shard
  %y = model.experts %x, %w, %e gate_up [@w1.shard, @w3.shard] down @w2.shard : tensor<8x32xbf16>, tensor<8x2xf32>, tensor<8x2xi32>
  return
}

// CHECK-LABEL: func.func @gate_and_up_of_other_storage_stay_apart
func.func @gate_and_up_of_other_storage_stay_apart(%x: tensor<8x32xbf16>, %w: tensor<8x2xf32>, %e: tensor<8x2xi32>) {
  // CHECK: model.experts {{.*}} gate_up [@w1.shard, @w3f.shard]
  %y = model.experts %x, %w, %e gate_up [@w1.shard, @w3f.shard] down @w2.shard : tensor<8x32xbf16>, tensor<8x2xf32>, tensor<8x2xi32>
  return
}
