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

static StatusOr<Storage> read(const schema::Storage &table, const char *op) {
  if (table.order() && table.order()->size() != 0)
    return makeError(StatusCode::Unsupported,
                     "%s: a weight has %u values to an element; this runtime "
                     "reads one",
                     op, table.order()->size());
  Storage storage;
  if (!table.companions())
    return storage;
  for (const schema::Companion *companion : *table.companions()) {
    if (companion->kind() != CompanionKind::SCALE || companion->divides())
      return makeError(StatusCode::Unsupported,
                       "%s: a weight has a companion of kind %u%s; this "
                       "runtime reads kind 1, SCALE, that multiplies",
                       op, unsigned(companion->kind()),
                       companion->divides() ? " that divides" : "");
    if (companion->block_rows() == 0 || companion->block_cols() == 0)
      return makeError(StatusCode::InvalidArgument,
                       "%s: a companion has blocks of %llu x %llu, expected 1 "
                       "or more",
                       op, (unsigned long long)companion->block_rows(),
                       (unsigned long long)companion->block_cols());
    if (storage.find(companion->kind()))
      return makeError(StatusCode::InvalidArgument,
                       "%s: a weight has two companions of kind %u", op,
                       unsigned(companion->kind()));
    storage.companions.push_back(
        {companion->kind(), companion->block_rows(), companion->block_cols()});
  }
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
