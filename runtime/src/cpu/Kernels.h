// The reference kernels of the CPU target: runtime/ops says what they compute.

#ifndef SADDLE_RUNTIME_CPU_KERNELS_H
#define SADDLE_RUNTIME_CPU_KERNELS_H

#include "runtime/ops/Body.h"
#include "runtime/src/base/Status.h"
#include "runtime/src/base/View.h"

#include <algorithm>
#include <cstdint>
#include <memory>
#include <vector>

namespace saddle::cpu {

using saddle::kMaxRank;
using saddle::View;

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

/// Binds operands that ops::checkLaunch accepted, step by step of the
/// kernel's body. `scratch` must outlive the result
/// and be allocated before it runs; kernels that share it must not run at the
/// same time.
std::unique_ptr<BoundKernel> bindLaunch(const schema::Kernel &kernel,
                                        const std::vector<View> &operands,
                                        uint32_t rank, Scratch &scratch);

} // namespace saddle::cpu

#endif // SADDLE_RUNTIME_CPU_KERNELS_H
