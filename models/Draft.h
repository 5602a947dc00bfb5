// A draft model for speculative decoding: read and checked against the model
// that it drafts for, then built beside it as a program of its own.

#ifndef SADDLE_MODELS_DRAFT_H
#define SADDLE_MODELS_DRAFT_H

#include "models/DraftOptions.h"
#include "models/Importer.h"

namespace saddle {

/// One implementation per family; importDraft in Registry.h makes them.
class Draft {
public:
  virtual ~Draft() = default;

  /// Lines without severity, each with the file that it is about.
  virtual const std::vector<std::string> &warnings() const = 0;

  /// Which hidden states the draft sees, and who says so.
  virtual std::string describeTaps() const = 0;

  /// Adds the draft to the module of its model, which Importer::build made with
  /// these options: what it keeps of the model's hidden states in @step, and
  /// its own function @draft. It uses the model's embedding and head where it
  /// has none, or the same: `modelFolder` holds their bytes, empty when they
  /// are not at hand. Errors: tables that it would use have other widths.
  virtual Status attach(mlir::ModuleOp module, const BuildOptions &options,
                        const std::string &modelFolder) = 0;
};

} // namespace saddle

#endif // SADDLE_MODELS_DRAFT_H
