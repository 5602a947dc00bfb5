// RUN: saddle-opt %s --split-input-file --dist-choose-exchanges --verify-diagnostics | FileCheck %s
// RUN: saddle-opt %s --split-input-file --dist-choose-exchanges="norm=late rows=padded reduction=all_reduce" 2>&1 | FileCheck %s --check-prefix=ASKED
// RUN: not saddle-opt %s --split-input-file --dist-choose-exchanges=experts=masked 2>&1 | FileCheck %s --check-prefix=MASKED
// RUN: not saddle-opt %s --split-input-file --dist-choose-exchanges=reduction=reduce_scatter 2>&1 | FileCheck %s --check-prefix=SCATTER

// Attention replicas. Figures of H200 as in dist-choose-exchanges.mlir.

// Eight replicas of width 1 with at most 8 tokens each, b = 49152 bytes; all of
// them B = 8b. The gather and the scatter: 2 * (3.7 + 7/8 * B / 391000) = 9.16
// us. Replicas of decode differ by one token: 7 of them are half a token lower,
// so packed rows are 64 - 3.5. Memory: the rows 3 times, both adds and norms
// 4b each: (3 * 60.5 * 6144 + 8b) / 4550000 = 0.33, padded 0.35. Late norm: the
// add moves 3b instead of 4b, but the norm 2 * 60.5 rows: 0.48, and add and
// norm are launches, 2.6. Alone: one launch behind the experts, 2b more.

module attributes {dist.topology = {tp = 8, dp = 8, ep = 8, pp = 1}} {
dist.mesh @mesh ["tp" = 8]
model.weight @n from "n" dims ["hidden"] : tensor<3072xf32>
model.weight @w1 from "{}.w1" dims ["experts", "expert_width", "hidden"] : tensor<8x64x3072xbf16>
model.weight @w3 from "{}.w3" dims ["experts", "expert_width", "hidden"] : tensor<8x64x3072xbf16>
model.weight @w2 from "{}.w2" dims ["experts", "hidden", "expert_width"] : tensor<8x3072x64xbf16>
// CHECK-LABEL: func.func @decode_8
// CHECK-SAME: dist.choices = {experts = "gathered", norm = "early", reduction = "deferred", rows = "packed"}
// CHECK-NOT: dist.token_axis
// CHECK: return

// ASKED: @decode_8: reduction = all_reduce, asked for; predicted for a layer on H200: all_reduce 13.59 us (exchanges 9.16, launches 3.90, memory 0.53), deferred 12.27 us (exchanges 9.16, launches 2.60, memory 0.51), reduce_scatter impossible
// ASKED: @decode_8: norm = late, asked for; predicted for a layer on H200: early 10.83 us (exchanges 9.16, launches 1.30, memory 0.37), late 13.59 us
// ASKED: @decode_8: rows = padded, asked for; predicted for a layer on H200: packed 13.57 us (exchanges 9.16, launches 3.90, memory 0.51), padded 13.59 us
// Only the norm whose rows all ranks need: attention has its own replica's.
// ASKED: func.func @decode_8(%arg0: {{.*}}dist.choices = {experts = "gathered", norm = "late", reduction = "all_reduce", rows = "padded"}
// ASKED: model.add %arg0, %arg1 :
// ASKED-NEXT: model.rms_norm {{.*}} {dist.token_axis = #dist.axes<@mesh, []>}
// ASKED: model.add {{.*}} : tensor<64x3072xbf16>
// ASKED-NEXT: model.rms_norm {{.*}} eps 9.9{{[0-9E-]+}} : tensor

// SCATTER: @decode_8: reduction = deferred, although reduce_scatter was asked for, the fastest predicted for a layer on H200
// SCATTER: error: reduction = reduce_scatter has no effect: no entry can follow it (@decode_8: no layout joins shares of several replicas' rows); leave it at auto
// MASKED-DAG: error: experts = masked has no effect: no entry can follow it (@decode_8: replicas hold different tokens); leave it at auto
// MASKED-DAG: @decode_8: experts = gathered, although masked was asked for, the only one possible; predicted for a layer on H200: masked impossible (replicas hold different tokens), gathered 9.49 us

// expected-remark @+4 {{@decode_8: reduction = deferred, the fastest predicted for a layer on H200: all_reduce 10.81 us (exchanges 9.16, launches 1.30, memory 0.35), deferred 9.49 us (exchanges 9.16, launches 0.00, memory 0.33), reduce_scatter impossible (no layout joins shares of several replicas' rows)}}
// expected-remark @+3 {{@decode_8: norm = early, the fastest predicted for a layer on H200: early 9.49 us (exchanges 9.16, launches 0.00, memory 0.33), late 12.24 us (exchanges 9.16, launches 2.60, memory 0.48)}}
// expected-remark @+2 {{@decode_8: experts = gathered, the only one possible; predicted for a layer on H200: masked impossible (replicas hold different tokens), gathered 9.49 us (exchanges 9.16, launches 0.00, memory 0.33)}}
// expected-remark @+1 {{@decode_8: rows = packed, the fastest predicted for a layer on H200: packed 9.49 us (exchanges 9.16, launches 0.00, memory 0.33), padded 9.51 us (exchanges 9.16, launches 0.00, memory 0.35)}}
func.func @decode_8(%x: tensor<64x3072xbf16>, %y: tensor<64x3072xbf16>, %w: tensor<64x2xf32>, %e: tensor<64x2xi32>) -> tensor<64x3072xbf16> {
  %a = model.add %x, %y : tensor<64x3072xbf16>
  %b = model.rms_norm %a, @n eps 1.0e-6 : tensor<64x3072xbf16>
  %m = model.experts %b, %w, %e gate_up [@w1, @w3] down @w2 : tensor<64x3072xbf16>, tensor<64x2xf32>, tensor<64x2xi32>
  %c = model.add %a, %m : tensor<64x3072xbf16>
  %d = model.rms_norm %c, @n eps 1.0e-6 : tensor<64x3072xbf16>
  return %d : tensor<64x3072xbf16>
}
}

