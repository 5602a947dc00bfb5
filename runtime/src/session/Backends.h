// The only place that knows which targets this build can run.

#ifndef SADDLE_RUNTIME_SESSION_BACKENDS_H
#define SADDLE_RUNTIME_SESSION_BACKENDS_H

#include "runtime/src/backend/Backend.h"

namespace saddle::session {

/// The backend of the engine's target. Nothing large is allocated before all of
/// it is known to fit. Errors name the engine's file: ResourceExhausted for too
/// little memory or too few devices, Unsupported for a target that this build
/// or machine cannot run.
StatusOr<std::unique_ptr<backend::Backend>>
makeBackend(std::shared_ptr<const Engine> engine,
            const backend::BackendOptions &options);

} // namespace saddle::session

#endif // SADDLE_RUNTIME_SESSION_BACKENDS_H
