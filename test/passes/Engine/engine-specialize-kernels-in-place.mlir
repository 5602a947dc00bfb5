// One token: every CTA of the product adds and normalises for itself, unless the sum lies where others still read (impls/norm_linear.cuh).
// RUN: saddle-opt %s --engine-specialize-kernels=target=sm_90a -o - | FileCheck %s

engine.arena @io io bytes 0 align 1
engine.kernel @k op "add_rms_norm_linear" {} body [#engine.step<"add"(0, 1, 5) {}>, #engine.step<"rms_norm"(5, 2, 7) {eps = 1.000000e-06 : f64}>, #engine.step<"linear"(7, 3, 4, 6) {act_group = 128 : i64, storage = [#model.storage<scale f32 [128, 128]>]}>] temporaries [tensor<1x1024xbf16>]

engine.program @stage_0 stage 0 {
  engine.entry @e decode tokens 1 rows 1 {
    %a = engine.buffer in @io : memref<1x1024xbf16>
    engine.bind "a", %a : memref<1x1024xbf16>
    %b = engine.buffer in @io : memref<1x1024xbf16>
    engine.bind "b", %b : memref<1x1024xbf16>
    %gamma = engine.buffer in @io : memref<1024xf32>
    engine.bind "gamma", %gamma : memref<1024xf32>
    %w = engine.buffer in @io : memref<2048x1024xf8E4M3FN>
    engine.bind "w", %w : memref<2048x1024xf8E4M3FN>
    %scale = engine.buffer in @io : memref<16x8xf32>
    engine.bind "scale", %scale : memref<16x8xf32>
    %sum = engine.buffer in @io : memref<1x1024xbf16>
    %y = engine.buffer in @io : memref<1x2048xbf16>
    // CHECK: addRmsNormLinear<
    // CHECK: addRmsNormEncode<
    // CHECK: engine.kernel @add_rms_norm_linear_0 op {{.*}} functions [#engine.function<@add_rms_norm_linear.cu, "add_rms_norm_linear_0"
    // CHECK: engine.kernel @add_rms_norm_linear_1 op {{.*}} functions [#engine.function<@add_rms_norm_linear.cu, "add_rms_norm_linear_1_norm" {{.*}}, #engine.function<@add_rms_norm_linear.cu, "add_rms_norm_linear_1_product"
    // CHECK: engine.launch @add_rms_norm_linear_0(
    engine.launch @k(%a, %b, %gamma, %w, %scale) outs(%sum, %y) tokens at "apart" : (memref<1x1024xbf16>, memref<1x1024xbf16>, memref<1024xf32>, memref<2048x1024xf8E4M3FN>, memref<16x8xf32>) outs(memref<1x1024xbf16>, memref<1x2048xbf16>)
    // CHECK: engine.launch @add_rms_norm_linear_1(
    engine.launch @k(%a, %b, %gamma, %w, %scale) outs(%a, %y) tokens at "in place" : (memref<1x1024xbf16>, memref<1x1024xbf16>, memref<1024xf32>, memref<2048x1024xf8E4M3FN>, memref<16x8xf32>) outs(memref<1x1024xbf16>, memref<1x2048xbf16>)
  }
}
