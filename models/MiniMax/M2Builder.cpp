// The math is that of transformers' MiniMaxM2ForCausalLM (5.17): pre-norm
// residual blocks, QK norm over whole vectors, partial NeoX RoPE, sigmoid
// routing with a selection bias.

#include "models/MiniMax/M2Builder.h"

#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/IR/Builders.h"

#include <cmath>

using namespace mlir;
using namespace saddle;
using namespace saddle::model;

static Type elementType(Builder &builder, TensorDType dtype) {
  switch (dtype) {
  case TensorDType::F32:
    return builder.getF32Type();
  case TensorDType::BF16:
    return builder.getBF16Type();
  case TensorDType::F16:
    return builder.getF16Type();
  case TensorDType::F8E4M3:
    return builder.getType<Float8E4M3FNType>();
  case TensorDType::I32:
    return builder.getI32Type();
  case TensorDType::I64:
    return builder.getI64Type();
  case TensorDType::U8:
  case TensorDType::Other:
    break;
  }
  return builder.getIntegerType(8, /*isSigned=*/false);
}

namespace {

class M2Builder {
public:
  M2Builder(MLIRContext &context, const M2Model &model, const std::string &name,
            const BuildOptions &options)
      : builder(&context), config(model.config), weights(model.weights),
        name(name), options(options),
        compute(elementType(builder, options.computeDType)) {}

  OwningOpRef<ModuleOp> build() {
    OwningOpRef<ModuleOp> module =
        ModuleOp::create(NameLoc::get(builder.getStringAttr(name)));
    setAttributes(*module);
    builder.setInsertionPointToEnd(module->getBody());
    createSymbols();
    createStep(module->getLoc());
    return module;
  }

private:
  //===--------------------------------------------------------------------===//
  // Module attributes
  //===--------------------------------------------------------------------===//

  NamedAttribute attr(StringRef key, int64_t value) {
    return builder.getNamedAttr(key, builder.getI64IntegerAttr(value));
  }
  NamedAttribute attr(StringRef key, const Twine &value) {
    return builder.getNamedAttr(key, builder.getStringAttr(value));
  }

  void setAttributes(ModuleOp module) {
    SmallVector<NamedAttribute> attrs = {
        attr("architecture", Twine("MiniMaxM2ForCausalLM")),
        attr("name", Twine(name)),
        attr("hidden_size", config.hidden),
        attr("num_hidden_layers", config.layers),
        attr("num_attention_heads", config.heads),
        attr("num_key_value_heads", config.kvHeads),
        attr("head_dim", config.headDim),
        attr("intermediate_size", config.expertIntermediate),
        attr("num_local_experts", config.experts),
        attr("num_experts_per_tok", config.topK),
        attr("vocab_size", config.vocab),
        attr("bos_token_id",
             config.bosTokenIds.empty() ? -1 : config.bosTokenIds.front()),
        attr("compute_dtype", Twine(dtypeName(options.computeDType))),
        attr("kv_dtype", Twine(dtypeName(options.kvDType))),
        attr("fingerprint", Twine(weights.fingerprint)),
        builder.getNamedAttr("eos_token_ids",
                             builder.getDenseI64ArrayAttr(config.eosTokenIds)),
    };
    module->setAttr(ModelDialect::kConfigAttrName,
                    builder.getDictionaryAttr(attrs));
    options.limits.set(module);

    SmallVector<NamedAttribute> ignored;
    auto ignore = [&](const std::string &source, uint64_t stack,
                      TensorDType dtype, const std::vector<uint64_t> &shape,
                      const std::string &reason) {
      SmallVector<int64_t> extents(shape.begin(), shape.end());
      auto type = RankedTensorType::get(extents, elementType(builder, dtype));
      ignored.push_back(builder.getNamedAttr(
          source, builder.getDictionaryAttr(
                      {attr("reason", Twine(reason)),
                       attr("stack", static_cast<int64_t>(stack)),
                       builder.getNamedAttr("type", TypeAttr::get(type))})));
    };
    for (const IgnoredWeight &weight : weights.ignored) {
      const WeightSpec &spec = weight.spec;
      ignore(spec.name, spec.stack, spec.dtype, spec.shape, weight.reason);
      if (spec.hasScale())
        ignore(spec.scaleName, spec.stack, TensorDType::F32, spec.scaleShape,
               weight.reason);
    }
    if (!ignored.empty())
      module->setAttr(ModelDialect::kIgnoredSourcesAttrName,
                      builder.getDictionaryAttr(ignored));
  }

