// The reference kernels of the CPU target and their signatures (docs/Runtime.md, "Reference kernels").

#ifndef SADDLE_RUNTIME_CPU_KERNELS_H
#define SADDLE_RUNTIME_CPU_KERNELS_H

#include "runtime/schema/engine_generated.h"
#include "runtime/src/base/Status.h"

#include <array>
#include <cstdint>
#include <vector>

namespace saddle::cpu {

/// Most dimensions that an operand has.
constexpr unsigned kMaxRank = 5;

/// A resolved operand: where it is and how it is laid out. `strides` in elements; the last one is 1.
struct View {
  uint8_t *data = nullptr;
  schema::DType dtype = schema::DType::UNKNOWN;
  unsigned rank = 0;
  std::array<uint64_t, kMaxRank> shape{};
  std::array<uint64_t, kMaxRank> strides{};
};


/// Checks operand count, dtypes, shapes and attributes of `kernel` against its op's signature. `operands` have no data.
/// Called by the engine validator, so that running a launch cannot fail. Errors name the op, the operand and both sides.
Status checkLaunch(const schema::Kernel &kernel, schema::DType computeDType, schema::DType kvDType, const std::vector<View> &operands);

/// A kernel ready to run on one rank.
class BoundKernel {
public:
  virtual ~BoundKernel() = default;
  /// Works on the first `count` rows of the operands' dimension 0 (see the table for which operands are whole). Infallible.
  virtual void run(uint64_t count) const = 0;
};

/// Binds operands (already checked) and attributes for `rank`. `scratch` needs are allocated here, never in run().
std::unique_ptr<BoundKernel> bind(const schema::Kernel &kernel, const std::vector<View> &operands, uint32_t rank);

} // namespace saddle::cpu

#endif // SADDLE_RUNTIME_CPU_KERNELS_H
