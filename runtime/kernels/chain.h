// Steps that follow one another without the host: what stands behind a step of
// a chain takes the tokens that it gave and writes the inputs of the next one.
// The host says once what the chain is about and reads later what came of it
// (docs/decisions/0017-chains-of-steps.md). Plain C++: one definition for the
// kernel (impls/chain.cuh) and for tests without a GPU.
//
// A round of a chain is one step of the main program. With a draft it is the
// verification of `drafts` tokens of each sequence, the draft's step over what
// it made sure, and further steps of the draft. Every step of a chain has the
// same shape, however many tokens a sequence accepts: the draft runs over all
// rows that were verified, and only the wanted row, the last one that is of the
// text, leaves anything that counts.

#ifndef SADDLE_RUNTIME_KERNELS_CHAIN_H
#define SADDLE_RUNTIME_KERNELS_CHAIN_H

#include "runtime/kernels/abi.h"

#include <cstddef>

#ifdef __CUDACC__
#define SADDLE_CHAIN_INLINE __device__ __forceinline__
#else
#define SADDLE_CHAIN_INLINE inline
#endif

namespace saddle::device {

/// End-of-sequence tokens that a chain looks for, at most.
constexpr uint32_t kMostChainStops = 16;

/// Which step follows a link; the number of its header, too.
enum ChainStep : uint32_t {
  kChainMain = 0,       // of the main program
  kChainDraftFirst = 1, // of the draft, over all rows of a verification
  kChainDraft = 2,      // of the draft, a token of each sequence
};
constexpr uint32_t kChainSteps = 3;

/// One sequence of a chain; sequences have the order of the step's inputs.
struct ChainSequence {
  int32_t slot;  // of the batch
  int32_t token; // the last one of the text, which no step has taken
  /// Of that token. Between a verification and the draft's step over its rows,
  /// that of the first row.
  int32_t position;
  int32_t accepted; // drafted tokens, in this round
  int32_t pages;    // that it holds
  int32_t stops;    // whether a stop token ends it
  int32_t hasEnded;
  int32_t reserved;
};

/// One chain, in device memory; pointers into device memory, but for results.
/// The host writes it before the first step.
struct Chain {
  uint32_t sequences;
  uint32_t drafts; // of each sequence in a round; 0: no draft
  uint32_t pageSize;
  uint32_t blocks; // pages of the longest sequence
  uint32_t round;  // that runs
  uint32_t allEnded;
  uint32_t stopCount;
  uint32_t reserved;
  int32_t stops[kMostChainStops];
  ChainSequence *sequence; // [sequences]
  int32_t *drafted;        // [sequences, drafts]
  /// [rounds, sequences]: how many drafted tokens are right, whatever the model
  /// says; null: the model says.
  const int32_t *forced;
  const int32_t *table; // [sequences, blocks], pages
  /// Results, in host memory: by round the best candidate of each row,
  /// [rounds, sequences, drafts + 1], what was drafted behind them,
  /// [rounds, sequences, drafts], and by sequence the position of the token
  /// that comes next.
  float *values;
  int32_t *tokens;
  int32_t *nextDrafts;
  int32_t *positions;
  Step headers[kChainSteps];
};

/// Inputs of an entry, in device memory.
struct ChainInputs {
  int32_t *tokens, *positions, *rows, *sequences, *slots, *table;
  uint64_t tableStride; // elements between sequences
};

/// What stands behind a step: constant for a graph.
struct ChainLink {
  ChainStep after, before;
  uint32_t number; // of the drafted token that the step gives
  /// Whether the next entry's block table must be written: others' inputs lie
  /// there meanwhile.
  uint32_t copiesTable;
  /// Candidates of the step's rows.
  const float *values;
  const int32_t *tokens;
  uint64_t valueStride, tokenStride; // elements between rows
  ChainInputs inputs;
  Step *step; // its header
};

/// The work of a link, shared by the threads of a team: `index()` of `size()`,
/// and `all(holds)`, which no thread leaves before all have come, and which
/// tells whether `holds` was true for each.
template <typename Team>
class ChainWork {
public:
  SADDLE_CHAIN_INLINE ChainWork(Chain &chain, const ChainLink &link, Team team)
      : chain(chain), link(link), team(team), rows(chain.drafts + 1) {}

  SADDLE_CHAIN_INLINE void run() {
    // Nothing more is computed, and the header says so already.
    if (chain.allEnded)
      return;
    bool ended = true;
    for (uint32_t i = team.index(); i < chain.sequences; i += team.size()) {
      if (link.after == kChainMain)
        takeMain(i);
      else
        takeDraft(i);
      ended = ended && chain.sequence[i].hasEnded;
    }
    // Results may lie where the next inputs do.
    ended = team.all(ended);
    for (uint32_t i = team.index(); i < chain.sequences; i += team.size())
      writeInputs(i);
    writeHeader(ended);
    if (link.copiesTable)
      writeTable();
    // All have read them before the barrier, and the next link comes later.
    if (team.index() == 0) {
      chain.allEnded = ended;
      chain.round += link.before == kChainMain;
    }
  }

private:
  SADDLE_CHAIN_INLINE bool isStop(int32_t token) const {
    bool stops = false;
    for (uint32_t i = 0; i < chain.stopCount; ++i)
      stops = stops || chain.stops[i] == token;
    return stops;
  }

