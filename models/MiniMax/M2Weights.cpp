#include "models/MiniMax/M2Weights.h"

#include "runtime/src/checkpoint/Fingerprint.h"

#include <algorithm>
#include <unordered_set>

namespace saddle {

namespace {

constexpr const char *scaleSuffix = "_scale_inv";

uint64_t product(const std::vector<uint64_t> &shape) {
  uint64_t elements = 1;
  for (uint64_t dim : shape)
    elements *= dim; // M2Config bounds every product of its sizes
  return elements;
}

std::string describe(const std::vector<uint64_t> &shape) {
  std::string text = "[";
  for (size_t i = 0; i < shape.size(); ++i)
    text += (i ? ", " : "") + std::to_string(shape[i]);
  return text + "]";
}

//===--- What the architecture has ---------------------------------------===//

class Expectation {
public:
  Expectation(const M2Config &config, const std::string &configPath)
      : config(config), configPath(configPath) {}

  StatusOr<M2Weights> run() {
    M2Weights weights;
    uint64_t hidden = config.hidden, vocab = config.vocab;
    weights.embed = plain("model.embed_tokens", {vocab, hidden});
    weights.finalNorm = plain("model.norm", {hidden});
    weights.tied = config.tieWordEmbeddings;
    weights.lmHead =
        weights.tied ? weights.embed : plain("lm_head", {vocab, hidden});
    weights.layers.reserve(config.checkpointLayers);
    for (int64_t layer = 0; layer < config.checkpointLayers; ++layer)
      weights.layers.push_back(layerWeights(layer));
    SADDLE_RETURN_IF_ERROR(error);
    return weights;
  }

private:
  M2LayerWeights layerWeights(int64_t layer) {
    uint64_t hidden = config.hidden, q = config.qWidth(), kv = config.kvWidth(),
             experts = config.experts, intermediate = config.expertIntermediate;
    // Published FP8 checkpoints keep the router in F32; transformers saves it
    // in the model's dtype.
    TensorDType routerType = config.fp8 ? TensorDType::F32 : config.dtype;
    std::string prefix = "model.layers." + std::to_string(layer) + ".";
    std::string attention = prefix + "self_attn.";
    std::string moe = prefix + "block_sparse_moe.";

    M2LayerWeights out;
    out.inputNorm = plain(prefix + "input_layernorm", {hidden});
    out.q = projection(attention + "q_proj", q, hidden);
    out.k = projection(attention + "k_proj", kv, hidden);
    out.v = projection(attention + "v_proj", kv, hidden);
    out.qNorm = plain(attention + "q_norm", {q});
    out.kNorm = plain(attention + "k_norm", {kv});
    out.o = projection(attention + "o_proj", hidden, q);
    out.postAttentionNorm =
        plain(prefix + "post_attention_layernorm", {hidden});
    out.gate = plain(moe + "gate", {experts, hidden});
    out.gate.dtype = routerType;
    out.correctionBias = plain(moe, {experts});
    out.correctionBias.name = moe + "e_score_correction_bias";
    out.correctionBias.dtype = routerType;
    out.w1 = projection(moe + "experts.{}.w1", intermediate, hidden, experts);
    out.w2 = projection(moe + "experts.{}.w2", hidden, intermediate, experts);
    out.w3 = projection(moe + "experts.{}.w3", intermediate, hidden, experts);
    return out;
  }

  WeightSpec plain(const std::string &module, std::vector<uint64_t> shape) {
    WeightSpec spec;
    spec.name = module + ".weight";
    spec.dtype = config.dtype;
    spec.shape = std::move(shape);
    return spec;
  }

  WeightSpec projection(const std::string &module, uint64_t rows,
                        uint64_t columns, uint64_t stack = 0) {
    WeightSpec spec = plain(module, {rows, columns});
    spec.stack = stack;
    if (!config.fp8)
      return spec;
    const Fp8Blocks &fp8 = *config.fp8;
    bool partly;
    bool excluded = isNotConverted(fp8, module, partly);
    if (partly && error.ok())
      error = Status(StatusCode::Unsupported,
                     configPath +
                         ": quantization_config.modules_to_not_convert: names "
                         "single members of \"" +
                         module + "\", expected all or none of them");
    if (excluded)
      return spec;
    spec.dtype = TensorDType::F8E4M3;
    spec.scaleName = spec.name + scaleSuffix;
    uint64_t blockRows = fp8.rows, blockColumns = fp8.columns;
    spec.scaleShape = {(rows + blockRows - 1) / blockRows,
                       (columns + blockColumns - 1) / blockColumns};
    return spec;
  }

  const M2Config &config;
  const std::string &configPath;
  Status error;
};

//===--- What a folder has -----------------------------------------------===//

class Resolver {
public:
  Resolver(const M2Config &config, const std::string &configPath,
           const Checkpoint &checkpoint)
      : config(config), configPath(configPath), checkpoint(checkpoint) {}