  //===--------------------------------------------------------------------===//
  // Symbols
  //===--------------------------------------------------------------------===//

  Location loc(const Twine &place) {
    return NameLoc::get(builder.getStringAttr(place));
  }

  void createWeight(const Twine &symbol, const WeightSpec &spec,
                    ArrayRef<StringRef> dims) {
    SmallVector<int64_t> shape;
    if (spec.stack)
      shape.push_back(spec.stack);
    shape.append(spec.shape.begin(), spec.shape.end());
    StringAttr scale;
    DenseI64ArrayAttr blocks;
    if (spec.hasScale()) {
      scale = builder.getStringAttr(spec.scaleName);
      blocks =
          builder.getDenseI64ArrayAttr({config.fp8->rows, config.fp8->columns});
    }
    WeightOp::create(builder, loc(symbol), builder.getStringAttr(symbol),
                     builder.getStringAttr(spec.name),
                     builder.getStrArrayAttr(dims), scale, blocks,
                     TypeAttr::get(RankedTensorType::get(
                         shape, elementType(builder, spec.dtype))));
  }

  static std::string prefix(size_t layer) {
    return "layers." + std::to_string(layer) + ".";
  }

  void createSymbols() {
    createWeight("embed", weights.embed, {"embedding_vocab", "hidden"});
    for (size_t i = 0; i < weights.layers.size(); ++i) {
      const M2LayerWeights &layer = weights.layers[i];
      std::string p = prefix(i);
      createWeight(p + "input_norm", layer.inputNorm, {"hidden"});
      createWeight(p + "q_proj", layer.q, {"q_heads", "hidden"});
      createWeight(p + "k_proj", layer.k, {"kv_heads", "hidden"});
      createWeight(p + "v_proj", layer.v, {"kv_heads", "hidden"});
      createWeight(p + "q_norm", layer.qNorm, {"q_heads"});
      createWeight(p + "k_norm", layer.kNorm, {"kv_heads"});
      createWeight(p + "o_proj", layer.o, {"hidden", "q_heads"});
      createWeight(p + "post_attention_norm", layer.postAttentionNorm,
                   {"hidden"});
      createWeight(p + "router", layer.gate, {"router_experts", "hidden"});
      createWeight(p + "router_bias", layer.correctionBias, {"router_experts"});
      createWeight(p + "w1", layer.w1, {"experts", "expert_width", "hidden"});
      createWeight(p + "w3", layer.w3, {"experts", "expert_width", "hidden"});
      createWeight(p + "w2", layer.w2, {"experts", "hidden", "expert_width"});
      KVCacheOp::create(builder, loc(p + "kv"), builder.getStringAttr(p + "kv"),
                        builder.getI64IntegerAttr(config.kvHeads),
                        builder.getI64IntegerAttr(config.headDim),
                        TypeAttr::get(elementType(builder, options.kvDType)));
    }
    createWeight("final_norm", weights.finalNorm, {"hidden"});
    if (!weights.tied)
      createWeight("lm_head", weights.lmHead, {"vocab", "hidden"});
  }

  //===--------------------------------------------------------------------===//
  // @step(tokens, positions, rows, context) -> logits[, values, tokens]
  //===--------------------------------------------------------------------===//

  Type activation(int64_t columns, Type element = {}) {
    return RankedTensorType::get({ShapedType::kDynamic, columns},
                                 element ? element : compute);
  }

  FlatSymbolRefAttr ref(const Twine &symbol) {
    return FlatSymbolRefAttr::get(builder.getStringAttr(symbol));
  }

  Value norm(const std::string &symbol, Value x) {
    return RMSNormOp::create(builder, loc(symbol), x.getType(), x, ref(symbol),
                             builder.getF64FloatAttr(config.rmsNormEps));
  }

  Value linear(const std::string &symbol, Value x, int64_t columns,
               Type element = {}) {
    return LinearOp::create(builder, loc(symbol), activation(columns, element),
                            x, ref(symbol), /*act_group=*/IntegerAttr());
  }

