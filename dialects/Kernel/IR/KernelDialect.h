// The `kernel` dialect: how work is grouped into launches. Reference:
// docs/Dialects/Kernel.md.

#ifndef SADDLE_DIALECTS_KERNEL_IR_KERNELDIALECT_H
#define SADDLE_DIALECTS_KERNEL_IR_KERNELDIALECT_H

#include "mlir/Bytecode/BytecodeOpInterface.h"
#include "mlir/IR/Dialect.h"
#include "mlir/IR/OpDefinition.h"
#include "mlir/IR/OpImplementation.h"
#include "mlir/Interfaces/ControlFlowInterfaces.h"
#include "mlir/Interfaces/SideEffectInterfaces.h"

#include "dialects/Kernel/IR/KernelDialect.h.inc"

#define GET_OP_CLASSES
#include "dialects/Kernel/IR/KernelOps.h.inc"

namespace saddle::kernel {
/// The implementation that runs a group's body op by op.
inline constexpr llvm::StringLiteral kInlineImplementation = "inline";
} // namespace saddle::kernel

#endif // SADDLE_DIALECTS_KERNEL_IR_KERNELDIALECT_H
