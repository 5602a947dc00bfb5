#include "models/Common/Quantisation/ModuleNames.h"

#include "models/Common/NamePrefixes.h"
#include "models/Common/WeightSpec.h"

#include <algorithm>
#include <cctype>
#include <cstring>
#include <regex.h>

namespace saddle {

static constexpr char expressionMark[] = "re:";

static bool isExpression(const std::string &entry) {
  return entry.compare(0, sizeof expressionMark - 1, expressionMark) == 0;
}

//===--- Globs ------------------------------------------------------------===//

/// Whether the element of a glob at its front is `c`: a character, ? for any,
/// or a set as Python's fnmatch has it. `rest` is what is behind the element.
static bool matchesElement(std::string_view glob, char c,
                           std::string_view &rest) {
  rest = glob.substr(1);
  if (glob.front() == '?')
    return true;
  bool negated = glob.size() > 1 && glob[1] == '!';
  // A ] that comes first belongs to the set.
  size_t first = negated ? 2 : 1, end = glob.find(']', first + 1);
  if (glob.front() != '[' || end == std::string_view::npos)
    return glob.front() == c;
  rest = glob.substr(end + 1);
  bool found = false;
  for (size_t i = first; i < end; ++i) {
    bool isRange = i + 2 < end && glob[i + 1] == '-';
    found |= isRange ? glob[i] <= c && c <= glob[i + 2] : glob[i] == c;
    i += isRange ? 2 : 0;
  }
  return found != negated;
}

/// Whether `glob`, in which * stands for any text, is all of `name` or of the
/// name of a module above it.
static bool matchesGlob(std::string_view glob, std::string_view name) {
  // What stands behind the last * may begin later; nothing before it need.
  std::string_view retry;
  size_t retryAt = std::string_view::npos;
  for (size_t at = 0;;) {
    if (!glob.empty() && glob.front() == '*') {
      glob.remove_prefix(1);
      retry = glob;
      retryAt = at;
      continue;
    }
    if (glob.empty() && (at == name.size() || name[at] == '.'))
      return true;
    std::string_view rest;
    if (!glob.empty() && at < name.size() &&
        matchesElement(glob, name[at], rest)) {
      glob = rest;
      ++at;
      continue;
    }
    if (retryAt >= name.size()) // npos, too
      return false;
    glob = retry;
    at = ++retryAt;
  }
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

static bool matchesGlobOrComponent(const std::string &glob,
                                   const std::string &name) {
  if (matchesGlob(glob, name))
    return true;
  if (glob.find('.') != std::string::npos)
    return false;
  const std::vector<size_t> starts = componentStarts(name);
  for (size_t i = 0; i + 1 < starts.size(); ++i)
    if (matchesGlob(glob, std::string_view(name).substr(
                              starts[i], starts[i + 1] - 1 - starts[i])))
      return true;
  return false;
}

//===--- Expressions ------------------------------------------------------===//

/// Whether "{2}" or "{1,3}" stands at its front, behind `last`. Of groups and
/// large numbers there is none: nested, they take any time and memory.
static bool isSmallRepetition(std::string_view text, char last) {
  if (last == 0 || std::strchr("(|)}*+?", last))
    return false;
  size_t at = 1;
  auto takeNumber = [&] {
    size_t begin = at;
    while (at < text.size() && isdigit(uint8_t(text[at])))
      ++at;
    return at - begin;
  };
  size_t least = takeNumber(), most = 0;
  if (at < text.size() && text[at] == ',') {
    ++at;
    most = takeNumber();
  }
  return least >= 1 && least <= 2 && most <= 2 && at < text.size() &&
         text[at] == '}';
}

/// `expression` of Python's `re` in POSIX's syntax; nothing where it has more
/// than that can say, or than anybody writes.
static std::optional<std::string> toPosix(std::string_view expression) {
  constexpr size_t kLongest = 1000;
  if (expression.size() > kLongest)
    return std::nullopt;
  static constexpr char special[] = ".[]()|*+?{}^$\\";
  std::string result;
  bool inSet = false;
  for (size_t i = 0; i < expression.size(); ++i) {
    const char c = expression[i];
    const char next = i + 1 < expression.size() ? expression[i + 1] : 0;
    const bool isClass = next == 'd' || next == 'w';
    if (c < ' ' || c > '~')
      return std::nullopt;
    if (c == '\\' && isClass) {
      std::string set = next == 'd' ? "0-9" : "A-Za-z0-9_";
      result += inSet ? set : "[" + set + "]";
      ++i;
    } else if (c == '\\') {
      // Within a set a backslash is a character of POSIX's.
      if (next == 0 || isalnum(uint8_t(next)) ||
          (inSet && std::strchr("]^-\\", next)))
        return std::nullopt;
      if (!inSet && std::strchr(special, next))
        result += c;
      result += next;
      ++i;
    } else if (inSet && c == '[' && std::strchr(":.=", next)) {
      return std::nullopt; // a class of POSIX's
    } else if (c == '{' && !inSet &&
               !isSmallRepetition(expression.substr(i),
                                  i ? expression[i - 1] : 0)) {
      return std::nullopt;
    } else if (c == '(' && next == '?' && !inSet) {
      // Groups that are not remembered are groups; the rest looks ahead, or
      // back, or names.
      if (expression.substr(i, 3) != "(?:")
        return std::nullopt;
      result += c;
      i += 2;
    } else if (c == '?' && !inSet && i > 0 &&
               std::strchr("*+?}", expression[i - 1]) &&
               (i < 2 || expression[i - 2] != '\\')) {
      // As little text as possible: whether there is any is the same.
    } else {
      result += c;
      inSet = inSet ? c != ']' : c == '[';
      // A ] that comes first belongs to the set.
      if (c == '[' && (next == ']' || next == '^')) {
        result += next;
        ++i;
        if (next == '^' && expression.substr(i + 1, 1) == "]") {
          result += ']';
          ++i;
        }
      }
    }
  }
  return result;
}

/// An expression of Python's `re`, as far as POSIX has it, that a name begins
/// with.
class ModuleNames::Expression {
public:
  enum End { Anywhere, AfterComponent };
  explicit Expression(std::string_view expression, End end = Anywhere) {
    std::optional<std::string> posix = toPosix(expression);
    compiled =
        posix &&
        regcomp(&regex,
                ("^(" + *posix + ")" + (end == AfterComponent ? "([.]|$)" : ""))
                    .c_str(),
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
  bool compiled = false;
  regex_t regex;
};

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
    case Entry::Glob:
      patterns.push_back({name, nullptr});
      break;
    case Entry::Marked:
      patterns.push_back({name, std::make_shared<const Expression>(
                                    name.substr(sizeof expressionMark - 1))});
      break;
    case Entry::Expression:
      patterns.push_back({name, std::make_shared<const Expression>(
                                    name, Expression::AfterComponent)});
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
    if (pattern.expression && !pattern.expression->isValid())
      reader.fail(key,
                  "expected module names%s, found \"%s\"; of expressions, "
                  "characters, ., \\d, \\w, [], (), |, *, +, ?, {}, ^ and $ "
                  "are implemented",
                  syntax == Components ? "" : " or \"re:\" and an expression",
                  pattern.text.c_str());
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
  for (const Pattern &pattern : patterns)
    if (pattern.expression     ? pattern.expression->matches(name)
        : syntax == Substrings ? name.find(pattern.text) != std::string::npos
                               : matchesGlobOrComponent(pattern.text, name))
      return true;
  return false;
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
