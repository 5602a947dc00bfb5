#include "runtime/src/text/Regex.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include <algorithm>
#include <memory>

namespace saddle::text {

static std::string messageOf(int error) {
  PCRE2_UCHAR text[256];
  if (pcre2_get_error_message(error, text, sizeof text) < 0)
    return "error " + std::to_string(error);
  return reinterpret_cast<const char *>(text);
}

/// Regex libraries agree about these escapes, and about punctuation; \w, \h and
/// others mean something else in the one that tokenizers were made with.
static Status checkEscapes(const std::string &pattern) {
  const std::string agreed = "dDfnpPrsStx";
  for (size_t i = 0; i + 1 < pattern.size(); ++i) {
    if (pattern[i] != '\\')
      continue;
    char escaped = pattern[++i];
    bool alphanumeric = (escaped >= '0' && escaped <= '9') ||
                        (escaped >= 'a' && escaped <= 'z') ||
                        (escaped >= 'A' && escaped <= 'Z');
    if (alphanumeric && agreed.find(escaped) == std::string::npos)
      return makeError(StatusCode::Unsupported,
                       "regex \"%s\" uses \\%c, which regex libraries "
                       "understand differently",
                       pattern.c_str(), escaped);
  }
  return {};
}

StatusOr<Regex> Regex::compile(const std::string &pattern, bool literal) {
  std::optional<StandIns> standIns;
  if (!literal) {
    SADDLE_RETURN_IF_ERROR(checkEscapes(pattern));
    SADDLE_ASSIGN_OR_RETURN(standIns, StandIns::of(pattern));
  }
  int error = 0;
  PCRE2_SIZE offset = 0;
  uint32_t options =
      PCRE2_UTF | (literal ? uint32_t(PCRE2_LITERAL) : uint32_t(PCRE2_UCP));
  pcre2_code *code =
      pcre2_compile(reinterpret_cast<PCRE2_SPTR>(pattern.data()),
                    pattern.size(), options, &error, &offset, nullptr);
  if (!code)
    return makeError(StatusCode::Unsupported,
                     "regex \"%s\" is not understood at offset %zu: %s",
                     pattern.c_str(), size_t(offset), messageOf(error).c_str());
  return Regex(code, std::move(standIns));
}

Regex::~Regex() { pcre2_code_free(static_cast<pcre2_code *>(code)); }

StatusOr<std::vector<Regex::Part>> Regex::split(std::string_view text) const {
  auto isASCII = [](char c) { return uint8_t(c) < 0x80; };
  if (!standIns || std::all_of(text.begin(), text.end(), isASCII))
    return splitItself(text);
  StandIns::Text replaced = standIns->replace(text);
  SADDLE_ASSIGN_OR_RETURN(std::vector<Part> parts, splitItself(replaced.text));
  for (Part &part : parts) {
    size_t begin = size_t(part.text.data() - replaced.text.data());
    size_t from = replaced.places[begin];
    size_t to = replaced.places[begin + part.text.size()];
    part.text = text.substr(from, to - from);
  }
  return parts;
}

StatusOr<std::vector<Regex::Part>>
Regex::splitItself(std::string_view text) const {
  auto *compiled = static_cast<pcre2_code *>(code);
  std::vector<Part> parts;
  std::unique_ptr<pcre2_match_data, void (*)(pcre2_match_data *)> match(
      pcre2_match_data_create_from_pattern(compiled, nullptr),
      pcre2_match_data_free);
  size_t end = 0;   // of the last part
  size_t start = 0; // where to look next
  int found = 0;
  while (start < text.size()) {
    found = pcre2_match(compiled, reinterpret_cast<PCRE2_SPTR>(text.data()),
                        text.size(), start, PCRE2_NO_UTF_CHECK | PCRE2_NOTEMPTY,
                        match.get(), nullptr);
    if (found < 0)
      break;
    const PCRE2_SIZE *range = pcre2_get_ovector_pointer(match.get());
    if (range[0] > end)
      parts.push_back({text.substr(end, range[0] - end), false});
    parts.push_back({text.substr(range[0], range[1] - range[0]), true});
    start = end = range[1];
  }
  if (found < 0 && found != PCRE2_ERROR_NOMATCH)
    return makeError(StatusCode::InvalidArgument,
                     "the text cannot be split at byte %zu: %s", start,
                     messageOf(found).c_str());
  if (end < text.size())
    parts.push_back({text.substr(end), false});
  return parts;
}

} // namespace saddle::text
