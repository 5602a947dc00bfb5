#include "models/MiniMax/M2Model.h"

#include "models/ModelPath.h"

namespace saddle {

StatusOr<M2Model> importM2(const std::string &path,
                           const ImportOptions &options) {
  SADDLE_ASSIGN_OR_RETURN(ModelPath place, ModelPath::find(path));
  M2Model model;

  SADDLE_ASSIGN_OR_RETURN(ConfigReader reader,
                          ConfigReader::open(place.config));
  SADDLE_ASSIGN_OR_RETURN(model.config,
                          readM2Config(std::move(reader), model.warnings));
  if (!place.generationConfig.empty()) {
    SADDLE_ASSIGN_OR_RETURN(ConfigReader generation,
                            ConfigReader::open(place.generationConfig));
    SADDLE_RETURN_IF_ERROR(readM2GenerationConfig(
        std::move(generation), model.config, model.warnings));
  }
  if (options.layers < 0 || options.layers > model.config.checkpointLayers)
    return Status(StatusCode::InvalidArgument,
                  place.config + ": cannot compile " +
                      std::to_string(options.layers) +
                      " layers, num_hidden_layers = " +
                      std::to_string(model.config.checkpointLayers));
  if (options.layers)
    model.config.layers = options.layers;

  if (place.folder.empty() || options.configOnly) {
    SADDLE_ASSIGN_OR_RETURN(model.weights,
                            expectedM2Weights(model.config, place.config));
    return model;
  }
  SADDLE_RETURN_IF_ERROR(place.requireWeights());
  SADDLE_ASSIGN_OR_RETURN(Checkpoint checkpoint,
                          Checkpoint::open(place.folder));
  SADDLE_ASSIGN_OR_RETURN(
      model.weights, resolveM2Weights(model.config, place.config, checkpoint));
  return model;
}

} // namespace saddle
