// RUN: saddle-opt %s --engine-plan-memory=alignment=64 --engine-verify-memory=alignment=64 | FileCheck %s

// One arena of each kind, alignment 64. Sizes are those of the largest entry.

engine.source @s from "s" : tensor<25xf32>
// Weights 100, 100 and 4 bytes:
//   @a at 0, @b at 128 (100 align 64), @c at 256 (228 align 64), end 260
// CHECK: engine.arena @weights constant bytes 260 align 64
engine.arena @weights constant bytes 0 align 1
// States of 200 bytes: 0, and 256 (200 align 64), end 456
// CHECK: engine.arena @kv pages bytes 456 align 64
engine.arena @kv pages bytes 0 align 1
// The larger of @decode_1 (228) and @prefill_8 (640), see below.
// CHECK: engine.arena @activations transient bytes 640 align 64
engine.arena @activations transient bytes 0 align 1
// The larger of @decode_1 (128 + 12 = 140) and @prefill_8 (192 + 4 = 196).
// CHECK: engine.arena @io io bytes 196 align 64
engine.arena @io io bytes 0 align 1
engine.kernel @k op "k" {}

engine.program @stage_0 stage 0 {
  // CHECK: engine.weight @a in @weights at 0 pieces
  engine.weight @a in @weights pieces [#engine.piece<source = @s, member = <0 + (rank div 1 mod 1) * 0>, count = 1, row = <0 + (rank div 1 mod 1) * 0>,
      rows = 1, col = <0 + (rank div 1 mod 1) * 0>, cols = 25, dest_row = 0, dest_col = 0, blocks = 1, 1, 1, 1>] : memref<25xf32>
  // CHECK: engine.weight @b in @weights at 128 pieces
  engine.weight @b in @weights pieces [#engine.piece<source = @s, member = <0 + (rank div 1 mod 1) * 0>, count = 1, row = <0 + (rank div 1 mod 1) * 0>,
      rows = 1, col = <0 + (rank div 1 mod 1) * 0>, cols = 25, dest_row = 0, dest_col = 0, blocks = 1, 1, 1, 1>] : memref<25xf32>
  // CHECK: engine.weight @c in @weights at 256 pieces
  engine.weight @c in @weights pieces [#engine.piece<source = @s, member = <0 + (rank div 1 mod 1) * 0>, count = 1, row = <0 + (rank div 1 mod 1) * 0>,
      rows = 1, col = <0 + (rank div 1 mod 1) * 0>, cols = 1, dest_row = 0, dest_col = 0, blocks = 1, 1, 1, 1>] : memref<1xf32>
  // CHECK: engine.state @kv.k kind paged in @kv at 0
  engine.state @kv.k kind paged in @kv : memref<1x100xbf16>
  // CHECK: engine.state @kv.v kind paged in @kv at 256
  engine.state @kv.v kind paged in @kv : memref<1x100xbf16>

  // A chain x -> y -> z of 100 bytes each, %tokens and logits in io. Lives, by
  // command (c0 writes x, c1 y, c2 z, c3 logits):
  //   x: c0 to c1, at 0
  //   y: c1 to c2, meets x, at 128 (100 align 64)
  //   z: c2 to c3, meets y only, at 0 (reuses x)
  // 128 + 100 = 228 bytes.
  // CHECK-LABEL: engine.entry @decode_1
  engine.entry @decode_1 decode tokens 1 rows 1 {
    // io buffers lie one after another, 4 and 12 bytes, however long they live.
    // CHECK: engine.buffer in @io at 0 : memref<1xi32>
    %tokens = engine.buffer in @io : memref<1xi32>
    engine.bind "tokens", %tokens : memref<1xi32>
    // CHECK: engine.buffer in @io at 64 : memref<1xi32>
    %unused = engine.buffer in @io : memref<1xi32>
    engine.bind "positions", %unused : memref<1xi32>
    // CHECK: engine.buffer in @activations at 0 : memref<1x25xf32>
    %x = engine.buffer in @activations : memref<1x25xf32>
    engine.launch @k(%tokens) outs(%x) tokens at "c0" : (memref<1xi32>) outs(memref<1x25xf32>)
    // CHECK: engine.buffer in @activations at 128 : memref<1x25xf32>
    %y = engine.buffer in @activations : memref<1x25xf32>
    engine.launch @k(%x) outs(%y) tokens at "c1" : (memref<1x25xf32>) outs(memref<1x25xf32>)
    // CHECK: engine.buffer in @activations at 0 : memref<1x25xf32>
    %z = engine.buffer in @activations : memref<1x25xf32>
    engine.launch @k(%y) outs(%z) tokens at "c2" : (memref<1x25xf32>) outs(memref<1x25xf32>)
    // CHECK: engine.buffer in @io at 128 : memref<1x3xf32>
    %logits = engine.buffer in @io : memref<1x3xf32>
    engine.launch @k(%z) outs(%logits) tokens at "c3" : (memref<1x25xf32>) outs(memref<1x3xf32>)
    engine.bind "logits", %logits : memref<1x3xf32>
  }

  // Views keep their buffer alive. Buffers in order of size, lives by command:
  //   big   512 bytes, c0 to c3 (through the view)   at 0
  //   small 128 bytes, c1 to c2, meets big           at 512
  //   late  128 bytes, c4 to c5, meets nobody        at 0
  //   dead   64 bytes, written in c5, never read:
  //          meets late (ends at 128)                at 128
  // 512 + 128 = 640 bytes.
  // CHECK-LABEL: engine.entry @prefill_8
  engine.entry @prefill_8 prefill tokens 8 rows 4 {
    // CHECK: engine.buffer in @io at 0 : memref<8xi32>
    %tokens = engine.buffer in @io : memref<8xi32>
    engine.bind "tokens", %tokens : memref<8xi32>
    // CHECK: engine.buffer in @io at 64 : memref<4x4xf32>
    %logits = engine.buffer in @io : memref<4x4xf32>
    // CHECK: engine.buffer in @io at 128 : memref<1xi32>
    %pad = engine.buffer in @io : memref<1xi32>
    // CHECK: engine.buffer in @io at 192 : memref<1xi32>
    %pad2 = engine.buffer in @io : memref<1xi32>
    // CHECK: engine.buffer in @activations at 0 : memref<8x16xf32>
    %big = engine.buffer in @activations : memref<8x16xf32>
    engine.launch @k(%tokens) outs(%big) tokens at "c0" : (memref<8xi32>) outs(memref<8x16xf32>)
    %part = engine.view %big column 12 : memref<8x16xf32> -> memref<8x4xf32, strided<[16, 1], offset: 12>>
    // CHECK: engine.buffer in @activations at 512 : memref<8x4xf32>
    %small = engine.buffer in @activations : memref<8x4xf32>
    engine.launch @k(%tokens) outs(%small) tokens at "c1" : (memref<8xi32>) outs(memref<8x4xf32>)
    engine.launch @k(%small) outs(%logits) tokens at "c2" : (memref<8x4xf32>) outs(memref<4x4xf32>)
    engine.launch @k(%part) outs(%logits) tokens at "c3" : (memref<8x4xf32, strided<[16, 1], offset: 12>>) outs(memref<4x4xf32>)
    // CHECK: engine.buffer in @activations at 0 : memref<8x4xf32>
    %late = engine.buffer in @activations : memref<8x4xf32>
    engine.launch @k(%tokens) outs(%late) tokens at "c4" : (memref<8xi32>) outs(memref<8x4xf32>)
    // CHECK: engine.buffer in @activations at 128 : memref<4x4xf32>
    %dead = engine.buffer in @activations : memref<4x4xf32>
    engine.launch @k(%late) outs(%logits, %dead) tokens at "c5" : (memref<8x4xf32>) outs(memref<4x4xf32>, memref<4x4xf32>)
    engine.bind "logits", %logits : memref<4x4xf32>
  }

  // A gap is used when it is wide enough. Lives: a c0 to c4, b c0 to c1, c c0
  // to c4, so b leaves a hole of 256 bytes at 256 (equal sizes go in order);
  // d of 192 bytes fits into it, e of 64 bytes then fits behind d at 448.
  // CHECK-LABEL: engine.entry @decode_4
  engine.entry @decode_4 decode tokens 4 rows 4 {
    %tokens = engine.buffer in @io : memref<4xi32>
    engine.bind "tokens", %tokens : memref<4xi32>
    %logits = engine.buffer in @io : memref<4x4xf32>
    // CHECK: engine.buffer in @activations at 0 : memref<4x16xf32>
    %a = engine.buffer in @activations : memref<4x16xf32>
    // CHECK: engine.buffer in @activations at 256 : memref<4x16xf32>
    %b = engine.buffer in @activations : memref<4x16xf32>
    // CHECK: engine.buffer in @activations at 512 : memref<1x8xf32>
    %c = engine.buffer in @activations : memref<1x8xf32>
    engine.launch @k(%tokens) outs(%a, %b, %c) tokens at "c0" : (memref<4xi32>) outs(memref<4x16xf32>, memref<4x16xf32>, memref<1x8xf32>)
    engine.launch @k(%b) outs(%logits) tokens at "c1" : (memref<4x16xf32>) outs(memref<4x4xf32>)
    // CHECK: engine.buffer in @activations at 256 : memref<4x12xf32>
    %d = engine.buffer in @activations : memref<4x12xf32>
    // CHECK: engine.buffer in @activations at 448 : memref<4x4xf32>
    %e = engine.buffer in @activations : memref<4x4xf32>
    engine.launch @k(%a) outs(%d, %e) tokens at "c2" : (memref<4x16xf32>) outs(memref<4x12xf32>, memref<4x4xf32>)
    engine.launch @k(%d, %e) outs(%logits) tokens at "c3" : (memref<4x12xf32>, memref<4x4xf32>) outs(memref<4x4xf32>)
    engine.launch @k(%a, %c) outs(%logits) tokens at "c4" : (memref<4x16xf32>, memref<1x8xf32>) outs(memref<4x4xf32>)
    engine.bind "logits", %logits : memref<4x4xf32>
  }
}
