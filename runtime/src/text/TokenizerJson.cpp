// Reads tokenizer.json. Every field is used, known to have no effect here, or
// an error that names it.

#include "runtime/src/base/File.h"
#include "runtime/src/base/Json.h"
#include "runtime/src/text/ByteLevel.h"
#include "runtime/src/text/Tokenizer.h"
#include "runtime/src/text/Utf8.h"

#include <cinttypes>
#include <cstdarg>
#include <initializer_list>
#include <nlohmann/json.hpp>

namespace saddle::text {

using Json = nlohmann::json;

/// Fills a Tokenizer from the parsed file. `path` arguments name a place in it:
/// "pre_tokenizer.pretokenizers[1]".
class TokenizerReader {
public:
  explicit TokenizerReader(std::string name) : name(std::move(name)) {}
  Status read(const Json &root, Tokenizer &tokenizer);

private:
  /// `FILE: path: message`, formatted like printf.
  [[gnu::format(printf, 3, 4)]] Status error(const std::string &path,
                                             const char *format, ...) const {
    va_list args;
    va_start(args, format);
    Status status = makeErrorV(StatusCode::DataLoss, format, args)
                        .within(name + ": " + path);
    va_end(args);
    return status;
  }
  Status unsupported(const std::string &path, const std::string &found,
                     const char *expected) const {
    return makeError(StatusCode::Unsupported,
                     "%s: %s is %s, but only %s is supported", name.c_str(),
                     path.c_str(), found.c_str(), expected);
  }
  /// The value at `key`, or null when it is absent.
  static const Json &get(const Json &object, const char *key);
  Status checkKeys(const Json &object, const std::string &path,
                   std::initializer_list<const char *> known) const;
  StatusOr<std::string> getString(const Json &object, const std::string &path,
                                  const char *key) const;
  StatusOr<bool> getBool(const Json &object, const std::string &path,
                         const char *key, bool absent) const;
  StatusOr<int32_t> toId(const Json &value, const std::string &path) const;
  /// Absent, null or one of `harmless`; else Unsupported.
  Status expectOff(const Json &object, const std::string &path, const char *key,
                   std::initializer_list<Json> harmless) const;

  Status readModel(const Json &model, Tokenizer &tokenizer);
  Status readVocab(const Json &vocab, Tokenizer &tokenizer);
  Status readMerges(const Json &merges, Tokenizer &tokenizer);
  Status readAddedTokens(const Json &added, Tokenizer &tokenizer);
  Status readNormalizer(const Json &normalizer, const std::string &path,
                        Tokenizer &tokenizer);
  Status readPreTokenizer(const Json &stage, const std::string &path,
                          Tokenizer &tokenizer);
  Status readSplit(const Json &stage, const std::string &path,
                   Tokenizer &tokenizer);
  Status readPostProcessor(const Json &processor, const std::string &path,
                           Tokenizer &tokenizer);
  Status readTemplate(const Json &processor, const std::string &path,
                      Tokenizer &tokenizer);
  Status readDecoder(const Json &decoder);
  static void setPiece(int32_t id, std::string bytes, bool special,
                       Tokenizer &tokenizer);

