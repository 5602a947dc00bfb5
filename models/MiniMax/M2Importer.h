// The MiniMax-M2 family: M2, M2.1, M2.5, M2.7.

#ifndef SADDLE_MODELS_MINIMAX_M2IMPORTER_H
#define SADDLE_MODELS_MINIMAX_M2IMPORTER_H

#include "models/Importer.h"
#include "models/ModelSource.h"

#include <memory>

namespace saddle {

/// Errors as in readM2.
StatusOr<std::unique_ptr<Importer>> importM2(const ModelSource &source,
                                             const ImportOptions &options);

} // namespace saddle

#endif // SADDLE_MODELS_MINIMAX_M2IMPORTER_H
