// RUN: saddle-opt %s --dist-attach-mesh=tp=2 --split-input-file --verify-diagnostics
// RUN: not saddle-opt %s --dist-attach-mesh=tp=0 2>&1 | FileCheck %s --check-prefix=ZERO
// RUN: not saddle-opt %s --dist-attach-mesh="tp=4 dp=2" 2>&1 | FileCheck %s --check-prefix=DP
// RUN: not saddle-opt %s --dist-attach-mesh="tp=4 ep=4" 2>&1 | FileCheck %s --check-prefix=EP
// RUN: not saddle-opt %s --dist-attach-mesh="tp=4 pp=3" 2>&1 | FileCheck %s --check-prefix=PP

// ZERO: error: topology: expected tp of at least 1, but got 0
// DP: error: topology: dp = 2 is not supported by this version; use tp only
// EP: error: topology: ep = 4 is not supported by this version; use tp only
// PP: error: topology: pp = 3 is not supported by this version; use tp only

// expected-error @+1 {{module has a symbol @mesh already}}
module {
  model.weight @mesh from "norm" dims ["hidden"] : tensor<32xbf16>
}
