// RUN: saddle-opt %s --dist-attach-mesh=tp=8 | FileCheck %s
// RUN: saddle-opt %s --dist-attach-mesh | FileCheck %s --check-prefix=ALONE

// The mesh comes first, so that everything else may name it.

// CHECK: module attributes {dist.topology = {dp = 1 : i64, ep = 1 : i64, pp = 1 : i64, tp = 8 : i64}}
// CHECK-NEXT: dist.mesh @mesh ["tp" = 8]
// CHECK-NEXT: model.weight @norm

// ALONE: module attributes {dist.topology = {dp = 1 : i64, ep = 1 : i64, pp = 1 : i64, tp = 1 : i64}}
// ALONE-NEXT: dist.mesh @mesh ["tp" = 1]
model.weight @norm from "norm" dims ["hidden"] : tensor<32xbf16>
