#include "runtime/src/session/Scheduler.h"

#include "runtime/src/engine/Programs.h"

#include <algorithm>
#include <cinttypes>
#include <tuple>

namespace saddle::session {

StatusOr<Scheduler> Scheduler::create(const schema::Engine &engine,
                                      uint64_t pages, uint64_t prefillChunk,
                                      uint64_t microBatches) {
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
  scheduler.pages = pages;
  scheduler.vocab = engine.model()->vocab_size();
  scheduler.chunk = prefillChunk ? prefillChunk : limits.prefill_chunk();
  scheduler.microBatches = std::max<uint64_t>(1, microBatches);
  scheduler.replicas.resize(engine.topology()->dp());
  for (Replica &replica : scheduler.replicas) {
    replica.slots.resize(limits.max_batch());
    replica.untouched = pages;
  }
  auto smaller = [](const EntryShape &a, const EntryShape &b) {
    return std::tie(a.tokens, a.rows) < std::tie(b.tokens, b.rows);
  };
  // Every stage has the same entries.
  uint32_t number = 0;
  for (const schema::Program *program : engine::programsOf(engine, 0)) {
    Shapes &shapes = scheduler.programs.emplace_back();
    shapes.run = engine::decodeRun(engine, *program);
    for (const schema::Entry *entry : *program->entries())
      (entry->phase() == schema::Phase::DECODE ? shapes.decode : shapes.prefill)
          .push_back({number++, entry->tokens(), entry->rows()});
    std::sort(shapes.decode.begin(), shapes.decode.end(), smaller);
    std::sort(shapes.prefill.begin(), shapes.prefill.end(), smaller);
  }
  return scheduler;
}

//===--- Sequences -------------------------------------------------------===//

// Sequence s is batch slot s / dp of replica s % dp, so that numbers are dense
// while replicas are filled in turn.

Scheduler::Slot *Scheduler::find(uint32_t sequence) {
  std::vector<Slot> &slots = replicas[replicaOf(sequence)].slots;
  uint32_t slot = sequence / uint32_t(replicas.size());
  return slot < slots.size() && slots[slot].live ? &slots[slot] : nullptr;
}

StatusOr<uint32_t> Scheduler::addSequence() {
  auto least = std::min_element(
      replicas.begin(), replicas.end(), [](const Replica &a, const Replica &b) {
        return a.live != b.live ? a.live < b.live
                                : freePagesOf(a) > freePagesOf(b);
      });
  for (uint32_t slot = 0; slot < least->slots.size(); ++slot) {
    if (least->slots[slot].live)
      continue;
    least->slots[slot].live = true;
    least->slots[slot].lengths.assign(programs.size(), 0);
    ++least->live;
    return slot * uint32_t(replicas.size()) +
           uint32_t(least - replicas.begin());
  }
  return makeError(StatusCode::ResourceExhausted,
                   "all %zu sequences of the engine's max_batch are in use; "
                   "remove one first or compile with a larger --max-batch",
                   replicas.size() * least->slots.size());
}

Status Scheduler::checkExists(uint32_t sequence) const {
  if (find(sequence))
    return {};
  return makeError(StatusCode::InvalidArgument, "sequence %u does not exist",
                   sequence);
}

Status Scheduler::removeSequence(uint32_t sequence) {
  SADDLE_RETURN_IF_ERROR(checkExists(sequence));
  Slot *slot = find(sequence);
  Replica &replica = replicas[replicaOf(sequence)];
  replica.returned.insert(replica.returned.end(), slot->pages.rbegin(),
                          slot->pages.rend());
  --replica.live;
  *slot = {};
  return {};
}

Status Scheduler::checkCut(uint32_t sequence, uint64_t length,
                           uint32_t ofProgram) const {
  SADDLE_RETURN_IF_ERROR(checkExists(sequence));
  uint64_t held = find(sequence)->lengths[ofProgram];
  if (length <= held)
    return {};
  return makeError(StatusCode::InvalidArgument,
                   "sequence %u cannot be cut to %" PRIu64
                   " tokens: it holds %" PRIu64,
                   sequence, length, held);
}

void Scheduler::cut(uint32_t sequence, uint64_t length, uint32_t ofProgram) {
  Slot &slot = *find(sequence);
  slot.lengths[ofProgram] = length;
  for (uint32_t i = 1; ofProgram == 0 && i < programs.size(); ++i)
    slot.lengths[i] = std::min(slot.lengths[i], length == 0 ? 0 : length - 1);
  freePagesBehind(sequence);
}

void Scheduler::freePagesBehind(uint32_t sequence) {
  Slot &slot = *find(sequence);
  Replica &replica = replicas[replicaOf(sequence)];
  uint64_t blocks = 0;
  for (uint32_t i = 0; i < programs.size(); ++i)
    blocks = std::max(blocks, blocksOf(slot.lengths[i], i));
  while (slot.pages.size() > blocks) {
    replica.returned.push_back(slot.pages.back());
    slot.pages.pop_back();
  }
}

uint64_t Scheduler::length(uint32_t sequence, uint32_t ofProgram) const {
  const Slot *slot = find(sequence);
  return slot ? slot->lengths[ofProgram] : 0;
}

uint64_t Scheduler::freePages() const {
  uint64_t free = 0;
  for (const Replica &replica : replicas)
    free += freePagesOf(replica);
  return free;
}

int32_t Scheduler::takePage(Replica &replica) const {
  if (replica.returned.empty())
    return int32_t(pages - replica.untouched--);
  int32_t page = replica.returned.back();
  replica.returned.pop_back();
  return page;
}

void Scheduler::holdPages(uint32_t sequence, uint64_t blocks) {
  Slot &slot = *find(sequence);
  while (slot.pages.size() < blocks)
    slot.pages.push_back(takePage(replicas[replicaOf(sequence)]));
}

//===--- Chains ----------------------------------------------------------===//

StatusOr<bool> Scheduler::beginChain(Span<const SequenceInput> inputs,
                                     uint64_t drafts, uint64_t rounds,
                                     backend::Batch &batch) {
  uint64_t run = drafts + 1, needed = 0;
  const std::vector<EntryShape> &shapes = programs[0].decode;
  if (replicas.size() != 1 || inputs.empty() || shapes.empty() ||
      inputs.size() * run > shapes.back().tokens ||
      inputs.size() * run > shapes.back().rows)
    return false;
  // The last round's drafts are held behind its tokens.
  auto lengthBehindChain = [&](const Slot &slot) {
    return slot.lengths[0] + rounds * run + drafts;
  };
  for (const SequenceInput &input : inputs) {
    const Slot *slot = find(input.sequence);
    if (!slot)
      continue; // begin() says so
    if (input.tokens.size() != run || lengthBehindChain(*slot) > maxSeqLen ||
        (drafts != 0 && slot->lengths.back() != slot->lengths[0]))
      return false;
    uint64_t blocks = blocksFor(lengthBehindChain(*slot));
    needed += blocks - std::min<uint64_t>(blocks, slot->pages.size());
  }
  if (needed > freePagesOf(replicas[0]))
    return false;
  std::vector<uint64_t> blocks;
  for (const SequenceInput &input : inputs)
    if (const Slot *slot = find(input.sequence))
      blocks.push_back(blocksFor(lengthBehindChain(*slot)));
  SADDLE_RETURN_IF_ERROR(begin(inputs));
  for (size_t i = 0; i < inputs.size(); ++i)
    holdPages(inputs[i].sequence, blocks[i]);
  microRoom = UINT64_MAX;
  next(batch);
  return true;
}

void Scheduler::endChain(uint32_t sequence, uint64_t length, bool drafted) {
  Slot &slot = *find(sequence);
  slot.lengths[0] = length;
  if (drafted)
    slot.lengths.back() = length;
  freePagesBehind(sequence);
}

//===--- Steps -----------------------------------------------------------===//

Status Scheduler::checkInput(const SequenceInput &input, size_t index) const {
  const Slot *slot = find(input.sequence);
  if (!slot)
    return makeError(StatusCode::InvalidArgument,
                     "input %zu: sequence %u does not exist", index,
                     input.sequence);
  if (input.tokens.empty())
    return makeError(StatusCode::InvalidArgument,
                     "input %zu (sequence %u) has no tokens", index,
                     input.sequence);
  uint64_t held = slot->lengths[program];
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

Status Scheduler::checkPages(Span<const SequenceInput> inputs) const {
  std::vector<uint64_t> needed(replicas.size());
  for (const SequenceInput &input : inputs) {
    const Slot &slot = *find(input.sequence);
    uint64_t blocks = blocksOf(lengthBehind(input), program);
    // Another program may have got that far.
    needed[replicaOf(input.sequence)] +=
        blocks - std::min<uint64_t>(blocks, slot.pages.size());
  }
  for (size_t i = 0; i < replicas.size(); ++i) {
    uint64_t free = freePagesOf(replicas[i]);
    if (needed[i] <= free)
      continue;
    std::string where;
    if (replicas.size() > 1)
      where = " of attention replica " + std::to_string(i);
    return makeError(StatusCode::ResourceExhausted,
                     "the step needs %" PRIu64 " KV pages%s of %" PRIu64
                     " tokens, but %" PRIu64 " are free; remove or cut a "
                     "sequence first, or load with more --kv-tokens",
                     needed[i], where.c_str(), pageSize, free);
  }
  return {};
}

Status Scheduler::begin(Span<const SequenceInput> inputs, uint32_t ofProgram) {
  program = ofProgram;
  std::vector<bool> seen(replicas.size() * replicas[0].slots.size());
  for (size_t i = 0; i < inputs.size(); ++i) {
    SADDLE_RETURN_IF_ERROR(checkInput(inputs[i], i));
    if (!seen[inputs[i].sequence]) {
      seen[inputs[i].sequence] = true;
      continue;
    }
    size_t j = 0;
    while (inputs[j].sequence != inputs[i].sequence)
      ++j;
    return makeError(StatusCode::InvalidArgument,
                     "inputs %zu and %zu are both of sequence %u", j, i,
                     inputs[i].sequence);
  }
  SADDLE_RETURN_IF_ERROR(checkPages(inputs));
  for (Replica &replica : replicas)
    replica.pending.clear();
  size_t row = 0;
  for (const SequenceInput &input : inputs) {
    Replica &replica = replicas[replicaOf(input.sequence)];
    holdPages(input.sequence, blocksOf(lengthBehind(input), program));
    replica.pending.push_back({slotOf(input.sequence), input.tokens.data(),
                               input.tokens.size(), input.logits, row});
    row += input.rows();
  }
  uint64_t most = 0;
  for (const Replica &replica : replicas) {
    uint64_t tokens = 0;
    for (const Pending &pending : replica.pending)
      tokens += pending.remaining;
    most = std::max(most, tokens);
  }
  microRoom =
      inputs.size() > 1 ? (most + microBatches - 1) / microBatches : UINT64_MAX;
  emptyStep = inputs.empty();
  return {};
}

void Scheduler::append(Replica &replica, backend::ReplicaBatch &batch,
                       Pending &from, uint64_t count) {
  Slot &slot = replica.slots[from.slot];
  for (uint64_t i = 0; i < count; ++i) {
    bool wanted = from.logits == LogitsWanted::All ||
                  (from.logits == LogitsWanted::Last && from.remaining == 1);
    if (wanted) {
      batch.rows.push_back(int32_t(batch.tokens.size()));
      batch.destinations.push_back(from.nextRow++);
    }
    uint64_t position = slot.lengths[program]++;
    batch.tokens.push_back(*from.tokens++);
    batch.positions.push_back(int32_t(position));
    batch.sequences.push_back(int32_t(from.slot));
    batch.slots.push_back(
        int32_t(uint64_t(slot.pages[position / pageSize]) * pageSize +
                position % pageSize));
    --from.remaining;
  }
}

void Scheduler::fill(Replica &replica, backend::ReplicaBatch &batch,
                     uint64_t room, uint64_t rowRoom) {
  for (Pending &from : replica.pending) {
    uint64_t count = std::min(room - batch.tokens.size(), from.remaining);
    uint64_t rows = rowRoom - batch.rows.size();
    if (from.logits == LogitsWanted::All)
      count = std::min(count, rows);
    else if (from.logits == LogitsWanted::Last && count == from.remaining &&
             rows == 0)
      --count; // its last token waits for a row in the next batch
    append(replica, batch, from, count);
    if (batch.tokens.size() == room)
      break;
  }
}

bool Scheduler::next(backend::Batch &batch) {
  bool idle = true, decoding = true;
  for (Replica &replica : replicas) {
    auto &pending = replica.pending;
    pending.erase(std::remove_if(pending.begin(), pending.end(),
                                 [](const Pending &p) { return !p.remaining; }),
                  pending.end());
    idle &= pending.empty();
    for (const Pending &each : pending)
      decoding &= each.remaining <= programs[program].run;
  }
  if (idle && !emptyStep)
    return false;
  emptyStep = false;

  const std::vector<EntryShape> &shapes =
      decoding ? programs[program].decode : programs[program].prefill;
  const EntryShape &largest = shapes.back();
  uint64_t room = decoding ? largest.tokens : std::min(chunk, largest.tokens);
  room = std::min(room, microRoom);
  batch.replicas.resize(replicas.size());
  batch.tokenCounts.clear();
  batch.rowCounts.clear();
  uint64_t tokens = 0, rows = 0;
  for (size_t i = 0; i < replicas.size(); ++i) {
    backend::ReplicaBatch &part = batch.replicas[i];
    for (auto *values : {&part.tokens, &part.positions, &part.sequences,
                         &part.slots, &part.rows})
      values->clear();
    part.destinations.clear();
    fill(replicas[i], part, room, largest.rows);
    batch.tokenCounts.push_back(part.tokens.size());
    batch.rowCounts.push_back(part.rows.size());
    tokens = std::max<uint64_t>(tokens, part.tokens.size());
    rows = std::max<uint64_t>(rows, part.rows.size());
  }
  // The largest entry fits, so the search ends.
  auto shape = shapes.begin();
  while (shape->tokens < tokens || shape->rows < rows)
    ++shape;
  batch.entry = shape->index;
  return true;
}

} // namespace saddle::session
