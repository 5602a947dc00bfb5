#include "models/MiniMax/M2Config.h"

#include "models/Architecture.h"

#include <algorithm>
#include <cmath>

namespace saddle {

namespace {

// Bounds far above any real model, so that no product of two of them overflows
// and a damaged config cannot ask for absurd amounts of memory.
constexpr int64_t maxLayers = 1 << 12;
constexpr int64_t maxExperts = 1 << 16;
constexpr int64_t maxWidth = 1 << 20;
constexpr int64_t maxVocab = 1 << 28;
constexpr int64_t maxInt32 = INT32_MAX;
constexpr double maxElements = 0x1p53;

/// Fields of which we implement some values only. Every other value would
/// change the result, so it is an error and not a warning.
struct FixedField {
  const char *key;
  const char *accepted; // JSON list, besides null and absent
  const char *reason;
};
constexpr FixedField fixedFields[] = {
    {"hidden_act", R"(["silu"])", "other activations are not implemented"},
    {"scoring_func", R"(["sigmoid"])", "other routers are not implemented"},
    {"use_routing_bias", "[true]", "routing without bias is not implemented"},
    {"norm_topk_prob", "[true]",
     "expert weights that are not normalised are not implemented"},
    {"n_group", "[0, 1]", "grouped routing is not implemented"},
    {"num_expert_group", "[0, 1]", "grouped routing is not implemented"},
    {"topk_group", "[0, 1]", "grouped routing is not implemented"},
    {"use_qk_norm", "[true]", "attention without QK norm is not implemented"},
    {"qk_norm_type", R"(["per_layer"])", "other QK norms are not implemented"},
    {"shared_intermediate_size", "[0]", "shared experts are not implemented"},
    {"n_shared_experts", "[0]", "shared experts are not implemented"},
    {"first_k_dense_replace", "[0]", "dense layers are not implemented"},
    {"sliding_window", "[]", "windowed attention is not implemented"},
    {"use_sliding_window", "[false]", "windowed attention is not implemented"},
    {"attn_window_size", "[]", "windowed attention is not implemented"},
    {"sparse_attention_config", "[]", "sparse attention is not implemented"},
    {"attention_output_gate", "[false]", "gated attention is not implemented"},
    {"use_gemma_norm", "[false]", "norms with weight + 1 are not implemented"},
    {"attention_bias", "[false]", "biased projections are not implemented"},
    {"mlp_bias", "[false]", "biased projections are not implemented"},
    {"layernorm_full_attention_beta", "[1]",
     "scaled residuals are not implemented"},
    {"layernorm_linear_attention_beta", "[1]",
     "scaled residuals are not implemented"},
    {"layernorm_mlp_beta", "[1]", "scaled residuals are not implemented"},
    {"rope_scaling", "[]", "scaled RoPE is not implemented"},
    {"attn_logit_softcapping", "[]", "capped logits are not implemented"},
    {"final_logit_softcapping", "[]", "capped logits are not implemented"},
    {"compression_config", "[]", "only FP8 block quantisation is implemented"},
};

/// Known, and deliberately without effect here.
struct UnusedField {
  const char *key;
  const char *reason;
};
constexpr UnusedField unusedFields[] = {
    {"_name_or_path", "where the author's copy lay"},
    {"_attn_implementation", "a choice of the author's library"},
    {"attention_dropout", "training only"},
    {"auto_map", "names Python classes"},
    {"chunk_size_feed_forward", "a choice of the author's library"},
    {"id2label", "classifiers only"},
    {"initializer_range", "training only"},
    {"is_encoder_decoder", "the architecture decides"},
    {"label2id", "classifiers only"},
    {"max_model_len", "a serving limit; the compiler has its own"},
    {"mlp_intermediate_size", "size of dense layers, and there are none"},
    {"output_attentions", "a choice of the author's library"},
    {"output_hidden_states", "a choice of the author's library"},
    {"output_router_logits", "training only"},
    {"pad_token_id", "batches are ragged, nothing is padded"},
    {"problem_type", "classifiers only"},
    {"return_dict", "a choice of the author's library"},
    {"router_aux_loss_coef", "training only"},
    {"router_jitter_noise", "training only"},
    {"shared_moe_mode", "about shared experts, which are refused"},
    {"swa_rope_theta", "about windowed attention, which is refused"},
    {"transformers_version", "fields are told apart by name"},
    {"use_cache", "the runtime always keeps a KV cache"},
    {"use_grouped_topk", "one group, or refused above"},
};

/// Ids as a list; those that the vocabulary lacks can never be generated and
/// are dropped with a warning (transformers' defaults in a tiny model).
std::optional<std::vector<int64_t>>
readTokenIds(ConfigReader &reader, const char *key, int64_t vocab,
             std::vector<std::string> &warnings) {
  std::optional<std::vector<int64_t>> ids =
      reader.integerOrList(key, 0, maxInt32);
  if (!ids)
    return ids;
  std::vector<int64_t> known;
  for (int64_t id : *ids) {
    if (id < vocab)
      known.push_back(id);
    else
      warnings.push_back(
          reader.path() + ": " + key + ": " + std::to_string(id) +
          " is not below vocab_size = " + std::to_string(vocab) + ", ignored");
  }
  return known;
}

class Parser {
public:
  Parser(ConfigReader reader, std::vector<std::string> &warnings)
      : reader(std::move(reader)), warnings(warnings) {}

