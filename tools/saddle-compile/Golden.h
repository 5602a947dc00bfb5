// --golden: what the CPU target computes of a model, for --self-test.

#ifndef SADDLE_TOOLS_SADDLE_COMPILE_GOLDEN_H
#define SADDLE_TOOLS_SADDLE_COMPILE_GOLDEN_H

#include "compiler/Driver/Compile.h"

namespace saddle::tools {

/// Why those options can have no golden logits: they name no folder with
/// weights, or make no engine.
Status checkGolden(const CompileOptions &options);

/// Compiles the model of `options` once more, for one rank of the CPU target
/// in fp32, runs it on the fixed prompt (SelfTest.h), and writes tokens and
/// logits to `path`. The cache stays fp8 if it is, since that is part of what
/// the model means. Prints what the compilation has to say; other errors are
/// returned. Takes the memory of the whole model in fp32 arithmetic, and the
/// time of a CPU.
Status writeGolden(const CompileOptions &options, const std::string &path);

} // namespace saddle::tools

#endif // SADDLE_TOOLS_SADDLE_COMPILE_GOLDEN_H
