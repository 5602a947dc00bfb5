// RUN: saddle-opt %s --verify-roundtrip | FileCheck %s

// Every op and attribute form of the `engine` dialect, as it prints.

// CHECK: engine.source @norm from "norm.weight" : tensor<32xf32>
engine.source @norm from "norm.weight" : tensor<32xf32>
// CHECK: engine.source @w1 from "experts.{}.w1" stack 6 : tensor<24x32xf8E4M3FN>
engine.source @w1 from "experts.{}.w1" stack 6 : tensor<24x32xf8E4M3FN>
// CHECK: engine.source @w1.scale from "experts.{}.w1_scale" stack 6 companion scale of @w1 : tensor<3x4xf32>
engine.source @w1.scale from "experts.{}.w1_scale" stack 6 companion scale of @w1 : tensor<3x4xf32>
// CHECK: engine.source @inv_freq from "rotary.inv_freq" ignored "derived from rope_theta" : tensor<8xf32>
engine.source @inv_freq from "rotary.inv_freq" ignored "derived from rope_theta" : tensor<8xf32>
// CHECK: engine.source @g_idx from "q.g_idx" ignored "in their groups" group 4 : tensor<8xi32>
engine.source @g_idx from "q.g_idx" ignored "in their groups" group 4 : tensor<8xi32>
// CHECK: engine.source @stack_ignored from "{}.x" stack 2 ignored "unused" : tensor<8xf32>
engine.source @stack_ignored from "{}.x" stack 2 ignored "unused" : tensor<8xf32>

// CHECK: engine.source @packed from "packed" unpacked <packed <i32 rows [0, 1, 2, 3, 4, 5, 6, 7]> transposed per 2 to 24 x 16> : tensor<4x24xi32>
engine.source @packed from "packed" unpacked <packed <i32 rows [0, 1, 2, 3, 4, 5, 6, 7]> transposed per 2 to 24 x 16> : tensor<4x24xi32>
// CHECK: engine.source @zeros from "zeros" unpacked <packed <i32 [0, 1, 2, 3, 4, 5, 6, 7]> plus 1 to 4 x 24> : tensor<4x3xi32>
engine.source @zeros from "zeros" unpacked <packed <i32 [0, 1, 2, 3, 4, 5, 6, 7]> plus 1 to 4 x 24> : tensor<4x3xi32>
// CHECK: engine.source @turned from "turned" unpacked <transposed to 24 x 2> : tensor<2x24xf16>
engine.source @turned from "turned" unpacked <transposed to 24 x 2> : tensor<2x24xf16>

// CHECK: engine.arena @weights constant bytes 4096 align 256
engine.arena @weights constant bytes 4096 align 256
// CHECK: engine.arena @kv pages bytes 0 align 1
engine.arena @kv pages bytes 0 align 1
// CHECK: engine.arena @sequences sequences bytes 0 align 1
engine.arena @sequences sequences bytes 0 align 1
// CHECK: engine.arena @activations transient bytes 8192 align 256
engine.arena @activations transient bytes 8192 align 256
// CHECK: engine.arena @step io bytes 1024 align 64
engine.arena @step io bytes 1024 align 64

