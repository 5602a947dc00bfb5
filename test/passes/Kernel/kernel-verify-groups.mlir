// RUN: saddle-opt %s --kernel-verify-groups | FileCheck %s

dist.mesh @mesh ["tp" = 2]

// CHECK-LABEL: func.func @ops_of_three_levels
func.func @ops_of_three_levels(%x: tensor<8x32xf32>) -> tensor<8x32xf32> {
  // CHECK: kernel.group
  %y = kernel.group "twice" using "inline" (%a = %x) : (tensor<8x32xf32>) -> tensor<8x32xf32> {
    %0 = model.add %a, %a : tensor<8x32xf32>
    %1 = dist.all_reduce %0 over <@mesh, ["tp"]> : tensor<8x32xf32>
    kernel.yield %1 : tensor<8x32xf32>
  }
  %z = dist.all_reduce %y over <@mesh, ["tp"]> : tensor<8x32xf32>
  return %z : tensor<8x32xf32>
}
