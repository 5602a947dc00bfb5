// Making groups of ops.

#ifndef SADDLE_PASSES_KERNEL_GROUPS_H
#define SADDLE_PASSES_KERNEL_GROUPS_H

#include "dialects/Kernel/IR/KernelDialect.h"

namespace saddle::kernel {

/// Moves the ops, given in block order, into a group at the place of the last
/// one. Nothing in between may use what they produce.
GroupOp formGroup(llvm::StringRef signature,
                  llvm::ArrayRef<mlir::Operation *> ops);

} // namespace saddle::kernel

#endif // SADDLE_PASSES_KERNEL_GROUPS_H
