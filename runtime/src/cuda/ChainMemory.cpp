#include "runtime/src/cuda/ChainMemory.h"

#include "runtime/ops/Bindings.h"
#include "runtime/src/engine/Programs.h"

#include <algorithm>
#include <cstring>

namespace saddle::cuda {

using device::Chain;
using device::ChainSequence;

std::optional<uint32_t> ChainMemory::kernelOf(const schema::Engine &engine) {
  for (uint32_t i = 0; i < engine.kernels()->size(); ++i) {
    const schema::Kernel &kernel = *engine.kernels()->Get(i);
    if (kernel.op()->str() == device::kChainKernel && kernel.functions() &&
        kernel.functions()->size() == 1)
      return i;
  }
  return std::nullopt;
}

ChainMemory::ChainMemory(const Device &device, const schema::Engine &engine,
                         uint32_t kernel)
    : device(&device), engine(&engine), kernel(kernel),
      mostSequences(engine.limits()->max_batch()),
      mostDrafts(engine::specTokens(engine)),
      blocks(
          (engine.limits()->max_seq_len() + engine.limits()->page_size() - 1) /
          engine.limits()->page_size()) {
  uint64_t end = sizeof(Chain);
  auto take = [&](uint64_t bytes) {
    constexpr uint64_t kAlignment = 64;
    uint64_t place = (end + kAlignment - 1) / kAlignment * kAlignment;
    end = place + bytes;
    return place;
  };
  places.sequences = take(mostSequences * sizeof(ChainSequence));
  places.drafted = take(mostSequences * mostDrafts * sizeof(int32_t));
  places.forced =
      take(backend::kMostChainRounds * mostSequences * sizeof(int32_t));
  places.table = take(mostSequences * blocks * sizeof(int32_t));
  places.end = end;
}

StatusOr<ChainMemory> ChainMemory::create(const Device &device,
                                          const schema::Engine &engine,
                                          uint32_t kernel) {
  ChainMemory result(device, engine, kernel);
  SADDLE_ASSIGN_OR_RETURN(
      result.memory,
      allocateDevice(device, result.places.end, "a chain of steps"));
  SADDLE_ASSIGN_OR_RETURN(
      result.staging,
      allocatePinned(device, result.places.end, "staging of a chain"));
  uint64_t rows = backend::kMostChainRounds * result.mostSequences;
  uint64_t elements = rows * (2 * (result.mostDrafts + 1) + result.mostDrafts) +
                      result.mostSequences;
  SADDLE_ASSIGN_OR_RETURN(
      result.given,
      allocatePinned(device, elements * sizeof(int32_t), "results of a chain"));
  return result;
}

device::ChainInputs
ChainMemory::inputsOf(const schema::Entry &entry,
                      const RankAddresses &addresses) const {
  device::ChainInputs inputs = {};
  for (const schema::Binding *binding : *entry.bindings()) {
    const ops::Binding *known = ops::findBinding(binding->name()->c_str());
    if (!known || known->isOutput())
      continue;
    const schema::Slice &slice = *entry.slices()->Get(binding->slice());
    auto *address = reinterpret_cast<int32_t *>(addresses.of(slice));
    switch (known->id) {
    case ops::BindingId::Tokens:
      inputs.tokens = address;
      break;
    case ops::BindingId::Positions:
      inputs.positions = address;
      break;
    case ops::BindingId::Rows:
      inputs.rows = address;
      break;
    case ops::BindingId::Sequences:
      inputs.sequences = address;
      break;
    case ops::BindingId::Slots:
      inputs.slots = address;
      break;
    case ops::BindingId::BlockTable:
      inputs.table = address;
      inputs.tableStride = slice.strides()->Get(0);
      break;
    default:
      break;
    }
  }
  return inputs;
}

StatusOr<ChainRound>
ChainMemory::makeRound(const backend::ChainEntries &entries, uint64_t drafts,
                       const std::vector<const schema::Entry *> &all,
                       const std::vector<Candidates> &candidates,
                       const RankAddresses &addresses, CUstream stream) {
  using device::ChainStep;
  ChainRound round;
  std::vector<ChainStep> steps = {device::kChainMain};
  round.entries = {entries.main};
  for (uint64_t i = 0; i < drafts; ++i) {
    steps.push_back(i == 0 ? device::kChainDraftFirst : device::kChainDraft);
    round.entries.push_back(i == 0 ? entries.draftFirst : entries.draft);
  }
  std::vector<device::ChainLink> table;
  for (size_t i = 0; i < steps.size(); ++i) {
    size_t next = (i + 1) % steps.size();
    const Candidates &given = candidates[round.entries[i]];
    device::ChainLink link = {};
    link.after = steps[i];
    link.before = steps[next];
    link.number = i == 0 ? 0 : uint32_t(i - 1);
    // Other entries' inputs lie where the table is.
    link.copiesTable = drafts != 0;
    link.values = reinterpret_cast<const float *>(given.values);
    link.tokens = reinterpret_cast<const int32_t *>(given.tokens);
    link.valueStride = given.valueStride;
    link.tokenStride = given.tokenStride;
    link.inputs = inputsOf(*all[round.entries[next]], addresses);
    link.step = reinterpret_cast<device::Step *>(addresses.step);
    table.push_back(link);
  }
  uint64_t bytes = table.size() * sizeof(device::ChainLink);
  SADDLE_ASSIGN_OR_RETURN(DeviceMemory onDevice,
                          allocateDevice(*device, bytes, "links of a chain"));
  // From pageable memory: the source is read before the call returns.
  SADDLE_CUDA(device->driver, cuMemcpyHtoDAsync, onDevice.get(), table.data(),
              bytes, stream);
  for (size_t i = 0; i < table.size(); ++i) {
    DeviceCommand command = {};
    command.kernel = kernel;
    command.params.step = reinterpret_cast<device::Step *>(addresses.step);
    command.params.operands[0] = reinterpret_cast<void *>(memory.get());
    command.params.operands[1] = reinterpret_cast<void *>(
        onDevice.get() + i * sizeof(device::ChainLink));
    round.links.push_back(command);
  }
  links.push_back(std::move(onDevice));
  return round;
}

Status ChainMemory::write(const backend::ChainPlan &plan,
                          const device::Step *headers,
                          const backend::PageTables &pages, CUstream stream) {
  auto *bytes = static_cast<uint8_t *>(staging.get());
  auto at = [&](uint64_t place) {
    return reinterpret_cast<void *>(memory.get() + place);
  };
  uint64_t count = plan.sequences.size();
  Chain chain = {};
  chain.sequences = uint32_t(count);
  chain.drafts = uint32_t(plan.drafts);
  chain.pageSize = uint32_t(engine->limits()->page_size());
  chain.blocks = uint32_t(blocks);
  // With more than it can look for, a chain runs to its end.
  const auto *stops = engine->model()->eos_token_ids();
  bool looks = stops && stops->size() <= device::kMostChainStops;
  for (uint32_t i = 0; looks && i < stops->size(); ++i)
    chain.stops[chain.stopCount++] = int32_t(stops->Get(i));
  chain.sequence = static_cast<ChainSequence *>(at(places.sequences));
  chain.drafted = static_cast<int32_t *>(at(places.drafted));
  if (!plan.forced.empty())
    chain.forced = static_cast<const int32_t *>(at(places.forced));
  chain.table = static_cast<const int32_t *>(at(places.table));
  uint64_t rounds = plan.rounds * count, rows = rounds * (plan.drafts + 1);
  chain.values = static_cast<float *>(given.get());
  chain.tokens = static_cast<int32_t *>(given.get()) + rows;
  chain.nextDrafts = chain.tokens + rows;
  chain.positions = chain.nextDrafts + rounds * plan.drafts;
  std::copy_n(headers, device::kChainSteps, chain.headers);
  std::memcpy(bytes, &chain, sizeof chain);
  last = chain;

  auto *sequences = reinterpret_cast<ChainSequence *>(bytes + places.sequences);
  auto *table = reinterpret_cast<int32_t *>(bytes + places.table);
  for (uint64_t i = 0; i < count; ++i) {
    const backend::ChainPlan::Sequence &from = plan.sequences[i];
    const std::vector<int32_t> &held = pages.pagesOf(0, from.slot);
    ChainSequence to = {};
    to.slot = int32_t(from.slot);
    to.token = from.token;
    to.position = from.position;
    to.pages = int32_t(held.size());
    to.stops = from.stops;
    sequences[i] = to;
    std::copy(held.begin(), held.end(), table + i * blocks);
    std::fill(table + i * blocks + held.size(), table + (i + 1) * blocks, -1);
  }
  std::copy(plan.drafted.begin(), plan.drafted.end(),
            reinterpret_cast<int32_t *>(bytes + places.drafted));
  std::copy(plan.forced.begin(), plan.forced.end(),
            reinterpret_cast<int32_t *>(bytes + places.forced));
  SADDLE_CUDA(device->driver, cuMemcpyHtoDAsync, memory.get(), staging.get(),
              places.table + count * blocks * sizeof(int32_t), stream);
  return {};
}

backend::ChainResults ChainMemory::results() const {
  return {last.values, last.tokens, last.nextDrafts, last.positions};
}

} // namespace saddle::cuda
