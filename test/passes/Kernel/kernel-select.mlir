// RUN: saddle-opt %s --kernel-select | FileCheck %s
// RUN: saddle-opt %s --kernel-select=target=cpu | FileCheck %s

// CHECK-LABEL: func.func @every_group_runs_inline
func.func @every_group_runs_inline(%x: tensor<8x32xf32>) -> tensor<8x32xf32> {
  // CHECK: kernel.group "twice" using "inline"
  %y = kernel.group "twice" (%a = %x) : (tensor<8x32xf32>) -> tensor<8x32xf32> {
    %0 = model.add %a, %a : tensor<8x32xf32>
    %1 = model.add %0, %0 : tensor<8x32xf32>
    kernel.yield %1 : tensor<8x32xf32>
  }
  return %y : tensor<8x32xf32>
}
