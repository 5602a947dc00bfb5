#include "models/Common/TokenizerIds.h"

#include "runtime/src/base/File.h"
#include "runtime/src/base/Json.h"
#include "runtime/src/base/Printable.h"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <cinttypes>

namespace saddle {

using nlohmann::json;

/// The object in a file; an empty one when there is none.
static json readIfThere(const std::string &path) {
  StatusOr<bool> isThere = exists(path);
  if (!isThere.ok() || !*isThere)
    return json::object();
  StatusOr<OwnedBytes> text = readFile(path, kMaxJsonBytes);
  if (!text.ok())
    return json::object();
  StatusOr<JsonDocument> root = readJson(path, text->bytes());
  return root.ok() && (*root)->is_object() ? std::move(root->get())
                                           : json::object();
}

namespace {

class Tokenizer {
public:
  explicit Tokenizer(const std::string &folder)
      : folder(folder), config(readIfThere(folder + "/tokenizer_config.json")) {
  }

  /// Of `bos_token` or `eos_token`: a text, or an object with it.
  std::string content(const char *key) const {
    auto token = config.find(key);
    if (token == config.end())
      return "";
    if (token->is_object()) {
      auto content = token->find("content");
      return content != token->end() && content->is_string()
                 ? content->get<std::string>()
                 : "";
    }
    return token->is_string() ? token->get<std::string>() : "";
  }

  std::optional<int64_t> idOf(const std::string &text) {
    if (auto known = config.find("added_tokens_decoder");
        known != config.end() && known->is_object())
      for (const auto &[id, token] : known->items())
        if (token.is_object() && token.value("content", json()) == text &&
            !id.empty() && id.size() < 10 &&
            id.find_first_not_of("0123456789") == std::string::npos)
          return std::stoll(id);
    if (whole.is_null())
      whole = readIfThere(folder + "/tokenizer.json");
    if (auto added = whole.find("added_tokens");
        added != whole.end() && added->is_array())
      for (const json &token : *added)
        if (token.is_object() && token.value("content", json()) == text)
          if (auto id = token.find("id");
              id != token.end() && id->is_number_integer())
            return id->get<int64_t>();
    return std::nullopt;
  }

private:
  const std::string &folder;
  json config, whole;
};

} // namespace

static std::string list(const std::vector<int64_t> &ids) {
  std::string text;
  for (int64_t id : ids)
    text += (text.empty() ? "" : ", ") + std::to_string(id);
  return text;
}

void settleTokenIds(const ConfigReader &config,
                    std::optional<ConfigReader> generation, int64_t vocab,
                    TokenIds &ids, std::vector<std::string> &warnings) {
  size_t slash = config.path().rfind('/');
  const std::string folder =
      slash == std::string::npos ? "." : config.path().substr(0, slash);
  Tokenizer tokenizer(folder);
  auto settle = [&](const char *idKey, const char *tokenKey,
                    std::vector<int64_t> &given) {
    const std::string text = tokenizer.content(tokenKey);
    if (text.empty() || !config.contains(idKey) || given.empty() ||
        (generation && generation->contains(idKey)))
      return;
    std::optional<int64_t> id = tokenizer.idOf(text);
    if (!id || *id < 0 || *id >= vocab ||
        std::find(given.begin(), given.end(), *id) != given.end())
      return;
    warn(config, warnings,
         "%s is %s, but %s of tokenizer_config.json, \"%s\", is token %" PRId64
         ", which is used",
         idKey, list(given).c_str(), tokenKey, printable(text).c_str(), *id);
    given = {*id};
  };
  settle("bos_token_id", "bos_token", ids.bos);
  settle("eos_token_id", "eos_token", ids.eos);
}

} // namespace saddle
