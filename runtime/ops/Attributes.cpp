#include "runtime/ops/Attributes.h"

#include <cstring>

namespace saddle::ops {

const schema::Attribute *AttributeList::find(const char *name) const {
  for (uint32_t i = 0; i < size(); ++i)
    if (std::strcmp((*this)[i].name()->c_str(), name) == 0)
      return &(*this)[i];
  return nullptr;
}

uint64_t AttributeList::rankValue(const char *name, uint32_t rank) const {
  const schema::RankValue *value = find(name)->rank_value();
  return value->base() +
         ((rank / value->divisor()) % value->modulus()) * value->step();
}

} // namespace saddle::ops
