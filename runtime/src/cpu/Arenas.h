// The memory of one rank: one block per arena of the engine, as large as the
// programs of its stage need.

#ifndef SADDLE_RUNTIME_CPU_ARENAS_H
#define SADDLE_RUNTIME_CPU_ARENAS_H

#include "runtime/src/base/Status.h"
#include "runtime/src/base/View.h"

#include <vector>

namespace saddle::cpu {

/// Refuses an engine whose ranks need more than this machine's memory;
/// ResourceExhausted names both sizes and the largest arena.
Status checkMemory(const schema::Engine &engine);

/// Owns the arenas of one rank. All bytes are zero at first, and pages that
/// nobody touches cost nothing.
class Arenas {
public:
  static StatusOr<Arenas> allocate(const schema::Engine &engine, uint32_t stage,
                                   uint32_t rank);
  Arenas(Arenas &&other) noexcept { *this = std::move(other); }
  Arenas &operator=(Arenas &&other) noexcept;
  ~Arenas();

  /// Base of each arena, in the engine's order.
  const std::vector<uint8_t *> &bases() const { return aligned; }
  /// The memory that `slice` names.
  View view(const schema::Slice &slice) const;

private:
  Arenas() = default;
  void release();

  struct Block {
    void *start;
    size_t bytes;
  };
  std::vector<Block> blocks;
  std::vector<uint8_t *> aligned;
};

} // namespace saddle::cpu

#endif // SADDLE_RUNTIME_CPU_ARENAS_H
