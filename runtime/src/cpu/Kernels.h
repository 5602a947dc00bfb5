// The reference kernels of the CPU target and their signatures
// (docs/Runtime.md, "Reference kernels").

#ifndef SADDLE_RUNTIME_CPU_KERNELS_H
#define SADDLE_RUNTIME_CPU_KERNELS_H

#include "runtime/schema/engine_generated.h"
#include "runtime/src/base/Status.h"
#include "runtime/src/base/View.h"

#include <algorithm>
#include <cstdint>
#include <memory>
#include <vector>

namespace saddle::cpu {

using saddle::kMaxRank;
using saddle::View;

/// Checks operand count, dtypes, shapes, strides and attributes of `kernel`
/// against its op's signature. `operands` need no data. Called by the engine
/// validator, so that running a launch cannot fail. Errors name the op, the
/// operand and both sides.
Status checkLaunch(const schema::Kernel &kernel, schema::DType computeDType,
                   schema::DType kvDType, const std::vector<View> &operands);

/// What an op's signature alone does not tell, because it depends on the entry
/// or the engine's limits.
struct OpFacts {
  static constexpr unsigned kNone = ~0u;

  const char *op;
  /// The operand whose dimension 0 is the run-time count.
  unsigned counted = 0;
  /// How many operands, the last ones, are written.
  unsigned outputs = 1;
  /// The first of the two KV caches, the block table, and state of sequences.
  unsigned cache = kNone;
  unsigned blockTable = kNone;
  unsigned sequenceState = kNone;
  /// Needs its peers in the middle; device targets only.
  bool exchanges = false;
};

/// The facts of the kernel's op; those of an op without caches that is not
/// known here.
const OpFacts &factsOf(const schema::Kernel &kernel);

/// Working memory that all kernels of one rank share, because they run one
/// after the other: binding collects the largest need, then it is allocated.
class Scratch {
public:
  /// In double precision, so that no product of hostile extents wraps around.
  void require(double floats) { needed = std::max(needed, floats); }
  /// Call once, after the last bindLaunch() and before the first run().
  Status allocate();
  float *data() const { return storage.get(); }

private:
  double needed = 0;
  std::unique_ptr<float[]> storage;
};

/// A kernel ready to run on one rank.
class BoundKernel {
public:
  virtual ~BoundKernel() = default;
  /// Works on the first `count` rows of the operands whose dimension 0 is `n`
  /// in the table. Infallible. Indices read from operands (tokens, rows, slots,
  /// pages, experts) that point outside are skipped, whatever they hold.
  virtual void run(uint64_t count) const = 0;
};

/// Binds operands that checkLaunch accepted. `scratch` must outlive the result
/// and be allocated before it runs; kernels that share it must not run at the
/// same time.
std::unique_ptr<BoundKernel> bindLaunch(const schema::Kernel &kernel,
                                        const std::vector<View> &operands,
                                        uint32_t rank, Scratch &scratch);

} // namespace saddle::cpu

#endif // SADDLE_RUNTIME_CPU_KERNELS_H
