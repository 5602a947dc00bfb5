// What one wants to know about an engine but must count first: commands by
// kind, collectives with their bytes, fusion groups, memory by arena.

#ifndef SADDLE_TOOLS_SADDLEINSPECT_FACTS_H
#define SADDLE_TOOLS_SADDLEINSPECT_FACTS_H

#include "runtime/schema/engine_generated.h"

#include <cstdint>
#include <map>
#include <string>
#include <vector>

namespace saddle::inspect {

/// Collectives and the bytes that one rank puts into them when the entry is
/// full.
struct Traffic {
  uint64_t count = 0;
  uint64_t bytes = 0;

  bool operator==(const Traffic &other) const {
    return count == other.count && bytes == other.bytes;
  }
};

struct FusionUse {
  uint64_t groups = 0; // runs of consecutive commands of the fusion
  uint64_t commands = 0;
};

struct EntryFacts {
  uint64_t launches = 0, collectives = 0, copies = 0, transfers = 0;
  std::map<std::string, uint64_t> ops; // op -> launches
  /// "ALL_REDUCE_SUM over tp", "ALL_GATHER PACKED over replicas" -> traffic.
  using Kinds = std::map<std::string, Traffic>;
  Kinds byKind;
  /// Layer number, -1 outside of layers -> traffic. A layer is what stands
  /// behind "layers." in a command's place.
  std::map<int64_t, Traffic> byLayer;
  std::map<int64_t, Kinds> kindsByLayer;
  /// Output of a step -> what it alone needs and a step without it leaves out.
  std::map<std::string, Traffic> byOutput;
  Traffic total;
  /// Between pipeline stages.
  Traffic sent, received;
  std::vector<FusionUse> fusions; // as engine.fusions
  /// Per arena: the highest byte behind any slice of the entry.
  std::vector<uint64_t> arenaBytes;
};

EntryFacts factsOf(const schema::Engine &engine, const schema::Entry &entry);

/// The layers that a program's launches are in; empty when first > last.
struct LayerRange {
  int64_t first = 0, last = -1;
};
LayerRange layersOf(const schema::Program &program);

/// What one rank of a stage needs, for all its programs.
struct MemoryFacts {
  std::vector<uint64_t> arenas; // of state: one page or sequence
  uint64_t fixed = 0;           // all but pages
  uint64_t page = 0;
  /// Pages of max_batch sequences of max_seq_len, and all bytes with them.
  uint64_t fullPages = 0, full = 0;
};
MemoryFacts memoryOf(const schema::Engine &engine, uint32_t stage);

/// Commands that each kernel runs, over all programs and entries.
std::vector<uint64_t> kernelUses(const schema::Engine &engine);

/// Dense size of a slice's elements.
uint64_t payloadBytes(const schema::Slice &slice);

} // namespace saddle::inspect

#endif // SADDLE_TOOLS_SADDLEINSPECT_FACTS_H
