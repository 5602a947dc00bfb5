// The math is that of transformers' MiniMaxM2ForCausalLM (5.17): pre-norm
// residual blocks, QK norm over whole vectors, partial NeoX RoPE, sigmoid
// routing with a selection bias.

#include "models/MiniMax/M2Importer.h"

#include "models/Common/ModuleBuilder.h"
#include "models/MiniMax/M2Model.h"

#include <cmath>

using namespace mlir;
using namespace saddle;
using namespace saddle::model;

namespace {

class M2Builder : private ModuleBuilder {
public:
  M2Builder(MLIRContext &context, const std::string &name,
            const ModelFacts &facts, const M2Model &model,
            const BuildOptions &options)
      : ModuleBuilder(context, name, facts, model.weights, options),
        config(model.config), weights(model.weights) {}

  OwningOpRef<ModuleOp> build() {
    createSymbols();
    Value x = beginStep("embed");
    for (int64_t i = 0; i < config.layers; ++i) {
      std::string p = prefix(i);
      x = layerBoundary(p + "boundary", x, i);
      Value a = attention(p, rmsNorm(p + "input_norm", x));
      x = add(p + "attention_residual", x, a);
      Value m = mixtureOfExperts(p, rmsNorm(p + "post_attention_norm", x));
      x = add(p + "experts_residual", x, m);
    }
    finishStep(x, "final_norm", config.rmsNormEps,
               config.tieWordEmbeddings ? "embed" : "lm_head");
    return take();
  }

private:
  static std::string prefix(int64_t layer) {
    return "layers." + std::to_string(layer) + ".";
  }

  /// Each layer's cache stands behind its weights.
  void createSymbols() {
    int64_t layer = -1;
    for (const ModelWeight &weight : weights.used) {
      if (weight.layer != layer && layer >= 0)
        createKVCache(prefix(layer) + "kv", config.attention.kvHeads,
                      config.attention.headDim);
      layer = weight.layer;
      createWeight(weight);
    }
  }

  Value rmsNorm(const std::string &symbol, Value x) {
    return norm(symbol, x, config.rmsNormEps);
  }

  Value attention(const std::string &p, Value x) {
    Value q = linear(p + "q_proj", x, config.attention.qWidth());
    Value k = linear(p + "k_proj", x, config.attention.kvWidth());
    Value v = linear(p + "v_proj", x, config.attention.kvWidth());
    auto normed =
        QKNormOp::create(builder, loc(p + "qk_norm"), q.getType(), k.getType(),
                         q, k, ref(p + "q_norm"), ref(p + "k_norm"),
                         builder.getF64FloatAttr(config.rmsNormEps));
    auto rope = [&](Value value) -> Value {
      return RopeOp::create(builder, loc(p + "rope"), value.getType(), value,
                            positions,
                            builder.getI64IntegerAttr(config.attention.headDim),
                            builder.getI64IntegerAttr(config.rope.dims),
                            builder.getF64FloatAttr(config.rope.theta));
    };
    Value rotatedQ = rope(normed.getQResult());
    Value rotatedK = rope(normed.getKResult());
    KVAppendOp::create(builder, loc(p + "kv_append"), rotatedK, v,
                       ref(p + "kv"), context);
    double scale =
        1.0 / std::sqrt(static_cast<double>(config.attention.headDim));
    Value a = AttentionOp::create(builder, loc(p + "self_attn"),
                                  rotatedQ.getType(), rotatedQ, ref(p + "kv"),
                                  context, builder.getF64FloatAttr(scale));
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

  const M2Config &config;
  const ModelWeights &weights;
};

class M2Importer : public Importer {
public:
  explicit M2Importer(M2Model read) : model(std::move(read)) {
    const M2Config &config = model.config;
    modelFacts.architecture = "MiniMaxM2ForCausalLM";
    modelFacts.hidden = config.hidden;
    modelFacts.layers = config.layers;
    modelFacts.vocab = config.vocab;
    modelFacts.maxPositions = config.maxPositions;
    modelFacts.tokens = config.tokens;
    modelFacts.fingerprint = model.weights.fingerprint();
  }

  const ModelFacts &facts() const override { return modelFacts; }
  const std::vector<std::string> &warnings() const override {
    return model.warnings;
  }
  OwningOpRef<ModuleOp> build(MLIRContext &context, const std::string &name,
                              const BuildOptions &options) const override {
    return M2Builder(context, name, modelFacts, model, options).build();
  }

private:
  M2Model model;
  ModelFacts modelFacts;
};

} // namespace

StatusOr<std::unique_ptr<Importer>>
saddle::importM2(const ModelSource &source, const ImportOptions &options) {
  SADDLE_ASSIGN_OR_RETURN(M2Model model, readM2(source, options));
  return std::unique_ptr<Importer>(
      std::make_unique<M2Importer>(std::move(model)));
}
