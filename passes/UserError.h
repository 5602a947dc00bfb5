// Errors whose cause is what the user asked for: a topology that the model does
// not allow. They are no defect of a pass, so nobody needs a reproducer.

#ifndef SADDLE_PASSES_USERERROR_H
#define SADDLE_PASSES_USERERROR_H

#include "mlir/IR/Diagnostics.h"

#include <optional>

namespace saddle {

namespace detail {
inline constexpr llvm::StringLiteral kUserError = "user error";
} // namespace detail

/// Marks an error, or a warning, as the user's. `identifier` is that of
/// docs/Diagnostics.md, "D3fa201", which is printed behind the message; the
/// lint `diagnostics` says when the words have another.
inline mlir::InFlightDiagnostic asUserError(llvm::StringLiteral identifier,
                                            mlir::InFlightDiagnostic error) {
  auto &metadata = error.getUnderlyingDiagnostic()->getMetadata();
  metadata.emplace_back(llvm::StringRef(detail::kUserError));
  metadata.emplace_back(llvm::StringRef(identifier));
  return error;
}

/// The identifier of an error that asUserError() has marked, or none.
inline std::optional<llvm::StringRef>
identifierOfUserError(mlir::Diagnostic &diagnostic) {
  using Kind = mlir::DiagnosticArgument::DiagnosticArgumentKind;
  auto &metadata = diagnostic.getMetadata();
  if (metadata.size() != 2 || metadata[0].getKind() != Kind::String ||
      metadata[0].getAsString() != detail::kUserError)
    return std::nullopt;
  return metadata[1].getAsString();
}

} // namespace saddle

#endif // SADDLE_PASSES_USERERROR_H
