// RUN: saddle-opt %s --model-verify-static | FileCheck %s

// CHECK-LABEL: func.func @static_shapes_pass
func.func @static_shapes_pass(%x: tensor<8x32xf32>, %context: !model.context) -> tensor<8x32xf32> attributes {model.phase = "decode"} {
  // CHECK: model.add
  %y = model.add %x, %x : tensor<8x32xf32>
  return %y : tensor<8x32xf32>
}
