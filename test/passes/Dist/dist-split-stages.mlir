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