  std::string name;
  bool byteLevel = false;                              // some stage says so
  std::unordered_map<std::string, int32_t> vocabulary; // as spelt in the file
};

//===--- Access with errors ----------------------------------------------===//

const Json &TokenizerReader::get(const Json &object, const char *key) {
  static const Json null;
  auto found = object.find(key);
  return found == object.end() ? null : *found;
}

Status
TokenizerReader::checkKeys(const Json &object, const std::string &path,
                           std::initializer_list<const char *> known) const {
  if (!object.is_object())
    return error(path, "expected an object, found %s", object.type_name());
  for (const auto &entry : object.items()) {
    bool found = false;
    for (const char *key : known)
      found |= entry.key() == key;
    if (!found)
      return makeError(StatusCode::Unsupported, "%s: %s: unknown field \"%s\"",
                       name.c_str(), path.c_str(), entry.key().c_str());
  }
  return {};
}

StatusOr<std::string> TokenizerReader::getString(const Json &object,
                                                 const std::string &path,
                                                 const char *key) const {
  const Json &value = get(object, key);
  if (value.is_string())
    return value.get_ref<const std::string &>();
  return error(path + "." + key, "expected a string, found %s",
               value.type_name());
}

StatusOr<bool> TokenizerReader::getBool(const Json &object,
                                        const std::string &path,
                                        const char *key, bool absent) const {
  const Json &value = get(object, key);
  if (value.is_boolean())
    return bool(value == true);
  if (value.is_null())
    return bool(absent);
  return error(path + "." + key, "expected a boolean, found %s",
               value.type_name());
}

StatusOr<int32_t> TokenizerReader::toId(const Json &value,
                                        const std::string &path) const {
  // Ids index a table, so a wild one would cost gigabytes.
  constexpr uint64_t kMost = 1 << 24;
  if (!value.is_number_unsigned() || value > kMost)
    return error(path, "expected a token id from 0 to 16777216, found %s",
                 value.dump(-1, ' ', true).c_str());
  return int32_t(value.get<uint64_t>());
}

Status TokenizerReader::expectOff(const Json &object, const std::string &path,
                                  const char *key,
                                  std::initializer_list<Json> harmless) const {
  const Json &value = get(object, key);
  if (value.is_null())
    return {};
  for (const Json &allowed : harmless)
    if (value == allowed)
      return {};
  std::string expected = "null";
  for (const Json &allowed : harmless)
    expected += " or " + allowed.dump();
  return unsupported(path + "." + key, value.dump(-1, ' ', true),
                     expected.c_str());
}

//===--- The model -------------------------------------------------------===//

void TokenizerReader::setPiece(int32_t id, std::string bytes, bool special,
                               Tokenizer &tokenizer) {
  if (size_t(id) >= tokenizer.pieces.size())
    tokenizer.pieces.resize(id + 1);
  tokenizer.pieces[id] = {std::move(bytes), special};
}

Status TokenizerReader::readModel(const Json &model, Tokenizer &tokenizer) {
  SADDLE_RETURN_IF_ERROR(
      checkKeys(model, "model",
                {"type", "vocab", "merges", "dropout", "unk_token",
                 "continuing_subword_prefix", "end_of_word_suffix", "fuse_unk",
                 "byte_fallback", "ignore_merges"}));
  SADDLE_ASSIGN_OR_RETURN(std::string type, getString(model, "model", "type"));
  if (type != "BPE")
    return unsupported("model.type", "\"" + type + "\"", "\"BPE\"");
  SADDLE_RETURN_IF_ERROR(expectOff(model, "model", "dropout", {0.0}));
  SADDLE_RETURN_IF_ERROR(
      expectOff(model, "model", "continuing_subword_prefix", {""}));
  SADDLE_RETURN_IF_ERROR(expectOff(model, "model", "end_of_word_suffix", {""}));
  SADDLE_RETURN_IF_ERROR(expectOff(model, "model", "fuse_unk", {false}));
  SADDLE_RETURN_IF_ERROR(expectOff(model, "model", "byte_fallback", {false}));
  SADDLE_ASSIGN_OR_RETURN(bool ignoreMerges,
                          getBool(model, "model", "ignore_merges", false));
  tokenizer.bpe.setIgnoreMerges(ignoreMerges);
  SADDLE_RETURN_IF_ERROR(readVocab(get(model, "vocab"), tokenizer));
  SADDLE_RETURN_IF_ERROR(readMerges(get(model, "merges"), tokenizer));
  if (get(model, "unk_token").is_null())
    return {};
  SADDLE_ASSIGN_OR_RETURN(std::string unknown,
                          getString(model, "model", "unk_token"));
  auto found = vocabulary.find(unknown);
  if (found != vocabulary.end())
    tokenizer.bpe.setUnknownToken(found->second);
  return {};
}

Status TokenizerReader::readVocab(const Json &vocab, Tokenizer &tokenizer) {
  if (!vocab.is_object())
    return error("model.vocab", "expected an object, found %s",
                 vocab.type_name());
  std::unordered_map<int32_t, std::string> spellingOf;
  for (const auto &entry : vocab.items()) {
    std::string path = "model.vocab[\"" + entry.key() + "\"]";
    SADDLE_ASSIGN_OR_RETURN(int32_t id, toId(entry.value(), path));
    auto [other, isNew] = spellingOf.emplace(id, entry.key());
    if (!isNew)
      return error(path, "id %d belongs to \"%s\" already", id,
                   other->second.c_str());
    vocabulary.emplace(entry.key(), id);
    // Spellings outside the byte alphabet can only be added tokens: no text
    // reaches them through bytes.
    std::optional<std::string> bytes = unspellBytes(entry.key());
    if (bytes)
      tokenizer.bpe.addToken(*bytes, id);
    setPiece(id, bytes ? *bytes : entry.key(), false, tokenizer);
  }
  return {};
}

Status TokenizerReader::readMerges(const Json &merges, Tokenizer &tokenizer) {
  if (!merges.is_array())
    return error("model.merges", "expected an array, found %s",
                 merges.type_name());
  for (size_t i = 0; i < merges.size(); ++i) {
    const Json &merge = merges[i];
    std::string path = "model.merges[" + std::to_string(i) + "]";
    std::string sides[2];
    if (merge.is_string()) {
      const auto &text = merge.get_ref<const std::string &>();
      size_t space = text.find(' ');
      if (space == std::string::npos ||
          text.find(' ', space + 1) != std::string::npos)
        return error(path,
                     "expected two tokens with one space between, found \"%s\"",
                     text.c_str());
      sides[0] = text.substr(0, space);
      sides[1] = text.substr(space + 1);
    } else if (merge.is_array() && merge.size() == 2 && merge[0].is_string() &&
               merge[1].is_string()) {
      sides[0] = merge[0].get_ref<const std::string &>();
      sides[1] = merge[1].get_ref<const std::string &>();
    } else {
      return error(path, "expected \"LEFT RIGHT\" or [LEFT, RIGHT], found %s",
                   merge.dump(-1, ' ', true).c_str());
    }
    int32_t ids[3];
    const std::string *spellings[3] = {&sides[0], &sides[1], nullptr};
    std::string joined = sides[0] + sides[1];
    spellings[2] = &joined;
    for (int j = 0; j < 3; ++j) {
      auto found = vocabulary.find(*spellings[j]);
      if (found == vocabulary.end())
        return error(path, "\"%s\" is not in the vocabulary",
                     spellings[j]->c_str());
      ids[j] = found->second;
    }
    tokenizer.bpe.addMerge(ids[0], ids[1], ids[2]);
  }
  return {};
}

Status TokenizerReader::readAddedTokens(const Json &added,
                                        Tokenizer &tokenizer) {
  if (added.is_null())
    return {};
  if (!added.is_array())
    return error("added_tokens", "expected an array, found %s",
                 added.type_name());
  for (size_t i = 0; i < added.size(); ++i) {
    std::string path = "added_tokens[" + std::to_string(i) + "]";
    const Json &entry = added[i];
    SADDLE_RETURN_IF_ERROR(checkKeys(entry, path,
                                     {"id", "content", "single_word", "lstrip",
                                      "rstrip", "normalized", "special"}));
    AddedToken token;
    SADDLE_ASSIGN_OR_RETURN(token.id, toId(get(entry, "id"), path + ".id"));
    SADDLE_ASSIGN_OR_RETURN(token.content, getString(entry, path, "content"));
    SADDLE_ASSIGN_OR_RETURN(token.special,
                            getBool(entry, path, "special", false));
    SADDLE_ASSIGN_OR_RETURN(token.lstrip,
                            getBool(entry, path, "lstrip", false));
    SADDLE_ASSIGN_OR_RETURN(token.rstrip,
                            getBool(entry, path, "rstrip", false));
    SADDLE_ASSIGN_OR_RETURN(token.normalized,
                            getBool(entry, path, "normalized", !token.special));
    SADDLE_RETURN_IF_ERROR(expectOff(entry, path, "single_word", {false}));
    auto known = vocabulary.find(token.content);
    if (known != vocabulary.end() && known->second != token.id)
      return error(path, "\"%s\" has id %d, but the vocabulary gives it %d",
                   token.content.c_str(), token.id, known->second);
    if (!tokenizer.addedIds.emplace(token.content, token.id).second)
      return error(path, "\"%s\" is added twice", token.content.c_str());
    setPiece(token.id, token.content, token.special, tokenizer);
    if (token.normalized && tokenizer.nfc) {
      SADDLE_ASSIGN_OR_RETURN(token.content, toNfc(token.content));
    }
    (token.normalized ? tokenizer.normalizedTokens : tokenizer.rawTokens)
        .add(token);
  }
  return {};
}

//===--- The stages around it --------------------------------------------===//

Status TokenizerReader::readNormalizer(const Json &normalizer,
                                       const std::string &path,
                                       Tokenizer &tokenizer) {
  if (normalizer.is_null())
    return {};
  SADDLE_RETURN_IF_ERROR(checkKeys(normalizer, path, {"type", "normalizers"}));
  SADDLE_ASSIGN_OR_RETURN(std::string type,
                          getString(normalizer, path, "type"));
  const Json &parts = get(normalizer, "normalizers");
  if (type == "Sequence" && parts.is_array()) {
    for (size_t i = 0; i < parts.size(); ++i)
      SADDLE_RETURN_IF_ERROR(readNormalizer(
          parts[i], path + ".normalizers[" + std::to_string(i) + "]",
          tokenizer));
    return {};
  }
  if (type != "NFC")
    return unsupported(path + ".type", "\"" + type + "\"",
                       "\"NFC\" or \"Sequence\"");
  tokenizer.nfc = true;
  return {};
}

Status TokenizerReader::readPreTokenizer(const Json &stage,
                                         const std::string &path,
                                         Tokenizer &tokenizer) {
  if (!stage.is_object())
    return error(path, "expected an object, found %s", stage.type_name());
  SADDLE_ASSIGN_OR_RETURN(std::string type, getString(stage, path, "type"));
  if (byteLevel)
    return unsupported(path, "\"" + type + "\" after a ByteLevel stage",
                       "ByteLevel as the last stage");
  if (type == "Sequence") {
    SADDLE_RETURN_IF_ERROR(checkKeys(stage, path, {"type", "pretokenizers"}));
    const Json &parts = get(stage, "pretokenizers");
    if (!parts.is_array())
      return error(path + ".pretokenizers", "expected an array, found %s",
                   parts.type_name());
    for (size_t i = 0; i < parts.size(); ++i)
      SADDLE_RETURN_IF_ERROR(readPreTokenizer(
          parts[i], path + ".pretokenizers[" + std::to_string(i) + "]",
          tokenizer));
    return {};
  }
  if (type == "Split")
    return readSplit(stage, path, tokenizer);
  if (type != "ByteLevel")
    return unsupported(path + ".type", "\"" + type + "\"",
                       "\"ByteLevel\", \"Split\" or \"Sequence\"");
  // trim_offsets moves offsets, which nobody here asks for.
  SADDLE_RETURN_IF_ERROR(checkKeys(
      stage, path, {"type", "add_prefix_space", "trim_offsets", "use_regex"}));
  SplitStage split;
  SADDLE_ASSIGN_OR_RETURN(split.addPrefixSpace,
                          getBool(stage, path, "add_prefix_space", true));
  SADDLE_ASSIGN_OR_RETURN(bool useRegex,
                          getBool(stage, path, "use_regex", true));
  if (useRegex) {
    SADDLE_ASSIGN_OR_RETURN(Regex pattern,
                            Regex::compile(kByteLevelPattern, false));
    split.pattern.emplace(std::move(pattern));
  }
  byteLevel = true;
  tokenizer.stages.push_back(std::move(split));
  return {};
}

Status TokenizerReader::readSplit(const Json &stage, const std::string &path,
                                  Tokenizer &tokenizer) {
  SADDLE_RETURN_IF_ERROR(
      checkKeys(stage, path, {"type", "pattern", "behavior", "invert"}));
  SplitStage split;
  SADDLE_ASSIGN_OR_RETURN(split.invert, getBool(stage, path, "invert", false));
  SADDLE_ASSIGN_OR_RETURN(std::string behavior,
                          getString(stage, path, "behavior"));
  const struct {
    const char *name;
    SplitBehavior value;
  } behaviors[] = {{"Removed", SplitBehavior::Removed},
                   {"Isolated", SplitBehavior::Isolated},
                   {"MergedWithPrevious", SplitBehavior::MergedWithPrevious},
                   {"MergedWithNext", SplitBehavior::MergedWithNext},
                   {"Contiguous", SplitBehavior::Contiguous}};
  bool known = false;
  for (const auto &entry : behaviors) {
    if (behavior != entry.name)
      continue;
    split.behavior = entry.value;
    known = true;
  }
  if (!known)
    return unsupported(path + ".behavior", "\"" + behavior + "\"",
                       "Removed, Isolated, MergedWithPrevious, MergedWithNext "
                       "or Contiguous");
  const Json &pattern = get(stage, "pattern");
  std::string patternPath = path + ".pattern";
  SADDLE_RETURN_IF_ERROR(checkKeys(pattern, patternPath, {"Regex", "String"}));
  bool literal = pattern.contains("String");
  SADDLE_ASSIGN_OR_RETURN(
      std::string text,
      getString(pattern, patternPath, literal ? "String" : "Regex"));
  StatusOr<Regex> compiled = Regex::compile(text, literal);
  if (!compiled.ok())
    return compiled.status().within(name + ": " + patternPath);
  split.pattern.emplace(std::move(*compiled));
  tokenizer.stages.push_back(std::move(split));
  return {};
}

Status TokenizerReader::readPostProcessor(const Json &processor,
                                          const std::string &path,
                                          Tokenizer &tokenizer) {
  if (processor.is_null())
    return {};
  if (!processor.is_object())
    return error(path, "expected an object, found %s", processor.type_name());
  SADDLE_ASSIGN_OR_RETURN(std::string type, getString(processor, path, "type"));
  if (type == "ByteLevel")
    return {}; // moves offsets only
  if (type == "TemplateProcessing")
    return readTemplate(processor, path, tokenizer);
  const Json &parts = get(processor, "processors");
  if (type != "Sequence" || !parts.is_array())
    return unsupported(path + ".type", "\"" + type + "\"",
                       "\"ByteLevel\", \"TemplateProcessing\" or \"Sequence\"");
  for (size_t i = 0; i < parts.size(); ++i)
    SADDLE_RETURN_IF_ERROR(readPostProcessor(
        parts[i], path + ".processors[" + std::to_string(i) + "]", tokenizer));
  return {};
}

Status TokenizerReader::readTemplate(const Json &processor,
                                     const std::string &path,
                                     Tokenizer &tokenizer) {
  // `pair` is for two texts, which nobody encodes here.
  SADDLE_RETURN_IF_ERROR(
      checkKeys(processor, path, {"type", "single", "pair", "special_tokens"}));
  const Json &single = get(processor, "single");
  if (!single.is_array())
    return error(path + ".single", "expected an array, found %s",
                 single.type_name());
  bool sawText = false;
  for (size_t i = 0; i < single.size(); ++i) {
    std::string itemPath = path + ".single[" + std::to_string(i) + "]";
    SADDLE_RETURN_IF_ERROR(
        checkKeys(single[i], itemPath, {"SpecialToken", "Sequence"}));
    if (single[i].contains("Sequence")) {
      sawText = true;
      continue;
    }
    const Json &item = get(single[i], "SpecialToken");
    if (!item.is_object())
      return error(itemPath, "expected a SpecialToken or a Sequence");
    SADDLE_ASSIGN_OR_RETURN(std::string token,
                            getString(item, itemPath + ".SpecialToken", "id"));
    const Json &tokens = get(processor, "special_tokens");
    const Json *ids = nullptr;
    if (tokens.is_object() && tokens.contains(token) &&
        tokens[token].is_object())
      ids = &get(tokens[token], "ids");
    if (!ids || !ids->is_array())
      return error(path + ".special_tokens", "\"%s\" has no array of ids",
                   token.c_str());
    for (const Json &value : *ids) {
      SADDLE_ASSIGN_OR_RETURN(int32_t id,
                              toId(value, path + ".special_tokens"));
      (sawText ? tokenizer.suffix : tokenizer.prefix).push_back(id);
    }
  }
  return {};
}

Status TokenizerReader::readDecoder(const Json &decoder) {
  if (!decoder.is_object())
    return unsupported("decoder", decoder.dump(-1, ' ', true),
                       "one of type \"ByteLevel\"");
  SADDLE_ASSIGN_OR_RETURN(std::string type,
                          getString(decoder, "decoder", "type"));
  if (type == "ByteLevel")
    return {};
  return unsupported("decoder.type", "\"" + type + "\"", "\"ByteLevel\"");
}

Status TokenizerReader::read(const Json &root, Tokenizer &tokenizer) {
  SADDLE_RETURN_IF_ERROR(checkKeys(
      root, "the file",
      {"version", "truncation", "padding", "added_tokens", "normalizer",
       "pre_tokenizer", "post_processor", "decoder", "model"}));
  // What a caller had set when the file was saved. It makes batches of one
  // length and says nothing about which tokens a text has; transformers resets
  // it for each call, too.
  for (const char *key : {"truncation", "padding"})
    if (const Json &value = get(root, key);
        !value.is_null() && !value.is_object())
      return error(key, "expected an object or null, found %s",
                   value.type_name());
  SADDLE_RETURN_IF_ERROR(readModel(get(root, "model"), tokenizer));
  SADDLE_RETURN_IF_ERROR(
      readNormalizer(get(root, "normalizer"), "normalizer", tokenizer));
  SADDLE_RETURN_IF_ERROR(readAddedTokens(get(root, "added_tokens"), tokenizer));
  SADDLE_RETURN_IF_ERROR(
      readPreTokenizer(get(root, "pre_tokenizer"), "pre_tokenizer", tokenizer));
  if (!byteLevel)
    return unsupported("pre_tokenizer", "without a ByteLevel stage",
                       "byte-level BPE");
  SADDLE_RETURN_IF_ERROR(readPostProcessor(get(root, "post_processor"),
                                           "post_processor", tokenizer));
  return readDecoder(get(root, "decoder"));
}

StatusOr<std::unique_ptr<Tokenizer>>
Tokenizer::fromJson(Bytes json, const std::string &name) {
  SADDLE_ASSIGN_OR_RETURN(JsonDocument root, readJson(name, json));
  auto tokenizer = std::make_unique<Tokenizer>();
  SADDLE_RETURN_IF_ERROR(TokenizerReader(name).read(*root, *tokenizer));
  return tokenizer;
}

StatusOr<std::unique_ptr<Tokenizer>> Tokenizer::load(const std::string &path) {
  SADDLE_ASSIGN_OR_RETURN(OwnedBytes file, readFile(path, kMaxJsonBytes));
  return fromJson(file.bytes(), path);
}

} // namespace saddle::text
