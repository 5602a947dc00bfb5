// Entry point of the import: a folder or config.json of any architecture that
// this version knows.

#ifndef SADDLE_MODELS_REGISTRY_H
#define SADDLE_MODELS_REGISTRY_H

#include "models/MiniMax/M2Model.h"

#include <variant>

namespace saddle {

/// One alternative per model family; the IR builders visit it.
using ImportedModel = std::variant<M2Model>;

/// Identifies the architecture of `path` and runs its importer. Errors as in
/// identifyArchitecture and the importer's.
StatusOr<ImportedModel> importModel(const std::string &path,
                                    const ImportOptions &options = {});

} // namespace saddle

#endif // SADDLE_MODELS_REGISTRY_H
