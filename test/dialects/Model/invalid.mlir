// RUN: saddle-opt %s -split-input-file -verify-diagnostics

// One module or function for each constraint of ModelOps.td, named after it.
// Further cases of one constraint have a word behind the id.

//===----------------------------------------------------------------------===//
// Symbols
//===----------------------------------------------------------------------===//

module @weight_c1 {
  // expected-error @+1 {{expected a static shape of rank 1 to 3, but got 'tensor<?x32xbf16>'}}
  model.weight @w from "w" dims ["vocab", "hidden"] : tensor<?x32xbf16>
}

// -----

module @weight_c1_rank {
  // expected-error @+1 {{expected a static shape of rank 1 to 3, but got 'tensor<f32>'}}
  model.weight @w from "w" dims [] : tensor<f32>
}

// -----

module @weight_c1_element {
  // expected-error @+1 {{expected storage f32, bf16, f16, f8E4M3FN, f4E2M1FN, ui4, ui8, si8 or i64, but got 'i8'}}
  model.weight @w from "w" dims ["vocab", "hidden"] : tensor<96x32xi8>
}

// -----

module @weight_c2 {
  // expected-error @+1 {{expected one name for each of 2 dimensions, but got 1}}
  model.weight @w from "w" dims ["vocab"] : tensor<96x32xbf16>
}

// -----

module @weight_c3 {
  // expected-error @+1 {{expected 1 '{}' in the source of a rank 3 weight, but got "w"}}
  model.weight @w from "w" dims ["experts", "out", "in"] : tensor<6x96x32xbf16>
}

// -----

module @weight_c3_of_one {
  // expected-error @+1 {{expected 1 '{}' in the source of a rank 3 weight, but got "w.{}.{}"}}
  model.weight @w from "w.{}.{}" dims ["shared_experts", "out", "in"] : tensor<1x96x32xbf16>
}

// -----

module @weight_c3_flat {
  // expected-error @+1 {{expected 0 '{}' in the source of a rank 2 weight, but got "w.{}"}}
  model.weight @w from "w.{}" dims ["out", "in"] : tensor<96x32xbf16>
}

// -----

module @weight_c4 {
  // expected-error @+1 {{3 values of 'f8E4M3FN' do not fill a word of 'i48'}}
  model.weight @w from "w" dims ["out", "in"] stored <packed i48 [0, 1, 2]> : tensor<96x32xf8E4M3FN>
}

// -----

module @weight_c5 {
  // expected-error @+1 {{expected a source of the scale}}
  model.weight @w from "w" dims ["out", "in"] stored <scale f32 [128, 128]> : tensor<96x32xf8E4M3FN>
}

// -----

module @weight_c6 {
  // expected-error @+1 {{expected 1 '{}' in the source of the scale, "w_scale"}}
  model.weight @w from "w.{}" dims ["experts", "out", "in"] stored <scale f32 [128, 128] from "w_scale"> : tensor<6x96x32xf8E4M3FN>
}

// -----

module @weight_c7 {
  // expected-error @+1 {{expected rank 2 or 3 of a weight that is not stored as its values, but got 'tensor<96xf8E4M3FN>'}}
  model.weight @w from "w" dims ["out"] stored <scale f32 [128, 128] from "w_scale"> : tensor<96xf8E4M3FN>
}

// -----

module @weight_storage_block {
  // expected-error @+1 {{expected a positive block or '*'}}
  model.weight @w from "w" dims ["out", "in"] stored <scale f32 [128, 0] from "w_scale"> : tensor<96x32xf8E4M3FN>
}

// -----

module @weight_storage_negative_block {
  // expected-error @+1 {{expected positive blocks or '*', but got -1 and 8}}
  model.weight @w from "w" dims ["out", "in"] stored <scale f32 [-1, 8] from "w_scale"> : tensor<96x32xf8E4M3FN>
}

// -----

module @weight_storage_kind {
  // expected-error @+1 {{expected scale, zero or global_scale, but got factor}}
  model.weight @w from "w" dims ["out", "in"] stored <factor f32 [8, 8] from "w_scale"> : tensor<96x32xf8E4M3FN>
}

// -----

module @weight_storage_type {
  // expected-error @+1 {{expected elements that are numbers, but got 'index'}}
  model.weight @w from "w" dims ["out", "in"] stored <scale index [8, 8] from "w_scale"> : tensor<96x32xf8E4M3FN>
}

// -----

module @weight_storage_twice {
  // expected-error @+1 {{expected at most one scale}}
  model.weight @w from "w" dims ["out", "in"] stored <scale f32 [8, 8] from "s", scale f32 [1, *] from "t"> : tensor<96x32xf8E4M3FN>
}

// -----

module @weight_storage_divided_zero {
  // expected-error @+1 {{nothing is divided by a zero}}
  model.weight @w from "w" dims ["out", "in"] stored <zero f32 [8, 8] divided from "z"> : tensor<96x32xf8E4M3FN>
}

// -----

module @weight_storage_order {
  // expected-error @+1 {{expected the places 0 .. n-1 in some order, n a divisor of the bits of 'i32'}}
  model.weight @w from "w" dims ["out", "in"] stored <packed i32 [0, 1, 1, 3]> : tensor<96x32xf8E4M3FN>
}

// -----

module @weight_storage_packed_companion {
  // expected-error @+1 {{4 values of 'i4' do not fill a word of 'i32'}}
  model.weight @w from "w" dims ["out", "in"] stored <zero i4 [1, 8] packed i32 [0, 1, 2, 3] from "z"> : tensor<96x32xf8E4M3FN>
}

// -----

module @weight_storage_plus {
  // expected-error @+1 {{expected something positive to add to packed integers, but got 1}}
  model.weight @w from "w" dims ["out", "in"] stored <zero ui8 [1, 8] plus 1 from "z"> : tensor<96x32xui8>
}

// -----

module @weight_plus_of_floats {
  // expected-error @+1 {{expected something positive to add to packed integers, but got 8}}
  model.weight @w from "w" dims ["out", "in"] stored <plus 8, scale f32 [1, 8] from "s"> : tensor<96x32xf8E4M3FN>
}

// -----

module @weight_over_of_codes {
  // expected-error @+1 {{expected something positive that floats are divided by, but got 7 of 'f8E8M0FNU'}}
  model.weight @w from "w" dims ["out", "in"] stored <scale f8E8M0FNU [1, 8] over 7 from "s"> : tensor<96x32xf8E4M3FN>
}

// -----

module @weight_rotated_three {
  // expected-error @+1 {{expected a power of two of columns to be rotated together, but got 96}}
  model.weight @w from "w" dims ["out", "in"] stored <rotated 96> : tensor<96x96xbf16>
}

// -----

module @weight_c10 {
  // expected-error @+1 {{expected columns in multiples of 64, which are rotated together, but got 'tensor<96x32xbf16>'}}
  model.weight @w from "w" dims ["out", "in"] stored <rotated 64> : tensor<96x32xbf16>
}

// -----

module @weight_c9 {
  // expected-error @+1 {{expected 'ui4' to be packed, but got #model.storage<scale f32 [1, 8] from "s">}}
  model.weight @w from "w" dims ["out", "in"] stored <scale f32 [1, 8] from "s"> : tensor<96x32xui4>
}

// -----

module @weight_c9_odd {
  // expected-error @+1 {{expected an even number of columns of 'ui4', two to a byte, but got 'tensor<96x33xui4>'}}
  model.weight @w from "w" dims ["out", "in"] stored <packed i8 [0, 1], scale f32 [1, 8] from "s"> : tensor<96x33xui4>
}

// -----

module @weight_c8 {
  // expected-error @+1 {{expected dimension "q_heads" to be a multiple of its unit 128, but got 192}}
  model.weight @w from "w" dims ["q_heads" x 128, "hidden"] : tensor<192x32xbf16>
}

// -----

module @weight_dims_unit {
  // expected-error @+1 {{expected a positive unit of dimension "q_heads", but got 0}}
  model.weight @w from "w" dims ["q_heads" x 0, "hidden"] : tensor<192x32xbf16>
}

// -----

module @weight_dims_unit_missing {
  // expected-error @+1 {{expected integer value}}
  model.weight @w from "w" dims ["q_heads" x, "hidden"] : tensor<192x32xbf16>
}

// -----

module @kv_cache_c1 {
  // expected-error @+1 {{expected positive heads and head_dim, but got 0 and 16}}
  model.kv_cache @kv heads 0 head_dim 16 : bf16
}

// -----

module @token_rows_c1 {
  // expected-error @+1 {{expected a positive width, but got 0}}
  model.token_rows @rows width 0 : bf16
}

// -----

module @token_rows_c2 {
  // expected-error @+1 {{expected f32 or bf16, but got 'f8E4M3FN'}}
  model.token_rows @rows width 32 : f8E4M3FN
}

// -----

