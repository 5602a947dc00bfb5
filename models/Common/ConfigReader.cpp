#include "models/Common/ConfigReader.h"

#include "runtime/src/base/File.h"
#include "runtime/src/base/Json.h"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <cmath>
#include <cstdarg>
#include <set>

using nlohmann::json;

namespace saddle {

struct ConfigReader::File {
  std::string path;
  json root;
  Status error;
  std::set<std::string> read;                   // dotted paths
  std::map<std::string, ConfigReader> attached; // by dotted path
};

namespace {

/// The value as JSON, shortened.
std::string describe(const json &value) {
  std::string text = value.dump(-1, ' ', false, json::error_handler_t::replace);
  constexpr size_t limit = 60;
  if (text.size() > limit)
    text = text.substr(0, limit) + "...";
  return text;
}

std::string describeRange(int64_t min, int64_t max) {
  return "from " + std::to_string(min) + " to " + std::to_string(max);
}

/// Integers that fit int64_t only: 64.0 is refused, as transformers does.
std::optional<int64_t> asInteger(const json &value, int64_t min, int64_t max) {
  if (!value.is_number_integer())
    return std::nullopt;
  if (value.is_number_unsigned() && value.get<uint64_t>() > INT64_MAX)
    return std::nullopt;
  int64_t number = value.get<int64_t>();
  if (number < min || number > max)
    return std::nullopt;
  return number;
}

std::optional<std::vector<int64_t>> asIntegers(const json &value, int64_t min,
                                               int64_t max) {
  std::vector<int64_t> numbers;
  if (!value.is_array())
    return std::nullopt;
  for (const json &element : value) {
    std::optional<int64_t> number = asInteger(element, min, max);
    if (!number)
      return std::nullopt;
    numbers.push_back(*number);
  }
  return numbers;
}

} // namespace

ConfigReader::ConfigReader(std::shared_ptr<File> file, const json *object,
                           std::string prefix)
    : file(std::move(file)), node(object), prefix(std::move(prefix)) {}

StatusOr<ConfigReader> ConfigReader::open(const std::string &path) {
  SADDLE_ASSIGN_OR_RETURN(OwnedBytes text, readFile(path, kMaxJsonBytes));
  return parse({reinterpret_cast<const char *>(text.data()), text.size()},
               path);
}

StatusOr<ConfigReader> ConfigReader::parse(std::string_view text,
                                           const std::string &path) {
  Bytes bytes(reinterpret_cast<const uint8_t *>(text.data()), text.size());
  StatusOr<JsonDocument> root = readJson(path, bytes);
  if (!root.ok())
    return Status(StatusCode::InvalidArgument, root.status().message(),
                  root.status().identifier());
  auto file = std::make_shared<File>();
  file->path = path;
  file->root = std::move(root->get());
  if (!file->root.is_object())
    return makeError(StatusCode::InvalidArgument,
                     "%s: expected a JSON object, found %s", path.c_str(),
                     describe(file->root).c_str());
  const json *object = &file->root;
  return ConfigReader(std::move(file), object, "");
}

const std::string &ConfigReader::path() const { return file->path; }

const Status &ConfigReader::status() const {
  if (file->error.ok())
    for (const auto &other : file->attached)
      if (!other.second.status().ok())
        return other.second.status();
  return file->error;
}

std::vector<std::string> ConfigReader::keys() const {
  std::vector<std::string> names;
  for (const auto &item : node->items())
    names.push_back(item.key());
  return names;
}

void ConfigReader::attach(const std::string &key, ConfigReader object) {
  assert(!contains(key) && "a field has one value");
  file->attached.emplace(prefix + key, std::move(object));
}

void ConfigReader::skip(const std::string &key) {
  file->read.insert(prefix + key);
}

const json *ConfigReader::find(const std::string &key) {
  skip(key);
  auto found = node->find(key);
  if (!file->error.ok() || found == node->end() || found->is_null())
    return nullptr;
  return &*found;
}

const json *ConfigReader::find(const std::string &key, Presence presence,
                               const std::string &expected) {
  const json *value = find(key);
  if (!value && presence == Required)
    failExpected(key, expected);
  return value;
}

bool ConfigReader::contains(const std::string &key) const {
  return node->contains(key);
}

bool ConfigReader::isSet(const std::string &key) {
  return find(key) || file->attached.count(prefix + key);
}

void ConfigReader::fail(const std::string &key, const char *format, ...) {
  va_list args;
  va_start(args, format);
  if (file->error.ok())
    file->error = makeErrorV(StatusCode::InvalidArgument, format, args)
                      .within(file->path + ": " + prefix + key);
  va_end(args);
}

void ConfigReader::failExpected(const std::string &key,
                                const std::string &expected) {
  auto found = node->find(key);
  if (found == node->end())
    fail(key, "missing, expected %s", expected.c_str());
  else
    fail(key, "expected %s, found %s", expected.c_str(),
         describe(*found).c_str());
}

std::optional<int64_t> ConfigReader::integer(const std::string &key,
                                             int64_t min, int64_t max,
                                             Presence presence) {
  std::string expected = "an integer " + describeRange(min, max);
  const json *value = find(key, presence, expected);
  if (!value)
    return std::nullopt;
  std::optional<int64_t> number = asInteger(*value, min, max);
  if (!number)
    failExpected(key, expected);
  return number;
}

std::optional<double> ConfigReader::number(const std::string &key, double above,
                                           Presence presence) {
  char expected[64];
  std::snprintf(expected, sizeof expected, "a number above %g", above);
  const json *value = find(key, presence, expected);
  if (!value)
    return std::nullopt;
  if (value->is_number() && value->get<double>() > above)
    return value->get<double>();
  failExpected(key, expected);
  return std::nullopt;
}

std::optional<bool> ConfigReader::boolean(const std::string &key) {
  const json *value = find(key);
  if (!value)
    return std::nullopt;
  if (value->is_boolean())
    return value->get<bool>();
  failExpected(key, "true or false");
  return std::nullopt;
}

std::optional<std::string> ConfigReader::string(const std::string &key,
                                                Presence presence) {
  const json *value = find(key, presence, "a string");
  if (!value)
    return std::nullopt;
  if (value->is_string())
    return value->get<std::string>();
  failExpected(key, "a string");
  return std::nullopt;
}

std::optional<std::vector<std::string>>
ConfigReader::strings(const std::string &key) {
  const json *value = find(key);
  if (!value)
    return std::nullopt;
  bool good = value->is_array() &&
              std::all_of(value->begin(), value->end(),
                          [](const json &item) { return item.is_string(); });
  if (good)
    return value->get<std::vector<std::string>>();
  failExpected(key, "a list of strings");
  return std::nullopt;
}

std::optional<std::vector<int64_t>>
ConfigReader::integers(const std::string &key, int64_t min, int64_t max) {
  const json *value = find(key);
  if (!value)
    return std::nullopt;
  std::optional<std::vector<int64_t>> numbers = asIntegers(*value, min, max);
  if (!numbers)
    failExpected(key, "a list of integers " + describeRange(min, max));
  return numbers;
}

std::optional<std::vector<int64_t>>
ConfigReader::integerOrList(const std::string &key, int64_t min, int64_t max) {
  const json *value = find(key);
  if (!value)
    return std::nullopt;
  if (std::optional<int64_t> single = asInteger(*value, min, max))
    return std::vector<int64_t>{*single};
  std::optional<std::vector<int64_t>> numbers = asIntegers(*value, min, max);
  if (!numbers)
    failExpected(key,
                 "an integer or a list of integers " + describeRange(min, max));
  return numbers;
}

std::optional<ConfigReader> ConfigReader::object(const std::string &key) {
  auto other = file->attached.find(prefix + key);
  if (other != file->attached.end())
    return other->second;
  const json *value = find(key);
  if (!value)
    return std::nullopt;
  if (value->is_object())
    return ConfigReader(file, value, prefix + key + ".");
  failExpected(key, "an object");
  return std::nullopt;
}

void ConfigReader::accept(const std::string &key, const char *values,
                          const char *reason) {
  const json *value = find(key);
  if (!value)
    return;
  json accepted = json::parse(values, nullptr, /*allow_exceptions=*/false);
  assert(accepted.is_array() && "the accepted values are a JSON list");
  std::string expected;
  for (const json &candidate : accepted) {
    if (candidate == *value)
      return;
    expected += describe(candidate) + " or ";
  }
  fail(key, "expected %snothing, found %s; %s", expected.c_str(),
       describe(*value).c_str(), reason);
}

std::vector<std::string> ConfigReader::unread() const {
  std::vector<std::string> names;
  for (const auto &item : node->items())
    if (!file->read.count(prefix + item.key()))
      names.push_back(prefix + item.key());
  return names;
}

} // namespace saddle
