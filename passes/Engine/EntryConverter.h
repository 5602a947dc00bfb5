// One bucket's function to one engine entry: values become buffers, ops
// launches and collectives, in the order of the ops.

#ifndef SADDLE_PASSES_ENGINE_ENTRYCONVERTER_H
#define SADDLE_PASSES_ENGINE_ENTRYCONVERTER_H

#include "dialects/Model/IR/ModelDialect.h"
#include "passes/Engine/SharedSymbols.h"
#include "passes/Target/Target.h"
#include "runtime/ops/Bindings.h"

#include "mlir/Dialect/Func/IR/FuncOps.h"

#include <array>

namespace saddle::engine {

/// Works on one function; `function`'s ops stay, the entry is built beside
/// them.
class EntryConverter {
public:
  EntryConverter(mlir::func::FuncOp function, const model::Limits &limits,
                 const mlir::SymbolTable &symbols, SharedSymbols &shared,
                 mlir::FlatSymbolRefAttr activations,
                 mlir::FlatSymbolRefAttr io, const Target &target)
      : function(function), limits(limits), symbols(symbols), shared(shared),
        activations(activations), io(io), target(target),
        builder(function.getContext()) {}
  /// `yieldsLogits`: the function belongs to the last stage.
  llvm::LogicalResult convert(mlir::OpBuilder &programBuilder,
                              bool yieldsLogits);

private:
  /// (tokens, positions, rows, context), the first three vectors of i32.
  static bool isStep(mlir::TypeRange types);
  static int64_t extentOf(mlir::Value value) {
    return mlir::cast<mlir::RankedTensorType>(value.getType()).getDimSize(0);
  }
  mlir::Value buffer(mlir::Location loc, mlir::FlatSymbolRefAttr arena,
                     llvm::ArrayRef<int64_t> shape, mlir::Type element);
  /// Buffers for all that the host writes, of an entry of these sizes.
  void bindInputs(const ops::Sizes &sizes);
  mlir::Value global(mlir::Location loc, llvm::StringRef symbol,
                     mlir::Type type);
  /// The shard that a symbol names, as an operand.
  mlir::Value weight(mlir::Operation *op, llvm::StringRef symbol);
  dist::WeightShardOp shardOf(llvm::StringRef symbol) {
    return symbols.lookup<dist::WeightShardOp>(symbol);
  }
  /// A weight of any storage: its values, then its companions.
  llvm::SmallVector<mlir::Value> stored(mlir::Operation *op,
                                        llvm::StringRef symbol);
  /// A buffer of the state that a symbol names.
  mlir::Value state(mlir::Operation *op, llvm::StringRef symbol,
                    llvm::StringRef part);
  /// An operand as an op described it.
  llvm::SmallVector<mlir::Value> place(mlir::Operation *op,
                                       const model::LaunchOperand &operand);
  /// The constants of a launch as an op described it, those of the rank and
  /// the storage of its weights among them.
  mlir::DictionaryAttr constantsOf(mlir::Operation *op,
                                   const model::LaunchBuilder &described);
  mlir::NamedAttribute constant(llvm::StringRef name, int64_t value) {
    return builder.getNamedAttr(name, builder.getI64IntegerAttr(value));
  }
  mlir::NamedAttribute constant(llvm::StringRef name, mlir::FloatAttr value) {
    return builder.getNamedAttr(name, value);
  }
  /// The rank value that dist-partition left on the op; 0 without one.
  mlir::NamedAttribute rankConstant(llvm::StringRef name, mlir::Operation *op);
  ExtentAttr extentAttr(Extent extent) {
    return ExtentAttr::get(builder.getContext(), extent);
  }
  Extent boundOf(mlir::Value value) {
    auto known = extents.find(value);
    return known == extents.end() ? Extent::Tokens : known->second;
  }
  /// Which run-time count bounds an op's results.
  Extent extent(mlir::Operation *op);
  static Extent gathered(Extent extent);
  static Extent scattered(Extent extent, dist::RowLayout layout);
  /// A new buffer for a result of an op.
  mlir::Value resultBuffer(mlir::Value result);
  /// A step's output that is a part of an op's result, in a buffer of its own.
  mlir::Value copied(mlir::Value output);
  /// Those of all results of an op, with their extents.
  llvm::SmallVector<mlir::Value> results(mlir::Operation *op);
  llvm::LogicalResult launch(mlir::Operation *op, llvm::StringRef reference,
                             llvm::ArrayRef<mlir::NamedAttribute> constants,
                             llvm::ArrayRef<mlir::Value> inputs,
                             llvm::ArrayRef<mlir::Value> outputs);
  llvm::LogicalResult convertAny(mlir::Operation *op);
  /// One launch, or views, as the op describes it.
  llvm::LogicalResult convertOp(model::LaunchOpInterface op);
  void view(mlir::Operation *op, mlir::Value source);
  /// The inputs have been written into the result.
  llvm::LogicalResult join(mlir::Operation *op);
  llvm::LogicalResult convertOp(dist::CollectiveOpInterface op);
  llvm::LogicalResult convertOp(dist::SendOp op) {
    return transfer(op, TransferKind::Send, buffers.lookup(op.getInput()),
                    boundOf(op.getInput()));
  }
  /// A received block of a rank's tokens has fewer rows than the entry.
  llvm::LogicalResult convertOp(dist::ReceiveOp op);
  llvm::LogicalResult transfer(mlir::Operation *op, TransferKind kind,
                               mlir::Value buffer, Extent bound);
  /// Every weight that the op names is a shard.
  llvm::LogicalResult checkWeights(mlir::Operation *op);
  // GroupLaunches.cpp
  /// Inline: the body in order, marked with the group's signature. Else the one
  /// launch of the target's fusion that the implementation names.
  llvm::LogicalResult convertOp(kernel::GroupOp group);
  llvm::LogicalResult convertBody(kernel::GroupOp group);
  /// One launch whose kernel has the group's ops as its body.
  llvm::LogicalResult launchBody(kernel::GroupOp group);
  /// Where in the model an op comes from: the importer's name, or the op's own.
  static std::string placeOf(mlir::Operation *op);

  mlir::func::FuncOp function;
  const model::Limits &limits;
  const mlir::SymbolTable &symbols;
  SharedSymbols &shared;
  mlir::FlatSymbolRefAttr activations, io;
  const Target &target;
  mlir::OpBuilder builder;
  llvm::DenseMap<mlir::Value, mlir::Value> buffers;
  llvm::DenseMap<mlir::Value, Extent> extents;
  /// Values that are byte ranges of others: which, and where they begin.
  llvm::DenseMap<mlir::Value, std::pair<mlir::Value, int64_t>> joins;
  llvm::StringMap<mlir::Value> stepInputs; // by name, tokens and rows too
  llvm::DenseSet<mlir::Value> outputs, outputBuffers; // of the function
  mlir::FlatSymbolRefAttr fusion; // of the group being opened
};

} // namespace saddle::engine

#endif // SADDLE_PASSES_ENGINE_ENTRYCONVERTER_H