// -----

// In prefill counts are uniform up to the chunk: 4096 + 7 * 2048 packed rows of
// 8 * 4096. Their memory: (3 * 18432 * 6144 + 8 * 25165824) / 4550000 = 118.92
// us, padded 176.99. Exchanges 2 * (3.7 + 7/8 * 8 * 25165824 / 391000).

module attributes {dist.topology = {tp = 8, dp = 8, ep = 8, pp = 1}} {
dist.mesh @mesh ["tp" = 8]
// expected-remark @+4 {{reduction = deferred}}
// expected-remark @+3 {{norm = early}}
// expected-remark @+2 {{experts = gathered}}
// expected-remark @+1 {{@prefill_4096: rows = packed, the fastest predicted for a layer on H200: packed 1027.39 us (exchanges 908.48, launches 0.00, memory 118.92), padded 1085.47 us (exchanges 908.48, launches 0.00, memory 176.99)}}
func.func @prefill_4096(%x: tensor<32768x3072xbf16>) -> tensor<32768x3072xbf16> attributes {model.phase = "prefill"} {
  %a = model.add %x, %x : tensor<32768x3072xbf16>
  return %a : tensor<32768x3072xbf16>
}
}

// -----

// Two replicas of width 8 on two nodes: the sums inside a replica stay on one,
// the gather and the scatter do not, though they join two ranks only. b = 49152:
// 2 * (3.7 + 7b / 391000) + 2 * (15 + 1/2 * 2b / 50000) = 41.13 us. Memory: 15.5
// packed rows 3 times and 8b. Alone: behind attention the sum is written and
// read once more; behind the experts so is what was scattered, and its sum; and
// one launch is added: (3 * 15.5 * 6144 + 14b) / 4550000 = 0.21.

module attributes {dist.topology = {tp = 16, dp = 2, ep = 1, pp = 1}} {
dist.mesh @mesh ["tp" = 16]
// expected-remark @+4 {{@two_nodes: reduction = deferred, the fastest predicted for a layer on H200: all_reduce 42.64 us (exchanges 41.13, launches 1.30, memory 0.21), deferred 41.28 us (exchanges 41.13, launches 0.00, memory 0.15), reduce_scatter impossible}}
// expected-remark @+3 {{norm = early, the fastest predicted for a layer on H200: early 41.28 us (exchanges 41.13, launches 0.00, memory 0.15), late 43.93 us (exchanges 41.13, launches 2.60, memory 0.20)}}
// expected-remark @+2 {{experts = gathered}}
// expected-remark @+1 {{rows = packed}}
func.func @two_nodes(%x: tensor<16x3072xbf16>) -> tensor<16x3072xbf16> {
  %a = model.add %x, %x : tensor<16x3072xbf16>
  return %a : tensor<16x3072xbf16>
}
}
