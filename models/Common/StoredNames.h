// Other names of weights: checkpoints spell the same tensors in several ways,
// and some keep several of them in one.

#ifndef SADDLE_MODELS_COMMON_STOREDNAMES_H
#define SADDLE_MODELS_COMMON_STOREDNAMES_H

#include "models/Common/ModelWeights.h"

namespace saddle {

/// Finds what `checkpoint` has under other names than `weights` and their
/// companions, or as parts of larger tensors, notes it in `weights.parts`, and
/// renames and cuts the checkpoint's tensors accordingly. A weight that is
/// there under its own name stays as it is. Names that nothing here knows stay,
/// too, and are for accountForTensors to judge. Errors: applyParts', two
/// beginnings of names in one folder, a fused tensor whose parts do not begin
/// at whole blocks or words.
Status resolveNames(Checkpoint &checkpoint, ModelWeights &weights);

} // namespace saddle

#endif // SADDLE_MODELS_COMMON_STOREDNAMES_H
