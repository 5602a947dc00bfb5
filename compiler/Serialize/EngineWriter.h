// `engine` IR to the bytes of an engine file.

#ifndef SADDLE_COMPILER_SERIALIZE_ENGINEWRITER_H
#define SADDLE_COMPILER_SERIALIZE_ENGINEWRITER_H

#include "compiler/Cuda/CompileModules.h"

#include "mlir/IR/BuiltinOps.h"
#include "llvm/ADT/StringMap.h"
#include "llvm/ADT/StringRef.h"

#include <cstdint>
#include <vector>

namespace saddle {

/// Device binaries by the symbol of their `engine.module`.
using ModuleBinaries = llvm::StringMap<cuda::DeviceBinary>;

/// Transcribes a module that engine-verify-memory has passed: one op is one
/// table, one binary one segment. Equal modules and binaries give equal bytes.
/// Errors are reported at the op.
llvm::FailureOr<std::vector<uint8_t>>
serializeEngine(mlir::ModuleOp module, llvm::StringRef target,
                const ModuleBinaries &binaries);

} // namespace saddle

#endif // SADDLE_COMPILER_SERIALIZE_ENGINEWRITER_H
