// EAGLE3 drafts, of whatever model.

#ifndef SADDLE_MODELS_EAGLE3_EAGLE3DRAFT_H
#define SADDLE_MODELS_EAGLE3_EAGLE3DRAFT_H

#include "models/Draft.h"
#include "models/ModelSource.h"

#include <memory>

namespace saddle {

/// Errors: readEagle3Config's, readEagle3Weights', another vocabulary or hidden
/// size than the target's, hidden states that the target does not have.
StatusOr<std::unique_ptr<Draft>> importEagle3(const ModelSource &source,
                                              const ModelFacts &target,
                                              const DraftOptions &options);

} // namespace saddle

#endif // SADDLE_MODELS_EAGLE3_EAGLE3DRAFT_H
