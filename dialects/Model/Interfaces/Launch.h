// One launch of a runtime op, as the op that becomes it describes it: operands
// in the runtime's order, before anything has a place in memory.

#ifndef SADDLE_DIALECTS_MODEL_INTERFACES_LAUNCH_H
#define SADDLE_DIALECTS_MODEL_INTERFACES_LAUNCH_H

#include "mlir/IR/Builders.h"
#include "mlir/IR/Operation.h"
#include "mlir/IR/SymbolTable.h"

namespace saddle::model {

class WeightOpInterface;

/// An operand of a launch.
struct LaunchOperand {
  enum class Kind {
    Value,     // `value`
    Weight,    // the values of weight `symbol`, which has no companions
    Stored,    // weight `symbol` of any storage: its values, its companions
    State,     // `part` of state `symbol`
    StepInput, // the step's input named `part` (docs/Runtime.md)
  };
  Kind kind;
  mlir::Value value = {};
  mlir::FlatSymbolRefAttr symbol = {};
  llvm::StringRef part = {};
};

/// Filled by an op's `describeLaunch`. Methods append and return the builder;
/// names must outlive it.
class LaunchBuilder {
public:
  /// `symbols` holds the weights and the state that `op` names.
  LaunchBuilder(mlir::Operation *op, const mlir::SymbolTable &symbols)
      : op(op), symbols(symbols) {}

  /// Names the runtime op.
  LaunchBuilder &calls(llvm::StringRef name);

  /// The op's operands that are tensors, in order.
  LaunchBuilder &operands();
  LaunchBuilder &operand(mlir::Value value);
  /// The op's weights, in the order in which it declares them.
  LaunchBuilder &weights();
  LaunchBuilder &weight(mlir::FlatSymbolRefAttr symbol);
  /// A weight of any storage.
  LaunchBuilder &stored(mlir::FlatSymbolRefAttr symbol);
  LaunchBuilder &state(mlir::FlatSymbolRefAttr symbol, llvm::StringRef part);
  LaunchBuilder &stepInput(llvm::StringRef name);

  /// Written besides the op's results, before them.
  LaunchBuilder &writesState(mlir::FlatSymbolRefAttr symbol,
                             llvm::StringRef part);

  LaunchBuilder &constant(llvm::StringRef name, int64_t value);
  LaunchBuilder &constant(llvm::StringRef name, mlir::FloatAttr value);
  /// Constants that are the op's attributes of these names, integers or floats.
  LaunchBuilder &attributes(llvm::ArrayRef<llvm::StringRef> names);
  /// A constant that depends on the rank; 0 until the op is partitioned.
  LaunchBuilder &rankConstant(llvm::StringRef name);

  /// No launch: the results are column ranges of `source`, left to right.
  void views(mlir::Value source) { viewed = source; }
  /// No launch: the operands are byte ranges of the result, left to right, and
  /// whoever makes one writes it there.
  void joins() { joined = true; }

  /// The weight that a symbol names; there is one.
  WeightOpInterface lookupWeight(mlir::FlatSymbolRefAttr symbol) const;
  /// The op that a symbol names.
  template <typename OpTy>
  OpTy lookup(mlir::FlatSymbolRefAttr symbol) const {
    return symbols.lookup<OpTy>(symbol.getValue());
  }

  // What was described.
  llvm::StringRef getCallee() const { return callee; }
  llvm::ArrayRef<LaunchOperand> getInputs() const { return inputs; }
  llvm::ArrayRef<LaunchOperand> getWrittenState() const { return written; }
  llvm::ArrayRef<mlir::NamedAttribute> getConstants() const {
    return constants;
  }
  llvm::ArrayRef<llvm::StringRef> getRankConstants() const {
    return rankConstants;
  }
  mlir::Value getViewed() const { return viewed; }
  bool isJoined() const { return joined; }

private:
  mlir::Operation *op;
  const mlir::SymbolTable &symbols;
  llvm::StringRef callee;
  llvm::SmallVector<LaunchOperand> inputs, written;
  llvm::SmallVector<mlir::NamedAttribute> constants;
  llvm::SmallVector<llvm::StringRef> rankConstants;
  mlir::Value viewed;
  bool joined = false;
};

/// The function argument whose rows a value's rows are counted by, through the
/// ops that made it; null when something else made it.
mlir::BlockArgument countedBy(mlir::Value value);

} // namespace saddle::model

#endif // SADDLE_DIALECTS_MODEL_INTERFACES_LAUNCH_H
