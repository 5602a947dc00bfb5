// What the kernels' files share: access to operands and attributes while
// binding, and one factory per op.

#ifndef SADDLE_RUNTIME_CPU_BINDING_H
#define SADDLE_RUNTIME_CPU_BINDING_H

#include "runtime/src/cpu/Kernels.h"
#include "runtime/src/cpu/Matrix.h"

#include <utility>

namespace saddle::cpu {

/// One call seen by a factory. ops::checkCall has seen its operands and
/// attributes.
struct BindContext {
  ops::AttributeList attributes;
  const std::vector<ops::Operand> &definitions; // of the operands
  const std::vector<View> &operands;
  uint32_t rank;
  Scratch &scratch;

  const View &operand(unsigned index) const { return operands[index]; }
  /// The `nth` weight of any storage, with its companions.
  StoredWeight weight(size_t nth) const {
    return StoredWeight(definitions, operands, nth);
  }
  uint64_t integer(const char *name) const {
    return uint64_t(attributes.integer(name));
  }
  float real(const char *name) const { return float(attributes.real(name)); }
  /// Of a RANK attribute, evaluated for this rank.
  uint64_t rankValue(const char *name) const {
    return attributes.rankValue(name, rank);
  }
};

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

/// The rows that a product multiplies: as they are, rounded in groups, or made
/// of codes by somebody before.
struct ProductRows {
  View x, factors; // the latter of codes alone
  uint64_t group;

  static ProductRows values(const BindContext &context) {
    return {context.operand(0), View{}, context.integer("act_group")};
  }
  static ProductRows codes(const BindContext &context) {
    return {context.operand(0), context.operand(1),
            context.integer("act_group")};
  }
  uint64_t tokens() const { return x.shape[0]; }
  uint64_t width() const { return x.shape[1]; }
  /// Of row `t`, in place where nothing has to be computed, else in `copy`.
  const float *row(uint64_t t, float *copy) const {
    if (factors.data) {
      decodeGroups(x.row(t), reinterpret_cast<const float *>(factors.row(t)),
                   width(), group, copy);
      return copy;
    }
    if (group == 0)
      return asFloats(x.row(t), x.dtype, copy, width());
    loadRow(x.row(t), x.dtype, copy, width());
    quantizeGroups(copy, width(), group);
    return copy;
  }
};

using Factory = std::unique_ptr<BoundKernel> (*)(const BindContext &);

/// Every op of runtime/ops that this target runs alone, and its factory.
#define SADDLE_CPU_KERNELS(KERNEL)                                             \
  KERNEL(add, bindAdd)                                                         \
  KERNEL(attention, bindAttention)                                             \
  KERNEL(concat, bindConcat)                                                   \
  KERNEL(decay_scan, bindDecayScan)                                            \
  KERNEL(divide_by_rms, bindDivideByRms)                                       \
  KERNEL(embedding, bindEmbedding)                                             \
  KERNEL(encode_rows, bindEncodeRows)                                          \
  KERNEL(experts, bindExperts)                                                 \
  KERNEL(experts_of_codes, bindExpertsOfCodes)                                 \
  KERNEL(keep_next_rows, bindKeepNextRows)                                     \
  KERNEL(keep_rows, bindKeepRows)                                              \
  KERNEL(kept_rows, bindKeptRows)                                              \
  KERNEL(kv_append, bindKvAppend)                                              \
  KERNEL(linear, bindLinear)                                                   \
  KERNEL(linear_of_codes, bindLinearOfCodes)                                   \
  KERNEL(map_tokens, bindMapTokens)                                            \
  KERNEL(merge_candidates, bindMergeCandidates)                                \
  KERNEL(rms_norm, bindRmsNorm)                                                \
  KERNEL(rms_scale, bindRmsScale)                                              \
  KERNEL(rope, bindRope)                                                       \
  KERNEL(router_topk, bindRouterTopk)                                          \
  KERNEL(scale, bindScale)                                                     \
  KERNEL(scale_columns, bindScaleColumns)                                      \
  KERNEL(scaled_add, bindScaledAdd)                                            \
  KERNEL(select_rows, bindSelectRows)                                          \
  KERNEL(shared_gate, bindSharedGate)                                          \
  KERNEL(sigmoid_gate, bindSigmoidGate)                                        \
  KERNEL(silu, bindSiLU)                                                       \
  KERNEL(softmax_topk, bindSoftmaxTopk)                                        \
  KERNEL(sum_of_squares, bindSumOfSquares)                                     \
  KERNEL(swiglu, bindSwiGLU)                                                   \
  KERNEL(swiglu_oai, bindSwiGLUOAI)                                            \
  KERNEL(top_candidates, bindTopCandidates)

#define SADDLE_DECLARE(op, factory)                                            \
  std::unique_ptr<BoundKernel> factory(const BindContext &);
SADDLE_CPU_KERNELS(SADDLE_DECLARE)
#undef SADDLE_DECLARE

/// The factory of an op; null when this target has no kernel for it.
Factory findFactory(std::string_view op);

} // namespace saddle::cpu

#endif // SADDLE_RUNTIME_CPU_BINDING_H
