// States: what survives steps. Sessions make as many pages and sequences of
// them as they like, which is sound only if each is dense and a unit, and if
// commands reach state arenas through states alone.

#include "runtime/src/engine/Programs.h"
#include "runtime/src/engine/Validate.h"

#include <algorithm>
#include <unordered_set>
#include <vector>

namespace saddle::engine {

using namespace schema;
using schema::Engine; // not saddle::Engine

static bool isSame(const Slice &a, const Slice &b) {
  auto equal = [](const auto &x, const auto &y) {
    return std::equal(x.begin(), x.end(), y.begin(), y.end());
  };
  return a.arena() == b.arena() && a.offset() == b.offset() &&
         a.dtype() == b.dtype() && equal(*a.shape(), *b.shape()) &&
         equal(*a.strides(), *b.strides());
}

static Status validateState(const Engine &engine, const State &state) {
  if (state.kind() < StateKind::PAGED || state.kind() > StateKind::INDEX_KEYS)
    return makeError(StatusCode::DataLoss, "unknown kind %u",
                     unsigned(state.kind()));
  const Slice &slice = *state.slice();
  SADDLE_RETURN_IF_ERROR(validateSlice(engine, slice));
  ArenaKind expected = state.kind() == StateKind::SEQUENCE
                           ? ArenaKind::SEQUENCES
                           : ArenaKind::PAGES;
  const Arena &arena = *engine.arenas()->Get(slice.arena());
  if (arena.kind() != expected)
    return makeError(StatusCode::DataLoss,
                     "of kind %s lies in arena %s of kind %s, expected %s",
                     EnumNameStateKind(state.kind()), quoted(arena).c_str(),
                     EnumNameArenaKind(arena.kind()),
                     EnumNameArenaKind(expected));
  if (slice.shape()->Get(0) != 1)
    return makeError(StatusCode::DataLoss,
                     "is %s, expected one page or sequence in dimension 0",
                     formatDims(*slice.shape()).c_str());
  // The next unit begins where this one ends.
  uint64_t dense = 1;
  for (uint32_t i = slice.shape()->size(); i-- > 0;) {
    if (slice.strides()->Get(i) != dense)
      return makeError(StatusCode::DataLoss,
                       "strides %s leave gaps, expected a dense slice",
                       formatDims(*slice.strides()).c_str());
    dense *= slice.shape()->Get(i); // the slice is valid, so this fits
  }
  uint64_t pageSize = engine.limits()->page_size();
  if (expected == ArenaKind::PAGES &&
      (slice.shape()->size() < 2 || slice.shape()->Get(1) != pageSize))
    return makeError(StatusCode::DataLoss,
                     "is %s, expected page_size = %" PRIu64
                     " tokens in dimension 1",
                     formatDims(*slice.shape()).c_str(), pageSize);
  return Status();
}

/// A state that several programs of a stage name is one.
static bool isShared(const State &a, const State &b) {
  return a.name()->str() == b.name()->str() && a.kind() == b.kind() &&
         isSame(*a.slice(), *b.slice());
}

static Status checkNoOverlap(std::vector<const State *> states) {
  std::sort(states.begin(), states.end(), [](const State *a, const State *b) {
    const Slice &x = *a->slice(), &y = *b->slice();
    return x.arena() != y.arena() ? x.arena() < y.arena()
                                  : x.offset() < y.offset();
  });
  for (size_t i = 1; i < states.size(); ++i) {
    const Slice &before = *states[i - 1]->slice(), &slice = *states[i]->slice();
    if (before.arena() == slice.arena() &&
        slice.offset() - before.offset() < spanBytes(before) &&
        !isShared(*states[i - 1], *states[i]))
      return makeError(
          StatusCode::DataLoss, "states %s and %s share bytes of the arena",
          quoted(*states[i - 1]).c_str(), quoted(*states[i]).c_str());
  }
  return Status();
}

Status validateStates(const Engine &engine, const Program &program) {
  std::unordered_set<std::string> names;
  for (const State *state : *program.states()) {
    if (!names.insert(state->name()->str()).second)
      return makeError(StatusCode::DataLoss, "two states are named %s",
                       quoted(*state).c_str());
    SADDLE_RETURN_IF_ERROR(
        prefix("state " + quoted(*state), validateState(engine, *state)));
  }
  return checkNoOverlap({program.states()->begin(), program.states()->end()});
}

Status validateStagesStates(const Engine &engine) {
  for (uint32_t stage = 0; stage < engine.topology()->pp(); ++stage) {
    std::vector<const State *> states;
    for (const Program *program : programsOf(engine, stage))
      states.insert(states.end(), program->states()->begin(),
                    program->states()->end());
    SADDLE_RETURN_IF_ERROR(prefix("stage " + std::to_string(stage),
                                  checkNoOverlap(std::move(states))));
  }
  return Status();
}

StatePlaces::StatePlaces(const Program &program) {
  for (const State *state : *program.states())
    places[{state->slice()->arena(), state->slice()->offset()}] =
        state->slice();
}

Status StatePlaces::check(const Engine &engine, const Slice &slice) const {
  const Arena &arena = *engine.arenas()->Get(slice.arena());
  if (!holdsState(arena.kind()))
    return Status();
  auto found = places.find({slice.arena(), slice.offset()});
  if (found != places.end() && isSame(*found->second, slice))
    return Status();
  return makeError(
      StatusCode::DataLoss,
      "lies in arena %s of kind %s, but is no state of the program",
      quoted(arena).c_str(), EnumNameArenaKind(arena.kind()));
}

} // namespace saddle::engine
