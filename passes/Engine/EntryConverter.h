// One bucket's function to one engine entry: values become buffers, ops
// launches and collectives, in the order of the ops.

#ifndef SADDLE_PASSES_ENGINE_ENTRYCONVERTER_H
#define SADDLE_PASSES_ENGINE_ENTRYCONVERTER_H

#include "dialects/Model/IR/ModelDialect.h"
#include "passes/Engine/SharedSymbols.h"

#include "mlir/Dialect/Func/IR/FuncOps.h"

namespace saddle::engine {

/// Works on one function; `function`'s ops stay, the entry is built beside
/// them.
class EntryConverter {
public:
  EntryConverter(mlir::func::FuncOp function, const model::Limits &limits,
                 const mlir::SymbolTable &symbols, SharedSymbols &shared,
                 mlir::FlatSymbolRefAttr activations,
                 mlir::FlatSymbolRefAttr io)
      : function(function), limits(limits), symbols(symbols), shared(shared),
        activations(activations), io(io), builder(function.getContext()) {}
  /// `yieldsLogits`: the function belongs to the last stage.
  llvm::LogicalResult convert(mlir::OpBuilder &programBuilder,
                              bool yieldsLogits);

private:
  /// (tokens, positions, rows, context), the first three vectors of i32.
  static bool isStep(mlir::TypeRange types);
  /// Logits, or logits, values and tokens of candidates.
  static bool isOutput(mlir::TypeRange types);
  static int64_t extentOf(mlir::Value value) {
    return mlir::cast<mlir::RankedTensorType>(value.getType()).getDimSize(0);
  }
  mlir::Value buffer(mlir::Location loc, mlir::FlatSymbolRefAttr arena,
                     llvm::ArrayRef<int64_t> shape, mlir::Type element);
  mlir::Value bind(llvm::StringRef name, llvm::ArrayRef<int64_t> shape);
  mlir::Value global(mlir::Location loc, llvm::StringRef symbol,
                     mlir::Type type);
  /// The shard that a symbol names, as an operand.
  mlir::Value weight(mlir::Operation *op, llvm::StringRef symbol);
  dist::WeightShardOp shardOf(llvm::StringRef symbol) {
    return symbols.lookup<dist::WeightShardOp>(symbol);
  }
  mlir::Value scales(mlir::Operation *op, llvm::StringRef symbol);
  /// The buffers of the state that a symbol names, in its order.
  llvm::SmallVector<mlir::Value> state(mlir::Operation *op,
                                       llvm::StringRef symbol);
  mlir::NamedAttribute constant(llvm::StringRef name, int64_t value) {
    return builder.getNamedAttr(name, builder.getI64IntegerAttr(value));
  }
  mlir::NamedAttribute constant(llvm::StringRef name, mlir::FloatAttr value) {
    return builder.getNamedAttr(name, value);
  }
  /// The rank value that dist-partition left on the op; 0 without one.
  mlir::NamedAttribute constant(llvm::StringRef name, mlir::Operation *op,
                                llvm::StringRef attrName);
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
  /// Buffers for an op's results.
  llvm::SmallVector<mlir::Value> results(mlir::Operation *op);
  /// `groups`: of a kernel that exchanges data in the middle.
  llvm::LogicalResult launch(mlir::Operation *op, llvm::StringRef reference,
                             llvm::ArrayRef<mlir::NamedAttribute> constants,
                             llvm::ArrayRef<mlir::Value> inputs,
                             llvm::ArrayRef<mlir::Value> outputs,
                             mlir::FlatSymbolRefAttr groups = {});
  /// Inputs that are values, then the op's result buffers as outputs.
  llvm::LogicalResult simple(mlir::Operation *op, llvm::StringRef reference,
                             llvm::ArrayRef<mlir::NamedAttribute> constants,
                             llvm::ArrayRef<mlir::Value> weights = {});
  llvm::LogicalResult collective(mlir::Operation *op, CollectiveKind kind,
                                 dist::AxesAttr axes, int64_t dim = 0,
                                 dist::RowLayoutAttr rows = {});
  llvm::LogicalResult convertAny(mlir::Operation *op);
  /// Every weight that the op names is a shard.
  llvm::LogicalResult checkWeights(mlir::Operation *op);
  static llvm::SmallVector<llvm::StringRef> weightSymbols(mlir::Operation *op);
  // GroupLaunches.cpp
  /// Inline: the body in order, marked with the group's signature. Else one
  /// launch of the kernel that the implementation names.
  llvm::LogicalResult convertOp(kernel::GroupOp group);
  llvm::LogicalResult convertBody(kernel::GroupOp group);
  llvm::LogicalResult launchAddRMSNorm(kernel::GroupOp group);
  llvm::LogicalResult launchQKNorm(kernel::GroupOp group);

