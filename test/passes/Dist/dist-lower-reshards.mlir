// RUN: saddle-opt %s --split-input-file --dist-lower-reshards | FileCheck %s

// Types are local already. Groups along "tp" have 4 ranks.

dist.mesh @mesh ["dp" = 2, "tp" = 4]

// CHECK-LABEL: func.func @partial_sum_to_replicated
func.func @partial_sum_to_replicated(%x: tensor<8x32xbf16>) -> tensor<8x32xbf16> {
  // CHECK: %[[R:.*]] = dist.all_reduce %{{.*}} over <@mesh, ["tp"]> : tensor<8x32xbf16>
  // CHECK-NEXT: return %[[R]]
  %r = dist.reshard %x from <@mesh, [_, _] unreduced ["tp"]> to <@mesh, [_, _]> : tensor<8x32xbf16> -> tensor<8x32xbf16>
  return %r : tensor<8x32xbf16>
}

// CHECK-LABEL: func.func @partial_sum_over_two_axes_to_replicated
func.func @partial_sum_over_two_axes_to_replicated(%x: tensor<8x32xbf16>) -> tensor<8x32xbf16> {
  // CHECK: dist.all_reduce %{{.*}} over <@mesh, ["dp", "tp"]>
  %r = dist.reshard %x from <@mesh, [_, _] unreduced ["dp", "tp"]> to <@mesh, [_, _]> : tensor<8x32xbf16> -> tensor<8x32xbf16>
  return %r : tensor<8x32xbf16>
}

// 32 columns / 4 = 8.
// CHECK-LABEL: func.func @partial_sum_to_split_columns
func.func @partial_sum_to_split_columns(%x: tensor<8x32xbf16>) -> tensor<8x8xbf16> {
  // CHECK: dist.reduce_scatter %{{.*}} dim 1 over <@mesh, ["tp"]> : tensor<8x32xbf16> -> tensor<8x8xbf16>
  %r = dist.reshard %x from <@mesh, [_, _] unreduced ["tp"]> to <@mesh, [_, "tp"]> : tensor<8x32xbf16> -> tensor<8x8xbf16>
  return %r : tensor<8x8xbf16>
}

// 8 tokens / 4 = 2.
// CHECK-LABEL: func.func @partial_sum_to_split_tokens
func.func @partial_sum_to_split_tokens(%x: tensor<8x32xbf16>) -> tensor<2x32xbf16> {
  // CHECK: dist.reduce_scatter %{{.*}} dim 0 over <@mesh, ["tp"]> rows shares : tensor<8x32xbf16> -> tensor<2x32xbf16>
  %r = dist.reshard %x from <@mesh, [_, _] unreduced ["tp"]> to <@mesh, ["tp", _]> : tensor<8x32xbf16> -> tensor<2x32xbf16>
  return %r : tensor<2x32xbf16>
}

// CHECK-LABEL: func.func @split_columns_to_replicated
func.func @split_columns_to_replicated(%x: tensor<8x8xbf16>) -> tensor<8x32xbf16> {
  // CHECK: dist.all_gather %{{.*}} dim 1 over <@mesh, ["tp"]> : tensor<8x8xbf16> -> tensor<8x32xbf16>
  %r = dist.reshard %x from <@mesh, [_, "tp"]> to <@mesh, [_, _]> : tensor<8x8xbf16> -> tensor<8x32xbf16>
  return %r : tensor<8x32xbf16>
}

// A factor of an axis: groups of 2, 16 columns become 32.
// CHECK-LABEL: func.func @split_by_a_factor_to_replicated
func.func @split_by_a_factor_to_replicated(%x: tensor<8x16xbf16>) -> tensor<8x32xbf16> {
  // CHECK: dist.all_gather %{{.*}} dim 1 over <@mesh, ["tp":(1)2]> : tensor<8x16xbf16> -> tensor<8x32xbf16>
  %r = dist.reshard %x from <@mesh, [_, "tp":(1)2]> to <@mesh, [_, _]> : tensor<8x16xbf16> -> tensor<8x32xbf16>
  return %r : tensor<8x32xbf16>
}

// -----

// Groups of one rank have nobody to talk to.

dist.mesh @mesh ["tp" = 1]

