#include "runtime/src/api/Handles.h"

#include "runtime/src/base/Printable.h"

namespace saddle::api {

saddle_status_t toC(const Status &status) {
  static thread_local std::string message;
  message = printable(status.message());
  return {saddle_code_t(status.code()), message.c_str()};
}

saddle_status_t nullArgument(const char *what) {
  return toC(
      makeError(StatusCode::InvalidArgument, "%s must not be NULL", what));
}

} // namespace saddle::api
