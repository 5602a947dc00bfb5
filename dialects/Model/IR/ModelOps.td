#ifndef SADDLE_MODEL_OPS
#define SADDLE_MODEL_OPS

include "dialects/Model/IR/ModelAttrs.td"
include "dialects/Model/Interfaces/StateOpInterface.td"
include "dialects/Model/Interfaces/WeightOpInterface.td"
include "mlir/IR/BuiltinAttributes.td"
include "mlir/IR/SymbolInterfaces.td"
include "mlir/Interfaces/InferTypeOpInterface.td"
include "mlir/Interfaces/SideEffectInterfaces.td"

//===----------------------------------------------------------------------===//
// Types and helpers
//===----------------------------------------------------------------------===//

/// [tokens, features] in the compute dtype.
def Model_Activation : RankedTensorOf<[F32, BF16]>;
def Model_Float32Tensor : RankedTensorOf<[F32]>;
def Model_IndexTensor : RankedTensorOf<[I32]>;
/// [tokens, features] as e4m3 codes, which need factors to be values.
def Model_Codes : RankedTensorOf<[F8E4M3FN]>;
/// [tokens, bytes]
def Model_Bytes : RankedTensorOf<[UI8]>;
/// What rows of bytes can hold.
def Model_Joined : RankedTensorOf<[F32, BF16, F8E4M3FN, I32]>;

//===----------------------------------------------------------------------===//
// Symbols
//===----------------------------------------------------------------------===//

def Model_WeightOp : Model_Op<"weight", [Symbol, DeclareOpInterfaceMethods<WeightOpInterface>]> {
  let summary = "a tensor, or a stack of tensors, of the checkpoint";
  let description = [{
    Names parameters without holding their bytes. `source` is the checkpoint key; with one `{}` in it, the weight stacks one tensor for each index
    of dimension 0 (experts). `dims` gives every dimension its logical name and unit (`#model.dim`), from which `dist-seed-shardings` derives the split.
    `stored` says how the checkpoint's elements become values (`#model.storage`); without it they are the values. `of` names another checkpoint than the
    model's own (`model.checkpoints`).

    ```mlir
    model.weight @draft.fc from "fc.weight" of "draft" dims ["hidden", "features"] : tensor<3072x9216xbf16>
    model.weight @layers.0.q_proj from "model.layers.0.self_attn.q_proj.weight" dims ["q_heads" x 128, "hidden"]
        stored <scale f32 [128, 128] from "model.layers.0.self_attn.q_proj.weight_scale_inv"> : tensor<6144x3072xf8E4M3FN>
    model.weight @layers.0.w1 from "model.layers.0.block_sparse_moe.experts.{}.w1.weight" dims ["experts", "expert_width", "hidden"]
        : tensor<256x1536x3072xbf16>
    ```

    **Constraints**
    - (weight_c1) the shape is static, of rank 1 to 3, and the element type is f32, bf16, f16, f8E4M3FN, f4E2M1FN, ui4, ui8, si8 or i64 (a table);
    - (weight_c2) `dims` has one name for each dimension;
    - (weight_c3) the source has exactly one `{}` when the rank is 3, and none otherwise; a stack of one may have none;
    - (weight_c4) packed elements fill their words;
    - (weight_c5) each companion names its source;
    - (weight_c6) a stacked weight's companions have exactly one `{}` in their sources too;
    - (weight_c7) a weight with companions has rows and columns: rank 2 or 3;
    - (weight_c8) each dimension is a multiple of its unit;
    - (weight_c9) elements of four bits are packed, and their columns are even, because memory holds two of a row in a byte;
    - (weight_c10) columns that are rotated together divide the columns.
  }];
  let arguments = (ins SymbolNameAttr:$sym_name, StrAttr:$source, OptionalAttr<StrAttr>:$checkpoint, Model_DimArrayAttr:$dims,
      OptionalAttr<Model_StorageAttr>:$storage, TypeAttrOf<AnyRankedTensor>:$type);
  let assemblyFormat = [{
    $sym_name `from` $source (`of` $checkpoint^)? `dims` custom<Dims>($dims) (`stored` $storage^)? attr-dict `:` $type
  }];
  let hasVerifier = 1;
}

def Model_KVCacheOp : Model_Op<"kv_cache", [Symbol, DeclareOpInterfaceMethods<StateOpInterface>]> {
  let summary = "the key/value cache of one attention layer";
  let description = [{
    State of tokens: keys and values of each, `heads` heads of `head_dim` values, in pages. Its buffers are `.k` and `.v`; its heads are split as the
    dimension `dim`, `"kv_heads"` unless it says otherwise.

    ```mlir
    model.kv_cache @layers.0.kv heads 8 head_dim 128 : bf16
    model.kv_cache @draft.kv heads 4 head_dim 128 dim "draft.kv_heads" : bf16
    ```

    **Constraints**
    - (kv_cache_c1) `heads` and `head_dim` are positive;
    - (kv_cache_c2) the element type is f32, bf16 or f8E4M3FN.
  }];
  let arguments = (ins SymbolNameAttr:$sym_name, I64Attr:$heads, I64Attr:$head_dim, DefaultValuedStrAttr<StrAttr, "kv_heads">:$dim, TypeAttr:$type);
  let assemblyFormat = "$sym_name `heads` $heads `head_dim` $head_dim (`dim` $dim^)? attr-dict `:` $type";
  let hasVerifier = 1;
}

def Model_IndexKeysOp : Model_Op<"index_keys", [Symbol, DeclareOpInterfaceMethods<StateOpInterface>]> {
  let summary = "the index keys of one sparse attention layer";
  let description = [{
    State of tokens: keys that are compared first, to choose which blocks of a `model.kv_cache` attention reads. In pages as the cache is, the same
    pages. Its buffer is `.keys`. Without `dim` every rank holds all heads, as where one key serves all index heads.

    ```mlir
    model.index_keys @layers.3.index heads 1 head_dim 128 : bf16
    ```

    **Constraints**
    - (index_keys_c1) `heads` and `head_dim` are positive;
    - (index_keys_c2) the element type is f32, bf16 or f8E4M3FN.
  }];
  let arguments = (ins SymbolNameAttr:$sym_name, I64Attr:$heads, I64Attr:$head_dim, OptionalAttr<StrAttr>:$dim, TypeAttr:$type);
  let assemblyFormat = "$sym_name `heads` $heads `head_dim` $head_dim (`dim` $dim^)? attr-dict `:` $type";
  let hasVerifier = 1;
}

