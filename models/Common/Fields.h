// Fields of config.json that look alike in all families: sizes, fields with a
// fixed value, fields without effect, lists with one entry per layer, token
// ids. Errors stick in the reader (ConfigReader.h). What happens to a field and
// why: docs/decisions/0002-config-import.md.

#ifndef SADDLE_MODELS_COMMON_FIELDS_H
#define SADDLE_MODELS_COMMON_FIELDS_H

#include "models/Common/ConfigReader.h"
#include "runtime/src/checkpoint/Checkpoint.h"

#include <string>
#include <vector>

namespace saddle {

// Bounds far above any real model, so that no product of two of them overflows
// and a damaged config cannot ask for absurd amounts of memory.
constexpr int64_t maxLayers = 1 << 12;
constexpr int64_t maxExperts = 1 << 16;
constexpr int64_t maxWidth = 1 << 20;
constexpr int64_t maxVocab = 1 << 28;
constexpr int64_t maxInt32 = INT32_MAX;
/// Of all weights of a model together.
constexpr double maxElements = 0x1p53;

/// A required positive integer up to `max`; 1 after an error, so that callers
/// may divide by it.
int64_t readSize(ConfigReader &reader, const char *key, int64_t max);

/// Sizes of grouped-query attention.
struct AttentionSizes {
  int64_t heads = 0;
  int64_t kvHeads = 0; // divides heads
  int64_t headDim = 0;

  int64_t qWidth() const { return heads * headDim; }
  int64_t kvWidth() const { return kvHeads * headDim; }
};

/// `num_attention_heads`, `num_key_value_heads` and `head_dim`, all required:
/// libraries disagree on what is meant without them.
AttentionSizes readAttentionSizes(ConfigReader &reader);
/// Reports sizes of heads that do not fit each other.
void checkAttentionSizes(ConfigReader &reader, const AttentionSizes &sizes);

/// Fields of which only some values are implemented. Every other value would
/// change the result, so it is an error and not a warning.
struct FixedField {
  const char *key;
  const char *accepted; // JSON list, besides null and absent
  const char *reason;
};

/// Fields that are known, and deliberately without effect here.
struct UnusedField {
  const char *key;
  const char *reason;
};

template <size_t N>
void acceptFixed(ConfigReader &reader, const FixedField (&fields)[N]) {
  for (const FixedField &field : fields)
    reader.accept(field.key, field.accepted, field.reason);
}

template <size_t N>
void skipUnused(ConfigReader &reader, const UnusedField (&fields)[N]) {
  for (const UnusedField &field : fields)
    reader.skip(field.key);
}

/// Windowed attention is an error, and a window that is not used is none.
void refuseWindows(ConfigReader &reader);

/// Those that transformers writes for every architecture, and those that the
/// registry has read.
void skipGenericFields(ConfigReader &reader);

/// Formats like printf, and adds "FILE: message [D3fa201]" to `warnings`.
[[gnu::format(printf, 3, 4)]] void warn(const ConfigReader &reader,
                                        std::vector<std::string> &warnings,
                                        const char *format, ...);

/// A warning for each field of the reader's object that nobody asked for. Call
/// last.
void warnUnknownFields(const ConfigReader &reader,
                       std::vector<std::string> &warnings);

/// A value that a list with one entry per layer may hold, in words.
template <typename T>
struct LayerKind {
  T value;
  const char *words; // "1 (full attention)"
};

/// The kind of every layer, an index into `kinds`; empty when the field is
/// absent. Errors: not `layers` entries, an entry that is none of `kinds`,
/// whose message ends in `reason`. T is int64_t or std::string.
template <typename T>
std::vector<size_t>
readLayerKinds(ConfigReader &reader, const char *key, int64_t layers,
               const std::vector<LayerKind<T>> &kinds, const char *reason);

/// Of weights and activations, from `dtype` or its old name `torch_dtype`; bf16
/// when none is declared.
TensorDType readDType(ConfigReader &reader);

/// Ids below the vocabulary that begin and end a generation; may be empty.
struct TokenIds {
  std::vector<int64_t> bos;
  std::vector<int64_t> eos;
};

/// `bos_token_id` and `eos_token_id`. A field that is absent takes the
/// fallback, if the vocabulary has it (transformers' default of the family);
/// null means none. Ids outside the vocabulary can never be generated and are
/// dropped with a warning.
TokenIds readTokenIds(ConfigReader &reader, int64_t vocab, int64_t bosFallback,
                      int64_t eosFallback, std::vector<std::string> &warnings);

/// Replaces the ids that `generation_config.json` sets. Errors: the reader's.
Status overrideTokenIds(ConfigReader generation, int64_t vocab, TokenIds &ids,
                        std::vector<std::string> &warnings);

} // namespace saddle

#endif // SADDLE_MODELS_COMMON_FIELDS_H
