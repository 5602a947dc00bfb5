#include "models/Registry.h"

#include "models/Architecture.h"
#include "models/ModelPath.h"

namespace saddle {

StatusOr<ImportedModel> importModel(const std::string &path,
                                    const ImportOptions &options) {
  SADDLE_ASSIGN_OR_RETURN(ModelPath place, ModelPath::find(path));
  SADDLE_ASSIGN_OR_RETURN(ConfigReader config,
                          ConfigReader::open(place.config));
  SADDLE_ASSIGN_OR_RETURN(Architecture architecture,
                          identifyArchitecture(config));
  switch (architecture) {
  case Architecture::MiniMaxM2: {
    SADDLE_ASSIGN_OR_RETURN(M2Model model, importM2(path, options));
    return ImportedModel(std::move(model));
  }
  }
  return Status(StatusCode::Internal, "an architecture without importer");
}

} // namespace saddle
