// RUN: saddle-opt %s --dist-attach-mesh=tp=2 --split-input-file --verify-diagnostics
// RUN: not saddle-opt %s --dist-attach-mesh=tp=0 2>&1 | FileCheck %s --check-prefix=ZERO
// RUN: not saddle-opt %s --dist-attach-mesh="tp=4 dp=3" 2>&1 | FileCheck %s --check-prefix=DP
// RUN: not saddle-opt %s --dist-attach-mesh="tp=4 ep=8" 2>&1 | FileCheck %s --check-prefix=EP
// RUN: not saddle-opt %s --dist-attach-mesh="tp=4 pp=0" 2>&1 | FileCheck %s --check-prefix=PP

// ZERO: error: topology: expected tp from 1 to 65536, but got 0
// DP: error: topology: dp = 3 does not divide tp = 4; its divisors: 1, 2, 4
// EP: error: topology: ep = 8 does not divide tp = 4; its divisors: 1, 2, 4
// PP: error: topology: expected pp from 1 to 65536, but got 0

// expected-error @+1 {{module has a symbol @mesh already}}
module {
  model.weight @mesh from "norm" dims ["hidden"] : tensor<32xbf16>
}