def Model_RecurrentStateOp : Model_Op<"recurrent_state", [Symbol, DeclareOpInterfaceMethods<StateOpInterface>]> {
  let summary = "what a recurrent layer remembers of a sequence";
  let description = [{
    State of a sequence as a whole: `heads` matrices of `rows` by `cols`, in fp32 whatever the compute dtype is, because its rounding errors would
    pile up. Before a sequence's first token it is zero. Its buffer is `.state`; its heads are split as the dimension `dim`.

    ```mlir
    model.recurrent_state @layers.0.state heads 64 rows 128 cols 128 dim "q_heads"
    ```

    **Constraints**
    - (recurrent_state_c1) `heads`, `rows` and `cols` are positive.
  }];
  let arguments = (ins SymbolNameAttr:$sym_name, I64Attr:$heads, I64Attr:$rows, I64Attr:$cols, StrAttr:$dim);
  let assemblyFormat = "$sym_name `heads` $heads `rows` $rows `cols` $cols `dim` $dim attr-dict";
  let hasVerifier = 1;
}

def Model_TokenRowsOp : Model_Op<"token_rows", [Symbol, DeclareOpInterfaceMethods<StateOpInterface>]> {
  let summary = "a row of values for each token";
  let description = [{
    State of tokens: a row of activations that one program leaves for another one, or for its own next step, in pages as the cache is, the same
    pages. Its buffer is `.rows`; every rank of a replica holds whole rows.

    ```mlir
    model.token_rows @draft.features width 3072 : bf16
    ```

    **Constraints**
    - (token_rows_c1) `width` is positive;
    - (token_rows_c2) the element type is f32 or bf16.
  }];
  let arguments = (ins SymbolNameAttr:$sym_name, I64Attr:$width, TypeAttr:$type);
  let assemblyFormat = "$sym_name `width` $width attr-dict `:` $type";
  let hasVerifier = 1;
}

//===----------------------------------------------------------------------===//
// Dense ops
//===----------------------------------------------------------------------===//

def Model_EmbeddingOp : Model_WeightedOp<"embedding", [Pure]> {
  let summary = "rows of a table by token id";
  let description = [{
    `result[t] = table[tokens[t]]`, converted to the result's element type.

    ```mlir
    %x = model.embedding %tokens, @embed : tensor<?xi32> -> tensor<?x3072xbf16>
    ```

    **Constraints**
    - (embedding_c1) tokens have rank 1, the result rank 2, with the same token count;
    - (embedding_c2) the table is a weight of rank 2 whose rows are as wide as the result;
    - (embedding_c3) the table is stored as its values.
  }];
  let arguments = (ins Model_IndexTensor:$tokens, FlatSymbolRefAttr:$table);
  let results = (outs Model_Activation:$result);
  let assemblyFormat = "$tokens `,` $table attr-dict `:` type($tokens) `->` type($result)";
  let hasVerifier = 1;
}

def Model_RMSNormOp : Model_WeightedOp<"rms_norm", [Pure, SameOperandsAndResultType, RowByRow, NormalizesRows]>,
    Launches<"rms_norm", ["eps"]> {
  let summary = "root-mean-square normalisation of each row";
  let description = [{
    `x * rsqrt(mean(x^2) + eps) * weight` per row, sums in fp32 (Zhang and Sennrich 2019, eq. 4).

    ```mlir
    %n = model.rms_norm %x, @layers.0.input_norm eps 1.0e-6 : tensor<?x3072xbf16>
    ```

    **Constraints**
    - (rms_norm_c1) the input has rank 2 and the weight rank 1 with one value for each column;
    - (rms_norm_c2) eps is positive.
  }];
  let arguments = (ins Model_Activation:$input, FlatSymbolRefAttr:$weight, F64Attr:$eps);
  let results = (outs Model_Activation:$result);
  let assemblyFormat = "$input `,` $weight `eps` $eps attr-dict `:` type($result)";
  let hasVerifier = 1;
}

def Model_LinearOp : Model_WeightedOp<"linear", [Pure, MatmulOpInterface]> {
  let summary = "x times the transpose of a weight";
  let description = [{
    `result = input * weight^T` with fp32 accumulation; the weight is [out features, in features]. `act_group` g says that each row of the input is
    quantised on the fly to e4m3 in groups of g columns (scale amax/448); without it the input is used as it is.

    ```mlir
    %q = model.linear %x, @layers.0.q_proj : tensor<?x3072xbf16> -> tensor<?x6144xbf16>
    ```

    **Constraints**
    - (linear_c1) input and result have rank 2 and the same token count;
    - (linear_c2) the weight has rank 2, [result columns, input columns];
    - (linear_c3) `act_group` is positive and the weight has a scale;
    - (linear_c4) the result's element type is the input's or f32.
  }];
  let arguments = (ins Model_Activation:$input, FlatSymbolRefAttr:$weight, OptionalAttr<I64Attr>:$act_group);
  let results = (outs Model_Activation:$result);
  let assemblyFormat = "$input `,` $weight (`act_group` $act_group^)? attr-dict `:` type($input) `->` type($result)";
  let hasVerifier = 1;
}

def Model_SplitOp : Model_StepOp<"split", [Pure]> {
  let summary = "column ranges of a tensor";
  let description = [{
    The results are the input's columns, left to right. It takes a fused projection apart; in memory it is views, not copies.

    ```mlir
    %q, %k, %v = model.split %qkv : tensor<8x1024xbf16> -> tensor<8x768xbf16>, tensor<8x128xbf16>, tensor<8x128xbf16>
    ```

    **Constraints**
    - (split_c1) all have rank 2, the same token count and element type;
    - (split_c2) the results' columns add up to the input's.
  }];
  let arguments = (ins Model_Activation:$input);
  let results = (outs Variadic<Model_Activation>:$results);
  let assemblyFormat = "$input attr-dict `:` type($input) `->` type($results)";
  let hasVerifier = 1;
}

def Model_ConcatOp : Model_StepOp<"concat", [Pure, RowByRow]>, Launches<"concat"> {
  let summary = "rows of several tensors, one behind the other";
  let description = [{
    The result's columns are the inputs' columns, left to right: the other way round than `model.split`, and a copy.

    ```mlir
    %x = model.concat %embedded, %features : (tensor<?x3072xbf16>, tensor<?x3072xbf16>) -> tensor<?x6144xbf16>
    ```

    **Constraints**
    - (concat_c1) there is at least one input; all have rank 2, the same token count and element type;
    - (concat_c2) the inputs' columns add up to the result's.
  }];
  let arguments = (ins Variadic<Model_Activation>:$inputs);
  let results = (outs Model_Activation:$result);
  let assemblyFormat = "$inputs attr-dict `:` functional-type($inputs, $result)";
  let hasVerifier = 1;
}