  StatusOr<M2Config> run() {
    SADDLE_RETURN_IF_ERROR(identifyArchitecture(reader).status());
    readSizes();
    readRope();
    readLayerKinds();
    readMtp();
    readDType();
    readQuantisation();
    for (const FixedField &field : fixedFields)
      reader.accept(field.key, field.accepted, field.reason);
    config.tieWordEmbeddings =
        reader.boolean("tie_word_embeddings").value_or(false);
    config.routedScaling =
        reader.number("routed_scaling_factor", 0).value_or(1.0);
    if (reader.status().ok())
      checkTogether();
    if (reader.status().ok()) {
      config.eosTokenIds = tokenIds("eos_token_id", 200020);
      config.bosTokenIds = tokenIds("bos_token_id", 200034);
    }
    SADDLE_RETURN_IF_ERROR(reader.status());
    reportUnknown();
    return std::move(config);
  }

private:
  int64_t size(const char *key, int64_t max) {
    return reader.integer(key, 1, max, ConfigReader::Required).value_or(1);
  }

  void readSizes() {
    config.hidden = size("hidden_size", maxWidth);
    config.checkpointLayers = config.layers =
        size("num_hidden_layers", maxLayers);
    config.heads = size("num_attention_heads", maxWidth);
    config.kvHeads = size("num_key_value_heads", maxWidth);
    config.headDim = size("head_dim", maxWidth);
    // transformers accepts both names and writes num_local_experts.
    std::optional<int64_t> renamed =
        reader.integer("num_experts", 1, maxExperts);
    if (!reader.isSet("num_local_experts") && renamed)
      config.experts = *renamed;
    else
      config.experts = size("num_local_experts", maxExperts);
    if (renamed && *renamed != config.experts)
      reader.fail("num_experts", std::to_string(*renamed) +
                                     " contradicts num_local_experts = " +
                                     std::to_string(config.experts));
    config.topK = size("num_experts_per_tok", maxExperts);
    config.expertIntermediate = size("intermediate_size", maxWidth);
    config.vocab = size("vocab_size", maxVocab);
    config.maxPositions = size("max_position_embeddings", maxInt32);
    config.rmsNormEps =
        reader.number("rms_norm_eps", 0, ConfigReader::Required).value_or(1);
  }