  Status run(M2Weights &weights) {
    // Specs are visited const everywhere else; the resolver owns `weights` for
    // the time being and writes the dtypes that it finds.
    weights.forEach([&](const WeightSpec &spec) {
      if (error.ok())
        error = resolve(const_cast<WeightSpec &>(spec));
    });
    SADDLE_RETURN_IF_ERROR(error);
    if (missing)
      return fail(StatusCode::NotFound, firstMissing, more(missing));
    if (weights.tied)
      weights.lmHead = weights.embed;
    return findUnused(weights);
  }

private:
  Status resolve(WeightSpec &spec) {
    for (uint64_t member = 0; member < spec.members(); ++member) {
      std::string name = memberName(spec.name, member);
      const TensorInfo *weight = take(name);
      SADDLE_RETURN_IF_ERROR(resolveScale(spec, name, weight, member));
      if (!weight) {
        noteMissing(name, spec.dtype, spec.shape);
        continue;
      }
      SADDLE_RETURN_IF_ERROR(checkShape(name, *weight, spec.shape));
      SADDLE_RETURN_IF_ERROR(checkDType(spec, name, *weight));
      if (member == 0)
        spec.dtype = weight->dtype;
      else if (spec.dtype != weight->dtype)
        return fail(StatusCode::Unsupported,
                    "tensor \"" + name + "\" is " + found(*weight) +
                        ", but \"" + memberName(spec.name, 0) + "\" is " +
                        dtypeName(spec.dtype) +
                        "; all experts of a layer must be stored alike");
    }
    return Status();
  }

  /// A quantised weight has a scale, and only such a weight has one.
  Status resolveScale(const WeightSpec &spec, const std::string &name,
                      const TensorInfo *weight, uint64_t member) {
    std::string scaleName = name + scaleSuffix;
    const TensorInfo *scale = take(scaleName);
    if (scale && !weight)
      return fail(StatusCode::DataLoss, "scale \"" + scaleName +
                                            "\" is present, but its weight \"" +
                                            name + "\" is missing");
    if (!weight)
      return Status();
    bool quantised = weight->dtype == TensorDType::F8E4M3;
    if (scale && !quantised)
      return fail(StatusCode::DataLoss,
                  "scale \"" + scaleName + "\" is present, but its weight \"" +
                      name + "\" is " + found(*weight) + ", not f8e4m3");
    if (!spec.hasScale())
      return Status(); // checkDType explains an FP8 weight
    if (!scale && quantised)
      return fail(StatusCode::DataLoss,
                  "tensor \"" + name + "\" is f8e4m3, but its scale \"" +
                      scaleName + "\" is missing, expected f32 " +
                      describe(spec.scaleShape));
    if (!scale)
      return Status();
    SADDLE_RETURN_IF_ERROR(checkShape(scaleName, *scale, spec.scaleShape));
    if (scale->dtype != TensorDType::F32)
      return fail(StatusCode::Unsupported, "scale \"" + scaleName + "\" is " +
                                               found(*scale) +
                                               ", expected f32");
    return Status();
  }

  Status checkShape(const std::string &name, const TensorInfo &info,
                    const std::vector<uint64_t> &shape) {
    if (info.shape == shape)
      return Status();
    return fail(StatusCode::Mismatch,
                "tensor \"" + name + "\" has shape " + describe(info.shape) +
                    ", the config asks for " + describe(shape));
  }

  Status checkDType(const WeightSpec &spec, const std::string &name,
                    const TensorInfo &info) {
    bool plain = info.dtype == TensorDType::F32 ||
                 info.dtype == TensorDType::BF16 ||
                 info.dtype == TensorDType::F16;
    bool quantised = info.dtype == TensorDType::F8E4M3;
    std::string what = "tensor \"" + name + "\" is " + found(info);
    if (spec.hasScale() && plain)
      return fail(StatusCode::Mismatch,
                  what + ", but " + configPath +
                      " declares FP8 weights (quantization_config); expected "
                      "f8e4m3, or the module in modules_to_not_convert");
    if (spec.hasScale() ? quantised : plain)
      return Status();
    if (!quantised)
      return fail(StatusCode::Unsupported,
                  what + ", expected " +
                      (spec.hasScale() ? "f8e4m3" : "f32, bf16 or f16"));
    return fail(StatusCode::Mismatch,
                what + ", but " + configPath +
                    (config.fp8 ? " keeps this module unquantised"
                                : " has no quantization_config"));
  }

  /// Whatever nobody took is ignored for a reason, or too much.
  Status findUnused(M2Weights &weights) {
    std::string firstUnknown;
    uint64_t unknown = 0;
    for (const auto &[name, info] : checkpoint.tensors) {
      if (taken.count(&info))
        continue;
      const char *reason = reasonToIgnore(name);
      if (!reason) {
        if (!unknown++)
          firstUnknown = name;
        continue;
      }
      IgnoredWeight ignored{{}, reason};
      ignored.spec.name = name;
      ignored.spec.dtype = info.dtype;
      ignored.spec.shape = info.shape;
      weights.ignored.push_back(std::move(ignored));
    }
    if (!unknown)
      return Status();
    return fail(StatusCode::Mismatch,
                "tensor \"" + firstUnknown +
                    "\" is not part of this model (num_hidden_layers = " +
                    std::to_string(config.checkpointLayers) +
                    ", num_local_experts = " + std::to_string(config.experts) +
                    ")",
                more(unknown));
  }

