// Errors whose cause is what the user asked for: a topology that the model does
// not allow. They are no defect of a pass, so nobody needs a reproducer.

#ifndef SADDLE_PASSES_USERERROR_H
#define SADDLE_PASSES_USERERROR_H

#include "mlir/IR/Diagnostics.h"
#include "llvm/ADT/STLExtras.h"

namespace saddle {

namespace detail {
inline constexpr llvm::StringLiteral kUserError = "user error";
} // namespace detail

/// Marks an error as the user's.
inline mlir::InFlightDiagnostic asUserError(mlir::InFlightDiagnostic error) {
  error.getUnderlyingDiagnostic()->getMetadata().emplace_back(
      llvm::StringRef(detail::kUserError));
  return error;
}

inline bool isUserError(mlir::Diagnostic &diagnostic) {
  return llvm::any_of(
      diagnostic.getMetadata(), [](const mlir::DiagnosticArgument &argument) {
        return argument.getKind() ==
                   mlir::DiagnosticArgument::DiagnosticArgumentKind::String &&
               argument.getAsString() == detail::kUserError;
      });
}

} // namespace saddle

#endif // SADDLE_PASSES_USERERROR_H
