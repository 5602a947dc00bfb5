// What an op of the runtime is: the one definition that the engine's validator,
// the CPU kernels, the planners of device targets, byte counts, the kernel
// check and docs/RuntimeOps.md are derived from. Ops.cpp lists the ops.

#ifndef SADDLE_RUNTIME_OPS_OP_H
#define SADDLE_RUNTIME_OPS_OP_H

#include "runtime/ops/Attributes.h"
#include "runtime/ops/Storage.h"
#include "runtime/src/base/Span.h"
#include "runtime/src/base/Status.h"
#include "runtime/src/base/View.h"

#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace saddle::ops {

/// What an operand is to its op.
enum class Role {
  Input,  // activations, and what a step says of its tokens
  Weight, // constant
  State,  // survives steps; read
  Update, // survives steps; written in place, stands among the outputs
  Output,
};

/// Which element types an operand may have.
enum class Type {
  A,      // the engine's compute dtype
  AOrF32, // a result that may stay fp32
  W,      // weights of any storage, with their companions behind them
  Values, // weights that are stored as their values
  KV,     // the engine's KV dtype
  E4M3,   // codes of activations
  F32,
  I32,
  I64,
  Scale, // companions of W: what multiplies,
  Zero   // and what is taken off
};

/// How much of an operand a launch of n real rows touches, each byte once.
enum class Traffic {
  Rows,    // n rows; what inputs and outputs have unless they say otherwise
  Whole,   // all of it; weights, unless they say otherwise
  Chosen,  // of a stack, the members that some row chooses
  Lookups, // n rows of a table
  Tokens,  // of a cache, n tokens
  Context, // of a cache, all tokens that the batch's sequences hold
  Blocks,  // of a block table, the pages that those tokens fill
  Slots,   // of a state of sequences, those of the batch's, in and out
};

/// One operand. `shape` has one letter per dimension; a letter has the same
/// extent wherever it stands in an op. A few letters mean the same in all ops:
///   n  the run-time count of the launch's extent
///   p  pages of a cache, b  tokens of a page
///   q  sequences of a state that is not of tokens: the batch slots
///   S  batch slots, P  pages of a sequence at most
///   e  members of a stack held here, k  those that a row chooses
///   *  any extent, another one wherever it stands
/// Of p and q a file describes one; sessions have as many as they like.
struct Operand {
  std::string name;
  Role role;
  Type type;
  const char *shape;
  Traffic traffic;
  /// What it is to the weight before it; none of the op's own operands is one.
  std::optional<Companion> companion;
  /// Of a weight of any storage: what its elements hold. Its last letter counts
  /// values.
  Encoding encoding;

  Operand(std::string name, Role role, Type type, const char *shape,
          Traffic traffic)
      : name(std::move(name)), role(role), type(type), shape(shape),
        traffic(traffic) {}
  Operand(std::string name, Role role, Type type, const char *shape)
      : Operand(std::move(name), role, type, shape, usual(role)) {}

  bool isWritten() const {
    return role == Role::Output || role == Role::Update;
  }
  bool isState() const { return role == Role::State || role == Role::Update; }
  /// Of a state: it is of sequences as a whole, not of tokens in pages.
  bool isOfSequences() const { return shape[0] == 'q'; }
  /// Whether dimension 0 is the run-time count.
  bool isCounted() const { return shape[0] == 'n'; }

private:
  static constexpr Traffic usual(Role role) {
    return role == Role::Weight   ? Traffic::Whole
           : role == Role::State  ? Traffic::Context
           : role == Role::Update ? Traffic::Tokens
                                  : Traffic::Rows;
  }
};

struct Attribute {
  const char *name;
  schema::AttributeKind kind;
};

/// Extents by letter; 0 for letters that no operand has.
class Extents {
public:
  uint64_t operator[](char letter) const { return values[index(letter)]; }
  uint64_t &operator[](char letter) { return values[index(letter)]; }

private:
  static unsigned index(char letter) { return unsigned(letter) & 127u; }
  std::array<uint64_t, 128> values{};
};

/// What relations look at: the op's name for their messages, its attributes,
/// and the extents of its letters.
struct Call {
  const char *op;
  AttributeList attributes;
  Extents extents;
};

struct Op {
  const char *name;
  /// Inputs, weights and states, then outputs; companions are not among them.
  std::vector<Operand> operands;
  std::vector<Attribute> attributes;
  /// What letters cannot say; null when there is nothing. Operands and
  /// attributes have been checked one by one before.
  Status (*relations)(const Call &);
  /// What is computed, in a line of Markdown.
  const char *result;
  /// The first operand stands for one to this many, x1 to xm, each with a width
  /// of its own; 0: for itself.
  unsigned mostInputs = 0;
  /// Needs the launch's rank groups: only part of a kernel's body.
  bool exchanges = false;

  /// The operands of a call with `count` of them, whose weights of type W are
  /// stored so: one entry for each in order, or none when all are stored as
  /// their values. InvalidArgument when it cannot have so many.
  StatusOr<std::vector<Operand>>
  operandsOf(size_t count, const std::vector<Storage> &storages = {}) const;
};

/// All ops, by name.
Span<const Op> allOps();

/// Null when there is no such op.
const Op *findOp(std::string_view name);

/// Operands (data is not looked at) and attributes of one call against the op's
/// definition. Errors name the op, the operand and both sides.
Status checkCall(const Op &op, AttributeList attributes,
                 const std::vector<Storage> &storages,
                 schema::DType computeDType, schema::DType kvDType,
                 const std::vector<View> &operands);

/// "f32, bf16, f16 or f8e4m3": for messages and tables.
const char *describe(Type type);

} // namespace saddle::ops

#endif // SADDLE_RUNTIME_OPS_OP_H
