// RUN: saddle-opt %s --model-sink-rms-factors | FileCheck %s

model.weight @norm from "norm" dims ["q_heads"] : tensor<4xf32>
model.weight @out from "out" dims ["hidden", "q_heads"] : tensor<2x4xf32>
model.weight @more from "more" dims ["hidden", "q_heads"] : tensor<2x4xf32>

// With y = (1, 1, 1, 1), weights (2, 4, 2, 4), the sigmoids of the gate all 1/2 and eps 0.5: the sum of squares is 4, its mean 4 / 4 = 1, and the factor
// rsqrt(1 + 0.5) = 0.8165. In order: norm (1.633, 3.266, 1.633, 3.266), gated (0.8165, 1.633, 0.8165, 1.633). Sunk: columns (2, 4, 2, 4), gated
// (1, 2, 1, 2). A row of @out of ones gives 4.899 in order, and 6 times the factor, 4.899, sunk.
// CHECK-LABEL: func.func @the_factor_comes_behind_the_product
// CHECK-SAME: %[[Y:.*]]: tensor<1x4xf32>, %[[GATE:.*]]: tensor<1x4xf32>
func.func @the_factor_comes_behind_the_product(%y: tensor<1x4xf32>, %gate: tensor<1x4xf32>) -> tensor<1x2xf32> attributes {model.phase = "decode"} {
  // CHECK: %[[S:.*]] = model.sum_of_squares %[[Y]]
  %s = model.sum_of_squares %y : (tensor<1x4xf32>) -> tensor<1x1xf32>
  // CHECK-NEXT: %[[N:.*]] = model.scale_columns %[[Y]], @norm : tensor<1x4xf32>
  // CHECK-NEXT: %[[G:.*]] = model.sigmoid_gate %[[N]], %[[GATE]]
  // CHECK-NEXT: %[[P:.*]] = model.linear %[[G]], @out
  // CHECK-NEXT: %[[O:.*]] = model.divide_by_rms %[[P]], %[[S]][0] divisor 4 eps 5.000000e-01 : tensor<1x2xf32>, tensor<1x1xf32>
  // CHECK-NEXT: return %[[O]]
  %n = model.rms_scale %y, %s[0], @norm divisor 4 eps 0.5 : tensor<1x4xf32>, tensor<1x1xf32> -> tensor<1x4xf32>
  %g = model.sigmoid_gate %n, %gate : tensor<1x4xf32>
  %o = model.linear %g, @out : tensor<1x4xf32> -> tensor<1x2xf32>
  return %o : tensor<1x2xf32>
}

// CHECK-LABEL: func.func @prompts_keep_the_order
func.func @prompts_keep_the_order(%y: tensor<8x4xf32>, %gate: tensor<8x4xf32>) -> tensor<8x2xf32> attributes {model.phase = "prefill"} {
  // CHECK-NOT: model.divide_by_rms
  %s = model.sum_of_squares %y : (tensor<8x4xf32>) -> tensor<8x1xf32>
  %n = model.rms_scale %y, %s[0], @norm divisor 4 eps 0.5 : tensor<8x4xf32>, tensor<8x1xf32> -> tensor<8x4xf32>
  %g = model.sigmoid_gate %n, %gate : tensor<8x4xf32>
  %o = model.linear %g, @out : tensor<8x4xf32> -> tensor<8x2xf32>
  return %o : tensor<8x2xf32>
}

// sigmoid(n / rms) is not sigmoid(n) / rms.
// CHECK-LABEL: func.func @a_gate_is_not_linear_in_what_gates
func.func @a_gate_is_not_linear_in_what_gates(%y: tensor<1x4xf32>, %x: tensor<1x4xf32>) -> tensor<1x2xf32> attributes {model.phase = "decode"} {
  // CHECK-NOT: model.divide_by_rms
  %s = model.sum_of_squares %y : (tensor<1x4xf32>) -> tensor<1x1xf32>
  %n = model.rms_scale %y, %s[0], @norm divisor 4 eps 0.5 : tensor<1x4xf32>, tensor<1x1xf32> -> tensor<1x4xf32>
  %g = model.sigmoid_gate %x, %n : tensor<1x4xf32>
  %o = model.linear %g, @out : tensor<1x4xf32> -> tensor<1x2xf32>
  return %o : tensor<1x2xf32>
}

// Two products would be divided twice.
// CHECK-LABEL: func.func @rows_that_others_read_are_divided_first
func.func @rows_that_others_read_are_divided_first(%y: tensor<1x4xf32>, %gate: tensor<1x4xf32>) -> (tensor<1x2xf32>, tensor<1x2xf32>) attributes {model.phase = "decode"} {
  // CHECK-NOT: model.divide_by_rms
  %s = model.sum_of_squares %y : (tensor<1x4xf32>) -> tensor<1x1xf32>
  %n = model.rms_scale %y, %s[0], @norm divisor 4 eps 0.5 : tensor<1x4xf32>, tensor<1x1xf32> -> tensor<1x4xf32>
  %g = model.sigmoid_gate %n, %gate : tensor<1x4xf32>
  %o = model.linear %g, @out : tensor<1x4xf32> -> tensor<1x2xf32>
  %m = model.linear %g, @more : tensor<1x4xf32> -> tensor<1x2xf32>
  return %o, %m : tensor<1x2xf32>, tensor<1x2xf32>
}
