// Checks of numbers on command lines. CLI11's own take NaN for a positive
// number and print bounds of 309 digits.

#ifndef SADDLE_TOOLS_SUPPORT_CHECKS_H
#define SADDLE_TOOLS_SUPPORT_CHECKS_H

#include <CLI/CLI.hpp>

#include <cstdint>
#include <string>

namespace saddle::tools {

/// A whole number of at least `least`.
inline CLI::Range wholeNumber(uint64_t least = 0) {
  return CLI::Range(least, UINT64_MAX, "UINT");
}

/// Seconds that a wait may take.
inline CLI::Validator seconds() {
  return CLI::Validator(
      [](std::string &text) {
        constexpr double kMost = 4000000; // milliseconds fit 32 bits
        double value = 0;
        bool fits = CLI::detail::lexical_cast(text, value) && value > 0 &&
                    value <= kMost;
        return fits ? std::string()
                    : "Value " + text +
                          " is no number of seconds above 0 and up to 4000000";
      },
      "SECONDS");
}

} // namespace saddle::tools

#endif // SADDLE_TOOLS_SUPPORT_CHECKS_H
