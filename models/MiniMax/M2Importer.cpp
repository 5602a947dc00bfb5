// The math is that of transformers' MiniMaxM2ForCausalLM (5.17): pre-norm
// residual blocks, QK norm over whole vectors, partial NeoX RoPE, sigmoid
// routing with a selection bias.

#include "models/MiniMax/M2Importer.h"

#include "models/Common/FamilyImporter.h"
#include "models/Common/ModuleBuilder.h"
#include "models/MiniMax/M2Model.h"

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
        config(model.config) {}

  OwningOpRef<ModuleOp> build() {
    createWeights([&](int64_t layer) {
      createKVCache(prefix(layer) + "kv", config.attention.kvHeads,
                    config.attention.headDim);
    });
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
    const AttentionSizes &sizes = config.attention;
    q = rope(p + "rope", normed.getQResult(), sizes.headDim, config.rope);
    k = rope(p + "rope", normed.getKResult(), sizes.headDim, config.rope);
    Value a =
        cachedAttention(p + "self_attn", p + "kv", q, k, v, sizes.headDim);
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
    return experts(p, x, router.getWeights(), router.getExperts());
  }

  const M2Config &config;
};

} // namespace

StatusOr<std::unique_ptr<Importer>>
saddle::importM2(const ModelSource &source, const ImportOptions &options) {
  SADDLE_ASSIGN_OR_RETURN(M2Model model, readM2(source, options));
  return std::unique_ptr<Importer>(
      std::make_unique<FamilyImporter<M2Config, M2Builder>>(
          "MiniMaxM2ForCausalLM", std::move(model)));
}
