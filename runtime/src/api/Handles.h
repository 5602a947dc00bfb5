// What is behind the C API's opaque handles, and how errors leave it.

#ifndef SADDLE_RUNTIME_API_HANDLES_H
#define SADDLE_RUNTIME_API_HANDLES_H

#include "runtime/src/backend/StepInputs.h"
#include "runtime/src/base/Guard.h"
#include "runtime/src/engine/Engine.h"
#include "runtime/src/sample/Sampler.h"
#include "runtime/src/session/Session.h"

#include <saddle/sampler.h>
#include <saddle/status.h>

#include <memory>

/// Shared, so that sessions outlive the handle.
struct saddle_engine_t {
  explicit saddle_engine_t(std::shared_ptr<const saddle::Engine> loaded);

  std::shared_ptr<const saddle::Engine> engine;
  std::vector<saddle::backend::StepOutput> outputs; // of the main program
};

struct saddle_session_t {
  std::unique_ptr<saddle::session::Session> session;
  // Of the current step.
  std::vector<saddle::session::SequenceInput> inputs;
  std::vector<saddle::session::WantedOutput> outputs;
};

namespace saddle::api {

sample::SamplerOptions samplingOf(const saddle_sampler_options_t &options);

/// The C form; its message lives until this thread's next call.
saddle_status_t toC(const Status &status) noexcept;

/// INVALID_ARGUMENT: `what` is NULL.
saddle_status_t nullArgument(const char *what) noexcept;

/// What a function of the C API does: nothing that is thrown leaves it.
template <typename Work>
saddle_status_t answer(Work &&work) noexcept {
  try {
    return work();
  } catch (...) {
    return toC(statusOfException());
  }
}

} // namespace saddle::api

/// Refuses an argument that is NULL, by its name.
#define SADDLE_REQUIRE(argument)                                               \
  do {                                                                         \
    if (!(argument))                                                           \
      return ::saddle::api::nullArgument(#argument);                           \
  } while (false)

#endif // SADDLE_RUNTIME_API_HANDLES_H
