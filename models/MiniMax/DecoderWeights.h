// What the tensors of all MiniMax models have in common.

#ifndef SADDLE_MODELS_MINIMAX_DECODERWEIGHTS_H
#define SADDLE_MODELS_MINIMAX_DECODERWEIGHTS_H

#include "models/Common/TensorAccounting.h"
#include "models/MiniMax/DecoderConfig.h"

#include <functional>

namespace saddle {

/// The logical dimensions that weights share.
struct DecoderDimensions {
  explicit DecoderDimensions(const DecoderSizes &sizes);

  const Dimension hidden, qHeads, kvHeads, routed, experts, width, one,
      sharedWidth, embedded, vocab;
};

/// Adds weights of layer `layer`, whose tensors' names begin with `at`.
using LayerWeights = std::function<void(int64_t layer, const std::string &at)>;

/// All of a model, in the order of the computation: embedding; of each layer
/// the first norm, `attention`, the second norm, the router, what stands
/// `beside` it, gate, up and down of every expert, and what comes `behind`; the
/// last norm and the head. The functions, of which any may be null, add to
/// `list`.
void listDecoder(WeightLister &list, const DecoderConfig &config,
                 const DecoderDimensions &dims, const LayerWeights &attention,
                 const LayerWeights &beside, const LayerWeights &behind);

/// Query, key and value of full attention, `attention`q_proj and so on.
void listQKV(WeightLister &list, const DecoderDimensions &dims,
             const std::string &attention);

/// Those of the expert that all tokens share, a stack of one, in modules
/// `mlp`gate_proj, up_proj and down_proj.
void listSharedExpert(WeightLister &list, const DecoderDimensions &dims,
                      const std::string &mlp);

/// Rules for what a folder of such a model may hold besides: rotary tables,
/// scales of caches if it is quantised, and with tied embeddings a head.
/// Keeps a reference to the config's quantisation.
AccountingRules decoderAccountingRules(const DecoderConfig &config,
                                       const std::string &configPath);

} // namespace saddle

#endif // SADDLE_MODELS_MINIMAX_DECODERWEIGHTS_H
