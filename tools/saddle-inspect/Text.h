// The report for people; tests check it with FileCheck, so its lines are
// stable.

#ifndef SADDLE_TOOLS_SADDLEINSPECT_TEXT_H
#define SADDLE_TOOLS_SADDLEINSPECT_TEXT_H

#include "runtime/schema/engine_generated.h"

#include <string>

namespace saddle::inspect {

/// Which details follow the summary.
struct Sections {
  bool kernels = false;
  bool memory = false;
  bool weights = false;
  bool commands = false;
};

std::string reportText(const schema::Engine &engine, const std::string &path,
                       const Sections &sections);

} // namespace saddle::inspect

#endif // SADDLE_TOOLS_SADDLEINSPECT_TEXT_H
