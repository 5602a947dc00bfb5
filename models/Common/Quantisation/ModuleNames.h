// A list of module names, as `modules_to_not_convert` has it.

#ifndef SADDLE_MODELS_COMMON_QUANTISATION_MODULENAMES_H
#define SADDLE_MODELS_COMMON_QUANTISATION_MODULENAMES_H

#include "models/Common/ConfigReader.h"

namespace saddle {

/// Dotted names, or parts of names, of whole components: "gate" names
/// "block_sparse_moe.gate" and not "gate_proj"; "model.layers.0.self_attn"
/// names everything below it.
class ModuleNames {
public:
  enum Match {
    No,
    /// Only some members of a stack: "experts.3.w1" of "experts.{}.w1".
    Partly,
    Yes
  };

  ModuleNames() = default;
  explicit ModuleNames(std::vector<std::string> names)
      : names(std::move(names)) {}

  /// Reads the list `key`; absent means none. Errors stick in the reader: names
  /// that are patterns.
  static ModuleNames read(ConfigReader &reader, const char *key);

  /// Of "model.layers.3.self_attn.q_proj". A "{}" component stands for the
  /// numbers of a stack.
  Match match(const std::string &module) const;

  const std::vector<std::string> &list() const { return names; }

private:
  std::vector<std::string> names;
};

} // namespace saddle

#endif // SADDLE_MODELS_COMMON_QUANTISATION_MODULENAMES_H
