// RUN: saddle-opt %s --dist-propagate --dist-insert-reshards | FileCheck %s

// 4 ranks as 2 replicas of width 2 and 2 expert groups of width 2. Tokens are
// split by replica, "tp":(1)2; heads inside one, "tp":(2)2. Everything that
// works row by row keeps the replica's tokens; the router and the experts see
// all of them, so the norm is gathered once for both; what the experts leave is
// a partial sum over all ranks and goes back to the replicas.

dist.mesh @mesh ["tp" = 4]
model.weight @norm from "norm" dims ["hidden"] {dist.sharding = #dist.sharding<@mesh, [_]>} : tensor<32xbf16>
model.weight @o from "o" dims ["hidden", "q_heads"] {dist.sharding = #dist.sharding<@mesh, [_, "tp":(2)2]>} : tensor<32x64xbf16>
model.weight @q from "q" dims ["q_heads", "hidden"] {dist.sharding = #dist.sharding<@mesh, ["tp":(2)2, _]>} : tensor<64x32xbf16>
model.weight @gate from "gate" dims ["router_experts", "hidden"] {dist.sharding = #dist.sharding<@mesh, [_, _]>} : tensor<4x32xf32>
model.weight @bias from "bias" dims ["router_experts"] {dist.sharding = #dist.sharding<@mesh, [_]>} : tensor<4xf32>
model.weight @w1 from "{}.w1" dims ["experts", "expert_width", "hidden"] {dist.sharding = #dist.sharding<@mesh, ["tp":(1)2, "tp":(2)2, _]>} : tensor<4x16x32xbf16>
model.weight @w3 from "{}.w3" dims ["experts", "expert_width", "hidden"] {dist.sharding = #dist.sharding<@mesh, ["tp":(1)2, "tp":(2)2, _]>} : tensor<4x16x32xbf16>
model.weight @w2 from "{}.w2" dims ["experts", "hidden", "expert_width"] {dist.sharding = #dist.sharding<@mesh, ["tp":(1)2, _, "tp":(2)2]>} : tensor<4x32x16xbf16>
model.weight @lm_head from "lm_head" dims ["vocab", "hidden"] {dist.sharding = #dist.sharding<@mesh, ["tp", _]>} : tensor<96x32xbf16>

// CHECK-LABEL: func.func @replicas
// CHECK-SAME: %[[X:.*]]: tensor<8x32xbf16>
func.func @replicas(%x: tensor<8x32xbf16> {dist.sharding = #dist.sharding<@mesh, ["tp":(1)2, _]>},
                    %rows: tensor<4xi32> {dist.sharding = #dist.sharding<@mesh, ["tp":(1)2]>}) -> tensor<4x96xf32> {
  // CHECK: %[[Q:.*]] = model.linear %[[X]], @q {dist.shardings = [#dist.sharding<@mesh, ["tp":(1)2, "tp":(2)2]>]}
  %q = model.linear %x, @q : tensor<8x32xbf16> -> tensor<8x64xbf16>
  // CHECK: %[[O:.*]] = model.linear %[[Q]], @o {dist.shardings = [#dist.sharding<@mesh, ["tp":(1)2, _] unreduced ["tp":(2)2]>]}
  %o = model.linear %q, @o : tensor<8x64xbf16> -> tensor<8x32xbf16>
  // Summed inside the replica only.
  // CHECK: %[[SUM:.*]] = dist.reshard %[[O]] from <@mesh, ["tp":(1)2, _] unreduced ["tp":(2)2]> to <@mesh, ["tp":(1)2, _]>
  // CHECK: %[[H:.*]] = model.add %[[X]], %[[SUM]] {dist.shardings = [#dist.sharding<@mesh, ["tp":(1)2, _]>]}
  %h = model.add %x, %o : tensor<8x32xbf16>
  // The norm comes before the gather, and is gathered once.
  // CHECK: %[[N:.*]] = model.rms_norm %[[H]], @norm
  // CHECK: %[[ALL:.*]] = dist.reshard %[[N]] from <@mesh, ["tp":(1)2, _]> to <@mesh, [_, _]>
  %n = model.rms_norm %h, @norm eps 1.0e-6 : tensor<8x32xbf16>
  // CHECK: model.linear %[[ALL]], @gate {dist.shardings = [#dist.sharding<@mesh, [_, _]>]}
  %logits = model.linear %n, @gate : tensor<8x32xbf16> -> tensor<8x4xf32>
  %w, %e = model.router %logits, @bias routed_scale 1.0 : tensor<8x4xf32> -> tensor<8x2xf32>, tensor<8x2xi32>
  // Both factors of the experts' split are the whole axis.
  // CHECK: %[[M:.*]] = model.experts %[[ALL]], {{.*}} {dist.shardings = [#dist.sharding<@mesh, [_, _] unreduced ["tp"]>]}
  %m = model.experts %n, %w, %e gate_up [@w1, @w3] down @w2 : tensor<8x32xbf16>, tensor<8x2xf32>, tensor<8x2xi32>
  // CHECK: %[[BACK:.*]] = dist.reshard %[[M]] from <@mesh, [_, _] unreduced ["tp"]> to <@mesh, ["tp":(1)2, _]>
  // CHECK: model.add %[[H]], %[[BACK]]
  %y = model.add %h, %m : tensor<8x32xbf16>
  // Every replica selects its own rows; lm_head is split over all ranks, so
  // they are gathered before it, and the words behind it.
  // CHECK: %[[R:.*]] = model.select_rows {{.*}} {dist.shardings = [#dist.sharding<@mesh, ["tp":(1)2, _]>]}
  // CHECK: %[[RALL:.*]] = dist.reshard %[[R]] from <@mesh, ["tp":(1)2, _]> to <@mesh, [_, _]>
  // CHECK: %[[L:.*]] = model.linear %[[RALL]], @lm_head {dist.shardings = [#dist.sharding<@mesh, [_, "tp"]>]}
  // CHECK: dist.reshard %[[L]] from <@mesh, [_, "tp"]> to <@mesh, [_, _]>
  %r = model.select_rows %y, %rows : tensor<8x32xbf16>, tensor<4xi32> -> tensor<4x32xbf16>
  %l = model.linear %r, @lm_head : tensor<4x32xbf16> -> tensor<4x96xf32>
  return %l : tensor<4x96xf32>
}