  /// A number that may stand at the top, inside rope_parameters, or in both
  /// places with the same value.
  std::optional<double> ropeNumber(std::optional<ConfigReader> &parameters,
                                   const char *key) {
    std::optional<double> top = reader.number(key, 0);
    std::optional<double> inner;
    if (parameters)
      inner = parameters->number(key, 0);
    if (top && inner && *top != *inner)
      reader.failExpected(key,
                          "the value of rope_parameters." + std::string(key));
    return inner ? inner : top;
  }

  void readRope() {
    std::optional<ConfigReader> parameters = reader.object("rope_parameters");
    std::optional<double> theta = ropeNumber(parameters, "rope_theta");
    std::optional<double> factor =
        ropeNumber(parameters, "partial_rotary_factor");
    if (!theta)
      reader.failExpected("rope_theta",
                          "a number above 0, here or in rope_parameters");
    config.ropeTheta = theta.value_or(1);
    if (parameters) {
      constexpr const char *reason = "scaled RoPE is not implemented";
      parameters->accept("rope_type", R"(["default"])", reason);
      parameters->accept("type", R"(["default"])", reason);
      for (const std::string &name : parameters->unread())
        reader.fail(name, "not a field of unscaled RoPE, expected rope_type, "
                          "rope_theta and partial_rotary_factor only");
    }
    std::optional<int64_t> declared = reader.integer("rotary_dim", 1, maxWidth);
    if (!reader.status().ok())
      return;
    if (declared) {
      config.rotaryDim = *declared;
    } else if (!factor) {
      config.rotaryDim = config.headDim;
      warn("rotary_dim: missing, and no partial_rotary_factor either: all " +
           std::to_string(config.headDim) + " dims of a head rotate");
    }
    if (factor)
      applyRotaryFactor(*factor, declared.has_value());
    if (config.rotaryDim > config.headDim || config.rotaryDim % 2)
      reader.fail("rotary_dim", std::to_string(config.rotaryDim) +
                                    " must be even and at most head_dim = " +
                                    std::to_string(config.headDim));
  }

  void applyRotaryFactor(double factor, bool declared) {
    double exact = factor * double(config.headDim);
    double whole = std::nearbyint(exact);
    char text[64];
    std::snprintf(text, sizeof text, "%g * head_dim = %g", factor, exact);
    // A factor such as 1/3 is not exact in binary; anything further away from
    // an integer than rounding explains is a mistake.
    if (!(std::fabs(exact - whole) <= 1e-6 * whole))
      reader.fail("partial_rotary_factor",
                  std::string(text) + " is not a whole number of dims");
    else if (declared && whole != double(config.rotaryDim))
      reader.fail("rotary_dim",
                  std::to_string(config.rotaryDim) +
                      " contradicts partial_rotary_factor: " + text);
    else if (whole > double(config.headDim))
      reader.fail("partial_rotary_factor",
                  std::string(text) + " exceeds head_dim");
    else
      config.rotaryDim = int64_t(whole);
  }

  /// One entry per layer, all equal to the only kind of layer that M2 has.
  template <typename T>
  void requireUniform(const char *key,
                      const std::optional<std::vector<T>> &list, const T &kind,
                      const std::string &kindText, const char *reason) {
    if (!list)
      return;
    if (int64_t(list->size()) != config.checkpointLayers)
      reader.fail(key, "has " + std::to_string(list->size()) +
                           " entries, expected one per layer, "
                           "num_hidden_layers = " +
                           std::to_string(config.checkpointLayers));
    for (size_t i = 0; i < list->size(); ++i)
      if ((*list)[i] != kind)
        reader.fail(std::string(key) + "[" + std::to_string(i) + "]",
                    "expected " + kindText + "; " + reason);
  }

