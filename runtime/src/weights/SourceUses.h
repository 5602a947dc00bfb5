// What a model does with the tensors of its checkpoints, as far as values that
// stand in for them must know.

#ifndef SADDLE_RUNTIME_WEIGHTS_SOURCEUSES_H
#define SADDLE_RUNTIME_WEIGHTS_SOURCEUSES_H

#include "runtime/schema/engine_generated.h"

#include <vector>

namespace saddle::weights {

enum class SourceUse {
  Other,  // multiplied as a matrix, or nothing that is known here
  Table,  // rows are looked up
  Factor, // a vector that multiplies a row
  Bias,   // a vector that is added to a row
  Scale,  // one number that multiplies or divides all
};

/// Of each source of a valid engine, by what its programs' launches say of
/// their operands.
std::vector<SourceUse> usesOfSources(const schema::Engine &engine);

} // namespace saddle::weights

#endif // SADDLE_RUNTIME_WEIGHTS_SOURCEUSES_H
