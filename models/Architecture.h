// Which model a config.json describes: the names that Hugging Face configs use,
// those we import, and those we know of but do not import yet.

#ifndef SADDLE_MODELS_ARCHITECTURE_H
#define SADDLE_MODELS_ARCHITECTURE_H

#include "models/ConfigReader.h"

namespace saddle {

enum class Architecture { MiniMaxM2 };

/// As `architectures[0]` spells it.
const char *architectureName(Architecture architecture);

/// From `architectures[0]`, or from `model_type` when there is none. Errors:
/// neither is present, they contradict each other, the architecture is unknown
/// (the message lists the known ones) or planned.
StatusOr<Architecture> identifyArchitecture(ConfigReader &config);

} // namespace saddle

#endif // SADDLE_MODELS_ARCHITECTURE_H
