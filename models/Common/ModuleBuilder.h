// What the `model` modules of all families have in common: attributes, symbols,
// the frame of `@step`, and short forms of the ops that every layer uses.

#ifndef SADDLE_MODELS_COMMON_MODULEBUILDER_H
#define SADDLE_MODELS_COMMON_MODULEBUILDER_H

#include "models/Common/ModelWeights.h"
#include "models/Common/Rope.h"
#include "models/Importer.h"

#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/IR/Builders.h"

namespace saddle {

/// A family's builder derives from it, or holds one. Call in this order:
/// weights and caches, beginStep, the layers, finishStep, take.
class ModuleBuilder {
public:
  /// An empty module named `name`, with `model.config` from `facts`,
  /// `model.limits` and `model.ignored_sources`. The arguments must outlive the
  /// builder.
  ModuleBuilder(mlir::MLIRContext &context, const std::string &name,
                const ModelFacts &facts, const ModelWeights &weights,
                const BuildOptions &options);

  mlir::OwningOpRef<mlir::ModuleOp> take() { return std::move(module); }

  //===--- Symbols -------------------------------------------------------===//

  /// All weights, and behind those of each layer what `createState` makes.
  void createWeights(llvm::function_ref<void(int64_t layer)> createState);
  /// Keys and values of one attention layer, in the dtype of the options.
  /// `dim` is the dimension by which heads are split.
  void createKVCache(const std::string &symbol, int64_t heads, int64_t headDim,
                     const std::string &dim = "kv_heads");
  /// Matrices [rows, columns] of one recurrent layer, split as query heads are.
  void createRecurrentState(const std::string &symbol, int64_t heads,
                            int64_t rows, int64_t columns);

  /// Rows of `width` activations, one for each token.
  void createTokenRows(const std::string &symbol, int64_t width);

  //===--- @step ---------------------------------------------------------===//

  /// Opens `@step(tokens, positions, rows, context) -> logits[, values,
  /// tokens]` and embeds the tokens with `table`.
  mlir::Value beginStep(const std::string &table);
  /// Opens `@name` with the arguments of @step.
  mlir::func::FuncOp beginFunction(const std::string &name,
                                   llvm::ArrayRef<mlir::Type> results);
  mlir::Value embed(const std::string &table, int64_t columns);
  /// Logits of the selected rows, and their best candidates when asked for.
  void finishStep(mlir::Value x, const std::string &norm, double eps,
                  const std::string &head);

  //===--- Ops -----------------------------------------------------------===//
  // Each op's location is the symbol it reads or the place given.

  /// Of the symbols of a layer: "layers.3.".
  static std::string prefix(int64_t layer);
  mlir::Location loc(const llvm::Twine &place);
  mlir::FlatSymbolRefAttr ref(const llvm::Twine &symbol);
  /// [?, columns] of `element`, by default the compute dtype.
  mlir::Type activation(int64_t columns, mlir::Type element = {});
  mlir::Value norm(const std::string &symbol, mlir::Value x, double eps);
  mlir::Value linear(const std::string &symbol, mlir::Value x, int64_t columns,
                     mlir::Type element = {});
  mlir::Value add(const std::string &place, mlir::Value a, mlir::Value b);
  mlir::Value rope(const std::string &place, mlir::Value x, int64_t headDim,
                   const RopeParameters &parameters);
  /// Appends k and v to cache `cache` and attends to it, with the scales that
  /// the weights have for it (kKeyScale).
  mlir::Value cachedAttention(const std::string &place,
                              const std::string &cache, mlir::Value q,
                              mlir::Value k, mlir::Value v, int64_t headDim);
  /// Stacks `p`w1 and `p`w3 (gate and up), `p`w2 (down).
  mlir::Value experts(const std::string &p, mlir::Value x, mlir::Value weights,
                      mlir::Value chosen);
  /// Marks where layer `index` begins, for pipeline stages.
  mlir::Value layerBoundary(const std::string &place, mlir::Value x,
                            int64_t index);

  mlir::OpBuilder builder;
  /// Arguments of `@step`, valid from beginStep on.
  mlir::Value tokens, positions, rows, context;

private:
  void setAttributes();
  void setIgnored();
  void createWeight(const ModelWeight &weight);

  const std::string &name;
  const ModelFacts &facts;
  const ModelWeights &weights;
  const BuildOptions &options;
  mlir::Type compute;
  mlir::OwningOpRef<mlir::ModuleOp> module;
};

} // namespace saddle

#endif // SADDLE_MODELS_COMMON_MODULEBUILDER_H