  llvm::LogicalResult convertOp(model::EmbeddingOp op);
  llvm::LogicalResult convertOp(model::RMSNormOp op) {
    return simple(op, "rms_norm", {constant("eps", op.getEpsAttr())},
                  {weight(op, op.getWeight())});
  }
  llvm::LogicalResult convertOp(model::AddOp op) {
    return simple(op, "add", {});
  }
  llvm::LogicalResult convertOp(model::LinearOp op);
  llvm::LogicalResult convertOp(model::SplitOp op);
  llvm::LogicalResult convertOp(model::SelectRowsOp op) {
    return simple(op, "select_rows", {});
  }
  llvm::LogicalResult convertOp(model::SumOfSquaresOp op) {
    return simple(op, "sum_of_squares", {});
  }
  llvm::LogicalResult convertOp(model::RMSScaleOp op);
  llvm::LogicalResult convertOp(model::RopeOp op);
  llvm::LogicalResult convertOp(model::KVAppendOp op);
  llvm::LogicalResult convertOp(model::AttentionOp op);
  llvm::LogicalResult convertOp(model::DecayScanOp op);
  llvm::LogicalResult convertOp(model::RouterOp op);
  llvm::LogicalResult convertOp(model::ExpertsOp op);
  llvm::LogicalResult convertOp(model::TopCandidatesOp op) {
    return simple(
        op, "top_candidates",
        {constant("vocab_start", op, dist::DistDialect::kVocabStartAttrName)});
  }
  llvm::LogicalResult convertOp(model::MergeCandidatesOp op) {
    return simple(op, "merge_candidates", {});
  }
  llvm::LogicalResult convertOp(dist::AllReduceOp op) {
    return collective(op, CollectiveKind::AllReduceSum, op.getAxesAttr());
  }
  llvm::LogicalResult convertOp(dist::AllGatherOp op) {
    return collective(op, CollectiveKind::AllGather, op.getAxesAttr(),
                      op.getDim(), op.getRowsAttr());
  }
  llvm::LogicalResult convertOp(dist::ReduceScatterOp op) {
    return collective(op, CollectiveKind::ReduceScatterSum, op.getAxesAttr(),
                      op.getDim(), op.getRowsAttr());
  }
  llvm::LogicalResult transfer(mlir::Operation *op, TransferKind kind,
                               mlir::Value buffer, Extent bound);
  llvm::LogicalResult convertOp(dist::SendOp op) {
    return transfer(op, TransferKind::Send, buffers.lookup(op.getInput()),
                    boundOf(op.getInput()));
  }
  /// A received block of a rank's tokens has fewer rows than the entry.
  llvm::LogicalResult convertOp(dist::ReceiveOp op);
  mlir::func::FuncOp function;
  const model::Limits &limits;
  const mlir::SymbolTable &symbols;
  SharedSymbols &shared;
  mlir::FlatSymbolRefAttr activations, io;
  mlir::OpBuilder builder;
  llvm::DenseMap<mlir::Value, mlir::Value> buffers;
  llvm::DenseMap<mlir::Value, Extent> extents;
  mlir::Value sequences, slots, blockTable;
  llvm::DenseSet<mlir::Value> outputs, outputBuffers; // of the function
  mlir::FlatSymbolRefAttr fusion; // of the group being opened
};

} // namespace saddle::engine

#endif // SADDLE_PASSES_ENGINE_ENTRYCONVERTER_H