  Value attention(const std::string &p, Value x) {
    std::string place = p + "self_attn";
    Value q = linear(p + "q_proj", x, config.qWidth());
    Value k = linear(p + "k_proj", x, config.kvWidth());
    Value v = linear(p + "v_proj", x, config.kvWidth());
    auto normed =
        QKNormOp::create(builder, loc(p + "qk_norm"), q.getType(), k.getType(),
                         q, k, ref(p + "q_norm"), ref(p + "k_norm"),
                         builder.getF64FloatAttr(config.rmsNormEps));
    auto rope = [&](Value value) -> Value {
      return RopeOp::create(builder, loc(p + "rope"), value.getType(), value,
                            positions,
                            builder.getI64IntegerAttr(config.headDim),
                            builder.getI64IntegerAttr(config.rotaryDim),
                            builder.getF64FloatAttr(config.ropeTheta));
    };
    Value rotatedQ = rope(normed.getQResult());
    Value rotatedK = rope(normed.getKResult());
    KVAppendOp::create(builder, loc(p + "kv_append"), rotatedK, v,
                       ref(p + "kv"), context);
    double scale = 1.0 / std::sqrt(static_cast<double>(config.headDim));
    Value a = AttentionOp::create(builder, loc(place), rotatedQ.getType(),
                                  rotatedQ, ref(p + "kv"), context,
                                  builder.getF64FloatAttr(scale));
    return linear(p + "o_proj", a, config.hidden);
  }

  Value mixtureOfExperts(const std::string &p, Value x) {
    Value logits =
        linear(p + "router", x, config.experts, builder.getF32Type());
    auto router = RouterOp::create(
        builder, loc(p + "router"),
        activation(config.topK, builder.getF32Type()),
        activation(config.topK, builder.getI32Type()), logits,
        ref(p + "router_bias"), builder.getF64FloatAttr(config.routedScaling));
    return ExpertsOp::create(
        builder, loc(p + "experts"), x.getType(), x, router.getWeights(),
        router.getExperts(),
        builder.getArrayAttr({ref(p + "w1"), ref(p + "w3")}), ref(p + "w2"),
        /*act_group=*/IntegerAttr());
  }

  void createStep(Location location) {
    Type indices =
        RankedTensorType::get({ShapedType::kDynamic}, builder.getI32Type());
    int64_t count = std::min(options.candidates, config.vocab);
    SmallVector<Type> outputs = {
        activation(config.vocab, builder.getF32Type())};
    if (count > 0)
      outputs.append({activation(count, builder.getF32Type()),
                      activation(count, builder.getI32Type())});
    auto type = builder.getFunctionType(
        {indices, indices, indices, builder.getType<ContextType>()}, outputs);
    auto step = func::FuncOp::create(builder, location, "step", type);
    Block *body = step.addEntryBlock();
    builder.setInsertionPointToStart(body);
    positions = body->getArgument(1);
    context = body->getArgument(3);

    Value x =
        EmbeddingOp::create(builder, loc("embed"), activation(config.hidden),
                            body->getArgument(0), ref("embed"));
    for (size_t i = 0; i < weights.layers.size(); ++i) {
      std::string p = prefix(i);
      x = LayerBoundaryOp::create(builder, loc(p + "boundary"), x.getType(), x,
                                  builder.getI64IntegerAttr(i));
      Value a = attention(p, norm(p + "input_norm", x));
      x = AddOp::create(builder, loc(p + "attention_residual"), x, a);
      Value m = mixtureOfExperts(p, norm(p + "post_attention_norm", x));
      x = AddOp::create(builder, loc(p + "experts_residual"), x, m);
    }
    Value selected = SelectRowsOp::create(builder, loc("select_rows"),
                                          x.getType(), x, body->getArgument(2));
    Value logits =
        linear(weights.tied ? "embed" : "lm_head", norm("final_norm", selected),
               config.vocab, builder.getF32Type());
    SmallVector<Value> results = {logits};
    if (count > 0)
      llvm::append_range(results,
                         TopCandidatesOp::create(builder, loc("candidates"),
                                                 outputs[1], outputs[2], logits)
                             .getResults());
    func::ReturnOp::create(builder, loc("logits"), results);
  }

  OpBuilder builder;
  const M2Config &config;
  const M2Weights &weights;
  const std::string &name;
  const BuildOptions &options;
  Type compute;
  Value positions, context;
};

} // namespace

OwningOpRef<ModuleOp> saddle::buildM2(MLIRContext &context,
                                      const M2Model &model,
                                      const std::string &name,
                                      const BuildOptions &options) {
  return M2Builder(context, model, name, options).build();
}
