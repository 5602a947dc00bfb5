// Which family imports a model: the one list of families. Entry point of the
// import.

#ifndef SADDLE_MODELS_REGISTRY_H
#define SADDLE_MODELS_REGISTRY_H

#include "models/Draft.h"
#include "models/Importer.h"
#include "models/ModelSource.h"

#include <memory>

namespace saddle {

struct ModelFamily {
  /// As `architectures[0]` spells it.
  const char *architecture;
  const char *modelType;
  /// Types that only count next to the architecture's name, since another
  /// family uses them too; null behind the last one.
  const char *otherModelTypes[4];
  StatusOr<std::unique_ptr<Importer>> (*import)(const ModelSource &source,
                                                const ImportOptions &options);
};

/// From `architectures[0]`, or from `model_type` when there is none. Errors:
/// neither is present, they contradict each other, the architecture is unknown
/// (the message lists the known ones) or planned.
StatusOr<const ModelFamily *> identifyFamily(ConfigReader config);

/// Opens `path`, a model folder or a config.json, and runs its family's
/// importer. Errors: those of ModelSource::open, identifyFamily and the
/// importer.
StatusOr<std::unique_ptr<Importer>>
importModel(const std::string &path, const ImportOptions &options = {});

/// Opens `path`, the folder or config.json of a draft for the model of these
/// facts. Errors: those of ModelSource::open and the draft's importer, and an
/// architecture that is no draft's.
StatusOr<std::unique_ptr<Draft>> importDraft(const std::string &path,
                                             const ModelFacts &target,
                                             const DraftOptions &options = {});

} // namespace saddle

#endif // SADDLE_MODELS_REGISTRY_H
