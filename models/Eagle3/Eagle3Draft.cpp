// The math is that of the published implementations (vLLM's llama_eagle3.py):
// the target's hidden states at some layers become one feature vector, once for
// each of its tokens; the draft's layer sees the embedding of the next token
// beside it, and its own output takes the place of the features of tokens that
// the target has not seen. Features lie in a state of tokens (`model.
// token_rows`), so that the target leaves them where the draft finds them
// (docs/decisions/0012-speculation.md).

#include "models/Eagle3/Eagle3Draft.h"

#include "models/Common/ModuleBuilder.h"
#include "models/Eagle3/Eagle3Weights.h"
#include "runtime/src/base/File.h"

#include <algorithm>
#include <cinttypes>
#include <cstdarg>
#include <cstring>

using namespace mlir;
using namespace saddle;
using namespace saddle::model;

namespace {

/// The target's side of what both share.
struct Target {
  func::FuncOp step;
  WeightOp table, head;
};

/// Weights of the target that the draft reads in place of its own.
struct Tables {
  std::string embed = "draft.embed", head = "draft.lm_head";
};

class Eagle3Builder : private ModuleBuilder {
public:
  Eagle3Builder(MLIRContext &context, const Eagle3Config &config,
                const std::vector<int64_t> &taps, const ModelFacts &facts,
                const ModelWeights &weights, const BuildOptions &options)
      : ModuleBuilder(context, facts.architecture, facts, weights, options),
        config(config), taps(taps) {}

  /// Weights, states and functions end up in `module`.
  void build(ModuleOp module, func::FuncOp step, const Tables &tables) {
    createWeights([](int64_t) {});
    createKVCache("draft.kv", config.attention.kvHeads,
                  config.attention.headDim, "draft.kv_heads");
    createTokenRows("draft.features", config.hidden);
    buildDraft(tables);
    OwningOpRef<ModuleOp> own = take();
    Block *to = module.getBody();
    to->getOperations().splice(to->end(), own->getBody()->getOperations());
    addIgnored(module, *own);
    leaveFeatures(step);
  }

private:
  /// The tensors that the draft's folder may hold and no weight reads.
  static void addIgnored(ModuleOp module, ModuleOp draft) {
    constexpr llvm::StringLiteral name = ModelDialect::kIgnoredSourcesAttrName;
    auto more = draft->getAttrOfType<DictionaryAttr>(name);
    if (!more)
      return;
    NamedAttrList all(module->getAttrOfType<DictionaryAttr>(name));
    all.append(more.begin(), more.end());
    module->setAttr(name, all.getDictionary(module.getContext()));
  }

  Value rmsNorm(const std::string &symbol, Value x) {
    return norm(symbol, x, config.rmsNormEps);
  }
  Value concat(const std::string &place, ArrayRef<Value> values,
               int64_t columns) {
    return ConcatOp::create(builder, loc(place), activation(columns),
                            ValueRange(values));
  }

  /// What the target does for the draft, at the end of its step: the features
  /// of every token, from the residual stream where it enters the tapped
  /// layers. A layer boundary's result is that stream, complete.
  void leaveFeatures(func::FuncOp step) {
    Operation *end = step.getBody().front().getTerminator();
    builder.setInsertionPoint(end);
    SmallVector<Value> states;
    for (auto boundary : step.getBody().getOps<LayerBoundaryOp>())
      if (llvm::is_contained(taps, int64_t(boundary.getLayer())))
        states.push_back(boundary.getResult());
    if (config.normEachTap)
      for (auto [index, tapped] : llvm::enumerate(states))
        tapped = rmsNorm("draft.fc_norm." + std::to_string(index), tapped);
    Value all = states.size() == 1 ? states.front()
                                   : concat("draft.taps", states,
                                            config.taps * config.targetHidden);
    if (config.normAllTaps)
      all = rmsNorm("draft.taps_norm", all);
    Value features = linear("draft.fc", all, config.hidden);
    KeepRowsOp::create(builder, loc("draft.features"), features,
                       ref("draft.features"),
                       step.getBody().front().getArgument(3));
  }

