#include "runtime/src/engine/States.h"

#include "runtime/src/engine/Validate.h"

#include <algorithm>

namespace saddle::engine {

using namespace schema;
using schema::Engine; // not saddle::Engine

uint64_t mostPages(const Limits &limits) {
  uint64_t slots = uint64_t(INT32_MAX) / limits.page_size();
  uint64_t ofSequence = (limits.max_seq_len() - 1) / limits.page_size() + 1;
  return std::min(slots, limits.max_batch() * ofSequence);
}

bool hasSequenceState(const Engine &engine) {
  for (const Program *program : *engine.programs())
    for (const State *state : *program->states())
      if (state->kind() == StateKind::SEQUENCE)
        return true;
  return false;
}

static ArenaKind kindOf(const Engine &engine, const Slice &slice) {
  return engine.arenas()->Get(slice.arena())->kind();
}

uint64_t offsetOf(const Engine &engine, const Slice &slice,
                  const StateCounts &counts) {
  return slice.offset() * counts.of(kindOf(engine, slice));
}

View viewOf(const Engine &engine, const Slice &slice,
            const StateCounts &counts) {
  View view = viewOf(slice);
  view.shape[0] *= counts.of(kindOf(engine, slice));
  return view;
}

} // namespace saddle::engine