def Model_EncodeRowsOp : Model_StepOp<"encode_rows", [Pure]>, Launches<"encode_rows", ["group"]> {
  let summary = "rows as codes, with a factor for each group of columns";
  let description = [{
    What products with an `act_group` make of their input, as a value: each group of columns of a row is divided by its factor, its largest magnitude over 448, and
    rounded to e4m3. `dist-encode-gathers` makes it, so that half of the bytes travel.

    ```mlir
    %codes, %factors = model.encode_rows %x group 128 : tensor<8x3072xbf16> -> tensor<8x3072xf8E4M3FN>, tensor<8x24xf32>
    ```

    **Constraints**
    - (encode_rows_c1) all have rank 2 and the same token count, and there is a code for each column of the input;
    - (encode_rows_c2) `group` is positive, and there is a factor for each group of columns, the last of which may be short.
  }];
  let arguments = (ins Model_Activation:$input, I64Attr:$group);
  let results = (outs Model_Codes:$codes, Model_Float32Tensor:$factors);
  let assemblyFormat = "$input `group` $group attr-dict `:` type($input) `->` type($codes) `,` type($factors)";
  let hasVerifier = 1;
}

def Model_LinearOfCodesOp : Model_WeightedOp<"linear_of_codes", [Pure]> {
  let summary = "a linear whose input has been encoded";
  let description = [{
    `model.linear` with that `act_group` of what `model.encode_rows` has made in such groups: the same sums of the same codes.

    ```mlir
    %q = model.linear_of_codes %codes, %factors, @layers.0.q_proj act_group 128
        : tensor<8x3072xf8E4M3FN>, tensor<8x24xf32> -> tensor<8x6144xbf16>
    ```

    **Constraints**
    - (linear_of_codes_c1) codes, factors and result have rank 2 and the same token count;
    - (linear_of_codes_c2) the weight has rank 2, [result columns, columns of codes], and a scale;
    - (linear_of_codes_c3) `act_group` is positive, and there is a factor for each group of columns of codes.
  }];
  let arguments = (ins Model_Codes:$codes, Model_Float32Tensor:$factors, FlatSymbolRefAttr:$weight, I64Attr:$act_group);
  let results = (outs Model_Activation:$result);
  let assemblyFormat = "$codes `,` $factors `,` $weight `act_group` $act_group attr-dict `:` type($codes) `,` type($factors) `->` type($result)";
  let hasVerifier = 1;
}

def Model_JoinBytesOp : Model_StepOp<"join_bytes", [Pure]> {
  let summary = "rows of several tensors as rows of bytes";
  let description = [{
    The bytes of the inputs' rows, left to right: several tensors that travel as one. In memory it is no copy: whoever makes an input writes it where it stands in
    the result. So inputs are results of ops that launch something, and each is joined once.

    ```mlir
    %rows = model.join_bytes %codes, %factors : (tensor<8x3072xf8E4M3FN>, tensor<8x24xf32>) -> tensor<8x3168xui8>
    ```

    **Constraints**
    - (join_bytes_c1) there is at least one input; all have rank 2 and the same token count;
    - (join_bytes_c2) the result has the bytes of a row of each input, which begins at the next multiple of 16 bytes, as the next row does;
    - (join_bytes_c3) no input is joined twice.
  }];
  let arguments = (ins Variadic<Model_Joined>:$inputs);
  let results = (outs Model_Bytes:$result);
  let assemblyFormat = "$inputs attr-dict `:` functional-type($inputs, $result)";
  let hasVerifier = 1;
}

def Model_SplitBytesOp : Model_StepOp<"split_bytes", [Pure]> {
  let summary = "rows of bytes as the tensors that were joined";
  let description = [{
    What `model.join_bytes` has joined, left to right. In memory it is views, not copies.

    ```mlir
    %codes, %factors = model.split_bytes %rows : tensor<8x3168xui8> -> tensor<8x3072xf8E4M3FN>, tensor<8x24xf32>
    ```

    **Constraints**
    - (split_bytes_c1) there is at least one result; all have rank 2 and the same token count;
    - (split_bytes_c2) the input has the bytes of a row of each result, which begins at the next multiple of 16 bytes, as the next row does.
  }];
  let arguments = (ins Model_Bytes:$input);
  let results = (outs Variadic<Model_Joined>:$results);
  let assemblyFormat = "$input attr-dict `:` type($input) `->` type($results)";
  let hasVerifier = 1;
}

// add_c1: SameOperandsAndResultType.
def Model_AddOp : Model_StepOp<"add", [Pure, Commutative, SameOperandsAndResultType, RowByRow]>, Launches<"add"> {
  let summary = "element-wise sum";
  let description = [{
    The residual connection.

    ```mlir
    %r = model.add %x, %attn : tensor<?x3072xbf16>
    ```

    **Constraints**
    - (add_c1) operands and result have one type.
  }];
  let arguments = (ins Model_Activation:$lhs, Model_Activation:$rhs);
  let results = (outs Model_Activation:$result);
  let assemblyFormat = "$lhs `,` $rhs attr-dict `:` type($result)";
}

// branch_sum_c1: SameOperandsAndResultType.
def Model_BranchSumOp : Model_StepOp<"branch_sum", [Pure, Commutative, SameOperandsAndResultType]>, Launches<"add"> {
  let summary = "element-wise sum of two branches of a layer";
  let description = [{
    `result = lhs + rhs`, before the sum meets the residual stream. Where both are partial sums over the same ranks, so is the result, and they are finished together;
    that is why it is no `add`, which works on the stream and asks for whole rows.

    ```mlir
    %y = model.branch_sum %routed, %shared : tensor<?x6144xbf16>
    ```

    **Constraints**
    - (branch_sum_c1) operands and result have one type.
  }];
  let arguments = (ins Model_Activation:$lhs, Model_Activation:$rhs);
  let results = (outs Model_Activation:$result);
  let assemblyFormat = "$lhs `,` $rhs attr-dict `:` type($result)";
}

// scaled_add_c1: SameOperandsAndResultType.
def Model_ScaledAddOp : Model_StepOp<"scaled_add", [Pure, SameOperandsAndResultType, RowByRow]>, Launches<"scaled_add", ["alpha", "beta"]> {
  let summary = "element-wise sum of two scaled tensors";
  let description = [{
    `alpha * lhs + beta * rhs`, in fp32: a residual connection whose branches are weighted (DeepNorm, Wang et al. 2022). Where both factors are 1,
    `model.add` is the same and has more kernels.

    ```mlir
    %r = model.scaled_add %x, %attn alpha 3.556 beta 1.0 : tensor<?x6144xbf16>
    ```

    **Constraints**
    - (scaled_add_c1) operands and result have one type;
    - (scaled_add_c2) `alpha` and `beta` are positive.
  }];
  let arguments = (ins Model_Activation:$lhs, Model_Activation:$rhs, F64Attr:$alpha, F64Attr:$beta);
  let results = (outs Model_Activation:$result);
  let assemblyFormat = "$lhs `,` $rhs `alpha` $alpha `beta` $beta attr-dict `:` type($result)";
  let hasVerifier = 1;
}

