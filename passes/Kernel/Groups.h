// Making groups of ops, and ops of groups.

#ifndef SADDLE_PASSES_KERNEL_GROUPS_H
#define SADDLE_PASSES_KERNEL_GROUPS_H

#include "dialects/Kernel/IR/KernelDialect.h"

namespace saddle::kernel {

/// Moves the ops, given in block order, into a group at the place of the last
/// one. Nothing in between may use what they produce.
GroupOp formGroup(llvm::StringRef signature,
                  llvm::ArrayRef<mlir::Operation *> ops);

/// Moves the group's ops to its place and erases it; the ops in order.
llvm::SmallVector<mlir::Operation *> openGroup(GroupOp group);

} // namespace saddle::kernel

#endif // SADDLE_PASSES_KERNEL_GROUPS_H