module @index_keys_c1 {
  // expected-error @+1 {{expected positive heads and head_dim, but got 1 and 0}}
  model.index_keys @index heads 1 head_dim 0 : bf16
}

// -----

module @index_keys_c2 {
  // expected-error @+1 {{expected f32, bf16 or f8E4M3FN, but got 'f16'}}
  model.index_keys @index heads 1 head_dim 16 : f16
}

// -----

module @recurrent_state_c1 {
  // expected-error @+1 {{expected positive heads, rows and cols, but got 2, -4 and 8}}
  model.recurrent_state @state heads 2 rows -4 cols 8 dim "q_heads"
}

// -----

module @kv_cache_c2 {
  // expected-error @+1 {{expected f32, bf16 or f8E4M3FN, but got 'f16'}}
  model.kv_cache @kv heads 2 head_dim 16 : f16
}

// -----

//===----------------------------------------------------------------------===//
// Dense ops
//===----------------------------------------------------------------------===//

model.weight @embed from "embed" dims ["vocab", "hidden"] : tensor<96x32xbf16>
func.func @embedding_c1(%tokens: tensor<8xi32>) {
  // expected-error @+1 {{expected as many tokens in the tokens as in the result, but got 8 and 4}}
  %x = model.embedding %tokens, @embed : tensor<8xi32> -> tensor<4x32xbf16>
  return
}

// -----

model.weight @embed from "embed" dims ["vocab", "hidden"] : tensor<96x32xbf16>
func.func @embedding_c1_rank(%tokens: tensor<8x1xi32>) {
  // expected-error @+1 {{expected tokens of rank 1, but got rank 2}}
  %x = model.embedding %tokens, @embed : tensor<8x1xi32> -> tensor<8x32xbf16>
  return
}

// -----

// expected-note @+1 {{weight defined here}}
model.weight @embed from "embed" dims ["vocab", "hidden"] : tensor<96x32xbf16>
func.func @embedding_c2(%tokens: tensor<8xi32>) {
  // expected-error @+1 {{expected weight @embed of shape [?, 16], but it is 'tensor<96x32xbf16>'}}
  %x = model.embedding %tokens, @embed : tensor<8xi32> -> tensor<8x16xbf16>
  return
}

// -----

func.func @embedding_c2_undefined(%tokens: tensor<8xi32>) {
  // expected-error @+1 {{weight @embed is not defined}}
  %x = model.embedding %tokens, @embed : tensor<8xi32> -> tensor<8x16xbf16>
  return
}

// -----

model.weight @embed from "embed" dims ["embedding_vocab", "hidden"] stored <scale f32 [1, *] from "s"> : tensor<96x16xf8E4M3FN>
func.func @embedding_c3(%tokens: tensor<8xi32>) {
  // expected-error @+1 {{expected a table that is stored as its values, but @embed is stored as #model.storage<scale f32 [1, *] from "s">}}
  %x = model.embedding %tokens, @embed : tensor<8xi32> -> tensor<8x16xbf16>
  return
}

// -----

// expected-note @+1 {{it is defined here}}
model.kv_cache @embed heads 2 head_dim 16 : bf16
func.func @embedding_c2_kind(%tokens: tensor<8xi32>) {
  // expected-error @+1 {{@embed is not a weight}}
  %x = model.embedding %tokens, @embed : tensor<8xi32> -> tensor<8x16xbf16>
  return
}

// -----

// expected-note @+1 {{weight defined here}}
model.weight @norm from "norm" dims ["hidden"] : tensor<16xf32>
func.func @rms_norm_c1(%x: tensor<8x32xbf16>) {
  // expected-error @+1 {{expected weight @norm of shape [32], but it is 'tensor<16xf32>'}}
  %n = model.rms_norm %x, @norm eps 0.5 : tensor<8x32xbf16>
  return
}

// -----

model.weight @norm from "norm" dims ["hidden"] : tensor<32xf32>
func.func @rms_norm_c1_rank(%x: tensor<8x4x32xbf16>) {
  // expected-error @+1 {{expected an input of rank 2, but got rank 3}}
  %n = model.rms_norm %x, @norm eps 0.5 : tensor<8x4x32xbf16>
  return
}

// -----

model.weight @norm from "norm" dims ["hidden"] : tensor<32xf32>
func.func @rms_norm_c2(%x: tensor<8x32xbf16>) {
  // expected-error @+1 {{expected a positive eps}}
  %n = model.rms_norm %x, @norm eps 0.0 : tensor<8x32xbf16>
  return
}

// -----

model.weight @w from "w" dims ["out", "in"] : tensor<64x32xbf16>
func.func @linear_c1(%x: tensor<8x32xbf16>) {
  // expected-error @+1 {{expected as many tokens in the input as in the result, but got 8 and 4}}
  %y = model.linear %x, @w : tensor<8x32xbf16> -> tensor<4x64xbf16>
  return
}

// -----

// expected-note @+1 {{weight defined here}}
model.weight @w from "w" dims ["out", "in"] : tensor<64x32xbf16>
func.func @linear_c2(%x: tensor<8x64xbf16>) {
  // expected-error @+1 {{expected weight @w of shape [32, 64], but it is 'tensor<64x32xbf16>'}}
  %y = model.linear %x, @w : tensor<8x64xbf16> -> tensor<8x32xbf16>
  return
}

// -----

model.weight @w from "w" dims ["out", "in"] stored <scale f32 [128, 128] from "w_scale"> : tensor<64x32xf8E4M3FN>
func.func @linear_c3(%x: tensor<8x32xbf16>) {
  // expected-error @+1 {{expected a positive act_group}}
  %y = model.linear %x, @w act_group 0 : tensor<8x32xbf16> -> tensor<8x64xbf16>
  return
}

// -----

model.weight @w from "w" dims ["out", "in"] : tensor<64x32xbf16>
func.func @linear_c3_storage(%x: tensor<8x32xbf16>) {
  // expected-error @+1 {{act_group needs a weight with a scale, but @w has none}}
  %y = model.linear %x, @w act_group 32 : tensor<8x32xbf16> -> tensor<8x64xbf16>
  return
}

// -----

model.weight @w from "w" dims ["out", "in"] : tensor<64x32xbf16>
func.func @linear_c4(%x: tensor<8x32xf32>) {
  // expected-error @+1 {{expected a result of 'f32' or f32, but got 'bf16'}}
  %y = model.linear %x, @w : tensor<8x32xf32> -> tensor<8x64xbf16>
  return
}

// -----

func.func @split_c1(%x: tensor<8x64xbf16>) {
  // expected-error @+1 {{expected results of 'bf16', but got 'f32'}}
  %a, %b = model.split %x : tensor<8x64xbf16> -> tensor<8x32xbf16>, tensor<8x32xf32>
  return
}

// -----

func.func @split_c1_tokens(%x: tensor<8x64xbf16>) {
  // expected-error @+1 {{expected as many tokens in the input as in a result, but got 8 and 4}}
  %a, %b = model.split %x : tensor<8x64xbf16> -> tensor<8x32xbf16>, tensor<4x32xbf16>
  return
}

// -----

func.func @split_c2(%x: tensor<8x64xbf16>) {
  // expected-error @+1 {{expected results with 64 columns in all, but got 48}}
  %a, %b = model.split %x : tensor<8x64xbf16> -> tensor<8x32xbf16>, tensor<8x16xbf16>
  return
}

// -----

func.func @add_c1(%x: tensor<8x32xbf16>, %y: tensor<4x32xbf16>) {
  // expected-error @+1 {{requires the same type for all operands and results}}
  %z = "model.add"(%x, %y) : (tensor<8x32xbf16>, tensor<4x32xbf16>) -> tensor<8x32xbf16>
  return
}

// -----

func.func @select_rows_c1(%x: tensor<8x32xbf16>, %rows: tensor<2xi32>) {
  // expected-error @+1 {{expected a result like the input's rows, but got 'tensor<2x16xbf16>' from 'tensor<8x32xbf16>'}}
  %y = model.select_rows %x, %rows : tensor<8x32xbf16>, tensor<2xi32> -> tensor<2x16xbf16>
  return
}

// -----

func.func @select_rows_c1_rank(%x: tensor<8x32xbf16>, %rows: tensor<2x1xi32>) {
  // expected-error @+1 {{expected rows of rank 1, but got rank 2}}
  %y = model.select_rows %x, %rows : tensor<8x32xbf16>, tensor<2x1xi32> -> tensor<2x32xbf16>
  return
}

// -----

func.func @select_rows_c2(%x: tensor<8x32xbf16>, %rows: tensor<2xi32>) {
  // expected-error @+1 {{expected as many tokens in the rows as in the result, but got 2 and 3}}
  %y = model.select_rows %x, %rows : tensor<8x32xbf16>, tensor<2xi32> -> tensor<3x32xbf16>
  return
}

// -----

//===----------------------------------------------------------------------===//
// Attention
//===----------------------------------------------------------------------===//

