// Entries: their slices, and the bindings that the host fills and reads.

#include "runtime/ops/Bindings.h"
#include "runtime/src/base/DType.h"
#include "runtime/src/engine/Programs.h"
#include "runtime/src/engine/Validate.h"

#include <algorithm>
#include <unordered_set>
#include <vector>

namespace saddle::engine {

using namespace schema;
using schema::Engine; // not saddle::Engine

namespace {

/// Candidates of a row that the entry says it yields: columns of the first
/// binding of that kind; 0 when it has none.
uint64_t candidatesOf(const Entry &entry) {
  for (const Binding *binding : *entry.bindings()) {
    const ops::Binding *known = ops::findBinding(binding->name()->c_str());
    if (known && known->dims.back() == ops::Dim::Candidates &&
        binding->slice() < entry.slices()->size()) {
      const auto &shape = *entry.slices()->Get(binding->slice())->shape();
      return shape.size() == 2 ? shape.Get(1) : 1; // other ranks do not fit
    }
  }
  return 0;
}

ops::Sizes sizesOf(const Engine &engine, const Entry &entry) {
  const Limits &limits = *engine.limits();
  ops::Sizes sizes;
  sizes.tokens = entry.tokens();
  sizes.rows = entry.rows();
  sizes.replicas = engine.topology()->dp();
  sizes.sequences = limits.max_batch();
  sizes.pages = limits.max_seq_len() / limits.page_size() +
                (limits.max_seq_len() % limits.page_size() != 0);
  sizes.vocab = engine.model()->vocab_size();
  sizes.candidates = candidatesOf(entry);
  return sizes;
}

Status checkBoundSlice(const Engine &engine, const Slice &slice,
                       const ops::Binding &expected, const ops::Sizes &sizes) {
  std::vector<uint64_t> dims = expected.shape(sizes);
  bool sameShape = std::equal(slice.shape()->begin(), slice.shape()->end(),
                              dims.begin(), dims.end());
  if (slice.dtype() != expected.dtype || !sameShape) {
    std::string shape;
    for (uint64_t dim : dims)
      shape += (shape.empty() ? "[" : ", ") + std::to_string(dim);
    return makeError(StatusCode::DataLoss, "is %s %s, expected %s %s]",
                     dtypeName(slice.dtype()),
                     formatDims(*slice.shape()).c_str(),
                     dtypeName(expected.dtype), shape.c_str());
  }
  uint64_t bytes = elementBytes(slice.dtype());
  for (uint64_t dim : dims)
    bytes *= dim; // the slice is valid, so this fits
  if (spanBytes(slice) != bytes)
    return makeError(StatusCode::DataLoss,
                     "strides %s leave gaps, expected a dense slice",
                     formatDims(*slice.strides()).c_str());
  const Arena &arena = *engine.arenas()->Get(slice.arena());
  if (arena.kind() != ArenaKind::IO)
    return makeError(StatusCode::DataLoss,
                     "lies in arena %s of kind %s, expected IO",
                     quoted(arena).c_str(), EnumNameArenaKind(arena.kind()));
  return Status();
}

/// The host fills all inputs before the commands run, so none may share bytes.
Status checkNoOverlap(const Entry &entry) {
  std::vector<const Binding *> bindings(entry.bindings()->begin(),
                                        entry.bindings()->end());
  auto sliceOf = [&](const Binding *binding) -> const Slice & {
    return *entry.slices()->Get(binding->slice());
  };
  std::sort(bindings.begin(), bindings.end(),
            [&](const Binding *a, const Binding *b) {
              const Slice &x = sliceOf(a), &y = sliceOf(b);
              return x.arena() != y.arena() ? x.arena() < y.arena()
                                            : x.offset() < y.offset();
            });
  for (size_t i = 1; i < bindings.size(); ++i) {
    const Slice &before = sliceOf(bindings[i - 1]),
                &slice = sliceOf(bindings[i]);
    if (before.arena() == slice.arena() &&
        slice.offset() - before.offset() < spanBytes(before))
      return makeError(
          StatusCode::DataLoss, "bindings %s and %s share bytes of the arena",
          quoted(*bindings[i - 1]).c_str(), quoted(*bindings[i]).c_str());
  }
  return Status();
}

Status validateBindings(const Engine &engine, const Program &program,
                        const Entry &entry) {
  const bool isFirst = program.stage() == 0;
  const bool isLast = program.stage() + 1 == engine.topology()->pp();
  const bool isMain = program.name()->str() == kMainProgram;
  const ops::Sizes sizes = sizesOf(engine, entry);
  // By id: outputs that another stage must not have count as unknown.
  std::vector<bool> found(ops::kBindings);
  std::vector<const ops::Output *> partial;
  for (const Binding *binding : *entry.bindings()) {
    std::string place = "binding " + quoted(*binding);
    const ops::Binding *known = ops::findBinding(binding->name()->c_str());
    if (!known || (known->isOutput() && !isLast))
      return makeError(StatusCode::DataLoss, "%s: unknown name", place.c_str());
    if (found[size_t(known->id)])
      return makeError(StatusCode::DataLoss, "%s: appears twice",
                       place.c_str());
    found[size_t(known->id)] = true;
    if (binding->slice() >= entry.slices()->size())
      return makeError(StatusCode::DataLoss,
                       "%s: slice %u does not exist, there are %u",
                       place.c_str(), binding->slice(), entry.slices()->size());
    SADDLE_RETURN_IF_ERROR(prefix(
        place, checkBoundSlice(engine, *entry.slices()->Get(binding->slice()),
                               *known, sizes)));
    partial.push_back(known->output);
  }
  for (const ops::Binding &each : ops::bindings()) {
    bool hasOthers = each.output && std::find(partial.begin(), partial.end(),
                                              each.output) != partial.end();
    if (!found[size_t(each.id)] &&
        (hasOthers || each.isRequired(isMain, isFirst, isLast)))
      return makeError(StatusCode::DataLoss, "binding \"%s\" is missing",
                       each.name);
  }
  return checkNoOverlap(entry);
}

Status checkCount(const char *what, uint64_t count) {
  if (count >= 1 && count <= INT32_MAX)
    return Status();
  return makeError(StatusCode::DataLoss, "%s is %" PRIu64 ", expected 1 to %d",
                   what, count, INT32_MAX);
}

Status validateEntry(const Engine &engine, const Program &program,
                     const Entry &entry, const StatePlaces &states,
                     const std::vector<GroupFacts> &groups) {
  if (entry.phase() != Phase::DECODE && entry.phase() != Phase::PREFILL)
    return makeError(StatusCode::DataLoss, "unknown phase %u",
                     unsigned(entry.phase()));
  SADDLE_RETURN_IF_ERROR(checkCount("tokens", entry.tokens()));
  SADDLE_RETURN_IF_ERROR(checkCount("rows", entry.rows()));
  for (uint32_t i = 0; i < entry.slices()->size(); ++i) {
    const Slice &slice = *entry.slices()->Get(i);
    std::string place = "slice " + std::to_string(i);
    SADDLE_RETURN_IF_ERROR(prefix(place, validateSlice(engine, slice)));
    SADDLE_RETURN_IF_ERROR(prefix(place, states.check(engine, slice)));
  }
  SADDLE_RETURN_IF_ERROR(validateBindings(engine, program, entry));
  for (uint32_t i = 0; i < entry.commands()->size(); ++i) {
    const Command &command = *entry.commands()->Get(i);
    SADDLE_RETURN_IF_ERROR(prefix(
        "command " + std::to_string(i) + " (" + command.place()->str() + ")",
        validateCommand(engine, program, entry, command, groups)));
  }
  return validateLayouts(entry);
}

/// The scheduler packs up to `least` tokens of `phase` into one step, so some
/// entry must take them.
Status checkLargestEntry(const Program &program, Phase phase,
                         const char *limitName, uint64_t least) {
  uint64_t largest = 0;
  for (const Entry *entry : *program.entries())
    if (entry->phase() == phase)
      largest = std::max(largest, entry->tokens());
  if (largest >= least)
    return Status();
  return makeError(StatusCode::DataLoss,
                   "the largest %s entry takes %" PRIu64
                   " tokens, expected %s = %" PRIu64 " or more",
                   EnumNamePhase(phase), largest, limitName, least);
}

} // namespace

Status validateEntries(const Engine &engine, const Program &program,
                       const std::vector<GroupFacts> &groups) {
  StatePlaces states(program);
  std::unordered_set<std::string> names;
  uint64_t vocab = engine.model()->vocab_size();
  for (const Entry *entry : *program.entries()) {
    if (!names.insert(entry->name()->str()).second)
      return makeError(StatusCode::DataLoss, "two entries are named %s",
                       quoted(*entry).c_str());
    SADDLE_RETURN_IF_ERROR(
        prefix("entry " + quoted(*entry),
               validateEntry(engine, program, *entry, states, groups)));
    // The session has one answer for all steps.
    const Entry &first = *program.entries()->Get(0);
    uint64_t candidates = candidatesOf(*entry), others = candidatesOf(first);
    if (candidates != others)
      return makeError(StatusCode::DataLoss,
                       "entry %s yields %" PRIu64
                       " candidates for a row, but entry %s yields %" PRIu64,
                       quoted(*entry).c_str(), candidates,
                       quoted(first).c_str(), others);
    if (candidates > vocab)
      return makeError(StatusCode::DataLoss,
                       "entry %s yields %" PRIu64
                       " candidates for a row, but the vocabulary has %" PRIu64
                       " tokens",
                       quoted(*entry).c_str(), candidates, vocab);
  }
  if (program.entries()->size() == 0)
    return makeError(StatusCode::DataLoss, "has no entries, expected some");
  // Sessions schedule this one alone.
  if (program.name()->str() != kMainProgram)
    return Status();
  const Limits &limits = *engine.limits();
  SADDLE_RETURN_IF_ERROR(checkLargestEntry(program, Phase::DECODE, "max_batch",
                                           limits.max_batch()));
  return checkLargestEntry(program, Phase::PREFILL, "prefill_chunk",
                           limits.prefill_chunk());
}

} // namespace saddle::engine