// silu_c1: SameOperandsAndResultType.
def Model_SiLUOp : Model_StepOp<"silu", [Pure, SameOperandsAndResultType, Pointwise]>, Launches<"silu"> {
  let summary = "x times its sigmoid";
  let description = [{
    `x * sigmoid(x)`, in fp32 (Hendrycks and Gimpel 2016). Between the two products of an expert it is part of `model.experts`.

    ```mlir
    %a = model.silu %qkv : tensor<?x24576xbf16>
    ```

    **Constraints**
    - (silu_c1) operand and result have one type.
  }];
  let arguments = (ins Model_Activation:$input);
  let results = (outs Model_Activation:$result);
  let assemblyFormat = "$input attr-dict `:` type($result)";
}

// sigmoid_gate_c1: SameOperandsAndResultType.
def Model_SigmoidGateOp : Model_StepOp<"sigmoid_gate", [Pure, SameOperandsAndResultType, Pointwise]>, Launches<"sigmoid_gate"> {
  let summary = "a tensor times the sigmoid of another";
  let description = [{
    `input * sigmoid(gate)`, in fp32.

    ```mlir
    %g = model.sigmoid_gate %y, %gate : tensor<?x8192xbf16>
    ```

    **Constraints**
    - (sigmoid_gate_c1) operands and result have one type.
  }];
  let arguments = (ins Model_Activation:$input, Model_Activation:$gate);
  let results = (outs Model_Activation:$result);
  let assemblyFormat = "$input `,` $gate attr-dict `:` type($result)";
}

def Model_ScaleOp : Model_WeightedOp<"scale", [Pure, SameOperandsAndResultType, Pointwise]>, Launches<"scale", ["inverse"]> {
  let summary = "all elements times one stored number, or divided by it";
  let description = [{
    `x * scale`, or `x / scale` with `inverse` 1. A cache of fp8 with stored scales holds k and v divided by theirs; attention then takes queries times the
    scale of k, and its result is multiplied by that of v.

    ```mlir
    %s = model.scale %k, @layers.0.kv_k_scale inverse 1 : tensor<?x1024xbf16>
    ```

    **Constraints**
    - (scale_c1) the input has rank 2 and the weight is one number;
    - (scale_c2) `inverse` is 0 or 1.
  }];
  let arguments = (ins Model_Activation:$input, FlatSymbolRefAttr:$weight, I64Attr:$inverse);
  let results = (outs Model_Activation:$result);
  let assemblyFormat = "$input `,` $weight `inverse` $inverse attr-dict `:` type($result)";
  let hasVerifier = 1;
}

// swiglu_c1: SameOperandsAndResultType.
def Model_SwiGLUOp : Model_StepOp<"swiglu", [Pure, SameOperandsAndResultType, Pointwise]>, Launches<"swiglu"> {
  let summary = "gated linear unit with SiLU";
  let description = [{
    `gate * sigmoid(gate) * up`, in fp32 (Shazeer 2020): the activation of a dense network, between its projections.

    ```mlir
    %h = model.swiglu %gate, %up : tensor<?x18432xbf16>
    ```

    **Constraints**
    - (swiglu_c1) operands and result have one type.
  }];
  let arguments = (ins Model_Activation:$gate, Model_Activation:$up);
  let results = (outs Model_Activation:$result);
  let assemblyFormat = "$gate `,` $up attr-dict `:` type($result)";
}

// swiglu_oai_c1: SameOperandsAndResultType.
def Model_SwiGLUOAIOp : Model_StepOp<"swiglu_oai", [Pure, SameOperandsAndResultType, Pointwise]>, Launches<"swiglu_oai", ["alpha", "limit"]> {
  let summary = "clamped SwiGLU with a bias of one";
  let description = [{
    `g * sigmoid(alpha * g) * (u + 1)` with `g = min(gate, limit)` and `u = clamp(up, -limit, limit)`, in fp32: the activation of gpt-oss and MiniMax-M3. The
    gate is bounded above only, the up projection on both sides. Neither constant has a default: a model that drops one computes something else without a
    word.

    ```mlir
    %h = model.swiglu_oai %gate, %up alpha 1.702 limit 7.0 : tensor<?x3072xbf16>
    ```

    **Constraints**
    - (swiglu_oai_c1) operands and result have one type;
    - (swiglu_oai_c2) `alpha` and `limit` are positive.
  }];
  let arguments = (ins Model_Activation:$gate, Model_Activation:$up, F64Attr:$alpha, F64Attr:$limit);
  let results = (outs Model_Activation:$result);
  let assemblyFormat = "$gate `,` $up `alpha` $alpha `limit` $limit attr-dict `:` type($result)";
  let hasVerifier = 1;
}

def Model_SelectRowsOp : Model_StepOp<"select_rows", [Pure, DeclareOpInterfaceMethods<LaunchOpInterface, ["getRowOperand"]>]>,
    Launches<"select_rows"> {
  let summary = "rows of a tensor by index";
  let description = [{
    `result[i] = input[rows[i]]`: keeps the tokens whose logits somebody wants.

    ```mlir
    %last = model.select_rows %x, %rows : tensor<?x3072xbf16>, tensor<?xi32> -> tensor<?x3072xbf16>
    ```

    **Constraints**
    - (select_rows_c1) rows have rank 1, input and result rank 2 with the same columns and element type;
    - (select_rows_c2) there are as many result rows as indices.
  }];
  let arguments = (ins Model_Activation:$input, Model_IndexTensor:$rows);
  let results = (outs Model_Activation:$result);
  let assemblyFormat = "$input `,` $rows attr-dict `:` type($input) `,` type($rows) `->` type($result)";
  let hasVerifier = 1;
}

