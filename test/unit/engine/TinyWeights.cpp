// Weights and caches of the tiny engine.

#include "test/unit/engine/TinyBuilder.h"

namespace saddle::tiny {

uint32_t Builder::addSource(const PiecePlan &plan) {
  auto [entry, isNew] = sourceIndex.emplace(std::pair(checkpoint, plan.source),
                                            uint32_t(engine->sources.size()));
  if (!isNew)
    return entry->second;
  auto source = std::make_unique<SourceT>();
  source->name = plan.source;
  source->stack = plan.stack;
  source->dtype =
      plan.sourceDType == DType::UNKNOWN ? options.weights : plan.sourceDType;
  source->shape = plan.sourceShape;
  source->checkpoint = checkpoint;
  engine->sources.push_back(std::move(source));
  return entry->second;
}

void Builder::addWeight(const std::string &name, const Shape &shape,
                        DType dtype, const std::vector<PiecePlan> &plans) {
  auto weight = std::make_unique<WeightT>();
  weight->name = name;
  weight->slice =
      std::make_unique<SliceT>(place(kWeights, dtype, shape, used.weights));
  for (const PiecePlan &plan : plans) {
    auto piece = std::make_unique<PieceT>();
    piece->source = addSource(plan);
    piece->row_start = std::make_unique<RankValueT>(plan.rowStart);
    piece->col_start = std::make_unique<RankValueT>(plan.colStart);
    piece->stack_start = std::make_unique<RankValueT>(plan.stackStart);
    piece->stack_count = plan.stackCount;
    piece->rows = plan.rows;
    piece->cols = plan.cols;
    piece->dest_row = plan.destRow;
    weight->pieces.push_back(std::move(piece));
  }
  weightSlices[name] = *weight->slice;
  program->weights.push_back(std::move(weight));
}

void Builder::addState(const std::string &name, StateKind kind, SliceT slice) {
  states[name] = slice;
  auto state = std::make_unique<StateT>();
  state->name = name;
  state->kind = kind;
  state->slice = std::make_unique<SliceT>(std::move(slice));
  program->states.push_back(std::move(state));
}

void Builder::addLayerWeights(uint32_t layer) {
  std::string at = "model.layers." + std::to_string(layer) + ".";
  RankValueT zero = rankValue(0, 1);
  uint64_t q = heads * kHeadDim, kv = kvHeads * kHeadDim;
  RankValueT qStart = rankValue(q, width);
  RankValueT kvStart = rankValue(kv, width / kvCopies, kvCopies);
  auto norm = [&](const char *name, uint64_t width, uint64_t total,
                  RankValueT start) {
    addWeight(at + name, {width}, DType::F32,
              {{at + name, {total}, 1, width, zero, start}});
  };
  norm("input_layernorm.weight", kHidden, kHidden, zero);
  std::string attention = at + "self_attn.";
  addWeight(attention + "qkv", {q + 2 * kv, kHidden}, options.weights,
            {{attention + "q_proj.weight",
              {kHeads * kHeadDim, kHidden},
              q,
              kHidden,
              qStart,
              zero,
              0},
             {attention + "k_proj.weight",
              {kKvHeads * kHeadDim, kHidden},
              kv,
              kHidden,
              kvStart,
              zero,
              q},
             {attention + "v_proj.weight",
              {kKvHeads * kHeadDim, kHidden},
              kv,
              kHidden,
              kvStart,
              zero,
              q + kv}});
  norm("self_attn.q_norm.weight", q, kHeads * kHeadDim, qStart);
  norm("self_attn.k_norm.weight", kv, kKvHeads * kHeadDim, kvStart);
  addWeight(attention + "o_proj.weight", {kHidden, q}, options.weights,
            {{attention + "o_proj.weight",
              {kHidden, kHeads * kHeadDim},
              kHidden,
              q,
              zero,
              qStart}});
  norm("post_attention_layernorm.weight", kHidden, kHidden, zero);
  std::string moe = at + "block_sparse_moe.";
  addWeight(moe + "gate.weight", {kExperts, kHidden}, options.weights,
            {{moe + "gate.weight",
              {kExperts, kHidden},
              kExperts,
              kHidden,
              zero,
              zero}});
  PiecePlan bias{
      moe + "e_score_correction_bias", {kExperts}, 1, kExperts, zero, zero};
  bias.sourceDType = DType::F32;
  addWeight(bias.source, {kExperts}, DType::F32, {bias});
  // Experts are cut into expertParts, each of them into `slices` by width.
  uint32_t slices = options.tp / expertParts;
  uint64_t held = kExperts / expertParts, sliceWidth = kExpertWidth / slices;
  RankValueT sliceStart = rankValue(sliceWidth, slices);
  auto stacked = [&](const char *name, Shape shape, uint64_t rows,
                     uint64_t cols, RankValueT rowStart, RankValueT colStart,
                     uint64_t destRow) {
    PiecePlan plan{moe + "experts.{}." + name + ".weight",
                   std::move(shape),
                   rows,
                   cols,
                   rowStart,
                   colStart,
                   destRow};
    plan.stack = kExperts;
    plan.stackStart = rankValue(held, expertParts, slices);
    plan.stackCount = held;
    return plan;
  };
  const Shape wide = {kExpertWidth, kHidden}, tall = {kHidden, kExpertWidth};
  addWeight(
      moe + "w13", {held, 2 * sliceWidth, kHidden}, options.weights,
      {stacked("w1", wide, sliceWidth, kHidden, sliceStart, zero, 0),
       stacked("w3", wide, sliceWidth, kHidden, sliceStart, zero, sliceWidth)});
  addWeight(moe + "w2", {held, kHidden, sliceWidth}, options.weights,
            {stacked("w2", tall, kHidden, sliceWidth, zero, sliceStart, 0)});

  for (const char *part : {"k", "v"})
    addState(at + part, StateKind::PAGED,
             place(kState, options.kv, {1, options.pageSize, kvHeads, kHeadDim},
                   used.states));
  if (!options.recurrent)
    return;
  addWeight(attention + "scan.weight", {3 * q, kHidden}, options.weights,
            {{attention + "scan.weight",
              {3 * kHeads * kHeadDim, kHidden},
              3 * q,
              kHidden,
              rankValue(3 * q, width),
              zero}});
  addState(at + "state", StateKind::SEQUENCE,
           place(kSequences, DType::F32, {1, heads, kHeadDim, kHeadDim},
                 used.sequences));
}

void Builder::addWeights() {
  RankValueT zero = rankValue(0, 1);
  auto table = [&](const char *name, uint32_t parts) {
    uint64_t vocab = kVocab / parts;
    addWeight(name, {vocab, kHidden}, options.weights,
              {{name,
                {kVocab, kHidden},
                vocab,
                kHidden,
                rankValue(vocab, parts),
                zero}});
  };
  if (isFirst && checkpoint == 0) {
    table("model.embed_tokens.weight", width);
  } else if (isFirst) {
    // The main program's: the same bytes.
    const WeightT &shared = *engine->programs[0]->weights[0];
    weightSlices[shared.name] = *shared.slice;
    program->weights.push_back(std::make_unique<WeightT>(shared));
  }
  for (uint32_t layer = firstLayer; layer < endLayer; ++layer)
    addLayerWeights(layer);
  if (!isLast)
    return;
  addWeight("model.norm.weight", {kHidden}, DType::F32,
            {{"model.norm.weight", {kHidden}, 1, kHidden, zero, zero}});
  table("lm_head.weight", options.tp);
}

} // namespace saddle::tiny
