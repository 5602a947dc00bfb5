// Comma-separated numbers of command lines.

#ifndef SADDLE_TOOLS_SUPPORT_LISTS_H
#define SADDLE_TOOLS_SUPPORT_LISTS_H

#include "runtime/src/base/Status.h"

#include <cstdint>
#include <string>
#include <vector>

namespace saddle::tools {

/// "1,8,64" with optional spaces; `option` stands in messages. Errors: nothing
/// between commas, not a whole number, beyond 64 bits.
StatusOr<std::vector<int64_t>> parseList(const std::string &option,
                                         const std::string &text);

} // namespace saddle::tools

#endif // SADDLE_TOOLS_SUPPORT_LISTS_H
