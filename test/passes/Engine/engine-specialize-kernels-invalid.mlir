// RUN: saddle-opt %s --split-input-file --engine-specialize-kernels=target=sm_90a --verify-diagnostics
// RUN: not saddle-opt %s --split-input-file --engine-specialize-kernels=target=sm_80 2>&1 | FileCheck %s

// CHECK: error: target "sm_80" is not known; targets of this version: cpu, sm_90a

engine.arena @act transient bytes 0 align 1
engine.kernel @softmax_0 op "softmax" {}
engine.program @stage_0 stage 0 {
  engine.entry @e decode tokens 8 rows 8 {
    %x = engine.buffer in @act : memref<8x64xbf16>
    // expected-error @+1 {{kernel @softmax_0 is of op "softmax", which the runtime does not have}}
    engine.launch @softmax_0(%x) outs(%x) tokens at "a" : (memref<8x64xbf16>) outs(memref<8x64xbf16>)
  }
}

// -----

engine.arena @act transient bytes 0 align 1
engine.kernel @add_0 op "add" {}
engine.program @stage_0 stage 0 {
  engine.entry @e decode tokens 8 rows 8 {
    %x = engine.buffer in @act : memref<8x64xf64>
    // expected-error @+1 {{operand "a" is of 'f64', which no device kernel takes}}
    engine.launch @add_0(%x, %x) outs(%x) tokens at "a" : (memref<8x64xf64>, memref<8x64xf64>) outs(memref<8x64xf64>)
  }
}

// -----

engine.arena @act transient bytes 0 align 1
engine.kernel @add_0 op "add" {}
engine.program @stage_0 stage 0 {
  engine.entry @e decode tokens 8 rows 8 {
    %x = engine.buffer in @act : memref<8x0xf32>
    // expected-error @+1 {{operand "a" has no elements or no strides: 'memref<8x0xf32>'}}
    engine.launch @add_0(%x, %x) outs(%x) tokens at "a" : (memref<8x0xf32>, memref<8x0xf32>) outs(memref<8x0xf32>)
  }
}

// -----

engine.arena @act transient bytes 0 align 1
engine.kernel @sum_of_squares_0 op "sum_of_squares" {}
engine.program @stage_0 stage 0 {
  engine.entry @e decode tokens 8 rows 8 {
    %x = engine.buffer in @act : memref<8x1xf32>
    // 16 inputs and an output.
    // expected-error @+1 {{sum_of_squares: 17 operands, expected 1 to 8 inputs and one output}}
    engine.launch @sum_of_squares_0(%x, %x, %x, %x, %x, %x, %x, %x, %x, %x, %x, %x, %x, %x, %x, %x) outs(%x) tokens at "a"
        : (memref<8x1xf32>, memref<8x1xf32>, memref<8x1xf32>, memref<8x1xf32>, memref<8x1xf32>, memref<8x1xf32>, memref<8x1xf32>, memref<8x1xf32>,
           memref<8x1xf32>, memref<8x1xf32>, memref<8x1xf32>, memref<8x1xf32>, memref<8x1xf32>, memref<8x1xf32>, memref<8x1xf32>, memref<8x1xf32>)
        outs(memref<8x1xf32>)
  }
}

// -----

#v = #dist.rank_value<0 + (rank div 1 mod 2) * 2>
engine.arena @act transient bytes 0 align 1
engine.kernel @add_0 op "add" {a = #v, b = #v, c = #v, d = #v, e = #v}
engine.program @stage_0 stage 0 {
  engine.entry @e decode tokens 8 rows 8 {
    %x = engine.buffer in @act : memref<8x64xf32>
    // expected-error @+1 {{kernel @add_0 has 5 attributes that depend on the rank; device kernels take up to 4}}
    engine.launch @add_0(%x, %x) outs(%x) tokens at "a" : (memref<8x64xf32>, memref<8x64xf32>) outs(memref<8x64xf32>)
  }
}

// -----

engine.module @add.cu source "x"
// expected-error @+1 {{kernel @add_0 has functions already}}
engine.kernel @add_0 op "add" {} functions [#engine.function<@add.cu, "add_0" grid[1, 1, 1] block 32 shared 0>]

// -----

// A state of sequences has as many slots as the engine takes sequences.
module attributes {model.limits = {max_batch = 4, max_seq_len = 32, prefill_chunk = 8, page_size = 16}} {
  engine.arena @act transient bytes 0 align 1
  engine.kernel @decay_scan_0 op "decay_scan" {heads = 2, rate = 1.0, head_start = #dist.rank_value<0 + (rank div 1 mod 1) * 0>}
  engine.program @stage_0 stage 0 {
    engine.entry @e decode tokens 8 rows 8 {
      %q = engine.buffer in @act : memref<8x32776xbf16>
      %p = engine.buffer in @act : memref<8xi32>
      %s = engine.buffer in @act : memref<1x2x8192x4xf32>
      %y = engine.buffer in @act : memref<8x8xbf16>
      // expected-error @+1 {{decay_scan has states of 8192 rows, expected 4096 at most}}
      engine.launch @decay_scan_0(%q, %p, %p) outs(%s, %y) tokens at "a" : (memref<8x32776xbf16>, memref<8xi32>, memref<8xi32>) outs(memref<1x2x8192x4xf32>, memref<8x8xbf16>)
    }
  }
}
