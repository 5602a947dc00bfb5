#include "models/Common/StoredNames.h"

#include "models/Common/NamePrefixes.h"

#include <algorithm>
#include <cinttypes>
#include <set>

namespace saddle {

namespace {

/// How a module's tensor is called behind the module's name.
enum class Leaf {
  Dotted, // "gate_up_proj.weight"
  Bare,   // "gate_up_proj", "gate_up_proj_scale_inv": as transformers 5 saves
  Joined, // "w13_weight"
};

/// Modules under another name, or several in one, rows of the first before
/// those of the second. Names are the ends of whole names.
struct Form {
  const char *stored;
  std::vector<const char *> parts;
  Leaf leaf = Leaf::Dotted;
};

/// Explicit names first, then what other tools and older versions write.
const std::vector<Form> &forms() {
  static const std::vector<Form> all = {
      // Experts, each apart.
      {"experts.{}.w13", {"experts.{}.w1", "experts.{}.w3"}},
      {"experts.{}.gate_up_proj", {"experts.{}.w1", "experts.{}.w3"}},
      {"experts.{}.up_gate_proj", {"experts.{}.w1", "experts.{}.w3"}},
      {"experts.{}.gate_proj", {"experts.{}.w1"}},
      {"experts.{}.up_proj", {"experts.{}.w3"}},
      {"experts.{}.down_proj", {"experts.{}.w2"}},
      // All experts of a layer in one tensor.
      {"experts.gate_up_proj", {"experts.{}.w1", "experts.{}.w3"}, Leaf::Bare},
      {"experts.down_proj", {"experts.{}.w2"}, Leaf::Bare},
      {"experts.gate_up_proj", {"experts.{}.w1", "experts.{}.w3"}},
      {"experts.down_proj", {"experts.{}.w2"}},
      {"experts.w13", {"experts.{}.w1", "experts.{}.w3"}},
      {"experts.w2", {"experts.{}.w2"}},
      {"experts.w13", {"experts.{}.w1", "experts.{}.w3"}, Leaf::Joined},
      {"experts.w2", {"experts.{}.w2"}, Leaf::Joined},
      // Attention and dense layers.
      {"self_attn.qkv_proj",
       {"self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"}},
      {"mlp.gate_up_proj", {"mlp.gate_proj", "mlp.up_proj"}},
      // Scales of caches, as ModelOpt, compressed-tensors, vLLM and Quark
      // write them; old ones serve keys and values alike.
      {"self_attn.k_scale", {"self_attn.k_proj.k_scale"}},
      {"self_attn.v_scale", {"self_attn.v_proj.v_scale"}},
      {"self_attn.attn.k_scale", {"self_attn.k_proj.k_scale"}},
      {"self_attn.attn.v_scale", {"self_attn.v_proj.v_scale"}},
      {"self_attn.qkv_proj.k_scale", {"self_attn.k_proj.k_scale"}},
      {"self_attn.qkv_proj.v_scale", {"self_attn.v_proj.v_scale"}},
      {"self_attn.k_proj.output_scale", {"self_attn.k_proj.k_scale"}},
      {"self_attn.v_proj.output_scale", {"self_attn.v_proj.v_scale"}},
      {"self_attn.kv_scale", {"self_attn.k_proj.k_scale"}},
      {"self_attn.kv_scale", {"self_attn.v_proj.v_scale"}},
      {"self_attn.attn.kv_scale", {"self_attn.k_proj.k_scale"}},
      {"self_attn.attn.kv_scale", {"self_attn.v_proj.v_scale"}},
      // The router's bias stands beside the router, or in it.
      {"gate.e_score_correction_bias", {"e_score_correction_bias"}},
  };
  return all;
}

constexpr const char *kMoe = ".block_sparse_moe.";
constexpr const char *kOtherMoe = ".mlp.";

std::string storedName(const std::string &module, Leaf kind,
                       const std::string &leaf) {
  const std::string weight = "weight";
  switch (kind) {
  case Leaf::Dotted:
    return leaf.empty() ? module : module + "." + leaf;
  case Leaf::Joined:
    return module + "_" + leaf;
  case Leaf::Bare:
    return leaf.compare(0, weight.size(), weight) == 0
               ? module + leaf.substr(weight.size())
               : module + "_" + leaf;
  }
  return module;
}

/// "x.w1" of "x.w1.weight", and all of a name whose last word is the weight.
struct SplitName {
  std::string module, leaf;
};

/// Names of tensors that belong to a module of some format.
const std::set<std::string> &leaves() {
  static const std::set<std::string> all = [] {
    std::set<std::string> names = {"weight"};
    for (const StorageFormat &format : knownFormats()) {
      names.insert(format.tensor);
      for (const CompanionFormat &companion : format.companions)
        names.insert(companion.tensor);
      for (const RedundantTensor &each : format.redundant)
        names.insert(each.tensor);
    }
    return names;
  }();
  return all;
}

SplitName splitName(const std::string &name) {
  size_t dot = name.rfind('.');
  if (dot == std::string::npos || !leaves().count(name.substr(dot + 1)))
    return {name, ""};
  return {name.substr(0, dot), name.substr(dot + 1)};
}

bool endsWith(const std::string &name, const std::string &end) {
  return name.size() > end.size() &&
         name.compare(name.size() - end.size(), end.size(), end) == 0 &&
         name[name.size() - end.size() - 1] == '.';
}

class Resolver {
public:
  Resolver(Checkpoint &checkpoint, ModelWeights &weights)
      : checkpoint(checkpoint), weights(weights) {}

