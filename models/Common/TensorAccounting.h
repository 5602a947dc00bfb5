// What a folder has against what the architecture expects: every tensor of a
// checkpoint is used exactly once, ignored for a stated reason, or an error.

#ifndef SADDLE_MODELS_COMMON_TENSORACCOUNTING_H
#define SADDLE_MODELS_COMMON_TENSORACCOUNTING_H

#include "models/Common/ModelWeights.h"

#include <functional>

namespace saddle {

/// Tensors that no weight reads, by name. In `pattern` '*' stands for any text
/// and "{}" for a number from `first` to `last`.
struct IgnoreRule {
  std::string pattern;
  std::string reason;
  int64_t first = 0;
  int64_t last = INT64_MAX;

  bool matches(std::string_view name) const;
};

/// What messages and decisions need besides the weights.
struct AccountingRules {
  /// Begins with the file that promised the tensors.
  std::string configPath;
  const Quantisation &quantisation;
  /// The first match counts.
  std::vector<IgnoreRule> ignore;
  /// Sizes that decide which tensors there are, for messages:
  /// "num_hidden_layers = 2".
  std::string sizes;
  /// What else the family looks at once all tensors are accounted for; may be
  /// empty.
  std::function<Status(const Checkpoint &)> check = {};
};

/// Matches the headers of `checkpoint` with `weights.used`, sets the dtypes
/// that were found, makes optional weights that are there used ones, and adds
/// what no weight reads to `weights.ignored`. A weight of values is F32, BF16
/// or F16; a quantised one has its format's dtype and companions; members of a
/// stack agree. Errors name the tensor: missing, unknown, of another shape or
/// dtype, companion without its weight, quantised weight without companion,
/// quantised or not against the config's word.
Status accountForTensors(const Checkpoint &checkpoint,
                         const AccountingRules &rules, ModelWeights &weights);

} // namespace saddle

#endif // SADDLE_MODELS_COMMON_TENSORACCOUNTING_H
