#include "runtime/src/cuda/Commands.h"

#include "runtime/src/cuda/Groups.h"
#include "runtime/src/engine/Engine.h"

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

  StatusOr<DeviceCommand> resolve(const schema::Command &command,
                                  uint32_t number);

private:
  /// `index` is one behind the kernel; 0 is none.
  Status setKernel(uint32_t index);
  Status setOperands(const std::vector<uint32_t> &slices);
  Status setRankValues(const schema::Kernel &kernel);
  /// Address of a slice whose index is one behind; null for 0.
  void *optional(uint32_t index) const {
    return index == 0
               ? nullptr
               : pointer<void>(addresses.of(*entry.slices()->Get(index - 1)));
  }
  /// Of a kernel that communicates.
  void setExchange(uint32_t group, uint32_t exchange);
  template <typename Table>
  Status setCommunication(const Table &table, uint32_t group,
                          const std::vector<uint32_t> &slices);

  const schema::Engine &engine;
  const schema::Entry &entry;
  const RankAddresses &addresses;
  const char *location = "";
  DeviceCommand result;
};

} // namespace

Status Resolver::setKernel(uint32_t index) {
  if (index == 0)
    return makeError(StatusCode::Unsupported,
                     "\"%s\": the command has no kernel for this target",
                     location);
  const schema::Kernel &kernel = *engine.kernels()->Get(index - 1);
  if (!kernel.functions() || kernel.functions()->size() == 0)
    return makeError(StatusCode::Unsupported,
                     "\"%s\": kernel \"%s\" has no device functions", location,
                     kernel.name()->c_str());
  result.kernel = index - 1;
  return setRankValues(kernel);
}

Status Resolver::setRankValues(const schema::Kernel &kernel) {
  uint32_t count = 0;
  if (!kernel.attributes())
    return {};
  for (const schema::Attribute *attribute : *kernel.attributes()) {
    if (attribute->kind() != schema::AttributeKind::RANK)
      continue;
    if (count == device::kMaxRankValues)
      return makeError(StatusCode::Unsupported,
                       "\"%s\": kernel \"%s\" has more than %u rank attributes",
                       location, kernel.name()->c_str(),
                       device::kMaxRankValues);
    result.params.rankValues[count++] =
        evaluate(attribute->rank_value(), addresses.rank);
  }
  return {};
}

Status Resolver::setOperands(const std::vector<uint32_t> &slices) {
  if (slices.size() > device::kMaxOperands)
    return makeError(StatusCode::Unsupported,
                     "\"%s\": %zu operands, but device kernels take up to %u",
                     location, slices.size(), device::kMaxOperands);
  for (size_t i = 0; i < slices.size(); ++i)
    result.params.operands[i] =
        pointer<void>(addresses.of(*entry.slices()->Get(slices[i])));
  return {};
}

void Resolver::setExchange(uint32_t group, uint32_t exchange) {
  result.params.group = pointer<device::Group>(addresses.groups) + group;
  result.params.exchange = optional(exchange);
  result.params.fault = pointer<device::Fault>(addresses.fault);
}

template <typename Table>
Status Resolver::setCommunication(const Table &table, uint32_t group,
                                  const std::vector<uint32_t> &slices) {
  SADDLE_RETURN_IF_ERROR(setKernel(table.kernel()));
  result.params.workspace = optional(table.workspace());
  setExchange(group, table.exchange());
  return setOperands(slices);
}

StatusOr<DeviceCommand> Resolver::resolve(const schema::Command &command,
                                          uint32_t number) {
  location = command.location()->c_str();
  result = {};
  result.params.step = pointer<device::Step>(addresses.step);
  result.params.command = number;
  if (const schema::Launch *launch = command.action_as_Launch()) {
    SADDLE_RETURN_IF_ERROR(setKernel(launch->kernel() + 1));
    result.params.workspace = optional(launch->workspace());
    SADDLE_RETURN_IF_ERROR(
        setOperands({launch->operands()->begin(), launch->operands()->end()}));
  } else if (const auto *collective = command.action_as_Collective()) {
    SADDLE_RETURN_IF_ERROR(
        setCommunication(*collective, collective->groups(),
                         {collective->input(), collective->output()}));
  } else if (const auto *transfer = command.action_as_Transfer()) {
    bool sends = transfer->kind() == schema::TransferKind::SEND;
    SADDLE_RETURN_IF_ERROR(setCommunication(
        *transfer, sends ? sendGroup(engine) : receiveGroup(engine),
        {transfer->slice()}));
  } else {
    const schema::Copy *copy = command.action_as_Copy();
    SADDLE_RETURN_IF_ERROR(setKernel(copy->kernel()));
    SADDLE_RETURN_IF_ERROR(setOperands({copy->source(), copy->dest()}));
  }
  return result;
}

StatusOr<std::vector<DeviceCommand>>
resolveCommands(const schema::Engine &engine, const schema::Entry &entry,
                const RankAddresses &addresses) {
  Resolver resolver(engine, entry, addresses);
  std::vector<DeviceCommand> commands;
  for (uint32_t i = 0; i < entry.commands()->size(); ++i) {
    SADDLE_ASSIGN_OR_RETURN(DeviceCommand command,
                            resolver.resolve(*entry.commands()->Get(i), i));
    commands.push_back(command);
  }
  return commands;
}

} // namespace saddle::cuda