model.weight @qn from "qn" dims ["q_heads"] : tensor<64xbf16>
model.weight @kn from "kn" dims ["kv_heads"] : tensor<32xbf16>
func.func @qk_norm_c1(%q: tensor<8x64xbf16>, %k: tensor<4x32xbf16>) {
  // expected-error @+1 {{expected as many tokens in q as in k, but got 8 and 4}}
  %a, %b = model.qk_norm %q, %k, @qn, @kn eps 0.5 : tensor<8x64xbf16>, tensor<4x32xbf16>
  return
}

// -----

// expected-note @+1 {{weight defined here}}
model.weight @n from "n" dims ["q_heads"] : tensor<64xbf16>
func.func @qk_norm_c2(%q: tensor<8x64xbf16>, %k: tensor<8x32xbf16>) {
  // expected-error @+1 {{expected weight @n of shape [32], but it is 'tensor<64xbf16>'}}
  %a, %b = model.qk_norm %q, %k, @n, @n eps 0.5 : tensor<8x64xbf16>, tensor<8x32xbf16>
  return
}

// -----

model.weight @qn from "qn" dims ["q_heads"] : tensor<64xbf16>
model.weight @kn from "kn" dims ["kv_heads"] : tensor<32xbf16>
func.func @qk_norm_c3(%q: tensor<8x64xbf16>, %k: tensor<8x32xbf16>) {
  // expected-error @+1 {{expected a positive eps}}
  %a, %b = model.qk_norm %q, %k, @qn, @kn eps -0.5 : tensor<8x64xbf16>, tensor<8x32xbf16>
  return
}

// -----

func.func @sum_of_squares_c1() {
  // expected-error @+1 {{expected at least one input}}
  %s = "model.sum_of_squares"() : () -> tensor<8x1xf32>
  return
}

// -----

func.func @sum_of_squares_c1_tokens(%q: tensor<8x64xbf16>, %k: tensor<4x32xbf16>) {
  // expected-error @+1 {{expected as many tokens in the inputs as in the result, but got 4 and 8}}
  %s = model.sum_of_squares %q, %k : (tensor<8x64xbf16>, tensor<4x32xbf16>) -> tensor<8x2xf32>
  return
}

// -----

func.func @sum_of_squares_c2(%q: tensor<8x64xbf16>, %k: tensor<8x32xbf16>) {
  // expected-error @+1 {{expected one result column for each of 2 inputs, but got 1}}
  %s = model.sum_of_squares %q, %k : (tensor<8x64xbf16>, tensor<8x32xbf16>) -> tensor<8x1xf32>
  return
}

// -----

model.weight @n from "n" dims ["q_heads"] : tensor<64xbf16>
func.func @rms_scale_c1(%q: tensor<8x64xbf16>, %s: tensor<4x2xf32>) {
  // expected-error @+1 {{expected as many tokens in the input as in the sums, but got 8 and 4}}
  %y = model.rms_scale %q, %s[0], @n divisor 64 eps 0.5 : tensor<8x64xbf16>, tensor<4x2xf32> -> tensor<8x64xbf16>
  return
}

// -----

model.weight @n from "n" dims ["q_heads"] : tensor<64xbf16>
func.func @rms_scale_c1_result(%q: tensor<8x64xbf16>, %s: tensor<8x2xf32>) {
  // expected-error @+1 {{expected a result like the input, but got 'tensor<8x64xf32>' from 'tensor<8x64xbf16>'}}
  %y = model.rms_scale %q, %s[0], @n divisor 64 eps 0.5 : tensor<8x64xbf16>, tensor<8x2xf32> -> tensor<8x64xf32>
  return
}

// -----

model.weight @n from "n" dims ["q_heads"] : tensor<64xbf16>
func.func @rms_scale_c2(%q: tensor<8x64xbf16>, %s: tensor<8x2xf32>) {
  // expected-error @+1 {{expected a column below 2, but got 2}}
  %y = model.rms_scale %q, %s[2], @n divisor 64 eps 0.5 : tensor<8x64xbf16>, tensor<8x2xf32> -> tensor<8x64xbf16>
  return
}

// -----

// expected-note @+1 {{weight defined here}}
model.weight @n from "n" dims ["q_heads"] : tensor<32xbf16>
func.func @rms_scale_c3(%q: tensor<8x64xbf16>, %s: tensor<8x2xf32>) {
  // expected-error @+1 {{expected weight @n of shape [64], but it is 'tensor<32xbf16>'}}
  %y = model.rms_scale %q, %s[0], @n divisor 64 eps 0.5 : tensor<8x64xbf16>, tensor<8x2xf32> -> tensor<8x64xbf16>
  return
}

// -----

model.weight @n from "n" dims ["q_heads"] : tensor<64xbf16>
func.func @rms_scale_c4(%q: tensor<8x64xbf16>, %s: tensor<8x2xf32>) {
  // expected-error @+1 {{expected a positive divisor}}
  %y = model.rms_scale %q, %s[0], @n divisor 0 eps 0.5 : tensor<8x64xbf16>, tensor<8x2xf32> -> tensor<8x64xbf16>
  return
}

// -----

model.weight @n from "n" dims ["q_heads"] : tensor<64xbf16>
func.func @rms_scale_c4_eps(%q: tensor<8x64xbf16>, %s: tensor<8x2xf32>) {
  // expected-error @+1 {{expected a positive eps}}
  %y = model.rms_scale %q, %s[0], @n divisor 64 eps 0.0 : tensor<8x64xbf16>, tensor<8x2xf32> -> tensor<8x64xbf16>
  return
}

// -----

// expected-note @+1 {{weight defined here}}
model.weight @n from "n" dims ["q_heads"] : tensor<32xbf16>
func.func @scale_columns_c1(%q: tensor<8x64xbf16>) {
  // expected-error @+1 {{expected weight @n of shape [64], but it is 'tensor<32xbf16>'}}
  %y = model.scale_columns %q, @n : tensor<8x64xbf16>
  return
}

// -----

model.weight @n from "n" dims ["q_heads"] : tensor<64xbf16>
func.func @scale_columns_c1_rank(%q: tensor<64xbf16>) {
  // expected-error @+1 {{expected an input of rank 2}}
  %y = model.scale_columns %q, @n : tensor<64xbf16>
  return
}

// -----

func.func @divide_by_rms_c1(%q: tensor<8x64xbf16>, %s: tensor<4x2xf32>) {
  // expected-error @+1 {{expected as many tokens in the input as in the sums, but got 8 and 4}}
  %y = model.divide_by_rms %q, %s[0] divisor 64 eps 0.5 : tensor<8x64xbf16>, tensor<4x2xf32>
  return
}

// -----

func.func @divide_by_rms_c2(%q: tensor<8x64xbf16>, %s: tensor<8x2xf32>) {
  // expected-error @+1 {{expected a column below 2, but got 2}}
  %y = model.divide_by_rms %q, %s[2] divisor 64 eps 0.5 : tensor<8x64xbf16>, tensor<8x2xf32>
  return
}

// -----

func.func @divide_by_rms_c3(%q: tensor<8x64xbf16>, %s: tensor<8x2xf32>) {
  // expected-error @+1 {{expected a positive divisor}}
  %y = model.divide_by_rms %q, %s[0] divisor 0 eps 0.5 : tensor<8x64xbf16>, tensor<8x2xf32>
  return
}

// -----

func.func @rope_c1(%q: tensor<8x64xbf16>, %p: tensor<4xi32>) {
  // expected-error @+1 {{expected as many tokens in the input as in the positions, but got 8 and 4}}
  %y = model.rope %q, %p head_dim 16 rotary_dim 8 theta 1.0e4 : tensor<8x64xbf16>, tensor<4xi32>
  return
}

// -----

func.func @rope_c2(%q: tensor<8x64xbf16>, %p: tensor<8xi32>) {
  // expected-error @+1 {{expected a positive head_dim that divides 64 columns, but got 24}}
  %y = model.rope %q, %p head_dim 24 rotary_dim 8 theta 1.0e4 : tensor<8x64xbf16>, tensor<8xi32>
  return
}

// -----

func.func @rope_c3(%q: tensor<8x64xbf16>, %p: tensor<8xi32>) {
  // expected-error @+1 {{expected an even rotary_dim from 2 to 16, but got 7}}
  %y = model.rope %q, %p head_dim 16 rotary_dim 7 theta 1.0e4 : tensor<8x64xbf16>, tensor<8xi32>
  return
}

// -----

func.func @rope_c3_wide(%q: tensor<8x64xbf16>, %p: tensor<8xi32>) {
  // expected-error @+1 {{expected an even rotary_dim from 2 to 16, but got 18}}
  %y = model.rope %q, %p head_dim 16 rotary_dim 18 theta 1.0e4 : tensor<8x64xbf16>, tensor<8xi32>
  return
}

// -----

