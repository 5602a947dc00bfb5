#include "runtime/src/base/Guard.h"

#include <exception>
#include <stdexcept>
#include <system_error>

namespace saddle {

Status statusOfException() noexcept {
  try {
    throw;
  } catch (const std::bad_alloc &) {
    return Status::withoutMemory();
  } catch (const std::length_error &) { // of a container beyond its max_size
    return Status::withoutMemory();
  } catch (const std::system_error &error) {
    return makeError(StatusCode::ResourceExhausted,
                     "the system gives no more: %s; raise the limits of memory "
                     "and of threads",
                     error.what());
  } catch (const std::exception &error) {
    return makeError(StatusCode::Internal,
                     "an exception reached the edge of the library: %s",
                     error.what());
  } catch (...) {
    return makeError(StatusCode::Internal,
                     "an exception reached the edge of the library");
  }
}

} // namespace saddle
