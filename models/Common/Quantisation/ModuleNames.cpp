#include "models/Common/Quantisation/ModuleNames.h"

#include "models/Common/NamePrefixes.h"
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

static bool mayHaveExpressions(ModuleNames::Syntax syntax) {
  return syntax == ModuleNames::Expressions || syntax == ModuleNames::Globs;
}

/// An expression of Python's `re`, as far as POSIX has it.
class ModuleNames::Expression {
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
    // Others are modules of another format, which the method reads.
    if (name.compare(0, 2, "-:") == 0) {
      entries.push_back(expressionMark + name.substr(2));
      object->skip(name);
    }
  }
  return entries;
}

ModuleNames::ModuleNames(std::vector<std::string> entries, Syntax syntax)
    : names(std::move(entries)), syntax(syntax) {
  for (std::string &name : names)
    name = plainModuleName(name);
  if (syntax == Exact)
    set.insert(names.begin(), names.end());
  for (const std::string &name : names)
    expressions.push_back(mayHaveExpressions(syntax) && isExpression(name)
                              ? std::make_shared<const Expression>(name)
                              : nullptr);
}

std::string plainModuleName(const std::string &name) {
  for (const NamePrefix &prefix : namePrefixes()) {
    const std::string stored = prefix.stored;
    if (name.compare(0, stored.size(), stored) == 0)
      return prefix.name + name.substr(stored.size());
  }
  return name;
}

ModuleNames ModuleNames::check(ConfigReader &reader, const char *key,
                               std::vector<std::string> names, Syntax syntax) {
  ModuleNames result(std::move(names), syntax);
  result.checkEntries(reader, key);
  return result;
}

ModuleNames ModuleNames::read(ConfigReader &reader, const char *key,
                              Syntax syntax) {
  if (syntax == Keys)
    return check(reader, key, readKeys(reader, key), Expressions);
  return check(reader, key,
               reader.strings(key).value_or(std::vector<std::string>()),
               syntax);
}

void ModuleNames::checkEntries(ConfigReader &reader, const char *key) const {
  for (size_t i = 0; i < names.size(); ++i) {
    const std::string &name = names[i];
    if (const Expression *expression = expressionOf(i)) {
      if (!expression->isValid())
        reader.fail(
            key,
            "expected module names or \"re:\" and an expression of characters, "
            "., \\d, [], (), |, *, +, ? and $, found \"%s\"",
            name.c_str());
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
      reader.fail(key,
                  "expected plain module names, found \"%s\"; patterns are not "
                  "implemented",
                  name.c_str());
  }
}

ModuleNames::Match ModuleNames::match(const std::string &module,
                                      uint64_t members) const {
  if (syntax == Exact) {
    uint64_t matched = 0;
    for (uint64_t i = 0; i < members; ++i)
      matched += set.count(memberName(module, i));
    return matched == 0 ? No : matched == members ? Yes : Partly;
  }
  Match result = matchComponents(module);
  for (size_t entryIndex = 0; entryIndex < names.size(); ++entryIndex) {
    const std::string &entry = names[entryIndex];
    const Expression *expression = expressionOf(entryIndex);
    bool isOther = syntax == Substrings || syntax == Globs || expression;
    if (!isOther || result == Yes)
      continue;
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

std::vector<std::string>
ModuleNames::unmatched(const std::vector<std::string> &modules) const {
  std::vector<std::string> useless;
  for (const std::string &entry : names) {
    const ModuleNames alone({entry}, syntax); // compiles it once
    bool used = false;
    for (size_t i = 0; i < modules.size() && !used; ++i)
      used = alone.match(modules[i]) != No;
    if (!used)
      useless.push_back(entry);
  }
  return useless;
}

ModuleNames::Match
ModuleNames::matchComponents(const std::string &module) const {
  std::vector<std::string> name = splitDots(module);
  Match result = No;
  if (syntax == Substrings || syntax == Globs)
    return result;
  for (const std::string &entry : names) {
    if (syntax == Expressions && isExpression(entry))
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
