// Which tokens run in which launch, and where their keys and values lie.
//
// Owns sequences and KV pages, those of each attention replica, and knows
// nothing of threads or memory: it turns "append these tokens to these
// sequences" into a series of ragged batches that fit the engine's entries.

#ifndef SADDLE_RUNTIME_SESSION_SCHEDULER_H
#define SADDLE_RUNTIME_SESSION_SCHEDULER_H

#include "runtime/schema/engine_generated.h"
#include "runtime/src/backend/Batch.h"
#include "runtime/src/base/HostMemory.h"
#include "runtime/src/base/Span.h"
#include "runtime/src/base/Status.h"

#include <vector>

namespace saddle::session {

/// Which of a sequence's new tokens the caller wants logits of.
enum class LogitsWanted { None, Last, All };

/// Tokens to append to one sequence.
struct SequenceInput {
  uint32_t sequence;
  Span<const int32_t> tokens; // borrowed for the step
  LogitsWanted logits;

  /// Rows of logits that this input yields.
  size_t rows() const {
    return logits == LogitsWanted::All    ? tokens.size()
           : logits == LogitsWanted::Last ? 1
                                          : 0;
  }
};

/// Rows that a step with these inputs yields; SIZE_MAX when they do not fit.
inline size_t rowsOf(Span<const SequenceInput> inputs) {
  size_t rows = 0;
  for (const SequenceInput &input : inputs)
    if (__builtin_add_overflow(rows, input.rows(), &rows))
      return SIZE_MAX;
  return rows;
}

/// Not thread-safe.
class Scheduler final : public backend::PageTables {
public:
  /// What the tables of sequences take, before a sequence has a page.
  static uint64_t tableBytes(const schema::Engine &engine) {
    return saturatingProduct(uint64_t(engine.topology()->dp()) * sizeof(Slot),
                             engine.limits()->max_batch());
  }
  /// Each replica has `pages` pages. `prefillChunk` bounds a replica's tokens
  /// of a prefill batch; 0 means the engine's limit. Steps of several sequences
  /// are cut into up to `microBatches` batches of about equal size. Errors: a
  /// chunk beyond the engine's limit.
  static StatusOr<Scheduler> create(const schema::Engine &engine,
                                    uint64_t pages, uint64_t prefillChunk,
                                    uint64_t microBatches);

  /// An empty sequence of the replica with the fewest sequences (then the most
  /// free pages). ResourceExhausted when all have max_batch.
  StatusOr<uint32_t> addSequence();
  /// Frees the slot and its pages.
  Status removeSequence(uint32_t sequence);
  /// Whether the sequence can keep its first `length` tokens only, as a program
  /// counts them.
  Status checkCut(uint32_t sequence, uint64_t length,
                  uint32_t program = 0) const;
  /// Forgets the others, and frees the pages that then hold none. What other
  /// programs did with tokens that the main one forgets, and with those before
  /// them, which looked at them, is forgotten, too.
  void cut(uint32_t sequence, uint64_t length, uint32_t program = 0);
  /// Tokens that the sequence holds; 0 when it does not exist.
  uint64_t length(uint32_t sequence, uint32_t program = 0) const;
  /// Of all replicas.
  uint64_t freePages() const;
  /// Of each replica, free or not.
  uint64_t numPages() const { return pages; }
  /// InvalidArgument when there is no such sequence.
  Status checkExists(uint32_t sequence) const;
  /// Its batch slot in its replica.
  uint32_t slotOf(uint32_t sequence) const {
    return sequence / uint32_t(replicas.size());
  }
  uint32_t replicaOf(uint32_t sequence) const {
    return sequence % uint32_t(replicas.size());
  }

  /// Accepts the inputs of a step of a program (engine::programNames) and
  /// reserves their pages, or refuses all of them and changes nothing. No
  /// inputs make a step of one empty batch. Programs count a sequence's tokens
  /// each for itself, and share its pages.
  Status begin(Span<const SequenceInput> inputs, uint32_t program = 0);
  /// The step's next batch; false when there is none left. `batch` is reused
  /// so that steps do not allocate.
  bool next(backend::Batch &batch);