  /// Row t stands for the token at position t and is given the token behind it:
  /// it drafts the one behind that.
  void buildDraft(const Tables &tables) {
    func::FuncOp function =
        beginFunction(kDraftName, {activation(1, builder.getF32Type()),
                                   activation(1, builder.getI32Type())});
    function->setAttr(ModelDialect::kProgramAttrName,
                      builder.getStringAttr(kDraftName));
    function->setAttr(
        ModelDialect::kOutputsAttrName,
        builder.getStrArrayAttr({"candidate_values", "candidate_tokens"}));
    Value features = KeptRowsOp::create(builder, loc("draft.features"),
                                        activation(config.hidden), positions,
                                        ref("draft.features"), context);
    // In the order of their columns, so that norms and concatenation may be one
    // launch.
    Value embedded =
        rmsNorm("draft.input_norm", embed(tables.embed, config.hidden));
    Value normed = rmsNorm("draft.hidden_norm", features);
    Value x = concat("draft.input", {embedded, normed}, 2 * config.hidden);
    // Behind attention only the rows matter that somebody wants: the last one
    // of each sequence.
    Value attended =
        linear("draft.o_proj", wanted(attention(x)), config.hidden);
    Value residual =
        add("draft.attention_residual",
            wanted(config.normBeforeResidual ? normed : features), attended);
    Value last = add("draft.mlp_residual", residual,
                     mlp(rmsNorm("draft.post_attention_norm", residual)));
    Value output = rmsNorm("draft.final_norm", last);
    KeepNextRowsOp::create(builder, loc("draft.next_features"),
                           config.carriesNormed ? output : last, rows,
                           ref("draft.features"), context);
    Value logits =
        linear(tables.head, output, config.draftVocab, builder.getF32Type());
    auto best = TopCandidatesOp::create(
        builder, loc("draft.candidates"), activation(1, builder.getF32Type()),
        activation(1, builder.getI32Type()), logits);
    Value token = best.getTokens();
    if (config.isReduced())
      token = MapTokensOp::create(builder, loc("draft.d2t"), token.getType(),
                                  token, ref("draft.d2t"));
    func::ReturnOp::create(builder, loc("draft.candidates"),
                           ValueRange{best.getValues(), token});
  }

  Value attention(Value x) {
    const AttentionSizes &sizes = config.attention;
    Value q = linear("draft.q_proj", x, sizes.qWidth());
    Value k = linear("draft.k_proj", x, sizes.kvWidth());
    Value v = linear("draft.v_proj", x, sizes.kvWidth());
    q = rope("draft.rope", q, sizes.headDim, config.rope);
    k = rope("draft.rope", k, sizes.headDim, config.rope);
    return cachedAttention("draft.self_attn", "draft.kv", q, k, v,
                           sizes.headDim);
  }

  Value wanted(Value x) {
    return SelectRowsOp::create(builder, loc("draft.select_rows"), x.getType(),
                                x, rows);
  }

  Value mlp(Value x) {
    Value gate = linear("draft.gate_proj", x, config.width);
    Value up = linear("draft.up_proj", x, config.width);
    return linear("draft.down_proj",
                  SwiGLUOp::create(builder, loc("draft.swiglu"), gate, up),
                  config.hidden);
  }

  const Eagle3Config &config;
  const std::vector<int64_t> &taps;
};

std::string listed(const std::vector<int64_t> &numbers) {
  std::string text;
  for (int64_t number : numbers)
    text += (text.empty() ? "" : ", ") + std::to_string(number);
  return text;
}

class Eagle3Draft : public Draft {
public:
  Eagle3Draft(const ModelSource &source, const ModelFacts &target)
      : configPath(source.configPath), folder(source.folder), target(target) {}

  Status read(const ModelSource &source, const DraftOptions &options) {
    SADDLE_ASSIGN_OR_RETURN(config, readEagle3Config(source.config, messages));
    SADDLE_RETURN_IF_ERROR(checkTarget());
    SADDLE_RETURN_IF_ERROR(chooseTaps(options));
    hasWholeEmbedding = options.wholeEmbedding;
    SADDLE_ASSIGN_OR_RETURN(weights, readEagle3Weights(config, source));
    return {};
  }

  const std::vector<std::string> &warnings() const override { return messages; }

  std::string describeTaps() const override {
    return "the draft sees the hidden states that enter layers " +
           listed(taps) + " (" + tapsFrom + ")";
  }

