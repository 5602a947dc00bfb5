#include "models/MiniMax/M2Model.h"

namespace saddle {

StatusOr<M2Model> readM2(const ModelSource &source,
                         const ImportOptions &options) {
  return readFamilyModel(source, options, readM2Config, listM2Weights,
                         m2AccountingRules);
}

} // namespace saddle
