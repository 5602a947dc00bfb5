// Candidates of how a product is divided. What the table of measurements does to a plan is tested in test/unit/cuda-plans/TuningTest.cpp.
// RUN: saddle-opt %s --engine-specialize-kernels="target=sm_90a tuning-candidate=0" -o - 2>&1 | FileCheck %s --check-prefixes=CHECK,PLANNED
// RUN: saddle-opt %s --engine-specialize-kernels="target=sm_90a tuning-candidate=1" -o - 2>&1 | FileCheck %s --check-prefixes=CHECK,OTHER
// Nothing is said of a product that was not measured.
// RUN: saddle-opt %s --engine-specialize-kernels=target=sm_90a -o - 2>&1 | FileCheck %s --check-prefix=DEFAULT
// DEFAULT-NOT: remark

engine.arena @activations transient bytes 0 align 1
engine.arena @io io bytes 0 align 1
engine.kernel @linear_7 op "linear" {act_group = 0}

engine.program @stage_0 stage 0 {
  engine.entry @e decode tokens 8 rows 8 {
    %x = engine.buffer in @io : memref<8x1024xbf16>
    engine.bind "x", %x : memref<8x1024xbf16>
    %w = engine.buffer in @io : memref<2048x1024xbf16>
    engine.bind "w", %w : memref<2048x1024xbf16>
    %y = engine.buffer in @activations : memref<8x2048xbf16>
    // 2048 rows over 132 multiprocessors: 16 for each CTA, whose eight warps divide the columns. A candidate has two warps along the rows.
    // PLANNED: remark: kernel linear_0, linear bf16 2048x1024 tokens 8: stream [[ROWS:[0-9]+]] [[WARPS:[0-9]+]] 1, candidate 0 of
    // OTHER: remark: kernel linear_0, linear bf16 2048x1024 tokens 8: stream {{[0-9]+}} {{[0-9]+}} 1, candidate 1 of
    // CHECK: linearStream<
    // PLANNED-SAME: StreamShape<[[ROWS]], 1,
    // PLANNED-SAME: , [[WARPS]], {{[0-9]+}}>>(p
    engine.launch @linear_7(%x, %w) outs(%y) tokens at "layers.0.linear" : (memref<8x1024xbf16>, memref<2048x1024xbf16>) outs(memref<8x2048xbf16>)
  }
}
