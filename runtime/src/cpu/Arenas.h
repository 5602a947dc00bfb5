// The memory of one rank: one block per arena of the engine, as large as the
// programs of its stage need.

#ifndef SADDLE_RUNTIME_CPU_ARENAS_H
#define SADDLE_RUNTIME_CPU_ARENAS_H

#include "runtime/src/base/Status.h"
#include "runtime/src/base/View.h"
#include "runtime/src/engine/States.h"

#include <vector>

namespace saddle::cpu {

/// How much state the ranks keep in this process' memory: the pages are
/// backend::choosePages' for `kvTokens`. ResourceExhausted names what the ranks
/// need, what there is (hostMemory), and the largest arena.
StatusOr<engine::StateCounts> planStates(const schema::Engine &engine,
                                         uint64_t kvTokens);

/// Owns the arenas of one rank. All bytes are zero at first, and pages that
/// nobody touches cost nothing.
class Arenas {
public:
  static StatusOr<Arenas> allocate(const schema::Engine &engine, uint32_t stage,
                                   const engine::StateCounts &counts,
                                   uint32_t rank);
  Arenas(Arenas &&other) noexcept { *this = std::move(other); }
  Arenas &operator=(Arenas &&other) noexcept;
  ~Arenas();

  /// Base of each arena, in the engine's order.
  const std::vector<uint8_t *> &bases() const { return aligned; }
  /// The memory that `slice` names: of state, all of it.
  View view(const schema::Slice &slice) const;

private:
  Arenas(const schema::Engine &engine, const engine::StateCounts &counts)
      : engine(&engine), counts(counts) {}
  void release();

  struct Block {
    void *start;
    size_t bytes;
  };
  const schema::Engine *engine = nullptr;
  engine::StateCounts counts;
  std::vector<Block> blocks;
  std::vector<uint8_t *> aligned;
};

} // namespace saddle::cpu

#endif // SADDLE_RUNTIME_CPU_ARENAS_H
