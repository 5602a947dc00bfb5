// RUN: saddle-opt %s --engine-verify-extents | FileCheck %s

// Tokens all the way; select_rows turns tokens into rows; gathers and scatters
// change the count on their way.

// CHECK-LABEL: engine.program @stage_0
engine.arena @act transient bytes 65536 align 256
engine.kernel @add_0 op "add" {}
engine.kernel @select_rows_0 op "select_rows" {}
engine.rank_groups @replicas axes "tp" size 2 ranks [0, 1]
engine.program @stage_0 stage 0 {
  engine.entry @decode_8 decode tokens 8 rows 4 {
    %x = engine.buffer in @act at 0 : memref<8x4xf32>
    %y = engine.buffer in @act at 256 : memref<8x4xf32>
    %all = engine.buffer in @act at 512 : memref<16x4xf32>
    %rows = engine.buffer in @act at 1024 : memref<4xi32>
    %r = engine.buffer in @act at 1280 : memref<4x4xf32>
    engine.transfer receive %x tokens at "layers.1.boundary" : memref<8x4xf32>
    engine.launch @add_0(%x, %x) outs(%y) tokens at "a" : (memref<8x4xf32>, memref<8x4xf32>) outs(memref<8x4xf32>)
    engine.collective all_gather %y to %all over @replicas dim 0 tokens becoming all_tokens rows packed at "b" : memref<8x4xf32> to memref<16x4xf32>
    engine.launch @add_0(%all, %all) outs(%all) all_tokens at "c" : (memref<16x4xf32>, memref<16x4xf32>) outs(memref<16x4xf32>)
    engine.collective reduce_scatter_sum %all to %x over @replicas dim 0 all_tokens becoming tokens rows packed at "d" : memref<16x4xf32> to memref<8x4xf32>
    engine.launch @select_rows_0(%x, %rows) outs(%r) rows at "e" : (memref<8x4xf32>, memref<4xi32>) outs(memref<4x4xf32>)
    engine.launch @add_0(%r, %r) outs(%r) rows at "f" : (memref<4x4xf32>, memref<4x4xf32>) outs(memref<4x4xf32>)
  }
}
