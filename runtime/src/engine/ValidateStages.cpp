// Pipeline stages of a program against each other: the same entries, and a
// receive for every send.

#include "runtime/src/engine/CommandCheck.h"
#include "runtime/src/engine/Programs.h"

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
Status checkTransfers(const Program &from, const Program &to,
                      const Entry &sender, const Entry &receiver) {
  std::vector<Move> sends = movesOf(sender, TransferKind::SEND),
                    receives = movesOf(receiver, TransferKind::RECEIVE);
  // What has nothing to do in a stage hears of nobody there.
  bool starts = sender.commands()->size() == 0;
  if (sends.size() != receives.size() || (sends.empty() && !starts))
    return makeError(StatusCode::DataLoss,
                     "%s sends %zu tensors and %s receives %zu, expected as "
                     "many and at least 1",
                     engine::describe(from).c_str(), sends.size(),
                     engine::describe(to).c_str(), receives.size());
  for (size_t i = 0; i < sends.size(); ++i) {
    const auto &a = *sends[i].slice, &b = *receives[i].slice;
    bool same = a.dtype() == b.dtype() &&
                sends[i].transfer->extent() == receives[i].transfer->extent() &&
                std::equal(a.shape()->begin(), a.shape()->end(),
                           b.shape()->begin(), b.shape()->end());
    if (!same)
      return makeError(
          StatusCode::DataLoss, "transfer %zu: %s sends %s, but %s receives %s",
          i, engine::describe(from).c_str(), describe(sends[i]).c_str(),
          engine::describe(to).c_str(), describe(receives[i]).c_str());
  }
  return Status();
}

std::string describe(const Entry &entry) {
  return quoted(entry) + " (" + EnumNamePhase(entry.phase()) + ", " +
         std::to_string(entry.tokens()) + " tokens, " +
         std::to_string(entry.rows()) + " rows)";
}

/// A stage of a program against the first one and the one before it.
Status checkStage(const Program &first, const Program &before,
                  const Program &program) {
  const auto &entries = *first.entries(), &others = *program.entries();
  std::string name = engine::describe(program);
  if (others.size() != entries.size())
    return makeError(StatusCode::DataLoss, "%s has %u entries, but %s has %u",
                     name.c_str(), others.size(),
                     engine::describe(first).c_str(), entries.size());
  for (uint32_t i = 0; i < entries.size(); ++i) {
    const Entry &entry = *entries.Get(i), &other = *others.Get(i);
    if (describe(entry) != describe(other))
      return makeError(StatusCode::DataLoss,
                       "entry %u is %s in %s, but %s in %s", i,
                       describe(entry).c_str(), engine::describe(first).c_str(),
                       describe(other).c_str(), name.c_str());
    SADDLE_RETURN_IF_ERROR(prefix(
        "entry " + quoted(entry),
        checkTransfers(before, program, *before.entries()->Get(i), other)));
  }
  return Status();
}

} // namespace

Status validateStages(const Engine &engine) {
  // The stages of a program follow each other.
  const auto &programs = *engine.programs();
  const Program *first = nullptr;
  for (uint32_t i = 0; i < programs.size(); ++i) {
    const Program &program = *programs.Get(i);
    if (program.stage() == 0)
      first = &program;
    else
      SADDLE_RETURN_IF_ERROR(checkStage(*first, *programs.Get(i - 1), program));
  }
  return Status();
}

} // namespace saddle::engine