  Status attach(ModuleOp module, const BuildOptions &options,
                const std::string &modelFolder) override;

private:
  /// `FILE: message`, formatted like printf.
  [[gnu::format(printf, 3, 4)]] Status fail(StatusCode code, const char *format,
                                            ...) const {
    va_list args;
    va_start(args, format);
    Status status = makeErrorV(code, format, args).within(configPath);
    va_end(args);
    return status;
  }
  Status checkTarget() const;
  Status chooseTaps(const DraftOptions &options);
  /// The target's table in place of the draft's own, if that is missing or has
  /// the same bytes. `symbol` becomes the one to read.
  Status shareTable(std::string &symbol, WeightOp shared, const char *what,
                    int64_t rows, const std::string &modelFolder);

  const std::string configPath, folder;
  const ModelFacts target;
  Eagle3Config config;
  ModelWeights weights;
  std::vector<int64_t> taps; // ascending
  std::string tapsFrom;
  bool hasWholeEmbedding = false;
  std::vector<std::string> messages;
};

} // namespace

Status Eagle3Draft::checkTarget() const {
  auto differs = [&](const char *field, int64_t found, const char *what,
                     int64_t expected) {
    return fail(StatusCode::Mismatch,
                "%s: %" PRId64
                ", but the model that it drafts for has %s = %" PRId64
                "; the draft belongs to another model",
                field, found, what, expected);
  };
  if (config.vocab != target.vocab)
    return differs("vocab_size", config.vocab, "vocab_size", target.vocab);
  if (config.targetHidden != target.hidden)
    return differs("target_hidden_size (hidden_size unless set)",
                   config.targetHidden, "hidden_size", target.hidden);
  return {};
}

Status Eagle3Draft::chooseTaps(const DraftOptions &options) {
  const int64_t layers = target.layers;
  if (!options.taps.empty()) {
    taps = options.taps;
    tapsFrom = "--draft-taps";
  } else if (!config.tapLayers.empty()) {
    taps = config.tapLayers;
    tapsFrom = "from its config.json, layers entered";
    if (options.convention == TapConvention::Leaving) {
      for (int64_t &layer : taps)
        ++layer;
      tapsFrom = "from its config.json, layers left";
    }
  } else if (options.convention == TapConvention::Leaving) {
    return fail(StatusCode::InvalidArgument,
                "--draft-taps-are leaving has no effect: the draft's "
                "config.json names no layers; name them with --draft-taps");
  } else {
    // What engines and trainers use where nothing is said.
    taps = {2, layers / 2, layers - 3};
    tapsFrom = "the default, since its config.json names none";
  }
  if (int64_t(taps.size()) != config.taps)
    return fail(
        StatusCode::Mismatch,
        "the draft sees %" PRId64 " hidden states, but layers %s (%s) are %zu; "
        "name as many with --draft-taps",
        config.taps, listed(taps).c_str(), tapsFrom.c_str(), taps.size());
  for (size_t i = 0; i < taps.size(); ++i)
    if (taps[i] < 0 || taps[i] >= layers || (i > 0 && taps[i] <= taps[i - 1]))
      return fail(StatusCode::Mismatch,
                  "layers %s (%s) are not ascending layers of the model, which "
                  "has 0 to %" PRId64 "; name others with --draft-taps",
                  listed(taps).c_str(), tapsFrom.c_str(), layers - 1);
  return {};
}

//===----------------------------------------------------------------------===//
// Shared tables
//===----------------------------------------------------------------------===//

/// Whether two tensors of checkpoints have the same bytes.
static StatusOr<bool> haveSameBytes(const std::string &folderA,
                                    const std::string &tensorA,
                                    const std::string &folderB,
                                    const std::string &tensorB) {
  SADDLE_ASSIGN_OR_RETURN(Checkpoint a, Checkpoint::open(folderA));
  SADDLE_ASSIGN_OR_RETURN(Checkpoint b, Checkpoint::open(folderB));
  auto x = a.tensors.find(tensorA), y = b.tensors.find(tensorB);
  if (x == a.tensors.end() || y == b.tensors.end() ||
      x->second.dtype != y->second.dtype || x->second.shape != y->second.shape)
    return false;
  SADDLE_ASSIGN_OR_RETURN(InputFile first,
                          InputFile::open(a.files[x->second.file]));
  SADDLE_ASSIGN_OR_RETURN(InputFile second,
                          InputFile::open(b.files[y->second.file]));
  constexpr uint64_t kPart = 4 << 20;
  std::vector<uint8_t> left(kPart), right(kPart);
  for (uint64_t at = 0; at < x->second.bytes; at += kPart) {
    uint64_t count = std::min(kPart, x->second.bytes - at);
    SADDLE_RETURN_IF_ERROR(
        first.read(x->second.offset + at, left.data(), count));
    SADDLE_RETURN_IF_ERROR(
        second.read(y->second.offset + at, right.data(), count));
    if (std::memcmp(left.data(), right.data(), count) != 0)
      return false;
  }
  return true;
}