// CHECK: engine.kernel @rms_norm_0 op "rms_norm" {eps = 5.000000e-01 : f64}
engine.kernel @rms_norm_0 op "rms_norm" {eps = 0.5 : f64}
// CHECK: engine.kernel @embedding_0 op "embedding" {vocab_start = #dist.rank_value<0 + (rank div 1 mod 2) * 48>}
engine.kernel @embedding_0 op "embedding" {vocab_start = #dist.rank_value<0 + (rank div 1 mod 2) * 48>}
// CHECK: engine.kernel @linear_0 op "linear" {act_group = 0 : i64}
engine.kernel @linear_0 op "linear" {act_group = 0}
// CHECK: engine.kernel @scaled_0 op "scaled" {}
// CHECK-SAME: body [#engine.step<"sum_of_squares"(0, 3) {}>, #engine.step<"rms_scale"(0, 3, 1, 2) {column = 0 : i64}>] temporaries [tensor<1xf32>]
engine.kernel @scaled_0 op "scaled" {} body [#engine.step<"sum_of_squares"(0, 3) {}>,
                                             #engine.step<"rms_scale"(0, 3, 1, 2) {column = 0}>] temporaries [tensor<1xf32>]
// CHECK: engine.kernel @linear_1 op "linear" {act_group = 0 : i64, storage = [#model.storage<scale f32 [8, 8]>]}
engine.kernel @linear_1 op "linear" {act_group = 0, storage = [#model.storage<scale f32 [8, 8]>]}
// CHECK: engine.kernel @linear_2 op "linear" {act_group = 0 : i64, storage = [#model.storage<packed i8 [0, 1], offset 8, codes ui4, scale f32 [1, 32]>]}
engine.kernel @linear_2 op "linear" {act_group = 0, storage = [#model.storage<packed i8 [0, 1], offset 8, codes ui4, scale f32 [1, 32]>]}
// CHECK: engine.kernel @add_0 op "add" {}
engine.kernel @add_0 op "add" {}

// CHECK: engine.arena @exchanges exchange bytes 65536 align 256
engine.arena @exchanges exchange bytes 65536 align 256
// CHECK: engine.module @add_1.cu source "#include \22a.cuh\22\0Aextern \22C\22"
engine.module @add_1.cu source "#include \22a.cuh\22\0Aextern \22C\22"
// CHECK: engine.kernel @add_1 op "add" {}
// CHECK-SAME: functions [#engine.function<@add_1.cu, "add_1" grid[8, 1, 1] block 256 shared 0>, #engine.function<@add_1.cu, "add_1_sum" grid[1, 2, 3] exclusive 128 block 32 shared 1024>]
engine.kernel @add_1 op "add" {} functions [#engine.function<@add_1.cu, "add_1" grid[8, 1, 1] block 256 shared 0>,
    #engine.function<@add_1.cu, "add_1_sum" grid[1, 2, 3] exclusive 128 block 32 shared 1024>]
engine.kernel @all_reduce_sum_0 op "all_reduce_sum" {}
engine.kernel @send_0 op "send" {}
engine.kernel @copy_0 op "copy" {}

// CHECK: engine.rank_groups @tp axes "tp" size 2 ranks [0, 1, 2, 3]
engine.rank_groups @tp axes "tp" size 2 ranks [0, 1, 2, 3]
// CHECK: engine.fusion @add_rms_norm ops ["model.add", "model.rms_norm"]
engine.fusion @add_rms_norm ops ["model.add", "model.rms_norm"]

// CHECK-LABEL: engine.program @stage_0 stage 0 {
engine.program @stage_0 stage 0 {
  // CHECK: engine.weight @placed in @weights at 0
  // CHECK-SAME: pieces [#engine.piece<source = @norm, member = <0 + (rank div 1 mod 1) * 0>, count = 1, row = <0 + (rank div 1 mod 1) * 0>,
  // CHECK-SAME: rows = 1, col = <0 + (rank div 1 mod 1) * 0>, cols = 32, dest_row = 0, dest_col = 0, blocks = 1, 1, 1, 1>]
  // CHECK-SAME: : memref<32xf32>
  engine.weight @placed in @weights at 0 pieces [#engine.piece<source = @norm, member = <0 + (rank div 1 mod 1) * 0>, count = 1,
      row = <0 + (rank div 1 mod 1) * 0>, rows = 1, col = <0 + (rank div 1 mod 1) * 0>, cols = 32, dest_row = 0, dest_col = 0,
      blocks = 1, 1, 1, 1>] : memref<32xf32>
  // Rank r of 2 holds members 3r to 3r+2.
  // CHECK: engine.weight @unplaced in @weights pieces [#engine.piece<source = @w1, member = <0 + (rank div 1 mod 2) * 3>, count = 3,
  engine.weight @unplaced in @weights pieces [#engine.piece<source = @w1, member = <0 + (rank div 1 mod 2) * 3>, count = 3,
      row = <0 + (rank div 1 mod 1) * 0>, rows = 24, col = <0 + (rank div 1 mod 1) * 0>, cols = 32, dest_row = 0, dest_col = 0,
      blocks = 1, 1, 1, 1>] : memref<3x24x32xf8E4M3FN>
  // CHECK: engine.state @k_cache kind paged in @kv at 0 : memref<1x16x1x32xbf16>
  engine.state @k_cache kind paged in @kv at 0 : memref<1x16x1x32xbf16>
  // CHECK: engine.state @v_cache kind paged in @kv : memref<1x16x1x32xbf16>
  engine.state @v_cache kind paged in @kv : memref<1x16x1x32xbf16>
  // CHECK: engine.state @index kind index_keys in @kv : memref<1x16x1x16xbf16>
  engine.state @index kind index_keys in @kv : memref<1x16x1x16xbf16>
  // CHECK: engine.state @recurrent kind sequence in @sequences : memref<1x2x8x8xf32>
  engine.state @recurrent kind sequence in @sequences : memref<1x2x8x8xf32>

  // CHECK: engine.state @exchange in @exchanges at 0 : memref<65536xi8>
  engine.state @exchange in @exchanges at 0 : memref<65536xi8>

  // CHECK: engine.entry @decode_8 decode tokens 8 rows 8 {
  engine.entry @decode_8 decode tokens 8 rows 8 {
    // CHECK: %[[TOKENS:.*]] = engine.buffer in @step : memref<8xi32>
    %tokens = engine.buffer in @step : memref<8xi32>
    // CHECK: engine.bind "tokens", %[[TOKENS]] : memref<8xi32>
    engine.bind "tokens", %tokens : memref<8xi32>
    // CHECK: %[[X:.*]] = engine.buffer in @activations at 4096 : memref<8x32xf32>
    %x = engine.buffer in @activations at 4096 : memref<8x32xf32>
    %y = engine.buffer in @activations at 5120 : memref<8x32xf32>
    // CHECK: %[[W:.*]] = engine.global @placed : memref<32xf32>
    %w = engine.global @placed : memref<32xf32>
    // CHECK: %[[KC:.*]] = engine.global @k_cache : memref<1x16x1x32xbf16>
    %kc = engine.global @k_cache : memref<1x16x1x32xbf16>
    // CHECK: %[[V:.*]] = engine.view %[[X]] column 16 : memref<8x32xf32> -> memref<8x16xf32, strided<[32, 1], offset: 16>>
    %v = engine.view %x column 16 : memref<8x32xf32> -> memref<8x16xf32, strided<[32, 1], offset: 16>>
    // A view of a view: offset 16 + 8.
    // CHECK: engine.view %[[V]] column 8 : {{.*}} -> memref<8x8xf32, strided<[32, 1], offset: 24>>
    %vv = engine.view %v column 8 : memref<8x16xf32, strided<[32, 1], offset: 16>> -> memref<8x8xf32, strided<[32, 1], offset: 24>>
    // CHECK: engine.launch @rms_norm_0(%[[X]], %[[W]]) outs(%[[Y:.*]]) tokens at "layers.0.input_norm"
    // CHECK-SAME: : (memref<8x32xf32>, memref<32xf32>) outs(memref<8x32xf32>)
    engine.launch @rms_norm_0(%x, %w) outs(%y) tokens at "layers.0.input_norm" : (memref<8x32xf32>, memref<32xf32>) outs(memref<8x32xf32>)
    // CHECK: engine.launch @add_0(%[[X]], %[[X]]) outs(%[[Y]]) rows at "head" fusion @add_rms_norm :
    engine.launch @add_0(%x, %x) outs(%y) rows at "head" fusion @add_rms_norm : (memref<8x32xf32>, memref<8x32xf32>) outs(memref<8x32xf32>)
    // CHECK: engine.launch @add_0(%[[X]]) outs(%[[Y]], %[[KC]]) tokens at "p" : (memref<8x32xf32>) outs(memref<8x32xf32>, memref<1x16x1x32xbf16>)
    engine.launch @add_0(%x) outs(%y, %kc) tokens at "p" : (memref<8x32xf32>) outs(memref<8x32xf32>, memref<1x16x1x32xbf16>)
    // CHECK: engine.collective all_reduce_sum %[[X]] to %[[Y]] over @tp dim 0 tokens at "o_proj" : memref<8x32xf32> to memref<8x32xf32>
    engine.collective all_reduce_sum %x to %y over @tp dim 0 tokens at "o_proj" : memref<8x32xf32> to memref<8x32xf32>
    %wide = engine.buffer in @activations : memref<8x64xf32>
    // CHECK: engine.collective all_gather %[[X]] to %[[WIDE:.*]] over @tp dim 1 rows at "logits" fusion @add_rms_norm : memref<8x32xf32> to memref<8x64xf32>
    engine.collective all_gather %x to %wide over @tp dim 1 rows at "logits" fusion @add_rms_norm : memref<8x32xf32> to memref<8x64xf32>
    // CHECK: engine.collective reduce_scatter_sum %[[WIDE]] to %[[X]] over @tp dim 1 tokens at "p" : memref<8x64xf32> to memref<8x32xf32>
    engine.collective reduce_scatter_sum %wide to %x over @tp dim 1 tokens at "p" : memref<8x64xf32> to memref<8x32xf32>
    // CHECK: engine.transfer send %[[X]] tokens at "layers.1.boundary" : memref<8x32xf32>
    engine.transfer send %x tokens at "layers.1.boundary" : memref<8x32xf32>
    // CHECK: engine.transfer receive %[[Y]] token_share at "layers.1.boundary" : memref<8x32xf32>
    engine.transfer receive %y token_share at "layers.1.boundary" : memref<8x32xf32>
    // CHECK: engine.copy %[[X]] to %[[Y]] rows at "logits" : memref<8x32xf32> to memref<8x32xf32>
    engine.copy %x to %y rows at "logits" : memref<8x32xf32> to memref<8x32xf32>

    // What device targets add.
    // CHECK: %[[SCRATCH:.*]] = engine.buffer in @activations : memref<4096xi8>
    %scratch = engine.buffer in @activations : memref<4096xi8>
    // CHECK: %[[EXCHANGE:.*]] = engine.global @exchange : memref<65536xi8>
    %exchange = engine.global @exchange : memref<65536xi8>
    // CHECK: engine.launch @add_1(%[[X]], %[[X]]) outs(%[[Y]]) workspace(%[[SCRATCH]] : memref<4096xi8>) tokens at "add" :
    engine.launch @add_1(%x, %x) outs(%y) workspace(%scratch : memref<4096xi8>) tokens at "add" : (memref<8x32xf32>, memref<8x32xf32>) outs(memref<8x32xf32>)
    // CHECK: engine.launch @add_1(%[[X]], %[[X]]) outs(%[[Y]]) over @tp exchange(%[[EXCHANGE]] : memref<65536xi8>) tokens at "norm" :
    engine.launch @add_1(%x, %x) outs(%y) over @tp exchange(%exchange : memref<65536xi8>) tokens at "norm"
        : (memref<8x32xf32>, memref<8x32xf32>) outs(memref<8x32xf32>)
    // CHECK: engine.collective all_reduce_sum %[[X]] to %[[Y]] over @tp dim 0 tokens by @all_reduce_sum_0
    // CHECK-SAME: workspace(%[[SCRATCH]] : memref<4096xi8>) exchange(%[[EXCHANGE]] : memref<65536xi8>) at "o_proj" : memref<8x32xf32> to memref<8x32xf32>
    engine.collective all_reduce_sum %x to %y over @tp dim 0 tokens by @all_reduce_sum_0 workspace(%scratch : memref<4096xi8>)
        exchange(%exchange : memref<65536xi8>) at "o_proj" : memref<8x32xf32> to memref<8x32xf32>
    // CHECK: engine.transfer send %[[X]] tokens by @send_0 exchange(%[[EXCHANGE]] : memref<65536xi8>) at "layers.1.boundary" : memref<8x32xf32>
    engine.transfer send %x tokens by @send_0 exchange(%exchange : memref<65536xi8>) at "layers.1.boundary" : memref<8x32xf32>
    // CHECK: engine.copy %[[X]] to %[[Y]] rows by @copy_0 at "logits" : memref<8x32xf32> to memref<8x32xf32>
    engine.copy %x to %y rows by @copy_0 at "logits" : memref<8x32xf32> to memref<8x32xf32>
  }
  // CHECK: engine.entry @prefill_16 prefill tokens 16 rows 4 attributes {note = "kept"} {
  engine.entry @prefill_16 prefill tokens 16 rows 4 attributes {note = "kept"} {
  }
}

// CHECK: engine.program @stage_1 stage 1 attributes {note = "kept"} {
engine.program @stage_1 of "main" stage 1 attributes {note = "kept"} {
}

// CHECK: engine.program @draft_1 of "draft" stage 1 {
engine.program @draft_1 of "draft" stage 1 {
}
