// What the kernels' files share: access to operands and attributes while
// binding, and one factory per op.

#ifndef SADDLE_RUNTIME_CPU_BINDING_H
#define SADDLE_RUNTIME_CPU_BINDING_H

#include "runtime/src/cpu/Kernels.h"

#include <utility>

namespace saddle::cpu {

/// One launch seen by a factory. Attributes exist and have the right kind:
/// checkLaunch has seen them.
struct BindContext {
  const schema::Kernel &kernel;
  const std::vector<View> &operands;
  uint32_t rank;
  Scratch &scratch;

  const View &operand(unsigned index) const { return operands[index]; }
  uint64_t integer(const char *name) const;
  float real(const char *name) const;
  /// Of a RANK attribute, evaluated for this rank.
  uint64_t rankValue(const char *name) const;
};

/// The attribute of that name, or null.
const schema::Attribute *findAttribute(const schema::Kernel &kernel,
                                       const char *name);

template <typename Function>
class FunctionKernel final : public BoundKernel {
public:
  explicit FunctionKernel(Function function) : function(std::move(function)) {}
  void run(uint64_t count) const override { function(count); }

private:
  mutable Function function; // may keep working state of its own
};

/// Wraps a callable taking the run-time count.
template <typename Function>
std::unique_ptr<BoundKernel> makeKernel(Function function) {
  return std::make_unique<FunctionKernel<Function>>(std::move(function));
}

using Factory = std::unique_ptr<BoundKernel> (*)(const BindContext &);

std::unique_ptr<BoundKernel> bindAdd(const BindContext &);
std::unique_ptr<BoundKernel> bindAddRmsNorm(const BindContext &);
std::unique_ptr<BoundKernel> bindAttention(const BindContext &);
std::unique_ptr<BoundKernel> bindDecayScan(const BindContext &);
std::unique_ptr<BoundKernel> bindEmbedding(const BindContext &);
std::unique_ptr<BoundKernel> bindExperts(const BindContext &);
std::unique_ptr<BoundKernel> bindExpertsScaled(const BindContext &);
std::unique_ptr<BoundKernel> bindKvAppend(const BindContext &);
std::unique_ptr<BoundKernel> bindLinear(const BindContext &);
std::unique_ptr<BoundKernel> bindLinearScaled(const BindContext &);
std::unique_ptr<BoundKernel> bindMergeCandidates(const BindContext &);
std::unique_ptr<BoundKernel> bindQkNormRopeKvAppend(const BindContext &);
std::unique_ptr<BoundKernel> bindRmsNorm(const BindContext &);
std::unique_ptr<BoundKernel> bindRmsScale(const BindContext &);
std::unique_ptr<BoundKernel> bindRope(const BindContext &);
std::unique_ptr<BoundKernel> bindRouterTopk(const BindContext &);
std::unique_ptr<BoundKernel> bindSelectRows(const BindContext &);
std::unique_ptr<BoundKernel> bindSumOfSquares(const BindContext &);
std::unique_ptr<BoundKernel> bindTopCandidates(const BindContext &);

} // namespace saddle::cpu

#endif // SADDLE_RUNTIME_CPU_BINDING_H
