// Compares two engines field by field.

#ifndef SADDLE_TOOLS_SADDLEINSPECT_DIFF_H
#define SADDLE_TOOLS_SADDLEINSPECT_DIFF_H

#include "tools/saddle-inspect/EngineJson.h"

#include <string>

namespace saddle::inspect {

/// One line per difference, "PATH: A -> B"; "" when there is none. Tables with
/// a name are paired by it, all others by their position.
std::string diffText(const Json &a, const Json &b);

} // namespace saddle::inspect

#endif // SADDLE_TOOLS_SADDLEINSPECT_DIFF_H
