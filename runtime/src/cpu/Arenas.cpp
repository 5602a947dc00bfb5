#include "runtime/src/cpu/Arenas.h"

#include "runtime/src/backend/PagePool.h"
#include "runtime/src/base/HostMemory.h"
#include "runtime/src/engine/Programs.h"

#include <algorithm>
#include <cinttypes>
#include <sys/mman.h>
#include <unistd.h>
#include <utility>

namespace saddle::cpu {

/// Bytes of all ranks together, and of the rank that needs most; saturated.
struct MemoryNeed {
  uint64_t total = 0, ofRank = 0, ofArena = 0;
  uint32_t largest = 0; // arena
};

/// Of the rows that launches of a kernel with a body keep to themselves.
static uint64_t temporaryBytes(const schema::Kernel &kernel,
                               const schema::Entry &entry,
                               const schema::Launch &launch) {
  if (!kernel.temporaries() || kernel.temporaries()->size() == 0)
    return 0;
  uint64_t rows = 0, bytes = 0;
  for (uint32_t operand : *launch.operands())
    rows = std::max(rows, entry.slices()->Get(operand)->shape()->Get(0));
  for (const schema::Temporary *temporary : *kernel.temporaries()) {
    uint64_t row = elementBytes(temporary->dtype());
    for (uint64_t extent : *temporary->shape())
      row = saturatingProduct(row, extent);
    bytes = saturatingSum(bytes, saturatingProduct(row, rows));
  }
  return bytes;
}

/// What a rank's resolved entries take beside its arenas, or more. A file can
/// name much of it with few bytes: every rank resolves every slice.
static uint64_t resolvedBytes(const schema::Engine &engine, uint32_t stage) {
  // A view in the entry and in a binding or operand; a bound kernel with its
  // working state, and names.
  constexpr uint64_t kOfSlice = 3 * sizeof(View), kOfCommand = 512;
  uint64_t bytes = 0;
  for (const schema::Entry *entry : engine::entriesOf(engine, stage)) {
    bytes += entry->slices()->size() * kOfSlice +
             entry->commands()->size() * kOfCommand;
    for (const schema::Command *command : *entry->commands())
      if (const schema::Launch *launch = command->action_as_Launch())
        bytes = saturatingSum(
            bytes, temporaryBytes(*engine.kernels()->Get(launch->kernel()),
                                  *entry, *launch));
  }
  return bytes;
}

static MemoryNeed needOf(const schema::Engine &engine,
                         const engine::StateCounts &counts) {
  MemoryNeed need;
  for (uint32_t stage = 0; stage < engine.topology()->pp(); ++stage) {
    std::vector<uint64_t> arenas = engine::arenaBytesOf(engine, stage, counts);
    uint64_t perRank = resolvedBytes(engine, stage);
    for (uint32_t i = 0; i < arenas.size(); ++i) {
      perRank = saturatingSum(perRank, arenas[i]);
      if (arenas[i] > need.ofArena) {
        need.largest = i;
        need.ofArena = arenas[i];
      }
    }
    need.ofRank = std::max(need.ofRank, perRank);
    need.total = saturatingSum(
        need.total, saturatingProduct(perRank, engine.topology()->tp()));
  }
  return need;
}

StatusOr<engine::StateCounts> planStates(const schema::Engine &engine,
                                         uint64_t kvTokens) {
  const uint64_t memory = hostMemory();
  engine::StateCounts counts;
  counts.sequences = engine.limits()->max_batch();
  counts.pages = 0;
  uint64_t rest = needOf(engine, counts).total;
  counts.pages = 1;
  uint64_t page = needOf(engine, counts).total - rest;
  uint64_t room = rest > memory ? 0
                  : page == 0   ? UINT64_MAX
                                : (memory - rest) / page;
  // An engine that does not fit at all is told so below, with what it needs.
  if (rest <= memory || kvTokens != 0) {
    // A pool that takes what is left leaves a tenth of it.
    bool takesRest = room < engine::mostPages(*engine.limits());
    SADDLE_ASSIGN_OR_RETURN(
        counts.pages,
        backend::choosePages(engine, kvTokens,
                             takesRest ? room - room / 10 : room));
  }
  if (counts.pages <= room)
    return counts;
  MemoryNeed need = needOf(engine, counts);
  constexpr double kGiB = 1 << 30;
  return makeError(
      StatusCode::ResourceExhausted,
      "the engine needs %.2f GiB per rank on %u ranks (arena \"%s\" alone %.2f "
      "GiB), but there are %.2f GiB for this process; ask for fewer "
      "--kv-tokens, compile with a smaller --max-batch, or fewer layers",
      double(need.ofRank) / kGiB,
      engine.topology()->tp() * engine.topology()->pp(),
      engine.arenas()->Get(need.largest)->name()->c_str(),
      double(need.ofArena) / kGiB, double(memory) / kGiB);
}

StatusOr<Arenas> Arenas::allocate(const schema::Engine &engine, uint32_t stage,
                                  const engine::StateCounts &counts,
                                  uint32_t rank) {
  uint64_t page = uint64_t(sysconf(_SC_PAGESIZE));
  std::vector<uint64_t> sizes = engine::arenaBytesOf(engine, stage, counts);
  Arenas arenas(engine, counts);
  for (uint32_t i = 0; i < sizes.size(); ++i) {
    const schema::Arena *arena = engine.arenas()->Get(i);
    // mmap aligns to pages; more is room to move up in.
    uint64_t alignment = std::max<uint64_t>(arena->alignment(), 1);
    uint64_t slack = alignment > page ? alignment : 0, bytes = 0;
    void *start = MAP_FAILED;
    if (!__builtin_add_overflow(std::max<uint64_t>(sizes[i], 1), slack, &bytes))
      start = mmap(nullptr, bytes, PROT_READ | PROT_WRITE,
                   MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (start == MAP_FAILED)
      return makeError(StatusCode::ResourceExhausted,
                       "rank %u: arena \"%s\" of %" PRIu64
                       " bytes could not be allocated",
                       rank, arena->name()->c_str(), sizes[i]);
    arenas.blocks.push_back({start, bytes});
    auto address = reinterpret_cast<uintptr_t>(start);
    uintptr_t rest = address % alignment;
    arenas.aligned.push_back(static_cast<uint8_t *>(start) +
                             (rest ? alignment - rest : 0));
  }
  return arenas;
}

Arenas &Arenas::operator=(Arenas &&other) noexcept {
  if (this == &other)
    return *this;
  release();
  engine = other.engine;
  counts = other.counts;
  blocks = std::exchange(other.blocks, {});
  aligned = std::exchange(other.aligned, {});
  return *this;
}

Arenas::~Arenas() { release(); }

void Arenas::release() {
  for (const Block &block : blocks)
    munmap(block.start, block.bytes);
}

View Arenas::view(const schema::Slice &slice) const {
  View view = engine::viewOf(*engine, slice, counts);
  view.data = aligned[slice.arena()] + engine::offsetOf(*engine, slice, counts);
  return view;
}

} // namespace saddle::cpu
