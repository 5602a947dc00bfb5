// A list of module names, as `modules_to_not_convert` has it.

#ifndef SADDLE_MODELS_COMMON_QUANTISATION_MODULENAMES_H
#define SADDLE_MODELS_COMMON_QUANTISATION_MODULENAMES_H

#include "models/Common/ConfigReader.h"

namespace saddle {

/// What a list's entries mean to the tool that wrote it.
class ModuleNames {
public:
  enum Syntax {
    /// Dotted names, or parts of names, of whole components: "gate" names
    /// "block_sparse_moe.gate" and not "gate_proj"; "model.layers.0.self_attn"
    /// names everything below it.
    Components,
    /// Components, and "re:" before a regular expression that a name begins
    /// with (compressed-tensors).
    Expressions,
    /// Whole names, or those of modules above, with * for any text (ModelOpt).
    Globs,
    /// Keys of an object, "-:" before an expression (GPTQModel).
    Keys,
    /// Any part of a name: "layers.1" names layer 10, too (AWQ).
    Substrings
  };
  enum Match {
    No,
    /// Only some members of a stack: "experts.3.w1" of "experts.{}.w1".
    Partly,
    Yes
  };

  ModuleNames() = default;
  explicit ModuleNames(std::vector<std::string> names,
                       Syntax syntax = Components)
      : names(std::move(names)), syntax(syntax) {}

  /// Reads the list `key`; absent means none. Errors stick in the reader: names
  /// that the syntax does not have.
  static ModuleNames read(ConfigReader &reader, const char *key,
                          Syntax syntax = Components);

  /// Of "model.layers.3.self_attn.q_proj". A "{}" component stands for the
  /// numbers of a stack of `members`.
  Match match(const std::string &module, uint64_t members = 1) const;

  const std::vector<std::string> &list() const { return names; }

private:
  void checkEntries(ConfigReader &reader, const char *key) const;
  Match matchComponents(const std::string &module) const;

  std::vector<std::string> names;
  Syntax syntax = Components;
};

} // namespace saddle

#endif // SADDLE_MODELS_COMMON_QUANTISATION_MODULENAMES_H
