#include "models/Eagle3/Eagle3Weights.h"

#include "models/DraftOptions.h"

namespace saddle {

namespace {

/// What varies between published folders.
struct Spelling {
  std::string layer = "layers.0."; // "midlayer." in older ones
  bool hasTable = true, hasHead = true;
};

Spelling spellingOf(const Checkpoint &checkpoint) {
  auto has = [&](const char *name) {
    return checkpoint.tensors.count(name) != 0;
  };
  Spelling spelling;
  if (has("midlayer.hidden_norm.weight"))
    spelling.layer = "midlayer.";
  spelling.hasTable = has("embed_tokens.weight");
  spelling.hasHead = has("lm_head.weight");
  return spelling;
}

StatusOr<ModelWeights> listWeights(const Eagle3Config &config,
                                   const Spelling &spelling,
                                   const std::string &configPath) {
  const std::string prefix = std::string(kDraftName) + ".";
  const AttentionSizes &sizes = config.attention;
  auto dim = [&](const char *name, int64_t extent, int64_t unit = 1) {
    return Dimension{prefix + name, uint64_t(extent), uint64_t(unit)};
  };
  // Dimensions that nobody splits need no prefix.
  const Dimension hidden{"hidden", uint64_t(config.hidden)},
      tapped{"hidden", uint64_t(config.targetHidden)},
      taps{"features", uint64_t(config.taps * config.targetHidden)},
      pair{"features", uint64_t(2 * config.hidden)};
  const Dimension qHeads = dim("q_heads", sizes.qWidth(), sizes.headDim),
                  kvHeads = dim("kv_heads", sizes.kvWidth(), sizes.headDim),
                  width = dim("dense_width", config.width),
                  embedded = dim("embedding_vocab", config.vocab),
                  vocab = dim("vocab", config.draftVocab);

  WeightLister list(config.dtype, config.quantisation, configPath);
  auto add = [&](const std::string &symbol, const std::string &tensor,
                 const std::vector<Dimension> &dims) {
    list.add(prefix + symbol, tensor + ".weight", dims);
  };
  auto project = [&](const std::string &symbol, const std::string &module,
                     const std::vector<Dimension> &dims) {
    list.addProjection(prefix + symbol, module, dims);
  };
  const std::string &at = spelling.layer;
  if (spelling.hasTable)
    add("embed", "embed_tokens", {embedded, hidden});
  if (config.normEachTap)
    for (int64_t i = 0; i < config.taps; ++i)
      add("fc_norm." + std::to_string(i), "fc_norm." + std::to_string(i),
          {tapped});
  if (config.normAllTaps)
    add("taps_norm", "input_norm", {taps});
  project("fc", "fc", {hidden, taps});
  add("input_norm", at + "input_layernorm", {hidden});
  add("hidden_norm", at + "hidden_norm", {hidden});
  project("q_proj", at + "self_attn.q_proj", {qHeads, pair});
  project("k_proj", at + "self_attn.k_proj", {kvHeads, pair});
  project("v_proj", at + "self_attn.v_proj", {kvHeads, pair});
  project("o_proj", at + "self_attn.o_proj", {hidden, qHeads});
  add("post_attention_norm", at + "post_attention_layernorm", {hidden});
  project("gate_proj", at + "mlp.gate_proj", {width, hidden});
  project("up_proj", at + "mlp.up_proj", {width, hidden});
  project("down_proj", at + "mlp.down_proj", {hidden, width});
  add("final_norm", "norm", {hidden});
  if (spelling.hasHead)
    add("lm_head", "lm_head", {vocab, hidden});
  if (config.isReduced())
    list.add(prefix + "d2t", "d2t",
             {{"drafted_vocab", uint64_t(config.draftVocab)}})
        .dtype = TensorDType::I64;
  return list.take();
}

} // namespace

StatusOr<ModelWeights> readEagle3Weights(const Eagle3Config &config,
                                         const ModelSource &source) {
  Spelling spelling;
  if (!source.folder.empty()) {
    SADDLE_ASSIGN_OR_RETURN(Checkpoint checkpoint,
                            Checkpoint::open(source.folder));
    spelling = spellingOf(checkpoint);
  }
  SADDLE_ASSIGN_OR_RETURN(ModelWeights weights,
                          listWeights(config, spelling, source.configPath));
  weights.checkpoint = kDraftName;
  AccountingRules rules{source.configPath, config.quantisation, {}, ""};
  rules.ignore.push_back(
      {"*.rotary_emb.inv_freq", "recomputed from rope_theta"});
  rules.ignore.push_back({"t2d", "tokens that can be drafted: training only"});
  rules.sizes = "draft_vocab_size = " + std::to_string(config.draftVocab);
  SADDLE_RETURN_IF_ERROR(source.resolve({}, rules, weights));
  return weights;
}

} // namespace saddle
