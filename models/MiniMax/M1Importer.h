// MiniMax-Text-01 and MiniMax-M1: layers of linear attention, and among them
// some of full attention.

#ifndef SADDLE_MODELS_MINIMAX_M1IMPORTER_H
#define SADDLE_MODELS_MINIMAX_M1IMPORTER_H

#include "models/Importer.h"
#include "models/ModelSource.h"

#include <memory>

namespace saddle {

/// Errors as in readM1.
StatusOr<std::unique_ptr<Importer>> importM1(const ModelSource &source,
                                             const ImportOptions &options);

} // namespace saddle

#endif // SADDLE_MODELS_MINIMAX_M1IMPORTER_H
