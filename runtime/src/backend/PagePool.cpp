#include "runtime/src/backend/PagePool.h"

#include "runtime/src/engine/States.h"

#include <algorithm>
#include <cinttypes>

namespace saddle::backend {

StatusOr<uint64_t> choosePages(const schema::Engine &engine, uint64_t tokens,
                               uint64_t room) {
  const schema::Limits &limits = *engine.limits();
  uint64_t most = engine::mostPages(limits);
  if (tokens != 0)
    return std::min(most, (tokens - 1) / limits.page_size() + 1);
  if (room == 0)
    return makeError(StatusCode::ResourceExhausted,
                     "not even one KV page of %" PRIu64
                     " tokens fits beside weights and activations; compile for "
                     "more ranks or with a smaller --max-batch",
                     limits.page_size());
  return std::min(most, room);
}

} // namespace saddle::backend
