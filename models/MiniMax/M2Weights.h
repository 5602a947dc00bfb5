// The checkpoint tensors of a MiniMax-M2 model: what the architecture expects,
// and what a folder has. Every tensor of a folder is used exactly once, ignored
// for a stated reason, or an error.

#ifndef SADDLE_MODELS_MINIMAX_M2WEIGHTS_H
#define SADDLE_MODELS_MINIMAX_M2WEIGHTS_H

#include "models/MiniMax/M2Config.h"
#include "models/WeightSpec.h"

namespace saddle {

/// Linear weights are [out, in]; scales [ceil(out/128), ceil(in/128)].
struct M2LayerWeights {
  WeightSpec inputNorm;         // [hidden]
  WeightSpec q, k, v;           // [q or kv width, hidden]
  WeightSpec qNorm, kNorm;      // [q width], [kv width]
  WeightSpec o;                 // [hidden, q width]
  WeightSpec postAttentionNorm; // [hidden]
  WeightSpec gate;              // [experts, hidden]
  WeightSpec correctionBias;    // [experts], for selection only
  WeightSpec w1, w3;            // gate and up: experts x [intermediate, hidden]
  WeightSpec w2;                // down: experts x [hidden, intermediate]

  template <typename Visitor>
  void forEach(Visitor visit) const {
    for (const WeightSpec *spec :
         {&inputNorm, &q, &k, &v, &qNorm, &kNorm, &o, &postAttentionNorm, &gate,
          &correctionBias, &w1, &w2, &w3})
      visit(*spec);
  }
};

struct M2Weights {
  WeightSpec embed; // [vocab, hidden]
  /// One per compiled layer.
  std::vector<M2LayerWeights> layers;
  WeightSpec finalNorm; // [hidden]
  /// [vocab, hidden]; a copy of `embed` when the model ties them.
  WeightSpec lmHead;
  bool tied = false;

  /// What a checkpoint may also hold: found in the folder, or belonging to
  /// layers that are not compiled.
  std::vector<IgnoredWeight> ignored;
  /// Over every used tensor, scales included, by name, dtype and shape
  /// (runtime/src/checkpoint/Fingerprint.h), in ascending order of names.
  std::string fingerprint;

  /// Every used spec once.
  template <typename Visitor>
  void forEach(Visitor visit) const {
    visit(embed);
    for (const M2LayerWeights &layer : layers)
      layer.forEach(visit);
    visit(finalNorm);
    if (!tied)
      visit(lmHead);
  }

  /// Elements of all used tensors, scales included, as Hugging Face counts.
  uint64_t elementCount() const;
};

/// Tensors as the architecture stores them. With FP8: projections of attention
/// and experts F8E4M3 with F32 scales, router and its bias F32, the rest in the
/// config's dtype. Without: everything in the config's dtype. Errors: single
/// experts left unquantised; a name for messages is `configPath`.
StatusOr<M2Weights> expectedM2Weights(const M2Config &config,
                                      const std::string &configPath);

/// Tensors as the headers of `checkpoint` have them. A tensor is F32, BF16 or
/// F16; exactly the projections that the config quantises are F8E4M3 with a
/// scale; experts of one layer and projection agree. Errors name the tensor:
/// missing, unknown, of another shape or dtype, scale without FP8 weight, FP8
/// weight without scale, FP8 against the config's word.
StatusOr<M2Weights> resolveM2Weights(const M2Config &config,
                                     const std::string &configPath,
                                     const Checkpoint &checkpoint);

} // namespace saddle

#endif // SADDLE_MODELS_MINIMAX_M2WEIGHTS_H
