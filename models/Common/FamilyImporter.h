// The importer of a family, from its model and the builder of its IR.

#ifndef SADDLE_MODELS_COMMON_FAMILYIMPORTER_H
#define SADDLE_MODELS_COMMON_FAMILYIMPORTER_H

#include "models/Common/FamilyModel.h"
#include "models/Importer.h"

namespace saddle {

/// Config has, besides what FamilyModel asks for, `hidden` and `maxPositions`.
/// Builder is made from context, name, facts, model and options, and has
/// `build()`.
template <typename Config, typename Builder>
class FamilyImporter : public Importer {
public:
  FamilyImporter(const std::string &architecture, FamilyModel<Config> read)
      : model(std::move(read)) {
    const Config &config = model.config;
    modelFacts.architecture = architecture;
    modelFacts.hidden = config.hidden;
    modelFacts.layers = config.layers;
    modelFacts.vocab = config.vocab;
    modelFacts.maxPositions = config.maxPositions;
    modelFacts.tokens = config.tokens;
    modelFacts.fingerprint = model.weights.fingerprint();
  }

  const ModelFacts &facts() const override { return modelFacts; }
  const std::vector<std::string> &warnings() const override {
    return model.warnings;
  }
  std::vector<std::string> explanation() const override {
    return describeStorage(model.weights);
  }
  mlir::OwningOpRef<mlir::ModuleOp>
  build(mlir::MLIRContext &context, const std::string &name,
        const BuildOptions &options) const override {
    return Builder(context, name, modelFacts, model, options).build();
  }

private:
  FamilyModel<Config> model;
  ModelFacts modelFacts;
};

} // namespace saddle

#endif // SADDLE_MODELS_COMMON_FAMILYIMPORTER_H
