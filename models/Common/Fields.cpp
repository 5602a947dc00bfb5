#include "models/Common/Fields.h"

#include "runtime/src/base/Printable.h"

#include <cinttypes>
#include <cstdarg>

namespace saddle {

static constexpr UnusedField genericFields[] = {
    {"architectures", "the registry reads it"},
    {"model_type", "the registry reads it"},
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
    {"output_attentions", "a choice of the author's library"},
    {"output_hidden_states", "a choice of the author's library"},
    {"output_router_logits", "training only"},
    {"pad_token_id", "batches are ragged, nothing is padded"},
    {"problem_type", "classifiers only"},
    {"return_dict", "a choice of the author's library"},
    {"router_aux_loss_coef", "training only"},
    {"router_jitter_noise", "training only"},
    {"transformers_version", "fields are told apart by name"},
    {"use_cache", "the runtime always keeps a KV cache"},
};

int64_t readSize(ConfigReader &reader, const char *key, int64_t max) {
  return reader.integer(key, 1, max, ConfigReader::Required).value_or(1);
}

void checkAttentionSizes(ConfigReader &reader, const AttentionSizes &sizes) {
  if (sizes.heads % sizes.kvHeads)
    reader.fail("num_attention_heads",
                "%" PRId64
                " is not a multiple of num_key_value_heads = %" PRId64,
                sizes.heads, sizes.kvHeads);
  if (sizes.heads > maxWidth / sizes.headDim)
    reader.fail("num_attention_heads",
                "%" PRId64 " * head_dim = %" PRId64 " exceeds %" PRId64,
                sizes.heads, sizes.headDim, maxWidth);
}

AttentionSizes readAttentionSizes(ConfigReader &reader) {
  AttentionSizes sizes;
  sizes.heads = readSize(reader, "num_attention_heads", maxWidth);
  sizes.kvHeads = readSize(reader, "num_key_value_heads", maxWidth);
  sizes.headDim = readSize(reader, "head_dim", maxWidth);
  checkAttentionSizes(reader, sizes);
  return sizes;
}

void skipGenericFields(ConfigReader &reader) {
  skipUnused(reader, genericFields);
}

void warn(const ConfigReader &reader, std::vector<std::string> &warnings,
          const char *format, ...) {
  va_list args;
  va_start(args, format);
  // Warnings are told apart as errors are.
  Status status = makeErrorV(StatusCode::InvalidArgument, format, args);
  va_end(args);
  warnings.push_back(status.within(reader.path()).labelled());
}

void refuseWindows(ConfigReader &reader) {
  constexpr const char *kReason = "windowed attention is not implemented";
  reader.accept("use_sliding_window", "[false]", kReason);
  if (reader.isSet("use_sliding_window"))
    reader.skip("sliding_window");
  else
    reader.accept("sliding_window", "[]", kReason);
}

void warnUnknownFields(const ConfigReader &reader,
                       std::vector<std::string> &warnings) {
  for (const std::string &name : reader.unread())
    warn(reader, warnings, "%s: not a known field, ignored",
         printable(name).c_str());
}

static std::optional<std::vector<int64_t>> readList(ConfigReader &reader,
                                                    const char *key, int64_t) {
  return reader.integers(key, -INT64_MAX, INT64_MAX);
}

static std::optional<std::vector<std::string>>
readList(ConfigReader &reader, const char *key, const std::string &) {
  return reader.strings(key);
}

template <typename T>
std::vector<size_t>
readLayerKinds(ConfigReader &reader, const char *key, int64_t layers,
               const std::vector<LayerKind<T>> &kinds, const char *reason) {
  std::optional<std::vector<T>> list = readList(reader, key, T());
  if (!list)
    return {};
  if (int64_t(list->size()) != layers)
    reader.fail(
        key,
        "has %zu entries, expected one per layer, num_hidden_layers = %" PRId64,
        list->size(), layers);
  std::vector<size_t> found;
  for (size_t i = 0; i < list->size(); ++i) {
    size_t kind = 0;
    std::string words;
    for (; kind < kinds.size() && kinds[kind].value != (*list)[i]; ++kind)
      words += std::string(kind ? " or " : "") + kinds[kind].words;
    if (kind == kinds.size())
      reader.fail(std::string(key) + "[" + std::to_string(i) + "]",
                  "expected %s; %s", words.c_str(), reason);
    found.push_back(kind);
  }
  return reader.status().ok() ? found : std::vector<size_t>();
}

template std::vector<size_t>
readLayerKinds(ConfigReader &, const char *, int64_t,
               const std::vector<LayerKind<int64_t>> &, const char *);
template std::vector<size_t>
readLayerKinds(ConfigReader &, const char *, int64_t,
               const std::vector<LayerKind<std::string>> &, const char *);

TensorDType readDType(ConfigReader &reader) {
  std::optional<std::string> now = reader.string("dtype");
  std::optional<std::string> old = reader.string("torch_dtype");
  if (now && old && *now != *old)
    reader.failExpected("torch_dtype", "the value of dtype, \"" + *now + "\"");
  std::string name = now ? *now : old.value_or("bfloat16");
  if (name == "float16")
    return TensorDType::F16;
  if (name == "float32")
    return TensorDType::F32;
  if (name != "bfloat16")
    reader.failExpected(now ? "dtype" : "torch_dtype",
                        "\"bfloat16\", \"float16\" or \"float32\"");
  return TensorDType::BF16;
}

/// Nothing when the field is absent or null.
static std::optional<std::vector<int64_t>>
readIds(ConfigReader &reader, const char *key, int64_t vocab,
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
      warn(reader, warnings,
           "%s: %" PRId64 " is not below vocab_size = %" PRId64 ", ignored",
           key, id, vocab);
  }
  return known;
}

TokenIds readTokenIds(ConfigReader &reader, int64_t vocab, int64_t bosFallback,
                      int64_t eosFallback, std::vector<std::string> &warnings) {
  auto read = [&](const char *key, int64_t fallback) -> std::vector<int64_t> {
    if (reader.contains(key))
      return readIds(reader, key, vocab, warnings)
          .value_or(std::vector<int64_t>());
    if (fallback < vocab)
      return {fallback};
    return {};
  };
  TokenIds ids;
  ids.eos = read("eos_token_id", eosFallback);
  ids.bos = read("bos_token_id", bosFallback);
  return ids;
}

Status overrideTokenIds(ConfigReader generation, int64_t vocab, TokenIds &ids,
                        std::vector<std::string> &warnings) {
  if (auto eos = readIds(generation, "eos_token_id", vocab, warnings))
    ids.eos = std::move(*eos);
  if (auto bos = readIds(generation, "bos_token_id", vocab, warnings))
    ids.bos = std::move(*bos);
  return generation.status();
}

} // namespace saddle
