// A model that has been read and checked, whatever its family: what others ask
// about it, what the user should hear about its files, and its `model` IR.

#ifndef SADDLE_MODELS_IMPORTER_H
#define SADDLE_MODELS_IMPORTER_H

#include "models/BuildOptions.h"
#include "models/Common/Fields.h"

#include "mlir/IR/BuiltinOps.h"
#include "mlir/IR/OwningOpRef.h"

namespace saddle {

/// What the driver, the engine file and the reports made from it say about a
/// model. It becomes `model.config` of the module.
struct ModelFacts {
  /// As `architectures[0]` spells it.
  std::string architecture;
  int64_t hidden = 0;
  /// Compiled ones.
  int64_t layers = 0;
  int64_t vocab = 0;
  /// Longest sequence that the model allows, max_position_embeddings.
  int64_t maxPositions = 0;
  TokenIds tokens;
  /// Of the used tensors, ModelWeights::fingerprint.
  std::string fingerprint;
};

/// One implementation per family; families[] in Registry.cpp makes them.
class Importer {
public:
  virtual ~Importer() = default;

  virtual const ModelFacts &facts() const = 0;

  /// Lines without severity, each with the file that it is about.
  virtual const std::vector<std::string> &warnings() const = 0;

  /// How the checkpoint stores each kind of module, a line each, for
  /// --explain.
  virtual std::vector<std::string> explanation() const = 0;

  /// Builds `@step` over token count `?` with weights, caches, `model.config`
  /// and `model.limits`. Every op's location names its place
  /// ("layers.3.self_attn"). `name` stands in reports. The context must have
  /// the model and func dialects loaded.
  virtual mlir::OwningOpRef<mlir::ModuleOp>
  build(mlir::MLIRContext &context, const std::string &name,
        const BuildOptions &options) const = 0;
};

} // namespace saddle

#endif // SADDLE_MODELS_IMPORTER_H