  /// Plans a chain of `rounds` rounds (backend::ChainPlan): `batch` becomes its
  /// first step, of each sequence the last token and the drafted ones, and
  /// pages are held for all that its steps may write. False, and nothing has
  /// changed, when they do not fit one decode batch, the sequences' lengths or
  /// the free pages, or when the draft is not where the main program is: steps
  /// one by one say what is wrong, if anything is. Errors: those of begin().
  /// Needs one replica.
  StatusOr<bool> beginChain(Span<const SequenceInput> inputs, uint64_t drafts,
                            uint64_t rounds, backend::Batch &batch);
  /// Behind a chain: the sequence holds so many tokens, also of the draft if it
  /// took part. Pages that hold none are free again.
  void endChain(uint32_t sequence, uint64_t length, bool drafted);

  const std::vector<int32_t> &pagesOf(uint32_t replica,
                                      uint32_t slot) const override {
    return replicas[replica].slots[slot].pages;
  }

private:
  struct Slot {
    bool live = false;
    std::vector<uint64_t> lengths; // tokens planned so far, by program
    std::vector<int32_t> pages;    // by block
  };
  struct Pending {
    uint32_t slot;
    const int32_t *tokens;
    uint64_t remaining;
    LogitsWanted logits;
    size_t nextRow; // of the caller's logits
  };
  struct Replica {
    std::vector<Slot> slots;
    /// Pages that nobody holds: those that came back, the next one last, and
    /// behind them the last ones, which have never been taken. A list of all
    /// would cost memory for each page that a plan may have.
    std::vector<int32_t> returned;
    uint64_t untouched = 0;
    std::vector<Pending> pending; // of the current step
    uint32_t live = 0;
  };
  struct EntryShape {
    uint32_t index;
    uint64_t tokens, rows;
  };

  Scheduler() = default;
  Slot *find(uint32_t sequence);
  const Slot *find(uint32_t sequence) const {
    return const_cast<Scheduler *>(this)->find(sequence);
  }
  uint64_t blocksFor(uint64_t tokens) const {
    return (tokens + pageSize - 1) / pageSize;
  }
  /// Blocks that `tokens` tokens of a program take. Programs beside the main
  /// one may leave something for the token that follows.
  uint64_t blocksOf(uint64_t tokens, uint32_t program) const {
    bool looksAhead = program != 0 && tokens != 0 && tokens < maxSeqLen;
    return blocksFor(tokens + looksAhead);
  }
  uint64_t lengthBehind(const SequenceInput &input) const {
    return find(input.sequence)->lengths[program] + input.tokens.size();
  }
  Status checkInput(const SequenceInput &input, size_t index) const;
  Status checkPages(Span<const SequenceInput> inputs) const;
  static uint64_t freePagesOf(const Replica &replica) {
    return replica.returned.size() + replica.untouched;
  }
  int32_t takePage(Replica &replica) const;
  void holdPages(uint32_t sequence, uint64_t blocks);
  /// Frees the pages behind what the programs hold.
  void freePagesBehind(uint32_t sequence);
  /// Moves a replica's pending tokens into `batch` as far as they fit.
  void fill(Replica &replica, backend::ReplicaBatch &batch, uint64_t room,
            uint64_t rowRoom);
  /// Appends the first `count` pending tokens of `from`.
  void append(Replica &replica, backend::ReplicaBatch &batch, Pending &from,
              uint64_t count);

  uint64_t maxSeqLen = 0, pageSize = 0, pages = 0, vocab = 0, chunk = 0,
           microBatches = 1;
  std::vector<Replica> replicas;
  struct Shapes {
    // Ascending in tokens, then rows.
    std::vector<EntryShape> decode, prefill;
    uint64_t run = 1; // tokens of a sequence in a decode entry
  };
  std::vector<Shapes> programs;

  // Of the current step.
  uint32_t program = 0;
  uint64_t microRoom = 0; // tokens that a micro-batch has for each replica
  bool emptyStep = false;
};

} // namespace saddle::session

#endif // SADDLE_RUNTIME_SESSION_SCHEDULER_H
