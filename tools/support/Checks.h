// Checks of numbers on command lines. CLI11's own take NaN for a positive
// number, wrap around below zero and print bounds of 309 digits.

#ifndef SADDLE_TOOLS_SUPPORT_CHECKS_H
#define SADDLE_TOOLS_SUPPORT_CHECKS_H

#include <CLI/CLI.hpp>

#include <charconv>
#include <cstdint>
#include <string>

namespace saddle::tools {

/// A whole number of at least `least`. CLI11 takes -1 for the largest one.
inline CLI::Validator wholeNumber(uint64_t least = 0) {
  return CLI::Validator(
      [least](std::string &text) {
        uint64_t value = 0;
        const char *end = text.data() + text.size();
        auto [behind, error] = std::from_chars(text.data(), end, value);
        bool fits = error == std::errc() && behind == end && value >= least;
        return fits ? std::string()
                    : "Value " + text + " not in range " +
                          std::to_string(least) + " to " +
                          std::to_string(UINT64_MAX);
      },
      "UINT");
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
