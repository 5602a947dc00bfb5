// Characters that stand in for others: a pattern cannot tell them apart, and
// every version of Unicode knows them alike. So a regex library decides by the
// product's Unicode data and not by its own.

#ifndef SADDLE_RUNTIME_TEXT_STANDINS_H
#define SADDLE_RUNTIME_TEXT_STANDINS_H

#include "runtime/src/base/Status.h"

#include <string>
#include <string_view>
#include <vector>

namespace saddle::text {

/// The stand-ins for one pattern. A character is told apart by whether it is or
/// lies between characters that the pattern names, by its general category, by
/// being Han, and by being white space, and by nothing else.
class StandIns {
public:
  /// Unsupported for a pattern (valid UTF-8) with properties that are none of
  /// these.
  static StatusOr<StandIns> of(const std::string &pattern);

  struct Text {
    std::string text;
    /// Where each byte of `text`, and its end, lies in the original.
    std::vector<size_t> places;
  };
  /// `text` is valid UTF-8.
  Text replace(std::string_view text) const;

private:
  uint32_t standInFor(uint32_t codePoint) const;

  /// Named in the pattern and not ASCII, ascending.
  std::vector<uint32_t> named;
  bool ignoresCase = false;
};

} // namespace saddle::text

#endif // SADDLE_RUNTIME_TEXT_STANDINS_H