def Model_LayerBoundaryOp : Model_StepOp<"layer_boundary", [Pure, AllTypesMatch<["input", "result"]>, RowByRow]> {
  let summary = "the residual stream where a decoder layer begins";
  let description = [{
    Passes its input on. It marks the only value that crosses from one layer to the next, so that pipeline stages can be cut here
    (`dist-split-stages`) and hidden states can be tapped.

    ```mlir
    %x3 = model.layer_boundary %x layer 3 : tensor<?x3072xbf16>
    ```

    **Constraints**
    - (layer_boundary_c1) the input has rank 2 and the layer is not negative.
  }];
  let arguments = (ins Model_Activation:$input, I64Attr:$layer);
  let results = (outs Model_Activation:$result);
  let assemblyFormat = "$input `layer` $layer attr-dict `:` type($result)";
  let hasVerifier = 1;
}

//===----------------------------------------------------------------------===//
// Attention
//===----------------------------------------------------------------------===//

def Model_QKNormOp : Model_WeightedOp<"qk_norm", [Pure, AllTypesMatch<["q", "q_result"]>, AllTypesMatch<["k", "k_result"]>]> {
  let summary = "RMS norm of the whole query vector and of the whole key vector";
  let description = [{
    MiniMax-M2 normalises q and k over all heads at once, before they are split: `q * rsqrt(mean(q^2) + eps) * q_weight`, the mean over every column of
    every head, in fp32; the same for k. Under tensor parallelism the mean therefore crosses ranks; `model-decompose-qk-norm` makes that visible.

    ```mlir
    %qn, %kn = model.qk_norm %q, %k, @layers.0.q_norm, @layers.0.k_norm eps 1.0e-6 : tensor<?x6144xbf16>, tensor<?x1024xbf16>
    ```

    **Constraints**
    - (qk_norm_c1) q and k have rank 2 and the same token count;
    - (qk_norm_c2) each weight has rank 1 and one value for each column;
    - (qk_norm_c3) eps is positive.
  }];
  let arguments = (ins Model_Activation:$q, Model_Activation:$k, FlatSymbolRefAttr:$q_weight, FlatSymbolRefAttr:$k_weight, F64Attr:$eps);
  let results = (outs Model_Activation:$q_result, Model_Activation:$k_result);
  let assemblyFormat = "$q `,` $k `,` $q_weight `,` $k_weight `eps` $eps attr-dict `:` type($q) `,` type($k)";
  let hasVerifier = 1;
}

def Model_SumOfSquaresOp : Model_StepOp<"sum_of_squares", [Pure]>, Launches<"sum_of_squares"> {
  let summary = "sum of squares of each row, one column for each input";
  let description = [{
    `result[t, i] = sum over columns of inputs[i][t, :]^2`, in fp32. Several inputs share one result so that one exchange carries all their sums.

    ```mlir
    %s = model.sum_of_squares %q, %k : (tensor<?x6144xbf16>, tensor<?x1024xbf16>) -> tensor<?x2xf32>
    ```

    **Constraints**
    - (sum_of_squares_c1) there is at least one input; all have rank 2 and the same token count;
    - (sum_of_squares_c2) the result has one column for each input.
  }];
  let arguments = (ins Variadic<Model_Activation>:$inputs);
  let results = (outs Model_Float32Tensor:$result);
  let assemblyFormat = "$inputs attr-dict `:` functional-type($inputs, $result)";
  let hasVerifier = 1;
}

def Model_RMSScaleOp : Model_WeightedOp<"rms_scale", [Pure]>, Launches<"rms_scale", ["column", "divisor", "eps"]> {
  let summary = "the second half of an RMS norm: scale by given sums of squares";
  let description = [{
    `x * rsqrt(sums[t, column] / divisor + eps) * weight`. `divisor` counts the squares that the sum holds; where ranks hold replicas of the same columns
    the sum counts them several times and so does the divisor.

    ```mlir
    %qn = model.rms_scale %q, %s[0], @layers.0.q_norm divisor 6144 eps 1.0e-6 : tensor<?x6144xbf16>, tensor<?x2xf32>
    ```

    **Constraints**
    - (rms_scale_c1) input and sums have rank 2 and the same token count;
    - (rms_scale_c2) `column` is a column of the sums;
    - (rms_scale_c3) the weight has rank 1 and one value for each column;
    - (rms_scale_c4) divisor and eps are positive.
  }];
  let arguments = (ins Model_Activation:$input, Model_Float32Tensor:$sums, I64Attr:$column, FlatSymbolRefAttr:$weight, I64Attr:$divisor, F64Attr:$eps);
  let results = (outs Model_Activation:$result);
  let assemblyFormat = [{
    $input `,` $sums `[` $column `]` `,` $weight `divisor` $divisor `eps` $eps attr-dict `:` type($input) `,` type($sums) `->` type($result)
  }];
  let hasVerifier = 1;
}

def Model_ScaleColumnsOp : Model_WeightedOp<"scale_columns", [Pure, SameOperandsAndResultType]>, Launches<"scale_columns"> {
  let summary = "each column times a stored number";
  let description = [{
    `x * weight`, in fp32: a norm without its root mean square, which `model-sink-rms-factors` divides by behind the product that follows.

    ```mlir
    %s = model.scale_columns %y, @layers.0.scan_norm : tensor<8x8192xbf16>
    ```

    **Constraints**
    - (scale_columns_c1) the input has rank 2 and the weight rank 1 with one value for each column.
  }];
  let arguments = (ins Model_Activation:$input, FlatSymbolRefAttr:$weight);
  let results = (outs Model_Activation:$result);
  let assemblyFormat = "$input `,` $weight attr-dict `:` type($result)";
  let hasVerifier = 1;
}

def Model_DivideByRMSOp : Model_StepOp<"divide_by_rms", [Pure, AllTypesMatch<["input", "result"]>, RowByRow]>,
    Launches<"divide_by_rms", ["column", "divisor", "eps"]> {
  let summary = "rows over root mean squares of other rows";
  let description = [{
    `x * rsqrt(sums[t, column] / divisor + eps)`, in fp32: what `model.rms_scale` multiplies by besides its weight, later. `divisor` counts the squares
    that the sum holds.

    ```mlir
    %o = model.divide_by_rms %p, %s[0] divisor 8192 eps 1.0e-6 : tensor<8x6144xbf16>, tensor<8x1xf32>
    ```

    **Constraints**
    - (divide_by_rms_c1) input and sums have rank 2 and the same token count;
    - (divide_by_rms_c2) `column` is a column of the sums;
    - (divide_by_rms_c3) divisor and eps are positive.
  }];
  let arguments = (ins Model_Activation:$input, Model_Float32Tensor:$sums, I64Attr:$column, I64Attr:$divisor, F64Attr:$eps);
  let results = (outs Model_Activation:$result);
  let assemblyFormat = "$input `,` $sums `[` $column `]` `divisor` $divisor `eps` $eps attr-dict `:` type($input) `,` type($sums)";
  let hasVerifier = 1;
}

