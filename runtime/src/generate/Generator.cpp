#include "runtime/src/generate/Generator.h"

#include "runtime/src/base/Guard.h"
#include "runtime/src/engine/Programs.h"
#include "runtime/src/engine/States.h"

#include <algorithm>
#include <chrono>
#include <cinttypes>

namespace saddle::generate {

Generator::Generator(session::Session &session, Listener &listener)
    : session(session), listener(listener),
      hasSequenceState(engine::hasSequenceState(session.engine().root())),
      vocab(session.engine().root().model()->vocab_size()),
      candidates(backend::candidatesOf(session.engine().root())),
      maxSeqLen(session.engine().root().limits()->max_seq_len()),
      pageSize(session.engine().root().limits()->page_size()),
      pagesPerReplica(session.numPages()),
      reserved(session.engine().root().topology()->dp()) {
  const schema::Engine &engine = session.engine().root();
  specTokens = engine::specTokens(engine);
  if (specTokens == 0)
    return;
  std::vector<std::string> names = engine::programNames(engine);
  auto draft = std::find(names.begin(), names.end(), engine::kDraftProgram);
  drafter.emplace(session, uint32_t(draft - names.begin()));
}

Generator::~Generator() {
  // A broken session refuses; it is of no use to anybody then.
  for (const Active &entry : active)
    (void)session.removeSequence(entry.sequence);
}

Status Generator::speculate(uint64_t tokens) {
  uint64_t most = engine::specTokens(session.engine().root());
  if (tokens > most)
    return makeError(StatusCode::InvalidArgument,
                     "%" PRIu64 " drafted tokens: the engine %s; ask for fewer "
                     "or compile with --draft and --spec-tokens",
                     tokens,
                     most == 0
                         ? "has no draft"
                         : ("verifies up to " + std::to_string(most)).c_str());
  specTokens = tokens;
  return {};
}

Status Generator::fixAcceptance(double share) {
  if (!(share >= 0 && share <= 1))
    return makeError(StatusCode::InvalidArgument,
                     "acceptance of drafted tokens: %g, expected 0 to 1",
                     share);
  fixedAcceptance = share;
  return {};
}

size_t Generator::owedOf(Active &entry, size_t drafts) const {
  double all = 1;
  for (size_t i = 0; i < drafts; ++i)
    entry.owed += all *= *fixedAcceptance;
  // Sums of shares such as 0.8 fall short of whole numbers by a rounding.
  size_t accepted = std::min(drafts, size_t(entry.owed + 1e-9));
  entry.owed -= double(accepted);
  return accepted;
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
  SADDLE_RETURN_IF_ERROR(broken);
  return guard([&] { return stepAll(); },
               [&](const Status &error) { broken = error; });
}

Status Generator::stepAll() {
  SADDLE_RETURN_IF_ERROR(admit());
  if (active.empty())
    return {};
  if (uint64_t rounds = chainable(); rounds > 1) {
    SADDLE_ASSIGN_OR_RETURN(bool ran, runChain(rounds));
    if (ran)
      return retire();
  }
  SADDLE_RETURN_IF_ERROR(feed());
  isStepping = true;
  size_t row = 0, count = active.size();
  Status status;
  for (size_t i = 0; i < count && status.ok(); ++i) {
    size_t rows = inputs[i].rows();
    status = advance(i, row, rows);
    row += rows;
  }
  isStepping = false;
  SADDLE_RETURN_IF_ERROR(status);
  SADDLE_RETURN_IF_ERROR(retire());
  SADDLE_RETURN_IF_ERROR(feedAgain());
  return propose();
}

/// Seconds since `start`.
static double since(std::chrono::steady_clock::time_point start) {
  std::chrono::duration<double> seconds =
      std::chrono::steady_clock::now() - start;
  return seconds.count();
}

Status Generator::propose() {
  if (!drafter || specTokens == 0)
    return {};
  std::vector<DraftTask> tasks;
  for (Active &entry : active) {
    // A step gives a token more than it accepts, and feeds all of them but the
    // last one.
    uint64_t generated = entry.tokens.size() - entry.promptTokens;
    uint64_t count =
        std::min({specTokens, entry.options.maxNewTokens - generated - 1,
                  maxSeqLen - entry.tokens.size()});
    if (count > 0)
      tasks.push_back({entry.sequence, &entry.tokens, count, &entry.drafts});
  }
  auto start = std::chrono::steady_clock::now();
  SADDLE_RETURN_IF_ERROR(drafter->draft(tasks));
  times.draftSeconds += since(start);
  return {};
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
  for (Active &entry : active) {
    Span<const int32_t> fresh(entry.tokens.data() + entry.fed,
                              entry.tokens.size() - entry.fed);
    count += fresh.size();
    prefills |= entry.fed == 0;
    bool verifies = !entry.drafts.empty();
    if (verifies && hasSequenceState) {
      SADDLE_ASSIGN_OR_RETURN(entry.snapshot, session.keep(entry.sequence));
      entry.taken = entry.fed;
    }
    if (verifies) {
      entry.feeding.assign(fresh.begin(), fresh.end());
      entry.feeding.insert(entry.feeding.end(), entry.drafts.begin(),
                           entry.drafts.end());
      fresh = entry.feeding;
    }
    inputs.push_back({entry.sequence, fresh,
                      entry.options.wantsLogits || verifies
                          ? session::LogitsWanted::All
                          : session::LogitsWanted::Last});
  }
  size_t rows = rowsOf(inputs);
  std::vector<session::WantedOutput> outputs;
  values = nullptr;
  if (needsLogits()) {
    SADDLE_ASSIGN_OR_RETURN(void *buffer, session.outputBuffer("logits", rows));
    logits = static_cast<const float *>(buffer);
    outputs = {{"logits", buffer, rows * vocab * sizeof(float)}};
  } else {
    valueRows.resize(rows * candidates);
    tokenRows.resize(rows * candidates);
    outputs = {{"candidate_values", valueRows.data(),
                valueRows.size() * sizeof(float)},
               {"candidate_tokens", tokenRows.data(),
                tokenRows.size() * sizeof(int32_t)}};
    values = valueRows.data();
    tokens = tokenRows.data();
    width = candidates;
  }
  auto start = std::chrono::steady_clock::now();
  SADDLE_RETURN_IF_ERROR(session.step(inputs, outputs));
  (prefills ? times.prefillSeconds : times.decodeSeconds) += since(start);
  (prefills ? times.prefillTokens : times.decodeTokens) += count;
  return {};
}

bool Generator::isEos(int32_t token) const {
  const auto *eos = session.engine().root().model()->eos_token_ids();
  return eos &&
         std::find(eos->begin(), eos->end(), uint32_t(token)) != eos->end();
}

StatusOr<int32_t> Generator::sample(Active &entry, size_t row) {
  if (!values)
    return entry.sampler.sample(logits + row * vocab, vocab);
  return entry.sampler.sampleCandidates(values + row * width,
                                        tokens + row * width, width);
}

void Generator::end(Active &entry, Stop stop, const Status &error) {
  entry.hasEnded = true;
  ++removed;
  listener.onEnd(entry.id, stop, error);
}

Status Generator::advance(size_t index, size_t row, size_t rows) {
  // A listener may remove requests, but `active` keeps its elements until the
  // step's end.
  Active &entry = active[index];
  size_t drafted = entry.drafts.size();
  entry.fed = entry.tokens.size();
  // The row behind the last token that is decided, and before the drafts.
  size_t last = row + rows - 1 - drafted;
  if (entry.options.wantsLogits && !entry.hasEnded)
    listener.onLogits(entry.id, logits + row * vocab, last - row + 1);
  if (entry.hasEnded)
    return {};
  if (entry.options.maxNewTokens == 0) {
    end(entry, Stop::Length);
    return {};
  }
  size_t accepted = walk(entry, last);
  if (entry.hasEnded || accepted == drafted)
    return {};
  entry.feedsAgain = hasSequenceState;
  return hasSequenceState ? Status()
                          : session.truncate(entry.sequence, entry.fed);
}

Status Generator::feedAgain() {
  auto start = std::chrono::steady_clock::now();
  inputs.clear();
  for (Active &entry : active) {
    if (!entry.feedsAgain)
      continue;
    SADDLE_RETURN_IF_ERROR(session.truncate(entry.sequence, entry.taken));
    inputs.push_back(
        {entry.sequence,
         {entry.tokens.data() + entry.taken, entry.fed - entry.taken},
         session::LogitsWanted::None});
    entry.feedsAgain = false;
  }
  if (!inputs.empty())
    SADDLE_RETURN_IF_ERROR(session.step(inputs, {}));
  for (Active &entry : active) {
    if (entry.snapshot)
      SADDLE_RETURN_IF_ERROR(session.release(*entry.snapshot));
    entry.snapshot.reset();
  }
  times.decodeSeconds += inputs.empty() ? 0 : since(start);
  return {};
}

size_t Generator::walk(Active &entry, size_t last) {
  std::vector<int32_t> drafts = std::move(entry.drafts);
  entry.drafts.clear();
  // Rows behind a draft that is the model's own choice are of the text, too. So
  // tokens are drawn as they would be without drafts, and none behind an end.
  size_t accepted = 0, most = drafts.size();
  if (fixedAcceptance)
    most = owedOf(entry, drafts.size());
  while (true) {
    const int32_t *given =
        fixedAcceptance && accepted < most ? &drafts[accepted] : nullptr;
    if (!take(entry, last + accepted, given) || accepted == most ||
        entry.tokens.back() != drafts[accepted])
      break;
    ++accepted;
    ++entry.fed;
    if (entry.options.wantsLogits)
      listener.onLogits(entry.id, logits + (last + accepted) * vocab, 1);
  }
  times.verifications += !drafts.empty();
  times.draftedTokens += drafts.size();
  times.acceptedTokens += accepted;
  times.decodeTokens += accepted;
  if (!drafts.empty())
    listener.onDrafts(entry.id, drafts, accepted);
  return accepted;
}

//===--- Chains ----------------------------------------------------------===//

Status Generator::chain(uint64_t steps) {
  if (steps == 0 || steps > backend::kMostChainRounds)
    return makeError(StatusCode::InvalidArgument,
                     "chains of %" PRIu64 " steps: expected 1 to %" PRIu64,
                     steps, backend::kMostChainRounds);
  chainSteps = steps;
  return {};
}

uint64_t Generator::chainable() const {
  uint64_t drafts = drafter ? specTokens : 0;
  if (chainSteps == 1 || !session.canChain(active.size(), drafts))
    return 1;
  uint64_t rounds = chainSteps;
  for (const Active &entry : active) {
    if (entry.fed == 0 || entry.fed + 1 != entry.tokens.size() ||
        entry.options.wantsLogits || entry.options.sampling.temperature != 0 ||
        entry.drafts.size() != drafts)
      return 1;
    // Tokens that may still come, of which a round gives at most drafts + 1.
    // Behind the last one the host would draft as many as ever.
    uint64_t generated = entry.tokens.size() - entry.promptTokens;
    uint64_t left = std::min(entry.options.maxNewTokens - generated,
                             maxSeqLen - entry.tokens.size());
    if (drafts != 0)
      left -= std::min(left, drafts + 1);
    rounds = std::min(rounds, left / (drafts + 1));
  }
  return rounds;
}

StatusOr<bool> Generator::runChain(uint64_t rounds) {
  backend::ChainPlan plan;
  plan.rounds = rounds;
  plan.drafts = drafter ? specTokens : 0;
  inputs.clear();
  for (Active &entry : active) {
    entry.feeding.assign(1, entry.tokens.back());
    entry.feeding.insert(entry.feeding.end(), entry.drafts.begin(),
                         entry.drafts.end());
    inputs.push_back(
        {entry.sequence, entry.feeding, session::LogitsWanted::All});
    plan.sequences.push_back({0, 0, 0, !entry.options.ignoreEos});
  }
  if (fixedAcceptance && plan.drafts != 0) {
    plan.forced.resize(rounds * active.size());
    for (size_t i = 0; i < active.size(); ++i) {
      double owed = active[i].owed;
      for (uint64_t round = 0; round < rounds; ++round)
        plan.forced[round * active.size() + i] =
            int32_t(owedOf(active[i], plan.drafts));
      active[i].owed = owed; // what happens counts when it is replayed
    }
  }
  auto start = std::chrono::steady_clock::now();
  SADDLE_ASSIGN_OR_RETURN(const backend::ChainResults *results,
                          session.chain(inputs, plan));
  if (!results)
    return false;
  times.decodeSeconds += since(start);
  isStepping = true;
  for (uint64_t round = 0; round < rounds; ++round)
    replay(plan, *results, round);
  isStepping = false;
  return true;
}

void Generator::replay(const backend::ChainPlan &plan,
                       const backend::ChainResults &results, uint64_t round) {
  size_t count = inputs.size(), rows = plan.drafts + 1;
  values = results.values + round * count * rows;
  tokens = results.tokens + round * count * rows;
  width = 1;
  const int32_t *drafts = results.drafts + round * count * plan.drafts;
  for (size_t i = 0; i < count; ++i) {
    Active &entry = active[i];
    if (entry.hasEnded)
      continue;
    ++entry.fed;
    ++times.decodeTokens;
    walk(entry, i * rows);
    entry.drafts.assign(drafts + i * plan.drafts,
                        drafts + (i + 1) * plan.drafts);
  }
}

bool Generator::take(Active &entry, size_t row, const int32_t *given) {
  if (entry.hasEnded) // by its listener
    return false;
  StatusOr<int32_t> token =
      given ? StatusOr<int32_t>(*given) : sample(entry, row);
  if (!token.ok()) {
    end(entry, Stop::Error, token.status());
    return false;
  }
  entry.tokens.push_back(*token);
  listener.onToken(entry.id, *token);
  if (entry.hasEnded)
    return false;
  if (isEos(*token) && !entry.options.ignoreEos)
    end(entry, Stop::Eos);
  else if (entry.tokens.size() - entry.promptTokens >=
           entry.options.maxNewTokens)
    end(entry, Stop::Length);
  else if (entry.fed == maxSeqLen)
    end(entry, Stop::SequenceLimit);
  return !entry.hasEnded;
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
