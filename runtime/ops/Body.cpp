#include "runtime/ops/Body.h"

#include <algorithm>
#include <numeric>

namespace saddle::ops {

StatusOr<Body> Body::of(const schema::Kernel &kernel, size_t operands) {
  Body body;
  body.count = operands;
  if (kernel.temporaries())
    body.rows.assign(kernel.temporaries()->begin(),
                     kernel.temporaries()->end());
  if (!kernel.body()) {
    std::vector<uint32_t> every(operands);
    std::iota(every.begin(), every.end(), 0u);
    SADDLE_RETURN_IF_ERROR(body.add(kernel.op()->c_str(), kernel.attributes(),
                                    kernel.storage(), std::move(every),
                                    kernel));
    if (!body.rows.empty())
      return makeError(StatusCode::InvalidArgument,
                       "%s has temporaries, but no body that could use them",
                       kernel.op()->c_str());
  } else {
    if ((kernel.attributes() && kernel.attributes()->size() > 0) ||
        (kernel.storage() && kernel.storage()->size() > 0))
      return makeError(
          StatusCode::InvalidArgument,
          "%s has attributes or storages beside a body, whose ops have their "
          "own",
          kernel.op()->c_str());
    for (const schema::BodyOp *op : *kernel.body())
      SADDLE_RETURN_IF_ERROR(
          body.add(op->op()->c_str(), op->attributes(), op->storage(),
                   {op->operands()->begin(), op->operands()->end()}, kernel));
  }
  if (body.all.empty())
    return makeError(StatusCode::InvalidArgument,
                     "%s has an empty body, expected 1 op or more",
                     kernel.op()->c_str());
  SADDLE_RETURN_IF_ERROR(body.connect());
  return body;
}

Status Body::add(const char *name, AttributeList attributes,
                 const Storage::Tables *tables, std::vector<uint32_t> operands,
                 const schema::Kernel &kernel) {
  const Op *op = findOp(name);
  if (!op)
    return makeError(StatusCode::Unsupported,
                     "kernel \"%s\": op \"%s\" is not an op of this runtime",
                     kernel.name()->c_str(), name);
  SADDLE_ASSIGN_OR_RETURN(std::vector<Storage> storages,
                          Storage::of(tables, name));
  SADDLE_ASSIGN_OR_RETURN(std::vector<Operand> definitions,
                          op->operandsOf(operands.size(), storages));
  all.push_back({op, attributes, std::move(storages), std::move(operands),
                 std::move(definitions)});
  return {};
}

/// Follows values through the steps.
Status Body::connect() {
  enum Use : uint8_t { kNever, kRead, kWritten };
  std::vector<Use> uses(count + rows.size(), kNever);
  for (const Step &step : all)
    for (size_t i = 0; i < step.operands.size(); ++i) {
      uint32_t index = step.operands[i];
      const Operand &definition = step.definitions[i];
      if (index >= uses.size())
        return makeError(StatusCode::InvalidArgument,
                         "%s: operand %zu (%s) is value %u of the body, which "
                         "has %zu operands and %zu temporaries",
                         step.op->name, i, definition.name.c_str(), index,
                         count, rows.size());
      bool isTemporary = index >= count;
      if (definition.isWritten() &&
          (uses[index] == kWritten || (uses[index] == kRead && isTemporary)))
        return makeError(StatusCode::InvalidArgument,
                         "%s: operand %zu (%s) is value %u of the body, which "
                         "has been written before",
                         step.op->name, i, definition.name.c_str(), index);
      if (isTemporary && !definition.isCounted())
        return makeError(StatusCode::InvalidArgument,
                         "%s: operand %zu (%s) has no run-time rows, so it "
                         "cannot be temporary %zu",
                         step.op->name, i, definition.name.c_str(),
                         index - count);
      if (isTemporary && !definition.isWritten() && uses[index] != kWritten)
        return makeError(StatusCode::InvalidArgument,
                         "%s: operand %zu (%s) is temporary %zu, which nothing "
                         "has written",
                         step.op->name, i, definition.name.c_str(),
                         index - count);
      if (definition.isWritten())
        uses[index] = kWritten;
      else if (uses[index] == kNever)
        uses[index] = kRead;
    }
  for (size_t i = 0; i < uses.size(); ++i)
    if (uses[i] == kNever)
      return makeError(
          StatusCode::InvalidArgument, "no op of the body has %s %zu",
          i < count ? "operand" : "temporary", i < count ? i : i - count);
  while (written < count && uses[count - 1 - written] == kWritten)
    ++written;
  for (size_t i = 0; i + written < count; ++i)
    if (uses[i] == kWritten)
      return makeError(StatusCode::InvalidArgument,
                       "operand %zu is written, but operand %zu, behind it, is "
                       "not; outputs are the last operands",
                       i, count - 1 - written);
  while (countedOperand < count && !definition(countedOperand).isCounted())
    ++countedOperand;
  if (countedOperand < count)
    return {};
  return makeError(StatusCode::InvalidArgument,
                   "no operand has the rows of the launch");
}

bool Body::exchanges() const {
  return std::any_of(all.begin(), all.end(),
                     [](const Step &step) { return step.op->exchanges; });
}

const Operand &Body::definition(size_t index) const {
  for (const Step &step : all)
    for (size_t i = 0; i < step.operands.size(); ++i)
      if (step.operands[i] == index)
        return step.definitions[i];
  return all.front().definitions.front(); // connect() has seen every operand
}

View Body::temporary(size_t index, uint64_t capacity) const {
  const schema::Temporary &row = *rows[index];
  View view;
  view.dtype = row.dtype();
  view.rank = 1 + row.shape()->size();
  view.shape[0] = capacity;
  for (unsigned i = 1; i < view.rank; ++i)
    view.shape[i] = row.shape()->Get(i - 1);
  uint64_t stride = 1;
  for (unsigned i = view.rank; i-- > 0; stride *= view.shape[i])
    view.strides[i] = stride;
  return view;
}

static Status checkTemporary(const schema::Temporary &row, size_t index,
                             uint64_t capacity) {
  uint64_t bytes = elementBytes(row.dtype());
  bool fits = bytes != 0 && row.shape()->size() < kMaxRank &&
              !__builtin_mul_overflow(bytes, capacity, &bytes);
  for (uint64_t extent : *row.shape())
    fits =
        fits && extent != 0 && !__builtin_mul_overflow(bytes, extent, &bytes);
  if (fits)
    return {};
  return makeError(StatusCode::InvalidArgument,
                   "temporary %zu is %s with %u dimensions besides its rows, "
                   "expected a known type, extents of 1 or more, and fewer "
                   "than 2^64 bytes",
                   index, dtypeName(row.dtype()), row.shape()->size());
}

Status Body::check(schema::DType computeDType, schema::DType kvDType,
                   const std::vector<View> &operands, uint64_t capacity) const {
  std::vector<View> values = operands;
  for (size_t i = 0; i < rows.size(); ++i) {
    SADDLE_RETURN_IF_ERROR(checkTemporary(*rows[i], i, capacity));
    values.push_back(temporary(i, capacity));
  }
  for (const Step &step : all) {
    std::vector<View> own;
    for (uint32_t operand : step.operands)
      own.push_back(values[operand]);
    SADDLE_RETURN_IF_ERROR(checkCall(*step.op, step.attributes, step.storages,
                                     computeDType, kvDType, own));
  }
  return {};
}

/// Calls visit(attribute) for those of a kernel of one kind, step by step.
template <typename Visit>
static void forEachOf(const schema::Kernel &kernel, schema::AttributeKind kind,
                      Visit visit) {
  auto collect = [&](AttributeList attributes) {
    for (uint32_t i = 0; i < attributes.size(); ++i)
      if (attributes[i].kind() == kind)
        visit(attributes[i]);
  };
  collect(kernel.attributes());
  if (kernel.body())
    for (const schema::BodyOp *op : *kernel.body())
      collect(op->attributes());
}

std::vector<const schema::RankValue *>
rankValuesOf(const schema::Kernel &kernel) {
  std::vector<const schema::RankValue *> values;
  forEachOf(kernel, schema::AttributeKind::RANK,
            [&](const schema::Attribute &attribute) {
              values.push_back(attribute.rank_value());
            });
  return values;
}

std::vector<double> realsOf(const schema::Kernel &kernel) {
  std::vector<double> values;
  forEachOf(kernel, schema::AttributeKind::FLOAT,
            [&](const schema::Attribute &attribute) {
              values.push_back(attribute.float_value());
            });
  return values;
}

Status checkLaunch(const schema::Kernel &kernel, schema::DType computeDType,
                   schema::DType kvDType, const std::vector<View> &operands) {
  SADDLE_ASSIGN_OR_RETURN(Body body, Body::of(kernel, operands.size()));
  return body.check(computeDType, kvDType, operands,
                    operands[body.counted()].shape[0]);
}

} // namespace saddle::ops
