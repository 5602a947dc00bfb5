#include "runtime/ops/Storage.h"

namespace saddle::ops {

using schema::CompanionKind;

const char *Companion::suffix() const {
  switch (kind) {
  case CompanionKind::SCALE:
    return "_scale";
  case CompanionKind::ZERO:
    return "_zero";
  case CompanionKind::GLOBAL_SCALE:
    return "_global_scale";
  case CompanionKind::UNKNOWN:
    break;
  }
  return "";
}

const Companion *Storage::find(CompanionKind kind) const {
  for (const Companion &companion : companions)
    if (companion.kind == kind)
      return &companion;
  return nullptr;
}

static Status readEncoding(const schema::Storage &table, const char *op,
                           Encoding &encoding) {
  uint32_t values = table.order() ? table.order()->size() : 0;
  bool pairs =
      values == 2 && table.order()->Get(0) == 0 && table.order()->Get(1) == 1;
  if (values != 0 && !pairs)
    return makeError(StatusCode::Unsupported,
                     "%s: a weight has %u values to an element; this runtime "
                     "reads one, or two of which the first is lower",
                     op, values);
  if (table.rotated() != 0 && !canRotate(table.rotated()))
    return makeError(StatusCode::Unsupported,
                     "%s: a weight rotates %u columns together; this runtime "
                     "rotates a power of two from %u to %u",
                     op, table.rotated(), kLeastRotated, kMostRotated);
  encoding = {table.codes(), pairs ? 2u : 1u, table.zero(), table.rotated()};
  uint32_t codes = pairs ? 16 : 256;
  switch (table.codes()) {
  case schema::Codes::ELEMENTS:
    if (!pairs && table.zero() == 0)
      return Status();
    break;
  case schema::Codes::UINT:
    if (table.zero() < codes)
      return Status();
    break;
  case schema::Codes::E2M1:
    if (pairs && table.zero() == 0)
      return Status();
    break;
  }
  return makeError(StatusCode::Unsupported,
                   "%s: a weight has codes of kind %u, %u to an element, with "
                   "a zero of %u; this runtime reads kind 1, UINT, with a zero "
                   "among the codes, and pairs of kind 2, E2M1",
                   op, unsigned(table.codes()), encoding.perElement,
                   table.zero());
}

static StatusOr<Storage> read(const schema::Storage &table, const char *op) {
  Storage storage;
  SADDLE_RETURN_IF_ERROR(readEncoding(table, op, storage.encoding));
  if (!table.companions())
    return storage;
  for (const schema::Companion *companion : *table.companions()) {
    CompanionKind kind = companion->kind();
    if (kind == CompanionKind::UNKNOWN || kind > CompanionKind::MAX ||
        (companion->divides() && kind != CompanionKind::GLOBAL_SCALE))
      return makeError(StatusCode::Unsupported,
                       "%s: a weight has a companion of kind %u%s; this "
                       "runtime reads kinds 1 to %u, of which 3, "
                       "GLOBAL_SCALE, may divide",
                       op, unsigned(kind),
                       companion->divides() ? " that divides" : "",
                       unsigned(CompanionKind::MAX));
    if (companion->block_rows() == 0 || companion->block_cols() == 0)
      return makeError(StatusCode::InvalidArgument,
                       "%s: a companion has blocks of %llu x %llu, expected 1 "
                       "or more",
                       op, (unsigned long long)companion->block_rows(),
                       (unsigned long long)companion->block_cols());
    if (storage.find(kind))
      return makeError(StatusCode::InvalidArgument,
                       "%s: a weight has two companions of kind %u", op,
                       unsigned(kind));
    storage.companions.push_back({kind, companion->block_rows(),
                                  companion->block_cols(),
                                  companion->divides()});
  }
  if (storage.find(CompanionKind::ZERO) &&
      (table.codes() != schema::Codes::UINT || table.zero() != 0))
    return makeError(StatusCode::InvalidArgument,
                     "%s: a weight has a companion of kind 2, ZERO; expected "
                     "codes of kind 1, UINT, without another zero",
                     op);
  if (storage.find(CompanionKind::GLOBAL_SCALE) &&
      !storage.find(CompanionKind::SCALE))
    return makeError(StatusCode::InvalidArgument,
                     "%s: a weight has a companion of kind 3, GLOBAL_SCALE, "
                     "but no scale",
                     op);
  return storage;
}

StatusOr<std::vector<Storage>> Storage::of(const Tables *tables,
                                           const char *op) {
  std::vector<Storage> all;
  if (tables)
    for (const schema::Storage *table : *tables) {
      SADDLE_ASSIGN_OR_RETURN(Storage storage, read(*table, op));
      all.push_back(std::move(storage));
    }
  return all;
}

} // namespace saddle::ops
