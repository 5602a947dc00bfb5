// A MiniMax-Text-01 or M1 model before any IR.

#ifndef SADDLE_MODELS_MINIMAX_M1MODEL_H
#define SADDLE_MODELS_MINIMAX_M1MODEL_H

#include "models/Common/FamilyModel.h"
#include "models/MiniMax/M1Weights.h"

namespace saddle {

using M1Model = FamilyModel<M1Config>;

/// Errors as in readFamilyModel.
StatusOr<M1Model> readM1(const ModelSource &source,
                         const ImportOptions &options = {});

} // namespace saddle

#endif // SADDLE_MODELS_MINIMAX_M1MODEL_H
