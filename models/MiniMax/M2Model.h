// A MiniMax-M2 model before any IR.

#ifndef SADDLE_MODELS_MINIMAX_M2MODEL_H
#define SADDLE_MODELS_MINIMAX_M2MODEL_H

#include "models/Common/FamilyModel.h"
#include "models/MiniMax/M2Weights.h"

namespace saddle {

using M2Model = FamilyModel<M2Config>;

/// Errors as in readFamilyModel.
StatusOr<M2Model> readM2(const ModelSource &source,
                         const ImportOptions &options = {});

} // namespace saddle

#endif // SADDLE_MODELS_MINIMAX_M2MODEL_H
