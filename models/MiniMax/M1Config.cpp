#include "models/MiniMax/M1Config.h"

#include <algorithm>
#include <cinttypes>

namespace saddle {

namespace {

constexpr FixedField fixedFields[] = {
    {"scoring_func", R"(["softmax"])", "other routers are not implemented"},
    {"use_routing_bias", "[false]", "routing with a bias is not implemented"},
    {"use_qk_norm", "[false]", "QK norm is not implemented in this family"},
    {"num_mtp_modules", "[0]", "multi-token prediction is not implemented"},
};

constexpr UnusedField unusedFields[] = {
    {"block_size", "any block gives the same result"},
};

constexpr const char *transformersArchitecture = "MiniMaxForCausalLM";

class Parser {
public:
  Parser(ConfigReader reader, std::vector<std::string> &warnings)
      : reader(std::move(reader)), warnings(warnings) {}

  StatusOr<M1Config> run() {
    readArchitecture();
    static_cast<DecoderConfig &>(config) =
        readDecoderConfig(reader,
                          isTransformers() ? RotaryDefault::AllDims
                                           : RotaryDefault::AllDimsWithWarning,
                          warnings);
    readLayerPattern();
    readResiduals();
    // The index of the published checkpoint counts bytes for routers in F32;
    // transformers saves them in the model's dtype.
    config.routerDType = isTransformers() && !config.quantisation
                             ? config.dtype
                             : TensorDType::F32;
    acceptFixed(reader, fixedFields);
    readSharedExpert();
    skipUnused(reader, unusedFields);
    if (reader.status().ok())
      checkHeads();
    // Defaults are those of transformers' class; the published code has none,
    // and an id that the vocabulary does not have is none. Rows of attention
    // are those of a linear layer, which is the larger kind.
    SADDLE_RETURN_IF_ERROR(finishDecoderConfig(
        reader, config, 5.0 * double(config.attention.qWidth()),
        isTransformers() ? 1 : config.vocab,
        isTransformers() ? 2 : config.vocab, warnings));
    return std::move(config);
  }

private:
  bool isTransformers() const {
    return config.architecture == transformersArchitecture;
  }

  /// The registry has checked them against each other.
  void readArchitecture() {
    auto names = reader.strings("architectures");
    std::string type = reader.string("model_type").value_or("");
    if (names && !names->empty())
      config.architecture = names->front();
    else if (type == "minimax")
      config.architecture = transformersArchitecture;
    else
      config.architecture = type == "minimax_m1" ? "MiniMaxM1ForCausalLM"
                                                 : "MiniMaxText01ForCausalLM";
  }

  void readSharedExpert() {
    if (isTransformers())
      reader.accept("shared_intermediate_size", "[0]",
                    "transformers' class has no shared expert");
    config.sharedIntermediate =
        reader.integer("shared_intermediate_size", 0, maxWidth).value_or(0);
    // Of a single logit a softmax is 1, and nothing of the experts remains.
    if (config.sharedIntermediate > 0)
      reader.accept("shared_moe_mode", R"(["sigmoid"])",
                    "other gates of a shared expert are not implemented");
    else
      skipUnused(reader, {{"shared_moe_mode", "there is no shared expert"}});
  }

  void readLayerPattern() {
    constexpr const char *reason = "other kinds of layers are not implemented";
    const char *own = isTransformers() ? "layer_types" : "attn_type_list";
    std::vector<size_t> numbers = readLayerKinds<int64_t>(
        reader, "attn_type_list", config.checkpointLayers,
        {{0, "0 (linear attention)"}, {1, "1 (full attention)"}}, reason);
    std::vector<size_t> names = readLayerKinds<std::string>(
        reader, "layer_types", config.checkpointLayers,
        {{"linear_attention", "\"linear_attention\""},
         {"full_attention", "\"full_attention\""}},
        reason);
    if (!reader.status().ok())
      return;
    // Libraries disagree on the pattern of a config without one.
    if (numbers.empty() && names.empty())
      return reader.failExpected(own, "a list with the kind of each layer");
    if (!numbers.empty() && !names.empty() && numbers != names)
      return reader.fail("layer_types", "contradicts attn_type_list");
    for (size_t kind : numbers.empty() ? names : numbers)
      config.isLinear.push_back(kind == 0);
    if (!names.empty() || !isTransformers())
      return;
    warn(reader, warnings,
         "attn_type_list: transformers does not read it and would alternate "
         "the kinds of layers; the list is used");
  }

  /// A factor under either name.
  double readFactor(const std::string &published, const std::string &renamed) {
    std::optional<double> old = reader.number(published, 0);
    std::optional<double> now = reader.number(renamed, 0);
    if (old && now && *old != *now)
      reader.fail(renamed, "contradicts %s", published.c_str());
    return old ? *old : now.value_or(1);
  }

  void readResiduals() {
    auto read = [&](const char *published, const char *renamed) {
      std::string before = std::string("layernorm_") + published + "_",
                  after = std::string(renamed) + "_";
      ResidualFactors factors;
      factors.alpha = readFactor(before + "alpha", after + "alpha_factor");
      factors.beta = readFactor(before + "beta", after + "beta_factor");
      return factors;
    };
    config.linearFactors = read("linear_attention", "linear_attn");
    config.fullFactors = read("full_attention", "full_attn");
    config.expertFactors = read("mlp", "mlp");
    if (isTransformers())
      reader.accept("postnorm", "[true]",
                    "transformers always adds to the normed input");
    config.postNorm = reader.boolean("postnorm").value_or(isTransformers());
  }

  void checkHeads() {
    // One projection joins q, k and v.
    if (config.attention.qWidth() > maxWidth / 3)
      reader.fail("num_attention_heads",
                  "%" PRId64 " * head_dim = %" PRId64 " exceeds %" PRId64,
                  config.attention.heads, config.attention.headDim,
                  maxWidth / 3);
    int64_t heads = config.attention.heads;
    bool anyLinear = std::find(config.isLinear.begin(), config.isLinear.end(),
                               true) != config.isLinear.end();
    if (isTransformers() && anyLinear && (heads & (heads - 1)) != 0)
      warn(reader, warnings,
           "num_attention_heads: %" PRId64
           " is not a power of two, for which transformers computes other "
           "decays than the published code; those of the published code are "
           "used",
           heads);
  }

  ConfigReader reader;
  std::vector<std::string> &warnings;
  M1Config config;
};

} // namespace

double M1Config::decayRate(int64_t layer) const {
  double place =
      checkpointLayers > 1 ? double(layer) / double(checkpointLayers - 1) : 0.0;
  return 1.0 - place + 1e-5;
}

StatusOr<M1Config> readM1Config(ConfigReader reader,
                                std::vector<std::string> &warnings) {
  return Parser(std::move(reader), warnings).run();
}

} // namespace saddle
