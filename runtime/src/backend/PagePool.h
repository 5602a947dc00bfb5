// How many pages a session has: decided once, when its engine is loaded.

#ifndef SADDLE_RUNTIME_BACKEND_PAGEPOOL_H
#define SADDLE_RUNTIME_BACKEND_PAGEPOOL_H

#include "runtime/schema/engine_generated.h"
#include "runtime/src/base/Status.h"

namespace saddle::backend {

/// Pages of each attention replica. `tokens` is what the caller wants room for,
/// rounded up to pages, and at most what max_batch sequences of max_seq_len
/// fill. With 0 tokens as many as these fill or, when that is more, as `room`
/// says that memory has left beside everything else. ResourceExhausted when not
/// even one page has room.
StatusOr<uint64_t> choosePages(const schema::Engine &engine, uint64_t tokens,
                               uint64_t room);

} // namespace saddle::backend

#endif // SADDLE_RUNTIME_BACKEND_PAGEPOOL_H
