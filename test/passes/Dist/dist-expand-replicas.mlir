// RUN: saddle-opt %s --split-input-file --dist-expand-replicas | FileCheck %s

// 4 replicas of 8 tokens: 32 tokens in all.
module attributes {dist.topology = {tp = 8, dp = 4, ep = 1, pp = 1}} {
model.weight @n from "n" dims ["hidden"] : tensor<16xf32>
// CHECK-LABEL: func.func @rows_of_all_replicas(%{{.*}}: tensor<32x16xf32>, %{{.*}}: !model.context) -> tensor<32x16xf32>
func.func @rows_of_all_replicas(%x: tensor<8x16xf32>, %context: !model.context) -> tensor<8x16xf32> {
  // CHECK: model.rms_norm %{{.*}} : tensor<32x16xf32>
  %y = model.rms_norm %x, @n eps 1.0e-6 : tensor<8x16xf32>
  return %y : tensor<8x16xf32>
}
}

// -----

module attributes {dist.topology = {tp = 8, dp = 1, ep = 8, pp = 1}} {
// CHECK-LABEL: func.func @one_replica_stays_as_it_is(%{{.*}}: tensor<8x16xf32>)
func.func @one_replica_stays_as_it_is(%x: tensor<8x16xf32>) {
  return
}
}
