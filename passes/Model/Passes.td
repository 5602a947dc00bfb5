#ifndef SADDLE_PASSES_MODEL
#define SADDLE_PASSES_MODEL

include "mlir/Pass/PassBase.td"

def VerifyInput : Pass<"model-verify-input", "::mlir::ModuleOp"> {
  let summary = "Check what an importer, or a person, hands in";
  let description = [{
    Opens the `model` level: the module holds `model.weight`s, state and the function `@step`, besides perhaps one for each further program
    (`model.program`), each one block of `model` ops; `model.config` and `model.limits` are there; every weight is used.

    ```mlir
    // error: weight @unused is never used
    model.weight @unused from "unused" dims ["hidden"] : tensor<8xbf16>
    ```
  }];
}

def DecomposeQKNorm : Pass<"model-decompose-qk-norm", "::mlir::ModuleOp"> {
  let summary = "Write the QK norm as a sum of squares and two scalings";
  let description = [{
    The sum is what crosses ranks later: two numbers for each token, both in one tensor, so one exchange serves q and k.

    ```mlir
    %qn, %kn = model.qk_norm %q, %k, @q_norm, @k_norm eps 1.0e-6 : tensor<?x6144xbf16>, tensor<?x1024xbf16>
    ```
    becomes
    ```mlir
    %s = model.sum_of_squares %q, %k : (tensor<?x6144xbf16>, tensor<?x1024xbf16>) -> tensor<?x2xf32>
    %qn = model.rms_scale %q, %s[0], @q_norm divisor 6144 eps 1.0e-6 : tensor<?x6144xbf16>, tensor<?x2xf32> -> tensor<?x6144xbf16>
    %kn = model.rms_scale %k, %s[1], @k_norm divisor 1024 eps 1.0e-6 : tensor<?x1024xbf16>, tensor<?x2xf32> -> tensor<?x1024xbf16>
    ```
  }];
  let dependentDialects = ["::saddle::model::ModelDialect"];
}

def AssignQuantization : Pass<"model-assign-quantization", "::mlir::ModuleOp"> {
  let summary = "State how activations meet weights with scales";
  let description = [{
    Every `model.linear` and `model.experts` over weights with scales and bf16 activations gets `act_group`: the columns that share a scale. With f32
    activations nothing is quantised on the fly: that is the oracle mode, in which weights are dequantised exactly.

    ```mlir
    %q = model.linear %x, @q_proj : tensor<?x3072xbf16> -> tensor<?x6144xbf16>
    ```
    becomes
    ```mlir
    %q = model.linear %x, @q_proj act_group 128 : tensor<?x3072xbf16> -> tensor<?x6144xbf16>
    ```
  }];
}

def SpecializeBuckets : Pass<"model-specialize-buckets", "::mlir::ModuleOp"> {
  let summary = "One function with static shapes for each phase and token count";
  let description = [{
    `@step`, and the function of every further program, is cloned once for every decode bucket (as many logits rows as tokens) and once for the prefill
    chunk, then removed. The prefill function yields logits for at most `prefill-rows` tokens of a chunk. Weights and caches stay shared symbols.

    With `spec-tokens` K a sequence has up to K + 1 tokens in a decode step, one and K drafted ones: for every decode bucket there is one of K + 1
    times as many tokens besides.

    ```mlir
    func.func @step(%tokens: tensor<?xi32>, ...) -> tensor<?x200064xf32>
    ```
    becomes
    ```mlir
    func.func @decode_1(%tokens: tensor<1xi32>, ...) -> tensor<1x200064xf32> attributes {model.phase = "decode"}
    func.func @prefill_128(%tokens: tensor<128xi32>, ...) -> tensor<32x200064xf32> attributes {model.phase = "prefill"}
    ```
  }];
  let options = [
    ListOption<"buckets", "buckets", "int64_t", "Token counts of the decode functions; default: powers of two up to max_batch, and max_batch">,
    Option<"specTokens", "spec-tokens", "int64_t", /*default=*/"0", "Drafted tokens of a sequence that a decode step verifies">,
    Option<"prefillRows", "prefill-rows", "int64_t", /*default=*/"0", "Logits rows of the prefill function; default: max(max_batch, 32), at most the chunk">,
  ];
}

def SinkRMSFactors : Pass<"model-sink-rms-factors", "::mlir::ModuleOp"> {
  let summary = "Divide by a norm's root mean square behind the product that follows";
  let description = [{
    The root mean square of a norm is one number for each token, so it commutes with a gate and a product. In decode functions a `model.rms_scale` that
    only a `model.sigmoid_gate` and, behind it, one `model.linear` read leaves its weight in front and its factor behind:

    ```mlir
    %n = model.rms_scale %y, %s[0], @norm divisor 8192 eps 1.0e-6 : tensor<8x8192xbf16>, tensor<8x1xf32> -> tensor<8x8192xbf16>
    %g = model.sigmoid_gate %n, %gate : tensor<8x8192xbf16>
    %o = model.linear %g, @out_proj : tensor<8x8192xbf16> -> tensor<8x6144xbf16>
    ```
    becomes
    ```mlir
    %n = model.scale_columns %y, @norm : tensor<8x8192xbf16>
    %g = model.sigmoid_gate %n, %gate : tensor<8x8192xbf16>
    %p = model.linear %g, @out_proj : tensor<8x8192xbf16> -> tensor<8x6144xbf16>
    %o = model.divide_by_rms %p, %s[0] divisor 8192 eps 1.0e-6 : tensor<8x6144xbf16>, tensor<8x1xf32>
    ```

    Across ranks the sum of squares then waits for the product's partial sums, and both meet in one exchange. The mathematics are the same, roundings are
    not: without this pass ops stand in the order of the published code. Products over quantised activations may be moved across, because a group's scale
    takes up the factor. Prefill functions stay as they are: they wait for bytes, not for exchanges, and would read and write rows once more.
    Decode functions of which none has such a factor are an error: who asked for the pass expects something.
  }];
  let dependentDialects = ["::saddle::model::ModelDialect"];
}

def VerifyStatic : Pass<"model-verify-static", "::mlir::ModuleOp"> {
  let summary = "Close the model level: every shape is static";
  let description = [{
    Every argument and every result of every function has a static shape, and every function is one block and carries `model.phase`. No `model.qk_norm`
    is left.
  }];
}

#endif // SADDLE_PASSES_MODEL
