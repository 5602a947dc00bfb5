// All weights of a model: a family lists them once, with logical dimensions and
// tensor names, and everything else (shapes, stacks, companions, fingerprint)
// follows.

#ifndef SADDLE_MODELS_COMMON_MODELWEIGHTS_H
#define SADDLE_MODELS_COMMON_MODELWEIGHTS_H

#include "models/Common/Quantisation/Quantisation.h"
#include "models/Common/WeightSpec.h"

#include <string>
#include <vector>

namespace saddle {

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
  /// What a checkpoint may also hold: found in the folder, or belonging to
  /// layers that are not compiled.
  std::vector<IgnoredWeight> ignored;

  /// Null when there is none of that symbol.
  const ModelWeight *find(const std::string &symbol) const;
  /// Moves weights of layers from `layers` on to the ignored ones.
  void keepLayers(int64_t layers);

  /// Over every used tensor, companions included, by name, dtype and shape
  /// (runtime/src/checkpoint/Fingerprint.h), in ascending order of names.
  std::string fingerprint() const;
  /// Used tensors, companions included.
  uint64_t tensorCount() const;
  /// Elements of all used tensors, companions included, as Hugging Face counts.
  uint64_t elementCount() const;
};

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
  /// stack, which the first dimension counts. Valid until the next add.
  WeightSpec &add(const std::string &symbol, const std::string &tensor,
                  const std::vector<Dimension> &dims);
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
