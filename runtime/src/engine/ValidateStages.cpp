// Pipeline stages against each other: the same entries, and a receive for every
// send.

#include "runtime/src/engine/CommandCheck.h"

#include <algorithm>
#include <vector>

namespace saddle::engine {

using namespace schema;
using schema::Engine; // not saddle::Engine

namespace {

struct Move {
  const Command *command;
  const Transfer *transfer;
  const Slice *slice;
};

std::vector<Move> movesOf(const Entry &entry, TransferKind kind) {
  std::vector<Move> moves;
  for (const Command *command : *entry.commands()) {
    const Transfer *transfer = command->action_as_Transfer();
    if (transfer && transfer->kind() == kind)
      moves.push_back(
          {command, transfer, entry.slices()->Get(transfer->slice())});
  }
  return moves;
}

std::string describe(const Move &move) {
  return engine::describe(*move.slice) + " " +
         EnumNameExtent(move.transfer->extent()) + " (" +
         move.command->place()->str() + ")";
}

/// What the entries of stage `from` send is what those of `from` + 1 receive.
Status checkTransfers(uint32_t from, const Entry &sender,
                      const Entry &receiver) {
  std::vector<Move> sends = movesOf(sender, TransferKind::SEND),
                    receives = movesOf(receiver, TransferKind::RECEIVE);
  if (sends.size() != receives.size() || sends.empty())
    return makeError(StatusCode::DataLoss,
                     "program %u sends %zu tensors and program %u receives "
                     "%zu, expected as many and at least 1",
                     from, sends.size(), from + 1, receives.size());
  for (size_t i = 0; i < sends.size(); ++i) {
    const auto &a = *sends[i].slice, &b = *receives[i].slice;
    bool same = a.dtype() == b.dtype() &&
                sends[i].transfer->extent() == receives[i].transfer->extent() &&
                std::equal(a.shape()->begin(), a.shape()->end(),
                           b.shape()->begin(), b.shape()->end());
    if (!same)
      return makeError(StatusCode::DataLoss,
                       "transfer %zu: program %u sends %s, but program %u "
                       "receives %s",
                       i, from, describe(sends[i]).c_str(), from + 1,
                       describe(receives[i]).c_str());
  }
  return Status();
}

std::string describe(const Entry &entry) {
  return quoted(entry) + " (" + EnumNamePhase(entry.phase()) + ", " +
         std::to_string(entry.tokens()) + " tokens, " +
         std::to_string(entry.rows()) + " rows)";
}

} // namespace

Status validateStages(const Engine &engine) {
  const auto &entries = *engine.programs()->Get(0)->entries();
  for (uint32_t stage = 1; stage < engine.programs()->size(); ++stage) {
    const auto &others = *engine.programs()->Get(stage)->entries();
    const auto &before = *engine.programs()->Get(stage - 1)->entries();
    if (others.size() != entries.size())
      return makeError(StatusCode::DataLoss,
                       "program %u has %u entries, but program 0 has %u", stage,
                       others.size(), entries.size());
    for (uint32_t i = 0; i < entries.size(); ++i) {
      const Entry &entry = *entries.Get(i), &other = *others.Get(i);
      if (describe(entry) != describe(other))
        return makeError(StatusCode::DataLoss,
                         "entry %u is %s in program 0, but %s in program %u", i,
                         describe(entry).c_str(), describe(other).c_str(),
                         stage);
      SADDLE_RETURN_IF_ERROR(
          prefix("entry " + quoted(entry),
                 checkTransfers(stage - 1, *before.Get(i), other)));
    }
  }
  return Status();
}

} // namespace saddle::engine
