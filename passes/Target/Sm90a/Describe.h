// Commands of the `engine` level as the catalogue sees them.

#ifndef SADDLE_PASSES_TARGET_SM90A_DESCRIBE_H
#define SADDLE_PASSES_TARGET_SM90A_DESCRIBE_H

#include "passes/Target/Sm90a/KernelPlan.h"

namespace saddle::cuda {

/// Whether an op is a command: a launch, collective, transfer or copy.
bool isCommand(mlir::Operation *op);

/// Where in the model a command is.
llvm::StringRef placeOf(mlir::Operation *command);

/// What is static about a command. `symbols` finds kernels and rank groups.
/// Fails with an error at the command when no kernel could take it: an element
/// type without a device type, a vanishing dimension, too many operands.
llvm::FailureOr<LaunchDesc> describe(mlir::Operation *command,
                                     const mlir::SymbolTable &symbols);

} // namespace saddle::cuda

#endif // SADDLE_PASSES_TARGET_SM90A_DESCRIBE_H
