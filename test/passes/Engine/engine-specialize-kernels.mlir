// RUN: saddle-opt %s --engine-specialize-kernels=target=sm_90a | FileCheck %s
// RUN: saddle-opt %s --engine-specialize-kernels=target=sm_90a --engine-plan-memory --engine-verify-extents --engine-verify-memory | FileCheck %s --check-prefix=PLAN
// RUN: saddle-opt %s --engine-specialize-kernels | FileCheck %s --check-prefix=CPU

// Nothing changes on the CPU.
// CPU-NOT: engine.module
// CPU: engine.kernel @add_7 op "add" {}
// CPU-NOT: functions

engine.arena @activations transient bytes 0 align 1
engine.arena @io io bytes 0 align 1
// CHECK: engine.arena @io io
// CHECK-NEXT: engine.arena @exchange exchange bytes 0 align 1
// The kernels of the level before are replaced.
// CHECK-NOT: @add_7
engine.kernel @add_7 op "add" {}
engine.kernel @experts_0 op "experts" {act_group = 0, expert_start = #dist.rank_value<0 + (rank div 1 mod 2) * 2>}
engine.rank_groups @groups.tp axes "tp" size 2 ranks [0, 1, 2, 3]

// One source for each op, in the order of first use. What it computes stands in front of each function.
// CHECK: engine.module @add.cu source
// CHECK-SAME: "#include \22runtime/kernels/impls/elementwise.cuh\22\0A#include \22runtime/kernels/ptx/launch.cuh\22\0A
// CHECK-SAME: \0Anamespace saddle::device {\0A
// CHECK-SAME: \0A// add_0: add, up to 8 rows (tokens):\0A
// CHECK-SAME: // a bf16[8, 64]\0A
// CHECK-SAME: // b bf16[8, 64]\0A
// CHECK-SAME: // out bf16[8, 64]\0A
// Two launches with equal shapes in one stage, one in the other.
// CHECK-SAME: // 3 launches, first at layers.0.a\0A
// CHECK-SAME: // Grid 1 x 1 x 1, 0 bytes of dynamic shared memory.\0A
// CHECK-SAME: extern \22C\22 __global__ void __launch_bounds__(256)\0A
// CHECK-SAME: add_0(const __grid_constant__ LaunchParams p) {\0A
// The next kernel may become resident before this one waits.
// CHECK-SAME: allowNext();\0A
// CHECK-SAME: waitForPrevious();\0A
// 1 is schema::Extent::TOKENS.
// CHECK-SAME: add<1, Matrix<bf16, 8, 64, 64>, Matrix<bf16, 8, 64, 64>, Matrix<bf16, 8, 64, 64>>(p);\0A
// A view: rows of 192 elements, from column 64 on, which is 128 bytes.
// CHECK-SAME: // add_1: add, up to 8 rows (tokens):\0A
// CHECK-SAME: // a bf16[8, 64] in rows of 192\0A
// CHECK-SAME: // 1 launch, at layers.0.view\0A
// CHECK-SAME: add<1, Matrix<bf16, 8, 64, 192>, Matrix<bf16, 8, 64, 64>, Matrix<bf16, 8, 64, 64>>(p);\0A
// From column 3 on: 6 bytes, so 2 is the alignment.
// CHECK-SAME: add<1, Matrix<bf16, 8, 64, 192, 2>, Matrix<bf16, 8, 64, 64>, Matrix<bf16, 8, 64, 64>>(p);\0A
// Equal shapes, another count: 2 is ROWS.
// CHECK-SAME: // add_3: add, up to 8 rows (rows):\0A
// CHECK-SAME: add<2, Matrix<bf16, 8, 64, 64>, Matrix<bf16, 8, 64, 64>, Matrix<bf16, 8, 64, 64>>(p);\0A
// CHECK-SAME: } // namespace saddle::device\0A"
// CHECK: engine.module @copy.cu source
// CHECK-SAME: copy<1, Matrix<bf16, 8, 64, 64>, Matrix<bf16, 8, 64, 64>>(p);
// CHECK: engine.module @experts.cu source
// CHECK-SAME: // act_group = 0\0A// expert_start = p.rankValues[0]\0A
// CHECK: engine.module @all_reduce_sum.cu source
// CHECK-SAME: // all_reduce_sum_0: all_reduce_sum over groups of 2, up to 8 rows (tokens):\0A
// A sum in bulk: 256 x 3072 bf16 are 98304 units of 16 bytes, 49152 for each of two owners.
// CHECK-SAME: // Grid 32 x 1 x 1, with a device for each rank 128, 0 bytes of dynamic shared memory.\0A
// CHECK-SAME: waitForPrevious();\0A allReduceBulk<2, 1,
// CHECK: engine.module @send.cu source
// CHECK: engine.module @receive.cu source

// CHECK: engine.kernel @add_0 op "add" {} functions [#engine.function<@add.cu, "add_0" grid[1, 1, 1] block 256 shared 0>]
// CHECK: engine.kernel @add_1 op "add" {} functions [#engine.function<@add.cu, "add_1"
// CHECK: engine.kernel @copy_0 op "copy" {} functions [#engine.function<@copy.cu, "copy_0"
// Constants stay: the runtime checks them against the op's signature.
// CHECK: engine.kernel @experts_0 op "experts" {act_group = 0 : i64, expert_start = #dist.rank_value<0 + (rank div 1 mod 2) * 2>} functions [#engine.function<@experts.cu,
// CHECK: engine.kernel @all_reduce_sum_0 op "all_reduce_sum" {} functions
// CHECK: engine.kernel @all_reduce_sum_1 op "all_reduce_sum" {} functions [#engine.function<@all_reduce_sum.cu, "all_reduce_sum_1" grid[32, 1, 1] exclusive 128 block 256 shared 0>]
// A kernel that the runtime launches by itself.
// CHECK: engine.module @synthetic_weights_2.cu source
// CHECK: engine.kernel @synthetic_weights_2 op "synthetic_weights_2" {} functions [#engine.function<@synthetic_weights_2.cu, "synthetic_weights_2"

// CHECK-LABEL: engine.program @stage_0
engine.program @stage_0 stage 0 {
  // Exchange memory: one state for each partition of the ranks, the same in both programs.
  // CHECK-NEXT: engine.state @exchange.tp in @exchange : memref<[[TP:[0-9]+xi8]]>
  // CHECK-NEXT: engine.state @exchange.boundary in @exchange : memref<[[BOUNDARY:[0-9]+xi8]]>
  // PLAN: engine.state @exchange.tp in @exchange at 0
  // PLAN: engine.state @exchange.boundary in @exchange at [[#%u,AT:]]
  engine.entry @e decode tokens 8 rows 8 {
    %x = engine.buffer in @io : memref<8x64xbf16>
    engine.bind "x", %x : memref<8x64xbf16>
    %wide = engine.buffer in @io : memref<8x192xbf16>
    engine.bind "wide", %wide : memref<8x192xbf16>
    %y = engine.buffer in @activations : memref<8x64xbf16>
    %z = engine.buffer in @activations : memref<8x64xbf16>
    // CHECK: engine.launch @add_0(
    // CHECK: engine.launch @add_0(
    engine.launch @add_7(%x, %x) outs(%y) tokens at "layers.0.a" : (memref<8x64xbf16>, memref<8x64xbf16>) outs(memref<8x64xbf16>)
    engine.launch @add_7(%y, %y) outs(%z) tokens at "layers.0.b" : (memref<8x64xbf16>, memref<8x64xbf16>) outs(memref<8x64xbf16>)
    %v = engine.view %wide column 64 : memref<8x192xbf16> -> memref<8x64xbf16, strided<[192, 1], offset: 64>>
    %u = engine.view %wide column 3 : memref<8x192xbf16> -> memref<8x64xbf16, strided<[192, 1], offset: 3>>
    // CHECK: engine.launch @add_1(
    // CHECK: engine.launch @add_2(
    // CHECK: engine.launch @add_3({{.*}}) outs(%{{.*}}) rows
    engine.launch @add_7(%v, %z) outs(%y) tokens at "layers.0.view" : (memref<8x64xbf16, strided<[192, 1], offset: 64>>, memref<8x64xbf16>) outs(memref<8x64xbf16>)
    engine.launch @add_7(%u, %y) outs(%z) tokens at "layers.0.shifted" : (memref<8x64xbf16, strided<[192, 1], offset: 3>>, memref<8x64xbf16>) outs(memref<8x64xbf16>)
    %r = engine.buffer in @activations : memref<8x64xbf16>
    engine.launch @add_7(%x, %x) outs(%r) rows at "head" : (memref<8x64xbf16>, memref<8x64xbf16>) outs(memref<8x64xbf16>)
    // CHECK: engine.copy %{{.*}} to %{{.*}} tokens by @copy_0
    engine.copy %z to %y tokens at "copy" : memref<8x64xbf16> to memref<8x64xbf16>

    // Scratch memory is a buffer in front of its launch, so it lives there only.
    %weights = engine.buffer in @io : memref<8x2xf32>
    engine.bind "weights", %weights : memref<8x2xf32>
    %experts = engine.buffer in @io : memref<8x2xi32>
    engine.bind "experts", %experts : memref<8x2xi32>
    %w13 = engine.buffer in @io : memref<2x32x64xbf16>
    engine.bind "w13", %w13 : memref<2x32x64xbf16>
    %w2 = engine.buffer in @io : memref<2x64x16xbf16>
    engine.bind "w2", %w2 : memref<2x64x16xbf16>
    // CHECK: %[[SCRATCH:.*]] = engine.buffer in @activations : memref<[[BYTES:[0-9]+xi8]]>
    // CHECK-NEXT: engine.launch @experts_0({{.*}}) outs(%{{.*}}) workspace(%[[SCRATCH]] : memref<[[BYTES]]>) tokens
    engine.launch @experts_0(%y, %weights, %experts, %w13, %w2) outs(%z) tokens at "layers.0.experts"
        : (memref<8x64xbf16>, memref<8x2xf32>, memref<8x2xi32>, memref<2x32x64xbf16>, memref<2x64x16xbf16>) outs(memref<8x64xbf16>)

    // CHECK: %[[EXCHANGE:.*]] = engine.global @exchange.tp : memref<[[TP]]>
    // CHECK-NEXT: engine.collective all_reduce_sum {{.*}} tokens by @all_reduce_sum_0 exchange(%[[EXCHANGE]] : memref<[[TP]]>) at "layers.0.sum"
    engine.collective all_reduce_sum %z to %y over @groups.tp dim 0 tokens at "layers.0.sum" : memref<8x64xbf16> to memref<8x64xbf16>
    %many = engine.buffer in @io : memref<256x3072xbf16>
    engine.bind "many", %many : memref<256x3072xbf16>
    engine.collective all_reduce_sum %many to %many over @groups.tp dim 0 tokens at "layers.0.bulk" : memref<256x3072xbf16> to memref<256x3072xbf16>
    // CHECK: %[[BOUNDARY_MEMORY:.*]] = engine.global @exchange.boundary : memref<[[BOUNDARY]]>
    // CHECK-NEXT: engine.transfer send {{.*}} tokens by @send_0 exchange(%[[BOUNDARY_MEMORY]] : memref<[[BOUNDARY]]>) at "boundary"
    engine.transfer send %y tokens at "boundary" : memref<8x64xbf16>
  }
}

// CHECK-LABEL: engine.program @stage_1
engine.program @stage_1 stage 1 {
  // CHECK-NEXT: engine.state @exchange.tp in @exchange : memref<{{[0-9]+}}xi8>
  // CHECK-NEXT: engine.state @exchange.boundary in @exchange : memref<{{[0-9]+}}xi8>
  // PLAN: engine.state @exchange.tp in @exchange at 0
  // PLAN: engine.state @exchange.boundary in @exchange at [[#AT]]
  engine.entry @e decode tokens 8 rows 8 {
    %x = engine.buffer in @activations : memref<8x64xbf16>
    %logits = engine.buffer in @io : memref<8x64xbf16>
    // CHECK: engine.transfer receive {{.*}} tokens by @receive_0 exchange(
    engine.transfer receive %x tokens at "boundary" : memref<8x64xbf16>
    // CHECK: engine.launch @add_0(
    engine.launch @add_7(%x, %x) outs(%logits) tokens at "head" : (memref<8x64xbf16>, memref<8x64xbf16>) outs(memref<8x64xbf16>)
    engine.bind "logits", %logits : memref<8x64xbf16>
  }
}
