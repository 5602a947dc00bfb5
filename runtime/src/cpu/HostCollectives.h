// Collectives and transfers of the CPU target: the transport does them,
// whatever it is.

#ifndef SADDLE_RUNTIME_CPU_HOSTCOLLECTIVES_H
#define SADDLE_RUNTIME_CPU_HOSTCOLLECTIVES_H

#include "runtime/src/backend/Collectives.h"
#include "runtime/src/backend/RowCounts.h"
#include "runtime/src/comm/Transport.h"

namespace saddle::cpu {

/// What the CPU target knows of a run.
struct HostRun {
  comm::Transport &transport;
  const backend::RowCounts &counts; // of the batch
  uint64_t tag;                     // of a transfer; both ends have the same
};

class HostCollectives : public backend::CollectiveProvider<HostRun> {
public:
  const char *name() const override { return "transport"; }
  bool takes(const schema::Entry &, const schema::Command &) const override {
    return true;
  }
  std::unique_ptr<backend::BoundCollective<HostRun>>
  bind(const backend::CollectiveSite &site) override;
};

} // namespace saddle::cpu

#endif // SADDLE_RUNTIME_CPU_HOSTCOLLECTIVES_H
