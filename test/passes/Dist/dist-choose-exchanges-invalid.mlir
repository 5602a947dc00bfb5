// RUN: saddle-opt %s --split-input-file --dist-choose-exchanges --verify-diagnostics
// RUN: not saddle-opt %s --split-input-file --dist-choose-exchanges=reduction=sometimes 2>&1 | FileCheck %s --check-prefix=REDUCTION
// RUN: not saddle-opt %s --split-input-file --dist-choose-exchanges=norm=sometimes 2>&1 | FileCheck %s --check-prefix=NORM
// RUN: not saddle-opt %s --split-input-file --dist-choose-exchanges=experts=sometimes 2>&1 | FileCheck %s --check-prefix=EXPERTS
// RUN: not saddle-opt %s --split-input-file --dist-choose-exchanges=rows=blocks 2>&1 | FileCheck %s --check-prefix=ROWS
// RUN: not saddle-opt %s --split-input-file --dist-choose-exchanges="reduction=reduce_scatter experts=masked" 2>&1 | FileCheck %s --check-prefix=MASKED
// RUN: not saddle-opt %s --split-input-file --dist-choose-exchanges="reduction=deferred experts=gathered" 2>&1 | FileCheck %s --check-prefix=GATHERED
// RUN: not saddle-opt %s --split-input-file --dist-choose-exchanges=target=tpu 2>&1 | FileCheck %s --check-prefix=TARGET
// RUN: not saddle-opt %s --split-input-file --dist-predict-step=target=tpu 2>&1 | FileCheck %s --check-prefix=TARGET

// TARGET: error: target "tpu" is not known; targets of this version: cpu, sm_90a
// REDUCTION: error: reduction must be auto, all_reduce, deferred or reduce_scatter, but got "sometimes"
// NORM: error: norm must be auto, early or late, but got "sometimes"
// EXPERTS: error: experts must be auto, masked or gathered, but got "sometimes"
// ROWS: error: rows must be auto, packed or padded, but got "blocks"
// MASKED: error: experts = masked does not go with reduction = reduce_scatter: tokens are gathered where sums are scattered, and only there; leave one of them at auto
// GATHERED: error: experts = gathered does not go with reduction = deferred

// expected-error @+1 {{module has no mesh; run dist-attach-mesh first}}
module {
}

// -----

// expected-error @+1 {{dp = 3 does not divide tp = 8}}
module attributes {dist.topology = {tp = 8, dp = 3, ep = 1, pp = 1}} {
  dist.mesh @mesh ["tp" = 8]
}