  SADDLE_CHAIN_INLINE void takeMain(uint32_t i) {
    ChainSequence &sequence = chain.sequence[i];
    const int32_t *drafted = chain.drafted + uint64_t(i) * chain.drafts;
    uint64_t first = uint64_t(i) * rows;
    uint64_t at = uint64_t(chain.round) * chain.sequences;
    for (uint32_t row = 0; row < rows; ++row) {
      chain.values[at * rows + first + row] =
          link.values[(first + row) * link.valueStride];
      chain.tokens[at * rows + first + row] = tokenOf(first + row);
    }
    uint32_t accepted = 0;
    if (chain.forced)
      accepted = uint32_t(chain.forced[at + i]);
    else
      while (accepted < chain.drafts &&
             tokenOf(first + accepted) == drafted[accepted])
        ++accepted;
    sequence.token = tokenOf(first + accepted);
    sequence.accepted = int32_t(accepted);
    if (sequence.stops) {
      bool ends = isStop(sequence.token);
      for (uint32_t row = 0; row < accepted; ++row)
        ends = ends || isStop(drafted[row]);
      sequence.hasEnded = sequence.hasEnded || ends;
    }
    chain.positions[i] = sequence.position + int32_t(accepted) + 1;
  }

  SADDLE_CHAIN_INLINE int32_t tokenOf(uint64_t row) const {
    return link.tokens[row * link.tokenStride];
  }

  SADDLE_CHAIN_INLINE void takeDraft(uint32_t i) {
    uint64_t at = uint64_t(i) * chain.drafts + link.number;
    int32_t token = tokenOf(i);
    chain.drafted[at] = token;
    chain.nextDrafts[uint64_t(chain.round) * chain.sequences * chain.drafts +
                     at] = token;
  }

  /// One row of the next step, of sequence i.
  SADDLE_CHAIN_INLINE void writeRow(uint32_t i, uint64_t row, int32_t token,
                                    int32_t position) {
    const ChainSequence &sequence = chain.sequence[i];
    const ChainInputs &to = link.inputs;
    uint32_t block = uint32_t(position) / chain.pageSize;
    int32_t page = block < chain.blocks
                       ? chain.table[uint64_t(i) * chain.blocks + block]
                       : -1;
    if (to.tokens)
      to.tokens[row] = token;
    if (to.positions)
      to.positions[row] = position;
    if (to.sequences)
      to.sequences[row] = sequence.slot;
    // A slot that is none is never followed.
    if (to.slots)
      to.slots[row] = page < 0 ? -1
                               : page * int32_t(chain.pageSize) +
                                     position % int32_t(chain.pageSize);
  }

  SADDLE_CHAIN_INLINE void wantRow(uint64_t number, uint64_t row) {
    if (link.inputs.rows)
      link.inputs.rows[number] = int32_t(row);
  }

  SADDLE_CHAIN_INLINE void writeInputs(uint32_t i) {
    ChainSequence &sequence = chain.sequence[i];
    const int32_t *drafted = chain.drafted + uint64_t(i) * chain.drafts;
    uint64_t first = uint64_t(i) * rows;
    int32_t start = sequence.position;
    if (link.after == kChainMain)
      sequence.position = start + sequence.accepted + 1;
    if (link.before == kChainDraft) {
      writeRow(i, i, drafted[link.number],
               sequence.position + int32_t(link.number));
      wantRow(i, i);
      return;
    }
    if (link.before == kChainDraftFirst) {
      // The draft's row at a position takes the token behind it.
      uint32_t accepted = uint32_t(sequence.accepted);
      for (uint32_t row = 0; row < rows; ++row)
        writeRow(i, first + row,
                 row < accepted    ? drafted[row]
                 : row == accepted ? sequence.token
                                   : 0,
                 start + int32_t(row));
      wantRow(i, first + accepted);
      return;
    }
    for (uint32_t row = 0; row < rows; ++row) {
      writeRow(i, first + row, row == 0 ? sequence.token : drafted[row - 1],
               sequence.position + int32_t(row));
      wantRow(first + row, first + row);
    }
  }

  SADDLE_CHAIN_INLINE void writeHeader(bool ended) {
    // Whole words of a structure without gaps.
    constexpr uint32_t kWords = sizeof(Step) / sizeof(uint32_t);
    constexpr uint32_t kBehind =
        uint32_t(offsetof(Step, tokens) / sizeof(uint32_t));
    constexpr uint32_t kCounts = sizeof(Step::counts) / sizeof(uint32_t);
    const auto *from =
        reinterpret_cast<const uint32_t *>(&chain.headers[link.before]);
    auto *to = reinterpret_cast<uint32_t *>(link.step);
    for (uint32_t i = team.index(); i < kWords; i += team.size())
      to[i] = ended && (i < kCounts || i >= kBehind) ? 0 : from[i];
  }

  SADDLE_CHAIN_INLINE void writeTable() {
    for (uint32_t i = 0; i < chain.sequences; ++i) {
      const ChainSequence &sequence = chain.sequence[i];
      int32_t *to = link.inputs.table +
                    uint64_t(uint32_t(sequence.slot)) * link.inputs.tableStride;
      const int32_t *from = chain.table + uint64_t(i) * chain.blocks;
      for (uint32_t page = team.index(); page < uint32_t(sequence.pages);
           page += team.size())
        to[page] = from[page];
    }
  }

  Chain &chain;
  const ChainLink &link;
  Team team;
  const uint32_t rows; // of a sequence in a step of the main program
};

} // namespace saddle::device

#endif // SADDLE_RUNTIME_KERNELS_CHAIN_H
