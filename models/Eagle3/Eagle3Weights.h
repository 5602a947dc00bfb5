// The checkpoint tensors of an EAGLE3 draft.

#ifndef SADDLE_MODELS_EAGLE3_EAGLE3WEIGHTS_H
#define SADDLE_MODELS_EAGLE3_EAGLE3WEIGHTS_H

#include "models/Eagle3/Eagle3Config.h"
#include "models/ModelSource.h"

namespace saddle {

/// Symbols begin with "draft.": draft.embed and draft.lm_head only if the
/// folder has these tables, draft.d2t only with a reduced vocabulary. Without a
/// folder the draft has them all. Errors: Checkpoint::open's and
/// accountForTensors'.
StatusOr<ModelWeights> readEagle3Weights(const Eagle3Config &config,
                                         const ModelSource &source);

} // namespace saddle

#endif // SADDLE_MODELS_EAGLE3_EAGLE3WEIGHTS_H
