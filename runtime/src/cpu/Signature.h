// How an op's signature is written down. One line per operand, as in
// docs/Runtime.md: a name, what dtype it may have, and one symbol per
// dimension. A symbol has the same extent wherever it stands.

#ifndef SADDLE_RUNTIME_CPU_SIGNATURE_H
#define SADDLE_RUNTIME_CPU_SIGNATURE_H

#include "runtime/src/cpu/Binding.h"

#include <array>

namespace saddle::cpu {

/// Which element types an operand may have.
enum class Type {
  A,      // the engine's compute dtype
  AOrF32, // a result that may stay fp32
  W,      // any weight storage
  KV,     // the engine's KV dtype
  F32,
  F8,
  I32
};

struct OperandSpec {
  const char *name;
  Type type;
  const char *shape; // one letter per dimension
};

struct AttributeSpec {
  const char *name;
  schema::AttributeKind kind;
};

/// Extents by symbol.
class Extents {
public:
  uint64_t operator[](char symbol) const { return values[index(symbol)]; }
  uint64_t &operator[](char symbol) { return values[index(symbol)]; }

private:
  static unsigned index(char symbol) { return unsigned(symbol) & 127u; }
  std::array<uint64_t, 128> values{};
};

struct OpSpec {
  const char *op;
  std::vector<OperandSpec> operands;
  std::vector<AttributeSpec> attributes;
  /// Relations that symbols cannot express.
  Status (*relations)(const schema::Kernel &, const Extents &);
};

/// The signature of `op` for that many operands (sum_of_squares takes any
/// number). Unsupported when there is no such op, InvalidArgument when it
/// cannot have so many operands.
StatusOr<OpSpec> findSignature(const schema::Kernel &kernel, size_t operands);

/// found == expected, else an error that says so.
Status checkEqual(const schema::Kernel &kernel, const char *what,
                  uint64_t found, const char *rule, uint64_t expected);

} // namespace saddle::cpu

#endif // SADDLE_RUNTIME_CPU_SIGNATURE_H
