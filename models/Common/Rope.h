// Rotary position embedding: which fields of config.json set it, in their old
// and new places (docs/decisions/0002-config-import.md, "Rotary dims").

#ifndef SADDLE_MODELS_COMMON_ROPE_H
#define SADDLE_MODELS_COMMON_ROPE_H

#include "models/Common/ConfigReader.h"

namespace saddle {

struct RopeParameters {
  /// Leading dims of a head that rotate, pairs (j, j + dims / 2); even, from 2
  /// to head_dim.
  int64_t dims = 0;
  double theta = 0; // above 0
};

/// What a family does when its config names no rotary dims.
enum class RotaryDefault {
  AllDims,           // its heads always rotate whole
  AllDimsWithWarning // its heads rotate in part, so the field is missed
};

/// Reads `rotary_dim`, `partial_rotary_factor` and `rope_theta`, at the top or
/// in `rope_parameters`. Errors stick in the reader: no theta, places that
/// contradict each other, dims that are odd or more than `headDim`, any
/// scaling.
RopeParameters readRope(ConfigReader &reader, int64_t headDim,
                        RotaryDefault missing,
                        std::vector<std::string> &warnings);

} // namespace saddle

#endif // SADDLE_MODELS_COMMON_ROPE_H
