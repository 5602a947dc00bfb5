// Checks a call against its op's definition.

#include "runtime/ops/Op.h"

#include <cmath>
#include <cstring>

namespace saddle::ops {

using schema::AttributeKind;
using schema::DType;

const char *describe(Type type) {
  switch (type) {
  case Type::A:
    return "the compute dtype";
  case Type::AOrF32:
    return "the compute dtype or f32";
  case Type::W:
    return "f32, bf16, f16, f8e4m3 or i8";
  case Type::Values:
    return "f32, bf16, f16 or f8e4m3";
  case Type::KV:
    return "the KV dtype";
  case Type::E4M3:
    return "f8e4m3";
  case Type::F32:
    return "f32";
  case Type::I32:
    return "i32";
  case Type::I64:
    return "i64";
  case Type::Scale:
    return "f32, f8e4m3 or f8e8m0";
  case Type::Zero:
    return "u8";
  }
  return "";
}

static bool accepts(const Operand &operand, DType dtype, DType compute,
                    DType kv) {
  switch (operand.type) {
  case Type::A:
    return dtype == compute;
  case Type::AOrF32:
    return dtype == compute || dtype == DType::F32;
  case Type::W:
    if (operand.encoding.codes != schema::Codes::ELEMENTS)
      return dtype == DType::U8;
    if (dtype == DType::I8)
      return true;
    [[fallthrough]];
  case Type::Values:
    return dtype == DType::F32 || dtype == DType::BF16 || dtype == DType::F16 ||
           dtype == DType::F8E4M3;
  case Type::KV:
    return dtype == kv;
  case Type::E4M3:
    return dtype == DType::F8E4M3;
  case Type::F32:
    return dtype == DType::F32;
  case Type::I32:
    return dtype == DType::I32;
  case Type::I64:
    return dtype == DType::I64;
  case Type::Scale:
    return dtype == DType::F32 || dtype == DType::F8E4M3 ||
           dtype == DType::F8E8M0;
  case Type::Zero:
    return dtype == DType::U8;
  }
  return false;
}

static Status checkOperand(const std::string &name, const Operand &operand,
                           const View &view, DType compute, DType kv,
                           Extents &extents) {
  if (!accepts(operand, view.dtype, compute, kv))
    return makeError(StatusCode::InvalidArgument,
                     "%s is %s, expected %s (compute %s, KV %s)", name.c_str(),
                     dtypeName(view.dtype),
                     operand.encoding.codes == schema::Codes::ELEMENTS
                         ? describe(operand.type)
                         : "u8",
                     dtypeName(compute), dtypeName(kv));
  size_t rank = std::strlen(operand.shape);
  if (view.rank != rank)
    return makeError(StatusCode::InvalidArgument,
                     "%s has %u dimensions, expected %zu", name.c_str(),
                     view.rank, rank);
  uint64_t dense = 1; // least stride at which entries do not overlap
  for (size_t i = rank; i-- > 0;) {
    uint64_t extent = view.shape[i];
    if (extent == 0)
      return makeError(StatusCode::InvalidArgument,
                       "%s: dimension %zu is 0, expected 1 or more",
                       name.c_str(), i);
    if (view.strides[i] < dense || (i + 1 == rank && view.strides[i] != 1))
      return makeError(StatusCode::InvalidArgument,
                       "%s: stride %zu is %llu, expected %s%llu", name.c_str(),
                       i, (unsigned long long)view.strides[i],
                       i + 1 == rank ? "" : "at least ",
                       (unsigned long long)dense);
    if (__builtin_mul_overflow(view.strides[i], extent, &dense))
      return makeError(StatusCode::InvalidArgument,
                       "%s: dimension %zu of %llu entries at stride %llu "
                       "overflows",
                       name.c_str(), i, (unsigned long long)extent,
                       (unsigned long long)view.strides[i]);
    if (operand.shape[i] == '*')
      continue;
    if (i + 1 == rank &&
        __builtin_mul_overflow(extent, operand.encoding.perElement, &extent))
      return makeError(StatusCode::InvalidArgument,
                       "%s: dimension %zu of %llu entries overflows",
                       name.c_str(), i, (unsigned long long)view.shape[i]);
    if (i + 1 == rank && operand.encoding.rotated != 0 &&
        extent % operand.encoding.rotated != 0)
      return makeError(StatusCode::InvalidArgument,
                       "%s: dimension %zu is %llu, expected a multiple of %u, "
                       "which are rotated together",
                       name.c_str(), i, (unsigned long long)extent,
                       operand.encoding.rotated);
    uint64_t &known = extents[operand.shape[i]];
    if (known == 0)
      known = extent;
    if (known != extent)
      return makeError(StatusCode::InvalidArgument,
                       "%s: dimension %zu is %llu, but an earlier operand's %c "
                       "is %llu",
                       name.c_str(), i, (unsigned long long)extent,
                       operand.shape[i], (unsigned long long)known);
  }
  return {};
}

/// One element for each block of the weight.
static Status checkBlocks(const std::string &name, const Companion &companion,
                          const Encoding &encoding, const View &weight,
                          const View &view) {
  const uint64_t blocks[] = {companion.blockRows, companion.blockCols};
  static constexpr const char *kAxes[] = {"rows", "columns"};
  for (unsigned i = 0; i < 2; ++i) {
    unsigned dim = view.rank - 2 + i;
    uint64_t extent = weight.shape[dim] * (i == 1 ? encoding.perElement : 1);
    uint64_t expected = extent / blocks[i] + (extent % blocks[i] != 0);
    if (view.shape[dim] != expected)
      return makeError(StatusCode::InvalidArgument,
                       "%s has %llu %s, expected %llu: one for every %llu of "
                       "the weight's %llu",
                       name.c_str(), (unsigned long long)view.shape[dim],
                       kAxes[i], (unsigned long long)expected,
                       (unsigned long long)blocks[i],
                       (unsigned long long)extent);
  }
  return {};
}

static Status checkAttribute(const Op &op, const Attribute &expected,
                             AttributeList attributes) {
  const schema::Attribute *found = attributes.find(expected.name);
  if (!found)
    return makeError(StatusCode::InvalidArgument,
                     "%s: attribute \"%s\" is missing", op.name, expected.name);
  if (found->kind() != expected.kind)
    return makeError(StatusCode::InvalidArgument,
                     "%s: attribute \"%s\" is of kind %s, expected %s", op.name,
                     expected.name,
                     schema::EnumNameAttributeKind(found->kind()),
                     schema::EnumNameAttributeKind(expected.kind));
  if (expected.kind == AttributeKind::FLOAT &&
      !std::isfinite(found->float_value()))
    return makeError(StatusCode::InvalidArgument,
                     "%s: attribute \"%s\" is not finite", op.name,
                     expected.name);
  const schema::RankValue *value = found->rank_value();
  if (expected.kind == AttributeKind::RANK &&
      (!value || value->divisor() == 0 || value->modulus() == 0))
    return makeError(StatusCode::InvalidArgument,
                     "%s: attribute \"%s\" needs a rank value with divisor "
                     "and modulus of 1 or more",
                     op.name, expected.name);
  return {};
}

static Status checkAttributes(const Op &op, AttributeList attributes) {
  for (const Attribute &expected : op.attributes)
    SADDLE_RETURN_IF_ERROR(checkAttribute(op, expected, attributes));
  for (uint32_t i = 0; i < attributes.size(); ++i) {
    const char *name = attributes[i].name()->c_str();
    bool known = false;
    for (const Attribute &expected : op.attributes)
      known |= std::strcmp(expected.name, name) == 0;
    if (!known)
      return makeError(StatusCode::InvalidArgument,
                       "%s: unknown attribute \"%s\"", op.name, name);
    for (uint32_t j = 0; j < i; ++j)
      if (std::strcmp(attributes[j].name()->c_str(), name) == 0)
        return makeError(StatusCode::InvalidArgument,
                         "%s: attribute \"%s\" is given twice", op.name, name);
  }
  return {};
}

Status checkCall(const Op &op, AttributeList attributes,
                 const std::vector<Storage> &storages, DType computeDType,
                 DType kvDType, const std::vector<View> &operands) {
  SADDLE_ASSIGN_OR_RETURN(std::vector<Operand> expected,
                          op.operandsOf(operands.size(), storages));
  Call call{op.name, attributes, {}};
  size_t weight = 0; // the last operand that is no companion
  for (size_t i = 0; i < operands.size(); ++i) {
    std::string name = std::string(op.name) + ": operand " + std::to_string(i) +
                       " (" + expected[i].name + ")";
    SADDLE_RETURN_IF_ERROR(checkOperand(name, expected[i], operands[i],
                                        computeDType, kvDType, call.extents));
    if (!expected[i].companion)
      weight = i;
    else
      SADDLE_RETURN_IF_ERROR(checkBlocks(name, *expected[i].companion,
                                         expected[weight].encoding,
                                         operands[weight], operands[i]));
  }
  SADDLE_RETURN_IF_ERROR(checkAttributes(op, attributes));
  return op.relations ? op.relations(call) : Status();
}

} // namespace saddle::ops