Status Eagle3Draft::shareTable(std::string &symbol, WeightOp shared,
                               const char *what, int64_t rows,
                               const std::string &modelFolder) {
  RankedTensorType type = shared.getWeightType();
  bool fits = type.getDimSize(0) == rows && type.getDimSize(1) == config.hidden;
  const ModelWeight *own = weights.find(symbol);
  if (!own && !fits)
    return fail(StatusCode::Mismatch,
                "the draft has no %s tensor, and the model's is %" PRId64
                " x %" PRId64 ", expected %" PRId64 " x %" PRId64,
                what, type.getDimSize(0), type.getDimSize(1), rows,
                config.hidden);
  if (own) {
    if (!fits || modelFolder.empty() || folder.empty())
      return {};
    SADDLE_ASSIGN_OR_RETURN(bool same,
                            haveSameBytes(folder, own->spec.name, modelFolder,
                                          shared.getSource().str()));
    if (!same)
      return {};
    weights.ignored.push_back(
        {own->spec, "the same as the model's own, which is used"});
    weights.used.erase(weights.used.begin() + (own - weights.used.data()));
  }
  symbol = shared.getSymName().str();
  return {};
}

//===----------------------------------------------------------------------===//
// Attaching
//===----------------------------------------------------------------------===//

Status Eagle3Draft::attach(ModuleOp module, const BuildOptions &options,
                           const std::string &modelFolder) {
  Target found;
  found.step = module.lookupSymbol<func::FuncOp>("step");
  auto weightOf = [&](FlatSymbolRefAttr symbol) {
    return module.lookupSymbol<WeightOp>(symbol.getAttr());
  };
  for (auto op : found.step.getBody().getOps<EmbeddingOp>())
    found.table = weightOf(op.getTableAttr());
  Operation *end = found.step.getBody().front().getTerminator();
  found.head =
      weightOf(end->getOperand(0).getDefiningOp<LinearOp>().getWeightAttr());

  Tables tables;
  SADDLE_RETURN_IF_ERROR(shareTable(tables.embed, found.table,
                                    "embed_tokens.weight", config.vocab,
                                    modelFolder));
  SADDLE_RETURN_IF_ERROR(shareTable(tables.head, found.head, "lm_head.weight",
                                    config.draftVocab, modelFolder));
  Builder builder(module.getContext());
  WeightOp copied;
  if (hasWholeEmbedding && tables.embed != Tables().embed) {
    copied = found.table.clone();
    copied.setSymName(tables.embed = Tables().embed);
  }
  Eagle3Builder(*module.getContext(), config, taps, target, weights, options)
      .build(module, found.step, tables);
  if (copied)
    module.insert(found.table->getNextNode(), copied);
  if (hasWholeEmbedding)
    module.lookupSymbol<WeightOp>(tables.embed)
        .setDimsAttr(builder.getArrayAttr(
            {DimAttr::get(builder.getContext(),
                          builder.getStringAttr("drafted_vocab"), 1),
             DimAttr::get(builder.getContext(), builder.getStringAttr("hidden"),
                          1)}));
  module->setAttr(
      ModelDialect::kCheckpointsAttrName,
      builder.getDictionaryAttr({builder.getNamedAttr(
          kDraftName, builder.getStringAttr(weights.fingerprint()))}));
  return {};
}

StatusOr<std::unique_ptr<Draft>>
saddle::importEagle3(const ModelSource &source, const ModelFacts &target,
                     const DraftOptions &options) {
  auto draft = std::make_unique<Eagle3Draft>(source, target);
  SADDLE_RETURN_IF_ERROR(draft->read(source, options));
  return std::unique_ptr<Draft>(std::move(draft));
}