def Model_RopeOp : Model_StepOp<"rope", [Pure, AllTypesMatch<["input", "result"]>]>,
    Launches<"rope", ["head_dim", "rotary_dim", "theta"]> {
  let summary = "rotary position embedding, NeoX pairing, partial";
  let description = [{
    In each head of `head_dim` columns, columns j and j + rotary_dim/2 (j < rotary_dim/2) rotate by `position * theta^(-2j/rotary_dim)`; columns from
    rotary_dim on pass unchanged (Su et al. 2021, with the halves-pairing of GPT-NeoX).

    ```mlir
    %qr = model.rope %q, %positions head_dim 128 rotary_dim 64 theta 5.0e6 : tensor<?x6144xbf16>, tensor<?xi32>
    ```

    **Constraints**
    - (rope_c1) the input has rank 2, positions rank 1, with the same token count;
    - (rope_c2) `head_dim` is positive and divides the columns;
    - (rope_c3) `rotary_dim` is even, positive and at most `head_dim`;
    - (rope_c4) theta is positive.
  }];
  let arguments = (ins Model_Activation:$input, Model_IndexTensor:$positions, I64Attr:$head_dim, I64Attr:$rotary_dim, F64Attr:$theta);
  let results = (outs Model_Activation:$result);
  let assemblyFormat = [{
    $input `,` $positions `head_dim` $head_dim `rotary_dim` $rotary_dim `theta` $theta attr-dict `:` type($input) `,` type($positions)
  }];
  let hasVerifier = 1;
}

def Model_KVAppendOp : Model_StepOp<"kv_append", [AllTypesMatch<["k", "v"]>, MemoryEffects<[MemWrite]>,
    DeclareOpInterfaceMethods<SymbolUserOpInterface>, DeclareOpInterfaceMethods<StateUserOpInterface>]> {
  let summary = "store the step's keys and values in the cache";
  let description = [{
    Writes k and v of every token to its slot, converted to the cache's element type. It must precede the layer's `model.attention`, which reads them back.

    ```mlir
    model.kv_append %k, %v, @layers.0.kv, %context : tensor<?x1024xbf16>
    ```

    **Constraints**
    - (kv_append_c1) k and v have rank 2;
    - (kv_append_c2) the symbol is a cache with heads x head_dim equal to the columns.
  }];
  let arguments = (ins Model_Activation:$k, Model_Activation:$v, FlatSymbolRefAttr:$cache, Model_ContextType:$context);
  let assemblyFormat = "$k `,` $v `,` $cache `,` $context attr-dict `:` type($k)";
  let hasVerifier = 1;
}

def Model_AttentionOp : Model_StepOp<"attention", [MemoryEffects<[MemRead]>, AllTypesMatch<["q", "result"]>,
    DeclareOpInterfaceMethods<SymbolUserOpInterface>, DeclareOpInterfaceMethods<StateUserOpInterface>]> {
  let summary = "causal grouped-query attention over the cache";
  let description = [{
    Each query attends to the cached positions 0..its own of its own sequence: `softmax(scale * q k^T) v` per head in fp32. With h query heads and g cache
    heads, query head i reads cache head i / (h/g) (Ainslie et al. 2023).

    ```mlir
    %a = model.attention %q, @layers.0.kv, %context scale 0.08838834764831845 : tensor<?x6144xbf16>
    ```

    **Constraints**
    - (attention_c1) q has rank 2 and its columns are a whole number of heads of the cache's head_dim;
    - (attention_c2) the cache's heads divide the query heads;
    - (attention_c3) scale is positive.
  }];
  let arguments = (ins Model_Activation:$q, FlatSymbolRefAttr:$cache, Model_ContextType:$context, F64Attr:$scale);
  let results = (outs Model_Activation:$result);
  let assemblyFormat = "$q `,` $cache `,` $context `scale` $scale attr-dict `:` type($q)";
  let hasVerifier = 1;
}

def Model_DecayScanOp : Model_StepOp<"decay_scan", [MemoryEffects<[MemRead, MemWrite]>, DeclareOpInterfaceMethods<SymbolUserOpInterface>,
    DeclareOpInterfaceMethods<StateUserOpInterface>]> {
  let summary = "linear attention with a fixed decay for each head";
  let description = [{
    Per head and sequence, token by token: `S = exp(-rate * slope) * S + k^T v`, then `result = q S`, in fp32 (lightning attention, Qin et al. 2024); S is
    the state, [rows, cols] for q and k of `rows` and v of `cols` values. It is zero before position 0, and survives steps, so that chunks of a prompt give
    what the whole prompt gives. The columns of a head stand together in the input: its q, its k, its v.

    The slope of head i is ALiBi's among `heads` (Press et al. 2022): `2^(-8 (i+1) / heads)` where `heads` is a power of two; otherwise, c being the
    largest power of two below, the first c heads have those of c heads, the others every second one of those of 2c.

    ```mlir
    %y = model.decay_scan %qkv, @layers.0.state, %context heads 64 rate 0.5 : tensor<?x24576xbf16> -> tensor<?x8192xbf16>
    ```

    Over a share of the heads (after `dist-partition`) `heads` still counts all of them, and `dist.head_start` is the first head of the share.

    **Constraints**
    - (decay_scan_c1) input and result have rank 2, the same token count and element type;
    - (decay_scan_c2) the symbol is a recurrent state with heads x (2 x rows + cols) equal to the columns of the input, heads x cols to those of the result;
    - (decay_scan_c3) `heads` is at least the state's heads;
    - (decay_scan_c4) `rate` is positive.
  }];
  let arguments = (ins Model_Activation:$qkv, FlatSymbolRefAttr:$state, Model_ContextType:$context, I64Attr:$heads, F64Attr:$rate);
  let results = (outs Model_Activation:$result);
  let assemblyFormat = "$qkv `,` $state `,` $context `heads` $heads `rate` $rate attr-dict `:` type($qkv) `->` type($result)";
  let hasVerifier = 1;
}

//===----------------------------------------------------------------------===//
// Rows that survive steps
//===----------------------------------------------------------------------===//

def Model_KeepRowsOp : Model_StepOp<"keep_rows", [MemoryEffects<[MemWrite]>, DeclareOpInterfaceMethods<SymbolUserOpInterface>,
    DeclareOpInterfaceMethods<StateUserOpInterface>]> {
  let summary = "leave a row for each of the step's tokens";
  let description = [{
    Writes the row of every token to its place in a `model.token_rows`.

    ```mlir
    model.keep_rows %g, @draft.features, %context : tensor<?x3072xbf16>
    ```

    **Constraints**
    - (keep_rows_c1) the input has rank 2;
    - (keep_rows_c2) the symbol holds rows of the input's columns and element type.
  }];
  let arguments = (ins Model_Activation:$input, FlatSymbolRefAttr:$state, Model_ContextType:$context);
  let assemblyFormat = "$input `,` $state `,` $context attr-dict `:` type($input)";
  let hasVerifier = 1;
}

