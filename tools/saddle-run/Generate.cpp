#include "tools/saddle-run/Generate.h"

#include "tools/support/Runtime.h"
#include "tools/support/Signals.h"

namespace saddle::tools {

const char *nameOf(std::optional<saddle_stop_t> stop) {
  if (!stop)
    return "interrupted";
  switch (*stop) {
  case SADDLE_STOP_LENGTH:
    return "length";
  case SADDLE_STOP_EOS:
    return "eos";
  case SADDLE_STOP_SEQUENCE_LIMIT:
    return "max_seq_len";
  case SADDLE_STOP_ERROR:
    return "error";
  }
  return "";
}

using GeneratorOwner = Owner<saddle_generator_t, saddle_generator_destroy>;

namespace {

/// What a generator tells, by prompt: requests are numbered from 0 in the order
/// in which they are added.
struct Collector {
  const saddle_engine_info_t &info;
  const std::function<void(int32_t token)> &onToken;
  std::vector<Continuation> continuations;
  Status firstError;

  saddle_listener_t listener() { return {this, token, logits, drafts, end}; }

private:
  static Continuation &of(void *user, uint64_t prompt) {
    return static_cast<Collector *>(user)->continuations[prompt];
  }
  static void token(void *user, uint64_t prompt, int32_t token) {
    of(user, prompt).tokens.push_back(token);
    static_cast<Collector *>(user)->onToken(token);
  }
  static void logits(void *user, uint64_t prompt, const float *rows,
                     size_t count) {
    std::vector<float> &all = of(user, prompt).logits;
    uint64_t vocab = static_cast<Collector *>(user)->info.vocab_size;
    all.insert(all.end(), rows, rows + count * vocab);
  }
  static void drafts(void *user, uint64_t prompt, const int32_t *tokens,
                     size_t count, size_t accepted) {
    of(user, prompt).drafts.push_back({{tokens, tokens + count}, accepted});
  }
  static void end(void *user, uint64_t prompt, saddle_stop_t stop,
                  saddle_status_t error) {
    of(user, prompt).stop = stop;
    Status &first = static_cast<Collector *>(user)->firstError;
    if (stop == SADDLE_STOP_ERROR && first.ok())
      first = ofPrompt(prompt, error);
  }

public:
  static Status ofPrompt(uint64_t prompt, saddle_status_t error) {
    return fromC(error).within("prompt " + std::to_string(prompt));
  }
};

} // namespace

StatusOr<std::vector<Continuation>>
generate(saddle_session_t *session, const saddle_engine_info_t &info,
         const std::vector<std::vector<int32_t>> &prompts,
         saddle_request_t request, uint64_t specTokens, uint64_t chain,
         const std::function<void(int32_t token)> &onToken,
         saddle_timing_t &timing) {
  Collector collector{info, onToken, {}, {}};
  saddle_listener_t listener = collector.listener();
  saddle_generator_t *raw = nullptr;
  SADDLE_RETURN_IF_ERROR(
      fromC(saddle_generator_create(session, &listener, &raw)));
  GeneratorOwner generator(raw);
  SADDLE_RETURN_IF_ERROR(
      fromC(saddle_generator_speculate(generator.get(), specTokens)));
  SADDLE_RETURN_IF_ERROR(fromC(saddle_generator_chain(generator.get(), chain)));
  for (const std::vector<int32_t> &prompt : prompts) {
    request.tokens = prompt.data();
    request.num_tokens = prompt.size();
    uint64_t number = 0;
    saddle_status_t added =
        saddle_generator_add(generator.get(), &request, &number);
    if (added.code != SADDLE_OK)
      return Collector::ofPrompt(collector.continuations.size(), added);
    Continuation text;
    text.tokens = prompt;
    text.promptTokens = prompt.size();
    collector.continuations.push_back(std::move(text));
  }
  while (saddle_generator_live(generator.get()) != 0 &&
         !Interruption::isNoted())
    SADDLE_RETURN_IF_ERROR(fromC(saddle_generator_step(generator.get())));
  saddle_generator_timing(generator.get(), &timing);
  SADDLE_RETURN_IF_ERROR(collector.firstError);
  return std::move(collector.continuations);
}

} // namespace saddle::tools
