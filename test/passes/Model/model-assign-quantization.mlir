// RUN: saddle-opt %s --model-assign-quantization | FileCheck %s

// Blocks are [rows, columns] of the weight; activations are quantised in
// groups of the columns.
model.weight @scaled from "s" dims ["out", "in"] stored <scale f32 [16, 8] from "s_scale"> : tensor<64x32xf8E4M3FN>
model.weight @plain from "p" dims ["out", "in"] : tensor<64x32xbf16>
model.weight @w1 from "{}.w1" dims ["experts", "width", "in"] stored <scale f32 [16, 8] from "{}.w1_scale"> : tensor<6x24x32xf8E4M3FN>
model.weight @w3 from "{}.w3" dims ["experts", "width", "in"] stored <scale f32 [16, 8] from "{}.w3_scale"> : tensor<6x24x32xf8E4M3FN>
model.weight @w2 from "{}.w2" dims ["experts", "in", "width"] stored <scale f32 [16, 8] from "{}.w2_scale"> : tensor<6x32x24xf8E4M3FN>
model.weight @plain1 from "{}.p1" dims ["experts", "width", "in"] : tensor<6x24x32xbf16>
model.weight @plain3 from "{}.p3" dims ["experts", "width", "in"] : tensor<6x24x32xbf16>
model.weight @plain2 from "{}.p2" dims ["experts", "in", "width"] : tensor<6x32x24xbf16>

// CHECK-LABEL: func.func @groups_are_the_columns_of_a_block
func.func @groups_are_the_columns_of_a_block(%x: tensor<?x32xbf16>, %w: tensor<?x2xf32>, %e: tensor<?x2xi32>) {
  // CHECK: model.linear {{.*}}, @scaled act_group 8 :
  %y = model.linear %x, @scaled : tensor<?x32xbf16> -> tensor<?x64xbf16>
  // CHECK: model.experts {{.*}} down @w2 act_group 8 :
  %z = model.experts %x, %w, %e gate_up [@w1, @w3] down @w2 : tensor<?x32xbf16>, tensor<?x2xf32>, tensor<?x2xi32>
  return
}

// A scale of a whole row makes a group of the whole row, of 24 or 32 values.
model.weight @channels from "c" dims ["out", "in"] stored <scale f32 [1, *] from "c_scale"> : tensor<64x32xf8E4M3FN>
model.weight @c1 from "{}.c1" dims ["experts", "width", "in"] stored <scale f32 [1, *] from "{}.c1_scale"> : tensor<6x24x32xf8E4M3FN>
model.weight @c3 from "{}.c3" dims ["experts", "width", "in"] stored <scale f32 [1, *] from "{}.c3_scale"> : tensor<6x24x32xf8E4M3FN>
model.weight @c2 from "{}.c2" dims ["experts", "in", "width"] stored <scale f32 [1, *] from "{}.c2_scale"> : tensor<6x32x24xf8E4M3FN>

// CHECK-LABEL: func.func @a_whole_row_is_one_group
func.func @a_whole_row_is_one_group(%x: tensor<?x32xbf16>, %w: tensor<?x2xf32>, %e: tensor<?x2xi32>) {
  // CHECK: model.linear {{.*}}, @channels act_group 32 :
  %y = model.linear %x, @channels : tensor<?x32xbf16> -> tensor<?x64xbf16>
  // CHECK: model.experts {{.*}} down @c2 act_group 32 :
  %z = model.experts %x, %w, %e gate_up [@c1, @c3] down @c2 : tensor<?x32xbf16>, tensor<?x2xf32>, tensor<?x2xi32>
  // CHECK: model.experts {{.*}} down @plain2 :
  %half = model.experts %x, %w, %e gate_up [@c1, @c3] down @plain2 : tensor<?x32xbf16>, tensor<?x2xf32>, tensor<?x2xi32>
  return
}

// CHECK-LABEL: func.func @weights_without_scales_take_activations_as_they_are
// CHECK-NOT: act_group
func.func @weights_without_scales_take_activations_as_they_are(%x: tensor<?x32xbf16>, %w: tensor<?x2xf32>, %e: tensor<?x2xi32>) {
  %y = model.linear %x, @plain : tensor<?x32xbf16> -> tensor<?x64xbf16>
  %z = model.experts %x, %w, %e gate_up [@plain1, @plain3] down @plain2 : tensor<?x32xbf16>, tensor<?x2xf32>, tensor<?x2xi32>
  return
}

// The oracle mode dequantises weights and leaves activations alone.
// CHECK-LABEL: func.func @f32_activations_are_not_quantised
// CHECK-NOT: act_group
func.func @f32_activations_are_not_quantised(%x: tensor<?x32xf32>, %w: tensor<?x2xf32>, %e: tensor<?x2xi32>) {
  %y = model.linear %x, @scaled : tensor<?x32xf32> -> tensor<?x64xf32>
  %z = model.experts %x, %w, %e gate_up [@w1, @w3] down @w2 : tensor<?x32xf32>, tensor<?x2xf32>, tensor<?x2xi32>
  return
}
