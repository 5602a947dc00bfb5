// Where exceptions end. The runtime throws none, but the standard library does
// when there is no memory or no thread to be had, and a library in somebody's
// server answers that with a status. So the functions of the C API, the threads
// of ranks and whatever must not be left half done call through here, and all
// that lies between only has to release what it holds when it is unwound.

#ifndef SADDLE_RUNTIME_BASE_GUARD_H
#define SADDLE_RUNTIME_BASE_GUARD_H

#include "runtime/src/base/Status.h"

#include <type_traits>

namespace saddle {

/// What is being caught, as an error: ResourceExhausted for a shortage of
/// memory or threads, else Internal.
Status statusOfException() noexcept;

/// The Status or StatusOr that `work` returns, or that of what it throws. Of a
/// throw `onThrow` is told first; it must not throw itself.
template <typename Work, typename OnThrow>
std::invoke_result_t<Work> guard(Work &&work, OnThrow &&onThrow) noexcept {
  try {
    return work();
  } catch (...) {
    Status status = statusOfException();
    onThrow(status);
    return status;
  }
}
template <typename Work>
std::invoke_result_t<Work> guard(Work &&work) noexcept {
  return guard(work, [](const Status &) {});
}

} // namespace saddle

#endif // SADDLE_RUNTIME_BASE_GUARD_H
