#include "runtime/src/cuda/StepStaging.h"

#include "runtime/src/engine/Validate.h"

#include <algorithm>
#include <cstring>

namespace saddle::cuda {

/// A gap of this many bytes is copied rather than copied around.
constexpr uint64_t kMostGap = 4096;
/// Block tables up to this size travel with the other inputs.
constexpr uint64_t kSmallTableBytes = 32 << 10;
constexpr uint64_t kAlignment = 256;

static uint64_t alignUp(uint64_t value) {
  return (value + kAlignment - 1) / kAlignment * kAlignment;
}

StagingLayout::StagingLayout(const schema::Entry &entry,
                             const MemoryPlan &plan) {
  slices.assign(entry.slices()->size(), kNotStaged);
  struct Part {
    uint64_t begin, end;
  };
  std::vector<Part> parts = {
      {plan.stepOffset, plan.stepOffset + sizeof(device::Step)}};
  auto partOf = [&](const schema::Slice &slice) {
    uint64_t begin = plan.heapOffsets[slice.arena()] + slice.offset();
    return Part{begin, begin + engine::spanBytes(slice)};
  };
  std::vector<std::pair<uint32_t, Part>> inputs;
  std::optional<std::pair<uint32_t, Part>> byRows;
  for (const schema::Binding *binding : *entry.bindings()) {
    const ops::Binding *known = ops::findBinding(binding->name()->c_str());
    if (!known || known->isOutput())
      continue;
    Part part = partOf(*entry.slices()->Get(binding->slice()));
    if (known->id == ops::BindingId::BlockTable &&
        part.end - part.begin > kSmallTableBytes) {
      byRows = {binding->slice(), part};
      continue;
    }
    inputs.push_back({binding->slice(), part});
    parts.push_back(part);
  }

  std::sort(parts.begin(), parts.end(),
            [](const Part &a, const Part &b) { return a.begin < b.begin; });
  for (const Part &part : parts) {
    if (!ranges.empty()) {
      CopyRange &last = ranges.back();
      // A table that is copied by rows must not be overwritten by a gap.
      bool crosses = byRows && byRows->second.begin >= last.to &&
                     byRows->second.begin < part.begin;
      if (part.begin <= last.to + last.bytes + kMostGap && !crosses) {
        last.bytes = std::max(last.bytes, part.end - last.to);
        continue;
      }
    }
    ranges.push_back({0, part.begin, part.end - part.begin});
  }
  auto place = [&](CopyRange &range) {
    range.from = bytes;
    bytes = alignUp(bytes + range.bytes);
  };
  for (CopyRange &range : ranges) {
    place(range);
    if (plan.stepOffset >= range.to && plan.stepOffset < range.to + range.bytes)
      header = range.from + plan.stepOffset - range.to;
  }
  for (const auto &[slice, part] : inputs)
    for (const CopyRange &range : ranges)
      if (part.begin >= range.to && part.begin < range.to + range.bytes)
        slices[slice] = range.from + part.begin - range.to;
  if (byRows) {
    const auto &[slice, part] = *byRows;
    table = {0, part.begin, part.end - part.begin};
    place(*table);
    slices[slice] = table->from;
  }
}

StepStaging::StepStaging(const schema::Entry &entry,
                         const MemoryPlan &memoryPlan, uint8_t *memory)
    : plan(entry, memoryPlan), slots(uint32_t(memoryPlan.slots())),
      memory(memory) {
  std::vector<View> views;
  for (uint32_t i = 0; i < entry.slices()->size(); ++i) {
    View view = engine::viewOf(*entry.slices()->Get(i));
    view.data = plan.slices[i] == StagingLayout::kNotStaged
                    ? nullptr
                    : memory + plan.slices[i];
    views.push_back(view);
  }
  bindings.emplace(entry, views);
  if (plan.table)
    std::swap(table, bindings->of(ops::BindingId::BlockTable));
}

void StepStaging::writeTable(const backend::ReplicaBatch &batch,
                             const backend::PageTables &pages, uint32_t replica,
                             bool isFresh,
                             std::vector<CopyRange> &changes) const {
  int32_t previous = -1;
  for (int32_t slot : batch.sequences) {
    if (slot == previous)
      continue;
    previous = slot;
    const std::vector<int32_t> &held = pages.pagesOf(replica, uint32_t(slot));
    auto *row = reinterpret_cast<int32_t *>(table.row(uint64_t(slot)));
    // Most often a sequence has got one page more, or none.
    auto [known, differs] = std::mismatch(row, row + held.size(), held.begin());
    if (isFresh)
      known = row;
    if (known == row + held.size())
      continue;
    std::copy(held.begin() + (known - row), held.end(), known);
    uint64_t begin = uint64_t(reinterpret_cast<uint8_t *>(known) - memory);
    changes.push_back({begin, plan.table->to + begin - plan.table->from,
                       uint64_t(row + held.size() - known) * sizeof(int32_t)});
  }
  // Beyond some, copying what lies between costs less than more copies.
  constexpr size_t kMostCopies = 8;
  if (changes.size() <= kMostCopies)
    return;
  CopyRange whole = changes[0];
  uint64_t end = 0;
  for (const CopyRange &change : changes) {
    whole.from = std::min(whole.from, change.from);
    whole.to = std::min(whole.to, change.to);
    end = std::max(end, change.from + change.bytes);
  }
  whole.bytes = end - whole.from;
  changes.assign(1, whole);
}

device::Step StepStaging::headerOf(const backend::Batch &batch,
                                   const backend::RowCounts &counts,
                                   uint64_t timeoutNs) const {
  device::Step step = {};
  for (uint32_t extent = 0; extent < backend::RowCounts::kExtents; ++extent)
    step.counts[extent] = uint32_t(counts.of(schema::Extent(extent)));
  step.timeoutNs = timeoutNs;
  step.replicas = uint32_t(batch.tokenCounts.size());
  step.slots = slots;
  for (uint32_t i = 0; i < step.replicas; ++i) {
    step.tokens[i] = uint32_t(batch.tokenCounts[i]);
    step.rows[i] = uint32_t(batch.rowCounts[i]);
  }
  return step;
}

void StepStaging::write(const backend::Batch &batch,
                        const backend::PageTables &pages,
                        const backend::RowCounts &counts, uint32_t replica,
                        uint64_t timeoutNs, bool isFresh,
                        std::vector<CopyRange> &more) const {
  device::Step step = headerOf(batch, counts, timeoutNs);
  std::memcpy(memory + plan.header, &step, sizeof step);
  const backend::ReplicaBatch &own = batch.replicas[replica];
  bindings->write(own, pages, replica);
  more.clear();
  if (table.data)
    writeTable(own, pages, replica, isFresh, more);
}

} // namespace saddle::cuda
