// RUN: saddle-opt %s --engine-verify-memory=alignment=64 | FileCheck %s

engine.arena @activations transient bytes 256 align 64
engine.arena @io io bytes 256 align 64
engine.kernel @k op "k" {}
engine.rank_groups @tp axes "tp" size 1 ranks [0]

engine.program @stage_0 stage 0 {
  // Bytes may change hands between a last read and a next write; a collective
  // and a copy may work in place.
  // CHECK-LABEL: engine.entry @bytes_change_hands
  engine.entry @bytes_change_hands decode tokens 4 rows 4 {
    %tokens = engine.buffer in @io at 0 : memref<4xi32>
    engine.bind "tokens", %tokens : memref<4xi32>
    %x = engine.buffer in @activations at 0 : memref<4x4xf32>
    %y = engine.buffer in @activations at 64 : memref<4x4xf32>
    %z = engine.buffer in @activations at 0 : memref<4x4xf32>
    %logits = engine.buffer in @io at 64 : memref<4x4xf32>
    engine.launch @k(%tokens) outs(%x) tokens at "a" : (memref<4xi32>) outs(memref<4x4xf32>)
    engine.launch @k(%x) outs(%y) tokens at "b" : (memref<4x4xf32>) outs(memref<4x4xf32>)
    engine.launch @k(%y) outs(%z) tokens at "c" : (memref<4x4xf32>) outs(memref<4x4xf32>)
    engine.collective all_reduce_sum %z to %z over @tp dim 0 tokens at "d" : memref<4x4xf32> to memref<4x4xf32>
    engine.copy %z to %z tokens at "e" : memref<4x4xf32> to memref<4x4xf32>
    // CHECK: engine.copy {{.*}} at "f"
    engine.copy %z to %logits tokens at "f" : memref<4x4xf32> to memref<4x4xf32>
    engine.bind "logits", %logits : memref<4x4xf32>
  }
}
