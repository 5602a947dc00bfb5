#include "models/Common/Quantisation/ModuleNames.h"

#include "models/Common/NamePrefixes.h"
#include "models/Common/WeightSpec.h"

#include <algorithm>

namespace saddle {

static constexpr char expressionMark[] = "re:";

static bool isExpression(const std::string &entry) {
  return entry.compare(0, sizeof expressionMark - 1, expressionMark) == 0;
}

/// Where the components of a name begin, and one behind its end.
static std::vector<size_t> componentStarts(const std::string &name) {
  std::vector<size_t> starts = {0};
  for (size_t i = 0; i < name.size(); ++i)
    if (name[i] == '.')
      starts.push_back(i + 1);
  starts.push_back(name.size() + 1);
  return starts;
}

//===--- Lists ------------------------------------------------------------===//

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

namespace {
enum class Entry { Plain, Part, Glob, Marked, Expression };
} // namespace

static Entry kindOf(const std::string &name, ModuleNames::Syntax syntax) {
  auto has = [&](const char *signs) {
    return name.find_first_of(signs) != std::string::npos;
  };
  switch (syntax) {
  case ModuleNames::Components:
    return isExpression(name)     ? Entry::Marked
           : has("\\[](){}|+?^$") ? Entry::Expression
           : has("*")             ? Entry::Glob
                                  : Entry::Plain;
  case ModuleNames::Expressions:
    return isExpression(name) ? Entry::Marked : Entry::Plain;
  case ModuleNames::Globs:
    return isExpression(name) ? Entry::Marked
           : has("*?[")       ? Entry::Glob
                              : Entry::Plain;
  case ModuleNames::Substrings:
    return Entry::Part;
  case ModuleNames::Exact:
  case ModuleNames::Keys:
    break;
  }
  return Entry::Plain;
}

ModuleNames::ModuleNames(std::vector<std::string> entries, Syntax syntax)
    : names(std::move(entries)), syntax(syntax) {
  for (std::string &name : names) {
    name = plainModuleName(name);
    switch (kindOf(name, syntax)) {
    case Entry::Plain:
      // A name with its full stop is the module's, too (transformers).
      plain.insert(syntax == Components && !name.empty() && name.back() == '.'
                       ? name.substr(0, name.size() - 1)
                       : name);
      break;
    case Entry::Part:
      patterns.push_back({name, nullptr});
      break;
    case Entry::Glob:
      patterns.push_back({name, NamePattern::ofGlob(name)});
      break;
    case Entry::Marked:
      patterns.push_back({name, std::make_shared<const NamePattern>(
                                    name.substr(sizeof expressionMark - 1),
                                    NamePattern::Anywhere)});
      break;
    case Entry::Expression:
      patterns.push_back({name, std::make_shared<const NamePattern>(
                                    name, NamePattern::AfterComponent)});
      break;
    }
  }
  for (const std::string &name : plain)
    lengths.insert(1 + std::count(name.begin(), name.end(), '.'));
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
  for (const Pattern &pattern : patterns)
    if (pattern.compiled && !pattern.compiled->error().empty())
      reader.fail(key,
                  "expected module names%s, found \"%s\", which is no "
                  "expression: %s",
                  syntax == Components ? "" : " or \"re:\" and an expression",
                  pattern.text.c_str(), pattern.compiled->error().c_str());
  for (const std::string &name : names) {
    const Entry kind = kindOf(name, syntax);
    if (kind == Entry::Marked || kind == Entry::Expression)
      continue;
    std::string allowed = "abcdefghijklmnopqrstuvwxyz"
                          "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
                          "0123456789_.";
    if (kind == Entry::Glob)
      allowed += "*?[]!-";
    bool whole = kind != Entry::Plain || syntax == Globs ||
                 (!name.empty() && name.front() != '.' &&
                  (name.back() != '.' || syntax == Components));
    if (name.empty() || !whole ||
        name.find_first_not_of(allowed) != std::string::npos)
      reader.fail(key,
                  "expected module names of letters, digits, _ and .%s, found "
                  "\"%s\"",
                  syntax == Globs        ? ", or with * and []"
                  : syntax == Components ? ", or with *"
                                         : "",
                  name.c_str());
  }
}

bool ModuleNames::matchesPlain(const std::string &name) const {
  if (plain.empty())
    return false;
  if (syntax == Exact) {
    for (size_t end = name.size(); end != std::string::npos && end != 0;
         end = name.rfind('.', end - 1))
      if (plain.count(name.substr(0, end)))
        return true;
    return false;
  }
  // A run of components that an entry is all of.
  const std::vector<size_t> starts = componentStarts(name);
  for (size_t length : lengths)
    for (size_t i = 0; i + length < starts.size(); ++i)
      if (plain.count(
              name.substr(starts[i], starts[i + length] - 1 - starts[i])))
        return true;
  return false;
}

bool ModuleNames::matchesOne(const std::string &name) const {
  if (matchesPlain(name))
    return true;
  return std::any_of(
      patterns.begin(), patterns.end(), [&](const Pattern &pattern) {
        return pattern.compiled ? pattern.compiled->matches(name)
                                : name.find(pattern.text) != std::string::npos;
      });
}

ModuleNames::Match ModuleNames::match(const std::string &module,
                                      uint64_t members) const {
  uint64_t matched = 0;
  for (uint64_t i = 0; i < members; ++i)
    matched += matchesOne(memberName(module, i));
  return matched == 0 ? No : matched == members ? Yes : Partly;
}

/// Members of a stack among which there is one that an entry matches, if it
/// matches any: the number stands in the entry, at least its first digits, or
/// does not matter.
static std::set<uint64_t> membersToTry(const std::string &entry,
                                       uint64_t members) {
  std::set<uint64_t> result = {0, members - 1};
  for (size_t i = 0; i < entry.size();) {
    uint64_t number = 0;
    size_t begin = i;
    for (; i < entry.size() && entry[i] >= '0' && entry[i] <= '9'; ++i)
      number = std::min<uint64_t>(number * 10 + uint64_t(entry[i] - '0'), 1e9);
    for (uint64_t each = number; i != begin && each < members; each *= 10) {
      result.insert(each);
      if (each == 0)
        break;
    }
    i += i == begin;
  }
  return result;
}

std::vector<std::string>
ModuleNames::unmatched(const std::vector<Module> &modules) const {
  std::vector<std::string> useless;
  for (const std::string &entry : names) {
    const ModuleNames alone({entry}, syntax); // compiles it once
    auto uses = [&](const Module &module) {
      for (uint64_t member : membersToTry(entry, module.second))
        if (alone.matchesOne(memberName(module.first, member)))
          return true;
      return false;
    };
    if (std::none_of(modules.begin(), modules.end(), uses))
      useless.push_back(entry);
  }
  return useless;
}

} // namespace saddle
