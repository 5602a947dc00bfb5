#include "models/Common/Quantisation/ModuleNames.h"

#include "models/Common/WeightSpec.h"

#include <algorithm>
#include <regex.h>

namespace saddle {

static std::vector<std::string> splitDots(const std::string &name) {
  std::vector<std::string> parts(1);
  for (char c : name) {
    if (c == '.')
      parts.emplace_back();
    else
      parts.back() += c;
  }
  return parts;
}

static bool isNumber(const std::string &text) {
  return !text.empty() &&
         text.find_first_not_of("0123456789") == std::string::npos;
}

static constexpr char expressionMark[] = "re:";

static bool isExpression(const std::string &entry) {
  return entry.compare(0, sizeof expressionMark - 1, expressionMark) == 0;
}

/// Whether `pattern`, in which * stands for any text, is all of `name` or of
/// the name of a module above it.
static bool matchesGlob(std::string_view pattern, std::string_view name) {
  for (; !pattern.empty(); pattern.remove_prefix(1), name.remove_prefix(1)) {
    if (pattern.front() == '*') {
      for (size_t skip = 0; skip <= name.size(); ++skip)
        if (matchesGlob(pattern.substr(1), name.substr(skip)))
          return true;
      return false;
    }
    if (name.empty() || name.front() != pattern.front())
      return false;
  }
  return name.empty() || name.front() == '.';
}

namespace {

/// An expression of Python's `re`, as far as POSIX has it.
class Expression {
public:
  explicit Expression(const std::string &entry) {
    std::string pattern = "^(";
    for (size_t i = sizeof expressionMark - 1; i < entry.size(); ++i) {
      bool digit = entry.compare(i, 2, "\\d") == 0;
      // "(?:" and its like have no counterpart.
      unknown |=
          entry.compare(i, 2, "(?") == 0 ||
          (entry[i] == '\\' && !digit && entry.compare(i, 2, "\\.") != 0);
      pattern += digit ? "[0-9]" : entry.substr(i, 1);
      i += digit;
    }
    compiled = !unknown && regcomp(&regex, (pattern + ")").c_str(),
                                   REG_EXTENDED | REG_NOSUB) == 0;
  }
  Expression(const Expression &) = delete;
  Expression &operator=(const Expression &) = delete;
  ~Expression() {
    if (compiled)
      regfree(&regex);
  }

  bool isValid() const { return compiled; }
  bool matches(const std::string &name) const {
    return compiled && regexec(&regex, name.c_str(), 0, nullptr, 0) == 0;
  }

private:
  bool unknown = false, compiled = false;
  regex_t regex;
};

} // namespace

/// The keys of an object of exceptions, as a list's entries.
static std::vector<std::string> readKeys(ConfigReader &reader,
                                         const char *key) {
  std::vector<std::string> entries;
  std::optional<ConfigReader> object = reader.object(key);
  if (!object)
    return entries;
  for (const std::string &path : object->unread()) {
    std::string name = path.substr(path.find(std::string(key) + ".") +
                                   std::string(key).size() + 1);
    if (name.compare(0, 2, "-:") != 0)
      reader.fail(key, "expected keys \"-:\" and an expression, for modules "
                       "that stay unquantised, found \"" +
                           name + "\"; other exceptions are not implemented");
    else
      entries.push_back(expressionMark + name.substr(2));
    object->skip(name);
  }
  return entries;
}

ModuleNames ModuleNames::read(ConfigReader &reader, const char *key,
                              Syntax syntax) {
  if (syntax == Keys) {
    ModuleNames read(readKeys(reader, key), Expressions);
    read.checkEntries(reader, key);
    return read;
  }
  ModuleNames read(reader.strings(key).value_or(std::vector<std::string>()),
                   syntax);
  read.checkEntries(reader, key);
  return read;
}

void ModuleNames::checkEntries(ConfigReader &reader, const char *key) const {
  for (const std::string &name : names) {
    if (syntax == Expressions && isExpression(name)) {
      if (!Expression(name).isValid())
        reader.fail(key, "expected module names or \"re:\" and an expression "
                         "of characters, ., \\d, [], (), |, *, +, ? and $, "
                         "found \"" +
                             name + "\"");
      continue;
    }
    bool whole = syntax == Substrings || syntax == Globs ||
                 (!name.empty() && name.front() != '.' && name.back() != '.');
    bool plain = whole && !name.empty() &&
                 name.find_first_not_of("abcdefghijklmnopqrstuvwxyz"
                                        "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
                                        "0123456789_.*",
                                        0, syntax == Globs ? 65 : 64) ==
                     std::string::npos;
    if (!plain)
      reader.fail(key, "expected plain module names, found \"" + name +
                           "\"; patterns are not implemented");
  }
}

ModuleNames::Match ModuleNames::match(const std::string &module,
                                      uint64_t members) const {
  Match result = matchComponents(module);
  for (const std::string &entry : names) {
    bool isOther = syntax == Substrings || syntax == Globs ||
                   (syntax == Expressions && isExpression(entry));
    if (!isOther || result == Yes)
      continue;
    std::optional<Expression> expression;
    if (syntax == Expressions)
      expression.emplace(entry);
    uint64_t matched = 0;
    for (uint64_t i = 0; i < members; ++i) {
      std::string name = memberName(module, i);
      matched += expression        ? expression->matches(name)
                 : syntax == Globs ? matchesGlob(entry, name)
                                   : name.find(entry) != std::string::npos;
    }
    if (matched == members)
      result = Yes;
    else if (matched != 0)
      result = Partly;
  }
  return result;
}

ModuleNames::Match
ModuleNames::matchComponents(const std::string &module) const {
  std::vector<std::string> name = splitDots(module);
  Match result = No;
  for (const std::string &entry : names) {
    if (syntax == Substrings || syntax == Globs ||
        (syntax == Expressions && isExpression(entry)))
      continue;
    std::vector<std::string> wanted = splitDots(entry);
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
      if (equal && !usedHole)
        return Yes;
      if (equal)
        result = Partly;
    }
  }
  return result;
}

} // namespace saddle
