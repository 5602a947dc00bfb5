// A list of module names, as `modules_to_not_convert` has it.

#ifndef SADDLE_MODELS_COMMON_QUANTISATION_MODULENAMES_H
#define SADDLE_MODELS_COMMON_QUANTISATION_MODULENAMES_H

#include "models/Common/ConfigReader.h"

#include <memory>
#include <unordered_set>

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
    /// Whole names, or those of modules above, with * for any text (ModelOpt),
    /// and expressions as above (Quark).
    Globs,
    /// Whole names and nothing else; quick for many of them.
    Exact,
    /// Those keys of an object that are "-:" and an expression (GPTQModel).
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
                       Syntax syntax = Components);

  /// Reads the list `key`; absent means none. Errors stick in the reader: names
  /// that the syntax does not have.
  static ModuleNames read(ConfigReader &reader, const char *key,
                          Syntax syntax = Components);

  /// As read, of entries that the caller has taken from `key`.
  static ModuleNames check(ConfigReader &reader, const char *key,
                           std::vector<std::string> names, Syntax syntax);

  /// Of "model.layers.3.self_attn.q_proj". A "{}" component stands for the
  /// numbers of a stack of `members`.
  Match match(const std::string &module, uint64_t members = 1) const;

  const std::vector<std::string> &list() const { return names; }
  bool isEmpty() const { return names.empty(); }
  /// Entries that match none of `modules`, in which a stack has its "{}".
  std::vector<std::string>
  unmatched(const std::vector<std::string> &modules) const;

private:
  void checkEntries(ConfigReader &reader, const char *key) const;
  Match matchComponents(const std::string &module) const;

  class Expression;
  /// Of an entry that is an expression, else null.
  const Expression *expressionOf(size_t entry) const {
    return entry < expressions.size() ? expressions[entry].get() : nullptr;
  }

  std::vector<std::string> names;
  std::vector<std::shared_ptr<const Expression>> expressions; // as names
  std::unordered_set<std::string> set;                        // of Exact
  Syntax syntax = Components;
};

/// The name of a module in a text model that stands alone: without what a model
/// around it puts before it ("language_model.model.layers.0").
std::string plainModuleName(const std::string &name);

} // namespace saddle

#endif // SADDLE_MODELS_COMMON_QUANTISATION_MODULENAMES_H
