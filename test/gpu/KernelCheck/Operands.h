// Operands for checking one launch on its own: every operand in a buffer of its
// own between guards, inputs random but meaningful for their op, outputs
// poisoned.

#ifndef SADDLE_TEST_GPU_KERNELCHECK_OPERANDS_H
#define SADDLE_TEST_GPU_KERNELCHECK_OPERANDS_H

#include "runtime/schema/engine_generated.h"
#include "runtime/src/base/View.h"

#include <random>
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

/// Memory of one operand: guard, the operand's span, guard.
class OperandBuffer {
public:
  static constexpr size_t kGuard = 256;
  static constexpr uint8_t kGuardByte = 0xa5;
  /// A NaN in every float type, and an index that points nowhere.
  static constexpr uint8_t kPoison = 0xff;

  /// `shape`: a view without data.
  explicit OperandBuffer(const View &shape);
  OperandBuffer(OperandBuffer &&) = default; // the bytes stay where they are

  /// Into this buffer's own bytes.
  View view() const { return own; }
  std::vector<uint8_t> &bytes() { return storage; }
  const std::vector<uint8_t> &bytes() const { return storage; }
  void poison();

private:
  std::vector<uint8_t> storage;
  View own;
};

/// The launch's operands, filled for `pattern` from `random`.
std::vector<OperandBuffer> makeOperands(const LaunchCase &launch,
                                        Pattern pattern,
                                        std::mt19937_64 &random);

/// Index of the launch's first output operand.
size_t firstOutput(const LaunchCase &launch);

/// Whether the launch writes into KV caches, which keep what it does not write.
bool updatesCaches(const LaunchCase &launch);

} // namespace saddle::check

#endif // SADDLE_TEST_GPU_KERNELCHECK_OPERANDS_H
