// Which tokens run in which launch, and where their keys and values lie.
//
// Owns sequences and KV pages and knows nothing of threads or memory: it turns
// "append these tokens to these sequences" into a series of ragged batches that
// fit the engine's entries.

#ifndef SADDLE_RUNTIME_EXEC_SCHEDULER_H
#define SADDLE_RUNTIME_EXEC_SCHEDULER_H

#include "runtime/schema/engine_generated.h"
#include "runtime/src/base/Span.h"
#include "runtime/src/base/Status.h"

#include <vector>

namespace saddle::exec {

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

/// One run of one entry: docs/Runtime.md, "Step inputs and outputs".
struct Batch {
  uint32_t entry = 0;
  std::vector<int32_t> tokens, positions, sequences, slots;
  /// Token indices within the batch whose logits are wanted, and which row of
  /// the caller's logits each becomes.
  std::vector<int32_t> rows;
  std::vector<size_t> destinations;
};

/// Not thread-safe.
class Scheduler {
public:
  /// `prefillChunk` bounds the tokens of a prefill batch; 0 means the engine's
  /// limit. Errors: a chunk beyond that limit.
  static StatusOr<Scheduler> create(const schema::Engine &engine,
                                    const schema::Program &program,
                                    uint64_t prefillChunk);

  /// A free batch slot, as an empty sequence. ResourceExhausted when all
  /// max_batch are taken.
  StatusOr<uint32_t> addSequence();
  /// Frees the slot and its pages.
  Status removeSequence(uint32_t sequence);
  /// Tokens that the sequence holds; 0 when it does not exist.
  uint64_t length(uint32_t sequence) const;
  uint64_t freePages() const { return unused.size(); }

  /// Accepts the inputs of a step and reserves their pages, or refuses all of
  /// them and changes nothing. No inputs make a step of one empty batch.
  Status begin(Span<const SequenceInput> inputs);
  /// The step's next batch; false when there is none left. `batch` is reused
  /// so that steps do not allocate.
  bool next(Batch &batch);

  /// Pages of a sequence, by block.
  const std::vector<int32_t> &pagesOf(uint32_t sequence) const {
    return slots[sequence].pages;
  }

private:
  struct Slot {
    bool live = false;
    uint64_t length = 0;        // tokens planned so far
    std::vector<int32_t> pages; // by block
  };
  struct Pending {
    uint32_t sequence;
    const int32_t *tokens;
    uint64_t remaining;
    LogitsWanted logits;
    size_t nextRow; // of the caller's logits
  };
  struct EntryShape {
    uint32_t index;
    uint64_t tokens, rows;
  };

  Scheduler() = default;
  Status checkInput(const SequenceInput &input, size_t index) const;
  /// Appends the first `count` pending tokens of `from`.
  void append(Batch &batch, Pending &from, uint64_t count);

  uint64_t maxSeqLen = 0, pageSize = 0, vocab = 0, chunk = 0;
  std::vector<Slot> slots;
  std::vector<int32_t> unused; // pages, the next one last
  // Ascending in tokens, then rows.
  std::vector<EntryShape> decode, prefill;

  std::vector<Pending> pending; // of the current step
  bool emptyStep = false;
};

} // namespace saddle::exec

#endif // SADDLE_RUNTIME_EXEC_SCHEDULER_H
