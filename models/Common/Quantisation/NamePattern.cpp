#include "models/Common/Quantisation/NamePattern.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include <cctype>
#include <vector>

namespace saddle {

/// Of a compiled pattern: repetitions of repetitions multiply. What matching
/// keeps of it is three numbers for each place, twice.
static constexpr size_t kMostBytes = 16 << 10;
static constexpr size_t kWorkspace = 8 * kMostBytes;

NamePattern::NamePattern(std::string_view expression, End end) {
  std::string text = "(?:" + std::string(expression) + ")";
  if (end == AfterComponent)
    text += "(?:\\.|$)";
  // Where Python and PCRE2 differ.
  if (expression.find("{,") != std::string_view::npos)
    why = "a repetition begins with no number";
  else if (expression.find("[[:") != std::string_view::npos)
    why = "classes with a name are not Python's";
  if (!why.empty())
    return;
  int error = 0;
  PCRE2_SIZE offset = 0;
  auto *compiled = pcre2_compile(
      reinterpret_cast<PCRE2_SPTR>(text.data()), text.size(),
      PCRE2_ANCHORED | PCRE2_DOLLAR_ENDONLY, &error, &offset, nullptr);
  if (!compiled) {
    PCRE2_UCHAR message[256];
    pcre2_get_error_message(error, message, sizeof message);
    why = reinterpret_cast<const char *>(message);
    return;
  }
  code = compiled;
  uint32_t references = 0;
  size_t bytes = 0;
  pcre2_pattern_info(compiled, PCRE2_INFO_BACKREFMAX, &references);
  pcre2_pattern_info(compiled, PCRE2_INFO_SIZE, &bytes);
  if (references != 0)
    why = "it refers back to a group";
  else if (bytes > kMostBytes)
    why = "its repetitions are too many";
}

static void addLiteral(std::string &text, char c) {
  if (!isalnum(static_cast<unsigned char>(c)))
    text += '\\';
  text += c;
}

/// A glob as an expression; `isComponent`: nothing in it stands for a dot.
static std::string expressionOf(std::string_view glob, bool isComponent) {
  const std::string any = isComponent ? "[^.]" : ".";
  std::string text;
  for (size_t i = 0; i < glob.size(); ++i) {
    const char c = glob[i];
    bool negated = glob.substr(i + 1, 1) == "!";
    // A ] that comes first belongs to the set.
    size_t first = i + (negated ? 2 : 1), end = glob.find(']', first + 1);
    if (c == '*') {
      text += any + "*";
    } else if (c == '?') {
      text += any;
    } else if (c == '[' && end != std::string_view::npos) {
      text += isComponent ? "(?!\\.)[" : "[";
      text += negated ? "^" : "";
      for (size_t j = first; j < end; ++j)
        if (glob[j] == '-')
          text += '-';
        else
          addLiteral(text, glob[j]);
      text += ']';
      i = end;
    } else {
      addLiteral(text, c);
    }
  }
  return text;
}

std::shared_ptr<const NamePattern> NamePattern::ofGlob(std::string_view glob) {
  std::string text = expressionOf(glob, false);
  if (glob.find('.') == std::string_view::npos)
    text += "|(?:.*\\.)?" + expressionOf(glob, true);
  return std::make_shared<const NamePattern>(text, AfterComponent);
}

NamePattern::~NamePattern() {
  pcre2_code_free(static_cast<pcre2_code *>(code));
}

bool NamePattern::matches(std::string_view name) const {
  if (!why.empty())
    return false;
  static thread_local std::vector<int> workspace(kWorkspace);
  auto *compiled = static_cast<pcre2_code *>(code);
  std::unique_ptr<pcre2_match_data, void (*)(pcre2_match_data *)> data(
      pcre2_match_data_create(1, nullptr), pcre2_match_data_free);
  // 0 says that there are more matches than room for them.
  return data &&
         pcre2_dfa_match(compiled, reinterpret_cast<PCRE2_SPTR>(name.data()),
                         name.size(), 0, PCRE2_DFA_SHORTEST, data.get(),
                         nullptr, workspace.data(), workspace.size()) >= 0;
}

} // namespace saddle
