#include "runtime/src/generate/Generator.h"

#include <algorithm>
#include <chrono>
#include <cinttypes>

namespace saddle::generate {

Generator::Generator(session::Session &session, Listener &listener)
    : session(session), listener(listener),
      vocab(session.engine().root().model()->vocab_size()),
      candidates(backend::candidatesOf(session.engine().root())),
      maxSeqLen(session.engine().root().limits()->max_seq_len()),
      pageSize(session.engine().root().limits()->page_size()),
      pagesPerReplica(session.numPages()),
      reserved(session.engine().root().topology()->dp()) {}

Generator::~Generator() {
  // A broken session refuses; it is of no use to anybody then.
  for (const Active &entry : active)
    (void)session.removeSequence(entry.sequence);
}

StatusOr<RequestId> Generator::add(Span<const int32_t> prompt,
                                   const RequestOptions &options) {
  size_t count = prompt.size();
  if (count == 0 || count > maxSeqLen)
    return makeError(StatusCode::InvalidArgument,
                     "the prompt has %zu tokens, expected 1 to the engine's "
                     "max_seq_len = %" PRIu64,
                     count, maxSeqLen);
  for (size_t i = 0; i < count; ++i)
    if (prompt[i] < 0 || uint64_t(prompt[i]) >= vocab)
      return makeError(StatusCode::InvalidArgument,
                       "token %zu of the prompt is %d, but the vocabulary has "
                       "%" PRIu64 " tokens",
                       i, prompt[i], vocab);
  SADDLE_ASSIGN_OR_RETURN(sample::Sampler sampler,
                          sample::Sampler::create(options.sampling));
  // The last new token is never fed.
  uint64_t room = maxSeqLen - count;
  uint64_t fed =
      std::min(room, options.maxNewTokens == 0 ? 0 : options.maxNewTokens - 1);
  uint64_t pages = (count + fed + pageSize - 1) / pageSize;
  if (pages > pagesPerReplica)
    return makeError(StatusCode::ResourceExhausted,
                     "the request may need %" PRIu64
                     " KV pages, but an attention replica has %" PRIu64
                     "; ask for fewer new tokens or more --kv-tokens",
                     pages, pagesPerReplica);
  waiting.push_back({nextId,
                     options,
                     {prompt.begin(), prompt.end()},
                     std::move(sampler),
                     pages});
  return nextId++;
}

Status Generator::remove(RequestId request) {
  for (auto it = waiting.begin(); it != waiting.end(); ++it)
    if (it->id == request) {
      waiting.erase(it);
      return {};
    }
  for (Active &entry : active) {
    if (entry.id != request || entry.hasEnded)
      continue;
    entry.hasEnded = true;
    ++removed;
    // In the middle of a step others stand behind it.
    return isStepping ? Status() : retire();
  }
  return makeError(StatusCode::InvalidArgument,
                   "request %" PRIu64 " does not exist or has ended", request);
}

Status Generator::step() {
  SADDLE_RETURN_IF_ERROR(admit());
  if (active.empty())
    return {};
  SADDLE_RETURN_IF_ERROR(feed());
  isStepping = true;
  size_t row = 0, count = active.size();
  for (size_t i = 0; i < count; ++i) {
    size_t rows = inputs[i].rows();
    advance(i, row, rows);
    row += rows;
  }
  isStepping = false;
  return retire();
}

Status Generator::admit() {
  while (!waiting.empty()) {
    Waiting &first = waiting.front();
    StatusOr<uint32_t> sequence = session.addSequence();
    if (sequence.status().code() == StatusCode::ResourceExhausted &&
        !active.empty())
      return {}; // all slots are in use; some of ours will be free
    SADDLE_RETURN_IF_ERROR(sequence.status());
    uint32_t replica = session.replicaOf(*sequence);
    if (reserved[replica] + first.pages > pagesPerReplica)
      return session.removeSequence(*sequence);
    reserved[replica] += first.pages;
    active.emplace_back(std::move(first), *sequence, replica);
    waiting.pop_front();
  }
  return {};
}

bool Generator::needsLogits() const {
  return candidates == 0 ||
         std::any_of(active.begin(), active.end(), [&](const Active &entry) {
           return entry.options.wantsLogits ||
                  !sample::needsOnly(entry.options.sampling, candidates);
         });
}

Status Generator::feed() {
  inputs.clear();
  uint64_t count = 0;
  bool prefills = false;
  for (const Active &entry : active) {
    Span<const int32_t> fresh(entry.tokens.data() + entry.fed,
                              entry.tokens.size() - entry.fed);
    inputs.push_back({entry.sequence, fresh,
                      entry.options.wantsLogits ? session::LogitsWanted::All
                                                : session::LogitsWanted::Last});
    count += fresh.size();
    prefills |= entry.fed == 0;
  }
  size_t rows = rowsOf(inputs);
  std::vector<session::WantedOutput> outputs;
  values.clear();
  if (needsLogits()) {
    SADDLE_ASSIGN_OR_RETURN(void *buffer, session.outputBuffer("logits", rows));
    logits = static_cast<const float *>(buffer);
    outputs = {{"logits", buffer, rows * vocab * sizeof(float)}};
  } else {
    values.resize(rows * candidates);
    tokens.resize(rows * candidates);
    outputs = {
        {"candidate_values", values.data(), values.size() * sizeof(float)},
        {"candidate_tokens", tokens.data(), tokens.size() * sizeof(int32_t)}};
  }
  using Clock = std::chrono::steady_clock;
  Clock::time_point start = Clock::now();
  SADDLE_RETURN_IF_ERROR(session.step(inputs, outputs));
  std::chrono::duration<double> seconds = Clock::now() - start;
  (prefills ? times.prefillSeconds : times.decodeSeconds) += seconds.count();
  (prefills ? times.prefillTokens : times.decodeTokens) += count;
  return {};
}

bool Generator::isEos(int32_t token) const {
  const auto *eos = session.engine().root().model()->eos_token_ids();
  return eos &&
         std::find(eos->begin(), eos->end(), uint32_t(token)) != eos->end();
}

StatusOr<int32_t> Generator::sample(Active &entry, size_t row) {
  if (values.empty())
    return entry.sampler.sample(logits + row * vocab, vocab);
  return entry.sampler.sampleCandidates(values.data() + row * candidates,
                                        tokens.data() + row * candidates,
                                        candidates);
}

void Generator::end(Active &entry, Stop stop, const Status &error) {
  entry.hasEnded = true;
  ++removed;
  listener.onEnd(entry.id, stop, error);
}

void Generator::advance(size_t index, size_t row, size_t rows) {
  // A listener may remove requests, but `active` keeps its elements until the
  // step's end.
  Active &entry = active[index];
  entry.fed = entry.tokens.size();
  if (entry.options.wantsLogits && !entry.hasEnded)
    listener.onLogits(entry.id, logits + row * vocab, rows);
  if (entry.hasEnded)
    return;
  if (entry.options.maxNewTokens == 0)
    return end(entry, Stop::Length);
  StatusOr<int32_t> token = sample(entry, row + rows - 1);
  if (!token.ok())
    return end(entry, Stop::Error, token.status());
  entry.tokens.push_back(*token);
  listener.onToken(entry.id, *token);
  if (entry.hasEnded)
    return;
  if (isEos(*token) && !entry.options.ignoreEos)
    end(entry, Stop::Eos);
  else if (entry.tokens.size() - entry.promptTokens >=
           entry.options.maxNewTokens)
    end(entry, Stop::Length);
  else if (entry.fed == maxSeqLen)
    end(entry, Stop::SequenceLimit);
}

Status Generator::retire() {
  Status result;
  for (size_t i = active.size(); i-- > 0;) {
    if (!active[i].hasEnded)
      continue;
    Status status = session.removeSequence(active[i].sequence);
    if (result.ok())
      result = status;
    reserved[active[i].replica] -= active[i].pages;
    active.erase(active.begin() + ptrdiff_t(i));
  }
  removed = 0;
  return result;
}

} // namespace saddle::generate
