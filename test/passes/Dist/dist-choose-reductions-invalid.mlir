// RUN: saddle-opt %s --dist-choose-reductions --verify-diagnostics
// RUN: not saddle-opt %s --dist-choose-reductions=reduction=sometimes 2>&1 | FileCheck %s

// CHECK: error: reduction must be auto, all_reduce or reduce_scatter, but got "sometimes"

// expected-error @+1 {{module has no mesh; run dist-attach-mesh first}}
module {
}
