#include "models/Common/Quantisation/ModuleNames.h"

#include <algorithm>

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

ModuleNames ModuleNames::read(ConfigReader &reader, const char *key) {
  ModuleNames read(reader.strings(key).value_or(std::vector<std::string>()));
  for (const std::string &name : read.names) {
    bool plain = !name.empty() && name.front() != '.' && name.back() != '.' &&
                 name.find_first_not_of("abcdefghijklmnopqrstuvwxyz"
                                        "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
                                        "0123456789_.") == std::string::npos;
    if (!plain)
      reader.fail(key, "expected plain module names, found \"" + name +
                           "\"; patterns are not implemented");
  }
  return read;
}

ModuleNames::Match ModuleNames::match(const std::string &module) const {
  std::vector<std::string> name = splitDots(module);
  Match result = No;
  for (const std::string &entry : names) {
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