// CHECK-LABEL: func.func @one_rank_needs_no_collective
// CHECK-SAME: %[[X:.*]]: tensor<8x32xbf16>
func.func @one_rank_needs_no_collective(%x: tensor<8x32xbf16>) -> (tensor<8x32xbf16>, tensor<8x32xbf16>, tensor<8x32xbf16>) {
  // CHECK-NEXT: return %[[X]], %[[X]], %[[X]]
  %a = dist.reshard %x from <@mesh, [_, _] unreduced ["tp"]> to <@mesh, [_, _]> : tensor<8x32xbf16> -> tensor<8x32xbf16>
  %b = dist.reshard %x from <@mesh, [_, "tp"]> to <@mesh, [_, _]> : tensor<8x32xbf16> -> tensor<8x32xbf16>
  %c = dist.reshard %x from <@mesh, [_, _] unreduced ["tp"]> to <@mesh, [_, "tp"]> : tensor<8x32xbf16> -> tensor<8x32xbf16>
  return %a, %b, %c : tensor<8x32xbf16>, tensor<8x32xbf16>, tensor<8x32xbf16>
}

// -----

// Two replicas of width 2: what the experts leave is a partial sum over all 4
// ranks. Scattering over the replicas (major factor) first leaves half of the
// rows, 8 / 2 = 4, for the sum inside a replica.

module attributes {dist.topology = {tp = 4, dp = 2, ep = 1, pp = 1}} {
dist.mesh @mesh ["tp" = 4]

// CHECK-LABEL: func.func @experts_to_replicas
func.func @experts_to_replicas(%x: tensor<8x32xbf16>) -> tensor<4x32xbf16> {
  // CHECK: %[[MINE:.*]] = dist.reduce_scatter %{{.*}} dim 0 over <@mesh, ["tp":(1)2]> rows packed : tensor<8x32xbf16> -> tensor<4x32xbf16>
  // CHECK-NEXT: dist.all_reduce %[[MINE]] over <@mesh, ["tp":(2)2]> : tensor<4x32xbf16>
  %r = dist.reshard %x from <@mesh, [_, _] unreduced ["tp"]> to <@mesh, ["tp":(1)2, _]> : tensor<8x32xbf16> -> tensor<4x32xbf16>
  return %r : tensor<4x32xbf16>
}

// CHECK-LABEL: func.func @replicas_to_experts
func.func @replicas_to_experts(%x: tensor<4x32xbf16>) -> tensor<8x32xbf16> {
  // CHECK: dist.all_gather %{{.*}} dim 0 over <@mesh, ["tp":(1)2]> rows packed : tensor<4x32xbf16> -> tensor<8x32xbf16>
  %r = dist.reshard %x from <@mesh, ["tp":(1)2, _]> to <@mesh, [_, _]> : tensor<4x32xbf16> -> tensor<8x32xbf16>
  return %r : tensor<8x32xbf16>
}

// As dist-choose-exchanges has left it.
// CHECK-LABEL: func.func @replicas_to_experts_in_slots
func.func @replicas_to_experts_in_slots(%x: tensor<4x32xbf16>) -> tensor<8x32xbf16> attributes {dist.choices = {rows = "padded"}} {
  // CHECK: dist.all_gather %{{.*}} dim 0 over <@mesh, ["tp":(1)2]> rows padded : tensor<4x32xbf16> -> tensor<8x32xbf16>
  %r = dist.reshard %x from <@mesh, ["tp":(1)2, _]> to <@mesh, [_, _]> : tensor<4x32xbf16> -> tensor<8x32xbf16>
  return %r : tensor<8x32xbf16>
}
}

// -----

// Axes that are not neighbours: the sum over dp is finished before the columns
// are gathered over tp.

dist.mesh @mesh ["dp" = 2, "tp" = 4]

// CHECK-LABEL: func.func @partial_sum_of_a_split_value
func.func @partial_sum_of_a_split_value(%x: tensor<8x8xbf16>) -> tensor<8x32xbf16> {
  // CHECK: %[[SUM:.*]] = dist.all_reduce %{{.*}} over <@mesh, ["dp"]> : tensor<8x8xbf16>
  // CHECK-NEXT: dist.all_gather %[[SUM]] dim 1 over <@mesh, ["tp"]> : tensor<8x8xbf16> -> tensor<8x32xbf16>
  %r = dist.reshard %x from <@mesh, [_, "tp"] unreduced ["dp"]> to <@mesh, [_, _]> : tensor<8x8xbf16> -> tensor<8x32xbf16>
  return %r : tensor<8x32xbf16>
}
