// RUN: saddle-opt %s --verify-roundtrip | FileCheck %s

// Every op and attribute form of the `kernel` dialect, as it prints.

dist.mesh @mesh ["tp" = 2]
model.weight @norm from "norm" dims ["hidden"] : tensor<32xf32>

// CHECK-LABEL: func.func @groups
// CHECK-SAME: %[[X:.*]]: tensor<8x32xf32>, %[[Y:.*]]: tensor<8x32xf32>
func.func @groups(%x: tensor<8x32xf32>, %y: tensor<8x32xf32>) -> (tensor<8x32xf32>, tensor<8x32xf32>) {
  // CHECK: %[[G:.*]]:2 = kernel.group "all_reduce_add_rms_norm" using "inline" (%[[A:.*]] = %[[Y]], %[[B:.*]] = %[[X]])
  // CHECK-SAME: : (tensor<8x32xf32>, tensor<8x32xf32>) -> (tensor<8x32xf32>, tensor<8x32xf32>) {
  // CHECK-NEXT: %[[R:.*]] = dist.all_reduce %[[A]] over <@mesh, ["tp"]> : tensor<8x32xf32>
  // CHECK-NEXT: %[[S:.*]] = model.add %[[B]], %[[R]] : tensor<8x32xf32>
  // CHECK-NEXT: %[[N:.*]] = model.rms_norm %[[S]], @norm eps 5.000000e-01 : tensor<8x32xf32>
  // CHECK-NEXT: kernel.yield %[[S]], %[[N]] : tensor<8x32xf32>, tensor<8x32xf32>
  // CHECK-NEXT: }
  %sum, %normed = kernel.group "all_reduce_add_rms_norm" using "inline" (%a = %y, %b = %x)
      : (tensor<8x32xf32>, tensor<8x32xf32>) -> (tensor<8x32xf32>, tensor<8x32xf32>) {
    %r = dist.all_reduce %a over <@mesh, ["tp"]> : tensor<8x32xf32>
    %s = model.add %b, %r : tensor<8x32xf32>
    %n = model.rms_norm %s, @norm eps 0.5 : tensor<8x32xf32>
    kernel.yield %s, %n : tensor<8x32xf32>, tensor<8x32xf32>
  }
  // Without an implementation, and with another attribute.
  // CHECK: kernel.group "twice" (%[[C:.*]] = %[[G]]#0) : (tensor<8x32xf32>) -> tensor<8x32xf32> attributes {note = "kept"} {
  %t = kernel.group "twice" (%c = %sum) : (tensor<8x32xf32>) -> tensor<8x32xf32> attributes {note = "kept"} {
    %0 = model.add %c, %c : tensor<8x32xf32>
    %1 = model.add %0, %0 : tensor<8x32xf32>
    kernel.yield %1 : tensor<8x32xf32>
  }
  return %t, %normed : tensor<8x32xf32>, tensor<8x32xf32>
}

model.kv_cache @kv heads 2 head_dim 16 : bf16

// A group may have no results when its ops have effects.
// CHECK-LABEL: func.func @effects
func.func @effects(%k: tensor<8x32xf32>, %context: !model.context) {
  // CHECK: kernel.group "append" (%{{.*}} = %{{.*}}, %{{.*}} = %{{.*}}) : (tensor<8x32xf32>, !model.context) -> () {
  kernel.group "append" (%a = %k, %c = %context) : (tensor<8x32xf32>, !model.context) -> () {
    %s = model.add %a, %a : tensor<8x32xf32>
    model.kv_append %s, %s, @kv, %c : tensor<8x32xf32>
    // CHECK: kernel.yield{{$}}
    kernel.yield
  }
  return
}
