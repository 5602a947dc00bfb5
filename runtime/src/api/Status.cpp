#include "runtime/src/api/Handles.h"

#include "runtime/src/base/Printable.h"

namespace saddle::api {

saddle_status_t toC(const Status &status) noexcept {
  static thread_local std::string message;
  auto code = saddle_code_t(status.code());
  try {
    message = printable(status.labelled());
    return {code, message.c_str()};
  } catch (const std::bad_alloc &) {
    return {code, "out of memory, also for the message of an error"};
  }
}

saddle_status_t nullArgument(const char *what) noexcept {
  return toC(
      makeError(StatusCode::InvalidArgument, "%s must not be NULL", what));
}

} // namespace saddle::api