  Status run() {
    SADDLE_RETURN_IF_ERROR(resolvePrefix());
    for (const ModelWeight &weight : weights.used)
      specs[splitName(weight.spec.name).module] = &weight.spec;
    std::vector<StoredPart> parts;
    for (const ModelWeight &weight : weights.used)
      SADDLE_RETURN_IF_ERROR(resolve(weight.spec, parts));
    for (const ModelWeight &weight : weights.optional)
      SADDLE_RETURN_IF_ERROR(resolve(weight.spec, parts));
    SADDLE_RETURN_IF_ERROR(applyParts(parts, checkpoint));
    weights.parts.insert(weights.parts.end(), parts.begin(), parts.end());
    return Status();
  }

private:
  bool has(const std::string &name) const {
    return checkpoint.tensors.count(memberName(name, 0)) != 0;
  }

  Status resolvePrefix() {
    std::string first;
    for (const NamePrefix &prefix : namePrefixes()) {
      auto begins = [&](const char *text) {
        auto at = checkpoint.tensors.lower_bound(text);
        return at != checkpoint.tensors.end() &&
               at->first.compare(0, std::string(text).size(), text) == 0;
      };
      if (!begins(prefix.stored))
        continue;
      const bool ofModel = std::string(prefix.name) == "model.";
      const char *other = !first.empty() ? first.c_str() : "model.layers.";
      if (ofModel && begins(other))
        return makeError(StatusCode::Mismatch,
                         "%s: names of tensors begin with \"%s\" and with "
                         "\"%s\"; expected one of them, delete what is stale",
                         checkpoint.directory.c_str(), prefix.stored, other);
      if (ofModel)
        first = prefix.stored;
      weights.parts.push_back(
          {std::string(prefix.name) + "*", std::string(prefix.stored) + "*"});
    }
    return applyParts(weights.parts, checkpoint);
  }

  /// The weight, or what passes for it, under its own name.
  bool isThere(const SplitName &name) const {
    if (name.leaf.empty())
      return has(name.module);
    return std::any_of(
        leaves().begin(), leaves().end(),
        [&](const std::string &leaf) { return has(name.module + "." + leaf); });
  }

  Status resolve(const WeightSpec &spec, std::vector<StoredPart> &parts) {
    const SplitName name = splitName(spec.name);
    if (isThere(name)) {
      resolveScales(spec, parts);
      return Status();
    }
    std::vector<std::string> modules = {name.module};
    if (size_t at = name.module.find(kMoe); at != std::string::npos)
      modules.push_back(name.module.substr(0, at) + kOtherMoe +
                        name.module.substr(at + std::string(kMoe).size()));
    for (const std::string &module : modules) {
      if (module != name.module && isThere({module, name.leaf}))
        return add(spec, name, {module, {}, Leaf::Dotted}, parts);
      for (const Form &form : forms())
        for (size_t i = 0; i < form.parts.size(); ++i) {
          if (!endsWith(module, form.parts[i]))
            continue;
          Place place = {
              module.substr(0,
                            module.size() - std::string(form.parts[i]).size()) +
                  form.stored,
              siblings(name.module, form, i), form.leaf, i};
          if (isStored(place, name.leaf))
            return add(spec, name, place, parts);
        }
    }
    return Status();
  }

  /// Tools call the same factors with and without "inv", and multiply by them
  /// either way.
  void resolveScales(const WeightSpec &spec, std::vector<StoredPart> &parts) {
    for (const Companion &companion : spec.companions) {
      const SplitName name = splitName(companion.name);
      const char *other = name.leaf == "weight_scale"       ? "weight_scale_inv"
                          : name.leaf == "weight_scale_inv" ? "weight_scale"
                                                            : nullptr;
      if (!other || has(companion.name) || !has(name.module + "." + other))
        continue;
      StoredPart part;
      part.name = companion.name;
      part.tensor = name.module + "." + other;
      part.stack = spec.stack;
      parts.push_back(std::move(part));
    }
  }

  /// Where a weight is: a module, and which of its parts.
  struct Place {
    std::string module;
    std::vector<const WeightSpec *> parts; // empty: all of it
    Leaf leaf = Leaf::Dotted;
    size_t part = 0;
  };

  bool isStored(const Place &place, const std::string &leaf) const {
    if (leaf.empty())
      return has(place.module);
    return std::any_of(leaves().begin(), leaves().end(),
                       [&](const std::string &each) {
                         return has(storedName(place.module, place.leaf, each));
                       });
  }

