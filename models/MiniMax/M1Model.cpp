#include "models/MiniMax/M1Model.h"

namespace saddle {

StatusOr<M1Model> readM1(const ModelSource &source,
                         const ImportOptions &options) {
  return readFamilyModel(source, options, readM1Config, listM1Weights,
                         m1AccountingRules);
}

} // namespace saddle
