// Commands: launches against their op's signature and the engine's limits,
// copies, and what all kinds of commands share.

#include "runtime/ops/Bindings.h"
#include "runtime/ops/Body.h"
#include "runtime/src/base/DType.h"
#include "runtime/src/engine/CommandCheck.h"
#include "runtime/src/engine/CommandNames.h"
#include "runtime/src/engine/Extents.h"

#include <cstring>
#include <vector>

namespace saddle::engine {

using namespace schema;
using schema::Engine; // not saddle::Engine

namespace {

class CommandChecker : CommandContext {
public:
  explicit CommandChecker(const CommandContext &context)
      : CommandContext(context) {}

  Status check(const Command &command);

private:
  Status checkLaunch(const Launch &launch);
  Status checkLimits(const ops::Body &body, const Launch &launch);
  Status checkGroups(const ops::Body &body, const Launch &launch);
  Status checkCopy(const Copy &copy);
};

Status CommandChecker::checkLaunch(const Launch &launch) {
  if (launch.kernel() >= engine.kernels()->size())
    return makeError(StatusCode::DataLoss,
                     "kernel %u does not exist, there are %u", launch.kernel(),
                     engine.kernels()->size());
  const Kernel &kernel = *engine.kernels()->Get(launch.kernel());
  SADDLE_ASSIGN_OR_RETURN(uint64_t count, countOf(launch.extent()));
  std::vector<View> operands;
  for (uint32_t i = 0; i < launch.operands()->size(); ++i) {
    uint32_t index = launch.operands()->Get(i);
    SADDLE_RETURN_IF_ERROR(
        checkIndex(("operand " + std::to_string(i)).c_str(), index));
    operands.push_back(viewOf(slice(index)));
  }
  std::string place = "kernel " + quoted(kernel);
  // Whatever the table calls it: here it is the file that is wrong.
  auto blameFile = [&](const Status &status) {
    return Status(status.code() == StatusCode::Unsupported
                      ? StatusCode::Unsupported
                      : StatusCode::DataLoss,
                  place + ": " + status.message(), status.identifier());
  };
  StatusOr<ops::Body> body = ops::Body::of(kernel, operands.size());
  if (!body.ok())
    return blameFile(body.status());
  if (Status status = body->check(engine.compute_dtype(), engine.kv_dtype(),
                                  operands, count);
      !status.ok())
    return blameFile(status);
  SADDLE_RETURN_IF_ERROR(
      prefix(place, checkDim("counted operand",
                             launch.operands()->Get(body->counted()), 0, count,
                             describe(launch.extent()))));
  SADDLE_RETURN_IF_ERROR(prefix(place, checkLimits(*body, launch)));
  std::vector<uint32_t> indices(launch.operands()->begin(),
                                launch.operands()->end());
  for (uint32_t i = 0; i < indices.size(); ++i) {
    bool isOutput = i + body->outputs() >= indices.size();
    SADDLE_RETURN_IF_ERROR(
        prefix(place, isOutput ? checkWritable("output", indices[i])
                               : checkData("input", indices[i])));
  }
  SADDLE_RETURN_IF_ERROR(prefix(place, checkGroups(*body, launch)));
  return prefix(
      place,
      validateMemory(*this, {launch.workspace(), launch.exchange()}, indices));
}

Status CommandChecker::checkGroups(const ops::Body &body,
                                   const Launch &launch) {
  if (!body.exchanges())
    return launch.groups() == 0 && launch.exchange() == 0
               ? Status()
               : makeError(StatusCode::DataLoss,
                           "has rank groups or exchange memory, but its op "
                           "exchanges nothing");
  if (!isDeviceTarget(engine))
    return makeError(StatusCode::Unsupported,
                     "its op exchanges data inside a kernel, which target "
                     "\"cpu\" cannot");
  if (launch.exchange() == 0)
    return makeError(StatusCode::DataLoss,
                     "has no exchange memory, but its op needs some");
  if (launch.groups() >= 1 && launch.groups() <= engine.rank_groups()->size())
    return Status();
  return makeError(
      StatusCode::DataLoss, "rank groups %lld do not exist, there are %u",
      (long long)launch.groups() - 1, engine.rank_groups()->size());
}

/// Letters that mean the same in all ops (runtime/ops/Op.h) have the engine's
/// extents.
Status CommandChecker::checkLimits(const ops::Body &body,
                                   const Launch &launch) {
  const Limits &limits = *engine.limits();
  const struct {
    char letter;
    uint64_t extent;
    const char *rule;
  } kLimits[] = {
      {'b', limits.page_size(), "page_size"},
      {'S', limits.max_batch(), "max_batch"},
      {'P', (limits.max_seq_len() - 1) / limits.page_size() + 1,
       "max_seq_len / page_size rounded up"},
  };
  for (uint32_t i = 0; i < launch.operands()->size(); ++i) {
    const ops::Operand &operand = body.definition(i);
    uint32_t index = launch.operands()->Get(i);
    for (uint32_t dim = 0; operand.shape[dim]; ++dim)
      for (const auto &limit : kLimits)
        if (operand.shape[dim] == limit.letter)
          SADDLE_RETURN_IF_ERROR(checkDim(operand.name.c_str(), index, dim,
                                          limit.extent, limit.rule));
    if (!operand.isState())
      continue;
    // Its units are right where it lies in the arena of its kind (State).
    const Arena &arena = *engine.arenas()->Get(slice(index).arena());
    ArenaKind expected =
        operand.isOfSequences() ? ArenaKind::SEQUENCES : ArenaKind::PAGES;
    if (arena.kind() != expected)
      return makeError(StatusCode::DataLoss,
                       "%s (slice %u) lies in arena %s of kind %s, expected %s",
                       operand.name.c_str(), index, quoted(arena).c_str(),
                       EnumNameArenaKind(arena.kind()),
                       EnumNameArenaKind(expected));
  }
  return Status();
}

Status CommandChecker::checkCopy(const Copy &copy) {
  SADDLE_RETURN_IF_ERROR(checkRows("source", copy.source(), copy.extent()));
  SADDLE_RETURN_IF_ERROR(checkIndex("dest", copy.dest()));
  SADDLE_RETURN_IF_ERROR(checkWritable("dest", copy.dest()));
  const Slice &source = slice(copy.source()), &dest = slice(copy.dest());
  bool same = source.dtype() == dest.dtype() &&
              std::equal(source.shape()->begin(), source.shape()->end(),
                         dest.shape()->begin(), dest.shape()->end());
  if (!same)
    return makeError(StatusCode::DataLoss,
                     "the source is %s, but the dest is %s",
                     describe(source).c_str(), describe(dest).c_str());
  if (overlap(copy.source(), copy.dest()))
    return makeError(StatusCode::DataLoss,
                     "source and dest (slices %u and %u) share bytes",
                     copy.source(), copy.dest());
  SADDLE_RETURN_IF_ERROR(checkData("source", copy.source()));
  return validateRunner(*this, copy.kernel(), kCopyOp);
}

Status CommandChecker::check(const Command &command) {
  if (command.group() > engine.fusions()->size())
    return makeError(StatusCode::DataLoss,
                     "fusion group %u does not exist, there are %u",
                     command.group(), engine.fusions()->size());
  if (command.output() &&
      ops::partsOfOutput(command.output()->string_view()).empty())
    return makeError(StatusCode::DataLoss,
                     "is for output \"%s\", which no step has",
                     command.output()->c_str());
  // The FlatBuffers verifier lets unknown union members pass.
  switch (command.action_type()) {
  case Action::Launch:
    return checkLaunch(*command.action_as_Launch());
  case Action::Collective:
    return prefix("collective",
                  validateCollective(*this, *command.action_as_Collective()));
  case Action::Copy:
    return prefix("copy", checkCopy(*command.action_as_Copy()));
  case Action::Transfer:
    return prefix("transfer",
                  validateTransfer(*this, *command.action_as_Transfer()));
  case Action::NONE:
    break;
  }
  return makeError(StatusCode::DataLoss, "unknown action %u",
                   unsigned(command.action_type()));
}

} // namespace

Status CommandContext::checkIndex(const char *what, uint32_t index) const {
  if (index < entry.slices()->size())
    return Status();
  return makeError(StatusCode::DataLoss,
                   "%s: slice %u does not exist, there are %u", what, index,
                   entry.slices()->size());
}

Status CommandContext::checkDim(const char *what, uint32_t index, uint32_t dim,
                                uint64_t expected, const char *rule) const {
  uint64_t found = slice(index).shape()->Get(dim);
  if (found == expected)
    return Status();
  return makeError(StatusCode::DataLoss,
                   "%s (slice %u): dimension %u is %" PRIu64
                   ", expected %s = %" PRIu64,
                   what, index, dim, found, rule, expected);
}

Status CommandContext::checkRows(const char *what, uint32_t index,
                                 Extent extent) const {
  SADDLE_RETURN_IF_ERROR(checkIndex(what, index));
  SADDLE_ASSIGN_OR_RETURN(uint64_t count, countOf(extent));
  return checkDim(what, index, 0, count, describe(extent));
}

Status CommandContext::checkWritable(const char *what, uint32_t index) const {
  const Arena &arena = *engine.arenas()->Get(slice(index).arena());
  if (arena.kind() != ArenaKind::CONSTANT)
    return checkData(what, index);
  return makeError(StatusCode::DataLoss,
                   "%s (slice %u) lies in arena %s of kind CONSTANT, which no "
                   "command may write",
                   what, index, quoted(arena).c_str());
}

Status CommandContext::checkData(const char *what, uint32_t index) const {
  const Arena &arena = *engine.arenas()->Get(slice(index).arena());
  if (arena.kind() != ArenaKind::EXCHANGE)
    return Status();
  return makeError(StatusCode::DataLoss,
                   "%s (slice %u) lies in arena %s of kind EXCHANGE, which "
                   "holds exchange memory only",
                   what, index, quoted(arena).c_str());
}

StatusOr<uint64_t> CommandContext::countOf(Extent extent) const {
  if (extent < Extent::TOKENS || extent > Extent::TOKEN_SHARE)
    return makeError(StatusCode::DataLoss, "unknown extent %u",
                     unsigned(extent));
  uint64_t count = capacityOf(extent, *engine.topology(), entry);
  if (count > 0)
    return count;
  return makeError(StatusCode::DataLoss,
                   "extent %s: the entry's %" PRIu64
                   " tokens are no multiple of the attention width tp / dp = "
                   "%u",
                   EnumNameExtent(extent), entry.tokens(),
                   attentionWidth(*engine.topology()));
}

bool CommandContext::overlap(uint32_t a, uint32_t b) const {
  bool aFirst = slice(a).offset() < slice(b).offset();
  const Slice &first = slice(aFirst ? a : b), &second = slice(aFirst ? b : a);
  return first.arena() == second.arena() &&
         second.offset() - first.offset() < spanBytes(first);
}

std::string describe(const Slice &slice) {
  return std::string(dtypeName(slice.dtype())) + " " +
         formatDims(*slice.shape());
}

Status validateCommand(const Engine &engine, const Program &program,
                       const Entry &entry, const Command &command,
                       const std::vector<GroupFacts> &groups) {
  return CommandChecker({engine, program, entry, groups}).check(command);
}

} // namespace saddle::engine
