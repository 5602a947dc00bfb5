// Commands of the tiny engine: one decoder layer after the other.

#include "runtime/src/base/DType.h"
#include "test/unit/engine/TinyBuilder.h"

namespace saddle::tiny {

namespace {

AttributeT intAttribute(const char *name, int64_t value) {
  AttributeT attribute;
  attribute.name = name;
  attribute.kind = AttributeKind::INT;
  attribute.int_value = value;
  return attribute;
}

AttributeT floatAttribute(const char *name, double value) {
  AttributeT attribute;
  attribute.name = name;
  attribute.kind = AttributeKind::FLOAT;
  attribute.float_value = value;
  return attribute;
}

AttributeT rankAttribute(const char *name, RankValueT value) {
  AttributeT attribute;
  attribute.name = name;
  attribute.kind = AttributeKind::RANK;
  attribute.rank_value = std::make_unique<RankValueT>(value);
  return attribute;
}

} // namespace

uint32_t Builder::kernel(const std::string &op,
                         std::vector<AttributeT> attributes,
                         const std::string &variant) {
  std::string name = op + variant;
  for (size_t i = 0; i < engine->kernels.size(); ++i)
    if (engine->kernels[i]->name == name)
      return uint32_t(i);
  auto kernel = std::make_unique<KernelT>();
  kernel->name = name;
  kernel->op = op;
  for (AttributeT &attribute : attributes)
    kernel->attributes.push_back(
        std::make_unique<AttributeT>(std::move(attribute)));
  engine->kernels.push_back(std::move(kernel));
  return uint32_t(engine->kernels.size() - 1);
}

uint32_t Builder::linear() {
  return kernel("linear", {intAttribute("act_group", 0)});
}

uint32_t Builder::rmsNorm() {
  return kernel("rms_norm", {floatAttribute("eps", 1e-6)});
}

uint32_t Builder::slice(SliceT value) {
  entry->slices.push_back(std::make_unique<SliceT>(std::move(value)));
  return uint32_t(entry->slices.size() - 1);
}

uint32_t Builder::activation(DType dtype, uint64_t count, uint64_t width) {
  return slice(place(kScratch, dtype, {count, width}, scratchUsed));
}

uint32_t Builder::columns(uint32_t whole, uint64_t from, uint64_t width) {
  SliceT part = *entry->slices[whole];
  part.offset += from * elementBytes(part.dtype);
  part.shape[1] = width;
  return slice(std::move(part));
}

uint32_t Builder::weight(const std::string &name) {
  auto found = weightIndex.find(name);
  if (found != weightIndex.end())
    return found->second;
  return weightIndex[name] = slice(weightSlices.at(name));
}

void Builder::launch(const std::string &at, uint32_t kernel,
                     std::vector<uint32_t> operands, Extent extent,
                     uint32_t group) {
  LaunchT launch;
  launch.kernel = kernel;
  launch.operands = std::move(operands);
  launch.extent = extent;
  auto command = std::make_unique<CommandT>();
  command->action.Set(std::move(launch));
  command->place = at;
  command->group = group;
  entry->commands.push_back(std::move(command));
}

void Builder::collective(const std::string &at, CollectiveT collective) {
  auto command = std::make_unique<CommandT>();
  command->action.Set(std::move(collective));
  command->place = at;
  entry->commands.push_back(std::move(command));
}

/// Between this stage and its neighbour.
void Builder::transfer(TransferKind kind, uint32_t index) {
  TransferT transfer;
  transfer.kind = kind;
  transfer.slice = index;
  transfer.extent = Extent::TOKENS;
  auto command = std::make_unique<CommandT>();
  command->action.Set(std::move(transfer));
  command->place =
      "model.layers." +
      std::to_string(kind == TransferKind::SEND ? endLayer : firstLayer) +
      ".input";
  entry->commands.push_back(std::move(command));
}

/// In place.
uint32_t Builder::summed(const std::string &at, uint32_t partial,
                         uint32_t groups, uint32_t groupSize) {
  if (groupSize == 1)
    return partial;
  CollectiveT sum;
  sum.kind = CollectiveKind::ALL_REDUCE_SUM;
  sum.groups = groups;
  sum.input = sum.output = partial;
  sum.extent = Extent::TOKENS;
  collective(at, sum);
  return partial;
}

uint32_t Builder::attentionSum(const std::string &at, uint32_t partial) {
  uint32_t groups = options.dp == 1 ? kTpGroups : kAttentionGroups;
  if (!options.tokenBlocks)
    return summed(at, partial, groups, width);
  DType dtype = entry->slices[partial]->dtype;
  uint64_t columns = entry->slices[partial]->shape[1];
  CollectiveT scatter, gather;
  scatter.kind = CollectiveKind::REDUCE_SCATTER_SUM;
  scatter.groups = gather.groups = groups;
  bool shares = options.tokenShares;
  Extent part = shares ? Extent::TOKEN_SHARE : Extent::TOKEN_BLOCK;
  scatter.layout = gather.layout =
      shares ? RowLayout::SHARES : RowLayout::BLOCKS;
  scatter.input = partial;
  scatter.output = activation(dtype, entry->tokens / width, columns);
  scatter.extent = Extent::TOKENS;
  scatter.output_extent = part;
  gather.kind = CollectiveKind::ALL_GATHER;
  gather.input = scatter.output;
  gather.output = activation(dtype, entry->tokens, columns);
  gather.extent = part;
  gather.output_extent = Extent::TOKENS;
  collective(at, scatter);
  collective(at, gather);
  return gather.output;
}

uint32_t Builder::gathered(const std::string &at, uint32_t own, Extent extent) {
  if (options.dp == 1)
    return own;
  bool tokens = extent == Extent::TOKENS;
  const SliceT &slice = *entry->slices[own];
  CollectiveT gather;
  gather.kind = CollectiveKind::ALL_GATHER;
  gather.groups = kReplicaGroups;
  gather.input = own;
  gather.extent = extent;
  gather.output_extent = tokens ? Extent::ALL_TOKENS : Extent::ALL_ROWS;
  gather.layout = tokens ? options.layout : RowLayout::PACKED;
  gather.output =
      activation(slice.dtype, options.dp * slice.shape[0], slice.shape[1]);
  collective(at, gather);
  return gather.output;
}

uint32_t Builder::expertSum(const std::string &at, uint32_t partial) {
  if (options.dp == 1)
    return summed(at, partial, kTpGroups, options.tp);
  CollectiveT scatter;
  scatter.kind = CollectiveKind::REDUCE_SCATTER_SUM;
  scatter.groups = kReplicaGroups;
  scatter.input = partial;
  scatter.output = activation(options.compute, entry->tokens, kHidden);
  scatter.extent = Extent::ALL_TOKENS;
  scatter.output_extent = Extent::TOKENS;
  scatter.layout = options.layout;
  collective(at, scatter);
  return summed(at, scatter.output, kAttentionGroups, width);
}

void Builder::bind(const std::string &name, uint32_t index) {
  auto binding = std::make_unique<BindingT>();
  binding->name = name;
  binding->slice = index;
  entry->bindings.push_back(std::move(binding));
}

uint32_t Builder::addAttention(const std::string &at, uint32_t layer,
                               uint32_t normed) {
  std::string attention = at + "self_attn.";
  uint64_t tokens = entry->tokens;
  uint64_t q = heads * kHeadDim, kv = kvHeads * kHeadDim;
  DType A = options.compute;
  uint32_t qkv = activation(A, tokens, q + 2 * kv);
  launch(attention + "qkv", linear(), {normed, weight(attention + "qkv"), qkv});
  uint32_t qPart = columns(qkv, 0, q), kPart = columns(qkv, q, kv),
           vPart = columns(qkv, q + kv, kv);
  uint32_t sums = activation(DType::F32, tokens, 2);
  launch(attention + "qk_norm", kernel("sum_of_squares", {}),
         {qPart, kPart, sums});
  sums = attentionSum(attention + "qk_norm", sums);
  // KV heads that several ranks hold count several times in the sum, so the
  // divisor counts them as often.
  auto scale = [&](const char *variant, int64_t column, uint64_t divisor) {
    return kernel("rms_scale",
                  {intAttribute("column", column),
                   intAttribute("divisor", int64_t(divisor)),
                   floatAttribute("eps", 1e-6)},
                  variant);
  };
  uint32_t qNormed = activation(A, tokens, q),
           kNormed = activation(A, tokens, kv);
  launch(attention + "q_norm", scale("_q", 0, kHeads * kHeadDim),
         {qPart, sums, weight(attention + "q_norm.weight"), qNormed});
  launch(attention + "k_norm", scale("_k", 1, kKvHeads * kHeadDim * kvCopies),
         {kPart, sums, weight(attention + "k_norm.weight"), kNormed});
  uint32_t rope = kernel("rope", {intAttribute("head_dim", kHeadDim),
                                  intAttribute("rotary_dim", 2),
                                  floatAttribute("theta", 10000)});
  uint32_t qRotated = activation(A, tokens, q),
           kRotated = activation(A, tokens, kv);
  launch(attention + "rope", rope, {qNormed, positions, qRotated});
  launch(attention + "rope", rope, {kNormed, positions, kRotated});
  uint32_t kCache = slice(states.at(at + "k")),
           vCache = slice(states.at(at + "v"));
  launch(attention + "kv", kernel("kv_append", {}),
         {kRotated, vPart, slots, kCache, vCache});
  uint32_t mixed = activation(A, tokens, q);
  launch(attention + "attention",
         kernel("attention", {intAttribute("head_dim", kHeadDim),
                              floatAttribute("scale", 0.5)}),
         {qRotated, kCache, vCache, positions, sequences, blockTable, mixed});
  if (options.recurrent) {
    uint32_t scanQkv = activation(A, tokens, 3 * q),
             scanned = activation(A, tokens, q),
             joined = activation(A, tokens, q);
    launch(attention + "scan_qkv", linear(),
           {normed, weight(attention + "scan.weight"), scanQkv});
    launch(attention + "scan",
           kernel("decay_scan",
                  {intAttribute("heads", kHeads), floatAttribute("rate", 0.5),
                   rankAttribute("head_start", rankValue(heads, width))}),
           {scanQkv, positions, sequences, slice(states.at(at + "state")),
            scanned});
    launch(attention + "joined", kernel("add", {}), {scanned, mixed, joined});
    mixed = joined;
  }
  uint32_t partial = activation(A, tokens, kHidden);
  launch(attention + "o_proj", linear(),
         {mixed, weight(attention + "o_proj.weight"), partial});
  return attentionSum(attention + "o_proj", partial);
}

uint32_t Builder::addExperts(const std::string &at, uint32_t normed) {
  std::string moe = at + "block_sparse_moe.";
  uint64_t tokens = allTokens();
  Extent extent = options.dp == 1 ? Extent::TOKENS : Extent::ALL_TOKENS;
  normed = gathered(moe + "gather", normed, Extent::TOKENS);
  uint32_t logits = activation(DType::F32, tokens, kExperts);
  launch(moe + "gate", linear(), {normed, weight(moe + "gate.weight"), logits},
         extent);
  uint32_t weights = activation(DType::F32, tokens, kTopK),
           experts = activation(DType::I32, tokens, kTopK);
  launch(moe + "router",
         kernel("router_topk", {floatAttribute("routed_scale", 1)}),
         {logits, weight(moe + "e_score_correction_bias"), weights, experts},
         extent);
  uint32_t partial = activation(options.compute, tokens, kHidden);
  launch(moe + "experts",
         kernel("experts",
                {rankAttribute("expert_start",
                               rankValue(kExperts / expertParts, expertParts,
                                         options.tp / expertParts)),
                 intAttribute("act_group", 0)}),
         {normed, weights, experts, weight(moe + "w13"), weight(moe + "w2"),
          partial},
         extent);
  return expertSum(moe + "experts", partial);
}

void Builder::addLayer(uint32_t layer, uint32_t &hidden) {
  std::string at = "model.layers." + std::to_string(layer) + ".";
  uint32_t norm = rmsNorm();
  uint32_t add = kernel("add", {});
  auto normed = [&](const char *name, uint32_t group) {
    uint32_t out = activation(options.compute, entry->tokens, kHidden);
    launch(at + name, norm,
           {hidden, weight(at + name + std::string(".weight")), out},
           Extent::TOKENS, group);
    return out;
  };
  auto addResidual = [&](const char *name, uint32_t delta, uint32_t group) {
    uint32_t sum = activation(options.compute, entry->tokens, kHidden);
    launch(at + name, add, {hidden, delta, sum}, Extent::TOKENS, group);
    hidden = sum;
  };
  addResidual("self_attn.residual",
              addAttention(at, layer, normed("input_layernorm", 0)), 1);
  addResidual("block_sparse_moe.residual",
              addExperts(at, normed("post_attention_layernorm", 1)), 0);
}

uint32_t Builder::addEmbedding() {
  uint32_t ids = entry->bindings[0]->slice;
  uint32_t hidden = activation(options.compute, entry->tokens, kHidden);
  launch("model.embed_tokens",
         kernel("embedding", {rankAttribute("vocab_start",
                                            rankValue(kVocab / width, width))}),
         {ids, weight("model.embed_tokens.weight"), hidden});
  return attentionSum("model.embed_tokens", hidden);
}

void Builder::addHead(uint32_t hidden) {
  uint64_t rows = entry->rows;
  Extent extent = options.dp == 1 ? Extent::ROWS : Extent::ALL_ROWS;
  uint32_t chosen = activation(options.compute, rows, kHidden),
           normed = activation(options.compute, rows, kHidden);
  launch("model.norm", kernel("select_rows", {}), {hidden, rowIndices, chosen},
         Extent::ROWS);
  launch("model.norm", rmsNorm(), {chosen, weight("model.norm.weight"), normed},
         Extent::ROWS);
  normed = gathered("lm_head", normed, Extent::ROWS);
  bool split = options.tp > 1;
  uint32_t part = logits;
  if (split)
    part = activation(DType::F32, options.dp * rows, kVocab / options.tp);
  launch("lm_head", linear(), {normed, weight("lm_head.weight"), part}, extent);
  if (options.candidates > 0)
    addCandidates(part, extent);
  if (!split)
    return;
  joinColumns("lm_head", part, logits, extent);
  if (options.candidates > 0)
    entry->commands.back()->output = "logits";
}

void Builder::joinColumns(const std::string &at, uint32_t part, uint32_t whole,
                          Extent extent) {
  CollectiveT gather;
  gather.kind = CollectiveKind::ALL_GATHER;
  gather.input = part;
  gather.output = whole;
  gather.dim = 1;
  gather.extent = extent;
  collective(at, gather);
}

void Builder::addCandidates(uint32_t part, Extent extent) {
  bool split = options.tp > 1;
  uint64_t rows = options.dp * entry->rows, count = options.candidates;
  uint32_t bestValues = values, bestTokens = tokens;
  if (split) {
    bestValues = activation(DType::F32, rows, count);
    bestTokens = activation(DType::I32, rows, count);
  }
  launch("candidates",
         kernel("top_candidates",
                {rankAttribute("vocab_start",
                               rankValue(kVocab / options.tp, options.tp))}),
         {part, bestValues, bestTokens}, extent);
  if (!split)
    return;
  uint32_t allValues = activation(DType::F32, rows, options.tp * count),
           allTokens = activation(DType::I32, rows, options.tp * count);
  joinColumns("candidates", bestValues, allValues, extent);
  joinColumns("candidates", bestTokens, allTokens, extent);
  launch("candidates", kernel("merge_candidates", {}),
         {allValues, allTokens, values, tokens}, extent);
}

void Builder::addEntry(const std::string &name, Phase phase,
                       uint64_t tokenCount, uint64_t rows) {
  program->entries.push_back(std::make_unique<EntryT>());
  entry = program->entries.back().get();
  entry->name = name;
  entry->phase = phase;
  entry->tokens = tokenCount;
  entry->rows = rows;
  weightIndex.clear();
  scratchUsed = ioUsed = 0;

  auto input = [&](const char *binding, const Shape &shape,
                   DType dtype = DType::I32) {
    uint32_t index = slice(place(kIo, dtype, shape, ioUsed));
    bind(binding, index);
    return index;
  };
  if (isFirst)
    input("tokens", {tokenCount});
  positions = input("positions", {tokenCount});
  sequences = input("sequences", {tokenCount});
  slots = input("slots", {tokenCount});
  blockTable =
      input("block_table",
            {options.maxBatch,
             (options.maxSeqLen + options.pageSize - 1) / options.pageSize});
  if (isLast) {
    rowIndices = input("rows", {rows});
    logits = input("logits", {options.dp * rows, kVocab}, DType::F32);
    if (uint64_t count = options.candidates) {
      values =
          input("candidate_values", {options.dp * rows, count}, DType::F32);
      tokens = input("candidate_tokens", {options.dp * rows, count});
    }
  }

  uint32_t hidden;
  if (isFirst) {
    hidden = addEmbedding();
  } else {
    hidden = activation(options.compute, tokenCount, kHidden);
    transfer(TransferKind::RECEIVE, hidden);
  }
  for (uint32_t layer = firstLayer; layer < endLayer; ++layer)
    addLayer(layer, hidden);
  if (isLast)
    addHead(hidden);
  else
    transfer(TransferKind::SEND, hidden);
  scratchBytes = std::max(scratchBytes, scratchUsed);
  ioBytes = std::max(ioBytes, ioUsed);
}

} // namespace saddle::tiny
