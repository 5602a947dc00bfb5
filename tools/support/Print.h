// What tools print: errors for people, JSON for programs. Either may quote
// files that hold anything.

#ifndef SADDLE_TOOLS_SUPPORT_PRINT_H
#define SADDLE_TOOLS_SUPPORT_PRINT_H

#include "runtime/src/base/Printable.h"
#include "runtime/src/base/Status.h"

#include <nlohmann/json.hpp>

#include <cstdio>
#include <string>

namespace saddle::tools {

/// A line on standard error.
inline void printError(const Status &status) {
  std::fprintf(stderr, "error: %s\n", printable(status.labelled()).c_str());
}

/// JSON text, indented by `indent` or in one line for -1. Bytes that are not
/// UTF-8, which JSON cannot hold, become U+FFFD.
inline std::string jsonText(const nlohmann::ordered_json &json, int indent) {
  return json.dump(indent, ' ', /*ensure_ascii=*/false,
                   nlohmann::ordered_json::error_handler_t::replace) +
         "\n";
}

} // namespace saddle::tools

#endif // SADDLE_TOOLS_SUPPORT_PRINT_H
