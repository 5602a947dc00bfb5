#include "runtime/src/cuda/FaultReport.h"

#include "runtime/src/backend/RankProgram.h"
#include "runtime/src/base/DType.h"
#include "runtime/src/engine/CommandNames.h"

namespace saddle::cuda {

static std::string describe(const schema::Slice &slice) {
  std::string text = dtypeName(slice.dtype());
  for (uint32_t i = 0; i < slice.shape()->size(); ++i)
    text += (i ? ", " : "[") + std::to_string(slice.shape()->Get(i));
  return text + "]";
}

/// `"LOCATION" (what it does)` of a command of the rank's entry.
static std::string describe(const FaultContext &context, uint32_t rank,
                            uint32_t number) {
  const schema::Engine &engine = context.engine;
  std::vector<const schema::Entry *> entries = backend::entriesOf(engine, rank);
  if (context.entry >= entries.size() ||
      number >= entries[context.entry]->commands()->size())
    return "command " + std::to_string(number);
  const schema::Entry &entry = *entries[context.entry];
  const schema::Command &command = *entry.commands()->Get(number);
  std::string text = "\"" + command.place()->str() + "\"";
  auto slice = [&](uint32_t index) {
    return describe(*entry.slices()->Get(index));
  };
  auto axes = [&](uint32_t groups) {
    return engine.rank_groups()->Get(groups)->axes()->str();
  };
  if (const schema::Launch *launch = command.action_as_Launch()) {
    text += " (" + engine.kernels()->Get(launch->kernel())->op()->str();
    return text + (launch->groups()
                       ? " over " + axes(launch->groups() - 1) + ")"
                       : ")");
  }
  if (const auto *collective = command.action_as_Collective())
    return text + " (" + engine::opOf(collective->kind()) + " over " +
           axes(collective->groups()) + ", " + slice(collective->input()) + ")";
  if (const auto *transfer = command.action_as_Transfer()) {
    bool sends = transfer->kind() == schema::TransferKind::SEND;
    uint32_t tp = engine.topology()->tp();
    return text + (sends ? " (send to rank " : " (receive from rank ") +
           std::to_string(sends ? rank + tp : rank - tp) + ", " +
           slice(transfer->slice()) + ")";
  }
  return text;
}

static std::string lastSeen(const char *place) {
  return place ? std::string("last seen at \"") + place + "\"" : "not seen yet";
}

Status describeFault(const device::Fault &fault, const FaultContext &context) {
  uint32_t world =
      context.engine.topology()->tp() * context.engine.topology()->pp();
  if (fault.rank >= world || fault.peer >= world)
    return makeError(StatusCode::Internal,
                     "a device left a fault record that cannot be: rank %u, "
                     "peer %u of %u ranks, reason %u",
                     fault.rank, fault.peer, world, fault.reason);
  std::string here = describe(context, fault.rank, fault.command);
  switch (fault.reason) {
  case device::kFaultTimeout: {
    double seconds = double(context.timeout.count()) / 1000;
    if (context.isAlone)
      return makeError(StatusCode::DeadlineExceeded,
                       "rank %u, which runs alone, waited %.1f s at %s for "
                       "what it had sent itself; an engine of an older "
                       "saddle-compile has no way back for it, so compile the "
                       "model again",
                       fault.rank, seconds, here.c_str());
    std::string cause;
    if (context.silent && context.silent->rank != fault.peer)
      cause = " because rank " + std::to_string(context.silent->rank) + ", " +
              lastSeen(context.silent->place) + ", makes no progress";
    return makeError(StatusCode::DeadlineExceeded,
                     "rank %u waited %.1f s at %s for rank %u, %s, which did "
                     "not arrive%s",
                     fault.rank, seconds, here.c_str(), fault.peer,
                     lastSeen(context.peerPlace).c_str(), cause.c_str());
  }
  case device::kFaultMismatch:
    return makeError(StatusCode::Internal,
                     "rank %u is at %s with %u rows, but rank %u is there with "
                     "%u",
                     fault.rank, here.c_str(), fault.expected, fault.peer,
                     fault.found);
  case device::kFaultElsewhere:
    return makeError(StatusCode::Internal,
                     "rank %u is at %s, but rank %u is at %s", fault.rank,
                     here.c_str(), fault.peer,
                     describe(context, fault.peer, fault.found).c_str());
  default:
    return makeError(StatusCode::Internal,
                     "rank %u stopped at %s for reason %u", fault.rank,
                     here.c_str(), fault.reason);
  }
}

} // namespace saddle::cuda
