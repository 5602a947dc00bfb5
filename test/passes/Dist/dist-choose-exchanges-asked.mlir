// RUN: saddle-opt %s --dist-choose-exchanges=reduction=all_reduce 2>&1 | FileCheck %s --check-prefixes=ALONE,WHOLE
// RUN: saddle-opt %s --dist-choose-exchanges=reduction=deferred 2>&1 | FileCheck %s --check-prefixes=DEFERRED,WHOLE
// RUN: saddle-opt %s --dist-choose-exchanges=reduction=reduce_scatter 2>&1 | FileCheck %s --check-prefixes=SCATTER,EARLY
// RUN: saddle-opt %s --dist-choose-exchanges="experts=gathered norm=early" 2>&1 | FileCheck %s --check-prefixes=GATHERED,EARLY
// RUN: saddle-opt %s --dist-choose-exchanges="experts=masked" 2>&1 | FileCheck %s --check-prefixes=MASKED,WHOLE
// RUN: saddle-opt %s --dist-choose-exchanges="reduction=reduce_scatter norm=late" 2>&1 | FileCheck %s --check-prefix=LATE
// RUN: not saddle-opt %s --dist-choose-exchanges="norm=late rows=padded" 2>&1 | FileCheck %s --check-prefix=NOTHING

// Each value of each option, against or with the cost model; its times for this
// entry are derived in dist-choose-exchanges.mlir. A late norm would be
// 4 * (3.7 + 7/8 * 49152 / 391000) + 4 * 1.3 + 2 * (5/8 + 2) * 49152 / 4550000
// = 15.24 + 5.20 + 0.06.

// ALONE: @decode_8: reduction = all_reduce, asked for; predicted for a layer on H200: all_reduce 11.89 us
// DEFERRED: @decode_8: reduction = deferred, asked for;
// SCATTER: @decode_8: reduction = reduce_scatter, asked for; {{.*}} deferred 9.25 us {{.*}} reduce_scatter 15.25 us
// GATHERED: @decode_8: experts = gathered, asked for; predicted for a layer on H200: masked 9.25 us {{.*}}, gathered 15.25 us
// MASKED: @decode_8: experts = masked, asked for;
// LATE: @decode_8: norm = late, asked for; predicted for a layer on H200: early 15.25 us {{.*}}, late 20.50 us (exchanges 15.24, launches 5.20, memory 0.06)
// Where every rank holds every row there is no norm to place, and without
// replicas no rows.
// NOTHING: error: norm = late has no effect: no entry can follow it (@decode_8: every rank holds all rows); leave it at auto
// NOTHING: error: rows = padded has no effect: no entry can follow it (@decode_8: there are no attention replicas); leave it at auto

// ALONE: dist.choices = {experts = "masked", reduction = "all_reduce"}
// DEFERRED: dist.choices = {experts = "masked", reduction = "deferred"}
// SCATTER: dist.choices = {experts = "gathered", norm = "early", reduction = "reduce_scatter"}
// GATHERED: dist.choices = {experts = "gathered", norm = "early", reduction = "reduce_scatter"}
// MASKED: dist.choices = {experts = "masked", reduction = "deferred"}
// LATE: dist.choices = {experts = "gathered", norm = "late", reduction = "reduce_scatter"}

// WHOLE-NOT: dist.token_axis
// EARLY: model.add {{.*}} {dist.token_axis = #dist.axes<@mesh, ["tp"]>}
// EARLY-NEXT: model.rms_norm {{.*}} {dist.token_axis = #dist.axes<@mesh, ["tp"]>}
// LATE: model.add {{.*}} {dist.token_axis = #dist.axes<@mesh, ["tp"]>}
// LATE-NEXT: model.rms_norm {{.*}} {dist.token_axis = #dist.axes<@mesh, []>}

module attributes {dist.topology = {tp = 8, dp = 1, ep = 1, pp = 1}} {
dist.mesh @mesh ["tp" = 8]
model.weight @n from "n" dims ["hidden"] : tensor<3072xf32>
func.func @decode_8(%x: tensor<8x3072xbf16>, %y: tensor<8x3072xbf16>) -> tensor<8x3072xbf16> {
  %a = model.add %x, %y : tensor<8x3072xbf16>
  %b = model.rms_norm %a, @n eps 1.0e-6 : tensor<8x3072xbf16>
  return %b : tensor<8x3072xbf16>
}
}
