#include "runtime/src/cpu/Binding.h"

#include <cassert>
#include <cstring>
#include <new>

namespace saddle::cpu {

const schema::Attribute *findAttribute(const schema::Kernel &kernel,
                                       const char *name) {
  if (!kernel.attributes())
    return nullptr;
  for (const schema::Attribute *attribute : *kernel.attributes())
    if (std::strcmp(attribute->name()->c_str(), name) == 0)
      return attribute;
  return nullptr;
}

uint64_t BindContext::integer(const char *name) const {
  return uint64_t(findAttribute(kernel, name)->int_value());
}

float BindContext::real(const char *name) const {
  return float(findAttribute(kernel, name)->float_value());
}

uint64_t BindContext::rankValue(const char *name) const {
  const schema::RankValue *value = findAttribute(kernel, name)->rank_value();
  return value->base() +
         ((rank / value->divisor()) % value->modulus()) * value->step();
}

Status Scratch::allocate() {
  constexpr double kMost = 0x1p40; // floats; no machine of today has more
  if (needed > 0 && needed <= kMost)
    storage.reset(new (std::nothrow) float[size_t(needed)]);
  if (needed == 0 || storage)
    return {};
  return makeError(StatusCode::ResourceExhausted,
                   "the kernels' working memory needs %.0f bytes, which this "
                   "machine does not give",
                   needed * sizeof(float));
}

static constexpr struct {
  const char *op;
  Factory factory;
} kFactories[] = {
    {"add", bindAdd},
    {"add_rms_norm", bindAddRmsNorm},
    {"attention", bindAttention},
    {"decay_scan", bindDecayScan},
    {"embedding", bindEmbedding},
    {"experts", bindExperts},
    {"experts_scaled", bindExpertsScaled},
    {"kv_append", bindKvAppend},
    {"linear", bindLinear},
    {"linear_scaled", bindLinearScaled},
    {"merge_candidates", bindMergeCandidates},
    {"qk_norm_rope_kv_append", bindQkNormRopeKvAppend},
    {"rms_norm", bindRmsNorm},
    {"rms_scale", bindRmsScale},
    {"rope", bindRope},
    {"router_topk", bindRouterTopk},
    {"select_rows", bindSelectRows},
    {"sum_of_squares", bindSumOfSquares},
    {"top_candidates", bindTopCandidates},
};

std::unique_ptr<BoundKernel> bindLaunch(const schema::Kernel &kernel,
                                        const std::vector<View> &operands,
                                        uint32_t rank, Scratch &scratch) {
  for (const auto &entry : kFactories)
    if (std::strcmp(kernel.op()->c_str(), entry.op) == 0)
      return entry.factory({kernel, operands, rank, scratch});
  assert(false && "checkLaunch refuses unknown ops");
  return nullptr;
}

} // namespace saddle::cpu
