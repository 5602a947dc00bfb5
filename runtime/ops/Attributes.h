// The attributes of a call, as an engine file has them.

#ifndef SADDLE_RUNTIME_OPS_ATTRIBUTES_H
#define SADDLE_RUNTIME_OPS_ATTRIBUTES_H

#include "runtime/schema/engine_generated.h"

#include <cstdint>

namespace saddle::ops {

/// Borrowed from a kernel or a step of its body. The accessors by kind are for
/// attributes that checkCall() has seen.
class AttributeList {
public:
  using Table = flatbuffers::Vector<flatbuffers::Offset<schema::Attribute>>;

  AttributeList(const Table *table = nullptr) : table(table) {}

  uint32_t size() const { return table ? table->size() : 0; }
  const schema::Attribute &operator[](uint32_t index) const {
    return *table->Get(index);
  }
  /// Null when there is none of that name.
  const schema::Attribute *find(const char *name) const;

  int64_t integer(const char *name) const { return find(name)->int_value(); }
  double real(const char *name) const { return find(name)->float_value(); }
  /// Of a RANK attribute, evaluated for a rank.
  uint64_t rankValue(const char *name, uint32_t rank) const;

private:
  const Table *table;
};

} // namespace saddle::ops

#endif // SADDLE_RUNTIME_OPS_ATTRIBUTES_H
