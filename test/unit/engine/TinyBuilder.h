// The parts of TinyEngine.cpp: weights and entries are built in files of their
// own.

#ifndef SADDLE_TEST_UNIT_ENGINE_TINYBUILDER_H
#define SADDLE_TEST_UNIT_ENGINE_TINYBUILDER_H

#include "test/unit/engine/TinyEngine.h"

#include <algorithm>
#include <map>

namespace saddle::tiny {

using namespace schema;

constexpr uint64_t kVocab = 16, kHidden = 8, kHeads = 4, kKvHeads = 2,
                   kHeadDim = 4, kExperts = 4, kExpertWidth = 4, kTopK = 2;
constexpr uint32_t kWeights = 0, kState = 1, kScratch = 2, kIo = 3,
                   kSequences = 4;
constexpr uint32_t kTpGroups = 0, kAttentionGroups = 1, kReplicaGroups = 2;

using Shape = std::vector<uint64_t>;

inline RankValueT rankValue(uint64_t step, uint64_t modulus,
                            uint64_t divisor = 1) {
  RankValueT value;
  value.divisor = divisor;
  value.modulus = modulus;
  value.step = step;
  return value;
}

/// Hands out dense slices of an arena, 64-byte aligned, and tracks its size.
SliceT place(uint32_t arena, DType dtype, const Shape &shape, uint64_t &used);

/// Builds one engine; the entry under construction is part of its state.
class Builder {
public:
  Builder(const TinyOptions &options)
      : options(options), engine(std::make_unique<EngineT>()),
        width(options.tp / options.dp),
        expertParts(options.ep
                        ? options.ep
                        : uint32_t(std::min<uint64_t>(options.tp, kExperts))),
        heads(kHeads / width), kvHeads(std::max<uint64_t>(1, kKvHeads / width)),
        kvCopies(kvHeads * width / kKvHeads) {}

  std::unique_ptr<EngineT> build();

private:
  struct PiecePlan {
    std::string source;
    Shape sourceShape;
    uint64_t rows, cols;
    RankValueT rowStart, colStart;
    uint64_t destRow = 0;
    uint64_t stack = 0; // members of a stacked source
    RankValueT stackStart = {};
    uint64_t stackCount = 1;
    DType sourceDType = DType::UNKNOWN; // UNKNOWN: options.weights
  };

  void addArenas();
  void addRankGroups();
  void addProgram(const char *name, uint32_t stage);
  uint32_t addSource(const PiecePlan &plan);
  void addWeight(const std::string &name, const Shape &shape, DType dtype,
                 const std::vector<PiecePlan> &plans);
  void addWeights();
  void addState(const std::string &name, StateKind kind, SliceT slice);
  void addLayerWeights(uint32_t layer);
  uint32_t kernel(const std::string &op, std::vector<AttributeT> attributes,
                  const std::string &variant = "");
  uint32_t linear();
  uint32_t rmsNorm();
  void addEntry(const std::string &name, Phase phase, uint64_t tokens,
                uint64_t rows);
  void addLayer(uint32_t layer, uint32_t &hidden);
  uint32_t addAttention(const std::string &at, uint32_t layer, uint32_t normed);
  uint32_t addExperts(const std::string &at, uint32_t normed);
  uint32_t addEmbedding();
  void addHead(uint32_t hidden);
  /// The best of a row's logits, of which this rank has `part`.
  void addCandidates(uint32_t part, Extent extent);

  uint32_t slice(SliceT value);
  uint32_t activation(DType dtype, uint64_t count, uint64_t width);
  /// Columns [from, from + width) of a 2-d slice.
  uint32_t columns(uint32_t whole, uint64_t from, uint64_t width);
  uint32_t weight(const std::string &name);
  void launch(const std::string &at, uint32_t kernel,
              std::vector<uint32_t> operands, Extent extent = Extent::TOKENS,
              uint32_t group = 0);
  void collective(const std::string &at, CollectiveT collective);
  void joinColumns(const std::string &at, uint32_t part, uint32_t whole,
                   Extent extent);
  void transfer(TransferKind kind, uint32_t index);
  uint32_t summed(const std::string &at, uint32_t partial, uint32_t groups,
                  uint32_t groupSize);
  /// `partial` summed over the ranks of an attention replica.
  uint32_t attentionSum(const std::string &at, uint32_t partial);
  /// The rows of all replicas, and what an expert's partial becomes of them.
  uint32_t gathered(const std::string &at, uint32_t own, Extent extent);
  uint32_t expertSum(const std::string &at, uint32_t partial);
  uint64_t allTokens() const { return options.dp * entry->tokens; }
  void bind(const std::string &name, uint32_t index);

  const TinyOptions options;
  std::unique_ptr<EngineT> engine;
  const uint32_t width;       // of an attention replica
  const uint32_t expertParts; // ep
  const uint64_t heads, kvHeads, kvCopies;
  // Of the arenas: the most that any program needs.
  uint64_t weightBytes = 0, stateBytes = 0, sequenceBytes = 0, scratchBytes = 0,
           ioBytes = 0;
  // How much of the arenas a program uses.
  struct Used {
    uint64_t weights = 0, states = 0, sequences = 0;
  };
  std::vector<Used> mainUses; // by stage
  uint32_t checkpoint = 0;    // of the program being built
  // Of the program being built.
  ProgramT *program = nullptr;
  uint32_t firstLayer = 0, endLayer = 0;
  bool isFirst = true, isLast = true;
  Used used;
  std::map<std::string, SliceT> weightSlices, states;
  std::map<std::pair<uint32_t, std::string>, uint32_t> sourceIndex;
  // Of the entry being built.
  EntryT *entry = nullptr;
  std::map<std::string, uint32_t> weightIndex;
  uint64_t scratchUsed = 0, ioUsed = 0;
  uint32_t positions = 0, sequences = 0, slots = 0, blockTable = 0;
  uint32_t rowIndices = 0, logits = 0, values = 0, tokens = 0; // last stage
};

} // namespace saddle::tiny

#endif // SADDLE_TEST_UNIT_ENGINE_TINYBUILDER_H
