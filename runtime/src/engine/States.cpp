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

std::vector<uint64_t> arenaBytesOf(const Engine &engine, const Program &program,
                                   const StateCounts &counts) {
  std::vector<uint64_t> bytes(engine.arenas()->size());
  auto add = [&](const Slice &slice) {
    uint64_t &end = bytes[slice.arena()];
    end = std::max(end, slice.offset() + spanBytes(slice));
  };
  for (const Weight *weight : *program.weights())
    add(*weight->slice());
  for (const State *state : *program.states())
    add(*state->slice());
  for (const Entry *entry : *program.entries())
    for (const Slice *slice : *entry->slices())
      add(*slice);
  for (uint32_t i = 0; i < bytes.size(); ++i)
    if (__builtin_mul_overflow(
            bytes[i], counts.of(engine.arenas()->Get(i)->kind()), &bytes[i]))
      bytes[i] = UINT64_MAX;
  return bytes;
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
