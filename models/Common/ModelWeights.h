// All weights of a model: a family lists them once, with logical dimensions and
// tensor names, and everything else (shapes, stacks, companions, fingerprint)
// follows.

#ifndef SADDLE_MODELS_COMMON_MODELWEIGHTS_H
#define SADDLE_MODELS_COMMON_MODELWEIGHTS_H

#include "models/Common/Quantisation/Quantisation.h"
#include "models/Common/WeightSpec.h"
#include "runtime/src/checkpoint/Parts.h"

#include <string>
#include <vector>

namespace saddle {

/// Behind the symbol of a cache: the weights that its keys and values are
/// divided by before they are stored.
constexpr const char *kKeyScale = "_k_scale";
constexpr const char *kValueScale = "_v_scale";

struct ModelWeight {
  /// In the IR: "layers.3.q_proj".
  std::string symbol;
  /// Of the layer that reads it; -1 outside the layers.
  int64_t layer = -1;
  /// A stack's first dimension counts its members.
  std::vector<Dimension> dims;
  WeightSpec spec;
};

struct ModelWeights {
  /// In the engine: the name of the checkpoint that they come from; empty for
  /// the model's own.
  std::string checkpoint;
  /// What the compiled model reads, in the order of the IR.
  std::vector<ModelWeight> used;
  /// What it reads if the checkpoint has it: accountForTensors decides.
  std::vector<ModelWeight> optional;
  /// What a checkpoint may also hold: found in the folder, or belonging to
  /// layers that are not compiled.
  std::vector<IgnoredWeight> ignored;
  /// Layers for whose cache scales may be stored.
  size_t cacheLayers = 0;
  /// Where the folder has them under other names (StoredNames.h).
  std::vector<StoredPart> parts;

  /// Null when there is none of that symbol.
  const ModelWeight *find(const std::string &symbol) const;
  /// Moves weights of layers from `layers` on to the ignored ones.
  void keepLayers(int64_t layers);
  /// Makes an optional weight a used one, behind those of its layer.
  void adopt(ModelWeight weight);

  /// Over every used tensor, companions included, by name, dtype and shape
  /// (runtime/src/checkpoint/Fingerprint.h), in ascending order of names.
  std::string fingerprint() const;
  /// Used tensors, companions included.
  uint64_t tensorCount() const;
  /// Elements of all used tensors, companions included, as Hugging Face counts.
  uint64_t elementCount() const;
};

/// A line for each kind of weight and way to store it: what it is stored as,
/// its bytes in the checkpoint, and in which layers.
std::vector<std::string> describeStorage(const ModelWeights &weights);

/// Lists the weights that an architecture stores.
class WeightLister {
public:
  /// Values are stored as `dtype`. `configPath` begins messages. The arguments
  /// must outlive the lister.
  WeightLister(TensorDType dtype, const Quantisation &quantisation,
               const std::string &configPath)
      : dtype(dtype), quantisation(quantisation), configPath(configPath) {}

  /// What follows belongs to layer `index`; symbols begin with "layers.N.".
  void enterLayer(int64_t index) { layer = index; }
  void leaveLayers() { enterLayer(-1); }

  /// A weight that is stored as its values. With "{}" in `tensor` it is a
  /// stack, which the first dimension counts; with three dimensions and none,
  /// a stack of one. Valid until the next add.
  WeightSpec &add(const std::string &symbol, const std::string &tensor,
                  const std::vector<Dimension> &dims);
  /// The scales of the layer's cache of keys and values, which a checkpoint may
  /// have beside the modules of attention.
  void addCacheScales(const std::string &cache, const std::string &attention);
  /// `module`.weight, stored as the quantisation says.
  WeightSpec &addProjection(const std::string &symbol,
                            const std::string &module,
                            const std::vector<Dimension> &dims);

  /// Errors: Quantisation::formatOf's.
  StatusOr<ModelWeights> take();

private:
  TensorDType dtype;
  const Quantisation &quantisation;
  const std::string &configPath;
  int64_t layer = -1;
  ModelWeights weights;
  Status error;
};

} // namespace saddle

#endif // SADDLE_MODELS_COMMON_MODELWEIGHTS_H
