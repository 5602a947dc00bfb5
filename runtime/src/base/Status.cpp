#include "runtime/src/base/Status.h"

#include <cstdarg>
#include <cstdio>

namespace saddle {

const std::string Status::kNothing;
const std::string Status::kOutOfMemory =
    "out of memory; raise the limit of memory, or use a smaller model, batch "
    "or context";

Status &Status::operator=(const Status &other) noexcept {
  if (this == &other)
    return *this;
  state = other.state;
  text.reset();
  try {
    if (other.text)
      text = std::make_unique<const std::string>(*other.text);
  } catch (const std::bad_alloc &) {
    // The code is what remains.
  }
  return *this;
}

static std::string formatted(const char *format, va_list args) {
  va_list sizing;
  va_copy(sizing, args);
  int length = std::vsnprintf(nullptr, 0, format, sizing);
  va_end(sizing);
  std::string message(length > 0 ? size_t(length) : 0, '\0');
  if (length > 0)
    std::vsnprintf(message.data(), message.size() + 1, format, args);
  return message;
}

Status makeError(StatusCode code, const char *format, ...) noexcept {
  va_list args;
  va_start(args, format);
  Status status = Status::withoutMemory(code);
  try {
    status = Status(code, formatted(format, args));
  } catch (const std::bad_alloc &) {
  }
  va_end(args);
  return status;
}

} // namespace saddle