  const char *reasonToIgnore(const std::string &name) const {
    auto endsWith = [&](std::string_view end) {
      return name.size() >= end.size() &&
             name.compare(name.size() - end.size(), end.size(), end) == 0;
    };
    if (endsWith(".rotary_emb.inv_freq"))
      return "recomputed from rope_theta and rotary_dim";
    if (config.tieWordEmbeddings && name == "lm_head.weight")
      return "tie_word_embeddings: the embedding is used";
    constexpr std::string_view prefix = "model.layers.";
    if (name.compare(0, prefix.size(), prefix) != 0)
      return nullptr;
    size_t end = name.find('.', prefix.size());
    std::string number = name.substr(prefix.size(), end - prefix.size());
    constexpr size_t maxDigits = 9; // keeps stoll from failing
    if (end == std::string::npos || number.empty() ||
        number.size() > maxDigits ||
        number.find_first_not_of("0123456789") != std::string::npos)
      return nullptr;
    int64_t layer = std::stoll(number);
    if (layer >= config.checkpointLayers &&
        layer < config.checkpointLayers + config.mtpLayers)
      return "multi-token prediction is not used";
    return nullptr;
  }

  const TensorInfo *take(const std::string &name) {
    auto found = checkpoint.tensors.find(name);
    if (found == checkpoint.tensors.end())
      return nullptr;
    taken.insert(&found->second);
    return &found->second;
  }

  void noteMissing(const std::string &name, TensorDType dtype,
                   const std::vector<uint64_t> &shape) {
    if (!missing++)
      firstMissing = "tensor \"" + name + "\" is missing, expected " +
                     (dtype == TensorDType::F8E4M3 ? "f8e4m3 " : "") +
                     describe(shape);
  }

  static std::string more(uint64_t count) {
    return count > 1 ? "; and " + std::to_string(count - 1) + " more" : "";
  }

  static std::string found(const TensorInfo &info) {
    return info.dtype == TensorDType::Other ? info.dtypeName
                                            : dtypeName(info.dtype);
  }

  Status fail(StatusCode code, const std::string &message,
              const std::string &rest = "") const {
    return Status(code, checkpoint.directory + ": " + message + rest);
  }

  const M2Config &config;
  const std::string &configPath;
  const Checkpoint &checkpoint;
  std::unordered_set<const TensorInfo *> taken;
  std::string firstMissing;
  uint64_t missing = 0;
  Status error;
};

/// Moves the layers that are not compiled to the ignored list and computes the
/// fingerprint of the rest.
void finish(const M2Config &config, M2Weights &weights) {
  for (size_t i = config.layers; i < weights.layers.size(); ++i)
    weights.layers[i].forEach([&](const WeightSpec &spec) {
      weights.ignored.push_back({spec, "layer is not compiled"});
    });
  weights.layers.resize(config.layers);

  struct Entry {
    std::string name;
    const WeightSpec *spec;
    bool scale;
  };
  std::vector<Entry> entries;
  weights.forEach([&](const WeightSpec &spec) {
    for (uint64_t member = 0; member < spec.members(); ++member) {
      entries.push_back({memberName(spec.name, member), &spec, false});
      if (spec.hasScale())
        entries.push_back({memberName(spec.scaleName, member), &spec, true});
    }
  });
  std::sort(entries.begin(), entries.end(),
            [](const Entry &a, const Entry &b) { return a.name < b.name; });
  Fingerprint fingerprint;
  for (const Entry &entry : entries) {
    const WeightSpec &spec = *entry.spec;
    if (entry.scale)
      fingerprint.add(entry.name, TensorDType::F32, spec.scaleShape);
    else
      fingerprint.add(entry.name, spec.dtype, spec.shape);
  }
  weights.fingerprint = fingerprint.hex();
}

} // namespace

uint64_t M2Weights::elementCount() const {
  uint64_t elements = 0;
  forEach([&](const WeightSpec &spec) {
    elements += spec.members() * product(spec.shape);
    if (spec.hasScale())
      elements += spec.members() * product(spec.scaleShape);
  });
  return elements;
}

StatusOr<M2Weights> expectedM2Weights(const M2Config &config,
                                      const std::string &configPath) {
  SADDLE_ASSIGN_OR_RETURN(M2Weights weights,
                          Expectation(config, configPath).run());
  finish(config, weights);
  return weights;
}

StatusOr<M2Weights> resolveM2Weights(const M2Config &config,
                                     const std::string &configPath,
                                     const Checkpoint &checkpoint) {
  SADDLE_ASSIGN_OR_RETURN(M2Weights weights,
                          Expectation(config, configPath).run());
  SADDLE_RETURN_IF_ERROR(Resolver(config, configPath, checkpoint).run(weights));
  finish(config, weights);
  return weights;
}

} // namespace saddle
