#include "runtime/src/cpu/HostCollectives.h"

namespace saddle::cpu {

namespace {

class HostCollective : public backend::BoundCollective<HostRun> {
public:
  HostCollective(const schema::Collective &collective, uint32_t rank,
                 const comm::Call &call)
      : collective(collective), rank(rank), call(call) {}
  Status run(const HostRun &run) override {
    return run.transport.run(rank, call, run.counts.ofMembers(collective));
  }

private:
  const schema::Collective &collective;
  const uint32_t rank;
  const comm::Call call;
};

class HostTransfer : public backend::BoundCollective<HostRun> {
public:
  HostTransfer(const schema::Transfer &transfer, uint32_t rank,
               const comm::Message &message)
      : transfer(transfer), rank(rank), message(message) {}
  Status run(const HostRun &run) override {
    uint64_t rows = run.counts.of(transfer.extent());
    if (transfer.kind() == schema::TransferKind::SEND)
      return run.transport.send(rank, message, rows, run.tag);
    return run.transport.receive(rank, message, rows, run.tag);
  }

private:
  const schema::Transfer &transfer;
  const uint32_t rank;
  const comm::Message message;
};

} // namespace

std::unique_ptr<backend::BoundCollective<HostRun>>
HostCollectives::bind(const backend::CollectiveSite &site) {
  const char *place = site.command().place()->c_str();
  if (const auto *collective = site.command().action_as_Collective())
    return std::make_unique<HostCollective>(
        *collective, site.rank,
        comm::Call{
            {collective->kind(), collective->dim(), collective->layout()},
            collective->groups(),
            {site.slices[collective->input()],
             site.slices[collective->output()]},
            place});
  const schema::Transfer &transfer = *site.command().action_as_Transfer();
  uint32_t tp = site.engine.topology()->tp();
  bool sends = transfer.kind() == schema::TransferKind::SEND;
  uint32_t peer = sends ? site.rank + tp : site.rank - tp;
  return std::make_unique<HostTransfer>(
      transfer, site.rank,
      comm::Message{peer, site.slices[transfer.slice()], place});
}

} // namespace saddle::cpu
