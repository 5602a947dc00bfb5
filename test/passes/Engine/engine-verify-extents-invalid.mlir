// RUN: saddle-opt %s --split-input-file --engine-verify-extents --verify-diagnostics

engine.arena @act transient bytes 65536 align 256
engine.kernel @add_0 op "add" {}
engine.rank_groups @replicas axes "tp" size 2 ranks [0, 1]
engine.program @a_launch_reads_rows_of_tokens stage 0 {
  engine.entry @e decode tokens 8 rows 8 {
    // expected-note @+1 {{buffer read here}}
    %x = engine.buffer in @act at 0 : memref<8x4xf32>
    %y = engine.buffer in @act at 256 : memref<8x4xf32>
    engine.launch @add_0(%y, %y) outs(%x) tokens at "a" : (memref<8x4xf32>, memref<8x4xf32>) outs(memref<8x4xf32>)
    // expected-error @+1 {{reads a buffer for rows, but it was written for tokens}}
    engine.launch @add_0(%x, %x) outs(%y) rows at "b" : (memref<8x4xf32>, memref<8x4xf32>) outs(memref<8x4xf32>)
  }
}

// -----

engine.arena @act transient bytes 65536 align 256
engine.kernel @add_0 op "add" {}
engine.rank_groups @replicas axes "tp" size 2 ranks [0, 1]
engine.program @a_collective_reads_a_block_of_tokens stage 0 {
  engine.entry @e decode tokens 8 rows 8 {
    // expected-note @+1 {{buffer read here}}
    %x = engine.buffer in @act at 0 : memref<8x4xf32>
    %y = engine.buffer in @act at 256 : memref<8x4xf32>
    engine.launch @add_0(%y, %y) outs(%x) tokens at "a" : (memref<8x4xf32>, memref<8x4xf32>) outs(memref<8x4xf32>)
    // expected-error @+1 {{reads a buffer for token_share, but it was written for tokens}}
    engine.collective all_reduce_sum %x to %y over @replicas dim 0 token_share at "b" : memref<8x4xf32> to memref<8x4xf32>
  }
}

// -----

engine.arena @act transient bytes 65536 align 256
engine.kernel @add_0 op "add" {}
engine.rank_groups @replicas axes "tp" size 2 ranks [0, 1]
engine.program @a_send_reads_rows_of_tokens stage 0 {
  engine.entry @e decode tokens 8 rows 8 {
    // expected-note @+1 {{buffer read here}}
    %x = engine.buffer in @act at 0 : memref<8x4xf32>
    %y = engine.buffer in @act at 256 : memref<8x4xf32>
    engine.launch @add_0(%y, %y) outs(%x) tokens at "a" : (memref<8x4xf32>, memref<8x4xf32>) outs(memref<8x4xf32>)
    // expected-error @+1 {{reads a buffer for rows, but it was written for tokens}}
    engine.transfer send %x rows at "b" : memref<8x4xf32>
  }
}

// -----

engine.arena @act transient bytes 65536 align 256
engine.kernel @add_0 op "add" {}
engine.rank_groups @replicas axes "tp" size 2 ranks [0, 1]
engine.program @a_copy_reads_all_tokens_of_tokens stage 0 {
  engine.entry @e decode tokens 8 rows 8 {
    // expected-note @+1 {{buffer read here}}
    %x = engine.buffer in @act at 0 : memref<8x4xf32>
    %y = engine.buffer in @act at 256 : memref<8x4xf32>
    engine.launch @add_0(%y, %y) outs(%x) tokens at "a" : (memref<8x4xf32>, memref<8x4xf32>) outs(memref<8x4xf32>)
    // expected-error @+1 {{reads a buffer for all_tokens, but it was written for tokens}}
    engine.copy %x to %y all_tokens at "b" : memref<8x4xf32> to memref<8x4xf32>
  }
}
