// What the tensors of all MiniMax models have in common.

#ifndef SADDLE_MODELS_MINIMAX_DECODERWEIGHTS_H
#define SADDLE_MODELS_MINIMAX_DECODERWEIGHTS_H

#include "models/Common/TensorAccounting.h"
#include "models/MiniMax/DecoderSizes.h"

namespace saddle {

/// The logical dimensions that weights share.
struct DecoderDimensions {
  explicit DecoderDimensions(const DecoderSizes &sizes);

  const Dimension hidden, qHeads, kvHeads, routed, experts, width, one,
      sharedWidth, embedded, vocab;
};

/// Gate, up and down of every expert, `moe`experts.N.w1, w3 and w2.
void listExperts(WeightLister &list, const DecoderDimensions &dims,
                 const std::string &moe);

/// Those of the expert that all tokens share, a stack of one, in modules
/// `mlp`gate_proj, up_proj and down_proj.
void listSharedExpert(WeightLister &list, const DecoderDimensions &dims,
                      const std::string &mlp);

/// Rules for what a folder of such a model may hold besides: rotary tables,
/// scales of caches if it is quantised, and with `tied` embeddings a head.
/// Keeps a reference to `quantisation`.
AccountingRules decoderAccountingRules(const DecoderSizes &sizes,
                                       const Quantisation &quantisation,
                                       bool tied,
                                       const std::string &configPath);

} // namespace saddle

#endif // SADDLE_MODELS_MINIMAX_DECODERWEIGHTS_H
