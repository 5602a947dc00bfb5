// `engine` IR to the bytes of an engine file.

#ifndef SADDLE_COMPILER_SERIALIZE_ENGINEWRITER_H
#define SADDLE_COMPILER_SERIALIZE_ENGINEWRITER_H

#include "mlir/IR/BuiltinOps.h"
#include "llvm/ADT/StringRef.h"

#include <cstdint>
#include <vector>

namespace saddle {

/// Transcribes a module that engine-verify-memory has passed: one op is one
/// table. Equal modules give equal bytes. Errors are reported at the op.
llvm::FailureOr<std::vector<uint8_t>> serializeEngine(mlir::ModuleOp module,
                                                      llvm::StringRef target);

} // namespace saddle

#endif // SADDLE_COMPILER_SERIALIZE_ENGINEWRITER_H
