#include "runtime/src/cuda/Commands.h"

#include "runtime/ops/Body.h"

#include "runtime/src/cuda/Groups.h"
#include "runtime/src/engine/Engine.h"

#include <algorithm>
#include <cassert>

namespace saddle::cuda {

namespace {

template <typename T>
T *pointer(uint64_t address) {
  return reinterpret_cast<T *>(address);
}

class Resolver {
public:
  Resolver(const schema::Engine &engine, const schema::Entry &entry,
           const RankAddresses &addresses)
      : engine(engine), entry(entry), addresses(addresses) {}

  DeviceCommand resolve(const schema::Command &command, uint32_t number);

private:
  void setKernel(uint32_t index);
  void setOperands(const std::vector<uint32_t> &slices);
  /// Of a kernel that communicates; `exchange` is one behind its slice.
  void setExchange(uint32_t group, uint32_t exchange);
  /// Kernel, workspace and exchange memory of a collective or transfer.
  template <typename Table>
  void setCommunication(const Table &table, uint32_t group);
  /// Address of a slice whose index is one behind; null for 0.
  void *optional(uint32_t index) const {
    return index == 0
               ? nullptr
               : pointer<void>(addresses.of(*entry.slices()->Get(index - 1)));
  }

  const schema::Engine &engine;
  const schema::Entry &entry;
  const RankAddresses &addresses;
  DeviceCommand result;
};

} // namespace

void Resolver::setKernel(uint32_t index) {
  result.kernel = index;
  uint32_t count = 0;
  for (const schema::RankValue *value :
       ops::rankValuesOf(*engine.kernels()->Get(index))) {
    assert(count < device::kMaxRankValues && "the validator counts them");
    result.params.rankValues[count++] = evaluate(value, addresses.rank);
  }
  std::vector<double> reals = ops::realsOf(*engine.kernels()->Get(index));
  std::copy_n(reals.begin(), std::min<size_t>(reals.size(), device::kMaxReals),
              result.params.reals);
}

void Resolver::setOperands(const std::vector<uint32_t> &slices) {
  assert(slices.size() <= device::kMaxOperands && "the validator counts them");
  for (size_t i = 0; i < slices.size(); ++i)
    result.params.operands[i] =
        pointer<void>(addresses.of(*entry.slices()->Get(slices[i])));
}

template <typename Table>
void Resolver::setCommunication(const Table &table, uint32_t group) {
  setKernel(table.kernel() - 1);
  result.params.workspace = optional(table.workspace());
  setExchange(group, table.exchange());
}

void Resolver::setExchange(uint32_t group, uint32_t exchange) {
  result.params.group = pointer<device::Group>(addresses.groups) + group;
  result.params.exchange = optional(exchange);
  result.params.fault = pointer<device::Fault>(addresses.fault);
}

DeviceCommand Resolver::resolve(const schema::Command &command,
                                uint32_t number) {
  result = {};
  result.params.step = pointer<device::Step>(addresses.step);
  result.params.command = number;
  if (const schema::Launch *launch = command.action_as_Launch()) {
    setKernel(launch->kernel());
    result.params.workspace = optional(launch->workspace());
    if (launch->groups() != 0)
      setExchange(launch->groups() - 1, launch->exchange());
    setOperands({launch->operands()->begin(), launch->operands()->end()});
  } else if (const auto *collective = command.action_as_Collective()) {
    setCommunication(*collective, collective->groups());
    setOperands({collective->input(), collective->output()});
  } else if (const auto *transfer = command.action_as_Transfer()) {
    bool sends = transfer->kind() == schema::TransferKind::SEND;
    setCommunication(*transfer,
                     sends ? sendGroup(engine) : receiveGroup(engine));
    setOperands({transfer->slice()});
  } else {
    const schema::Copy *copy = command.action_as_Copy();
    setKernel(copy->kernel() - 1);
    setOperands({copy->source(), copy->dest()});
  }
  return result;
}

DeviceCommand resolveCommand(const schema::Engine &engine,
                             const schema::Entry &entry, uint32_t number,
                             const RankAddresses &addresses) {
  return Resolver(engine, entry, addresses)
      .resolve(*entry.commands()->Get(number), number);
}

} // namespace saddle::cuda