func.func @rope_c4(%q: tensor<8x64xbf16>, %p: tensor<8xi32>) {
  // expected-error @+1 {{expected a positive theta}}
  %y = model.rope %q, %p head_dim 16 rotary_dim 8 theta 0.0 : tensor<8x64xbf16>, tensor<8xi32>
  return
}

// -----

func.func @scaled_add_c1(%a: tensor<8x32xbf16>, %b: tensor<8x16xbf16>) {
  // expected-error @+1 {{requires the same type for all operands and results}}
  %r = "model.scaled_add"(%a, %b) {alpha = 1.0, beta = 1.0} : (tensor<8x32xbf16>, tensor<8x16xbf16>) -> tensor<8x32xbf16>
  return
}

// -----

func.func @scaled_add_c2(%a: tensor<8x32xbf16>) {
  // expected-error @+1 {{expected a positive alpha}}
  %r = model.scaled_add %a, %a alpha 0.0 beta 1.0 : tensor<8x32xbf16>
  return
}

// -----

func.func @scaled_add_c2_beta(%a: tensor<8x32xbf16>) {
  // expected-error @+1 {{expected a positive beta}}
  %r = model.scaled_add %a, %a alpha 1.0 beta -1.0 : tensor<8x32xbf16>
  return
}

// -----

func.func @silu_c1(%a: tensor<8x32xbf16>) {
  // expected-error @+1 {{requires the same type for all operands and results}}
  %r = "model.silu"(%a) : (tensor<8x32xbf16>) -> tensor<8x32xf32>
  return
}

// -----

func.func @sigmoid_gate_c1(%a: tensor<8x32xbf16>, %b: tensor<8x16xbf16>) {
  // expected-error @+1 {{requires the same type for all operands and results}}
  %r = "model.sigmoid_gate"(%a, %b) : (tensor<8x32xbf16>, tensor<8x16xbf16>) -> tensor<8x32xbf16>
  return
}

// -----

// expected-note @+1 {{weight defined here}}
model.weight @factor from "factor" dims ["scale"] : tensor<2xf32>
func.func @scale_c1(%x: tensor<8x32xbf16>) {
  // expected-error @+1 {{'model.scale' op expected weight @factor of shape}}
  %y = model.scale %x, @factor inverse 0 : tensor<8x32xbf16>
  return
}

// -----

model.weight @factor from "factor" dims ["scale"] : tensor<1xf32>
func.func @scale_c2(%x: tensor<8x32xbf16>) {
  // expected-error @+1 {{expected inverse 0 or 1, but got 2}}
  %y = model.scale %x, @factor inverse 2 : tensor<8x32xbf16>
  return
}

// -----

func.func @swiglu_oai_c1(%x: tensor<8x32xbf16>, %y: tensor<4x32xbf16>) {
  // expected-error @+1 {{requires the same type for all operands and results}}
  %z = "model.swiglu_oai"(%x, %y) {alpha = 1.702 : f64, limit = 7.0 : f64} : (tensor<8x32xbf16>, tensor<4x32xbf16>) -> tensor<8x32xbf16>
  return
}

// -----

func.func @swiglu_oai_c2(%g: tensor<8x64xbf16>) {
  // expected-error @+1 {{expected a positive alpha}}
  %y = model.swiglu_oai %g, %g alpha 0.0 limit 7.0 : tensor<8x64xbf16>
  return
}

// -----

func.func @swiglu_oai_c2_limit(%g: tensor<8x64xbf16>) {
  // expected-error @+1 {{expected a positive limit}}
  %y = model.swiglu_oai %g, %g alpha 1.702 limit -7.0 : tensor<8x64xbf16>
  return
}

// -----

func.func @swiglu_c1(%g: tensor<8x64xbf16>, %u: tensor<8x32xbf16>) {
  // expected-error @+1 {{requires the same type for all operands and results}}
  %y = "model.swiglu"(%g, %u) : (tensor<8x64xbf16>, tensor<8x32xbf16>) -> tensor<8x64xbf16>
  return
}

// -----

func.func @encode_rows_c1(%x: tensor<8x64xbf16>) {
  // expected-error @+1 {{expected as many tokens in the factors as in the input, but got 4 and 8}}
  %c, %f = model.encode_rows %x group 32 : tensor<8x64xbf16> -> tensor<8x64xf8E4M3FN>, tensor<4x2xf32>
  return
}

// -----

func.func @encode_rows_c1_columns(%x: tensor<8x64xbf16>) {
  // expected-error @+1 {{expected a code for each of 64 columns, but got 32}}
  %c, %f = model.encode_rows %x group 32 : tensor<8x64xbf16> -> tensor<8x32xf8E4M3FN>, tensor<8x1xf32>
  return
}

// -----

func.func @encode_rows_c2(%x: tensor<8x64xbf16>) {
  // expected-error @+1 {{expected a positive group}}
  %c, %f = model.encode_rows %x group 0 : tensor<8x64xbf16> -> tensor<8x64xf8E4M3FN>, tensor<8x2xf32>
  return
}

// -----

func.func @encode_rows_c2_factors(%x: tensor<8x72xbf16>) {
  // expected-error @+1 {{expected a factor for each 32 of 72 columns, 3 in all, but got 2}}
  %c, %f = model.encode_rows %x group 32 : tensor<8x72xbf16> -> tensor<8x72xf8E4M3FN>, tensor<8x2xf32>
  return
}

// -----

model.weight @w from "w" dims ["out", "in"] stored <scale f32 [128, 128] from "w_scale"> : tensor<64x32xf8E4M3FN>
func.func @linear_of_codes_c1(%c: tensor<8x32xf8E4M3FN>, %f: tensor<8x1xf32>) {
  // expected-error @+1 {{expected as many tokens in the result as in the codes, but got 4 and 8}}
  %y = model.linear_of_codes %c, %f, @w act_group 32 : tensor<8x32xf8E4M3FN>, tensor<8x1xf32> -> tensor<4x64xbf16>
  return
}

// -----

// expected-note @+1 {{weight defined here}}
model.weight @w from "w" dims ["out", "in"] stored <scale f32 [128, 128] from "w_scale"> : tensor<64x32xf8E4M3FN>
func.func @linear_of_codes_c2(%c: tensor<8x64xf8E4M3FN>, %f: tensor<8x2xf32>) {
  // expected-error @+1 {{expected weight @w of shape [32, 64], but it is 'tensor<64x32xf8E4M3FN>'}}
  %y = model.linear_of_codes %c, %f, @w act_group 32 : tensor<8x64xf8E4M3FN>, tensor<8x2xf32> -> tensor<8x32xbf16>
  return
}

// -----

model.weight @w from "w" dims ["out", "in"] : tensor<64x32xbf16>
func.func @linear_of_codes_c2_storage(%c: tensor<8x32xf8E4M3FN>, %f: tensor<8x1xf32>) {
  // expected-error @+1 {{act_group needs a weight with a scale, but @w has none}}
  %y = model.linear_of_codes %c, %f, @w act_group 32 : tensor<8x32xf8E4M3FN>, tensor<8x1xf32> -> tensor<8x64xbf16>
  return
}

// -----

model.weight @w from "w" dims ["out", "in"] stored <scale f32 [128, 128] from "w_scale"> : tensor<64x32xf8E4M3FN>
func.func @linear_of_codes_c3(%c: tensor<8x32xf8E4M3FN>, %f: tensor<8x2xf32>) {
  // expected-error @+1 {{expected a factor for each 32 of 32 columns, 1 in all, but got 2}}
  %y = model.linear_of_codes %c, %f, @w act_group 32 : tensor<8x32xf8E4M3FN>, tensor<8x2xf32> -> tensor<8x64xbf16>
  return
}

// -----

func.func @join_bytes_c1() {
  // expected-error @+1 {{expected at least one of the inputs}}
  %y = model.join_bytes : () -> tensor<8x64xui8>
  return
}

// -----

func.func @join_bytes_c1_tokens(%a: tensor<8x64xf32>, %b: tensor<4x64xf32>) {
  // expected-error @+1 {{expected as many tokens in the inputs as in the result, but got 4 and 8}}
  %y = model.join_bytes %a, %b : (tensor<8x64xf32>, tensor<4x64xf32>) -> tensor<8x512xui8>
  return
}

// -----

func.func @join_bytes_c1_columns(%a: tensor<8x?xf32>) {
  // expected-error @+1 {{expected the inputs with a number of columns, but got 'tensor<8x?xf32>'}}
  %y = model.join_bytes %a : (tensor<8x?xf32>) -> tensor<8x16xui8>
  return
}

// -----

// 3 x 4 bytes, up to 16, then 8 x 4.
func.func @join_bytes_c2(%a: tensor<8x3xf32>, %b: tensor<8x8xi32>) {
  // expected-error @+1 {{expected 48 bytes, a row of the inputs at multiples of 16, but got 44}}
  %y = model.join_bytes %a, %b : (tensor<8x3xf32>, tensor<8x8xi32>) -> tensor<8x44xui8>
  return
}

// -----

