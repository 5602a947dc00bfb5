#include "runtime/src/base/Status.h"

#include <cstdarg>
#include <cstdio>

namespace saddle {

Status makeError(StatusCode code, const char *format, ...) {
  va_list args;
  va_start(args, format);
  va_list sizing;
  va_copy(sizing, args);
  int length = std::vsnprintf(nullptr, 0, format, sizing);
  va_end(sizing);
  std::string message(length > 0 ? length : 0, '\0');
  if (length > 0)
    std::vsnprintf(message.data(), message.size() + 1, format, args);
  va_end(args);
  return Status(code, std::move(message));
}

} // namespace saddle
