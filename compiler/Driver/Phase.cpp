#include "compiler/Driver/Phase.h"

using namespace saddle;

static constexpr PhaseInfo kPhases[] = {
    {Phase::Start, "start", "as imported: one function, symbolic token count"},
    {Phase::Model, "model", "one function for each bucket, static shapes"},
    {Phase::Dist, "dist", "one rank's program with collectives"},
    {Phase::Kernel, "kernel", "launch groups with implementations"},
    {Phase::Engine, "engine", "commands on planned memory"},
};

llvm::ArrayRef<PhaseInfo> saddle::allPhases() { return kPhases; }

llvm::StringRef saddle::phaseName(Phase phase) {
  return kPhases[static_cast<size_t>(phase)].name;
}

std::optional<Phase> saddle::parsePhase(llvm::StringRef name) {
  for (const PhaseInfo &info : kPhases)
    if (info.name == name)
      return info.phase;
  return std::nullopt;
}
