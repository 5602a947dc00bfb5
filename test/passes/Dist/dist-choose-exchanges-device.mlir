// RUN: saddle-opt %s --split-input-file --dist-choose-exchanges=target=sm_90a --verify-diagnostics | FileCheck %s

// Only launches that sm_90a has are counted: add and norm are one, sums,
// scatters and gathers are launches of their own. Figures of H200, and the
// exchanges, as in dist-choose-exchanges.mlir, where launches are those of the
// cpu target's groups.

// b = 49152 bytes. To finish a sum in the launch of the next add is to finish
// it alone: 2 launches of add and norm, 2 * 6b / 4550000 = 0.13. Of equals the
// simpler wins. Scatter and gather: 2 launches too, and 2 * 6b / 8.

module attributes {dist.topology = {tp = 8, dp = 1, ep = 1, pp = 1}} {
dist.mesh @mesh ["tp" = 8]
model.weight @n from "n" dims ["hidden"] : tensor<3072xf32>
// CHECK-LABEL: func.func @decode_8
// CHECK-SAME: dist.choices = {experts = "masked", reduction = "all_reduce"}
// expected-remark @+2 {{@decode_8: reduction = all_reduce, the fastest predicted for a layer on H200: all_reduce 11.89 us (exchanges 9.16, launches 2.60, memory 0.13), deferred 11.89 us (exchanges 9.16, launches 2.60, memory 0.13), reduce_scatter 17.86 us (exchanges 15.24, launches 2.60, memory 0.02)}}
// expected-remark @+1 {{experts = masked}}
func.func @decode_8(%x: tensor<8x3072xbf16>, %y: tensor<8x3072xbf16>) -> tensor<8x3072xbf16> {
  %a = model.add %x, %y : tensor<8x3072xbf16>
  %b = model.rms_norm %a, @n eps 1.0e-6 : tensor<8x3072xbf16>
  return %b : tensor<8x3072xbf16>
}
}

// -----

// b = 25165824 bytes: 12b / 8 / 4550000 = 8.30 for own rows. Late: 29.04 as
// before, since there no group formed in the first place.

module attributes {dist.topology = {tp = 8, dp = 1, ep = 1, pp = 1}} {
dist.mesh @mesh ["tp" = 8]
// CHECK-LABEL: func.func @prefill_4096
// CHECK-SAME: dist.choices = {experts = "gathered", norm = "early", reduction = "reduce_scatter"}
// expected-remark @+3 {{@prefill_4096: reduction = reduce_scatter, the fastest predicted for a layer on H200: all_reduce 309.04 us (exchanges 240.07, launches 2.60, memory 66.37), deferred 309.04 us (exchanges 240.07, launches 2.60, memory 66.37), reduce_scatter 250.97 us (exchanges 240.07, launches 2.60, memory 8.30)}}
// expected-remark @+2 {{@prefill_4096: norm = early, the fastest predicted for a layer on H200: early 250.97 us (exchanges 240.07, launches 2.60, memory 8.30), late 274.31 us (exchanges 240.07, launches 5.20, memory 29.04)}}
// expected-remark @+1 {{experts = gathered}}
func.func @prefill_4096(%x: tensor<4096x3072xbf16>) -> tensor<4096x3072xbf16> attributes {model.phase = "prefill"} {
  %a = model.add %x, %x : tensor<4096x3072xbf16>
  return %a : tensor<4096x3072xbf16>
}
}

// -----

// Eight replicas of width 1, b = 49152 bytes, 60.5 packed rows. Early: add and
// norm in front of the gather, and behind the scatter, which is written and read
// once more: 2 launches, (3 * 60.5 * 6144 + 10b) / 4550000 = 0.35. Late: add,
// norm, and the same behind the experts: 3 launches, (5 * 60.5 * 6144 + 9b) /
// 4550000 = 0.51.

module attributes {dist.topology = {tp = 8, dp = 8, ep = 8, pp = 1}} {
dist.mesh @mesh ["tp" = 8]
// CHECK-LABEL: func.func @replicas
// CHECK-SAME: dist.choices = {experts = "gathered", norm = "early", reduction = "all_reduce", rows = "packed"}
// expected-remark @+4 {{@replicas: reduction = all_reduce, the fastest predicted for a layer on H200: all_reduce 12.11 us (exchanges 9.16, launches 2.60, memory 0.35), deferred 12.11 us (exchanges 9.16, launches 2.60, memory 0.35), reduce_scatter impossible}}
// expected-remark @+3 {{@replicas: norm = early, the fastest predicted for a layer on H200: early 12.11 us (exchanges 9.16, launches 2.60, memory 0.35), late 13.57 us (exchanges 9.16, launches 3.90, memory 0.51)}}
// expected-remark @+2 {{experts = gathered}}
// expected-remark @+1 {{rows = packed}}
func.func @replicas(%x: tensor<64x3072xbf16>) -> tensor<64x3072xbf16> {
  %a = model.add %x, %x : tensor<64x3072xbf16>
  return %a : tensor<64x3072xbf16>
}
}
