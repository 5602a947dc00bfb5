#include "tools/saddle-inspect/Diff.h"

#include <map>
#include <vector>

namespace saddle::inspect {

static std::string show(const Json &value) {
  return value.dump(-1, ' ', false, Json::error_handler_t::replace);
}

/// Elements by name; empty unless every element has a name of its own.
static std::map<std::string, const Json *> byName(const Json &array) {
  std::map<std::string, const Json *> names;
  for (const Json &element : array) {
    if (!element.is_object() || !element.contains("name") ||
        !names.emplace(element["name"].get<std::string>(), &element).second)
      return {};
  }
  return names;
}

static void diff(const std::string &path, const Json &a, const Json &b,
                 std::string &text);

static void diffNamed(const std::string &path,
                      const std::map<std::string, const Json *> &a,
                      const std::map<std::string, const Json *> &b,
                      std::string &text) {
  for (const auto &[name, element] : a) {
    std::string place = path + "[" + name + "]";
    auto other = b.find(name);
    if (other == b.end())
      text += place + ": only in the first\n";
    else
      diff(place, *element, *other->second, text);
  }
  for (const auto &[name, element] : b)
    if (!a.count(name))
      text += path + "[" + name + "]: only in the second\n";
}

static void diffArrays(const std::string &path, const Json &a, const Json &b,
                       std::string &text) {
  bool ofTables =
      (!a.empty() && a[0].is_object()) || (!b.empty() && b[0].is_object());
  if (!ofTables) {
    if (a != b)
      text += path + ": " + show(a) + " -> " + show(b) + "\n";
    return;
  }
  auto namesA = byName(a), namesB = byName(b);
  if (!namesA.empty() && !namesB.empty())
    return diffNamed(path, namesA, namesB, text);
  if (a.size() != b.size())
    text += path + ": " + std::to_string(a.size()) + " elements -> " +
            std::to_string(b.size()) + "\n";
  for (size_t i = 0; i < std::min(a.size(), b.size()); ++i)
    diff(path + "[" + std::to_string(i) + "]", a[i], b[i], text);
}

static void diff(const std::string &path, const Json &a, const Json &b,
                 std::string &text) {
  if (a.is_array() && b.is_array())
    return diffArrays(path, a, b, text);
  if (!a.is_object() || !b.is_object()) {
    if (a != b)
      text += path + ": " + show(a) + " -> " + show(b) + "\n";
    return;
  }
  std::string start = path.empty() ? "" : path + ".";
  for (const auto &[key, value] : a.items()) {
    if (b.contains(key))
      diff(start + key, value, b[key], text);
    else
      text += start + key + ": only in the first\n";
  }
  for (const auto &[key, value] : b.items())
    if (!a.contains(key))
      text += start + key + ": only in the second\n";
}

std::string diffText(const Json &a, const Json &b) {
  std::string text;
  diff("", a, b, text);
  return text;
}

} // namespace saddle::inspect
