// A list of module names, as `modules_to_not_convert` has it.

#ifndef SADDLE_MODELS_COMMON_QUANTISATION_MODULENAMES_H
#define SADDLE_MODELS_COMMON_QUANTISATION_MODULENAMES_H

#include "models/Common/ConfigReader.h"
#include "models/Common/Quantisation/NamePattern.h"

#include <memory>
#include <set>
#include <unordered_set>
#include <utility>

namespace saddle {

/// What a list's entries mean to the tools that write and read it
/// (docs/Weights.md, "Names of modules").
class ModuleNames {
public:
  enum Syntax {
    /// Dotted names, or parts of names, of whole components: "gate" names
    /// "block_sparse_moe.gate" and not "gate_proj"; "model.layers.0.self_attn"
    /// names everything below it. Entries with * are globs as below, others
    /// with signs of an expression are one, up to the end of a component
    /// (transformers), and "re:" is read as below.
    Components,
    /// Components without patterns, and "re:" before an expression that a name
    /// begins with (compressed-tensors).
    Expressions,
    /// Components, and globs of whole names, of those of modules above, or,
    /// without a dot, of one component (ModelOpt); expressions as above
    /// (Quark).
    Globs,
    /// Whole names, or those of modules above; quick for many of them.
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
  /// numbers of a stack of `members`, which entries may name together.
  Match match(const std::string &module, uint64_t members = 1) const;

  const std::vector<std::string> &list() const { return names; }
  bool isEmpty() const { return names.empty(); }
  /// A module, and the members of its stack or 1.
  using Module = std::pair<std::string, uint64_t>;
  /// Entries that match nothing of `modules`, in which a stack has its "{}".
  std::vector<std::string> unmatched(const std::vector<Module> &modules) const;

private:
  void checkEntries(ConfigReader &reader, const char *key) const;
  bool matchesOne(const std::string &name) const;
  bool matchesPlain(const std::string &name) const;

  struct Pattern {
    std::string text;
    std::shared_ptr<const NamePattern> compiled; // null: any part of a name
  };

  std::vector<std::string> names; // as they were given
  Syntax syntax = Components;
  std::unordered_set<std::string> plain; // entries without patterns
  std::set<size_t> lengths;              // of them, in components
  std::vector<Pattern> patterns;         // the others
};

/// The name of a module in a text model that stands alone: without what a model
/// around it puts before it ("language_model.model.layers.0").
std::string plainModuleName(const std::string &name);

} // namespace saddle

#endif // SADDLE_MODELS_COMMON_QUANTISATION_MODULENAMES_H
