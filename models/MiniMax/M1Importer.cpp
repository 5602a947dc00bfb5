// The math is that of the code published with MiniMax-Text-01 and M1; where
// transformers' MiniMaxForCausalLM differs from it, in partial RoPE and in
// decays for other numbers of heads than powers of two, the published code
// counts.

#include "models/MiniMax/M1Importer.h"

#include "models/Common/FamilyImporter.h"
#include "models/Common/ModuleBuilder.h"
#include "models/MiniMax/M1Model.h"

using namespace mlir;
using namespace saddle;
using namespace saddle::model;

namespace {

class M1Builder : private ModuleBuilder {
public:
  M1Builder(MLIRContext &context, const std::string &name,
            const ModelFacts &facts, const M1Model &model,
            const BuildOptions &options)
      : ModuleBuilder(context, name, facts, model.weights, options),
        config(model.config) {}

  OwningOpRef<ModuleOp> build() {
    createWeights([&](int64_t layer) { createState(layer); });
    Value x = beginStep("embed");
    for (int64_t i = 0; i < config.layers; ++i) {
      std::string p = prefix(i);
      bool isLinear = config.isLinear[size_t(i)];
      x = layerBoundary(p + "boundary", x, i);
      Value n = norm(p + "input_norm", x, config.rmsNormEps);
      x = residual(p + "attention_residual", config.postNorm ? n : x,
                   isLinear ? linearAttention(i, n) : fullAttention(p, n),
                   isLinear ? config.linearFactors : config.fullFactors);
      Value m = norm(p + "post_attention_norm", x, config.rmsNormEps);
      x = residual(p + "experts_residual", config.postNorm ? m : x,
                   mixtureOfExperts(p, m), config.expertFactors);
    }
    finishStep(x, "final_norm", config.rmsNormEps,
               config.tieWordEmbeddings ? "embed" : "lm_head");
    return take();
  }

private:
  void createState(int64_t layer) {
    const AttentionSizes &sizes = config.attention;
    if (config.isLinear[size_t(layer)])
      createRecurrentState(prefix(layer) + "recurrent", sizes.heads,
                           sizes.headDim, sizes.headDim);
    else
      createKVCache(prefix(layer) + "kv", sizes.kvHeads, sizes.headDim);
  }

  Value residual(const std::string &place, Value x, Value branch,
                 const ResidualFactors &factors) {
    if (factors.alpha == 1 && factors.beta == 1)
      return add(place, x, branch);
    return ScaledAddOp::create(builder, loc(place), x.getType(), x, branch,
                               builder.getF64FloatAttr(factors.alpha),
                               builder.getF64FloatAttr(factors.beta));
  }

  /// SiLU before the heads are taken apart, the recurrence, a norm over all
  /// heads, and a gate that sees the layer's input.
  Value linearAttention(int64_t layer, Value x) {
    std::string p = prefix(layer);
    int64_t width = config.attention.qWidth();
    Value qkv = linear(p + "qkv_proj", x, 3 * width);
    qkv = SiLUOp::create(builder, loc(p + "silu"), qkv.getType(), qkv);
    Value y =
        DecayScanOp::create(builder, loc(p + "decay_scan"), activation(width),
                            qkv, ref(p + "recurrent"), context,
                            builder.getI64IntegerAttr(config.attention.heads),
                            builder.getF64FloatAttr(config.decayRate(layer)));
    // A norm of rows that ranks share.
    Value sums = SumOfSquaresOp::create(builder, loc(p + "scan_norm"),
                                        activation(1, builder.getF32Type()),
                                        ValueRange{y});
    y = RMSScaleOp::create(builder, loc(p + "scan_norm"), y.getType(), y, sums,
                           builder.getI64IntegerAttr(0), ref(p + "scan_norm"),
                           builder.getI64IntegerAttr(width),
                           builder.getF64FloatAttr(scanNormEps));
    Value gate = linear(p + "output_gate", x, width);
    y = SigmoidGateOp::create(builder, loc(p + "gated"), y.getType(), y, gate);
    return linear(p + "out_proj", y, config.hidden);
  }

  Value fullAttention(const std::string &p, Value x) {
    const AttentionSizes &sizes = config.attention;
    Value q = linear(p + "q_proj", x, sizes.qWidth());
    Value k = linear(p + "k_proj", x, sizes.kvWidth());
    Value v = linear(p + "v_proj", x, sizes.kvWidth());
    q = rope(p + "rope", q, sizes.headDim, config.rope);
    k = rope(p + "rope", k, sizes.headDim, config.rope);
    Value a =
        cachedAttention(p + "self_attn", p + "kv", q, k, v, sizes.headDim);
    return linear(p + "o_proj", a, config.hidden);
  }

  Value mixtureOfExperts(const std::string &p, Value x) {
    Value logits =
        linear(p + "router", x, config.experts, builder.getF32Type());
    auto router = SoftmaxRouterOp::create(
        builder, loc(p + "router"),
        activation(config.topK, builder.getF32Type()),
        activation(config.topK, builder.getI32Type()), logits);
    if (config.sharedIntermediate == 0)
      return experts(p, x, router.getWeights(), router.getExperts());
    Value coefficient = linear(p + "shared_gate", x, 1, builder.getF32Type());
    auto gate = SharedGateOp::create(
        builder, loc(p + "shared_gate"), router.getWeights().getType(),
        coefficient.getType(), activation(1, builder.getI32Type()),
        router.getWeights(), coefficient);
    Value routed = experts(p, x, gate.getRouted(), router.getExperts());
    Value shared =
        experts(p + "shared_", x, gate.getShared(), gate.getExperts());
    return BranchSumOp::create(builder, loc(p + "shared_sum"), routed, shared);
  }

  const M1Config &config;
};

} // namespace

StatusOr<std::unique_ptr<Importer>>
saddle::importM1(const ModelSource &source, const ImportOptions &options) {
  SADDLE_ASSIGN_OR_RETURN(M1Model model, readM1(source, options));
  std::string architecture = model.config.architecture;
  return std::unique_ptr<Importer>(
      std::make_unique<FamilyImporter<M1Config, M1Builder>>(architecture,
                                                            std::move(model)));
}