func.func @join_bytes_c3(%a: tensor<8x4xf32>) {
  // expected-error @+1 {{expected inputs that are joined once, but one of 'tensor<8x4xf32>' is joined 2 times}}
  %y = model.join_bytes %a, %a : (tensor<8x4xf32>, tensor<8x4xf32>) -> tensor<8x32xui8>
  return
}

// -----

func.func @split_bytes_c1(%a: tensor<8x64xui8>) {
  // expected-error @+1 {{expected as many tokens in the results as in the input, but got 4 and 8}}
  %x = model.split_bytes %a : tensor<8x64xui8> -> tensor<4x16xf32>
  return
}

// -----

func.func @split_bytes_c2(%a: tensor<8x64xui8>) {
  // expected-error @+1 {{expected 80 bytes, a row of the results at multiples of 16, but got 64}}
  %x:2 = model.split_bytes %a : tensor<8x64xui8> -> tensor<8x15xf32>, tensor<8x3xi32>
  return
}

// -----

func.func @concat_c1() {
  // expected-error @+1 {{expected at least one input}}
  %y = model.concat : () -> tensor<8x64xbf16>
  return
}

// -----

func.func @concat_c1_tokens(%a: tensor<4x64xbf16>) {
  // expected-error @+1 {{expected as many tokens in an input as in the result, but got 4 and 8}}
  %y = model.concat %a : (tensor<4x64xbf16>) -> tensor<8x64xbf16>
  return
}

// -----

func.func @concat_c1_type(%a: tensor<8x64xf32>) {
  // expected-error @+1 {{expected inputs of 'bf16', but got 'f32'}}
  %y = model.concat %a : (tensor<8x64xf32>) -> tensor<8x64xbf16>
  return
}

// -----

func.func @concat_c2(%a: tensor<8x64xbf16>) {
  // expected-error @+1 {{expected inputs with 96 columns in all, but got 128}}
  %y = model.concat %a, %a : (tensor<8x64xbf16>, tensor<8x64xbf16>) -> tensor<8x96xbf16>
  return
}

// -----

model.token_rows @rows width 32 : bf16
func.func @keep_rows_c1(%x: tensor<32xbf16>, %context: !model.context) {
  // expected-error @+1 {{expected an input of rank 2, but got rank 1}}
  model.keep_rows %x, @rows, %context : tensor<32xbf16>
  return
}

// -----

// expected-note @+1 {{state defined here}}
model.token_rows @rows width 32 : bf16
func.func @keep_rows_c2(%x: tensor<8x64xbf16>, %context: !model.context) {
  // expected-error @+1 {{expected rows of 32 x 'bf16', but got 'tensor<8x64xbf16>'}}
  model.keep_rows %x, @rows, %context : tensor<8x64xbf16>
  return
}

// -----

model.kv_cache @rows heads 2 head_dim 16 : bf16
func.func @keep_rows_c2_kind(%x: tensor<8x32xbf16>, %context: !model.context) {
  // expected-error @+1 {{@rows is not a 'model.token_rows'}}
  model.keep_rows %x, @rows, %context : tensor<8x32xbf16>
  return
}

// -----

model.token_rows @rows width 32 : bf16
func.func @keep_next_rows_c1(%x: tensor<8x32xbf16>, %rows: tensor<4xi32>, %context: !model.context) {
  // expected-error @+1 {{expected as many tokens in the rows as in the input, but got 4 and 8}}
  model.keep_next_rows %x, %rows, @rows, %context : tensor<8x32xbf16>, tensor<4xi32>
  return
}

// -----

// expected-note @+1 {{state defined here}}
model.token_rows @rows width 32 : bf16
func.func @keep_next_rows_c2(%x: tensor<8x32xf32>, %rows: tensor<8xi32>, %context: !model.context) {
  // expected-error @+1 {{expected rows of 32 x 'bf16', but got 'tensor<8x32xf32>'}}
  model.keep_next_rows %x, %rows, @rows, %context : tensor<8x32xf32>, tensor<8xi32>
  return
}

// -----

model.token_rows @rows width 32 : bf16
func.func @kept_rows_c1(%positions: tensor<8xi32>, %context: !model.context) {
  // expected-error @+1 {{expected as many tokens in the positions as in the result, but got 8 and 4}}
  %x = model.kept_rows %positions, @rows, %context : tensor<8xi32> -> tensor<4x32xbf16>
  return
}

// -----

// expected-note @+1 {{state defined here}}
model.token_rows @rows width 32 : bf16
func.func @kept_rows_c2(%positions: tensor<8xi32>, %context: !model.context) {
  // expected-error @+1 {{expected rows of 32 x 'bf16', but got 'tensor<8x64xbf16>'}}
  %x = model.kept_rows %positions, @rows, %context : tensor<8xi32> -> tensor<8x64xbf16>
  return
}

// -----

model.weight @table from "d2t" dims ["drafted_vocab"] : tensor<8xi64>
func.func @map_tokens_c1(%t: tensor<8xi32>) {
  // expected-error @+1 {{expected tokens of rank 2, but got rank 1}}
  %y = model.map_tokens %t, @table : tensor<8xi32>
  return
}

// -----

model.weight @table from "d2t" dims ["drafted_vocab"] : tensor<8xf32>
func.func @map_tokens_c2(%t: tensor<8x1xi32>) {
  // expected-error @+1 {{expected a table of i64 of rank 1, but @table is 'tensor<8xf32>'}}
  %y = model.map_tokens %t, @table : tensor<8x1xi32>
  return
}

// -----

model.kv_cache @kv heads 2 head_dim 16 : bf16
func.func @kv_append_c1(%k: tensor<32xbf16>, %context: !model.context) {
  // expected-error @+1 {{expected k and v of rank 2, but got rank 1}}
  model.kv_append %k, %k, @kv, %context : tensor<32xbf16>
  return
}

// -----

// expected-note @+1 {{cache defined here}}
model.kv_cache @kv heads 2 head_dim 16 : bf16
func.func @kv_append_c2(%k: tensor<8x64xbf16>, %context: !model.context) {
  // expected-error @+1 {{expected k and v of 2 x 16 = 32 columns, but got 64}}
  model.kv_append %k, %k, @kv, %context : tensor<8x64xbf16>
  return
}

// -----

model.weight @kv from "kv" dims ["out", "in"] : tensor<64x32xbf16>
func.func @kv_append_c2_kind(%k: tensor<8x32xbf16>, %context: !model.context) {
  // expected-error @+1 {{@kv is not a 'model.kv_cache'}}
  model.kv_append %k, %k, @kv, %context : tensor<8x32xbf16>
  return
}

// -----

model.kv_cache @kv heads 2 head_dim 16 : bf16
func.func @attention_c1(%q: tensor<8x72xbf16>, %context: !model.context) {
  // expected-error @+1 {{expected a whole number of heads of 16 columns, but q has 72}}
  %a = model.attention %q, @kv, %context scale 0.25 : tensor<8x72xbf16>
  return
}

// -----

model.kv_cache @kv heads 2 head_dim 16 : bf16
func.func @attention_c2(%q: tensor<8x48xbf16>, %context: !model.context) {
  // expected-error @+1 {{expected query heads in multiples of 2 cache heads, but got 3}}
  %a = model.attention %q, @kv, %context scale 0.25 : tensor<8x48xbf16>
  return
}

// -----

model.kv_cache @kv heads 2 head_dim 16 : bf16
func.func @attention_c3(%q: tensor<8x64xbf16>, %context: !model.context) {
  // expected-error @+1 {{expected a positive scale}}
  %a = model.attention %q, @kv, %context scale 0.0 : tensor<8x64xbf16>
  return
}

// -----

model.recurrent_state @state heads 2 rows 4 cols 8 dim "q_heads"
func.func @decay_scan_c1(%qkv: tensor<8x32xbf16>, %context: !model.context) {
  // expected-error @+1 {{expected as many tokens in the input as in the result, but got 8 and 4}}
  %y = model.decay_scan %qkv, @state, %context heads 2 rate 1.0 : tensor<8x32xbf16> -> tensor<4x16xbf16>
  return
}

// -----

model.recurrent_state @state heads 2 rows 4 cols 8 dim "q_heads"
func.func @decay_scan_c1_rank(%qkv: tensor<8xbf16>, %context: !model.context) {
  // expected-error @+1 {{expected an input of rank 2, but got rank 1}}
  %y = model.decay_scan %qkv, @state, %context heads 2 rate 1.0 : tensor<8xbf16> -> tensor<8x16xbf16>
  return
}

// -----

model.recurrent_state @state heads 2 rows 4 cols 8 dim "q_heads"
func.func @decay_scan_c1_type(%qkv: tensor<8x32xbf16>, %context: !model.context) {
  // expected-error @+1 {{expected input and result of one element type, but got 'bf16' and 'f32'}}
  %y = model.decay_scan %qkv, @state, %context heads 2 rate 1.0 : tensor<8x32xbf16> -> tensor<8x16xf32>
  return
}