  void readLayerKinds() {
    constexpr int64_t any = INT64_MAX;
    constexpr const char *reason = "other kinds of layers are not implemented";
    requireUniform<int64_t>("attn_type_list",
                            reader.integers("attn_type_list", -any, any), 1,
                            "1 (full attention)", reason);
    requireUniform<int64_t>("moe_layer_freq",
                            reader.integers("moe_layer_freq", -any, any), 1,
                            "1 (experts)", reason);
    requireUniform<std::string>("layer_types", reader.strings("layer_types"),
                                "full_attention", "\"full_attention\"", reason);
  }

  void readMtp() {
    int64_t modules =
        reader.integer("num_mtp_modules", 0, maxLayers).value_or(0);
    int64_t layers =
        reader.integer("mtp_transformer_layers", 0, maxLayers).value_or(1);
    bool used = reader.boolean("use_mtp").value_or(true);
    config.mtpLayers = used ? modules * layers : 0;
  }

  void readDType() {
    std::optional<std::string> now = reader.string("dtype");
    std::optional<std::string> old = reader.string("torch_dtype");
    if (now && old && *now != *old)
      reader.failExpected("torch_dtype",
                          "the value of dtype, \"" + *now + "\"");
    std::string name = now ? *now : old.value_or("bfloat16");
    if (name == "bfloat16")
      config.dtype = TensorDType::BF16;
    else if (name == "float16")
      config.dtype = TensorDType::F16;
    else if (name == "float32")
      config.dtype = TensorDType::F32;
    else
      reader.failExpected(now ? "dtype" : "torch_dtype",
                          "\"bfloat16\", \"float16\" or \"float32\"");
  }

  void readQuantisation() {
    std::optional<ConfigReader> quant = reader.object("quantization_config");
    if (!quant)
      return;
    std::optional<std::string> method =
        quant->string("quant_method", ConfigReader::Required);
    if (method && *method != "fp8")
      quant->failExpected("quant_method",
                          "\"fp8\", the only quantisation implemented");
    quant->accept("fmt", R"(["float8_e4m3fn", "e4m3"])",
                  "other FP8 formats are not implemented");
    quant->accept("activation_scheme", R"(["dynamic"])",
                  "stored activation scales are not implemented");
    std::optional<std::vector<int64_t>> block =
        quant->integers("weight_block_size", 1, maxInt32);
    Fp8Blocks fp8;
    if (!block || *block != std::vector<int64_t>{fp8.rows, fp8.columns})
      quant->failExpected("weight_block_size",
                          "[128, 128], the only block implemented");
    quant->accept("dequantize", "[false]",
                  "the checkpoint must say what it stores");
    quant->accept("scale_fmt", R"(["float"])",
                  "other scales than F32 are not implemented");
    quant->accept("modules_to_convert", "[[]]",
                  "FP8 outside attention and experts is not implemented");
    quant->accept("kv_cache_scheme", "[]",
                  "stored KV cache scales are not implemented");
    readNotConverted(*quant, fp8);
    for (const std::string &name : quant->unread())
      warnUnknown(name);
    config.fp8 = std::move(fp8);
  }

  void readNotConverted(ConfigReader &quant, Fp8Blocks &fp8) {
    constexpr const char *key = "modules_to_not_convert";
    std::optional<std::vector<std::string>> now = quant.strings(key);
    std::optional<std::vector<std::string>> old =
        quant.strings("ignored_layers");
    if (now && old && *now != *old)
      quant.fail("ignored_layers", std::string("contradicts ") + key);
    const char *source = now ? key : "ignored_layers";
    fp8.modulesToNotConvert =
        now ? *now : old.value_or(std::vector<std::string>());
    for (const std::string &name : fp8.modulesToNotConvert) {
      bool plain = !name.empty() && name.front() != '.' && name.back() != '.' &&
                   name.find_first_not_of("abcdefghijklmnopqrstuvwxyz"
                                          "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
                                          "0123456789_.") == std::string::npos;
      if (!plain)
        quant.fail(source, "expected plain module names, found \"" + name +
                               "\"; patterns are not implemented");
    }
  }