  /// The weights that share a fused tensor, in its order; empty when it is one.
  std::vector<const WeightSpec *>
  siblings(const std::string &module, const Form &form, size_t part) const {
    std::vector<const WeightSpec *> all;
    if (form.parts.size() == 1)
      return all;
    std::string base =
        module.substr(0, module.size() - std::string(form.parts[part]).size());
    for (const char *each : form.parts) {
      auto found = specs.find(base + each);
      all.push_back(found == specs.end() ? nullptr : found->second);
    }
    return all;
  }

  Status add(const WeightSpec &spec, const SplitName &name, const Place &place,
             std::vector<StoredPart> &parts) {
    for (const std::string &leaf :
         name.leaf.empty() ? std::set<std::string>{""} : leaves()) {
      std::string stored = storedName(place.module, place.leaf, leaf);
      if (!has(stored))
        continue;
      StoredPart part;
      part.name = leaf.empty() ? name.module : name.module + "." + leaf;
      part.tensor = std::move(stored);
      part.stack = spec.stack;
      if (!place.parts.empty())
        SADDLE_RETURN_IF_ERROR(cut(spec, leaf, place, part));
      parts.push_back(std::move(part));
    }
    return Status();
  }

  /// Which rows of a fused tensor are the weight's. Tensors that say nothing of
  /// single rows are shared whole.
  Status cut(const WeightSpec &spec, const std::string &leaf,
             const Place &place, StoredPart &part) {
    const std::string weightLeaf = splitName(spec.name).leaf;
    auto companion = [&](const WeightSpec &of) -> const Companion * {
      for (const Companion &each : of.companions)
        if (splitName(each.name).leaf == leaf)
          return &each;
      return nullptr;
    };
    bool isWeight = leaf == weightLeaf;
    const Companion *own = isWeight ? nullptr : companion(spec);
    if (!isWeight && !own) {
      // A number that nothing reads, for each part.
      part.first = place.part;
      part.count = 1;
      part.of = place.parts.size();
      if (!holds(part, spec.stack, part.of))
        part.first = part.count = part.of = 0;
      return Status();
    }
    bool single = own && own->blockRows == 0 && own->blockColumns == 0;
    const TensorLayout &layout = isWeight ? spec.layout : own->layout;
    // A vector has a number for each row, however the matrix lies.
    bool isVector = own && own->shape.size() < 2;
    part.columns = layout.transposed && !single && !isVector;
    uint64_t first = 0;
    for (size_t i = 0; i < place.parts.size(); ++i) {
      const WeightSpec *each = place.parts[i];
      const Companion *theirs = each && !isWeight ? companion(*each) : nullptr;
      if (!each || (!isWeight && !theirs))
        return makeError(
            StatusCode::Unsupported,
            "%s: tensor \"%s\" holds weights that are not stored alike",
            checkpoint.directory.c_str(), part.tensor.c_str());
      const std::vector<uint64_t> &shape =
          isWeight ? each->shape : theirs->shape;
      uint64_t count = single ? 1 : shape[part.columns ? 1 : 0];
      if (i == place.part) {
        part.first = first;
        part.count = count;
      }
      first += count;
      uint64_t rows = rowsOf(*each);
      bool isLast = i + 1 == place.parts.size();
      uint64_t unit = own && own->blockRows ? own->blockRows : 1;
      if (sharesWords(layout))
        unit *= layout.order.size();
      if (!isLast && !single && rows % unit != 0)
        return makeError(
            StatusCode::Unsupported,
            "%s: tensor \"%s\" has %" PRIu64
            " rows of one weight before those of the next, expected a multiple "
            "of %" PRIu64 ", so that no block or word holds both",
            checkpoint.directory.c_str(), part.tensor.c_str(), rows, unit);
    }
    part.of = first;
    if (single && !holds(part, spec.stack, first))
      part.first = part.count = part.of = 0;
    return Status();
  }

  /// Whether rows of the matrix share words.
  static bool sharesWords(const TensorLayout &layout) {
    return !layout.order.empty() && layout.alongRows != layout.transposed;
  }
  static uint64_t rowsOf(const WeightSpec &spec) {
    const TensorLayout &layout = spec.layout;
    return spec.shape[layout.transposed ? 1 : 0] *
           (sharesWords(layout) ? layout.order.size() : 1);
  }

  /// Whether there is a number for each part, and not one for all.
  bool holds(const StoredPart &part, uint64_t stack, uint64_t count) const {
    const TensorInfo &info =
        checkpoint.tensors.find(memberName(part.tensor, 0))->second;
    if (info.dtype != TensorDType::F32 && info.dtype != TensorDType::BF16 &&
        info.dtype != TensorDType::F16)
      return false;
    uint64_t elements = 1;
    for (uint64_t dim : info.shape)
      elements *= dim;
    bool oneTensor = part.tensor.find("{}") == std::string::npos;
    return elements == count * (stack && oneTensor ? stack : 1) &&
           !info.shape.empty();
  }

  Checkpoint &checkpoint;
  ModelWeights &weights;
  std::map<std::string, const WeightSpec *> specs; // by module
};

} // namespace

Status resolveNames(Checkpoint &checkpoint, ModelWeights &weights) {
  return Resolver(checkpoint, weights).run();
}

} // namespace saddle
