// RUN: saddle-opt %s --engine-plan-memory=alignment=64 --engine-verify-memory=alignment=64 | FileCheck %s

// Scratch and exchange memory of device targets. Alignment 64.

// CHECK: engine.arena @activations transient bytes 320 align 64
engine.arena @activations transient bytes 0 align 1
engine.arena @io io bytes 0 align 1
// States of 100 and 64 bytes: 0 and 128 (100 align 64), end 192.
// CHECK: engine.arena @exchange exchange bytes 192 align 64
engine.arena @exchange exchange bytes 0 align 1
engine.kernel @k op "k" {}
engine.kernel @send_0 op "send" {}
engine.kernel @receive_0 op "receive" {}

engine.program @stage_0 stage 0 {
  // CHECK: engine.state @exchange.tp in @exchange at 0 : memref<100xi8>
  engine.state @exchange.tp in @exchange : memref<100xi8>
  // CHECK: engine.state @exchange.boundary in @exchange at 128 : memref<64xi8>
  engine.state @exchange.boundary in @exchange : memref<64xi8>
  // Scratch memory lives at its launch only. By size: scratch 192 bytes, c1,
  // at 0; later 128, c2 to c3, meets nobody, at 0; x 64, c0 to c1, meets
  // scratch, at 192; y 64, c1 to c2, meets all, at 256. 320 bytes.
  // CHECK-LABEL: engine.entry @e
  engine.entry @e decode tokens 4 rows 4 {
    %tokens = engine.buffer in @io : memref<4xi32>
    engine.bind "tokens", %tokens : memref<4xi32>
    // CHECK: engine.buffer in @activations at 192 : memref<4x4xf32>
    %x = engine.buffer in @activations : memref<4x4xf32>
    engine.launch @k(%tokens) outs(%x) tokens at "c0" : (memref<4xi32>) outs(memref<4x4xf32>)
    // CHECK: engine.buffer in @activations at 256 : memref<4x4xf32>
    %y = engine.buffer in @activations : memref<4x4xf32>
    // CHECK: engine.buffer in @activations at 0 : memref<192xi8>
    %scratch = engine.buffer in @activations : memref<192xi8>
    engine.launch @k(%x) outs(%y) workspace(%scratch : memref<192xi8>) tokens at "c1" : (memref<4x4xf32>) outs(memref<4x4xf32>)
    // CHECK: engine.buffer in @activations at 0 : memref<4x8xf32>
    %later = engine.buffer in @activations : memref<4x8xf32>
    engine.launch @k(%y) outs(%later) tokens at "c2" : (memref<4x4xf32>) outs(memref<4x8xf32>)
    %boundary = engine.global @exchange.boundary : memref<64xi8>
    engine.transfer send %later tokens by @send_0 exchange(%boundary : memref<64xi8>) at "c3" : memref<4x8xf32>
  }
}

// The same places in every program.
engine.program @stage_1 stage 1 {
  // CHECK: engine.state @exchange.tp in @exchange at 0 : memref<100xi8>
  engine.state @exchange.tp in @exchange : memref<100xi8>
  // CHECK: engine.state @exchange.boundary in @exchange at 128 : memref<64xi8>
  engine.state @exchange.boundary in @exchange : memref<64xi8>
  engine.entry @e decode tokens 4 rows 4 {
    %logits = engine.buffer in @io : memref<4x8xf32>
    %boundary = engine.global @exchange.boundary : memref<64xi8>
    engine.transfer receive %logits tokens by @receive_0 exchange(%boundary : memref<64xi8>) at "c3" : memref<4x8xf32>
    engine.bind "logits", %logits : memref<4x8xf32>
  }
}
