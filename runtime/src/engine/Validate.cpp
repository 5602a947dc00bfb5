#include "runtime/src/engine/Validate.h"

#include "runtime/src/base/DType.h"
#include "runtime/src/engine/Programs.h"

#include <algorithm>

namespace saddle::engine {

using namespace schema;
using schema::Engine; // not saddle::Engine

StageRanks ranksOf(const Engine &engine, const Program &program) {
  uint32_t tp = engine.topology()->tp();
  return StageRanks{program.stage() * tp, tp};
}

Status validateRankValue(const RankValue *value, uint64_t worldSize) {
  if (!value)
    return Status();
  if (value->divisor() == 0 || value->modulus() == 0)
    return makeError(StatusCode::DataLoss,
                     "rank value has divisor %" PRIu64 " and modulus %" PRIu64
                     ", expected 1 or more",
                     value->divisor(), value->modulus());
  uint64_t most =
      std::min(value->modulus() - 1, (worldSize - 1) / value->divisor());
  uint64_t offset, sum;
  if (__builtin_mul_overflow(most, value->step(), &offset) ||
      __builtin_add_overflow(value->base(), offset, &sum))
    return makeError(StatusCode::DataLoss,
                     "rank value %" PRIu64 " + %" PRIu64 " * %" PRIu64
                     " exceeds 64 bits",
                     value->base(), most, value->step());
  return Status();
}

Status checkAligned(const flatbuffers::Vector<uint64_t> &dims) {
  if (dims.size() == 0 ||
      reinterpret_cast<uintptr_t>(dims.Data()) % alignof(uint64_t) == 0)
    return Status();
  return makeError(StatusCode::DataLoss,
                   "the metadata holds a shape or strides that are not aligned "
                   "to 8 bytes");
}

Status validateSlice(const Engine &engine, const Slice &slice) {
  SADDLE_RETURN_IF_ERROR(checkAligned(*slice.shape()));
  SADDLE_RETURN_IF_ERROR(checkAligned(*slice.strides()));
  if (slice.arena() >= engine.arenas()->size())
    return makeError(StatusCode::DataLoss,
                     "arena %u does not exist, there are %u", slice.arena(),
                     engine.arenas()->size());
  const Arena &arena = *engine.arenas()->Get(slice.arena());
  uint64_t unit = elementBytes(slice.dtype());
  if (unit == 0)
    return makeError(StatusCode::DataLoss, "unknown dtype %u",
                     unsigned(slice.dtype()));
  const auto &shape = *slice.shape(), &strides = *slice.strides();
  if (shape.size() == 0 || shape.size() > kMaxRank)
    return makeError(StatusCode::DataLoss,
                     "shape %s has %u dimensions, expected 1 to %u",
                     formatDims(shape).c_str(), shape.size(), kMaxRank);
  if (strides.size() != shape.size())
    return makeError(StatusCode::DataLoss,
                     "shape %s has %u dimensions, but there are %u strides",
                     formatDims(shape).c_str(), shape.size(), strides.size());
  // `dense` is the least stride with which the entries of the next outer
  // dimension do not overlap; at the end it bounds the whole extent.
  uint64_t dense = 1;
  for (uint32_t i = shape.size(); i-- > 0;) {
    bool innermost = i + 1 == shape.size();
    if (strides.Get(i) < dense || (innermost && strides.Get(i) != 1))
      return makeError(StatusCode::DataLoss,
                       "stride %u of shape %s is %" PRIu64
                       ", expected %s%" PRIu64,
                       i, formatDims(shape).c_str(), strides.Get(i),
                       innermost ? "" : "at least ", dense);
    if (shape.Get(i) == 0 ||
        __builtin_mul_overflow(strides.Get(i), shape.Get(i), &dense) ||
        dense > UINT64_MAX / unit)
      return makeError(StatusCode::DataLoss,
                       "shape %s with strides %s is empty or exceeds 2^64 "
                       "bytes",
                       formatDims(shape).c_str(), formatDims(strides).c_str());
  }
  if (slice.offset() % unit != 0 || arena.alignment() % unit != 0)
    return makeError(StatusCode::DataLoss,
                     "offset %" PRIu64 " in arena %s (alignment %" PRIu64
                     ") is not aligned to %s",
                     slice.offset(), quoted(arena).c_str(), arena.alignment(),
                     dtypeName(slice.dtype()));
  uint64_t bytes = spanBytes(slice);
  if (slice.offset() > arena.bytes() || bytes > arena.bytes() - slice.offset())
    return makeError(StatusCode::DataLoss,
                     "%" PRIu64 " bytes at offset %" PRIu64
                     " reach beyond arena %s of %" PRIu64 " bytes",
                     bytes, slice.offset(), quoted(arena).c_str(),
                     arena.bytes());
  return Status();
}

uint64_t spanBytes(const Slice &slice) {
  uint64_t last = 0;
  for (uint32_t i = 0; i < slice.shape()->size(); ++i)
    last += (slice.shape()->Get(i) - 1) * slice.strides()->Get(i);
  return (last + 1) * elementBytes(slice.dtype());
}

View viewOf(const Slice &slice) {
  View view;
  view.dtype = slice.dtype();
  view.rank = slice.shape()->size();
  std::copy(slice.shape()->begin(), slice.shape()->end(), view.shape.begin());
  std::copy(slice.strides()->begin(), slice.strides()->end(),
            view.strides.begin());
  return view;
}

Status prefix(const std::string &place, const Status &status) {
  return status.within(place);
}

std::string formatDims(const flatbuffers::Vector<uint64_t> &dims) {
  std::string text = "[";
  for (uint32_t i = 0; i < dims.size(); ++i)
    text += (i ? ", " : "") + std::to_string(dims.Get(i));
  return text + "]";
}

Status validate(const Engine &engine, Bytes segments) {
  SADDLE_RETURN_IF_ERROR(validateFacts(engine));
  SADDLE_RETURN_IF_ERROR(validateModules(engine, segments));
  SADDLE_RETURN_IF_ERROR(validateTables(engine));
  std::vector<GroupFacts> groups = groupFactsOf(engine);
  for (const Program *program : *engine.programs()) {
    std::string place = describe(*program);
    SADDLE_RETURN_IF_ERROR(prefix(place, validateWeights(engine, *program)));
    SADDLE_RETURN_IF_ERROR(prefix(place, validateStates(engine, *program)));
    SADDLE_RETURN_IF_ERROR(
        prefix(place, validateEntries(engine, *program, groups)));
  }
  SADDLE_RETURN_IF_ERROR(validateSharedWeights(engine));
  SADDLE_RETURN_IF_ERROR(validateStagesStates(engine));
  SADDLE_RETURN_IF_ERROR(validateStages(engine));
  SADDLE_RETURN_IF_ERROR(validateExchanges(engine));
  return validateSourcesAreRead(engine);
}

} // namespace saddle::engine
