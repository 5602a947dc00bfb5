#include "runtime/src/cpu/Arenas.h"

#include "runtime/src/engine/Programs.h"
#include "runtime/src/engine/Validate.h"

#include <algorithm>
#include <cinttypes>
#include <sys/mman.h>
#include <unistd.h>
#include <utility>

namespace saddle::cpu {

Status checkMemory(const schema::Engine &engine) {
  uint64_t total = 0, largestRank = 0, largestArena = 0;
  uint32_t largest = 0;
  uint64_t ranksOfStage = engine.topology()->tp();
  bool fits = true;
  for (uint32_t s = 0; s < engine.topology()->pp(); ++s) {
    std::vector<uint64_t> arenas = engine::arenaBytesOf(engine, s);
    uint64_t perRank = 0, stage = 0;
    for (uint32_t i = 0; i < arenas.size(); ++i) {
      fits &= !__builtin_add_overflow(perRank, arenas[i], &perRank);
      if (arenas[i] > largestArena) {
        largest = i;
        largestArena = arenas[i];
      }
    }
    largestRank = std::max(largestRank, perRank);
    fits &= !__builtin_mul_overflow(perRank, ranksOfStage, &stage) &&
            !__builtin_add_overflow(total, stage, &total);
  }
  uint64_t machine =
      uint64_t(sysconf(_SC_PHYS_PAGES)) * uint64_t(sysconf(_SC_PAGESIZE));
  if (fits && total <= machine)
    return {};
  constexpr double kGiB = 1 << 30;
  return makeError(
      StatusCode::ResourceExhausted,
      "the engine needs %.2f GiB per rank on %u ranks (arena \"%s\" alone %.2f "
      "GiB), but this machine has %.2f GiB; compile with a smaller --max-batch "
      "or --max-seq-len, or fewer layers",
      double(largestRank) / kGiB,
      engine.topology()->tp() * engine.topology()->pp(),
      engine.arenas()->Get(largest)->name()->c_str(),
      double(largestArena) / kGiB, double(machine) / kGiB);
}

StatusOr<Arenas> Arenas::allocate(const schema::Engine &engine, uint32_t stage,
                                  uint32_t rank) {
  uint64_t page = uint64_t(sysconf(_SC_PAGESIZE));
  std::vector<uint64_t> sizes = engine::arenaBytesOf(engine, stage);
  Arenas arenas;
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
  View view = engine::viewOf(slice);
  view.data = aligned[slice.arena()] + slice.offset();
  return view;
}

} // namespace saddle::cpu
