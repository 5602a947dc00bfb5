// Strict reading of a JSON settings file: every access is typed and checked,
// and what nobody asked for can be listed afterwards. The first error sticks;
// later reads return nothing, so callers read everything and look once.

#ifndef SADDLE_MODELS_COMMON_CONFIGREADER_H
#define SADDLE_MODELS_COMMON_CONFIGREADER_H

#include "runtime/src/base/Status.h"

#include <nlohmann/json_fwd.hpp>

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace saddle {

/// One JSON object of a file; copies share the file, its error and the record
/// of what was read. A field that is null counts as absent for every getter.
/// Messages read `FILE: path.to.field: expected X, found Y`.
class ConfigReader {
public:
  enum Presence { Optional, Required };

  /// Errors: the file cannot be read, is not JSON (with line, column and byte),
  /// repeats a key in one object, nests deeper than 64 levels, or holds
  /// something other than an object.
  static StatusOr<ConfigReader> open(const std::string &path);
  /// As open, for text already in memory; `path` only appears in messages.
  static StatusOr<ConfigReader> parse(std::string_view text,
                                      const std::string &path);

  const std::string &path() const;
  /// Present, null or not.
  bool contains(const std::string &key) const;
  /// Present and not null. Counts as reading it.
  bool isSet(const std::string &key);

  std::optional<int64_t> integer(const std::string &key, int64_t min,
                                 int64_t max, Presence presence = Optional);
  /// A finite number above `above`.
  std::optional<double> number(const std::string &key, double above,
                               Presence presence = Optional);
  std::optional<bool> boolean(const std::string &key);
  std::optional<std::string> string(const std::string &key,
                                    Presence presence = Optional);
  std::optional<std::vector<std::string>> strings(const std::string &key);
  std::optional<std::vector<int64_t>> integers(const std::string &key,
                                               int64_t min, int64_t max);
  /// An integer, or a list of integers.
  std::optional<std::vector<int64_t>> integerOrList(const std::string &key,
                                                    int64_t min, int64_t max);
  std::optional<ConfigReader> object(const std::string &key);

  /// Names of all fields of this object, in order of names.
  std::vector<std::string> keys() const;
  /// Makes `object`, of another file, stand for the field `key`, which this
  /// object must not have. Its errors are this file's, too; messages about it
  /// name its own file.
  void attach(const std::string &key, ConfigReader object);

  /// For a field of which only some values are implemented: it must be absent,
  /// null or equal to an element of the JSON list `values`. `reason` ends the
  /// message. Numbers compare by value (1 equals 1.0).
  void accept(const std::string &key, const char *values, const char *reason);
  /// Marks a field as known and deliberately unused.
  void skip(const std::string &key);

  /// Records `expected X, found Y` (or `missing, expected X`) for `key`.
  void failExpected(const std::string &key, const std::string &expected);
  /// Records `FILE: key: message`, formatted like printf.
  [[gnu::format(printf, 3, 4)]] void fail(const std::string &key,
                                          const char *format, ...);

  /// The first error of the whole file.
  const Status &status() const;
  /// Fields of this object that no call named, in file-independent order, as
  /// dotted paths.
  std::vector<std::string> unread() const;

private:
  struct File;
  ConfigReader(std::shared_ptr<File> file, const nlohmann::json *object,
               std::string prefix);

  /// Null when absent, null in the file, or after an error.
  const nlohmann::json *find(const std::string &key);
  const nlohmann::json *find(const std::string &key, Presence presence,
                             const std::string &expected);

  std::shared_ptr<File> file;
  const nlohmann::json *node;
  std::string prefix;
};

} // namespace saddle

#endif // SADDLE_MODELS_COMMON_CONFIGREADER_H
