// RUN: saddle-opt %s --split-input-file --dist-choose-exchanges=target=sm_90a 2>/dev/null | FileCheck %s
// RUN: saddle-opt %s --split-input-file --dist-choose-exchanges="target=sm_90a reduction=reduce_scatter norm=late" 2>/dev/null | FileCheck %s --check-prefix=LATE
// RUN: saddle-opt %s --split-input-file --dist-choose-exchanges="target=sm_90a reduction=all_reduce" 2>/dev/null | FileCheck %s --check-prefix=WHOLE

// Where a prompt's rows are split and normalised early, each rank chooses
// experts for its own. Not in decodes, not where every rank has the norm of all
// rows, nor with a router that is split.
// LATE-NOT: model.linear {{.*}}dist.token_axis
// LATE-NOT: model.router {{.*}}dist.token_axis
// LATE-NOT: model.softmax_router {{.*}}dist.token_axis
// WHOLE-NOT: dist.token_axis

module attributes {dist.topology = {tp = 2, dp = 1, ep = 1, pp = 1}} {
dist.mesh @mesh ["tp" = 2]
model.weight @n from "n" dims ["hidden"] : tensor<3072xf32>
model.weight @router from "r" dims ["router_experts", "hidden"] {dist.sharding = #dist.sharding<@mesh, [_, _]>} : tensor<256x3072xf32>
model.weight @split from "s" dims ["router_experts", "hidden"] {dist.sharding = #dist.sharding<@mesh, ["tp", _]>} : tensor<256x3072xf32>
model.weight @bias from "b" dims ["router_experts"] : tensor<256xf32>
model.weight @w1 from "{}.w1" dims ["experts", "width", "hidden"] : tensor<256x16x3072xbf16>
model.weight @w3 from "{}.w3" dims ["experts", "width", "hidden"] : tensor<256x16x3072xbf16>
model.weight @w2 from "{}.w2" dims ["experts", "hidden", "width"] : tensor<256x3072x16xbf16>

// CHECK-LABEL: func.func @prefill_1024
// CHECK: model.rms_norm {{.*}} {dist.token_axis = #dist.axes<@mesh, ["tp"]>}
// CHECK: model.linear {{.*}}, @router {dist.token_axis = #dist.axes<@mesh, ["tp"]>}
// CHECK: model.router {{.*}} {dist.token_axis = #dist.axes<@mesh, ["tp"]>}
// CHECK: model.experts
// CHECK-NOT: dist.token_axis
// CHECK: return
func.func @prefill_1024(%x: tensor<1024x3072xbf16>) -> tensor<1024x3072xbf16> attributes {model.phase = "prefill"} {
  %n = model.rms_norm %x, @n eps 1.0e-6 : tensor<1024x3072xbf16>
  %l = model.linear %n, @router : tensor<1024x3072xbf16> -> tensor<1024x256xf32>
  %w, %e = model.router %l, @bias routed_scale 1.0 : tensor<1024x256xf32> -> tensor<1024x8xf32>, tensor<1024x8xi32>
  %y = model.experts %n, %w, %e gate_up [@w1, @w3] down @w2 : tensor<1024x3072xbf16>, tensor<1024x8xf32>, tensor<1024x8xi32>
  return %y : tensor<1024x3072xbf16>
}

// CHECK-LABEL: func.func @softmax
// CHECK: model.linear {{.*}}, @router {dist.token_axis = #dist.axes<@mesh, ["tp"]>}
// CHECK: model.softmax_router {{.*}} {dist.token_axis = #dist.axes<@mesh, ["tp"]>}
func.func @softmax(%x: tensor<1024x3072xbf16>) -> tensor<1024x8xf32> attributes {model.phase = "prefill"} {
  %n = model.rms_norm %x, @n eps 1.0e-6 : tensor<1024x3072xbf16>
  %l = model.linear %n, @router : tensor<1024x3072xbf16> -> tensor<1024x256xf32>
  %w, %e = model.softmax_router %l : tensor<1024x256xf32> -> tensor<1024x8xf32>, tensor<1024x8xi32>
  return %w : tensor<1024x8xf32>
}

// CHECK-LABEL: func.func @decode
// CHECK-SAME: dist.choices = {experts = "gathered", norm = "early", reduction = "reduce_scatter"}
// CHECK: model.rms_norm {{.*}} {dist.token_axis = #dist.axes<@mesh, ["tp"]>}
// CHECK: model.linear
// CHECK-NOT: dist.token_axis
// CHECK: return
func.func @decode(%x: tensor<1024x3072xbf16>) -> tensor<1024x8xf32> attributes {model.phase = "decode"} {
  %n = model.rms_norm %x, @n eps 1.0e-6 : tensor<1024x3072xbf16>
  %l = model.linear %n, @router : tensor<1024x3072xbf16> -> tensor<1024x256xf32>
  %w, %e = model.router %l, @bias routed_scale 1.0 : tensor<1024x256xf32> -> tensor<1024x8xf32>, tensor<1024x8xi32>
  return %w : tensor<1024x8xf32>
}

// CHECK-LABEL: func.func @split_router
// CHECK: model.rms_norm {{.*}} {dist.token_axis = #dist.axes<@mesh, ["tp"]>}
// CHECK: model.linear
// CHECK-NOT: dist.token_axis
// CHECK: return
func.func @split_router(%x: tensor<1024x3072xbf16>) -> tensor<1024x8xf32> attributes {model.phase = "prefill"} {
  %n = model.rms_norm %x, @n eps 1.0e-6 : tensor<1024x3072xbf16>
  %l = model.linear %n, @split : tensor<1024x3072xbf16> -> tensor<1024x256xf32>
  %w, %e = model.router %l, @bias routed_scale 1.0 : tensor<1024x256xf32> -> tensor<1024x8xf32>, tensor<1024x8xi32>
  return %w : tensor<1024x8xf32>
}
}