def Model_KeepNextRowsOp : Model_StepOp<"keep_next_rows", [MemoryEffects<[MemWrite]>, DeclareOpInterfaceMethods<SymbolUserOpInterface>,
    DeclareOpInterfaceMethods<StateUserOpInterface>, DeclareOpInterfaceMethods<LaunchOpInterface, ["getRowOperand"]>]> {
  let summary = "leave rows for the tokens that follow";
  let description = [{
    Row i belongs to token `rows[i]` of the step, and is written to the place of the token behind it in the same sequence, which a later step takes. Whoever
    steps holds a page for that token; where there is none, nothing is written.

    ```mlir
    model.keep_next_rows %h, %rows, @draft.features, %context : tensor<?x3072xbf16>, tensor<?xi32>
    ```

    **Constraints**
    - (keep_next_rows_c1) the input has rank 2, rows rank 1, with the same token count;
    - (keep_next_rows_c2) the symbol holds rows of the input's columns and element type.
  }];
  let arguments = (ins Model_Activation:$input, Model_IndexTensor:$rows, FlatSymbolRefAttr:$state, Model_ContextType:$context);
  let assemblyFormat = "$input `,` $rows `,` $state `,` $context attr-dict `:` type($input) `,` type($rows)";
  let hasVerifier = 1;
}

def Model_KeptRowsOp : Model_StepOp<"kept_rows", [MemoryEffects<[MemRead]>, DeclareOpInterfaceMethods<SymbolUserOpInterface>,
    DeclareOpInterfaceMethods<StateUserOpInterface>]> {
  let summary = "the rows that were left for the step's tokens";
  let description = [{
    Reads the row of every token, one for each of `positions`, from a `model.token_rows`.

    ```mlir
    %g = model.kept_rows %positions, @draft.features, %context : tensor<?xi32> -> tensor<?x3072xbf16>
    ```

    **Constraints**
    - (kept_rows_c1) positions have rank 1, the result rank 2, with the same token count;
    - (kept_rows_c2) the symbol holds rows of the result's columns and element type.
  }];
  let arguments = (ins Model_IndexTensor:$positions, FlatSymbolRefAttr:$state, Model_ContextType:$context);
  let results = (outs Model_Activation:$result);
  let assemblyFormat = "$positions `,` $state `,` $context attr-dict `:` type($positions) `->` type($result)";
  let hasVerifier = 1;
}

//===----------------------------------------------------------------------===//
// Mixture of experts
//===----------------------------------------------------------------------===//

def Model_RouterOp : Model_WeightedOp<"router", [Pure]>, Launches<"router_topk", ["routed_scale"]> {
  let summary = "sigmoid top-k routing with a selection bias";
  let description = [{
    `s = sigmoid(logits)`; the k experts with the largest `s + bias` are chosen (ties: the lower index); their weights are `s`, without the bias, divided by
    their sum and multiplied by `routed_scale`. k is the results' column count.

    ```mlir
    %w, %e = model.router %logits, @layers.0.bias routed_scale 1.0 : tensor<?x256xf32> -> tensor<?x8xf32>, tensor<?x8xi32>
    ```

    **Constraints**
    - (router_c1) logits, weights and experts have rank 2 and the same token count;
    - (router_c2) weights and experts have the same number of columns, at least 1 and at most the number of experts;
    - (router_c3) the bias has rank 1 and one value for each expert;
    - (router_c4) `routed_scale` is positive.
  }];
  let arguments = (ins Model_Float32Tensor:$logits, FlatSymbolRefAttr:$bias, F64Attr:$routed_scale);
  let results = (outs Model_Float32Tensor:$weights, Model_IndexTensor:$experts);
  let assemblyFormat = "$logits `,` $bias `routed_scale` $routed_scale attr-dict `:` type($logits) `->` type($weights) `,` type($experts)";
  let hasVerifier = 1;
}

def Model_SoftmaxRouterOp : Model_StepOp<"softmax_router", [Pure]>, Launches<"softmax_topk"> {
  let summary = "softmax top-k routing";
  let description = [{
    The k experts with the largest logits are chosen (ties: the lower index); their weights are the softmax over all logits, divided by its sum over the
    chosen ones, in fp32. k is the results' column count.

    ```mlir
    %w, %e = model.softmax_router %logits : tensor<?x32xf32> -> tensor<?x2xf32>, tensor<?x2xi32>
    ```

    **Constraints**
    - (softmax_router_c1) logits, weights and experts have rank 2 and the same token count;
    - (softmax_router_c2) weights and experts have the same number of columns, at least 1 and at most the number of experts.
  }];
  let arguments = (ins Model_Float32Tensor:$logits);
  let results = (outs Model_Float32Tensor:$weights, Model_IndexTensor:$experts);
  let assemblyFormat = "$logits attr-dict `:` type($logits) `->` type($weights) `,` type($experts)";
  let hasVerifier = 1;
}

def Model_SharedGateOp : Model_StepOp<"shared_gate", [Pure, AllTypesMatch<["weights", "routed"]>, AllTypesMatch<["logit", "shared"]>]>, Launches<"shared_gate"> {
  let summary = "how a token's experts and a shared one share it";
  let description = [{
    With `c = sigmoid(logit)`, `routed = (1 - c) * weights`, `shared = c`, and `experts` is 0: the choice of a stack of one, so that a shared expert is an `experts` too. In fp32.

    ```mlir
    %routed, %c, %zero = model.shared_gate %weights, %logit : tensor<?x2xf32>, tensor<?x1xf32> -> tensor<?x1xi32>
    ```

    **Constraints**
    - (shared_gate_c1) weights, logit and experts have rank 2 and the same token count;
    - (shared_gate_c2) logit and experts have one column.
  }];
  let arguments = (ins Model_Float32Tensor:$weights, Model_Float32Tensor:$logit);
  let results = (outs Model_Float32Tensor:$routed, Model_Float32Tensor:$shared, Model_IndexTensor:$experts);
  let assemblyFormat = "$weights `,` $logit attr-dict `:` type($weights) `,` type($logit) `->` type($experts)";
  let hasVerifier = 1;
}

