#include "runtime/src/backend/ChainEntries.h"

#include "runtime/src/backend/StepInputs.h"
#include "runtime/src/engine/Programs.h"

#include <string_view>
#include <tuple>

namespace saddle::backend {

/// The smallest decode entry of a program with room for so many.
static std::optional<uint32_t> entryFor(const schema::Engine &engine,
                                        std::string_view program,
                                        uint64_t tokens, uint64_t rows) {
  std::optional<uint32_t> best;
  std::tuple<uint64_t, uint64_t> least;
  uint32_t number = 0;
  for (const schema::Program *each : engine::programsOf(engine, 0))
    for (const schema::Entry *entry : *each->entries()) {
      uint32_t index = number++;
      std::tuple<uint64_t, uint64_t> size(entry->tokens(), entry->rows());
      if (program != each->name()->c_str() ||
          entry->phase() != schema::Phase::DECODE || entry->tokens() < tokens ||
          entry->rows() < rows || (best && size >= least))
        continue;
      best = index;
      least = size;
    }
  return best;
}

std::optional<ChainEntries> chainEntriesOf(const schema::Engine &engine,
                                           uint64_t sequences,
                                           uint64_t drafts) {
  const schema::Topology &topology = *engine.topology();
  if (topology.pp() != 1 || topology.dp() != 1 || candidatesOf(engine) == 0 ||
      sequences == 0 || sequences > engine.limits()->max_batch() ||
      drafts > engine::specTokens(engine) ||
      (drafts != 0 && engine::hasSequenceState(engine)))
    return std::nullopt;
  ChainEntries entries;
  uint64_t tokens = sequences * (drafts + 1);
  auto main = entryFor(engine, engine::kMainProgram, tokens, tokens);
  if (!main)
    return std::nullopt;
  entries.main = *main;
  if (drafts == 0)
    return entries;
  auto first = entryFor(engine, engine::kDraftProgram, tokens, sequences),
       draft = entryFor(engine, engine::kDraftProgram, sequences, sequences);
  if (!first || !draft)
    return std::nullopt;
  entries.draftFirst = *first;
  entries.draft = *draft;
  return entries;
}

} // namespace saddle::backend
