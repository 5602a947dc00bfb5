#include "tools/saddle-run/Generate.h"

#include "tools/support/StepOutput.h"

#include <algorithm>
#include <cinttypes>

namespace saddle::tools {

const char *nameOf(Stop stop) {
  switch (stop) {
  case Stop::Length:
    return "length";
  case Stop::Eos:
    return "eos";
  case Stop::SequenceLimit:
    return "max_seq_len";
  }
  return "";
}

namespace {
/// A prompt that is being continued.
struct Active {
  size_t prompt;
  uint32_t sequence, replica;
  SamplerOwner sampler;
  uint64_t pages; // it may need in the end
  size_t fed = 0; // tokens that the session has
};

class Generator {
public:
  Generator(saddle_session_t *session, const saddle_engine_info_t &info,
            const GenerateOptions &options,
            std::vector<Continuation> &continuations)
      : session(session), info(info), options(options),
        continuations(continuations),
        numPages(saddle_session_num_pages(session)), reserved(info.dp),
        output(info, info.candidates > 0 && !options.keepLogits &&
                         saddle_sampler_needs_only(&options.sampling,
                                                   info.candidates)) {}

  /// Starts prompts in order while there is room for their whole lives.
  Status admit();
  /// Feeds every active prompt what it has not been fed yet.
  Status step(Timing &timing);
  /// Samples a token for each active prompt and drops those that end.
  Status advance(const std::function<void(size_t, int32_t)> &onToken);
  bool done() const { return active.empty() && next == continuations.size(); }

private:
  bool isEos(int32_t token) const {
    return std::find(
               info.eos_token_ids, info.eos_token_ids + info.num_eos_token_ids,
               uint32_t(token)) != info.eos_token_ids + info.num_eos_token_ids;
  }
  saddle_session_t *session;
  const saddle_engine_info_t &info;
  const GenerateOptions &options;
  std::vector<Continuation> &continuations;

  const uint64_t numPages;        // of each attention replica
  size_t next = 0;                // prompt to admit
  std::vector<uint64_t> reserved; // pages, by attention replica
  std::vector<Active> active;
  std::vector<saddle_input_t> inputs;
  StepOutput output;
};
} // namespace

Status Generator::admit() {
  while (next < continuations.size() && active.size() < info.max_sequences) {
    uint64_t longest = std::min(
        info.max_seq_len, continuations[next].promptTokens +
                              std::max<uint64_t>(options.maxNewTokens, 1) - 1);
    uint64_t pages = (longest + info.page_size - 1) / info.page_size;
    if (pages > numPages)
      return makeError(StatusCode::ResourceExhausted,
                       "prompt %zu may need %" PRIu64
                       " KV pages, but the session has %" PRIu64
                       "; ask for fewer new tokens or more --kv-tokens",
                       next, pages, numPages);
    Active entry;
    SADDLE_RETURN_IF_ERROR(
        fromC(saddle_session_add_sequence(session, &entry.sequence)));
    entry.replica = saddle_session_sequence_replica(session, entry.sequence);
    if (reserved[entry.replica] + pages > numPages)
      return fromC(saddle_session_remove_sequence(session, entry.sequence));
    entry.prompt = next++;
    entry.pages = pages;
    reserved[entry.replica] += pages;
    SADDLE_ASSIGN_OR_RETURN(entry.sampler, createSampler(options.sampling));
    active.push_back(std::move(entry));
  }
  return {};
}

Status Generator::step(Timing &timing) {
  inputs.clear();
  uint64_t tokens = 0;
  bool prefills = false;
  for (const Active &entry : active) {
    const Continuation &text = continuations[entry.prompt];
    size_t count = text.tokens.size() - entry.fed;
    inputs.push_back(
        {entry.sequence, text.tokens.data() + entry.fed, count,
         options.keepLogits ? SADDLE_LOGITS_ALL : SADDLE_LOGITS_LAST});
    tokens += count;
    prefills |= entry.fed == 0;
  }
  double start = now();
  SADDLE_RETURN_IF_ERROR(output.step(session, inputs));
  double seconds = now() - start;
  (prefills ? timing.prefillSeconds : timing.decodeSeconds) += seconds;
  (prefills ? timing.prefillTokens : timing.decodeTokens) += tokens;
  return {};
}

Status Generator::advance(const std::function<void(size_t, int32_t)> &onToken) {
  size_t row = 0;
  for (size_t i = 0; i < active.size(); ++i) {
    Active &entry = active[i];
    Continuation &text = continuations[entry.prompt];
    size_t rows = options.keepLogits ? inputs[i].num_tokens : 1;
    if (options.keepLogits)
      text.logits.insert(text.logits.end(), output.logits(row),
                         output.logits(row + rows));
    row += rows;
    entry.fed = text.tokens.size();
    if (options.maxNewTokens == 0)
      continue;
    SADDLE_ASSIGN_OR_RETURN(int32_t token,
                            output.sample(entry.sampler.get(), row - 1));
    text.tokens.push_back(token);
    if (isEos(token) && !options.ignoreEos)
      text.stop = Stop::Eos;
    else if (text.tokens.size() - text.promptTokens < options.maxNewTokens &&
             entry.fed == info.max_seq_len)
      text.stop = Stop::SequenceLimit;
    onToken(entry.prompt, token);
  }
  for (size_t i = active.size(); i-- > 0;) {
    const Continuation &text = continuations[active[i].prompt];
    bool full = text.tokens.size() - text.promptTokens >= options.maxNewTokens;
    if (!full && text.stop == Stop::Length)
      continue;
    SADDLE_RETURN_IF_ERROR(
        fromC(saddle_session_remove_sequence(session, active[i].sequence)));
    reserved[active[i].replica] -= active[i].pages;
    active.erase(active.begin() + i);
  }
  return {};
}

StatusOr<std::vector<Continuation>>
generate(saddle_session_t *session, const saddle_engine_info_t &info,
         const std::vector<std::vector<int32_t>> &prompts,
         const GenerateOptions &options,
         const std::function<void(size_t prompt, int32_t token)> &onToken,
         Timing &timing) {
  std::vector<Continuation> continuations;
  for (const std::vector<int32_t> &prompt : prompts) {
    Continuation text;
    text.tokens = prompt;
    text.promptTokens = prompt.size();
    continuations.push_back(std::move(text));
  }
  timing.kvTokens = saddle_session_num_pages(session) * info.page_size;
  Generator generator(session, info, options, continuations);
  while (!generator.done()) {
    SADDLE_RETURN_IF_ERROR(generator.admit());
    SADDLE_RETURN_IF_ERROR(generator.step(timing));
    SADDLE_RETURN_IF_ERROR(generator.advance(onToken));
  }
  return continuations;
}

} // namespace saddle::tools
