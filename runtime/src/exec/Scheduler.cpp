#include "runtime/src/exec/Scheduler.h"

#include <algorithm>
#include <cinttypes>
#include <tuple>

namespace saddle::exec {

StatusOr<Scheduler> Scheduler::create(const schema::Engine &engine,
                                      const schema::Program &program,
                                      uint64_t prefillChunk) {
  const schema::Limits &limits = *engine.limits();
  if (prefillChunk > limits.prefill_chunk())
    return makeError(StatusCode::InvalidArgument,
                     "prefill chunk %" PRIu64
                     ": the engine was compiled for up to %" PRIu64
                     "; use a smaller one or compile with --prefill-chunk",
                     prefillChunk, limits.prefill_chunk());
  Scheduler scheduler;
  scheduler.maxSeqLen = limits.max_seq_len();
  scheduler.pageSize = limits.page_size();
  scheduler.vocab = engine.model()->vocab_size();
  scheduler.chunk = prefillChunk ? prefillChunk : limits.prefill_chunk();
  scheduler.slots.resize(limits.max_batch());
  for (uint64_t page = limits.num_pages(); page-- > 0;)
    scheduler.unused.push_back(int32_t(page));
  for (uint32_t i = 0; i < program.entries()->size(); ++i) {
    const schema::Entry *entry = program.entries()->Get(i);
    auto &shapes = entry->phase() == schema::Phase::DECODE ? scheduler.decode
                                                           : scheduler.prefill;
    shapes.push_back({i, entry->tokens(), entry->rows()});
  }
  auto smaller = [](const EntryShape &a, const EntryShape &b) {
    return std::tie(a.tokens, a.rows) < std::tie(b.tokens, b.rows);
  };
  std::sort(scheduler.decode.begin(), scheduler.decode.end(), smaller);
  std::sort(scheduler.prefill.begin(), scheduler.prefill.end(), smaller);
  return scheduler;
}

StatusOr<uint32_t> Scheduler::addSequence() {
  for (uint32_t i = 0; i < slots.size(); ++i) {
    if (slots[i].live)
      continue;
    slots[i].live = true;
    return i;
  }
  return makeError(StatusCode::ResourceExhausted,
                   "all %zu sequences of the engine's max_batch are in use; "
                   "remove one first or compile with a larger --max-batch",
                   slots.size());
}

Status Scheduler::removeSequence(uint32_t sequence) {
  if (sequence >= slots.size() || !slots[sequence].live)
    return makeError(StatusCode::InvalidArgument, "sequence %u does not exist",
                     sequence);
  Slot &slot = slots[sequence];
  unused.insert(unused.end(), slot.pages.rbegin(), slot.pages.rend());
  slot.pages.clear();
  slot.length = 0;
  slot.live = false;
  return {};
}

uint64_t Scheduler::length(uint32_t sequence) const {
  return sequence < slots.size() ? slots[sequence].length : 0;
}

Status Scheduler::checkInput(const SequenceInput &input, size_t index) const {
  if (input.sequence >= slots.size() || !slots[input.sequence].live)
    return makeError(StatusCode::InvalidArgument,
                     "input %zu: sequence %u does not exist", index,
                     input.sequence);
  if (input.tokens.empty())
    return makeError(StatusCode::InvalidArgument,
                     "input %zu (sequence %u) has no tokens", index,
                     input.sequence);
  uint64_t held = slots[input.sequence].length;
  if (input.tokens.size() > maxSeqLen - held)
    return makeError(StatusCode::InvalidArgument,
                     "input %zu (sequence %u): %" PRIu64
                     " tokens held and %zu new are more than the engine's "
                     "max_seq_len = %" PRIu64,
                     index, input.sequence, held, input.tokens.size(),
                     maxSeqLen);
  for (size_t i = 0; i < input.tokens.size(); ++i)
    if (input.tokens[i] < 0 || uint64_t(input.tokens[i]) >= vocab)
      return makeError(StatusCode::InvalidArgument,
                       "input %zu (sequence %u): token %zu is %d, expected 0 "
                       "to %" PRIu64,
                       index, input.sequence, i, input.tokens[i], vocab - 1);
  return {};
}

Status Scheduler::begin(Span<const SequenceInput> inputs) {
  uint64_t needed = 0;
  auto blocksFor = [&](uint64_t tokens) {
    return (tokens + pageSize - 1) / pageSize;
  };
  for (size_t i = 0; i < inputs.size(); ++i) {
    SADDLE_RETURN_IF_ERROR(checkInput(inputs[i], i));
    for (size_t j = 0; j < i; ++j)
      if (inputs[j].sequence == inputs[i].sequence)
        return makeError(StatusCode::InvalidArgument,
                         "inputs %zu and %zu are both of sequence %u", j, i,
                         inputs[i].sequence);
    const Slot &slot = slots[inputs[i].sequence];
    needed +=
        blocksFor(slot.length + inputs[i].tokens.size()) - slot.pages.size();
  }
  if (needed > unused.size())
    return makeError(StatusCode::ResourceExhausted,
                     "the step needs %" PRIu64 " KV pages of %" PRIu64
                     " tokens, but %zu are free; remove a sequence first",
                     needed, pageSize, unused.size());
  size_t row = 0;
  pending.clear();
  for (const SequenceInput &input : inputs) {
    Slot &slot = slots[input.sequence];
    uint64_t blocks = blocksFor(slot.length + input.tokens.size());
    while (slot.pages.size() < blocks) {
      slot.pages.push_back(unused.back());
      unused.pop_back();
    }
    pending.push_back({input.sequence, input.tokens.data(), input.tokens.size(),
                       input.logits, row});
    row += input.rows();
  }
  emptyStep = inputs.empty();
  return {};
}

void Scheduler::append(Batch &batch, Pending &from, uint64_t count) {
  Slot &slot = slots[from.sequence];
  for (uint64_t i = 0; i < count; ++i) {
    bool wanted = from.logits == LogitsWanted::All ||
                  (from.logits == LogitsWanted::Last && from.remaining == 1);
    if (wanted) {
      batch.rows.push_back(int32_t(batch.tokens.size()));
      batch.destinations.push_back(from.nextRow++);
    }
    uint64_t position = slot.length++;
    batch.tokens.push_back(*from.tokens++);
    batch.positions.push_back(int32_t(position));
    batch.sequences.push_back(int32_t(from.sequence));
    batch.slots.push_back(
        int32_t(uint64_t(slot.pages[position / pageSize]) * pageSize +
                position % pageSize));
    --from.remaining;
  }
}

bool Scheduler::next(Batch &batch) {
  batch.tokens.clear();
  batch.positions.clear();
  batch.sequences.clear();
  batch.slots.clear();
  batch.rows.clear();
  batch.destinations.clear();
  pending.erase(std::remove_if(pending.begin(), pending.end(),
                               [](const Pending &p) { return !p.remaining; }),
                pending.end());
  if (pending.empty() && !emptyStep)
    return false;
  emptyStep = false;

  bool decoding =
      std::all_of(pending.begin(), pending.end(),
                  [](const Pending &p) { return p.remaining == 1; });
  const std::vector<EntryShape> &shapes = decoding ? decode : prefill;
  const EntryShape &largest = shapes.back();
  uint64_t room = decoding ? largest.tokens : std::min(chunk, largest.tokens);
  for (Pending &from : pending) {
    uint64_t count = std::min(room - batch.tokens.size(), from.remaining);
    uint64_t rows = largest.rows - batch.rows.size();
    if (from.logits == LogitsWanted::All)
      count = std::min(count, rows);
    else if (from.logits == LogitsWanted::Last && count == from.remaining &&
             rows == 0)
      --count; // its last token waits for a row in the next batch
    append(batch, from, count);
    if (batch.tokens.size() == room)
      break;
  }
  // The largest entry fits, so the search ends.
  auto shape = shapes.begin();
  while (shape->tokens < batch.tokens.size() || shape->rows < batch.rows.size())
    ++shape;
  batch.entry = shape->index;
  return true;
}

} // namespace saddle::exec