// -----

// expected-note @+1 {{state defined here}}
model.recurrent_state @state heads 2 rows 4 cols 8 dim "q_heads"
func.func @decay_scan_c2(%qkv: tensor<8x48xbf16>, %context: !model.context) {
  // expected-error @+1 {{expected an input of 2 x 16 = 32 columns, but got 48}}
  %y = model.decay_scan %qkv, @state, %context heads 2 rate 1.0 : tensor<8x48xbf16> -> tensor<8x16xbf16>
  return
}

// -----

// expected-note @+1 {{state defined here}}
model.recurrent_state @state heads 2 rows 4 cols 8 dim "q_heads"
func.func @decay_scan_c2_result(%qkv: tensor<8x32xbf16>, %context: !model.context) {
  // expected-error @+1 {{expected a result of 2 x 8 = 16 columns, but got 8}}
  %y = model.decay_scan %qkv, @state, %context heads 2 rate 1.0 : tensor<8x32xbf16> -> tensor<8x8xbf16>
  return
}

// -----

model.kv_cache @state heads 2 head_dim 4 : bf16
func.func @decay_scan_c2_cache(%qkv: tensor<8x32xbf16>, %context: !model.context) {
  // expected-error @+1 {{@state is not a 'model.recurrent_state'}}
  %y = model.decay_scan %qkv, @state, %context heads 2 rate 1.0 : tensor<8x32xbf16> -> tensor<8x16xbf16>
  return
}

// -----

model.recurrent_state @state heads 2 rows 4 cols 8 dim "q_heads"
func.func @decay_scan_c3(%qkv: tensor<8x32xbf16>, %context: !model.context) {
  // expected-error @+1 {{expected at least the 2 heads of @state, but got 1}}
  %y = model.decay_scan %qkv, @state, %context heads 1 rate 1.0 : tensor<8x32xbf16> -> tensor<8x16xbf16>
  return
}

// -----

model.recurrent_state @state heads 2 rows 4 cols 8 dim "q_heads"
func.func @decay_scan_c4(%qkv: tensor<8x32xbf16>, %context: !model.context) {
  // expected-error @+1 {{expected a positive rate}}
  %y = model.decay_scan %qkv, @state, %context heads 2 rate 0.0 : tensor<8x32xbf16> -> tensor<8x16xbf16>
  return
}

// -----

//===----------------------------------------------------------------------===//
// Mixture of experts
//===----------------------------------------------------------------------===//

func.func @shared_gate_c1(%w: tensor<8x2xf32>, %logit: tensor<4x1xf32>) {
  // expected-error @+1 {{expected as many tokens in the weights as in the logit, but got 8 and 4}}
  %r, %c, %e = model.shared_gate %w, %logit : tensor<8x2xf32>, tensor<4x1xf32> -> tensor<8x1xi32>
  return
}

// -----

func.func @shared_gate_c2(%w: tensor<8x2xf32>) {
  // expected-error @+1 {{expected a logit and experts of one column, but got 2 and 1}}
  %r, %c, %e = model.shared_gate %w, %w : tensor<8x2xf32>, tensor<8x2xf32> -> tensor<8x1xi32>
  return
}

// -----

func.func @branch_sum_c1(%x: tensor<8x32xbf16>, %y: tensor<4x32xbf16>) {
  // expected-error @+1 {{requires the same type for all operands and results}}
  %z = "model.branch_sum"(%x, %y) : (tensor<8x32xbf16>, tensor<4x32xbf16>) -> tensor<8x32xbf16>
  return
}

// -----

func.func @softmax_router_c1(%logits: tensor<8x6xf32>) {
  // expected-error @+1 {{expected as many tokens in the logits as in the weights, but got 8 and 4}}
  %w, %e = model.softmax_router %logits : tensor<8x6xf32> -> tensor<4x2xf32>, tensor<8x2xi32>
  return
}

// -----

func.func @softmax_router_c2(%logits: tensor<8x6xf32>) {
  // expected-error @+1 {{expected weights and experts of 1 to 6 columns each, but got 7 and 7}}
  %w, %e = model.softmax_router %logits : tensor<8x6xf32> -> tensor<8x7xf32>, tensor<8x7xi32>
  return
}

// -----

model.weight @bias from "bias" dims ["experts"] : tensor<6xf32>
func.func @router_c1(%logits: tensor<8x6xf32>) {
  // expected-error @+1 {{expected as many tokens in the logits as in the experts, but got 8 and 4}}
  %w, %e = model.router %logits, @bias routed_scale 1.0 : tensor<8x6xf32> -> tensor<8x2xf32>, tensor<4x2xi32>
  return
}

// -----

model.weight @bias from "bias" dims ["experts"] : tensor<6xf32>
func.func @router_c2(%logits: tensor<8x6xf32>) {
  // expected-error @+1 {{expected weights and experts of 1 to 6 columns each, but got 2 and 3}}
  %w, %e = model.router %logits, @bias routed_scale 1.0 : tensor<8x6xf32> -> tensor<8x2xf32>, tensor<8x3xi32>
  return
}

// -----

model.weight @bias from "bias" dims ["experts"] : tensor<6xf32>
func.func @router_c2_many(%logits: tensor<8x6xf32>) {
  // expected-error @+1 {{expected weights and experts of 1 to 6 columns each, but got 7 and 7}}
  %w, %e = model.router %logits, @bias routed_scale 1.0 : tensor<8x6xf32> -> tensor<8x7xf32>, tensor<8x7xi32>
  return
}

// -----

// expected-note @+1 {{weight defined here}}
model.weight @bias from "bias" dims ["experts"] : tensor<4xf32>
func.func @router_c3(%logits: tensor<8x6xf32>) {
  // expected-error @+1 {{expected weight @bias of shape [6], but it is 'tensor<4xf32>'}}
  %w, %e = model.router %logits, @bias routed_scale 1.0 : tensor<8x6xf32> -> tensor<8x2xf32>, tensor<8x2xi32>
  return
}

// -----

model.weight @bias from "bias" dims ["experts"] : tensor<6xf32>
func.func @router_c4(%logits: tensor<8x6xf32>) {
  // expected-error @+1 {{expected a positive routed_scale}}
  %w, %e = model.router %logits, @bias routed_scale 0.0 : tensor<8x6xf32> -> tensor<8x2xf32>, tensor<8x2xi32>
  return
}

// -----

model.weight @w13 from "{}.w13" dims ["experts", "out", "in"] : tensor<6x48x32xbf16>
model.weight @w2 from "{}.w2" dims ["experts", "out", "in"] : tensor<6x32x24xbf16>
func.func @experts_c1(%x: tensor<8x32xbf16>, %w: tensor<4x2xf32>, %e: tensor<8x2xi32>) {
  // expected-error @+1 {{expected as many tokens in the input as in the weights, but got 8 and 4}}
  %y = model.experts %x, %w, %e gate_up [@w13] down @w2 : tensor<8x32xbf16>, tensor<4x2xf32>, tensor<8x2xi32>
  return
}

// -----

model.weight @w13 from "{}.w13" dims ["experts", "out", "in"] : tensor<6x48x32xbf16>
model.weight @w2 from "{}.w2" dims ["experts", "out", "in"] : tensor<6x32x24xbf16>
func.func @experts_c1_columns(%x: tensor<8x32xbf16>, %w: tensor<8x2xf32>, %e: tensor<8x3xi32>) {
  // expected-error @+1 {{expected weights and experts of the same columns, but got 2 and 3}}
  %y = model.experts %x, %w, %e gate_up [@w13] down @w2 : tensor<8x32xbf16>, tensor<8x2xf32>, tensor<8x3xi32>
  return
}

// -----

model.weight @w13 from "{}.w13" dims ["experts", "out", "in"] : tensor<6x48x32xbf16>
model.weight @w2 from "{}.w2" dims ["experts", "out", "in"] : tensor<6x32x24xbf16>
func.func @experts_c2(%x: tensor<8x32xbf16>, %w: tensor<8x2xf32>, %e: tensor<8x2xi32>) {
  // expected-error @+1 {{expected one or two gate_up weights, but got 3}}
  %y = model.experts %x, %w, %e gate_up [@w13, @w13, @w13] down @w2 : tensor<8x32xbf16>, tensor<8x2xf32>, tensor<8x2xi32>
  return
}

// -----

model.weight @w13 from "{}.w13" dims ["experts", "out", "in"] : tensor<6x48x32xbf16>
model.weight @w2 from "w2" dims ["out", "in"] : tensor<32x24xbf16>
func.func @experts_c2_down(%x: tensor<8x32xbf16>, %w: tensor<8x2xf32>, %e: tensor<8x2xi32>) {
  // expected-error @+1 {{expected down weight @w2 of rank 3, but it is 'tensor<32x24xbf16>'}}
  %y = model.experts %x, %w, %e gate_up [@w13] down @w2 : tensor<8x32xbf16>, tensor<8x2xf32>, tensor<8x2xi32>
  return
}

