// What a kernel computes: ops on the operands of its launch and on temporaries.

#ifndef SADDLE_RUNTIME_OPS_BODY_H
#define SADDLE_RUNTIME_OPS_BODY_H

#include "runtime/ops/Op.h"

namespace saddle::ops {

/// One op of a body, with each operand's index and what the op says of it.
struct Step {
  const Op *op;
  AttributeList attributes;
  std::vector<Storage> storages;
  std::vector<uint32_t> operands;
  std::vector<Operand> definitions;
};

/// The body of a kernel whose launches have a given number of operands. Borrows
/// the kernel.
class Body {
public:
  /// Unsupported for an op that this runtime does not have, InvalidArgument for
  /// a body that does not fit together: operands that no op of it can have,
  /// temporaries read before they are written, outputs that are not the last
  /// operands.
  static StatusOr<Body> of(const schema::Kernel &kernel, size_t operands);

  const std::vector<Step> &steps() const { return all; }

  size_t operands() const { return count; }
  size_t temporaries() const { return rows.size(); }
  /// How many of the launch's operands, the last ones, are written.
  size_t outputs() const { return written; }
  /// The operand whose dimension 0 is the run-time count.
  size_t counted() const { return countedOperand; }
  /// Some step needs the launch's rank groups.
  bool exchanges() const;
  /// What the first op that has operand `index` says of it.
  const Operand &definition(size_t index) const;

  /// Checks operands (data is not looked at) and attributes of every step, for
  /// temporaries of `capacity` rows.
  Status check(schema::DType computeDType, schema::DType kvDType,
               const std::vector<View> &operands, uint64_t capacity) const;

  /// The type of temporary `index`, dense, with `capacity` rows; no data. Check
  /// that none has been refused before.
  View temporary(size_t index, uint64_t capacity) const;

private:
  Status add(const char *name, AttributeList attributes,
             const Storage::Tables *storages, std::vector<uint32_t> operands,
             const schema::Kernel &kernel);
  Status connect();

  size_t count = 0, written = 0, countedOperand = 0;
  std::vector<Step> all;
  std::vector<const schema::Temporary *> rows;
};

/// The RANK attributes of a kernel, step by step, in the order in which device
/// code gets their values.
std::vector<const schema::RankValue *> rankValuesOf(const schema::Kernel &);

/// The same of FLOAT attributes.
std::vector<double> realsOf(const schema::Kernel &);

/// All of the above for a launch whose operands' data is not there yet. Codes
/// and messages are those of Body::of() and Body::check().
Status checkLaunch(const schema::Kernel &kernel, schema::DType computeDType,
                   schema::DType kvDType, const std::vector<View> &operands);

} // namespace saddle::ops

#endif // SADDLE_RUNTIME_OPS_BODY_H
