#include "models/Eagle3/Eagle3Config.h"

#include <cinttypes>

namespace saddle {

namespace {

constexpr FixedField fixedFields[] = {
    {"num_hidden_layers", "[1]",
     "drafts of several layers are not "
     "implemented"},
    {"hidden_act", R"(["silu"])", "other activations are not implemented"},
    {"attention_bias", "[false]", "biased projections are not implemented"},
    {"qkv_bias", "[false]", "biased projections are not implemented"},
    {"mlp_bias", "[false]", "biased projections are not implemented"},
    {"logit_scale", "[1]", "scaled logits are not implemented"},
    {"parallel_drafting", "[false]",
     "drafting several tokens at once is not implemented"},
};

constexpr UnusedField unusedFields[] = {
    {"bos_token_id", "the target's tokens begin and end a text"},
    {"eos_token_id", "the target's tokens begin and end a text"},
    {"max_position_embeddings", "the target's limit holds"},
    {"max_window_layers", "about windowed attention, which is refused"},
    {"num_lookahead_tokens",
     "how many tokens are drafted is the user's choice"},
    {"pretraining_tp", "training only"},
    {"tie_word_embeddings", "which tables there are shows in the folder"},
    {"ttt_length", "training only"},
};

class Parser {
public:
  Parser(ConfigReader reader, std::vector<std::string> &warnings)
      : reader(std::move(reader)), warnings(warnings) {}

  StatusOr<Eagle3Config> run() {
    config.hidden = readSize(reader, "hidden_size", maxWidth);
    config.width = readSize(reader, "intermediate_size", maxWidth);
    config.vocab = readSize(reader, "vocab_size", maxVocab);
    config.rmsNormEps =
        reader.number("rms_norm_eps", 0, ConfigReader::Required).value_or(1);
    readAttention();
    config.rope = readRope(reader, config.attention.headDim,
                           RotaryDefault::AllDims, warnings);
    config.targetHidden = reader.integer("target_hidden_size", 1, maxWidth)
                              .value_or(config.hidden);
    config.draftVocab =
        reader.integer("draft_vocab_size", 1, maxVocab).value_or(config.vocab);
    if (config.draftVocab > config.vocab)
      reader.fail("draft_vocab_size",
                  "%" PRId64 " exceeds vocab_size = %" PRId64,
                  config.draftVocab, config.vocab);
    readTaps(reader);
    if (auto eagle = reader.object("eagle_config"))
      readEagle(*eagle);
    // A list is how many there are, too.
    if (!config.tapLayers.empty())
      config.taps = int64_t(config.tapLayers.size());
    config.normEachTap = reader.boolean("fc_norm").value_or(false);
    config.normAllTaps |= reader.boolean("norm_before_fc").value_or(false);
    config.carriesNormed = reader.boolean("norm_output").value_or(false);
    config.normBeforeResidual =
        reader.boolean("norm_before_residual").value_or(false);
    if (config.normEachTap && config.normAllTaps)
      reader.fail("norm_before_fc", "true contradicts fc_norm = true; hidden "
                                    "states are normed one by one or together");
    config.dtype = readDType(reader);
    config.quantisation = readQuantisation(reader, warnings);
    acceptFixed(reader, fixedFields);
    refuseWindows(reader);
    SADDLE_RETURN_IF_ERROR(reader.status());
    skipGenericFields(reader);
    skipUnused(reader, unusedFields);
    warnUnknownFields(reader, warnings);
    return std::move(config);
  }

private:
  /// A Llama without `head_dim` divides its width by its heads, and one without
  /// `num_key_value_heads` has as many as query heads.
  void readAttention() {
    AttentionSizes &sizes = config.attention;
    sizes.heads = readSize(reader, "num_attention_heads", maxWidth);
    sizes.kvHeads = reader.integer("num_key_value_heads", 1, maxWidth)
                        .value_or(sizes.heads);
    sizes.headDim = reader.integer("head_dim", 1, maxWidth)
                        .value_or(config.hidden / sizes.heads);
    if (sizes.headDim < 1)
      sizes.headDim = 1;
    checkAttentionSizes(reader, sizes);
  }

  void readTaps(ConfigReader &from) {
    constexpr const char *kLayers = "eagle_aux_hidden_state_layer_ids";
    if (auto layers = from.integers(kLayers, 0, maxLayers)) {
      if (!config.tapLayers.empty() && config.tapLayers != *layers)
        from.fail(kLayers, "contradicts the list outside eagle_config");
      config.tapLayers = *layers;
      for (size_t i = 1; i < layers->size(); ++i)
        if ((*layers)[i] <= (*layers)[i - 1])
          from.failExpected(kLayers, "ascending layers");
      if (layers->empty() || layers->size() > kMostTaps)
        from.failExpected(kLayers, "1 to 8 layers");
    }
    config.taps = from.integer("num_aux_hidden_states", 1, kMostTaps)
                      .value_or(config.taps);
  }

  void readEagle(ConfigReader eagle) {
    eagle.accept("use_aux_hidden_state", "[true]",
                 "drafts that see the last hidden state only are not "
                 "implemented");
    readTaps(eagle);
    config.normAllTaps |= eagle.boolean("norm_before_fc").value_or(false);
    warnUnknownFields(eagle, warnings);
  }

  static constexpr int64_t kMostTaps = 8; // of one concatenation

  ConfigReader reader;
  std::vector<std::string> &warnings;
  Eagle3Config config;
};

} // namespace

StatusOr<Eagle3Config> readEagle3Config(ConfigReader reader,
                                        std::vector<std::string> &warnings) {
  return Parser(std::move(reader), warnings).run();
}

} // namespace saddle