// -----

// expected-note @+1 {{weight defined here}}
model.weight @w13 from "{}.w13" dims ["experts", "out", "in"] : tensor<4x48x32xbf16>
model.weight @w2 from "{}.w2" dims ["experts", "out", "in"] : tensor<6x32x24xbf16>
func.func @experts_c2_members(%x: tensor<8x32xbf16>, %w: tensor<8x2xf32>, %e: tensor<8x2xi32>) {
  // expected-error @+1 {{expected weight @w13 of shape [6, 48, 32], but it is 'tensor<4x48x32xbf16>'}}
  %y = model.experts %x, %w, %e gate_up [@w13] down @w2 : tensor<8x32xbf16>, tensor<8x2xf32>, tensor<8x2xi32>
  return
}

// -----

// One stack holds gate and up, so two of them have to be half as high.
// expected-note @+1 {{weight defined here}}
model.weight @w13 from "{}.w13" dims ["experts", "out", "in"] : tensor<6x48x32xbf16>
model.weight @w2 from "{}.w2" dims ["experts", "out", "in"] : tensor<6x32x24xbf16>
func.func @experts_c3(%x: tensor<8x32xbf16>, %w: tensor<8x2xf32>, %e: tensor<8x2xi32>) {
  // expected-error @+1 {{expected weight @w13 of shape [6, 24, 32], but it is 'tensor<6x48x32xbf16>'}}
  %y = model.experts %x, %w, %e gate_up [@w13, @w13] down @w2 : tensor<8x32xbf16>, tensor<8x2xf32>, tensor<8x2xi32>
  return
}

// -----

model.weight @w13 from "{}.w13" dims ["experts", "out", "in"] : tensor<6x48x32xbf16>
// expected-note @+1 {{weight defined here}}
model.weight @w2 from "{}.w2" dims ["experts", "out", "in"] : tensor<6x16x24xbf16>
func.func @experts_c3_down(%x: tensor<8x32xbf16>, %w: tensor<8x2xf32>, %e: tensor<8x2xi32>) {
  // expected-error @+1 {{expected weight @w2 of shape [6, 32, 24], but it is 'tensor<6x16x24xbf16>'}}
  %y = model.experts %x, %w, %e gate_up [@w13] down @w2 : tensor<8x32xbf16>, tensor<8x2xf32>, tensor<8x2xi32>
  return
}

// -----

model.weight @w13 from "{}.w13" dims ["experts", "out", "in"] stored <scale f32 [8, 8] from "{}.w13_scale"> : tensor<6x48x32xf8E4M3FN>
model.weight @w2 from "{}.w2" dims ["experts", "out", "in"] : tensor<6x32x24xbf16>
func.func @experts_c4(%x: tensor<8x32xbf16>, %w: tensor<8x2xf32>, %e: tensor<8x2xi32>) {
  // expected-error @+1 {{act_group needs a weight with a scale, but @w2 has none}}
  %y = model.experts %x, %w, %e gate_up [@w13] down @w2 act_group 8 : tensor<8x32xbf16>, tensor<8x2xf32>, tensor<8x2xi32>
  return
}

// -----

// Both stacks of a quantised pair have to be quantised.
model.weight @w13 from "{}.w13" dims ["experts", "out", "in"] : tensor<6x48x32xbf16>
model.weight @w2 from "{}.w2" dims ["experts", "out", "in"] stored <scale f32 [8, 8] from "{}.w2_scale"> : tensor<6x32x24xf8E4M3FN>
func.func @experts_c4_gate_up(%x: tensor<8x32xbf16>, %w: tensor<8x2xf32>, %e: tensor<8x2xi32>) {
  // expected-error @+1 {{act_group needs a weight with a scale, but @w13 has none}}
  %y = model.experts %x, %w, %e gate_up [@w13] down @w2 act_group 8 : tensor<8x32xbf16>, tensor<8x2xf32>, tensor<8x2xi32>
  return
}

// -----

model.weight @w13 from "{}.w13" dims ["experts", "out", "in"] stored <scale f32 [8, 8] from "{}.w13_scale"> : tensor<6x48x32xf8E4M3FN>
model.weight @w2 from "{}.w2" dims ["experts", "out", "in"] stored <scale f32 [8, 8] from "{}.w2_scale"> : tensor<6x32x24xf8E4M3FN>
func.func @experts_of_codes_c1(%c: tensor<8x32xf8E4M3FN>, %f: tensor<8x4xf32>, %w: tensor<8x2xf32>, %e: tensor<4x2xi32>) {
  // expected-error @+1 {{expected as many tokens in the experts as in the codes, but got 4 and 8}}
  %y = model.experts_of_codes %c, %f, %w, %e gate_up @w13 down @w2 act_group 8 : tensor<8x32xf8E4M3FN>, tensor<8x4xf32>, tensor<8x2xf32>, tensor<4x2xi32> -> tensor<8x32xbf16>
  return
}

// -----

model.weight @w13 from "{}.w13" dims ["experts", "out", "in"] stored <scale f32 [8, 8] from "{}.w13_scale"> : tensor<6x48x32xf8E4M3FN>
model.weight @w2 from "{}.w2" dims ["experts", "out", "in"] stored <scale f32 [8, 8] from "{}.w2_scale"> : tensor<6x32x24xf8E4M3FN>
func.func @experts_of_codes_c1_choices(%c: tensor<8x32xf8E4M3FN>, %f: tensor<8x4xf32>, %w: tensor<8x2xf32>, %e: tensor<8x3xi32>) {
  // expected-error @+1 {{expected weights and experts of the same columns, but got 2 and 3}}
  %y = model.experts_of_codes %c, %f, %w, %e gate_up @w13 down @w2 act_group 8 : tensor<8x32xf8E4M3FN>, tensor<8x4xf32>, tensor<8x2xf32>, tensor<8x3xi32> -> tensor<8x32xbf16>
  return
}

// -----

model.weight @w13 from "{}.w13" dims ["experts", "out", "in"] stored <scale f32 [8, 8] from "{}.w13_scale"> : tensor<6x48x32xf8E4M3FN>
model.weight @w2 from "{}.w2" dims ["experts", "out", "in"] stored <scale f32 [8, 8] from "{}.w2_scale"> : tensor<6x32x24xf8E4M3FN>
func.func @experts_of_codes_c1_columns(%c: tensor<8x32xf8E4M3FN>, %f: tensor<8x4xf32>, %w: tensor<8x2xf32>, %e: tensor<8x2xi32>) {
  // expected-error @+1 {{expected codes and result of the same columns, but got 32 and 16}}
  %y = model.experts_of_codes %c, %f, %w, %e gate_up @w13 down @w2 act_group 8 : tensor<8x32xf8E4M3FN>, tensor<8x4xf32>, tensor<8x2xf32>, tensor<8x2xi32> -> tensor<8x16xbf16>
  return
}

// -----

// expected-note @+1 {{weight defined here}}
model.weight @w13 from "{}.w13" dims ["experts", "out", "in"] stored <scale f32 [8, 8] from "{}.w13_scale"> : tensor<6x40x32xf8E4M3FN>
model.weight @w2 from "{}.w2" dims ["experts", "out", "in"] stored <scale f32 [8, 8] from "{}.w2_scale"> : tensor<6x32x24xf8E4M3FN>
func.func @experts_of_codes_c2(%c: tensor<8x32xf8E4M3FN>, %f: tensor<8x4xf32>, %w: tensor<8x2xf32>, %e: tensor<8x2xi32>) {
  // expected-error @+1 {{expected weight @w13 of shape [6, 48, 32], but it is 'tensor<6x40x32xf8E4M3FN>'}}
  %y = model.experts_of_codes %c, %f, %w, %e gate_up @w13 down @w2 act_group 8 : tensor<8x32xf8E4M3FN>, tensor<8x4xf32>, tensor<8x2xf32>, tensor<8x2xi32> -> tensor<8x32xbf16>
  return
}

// -----

model.weight @w13 from "{}.w13" dims ["experts", "out", "in"] stored <scale f32 [8, 8] from "{}.w13_scale"> : tensor<6x48x32xf8E4M3FN>
model.weight @w2 from "w2" dims ["out", "in"] stored <scale f32 [8, 8] from "w2_scale"> : tensor<32x24xf8E4M3FN>
func.func @experts_of_codes_c2_rank(%c: tensor<8x32xf8E4M3FN>, %f: tensor<8x4xf32>, %w: tensor<8x2xf32>, %e: tensor<8x2xi32>) {
  // expected-error @+1 {{expected down weight @w2 of rank 3, but it is 'tensor<32x24xf8E4M3FN>'}}
  %y = model.experts_of_codes %c, %f, %w, %e gate_up @w13 down @w2 act_group 8 : tensor<8x32xf8E4M3FN>, tensor<8x4xf32>, tensor<8x2xf32>, tensor<8x2xi32> -> tensor<8x32xbf16>
  return
}

