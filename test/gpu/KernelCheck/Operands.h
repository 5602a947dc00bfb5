// Operands for checking one launch on its own: every operand in a buffer of its
// own between guards, inputs random but meaningful for their op, outputs
// poisoned. What does not depend on rows and pattern (weights, scales, caches)
// is made once and shared by all runs of a launch.

#ifndef SADDLE_TEST_GPU_KERNELCHECK_OPERANDS_H
#define SADDLE_TEST_GPU_KERNELCHECK_OPERANDS_H

#include "runtime/schema/engine_generated.h"
#include "runtime/src/base/View.h"
#include "runtime/src/engine/States.h"

#include <memory>
#include <vector>

namespace saddle::check {

/// Which corner of an op's inputs a round visits.
enum class Pattern {
  Random,
  Crowded, // all choices on one expert, ties among logits, longest contexts
  Sparse,  // few valid indices, short contexts, page boundaries
};

/// One launch as the engine describes it.
struct LaunchCase {
  const schema::Engine *engine;
  const schema::Entry *entry;
  const schema::Command *command;
  const schema::Launch *launch;
  const schema::Kernel *kernel;
  uint64_t capacity; // rows of its extent
  uint32_t rank;
};

/// Units of state that the launch's operands have: all pages of a full batch,
/// or as many as the block table could number without repeating and a GPU can
/// hold.
engine::StateCounts statesOf(const LaunchCase &launch);

/// Memory of one operand: guard, the operand's span, guard. All of the span is
/// poison at first.
class OperandBuffer {
public:
  static constexpr size_t kGuard = 256;
  static constexpr uint8_t kGuardByte = 0xa5;
  /// A NaN in every float type, and an index that points nowhere.
  static constexpr uint8_t kPoison = 0xff;

  /// `shape`: a view without data.
  explicit OperandBuffer(const View &shape);
  OperandBuffer(const OperandBuffer &other);
  OperandBuffer &operator=(const OperandBuffer &) = delete;

  /// Into this buffer's own bytes.
  View view() const { return own; }
  /// Guards included.
  std::vector<uint8_t> &bytes() { return storage; }
  const std::vector<uint8_t> &bytes() const { return storage; }

private:
  std::vector<uint8_t> storage;
  View own;
};

/// One for each operand of the launch.
using Operands = std::vector<std::shared_ptr<OperandBuffer>>;

/// Index of the launch's first output operand.
size_t firstOutput(const LaunchCase &launch);

/// The first expert that a kernel of experts holds on that rank.
uint64_t firstExpert(const schema::Kernel &kernel, uint32_t rank);

/// Whether the launch writes into KV caches, which keep what it does not write.
bool updatesCaches(const LaunchCase &launch);

/// Whether dimension 0 of the operand is the run-time count.
bool isRowWise(const LaunchCase &launch, size_t operand);

/// Whether all runs of the launch begin with the same contents.
bool isShared(const LaunchCase &launch, size_t operand);

/// Whether, beyond that, it is only read, so that all runs have one buffer.
bool isReadOnly(const LaunchCase &launch, size_t operand);

/// The shared operands, on up to `threads` threads; null for the others.
Operands makeShared(const LaunchCase &launch, uint64_t seed, unsigned threads);

/// All operands of one run: those of `shared`, the others filled for `pattern`,
/// outputs poisoned.
Operands makeOperands(const LaunchCase &launch, const Operands &shared,
                      Pattern pattern, uint64_t seed);

} // namespace saddle::check

#endif // SADDLE_TEST_GPU_KERNELCHECK_OPERANDS_H
