// PCRE2 with Unicode on: the only place that knows the library. What Unicode
// says is not its to decide: StandIns.h.

#ifndef SADDLE_RUNTIME_TEXT_REGEX_H
#define SADDLE_RUNTIME_TEXT_REGEX_H

#include "runtime/src/base/Status.h"
#include "runtime/src/text/StandIns.h"

#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace saddle::text {

/// A compiled pattern. Immutable, safe to share between threads.
class Regex {
public:
  /// `literal` takes every character of `pattern` for itself.
  static StatusOr<Regex> compile(const std::string &pattern, bool literal);
  Regex(Regex &&other) noexcept
      : code(other.code), standIns(std::move(other.standIns)) {
    other.code = nullptr;
  }
  Regex &operator=(Regex &&) = delete;
  ~Regex();

  /// A part of a text, and whether the pattern matched it.
  struct Part {
    std::string_view text;
    bool matched;
  };
  /// Cuts `text` (valid UTF-8) into matches and what lies between, all in
  /// order and none empty. Errors: the library gives up (pattern too complex
  /// for this text).
  StatusOr<std::vector<Part>> split(std::string_view text) const;

private:
  Regex(void *code, std::optional<StandIns> standIns)
      : code(code), standIns(std::move(standIns)) {}
  /// As the library's own Unicode has it.
  StatusOr<std::vector<Part>> splitItself(std::string_view text) const;

  void *code;
  /// None for a pattern that names all its characters.
  std::optional<StandIns> standIns;
};

} // namespace saddle::text

#endif // SADDLE_RUNTIME_TEXT_REGEX_H
