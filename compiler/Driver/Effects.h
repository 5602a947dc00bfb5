// Options that would change nothing.

#ifndef SADDLE_COMPILER_DRIVER_EFFECTS_H
#define SADDLE_COMPILER_DRIVER_EFFECTS_H

#include "compiler/Driver/Compile.h"

namespace saddle {

/// InvalidArgument for the first of `options.given` that this compilation never
/// reads: whoever gave it believes something that is not so.
Status checkEffects(const CompileOptions &options);

} // namespace saddle

#endif // SADDLE_COMPILER_DRIVER_EFFECTS_H