  void checkTogether() {
    auto text = [](const char *name, int64_t value) {
      return std::string(name) + " = " + std::to_string(value);
    };
    if (config.heads % config.kvHeads)
      reader.fail("num_attention_heads",
                  std::to_string(config.heads) + " is not a multiple of " +
                      text("num_key_value_heads", config.kvHeads));
    if (config.topK > config.experts)
      reader.fail("num_experts_per_tok",
                  std::to_string(config.topK) + " exceeds " +
                      text("num_local_experts", config.experts));
    if (config.heads > maxWidth / config.headDim)
      reader.fail("num_attention_heads", std::to_string(config.heads) + " * " +
                                             text("head_dim", config.headDim) +
                                             " exceeds " +
                                             std::to_string(maxWidth));
    double perLayer =
        double(config.hidden) *
        (2.0 * double(config.qWidth() + config.kvWidth()) +
         double(config.experts) * (3.0 * double(config.expertIntermediate)));
    double elements = double(config.checkpointLayers) * perLayer +
                      2.0 * double(config.vocab) * double(config.hidden);
    if (elements > maxElements) {
      char found[64];
      std::snprintf(found, sizeof found, "%.3g weights, more than 2^53",
                    elements);
      reader.fail("num_hidden_layers",
                  std::string("with the other sizes makes ") + found);
    }
  }

  /// Published configs have no ids; `fallback` is transformers' default.
  std::vector<int64_t> tokenIds(const char *key, int64_t fallback) {
    if (reader.contains(key))
      return readTokenIds(reader, key, config.vocab, warnings)
          .value_or(std::vector<int64_t>());
    if (fallback < config.vocab)
      return {fallback};
    return {};
  }

  void reportUnknown() {
    for (const UnusedField &field : unusedFields)
      reader.skip(field.key);
    for (const std::string &name : reader.unread())
      warnUnknown(name);
  }

  void warnUnknown(const std::string &name) {
    warn(name + ": not a known field, ignored");
  }
  void warn(const std::string &message) {
    warnings.push_back(reader.path() + ": " + message);
  }

  ConfigReader reader;
  std::vector<std::string> &warnings;
  M2Config config;
};

std::vector<std::string> splitDots(const std::string &name) {
  std::vector<std::string> parts(1);
  for (char c : name) {
    if (c == '.')
      parts.emplace_back();
    else
      parts.back() += c;
  }
  return parts;
}

bool isNumber(const std::string &text) {
  return !text.empty() &&
         text.find_first_not_of("0123456789") == std::string::npos;
}

} // namespace

bool isNotConverted(const Fp8Blocks &fp8, const std::string &module,
                    bool &partly) {
  std::vector<std::string> name = splitDots(module);
  partly = false;
  for (const std::string &pattern : fp8.modulesToNotConvert) {
    std::vector<std::string> wanted = splitDots(pattern);
    for (size_t start = 0; start + wanted.size() <= name.size(); ++start) {
      bool usedHole = false;
      bool equal =
          std::equal(wanted.begin(), wanted.end(), name.begin() + start,
                     [&](const std::string &want, const std::string &have) {
                       if (have != "{}")
                         return have == want;
                       usedHole = true;
                       return isNumber(want);
                     });
      if (!equal)
        continue;
      partly = usedHole;
      if (!partly)
        return true;
      break;
    }
  }
  return partly;
}

StatusOr<M2Config> readM2Config(ConfigReader reader,
                                std::vector<std::string> &warnings) {
  return Parser(std::move(reader), warnings).run();
}

Status readM2GenerationConfig(ConfigReader reader, M2Config &config,
                              std::vector<std::string> &warnings) {
  if (auto ids = readTokenIds(reader, "eos_token_id", config.vocab, warnings))
    config.eosTokenIds = std::move(*ids);
  if (auto ids = readTokenIds(reader, "bos_token_id", config.vocab, warnings))
    config.bosTokenIds = std::move(*ids);
  return reader.status();
}

} // namespace saddle