def Model_ExpertsOp : Model_WeightedOp<"experts", [Pure, AllTypesMatch<["input", "result"]>, MatmulOpInterface]> {
  let summary = "weighted sum of the chosen experts' SwiGLU networks";
  let description = [{
    `result[t] = sum over chosen e of weight * down_e(silu(gate_e x) * (up_e x))`. `gate_up` names the gate and up stacks, or one stack that holds both
    (rows of gate first). Stacks are [experts, out features, in features].

    ```mlir
    %y = model.experts %x, %w, %e gate_up [@layers.0.w1, @layers.0.w3] down @layers.0.w2
        : tensor<?x3072xbf16>, tensor<?x8xf32>, tensor<?x8xi32>
    ```

    **Constraints**
    - (experts_c1) input, weights and experts have rank 2 and the same token count, weights and experts the same columns;
    - (experts_c2) `gate_up` has one or two symbols; the stacks have rank 3 and as many members as `down`;
    - (experts_c3) gate and up are [E, width, columns] each, or together [E, 2 * width, columns], and down is [E, columns, width];
    - (experts_c4) `act_group` is positive and the weights have scales.
  }];
  let arguments = (ins Model_Activation:$input, Model_Float32Tensor:$weights, Model_IndexTensor:$experts, FlatSymbolRefArrayAttr:$gate_up,
      FlatSymbolRefAttr:$down, OptionalAttr<I64Attr>:$act_group);
  let results = (outs Model_Activation:$result);
  let assemblyFormat = [{
    $input `,` $weights `,` $experts `gate_up` $gate_up `down` $down (`act_group` $act_group^)? attr-dict
    `:` type($input) `,` type($weights) `,` type($experts)
  }];
  let hasVerifier = 1;
}

def Model_ExpertsOfCodesOp : Model_WeightedOp<"experts_of_codes", [Pure]> {
  let summary = "experts whose input has been encoded";
  let description = [{
    `model.experts` with that `act_group` of what `model.encode_rows` has made in such groups: the same sums of the same codes. Gate and up are one stack.

    ```mlir
    %y = model.experts_of_codes %codes, %factors, %w, %e gate_up @layers.0.w13 down @layers.0.w2 act_group 128
        : tensor<8x3072xf8E4M3FN>, tensor<8x24xf32>, tensor<8x8xf32>, tensor<8x8xi32> -> tensor<8x3072xbf16>
    ```

    **Constraints**
    - (experts_of_codes_c1) all have rank 2 and the same token count, weights and experts the same columns, codes and result the same columns;
    - (experts_of_codes_c2) gate and up are [E, 2 * width, columns], rows of gate first, and down is [E, columns, width]; both have scales;
    - (experts_of_codes_c3) `act_group` is positive, and there is a factor for each group of columns of codes.
  }];
  let arguments = (ins Model_Codes:$codes, Model_Float32Tensor:$factors, Model_Float32Tensor:$weights, Model_IndexTensor:$experts,
      FlatSymbolRefAttr:$gate_up, FlatSymbolRefAttr:$down, I64Attr:$act_group);
  let results = (outs Model_Activation:$result);
  let assemblyFormat = [{
    $codes `,` $factors `,` $weights `,` $experts `gate_up` $gate_up `down` $down `act_group` $act_group attr-dict
    `:` type($codes) `,` type($factors) `,` type($weights) `,` type($experts) `->` type($result)
  }];
  let hasVerifier = 1;
}

//===----------------------------------------------------------------------===//
// Candidates
//===----------------------------------------------------------------------===//

def Model_TopCandidatesOp : Model_StepOp<"top_candidates", [Pure]> {
  let summary = "the largest logits of each row";
  let description = [{
    The K largest logits of each row and their tokens, in descending order; ties: the lower token. NaN comes before everything, so that whoever samples
    finds it. K is the results' column count. With candidates a step need not hand out whole rows of logits.

    ```mlir
    %v, %t = model.top_candidates %logits : tensor<?x200064xf32> -> tensor<?x64xf32>, tensor<?x64xi32>
    ```

    Over a share of the vocabulary (after `dist-partition`) `dist.vocab_start` is the first token of the share.

    **Constraints**
    - (top_candidates_c1) logits, values and tokens have rank 2 and the same token count;
    - (top_candidates_c2) values and tokens have the same number of columns, at least 1 and at most the logits'.
  }];
  let arguments = (ins Model_Float32Tensor:$logits);
  let results = (outs Model_Float32Tensor:$values, Model_IndexTensor:$tokens);
  let assemblyFormat = "$logits attr-dict `:` type($logits) `->` type($values) `,` type($tokens)";
  let hasVerifier = 1;
}

def Model_MergeCandidatesOp : Model_StepOp<"merge_candidates", [Pure]>, Launches<"merge_candidates"> {
  let summary = "the best of several lists of candidates";
  let description = [{
    The K largest of the given values of each row with their tokens, in descending order, NaN first; ties: the earlier column. So lists of ascending ranges
    of the vocabulary, one behind the other, give what `model.top_candidates` gives of the whole.

    ```mlir
    %v, %t = model.merge_candidates %values, %tokens : tensor<8x512xf32>, tensor<8x512xi32> -> tensor<8x64xf32>, tensor<8x64xi32>
    ```

    **Constraints**
    - (merge_candidates_c1) all have rank 2 and the same token count;
    - (merge_candidates_c2) given values and tokens have the same number of columns, and so have merged ones: at least 1 and at most as many.
  }];
  let arguments = (ins Model_Float32Tensor:$values, Model_IndexTensor:$tokens);
  let results = (outs Model_Float32Tensor:$merged_values, Model_IndexTensor:$merged_tokens);
  let assemblyFormat = "$values `,` $tokens attr-dict `:` type($values) `,` type($tokens) `->` type($merged_values) `,` type($merged_tokens)";
  let hasVerifier = 1;
}

def Model_MapTokensOp : Model_WeightedOp<"map_tokens", [Pure, SameOperandsAndResultType]>, Launches<"map_tokens"> {
  let summary = "tokens of a reduced vocabulary by their number in the whole one";
  let description = [{
    `result = token + table[token]`: drafts that know a part of the vocabulary store how far each of their tokens is from its number there (`d2t`).

    ```mlir
    %t = model.map_tokens %drafted, @draft.d2t : tensor<?x1xi32>
    ```

    **Constraints**
    - (map_tokens_c1) tokens have rank 2;
    - (map_tokens_c2) the table is a weight of i64 of rank 1.
  }];
  let arguments = (ins Model_IndexTensor:$tokens, FlatSymbolRefAttr:$table);
  let results = (outs Model_IndexTensor:$result);
  let assemblyFormat = "$tokens `,` $table attr-dict `:` type($result)";
  let hasVerifier = 1;
}

#endif // SADDLE_MODEL_OPS