// -----

model.weight @w13 from "{}.w13" dims ["experts", "out", "in"] stored <scale f32 [8, 8] from "{}.w13_scale"> : tensor<6x48x32xf8E4M3FN>
model.weight @w2 from "{}.w2" dims ["experts", "out", "in"] : tensor<6x32x24xbf16>
func.func @experts_of_codes_c2_storage(%c: tensor<8x32xf8E4M3FN>, %f: tensor<8x4xf32>, %w: tensor<8x2xf32>, %e: tensor<8x2xi32>) {
  // expected-error @+1 {{act_group needs a weight with a scale, but @w2 has none}}
  %y = model.experts_of_codes %c, %f, %w, %e gate_up @w13 down @w2 act_group 8 : tensor<8x32xf8E4M3FN>, tensor<8x4xf32>, tensor<8x2xf32>, tensor<8x2xi32> -> tensor<8x32xbf16>
  return
}

// -----

model.weight @w13 from "{}.w13" dims ["experts", "out", "in"] stored <scale f32 [8, 8] from "{}.w13_scale"> : tensor<6x48x32xf8E4M3FN>
model.weight @w2 from "{}.w2" dims ["experts", "out", "in"] stored <scale f32 [8, 8] from "{}.w2_scale"> : tensor<6x32x24xf8E4M3FN>
func.func @experts_of_codes_c3(%c: tensor<8x32xf8E4M3FN>, %f: tensor<8x2xf32>, %w: tensor<8x2xf32>, %e: tensor<8x2xi32>) {
  // expected-error @+1 {{expected a factor for each 8 of 32 columns, 4 in all, but got 2}}
  %y = model.experts_of_codes %c, %f, %w, %e gate_up @w13 down @w2 act_group 8 : tensor<8x32xf8E4M3FN>, tensor<8x2xf32>, tensor<8x2xf32>, tensor<8x2xi32> -> tensor<8x32xbf16>
  return
}

// -----

model.weight @w13 from "{}.w13" dims ["experts", "out", "in"] stored <scale f32 [8, 8] from "{}.w13_scale"> : tensor<6x48x32xf8E4M3FN>
model.weight @w2 from "{}.w2" dims ["experts", "out", "in"] stored <scale f32 [8, 8] from "{}.w2_scale"> : tensor<6x32x24xf8E4M3FN>
func.func @experts_of_codes_c3_group(%c: tensor<8x32xf8E4M3FN>, %f: tensor<8x4xf32>, %w: tensor<8x2xf32>, %e: tensor<8x2xi32>) {
  // expected-error @+1 {{expected a positive act_group}}
  %y = model.experts_of_codes %c, %f, %w, %e gate_up @w13 down @w2 act_group 0 : tensor<8x32xf8E4M3FN>, tensor<8x4xf32>, tensor<8x2xf32>, tensor<8x2xi32> -> tensor<8x32xbf16>
  return
}

// -----

//===----------------------------------------------------------------------===//
// Attributes of the dialect
//===----------------------------------------------------------------------===//

// expected-error @+1 {{'model.phase' must be "decode" or "prefill", but got "train"}}
func.func @phase() attributes {model.phase = "train"} {
  return
}

// -----

// expected-error @+1 {{'model.program' must be a name, but got 1}}
func.func @program() attributes {model.program = 1} {
  return
}

// -----

// expected-error @+1 {{'model.outputs' must be a list of names, but got ["logits", 1]}}
func.func @outputs() attributes {model.outputs = ["logits", 1]} {
  return
}

// -----

// expected-error @+1 {{'model.checkpoints' must map names to fingerprints}}
module attributes {model.checkpoints = {draft = 1}} {}

// -----

// expected-error @+1 {{'model.limits' must be a dictionary}}
module @limits attributes {model.limits = 4} {}

// -----

// expected-error @+1 {{'model.limits' needs a positive integer 'page_size'}}
module @limits_missing attributes {model.limits = {max_batch = 4, max_seq_len = 64, prefill_chunk = 8}} {}

// -----

// expected-error @+1 {{'model.limits' needs a positive integer 'max_batch'}}
module @limits_zero attributes {model.limits = {max_batch = 0, max_seq_len = 64, prefill_chunk = 8, page_size = 16}} {}

// -----

// expected-error @+1 {{'model.config' must be a dictionary}}
module @config attributes {model.config = "M2"} {}

// -----

// expected-error @+1 {{'model.stored_parts' must be a list of dictionaries with name, tensor, stack, columns, first, count and of}}
module @stored_parts attributes {model.stored_parts = [{name = "a", tensor = "b"}]} {}

// -----

// expected-error @+1 {{'model.ignored_sources' must map tensor names to a reason, a stack and a type}}
module @ignored_sources attributes {model.ignored_sources = ["inv_freq"]} {}

// -----

// expected-error @+1 {{'model.ignored_sources' must map tensor names to a reason, a stack and a type}}
module @ignored_sources_reason attributes {model.ignored_sources = {inv_freq = {stack = 0, type = tensor<8xf32>}}} {}

// -----

// expected-error @+1 {{'model.ignored_sources' must map tensor names to a reason, a stack and a type}}
module @ignored_sources_type attributes {model.ignored_sources = {inv_freq = {reason = "unused", stack = 0, type = f32}}} {}

// -----

// expected-error @+1 {{attribute "model.colour" is not known on this op}}
module @unknown attributes {model.colour = "red"} {}

// -----

// expected-error @+1 {{attribute "model.limits" is not known on this op}}
func.func @misplaced() attributes {model.limits = {max_batch = 4}} {
  return
}

// -----

func.func @layer_boundary_c1(%x: tensor<8x32xf32>) {
  // expected-error @+1 {{expected a layer of at least 0, but got -1}}
  %y = model.layer_boundary %x layer -1 : tensor<8x32xf32>
  return
}

// -----

//===----------------------------------------------------------------------===//
// Candidates
//===----------------------------------------------------------------------===//

func.func @top_candidates_c1(%l: tensor<8x96xf32>) {
  // expected-error @+1 {{expected as many tokens in the logits as in the chosen tokens, but got 8 and 4}}
  %v, %t = model.top_candidates %l : tensor<8x96xf32> -> tensor<8x4xf32>, tensor<4x4xi32>
  return
}

// -----

func.func @top_candidates_c1_rank(%l: tensor<96xf32>) {
  // expected-error @+1 {{expected the logits of rank 2, but got rank 1}}
  %v, %t = model.top_candidates %l : tensor<96xf32> -> tensor<8x4xf32>, tensor<8x4xi32>
  return
}

// -----

func.func @top_candidates_c2(%l: tensor<8x96xf32>) {
  // expected-error @+1 {{expected chosen values and tokens of 1 to 96 columns each, but got 4 and 5}}
  %v, %t = model.top_candidates %l : tensor<8x96xf32> -> tensor<8x4xf32>, tensor<8x5xi32>
  return
}

// -----

func.func @top_candidates_c2_many(%l: tensor<8x96xf32>) {
  // expected-error @+1 {{expected chosen values and tokens of 1 to 96 columns each, but got 97 and 97}}
  %v, %t = model.top_candidates %l : tensor<8x96xf32> -> tensor<8x97xf32>, tensor<8x97xi32>
  return
}

// -----

func.func @merge_candidates_c1(%v: tensor<8x16xf32>, %t: tensor<4x16xi32>) {
  // expected-error @+1 {{expected as many tokens in the values as in the tokens, but got 8 and 4}}
  %a, %b = model.merge_candidates %v, %t : tensor<8x16xf32>, tensor<4x16xi32> -> tensor<8x4xf32>, tensor<8x4xi32>
  return
}

// -----

func.func @merge_candidates_c2(%v: tensor<8x16xf32>, %t: tensor<8x12xi32>) {
  // expected-error @+1 {{expected as many columns of values as of tokens, but got 16 and 12}}
  %a, %b = model.merge_candidates %v, %t : tensor<8x16xf32>, tensor<8x12xi32> -> tensor<8x4xf32>, tensor<8x4xi32>
  return
}

// -----

func.func @merge_candidates_c2_many(%v: tensor<8x16xf32>, %t: tensor<8x16xi32>) {
  // expected-error @+1 {{expected chosen values and tokens of 1 to 16 columns each, but got 17 and 17}}
  %a, %b = model.merge_candidates %v, %t : tensor<8x16xf32>, tensor<8x16xi32> -> tensor<8x17xf32>, tensor<8x17xi32>
  return
}

// -----

// expected-error @+1 {{expected an offset of at least 0, but got -1}}
func.func @storage_offset() attributes {storage = #model.storage<offset -1>} {
  return
}

// -----

// expected-error @+1 {{expected codes that are numbers, but got 'vector<2xf32>'}}
func.func @storage_codes() attributes {storage = #model.storage<codes vector<2xf32>>} {
  return
}
