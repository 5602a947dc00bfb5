// RUN: saddle-opt %s --split-input-file --dist-split-stages | FileCheck %s
// RUN: saddle-opt %s --split-input-file --dist-split-stages=layers=1,2 | FileCheck %s --check-prefix=UNEVEN

// 3 layers over 2 stages: the first stage gets the odd one, so the cut is at
// layer 2. Only the residual stream crosses; boundaries inside a stage vanish.

module attributes {dist.topology = {tp = 1, dp = 1, ep = 1, pp = 2}} {
model.weight @n from "n" dims ["hidden"] : tensor<32xf32>

// CHECK-LABEL: func.func @decode_1.stage_0(
// CHECK-SAME: attributes {dist.entry = "decode_1", dist.stage = 0 : i64, model.phase = "decode"}
// CHECK-COUNT-2: model.rms_norm
// CHECK-NEXT: dist.send
// CHECK-NEXT: return
// CHECK-LABEL: func.func @decode_1.stage_1(
// CHECK-SAME: -> tensor<1x32xf32>
// CHECK-SAME: dist.stage = 1
// CHECK-NEXT: %[[X:.*]] = dist.receive : tensor<1x32xf32>
// CHECK-NEXT: %[[N:.*]] = model.rms_norm %[[X]]
// CHECK-NEXT: return %[[N]]

// With layers=1,2 the cut is at layer 1.
// UNEVEN-LABEL: func.func @decode_1.stage_0(
// UNEVEN-NEXT: %[[A:.*]] = model.rms_norm
// UNEVEN-NEXT: dist.send %[[A]]
// UNEVEN-LABEL: func.func @decode_1.stage_1(
// UNEVEN-NEXT: dist.receive
// UNEVEN-COUNT-2: model.rms_norm
// UNEVEN-NEXT: return
func.func @decode_1(%x: tensor<1x32xf32>) -> tensor<1x32xf32> attributes {model.phase = "decode"} {
  %0 = model.layer_boundary %x layer 0 : tensor<1x32xf32>
  %a = model.rms_norm %0, @n eps 1.0e-6 : tensor<1x32xf32>
  %1 = model.layer_boundary %a layer 1 : tensor<1x32xf32>
  %b = model.rms_norm %1, @n eps 1.0e-6 : tensor<1x32xf32>
  %2 = model.layer_boundary %b layer 2 : tensor<1x32xf32>
  %c = model.rms_norm %2, @n eps 1.0e-6 : tensor<1x32xf32>
  return %c : tensor<1x32xf32>
}
}

// -----

// A later stage looks at the residual stream as it entered layers 1 and 2: the
// cut is at layer 2, so only that of layer 1 travels besides. A program without
// layers runs in the last stage, and has nothing to do before.

module attributes {dist.topology = {tp = 1, dp = 1, ep = 1, pp = 2}} {
model.weight @n from "n" dims ["hidden"] : tensor<32xf32>

// CHECK-LABEL: func.func @tapped.stage_0(
// CHECK: %[[A:.*]] = model.rms_norm
// CHECK: %[[B:.*]] = model.rms_norm
// CHECK-NEXT: dist.send %[[B]]
// CHECK-NEXT: dist.send %[[A]]
// CHECK-NEXT: return
// CHECK-LABEL: func.func @tapped.stage_1(
// CHECK-NEXT: %[[R:.*]] = dist.receive
// CHECK-NEXT: %[[T:.*]] = dist.receive
// CHECK-NEXT: %[[C:.*]] = model.rms_norm %[[R]]
// CHECK-NEXT: model.concat %[[T]], %[[R]], %[[C]]
func.func @tapped(%x: tensor<1x32xf32>) -> tensor<1x96xf32> attributes {model.phase = "decode"} {
  %0 = model.layer_boundary %x layer 0 : tensor<1x32xf32>
  %a = model.rms_norm %0, @n eps 1.0e-6 : tensor<1x32xf32>
  %1 = model.layer_boundary %a layer 1 : tensor<1x32xf32>
  %b = model.rms_norm %1, @n eps 1.0e-6 : tensor<1x32xf32>
  %2 = model.layer_boundary %b layer 2 : tensor<1x32xf32>
  %c = model.rms_norm %2, @n eps 1.0e-6 : tensor<1x32xf32>
  %t = model.concat %1, %2, %c : (tensor<1x32xf32>, tensor<1x32xf32>, tensor<1x32xf32>) -> tensor<1x96xf32>
  return %t : tensor<1x96xf32>
}

// CHECK-LABEL: func.func @draft.decode_1.stage_0(
// CHECK-SAME: dist.stage = 0 : i64, model.phase = "decode", model.program = "draft"
// CHECK-NEXT: return
// CHECK-LABEL: func.func @draft.decode_1.stage_1(
// CHECK-NEXT: model.rms_norm
func.func @draft.decode_1(%x: tensor<1x32xf32>) -> tensor<1x32xf32> attributes {model.phase = "decode", model.program = "draft"} {
  %a = model.rms_norm %x, @n eps 1.0e-6 : tensor<1x32xf32>
  return %a : tensor<1x32xf32>
}
}
