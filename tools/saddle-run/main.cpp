// saddle-run: continues prompts with a compiled engine. Generated text goes to
// stdout, everything else to stderr.

#include "runtime/src/base/File.h"
#include "tools/saddle-run/Generate.h"
#include "tools/saddle-run/LogitsFile.h"
#include "tools/saddle-run/Prompts.h"
#include "tools/saddle-run/SelfTest.h"
#include "tools/support/Checks.h"
#include "tools/support/CommandLine.h"
#include "tools/support/DeviceOptions.h"
#include "tools/support/Memory.h"
#include "tools/support/Print.h"
#include "tools/support/Progress.h"
#include "tools/support/Signals.h"
#include "tools/support/SpecOptions.h"

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <cstdio>
#include <unistd.h>

using namespace saddle;
using namespace saddle::tools;

namespace {

struct Options {
  std::string engine, weights, tokenizer, logitsOut, goldenOut, selfTest;
  std::optional<double> bound; // of the self-test
  std::string sampled;         // an option of sampling that was given
  PromptSources prompts;
  saddle_request_t request;
  saddle_session_options_t session;
  double timeout = 10;
  DeviceOptions device;
  SpecOptions spec;
  bool json = false;
};

const char *const kNotes = R"(
Without --json, stdout gets the continuation of a --prompt as text while it is
generated, that of --tokens as token ids with commas between. Several prompts run
as one batch (what the engine's max_batch and KV pages do not hold waits its
turn); then each continuation stands on its own line behind "[N] ", in order.

--logits-out F writes a safetensors file with "tokens", I32 [prompt + generated],
and "logits", F32 [positions, vocab]: row i holds the logits after token i. The
last generated token is not fed back, so positions = prompt + generated - 1.
With several prompts the names end in .0, .1, and so on.

--golden-out F writes tokens and logits of one prompt likewise, by default of a
fixed one: run it with an engine that is trusted, such as one of target cpu and
--compute-dtype f32. --self-test F feeds its tokens before anything else, and any
engine of the same model must compute the same logits, up to --self-test-bound of
the largest: 1e-4 for engines that compute in f32, else 8e-2, where a third of the
positions may differ more, since experts that are nearly as good are chosen by
rounding. Without an input that is all.

INT (Ctrl-C), TERM or HUP ends the generation after the current step; what there
is by then is printed and written as usual, and the signal then ends the tool. A
second one ends it at once.

Exit status: 0 fine, 1 the input or the run failed, 2 the command line was wrong.)";

/// Prints continuations: a single one as it grows, several at the end.
class Printer {
public:
  Printer(const Options &options, const saddle_tokenizer_t *tokenizer,
          size_t prompts)
      : asText(options.prompts.needTokenizer()),
        streams(!options.json && prompts == 1), tokenizer(tokenizer) {
    saddle_text_stream_t *raw = nullptr;
    if (streams && asText) {
      saddle_text_stream_create(tokenizer, /*skip_special=*/1, &raw);
      stream.reset(raw);
    }
  }
  void token(int32_t id) {
    if (!streams)
      return;
    if (asText)
      write(push(stream.get(), id));
    else
      std::printf("%s%d", first ? "" : ",", id);
    first = false;
    std::fflush(stdout);
  }
  void finish(const std::vector<Continuation> &continuations) {
    if (streams) {
      write((asText ? tools::finish(stream.get()) : "") + "\n");
      return;
    }
    for (size_t i = 0; i < continuations.size(); ++i)
      write("[" + std::to_string(i) + "] " + text(continuations[i]) + "\n");
  }
  bool isStreaming() const { return streams; }

private:
  /// All of it, U+0000 too.
  static void write(const std::string &text) {
    std::fwrite(text.data(), 1, text.size(), stdout);
  }
  std::string text(const Continuation &continuation) const {
    std::vector<int32_t> ids(continuation.tokens.begin() +
                                 continuation.promptTokens,
                             continuation.tokens.end());
    if (asText)
      return decode(tokenizer, ids);
    std::string list;
    for (int32_t id : ids)
      list += (list.empty() ? "" : ",") + std::to_string(id);
    return list;
  }
  bool asText, streams, first = true;
  const saddle_tokenizer_t *tokenizer;
  StreamOwner stream;
};

/// Of the drafted tokens, those that were the model's own choice.
double acceptance(const saddle_timing_t &timing) {
  return double(timing.accepted_tokens) / double(timing.drafted_tokens);
}

/// Tokens that a verification gave: the accepted ones and one more.
double acceptedLength(const saddle_timing_t &timing) {
  return 1 + double(timing.accepted_tokens) / double(timing.verifications);
}

struct Loading {
  double seconds;
  saddle_load_times_t parts;
};

void printJson(const std::vector<Continuation> &continuations,
               const saddle_tokenizer_t *tokenizer, uint64_t kvTokens,
               const saddle_timing_t &timing, const Loading &loading) {
  nlohmann::ordered_json json;
  json["prompts"] = nlohmann::ordered_json::array();
  for (const Continuation &text : continuations) {
    auto middle = text.tokens.begin() + text.promptTokens;
    std::vector<int32_t> prompt(text.tokens.begin(), middle);
    std::vector<int32_t> generated(middle, text.tokens.end());
    nlohmann::ordered_json entry = {{"prompt_tokens", prompt},
                                    {"tokens", generated}};
    if (tokenizer)
      entry["text"] = decode(tokenizer, generated);
    entry["stop"] = nameOf(text.stop);
    for (const Continuation::Drafts &drafts : text.drafts)
      entry["drafts"].push_back(
          {{"tokens", drafts.tokens}, {"accepted", drafts.accepted}});
    json["prompts"].push_back(std::move(entry));
  }
  json["stats"] = {{"load_seconds", loading.seconds},
                   {"load_devices_seconds", loading.parts.devices_ns / 1e9},
                   {"load_memory_seconds", loading.parts.memory_ns / 1e9},
                   {"load_weights_seconds", loading.parts.weights_ns / 1e9},
                   {"kv_tokens", kvTokens},
                   {"prefill_tokens", timing.prefill_tokens},
                   {"prefill_seconds", timing.prefill_seconds},
                   {"decode_tokens", timing.decode_tokens},
                   {"decode_seconds", timing.decode_seconds}};
  if (timing.verifications > 0)
    json["speculation"] = {{"draft_seconds", timing.draft_seconds},
                           {"verifications", timing.verifications},
                           {"drafted_tokens", timing.drafted_tokens},
                           {"accepted_tokens", timing.accepted_tokens},
                           {"acceptance", acceptance(timing)},
                           {"accepted_length", acceptedLength(timing)}};
  std::fputs(jsonText(json, 2).c_str(), stdout);
}

void printStats(const saddle_timing_t &timing, const Loading &loading) {
  auto rate = [](uint64_t tokens, double seconds) {
    return seconds > 0 ? double(tokens) / seconds : 0;
  };
  std::fprintf(
      stderr,
      "loaded in %.2f s (devices %.2f, memory %.2f, weights %.2f); prefill "
      "%llu tokens in %.3f s (%.0f "
      "tokens/s); decode %llu tokens in %.3f s (%.1f tokens/s)\n",
      loading.seconds, loading.parts.devices_ns / 1e9,
      loading.parts.memory_ns / 1e9, loading.parts.weights_ns / 1e9,
      (unsigned long long)timing.prefill_tokens, timing.prefill_seconds,
      rate(timing.prefill_tokens, timing.prefill_seconds),
      (unsigned long long)timing.decode_tokens, timing.decode_seconds,
      rate(timing.decode_tokens, timing.decode_seconds + timing.draft_seconds));
  if (timing.verifications > 0)
    std::fprintf(stderr,
                 "drafted %llu tokens in %.3f s, accepted %llu (%.1f %%): %.2f "
                 "tokens for each verification\n",
                 (unsigned long long)timing.drafted_tokens,
                 timing.draft_seconds,
                 (unsigned long long)timing.accepted_tokens,
                 100 * acceptance(timing), acceptedLength(timing));
}

/// The tokenizer of the command line or of the weights folder; null when there
/// is none and none is needed.
StatusOr<TokenizerOwner> openTokenizer(const Options &options) {
  if (!options.tokenizer.empty())
    return loadTokenizer(options.tokenizer);
  bool synthetic = options.weights.rfind("synthetic:", 0) == 0;
  std::string path = options.weights + "/tokenizer.json";
  if (!synthetic) {
    SADDLE_RETURN_IF_ERROR(
        requireFolder(options.weights, "a checkpoint folder"));
    SADDLE_ASSIGN_OR_RETURN(bool isThere, exists(path));
    if (isThere && (options.prompts.needTokenizer() || options.json))
      return loadTokenizer(path);
  }
  if (options.prompts.needTokenizer())
    return makeError(StatusCode::NotFound,
                     "%s; text prompts need a tokenizer: give --tokenizer "
                     "FILE, or token ids with --tokens",
                     synthetic ? "synthetic weights have no tokenizer"
                               : (path + ": does not exist").c_str());
  return TokenizerOwner();
}

Status run(Options &options) {
  SADDLE_ASSIGN_OR_RETURN(EngineOwner engine, loadEngine(options.engine));
  saddle_engine_info_t info;
  saddle_engine_info(engine.get(), &info);
  SADDLE_ASSIGN_OR_RETURN(TokenizerOwner tokenizer, openTokenizer(options));
  std::vector<std::vector<int32_t>> prompts;
  if (options.prompts.given()) {
    SADDLE_ASSIGN_OR_RETURN(
        prompts, readPrompts(options.prompts, tokenizer.get(), info));
  } else if (!options.goldenOut.empty()) {
    prompts = {fixedPrompt(info)};
  }
  if (!options.goldenOut.empty() && prompts.size() != 1)
    return makeError(StatusCode::InvalidArgument,
                     "--golden-out takes one prompt, found %zu",
                     prompts.size());
  std::optional<Golden> golden;
  if (!options.selfTest.empty()) {
    SADDLE_ASSIGN_OR_RETURN(golden, readGolden(options.selfTest, info));
  }
  if (info.num_eos_token_ids == 0 && !options.request.ignore_eos)
    std::fprintf(stderr, "the engine knows no end token: answers end at "
                         "--max-new-tokens or max_seq_len only\n");
  // Refuse bad sampling options before the weights are loaded.
  SADDLE_RETURN_IF_ERROR(createSampler(options.request.sampling).status());
  double start = now();
  options.session.timeout_ms = toMilliseconds(options.timeout);
  options.device.applyTo(options.session);
  options.spec.applyTo(options.session);
  SADDLE_ASSIGN_OR_RETURN(
      SessionOwner session,
      createSession(engine.get(), options.weights, options.session));
  Loading loading = {now() - start, {}};
  saddle_session_load_times(session.get(), &loading.parts);
  if (golden) {
    Tolerance tolerance = goldenTolerance(info);
    tolerance.bound = options.bound.value_or(tolerance.bound);
    SADDLE_ASSIGN_OR_RETURN(double error,
                            selfTest(session.get(), info, *golden, tolerance));
    std::fprintf(stderr,
                 "self-test: %zu positions, logits differ by %.2g of the "
                 "largest, at most %g allowed\n",
                 golden->tokens.size(), error, tolerance.bound);
    if (prompts.empty())
      return {};
  }

  Printer printer(options, tokenizer.get(), prompts.size());
  saddle_timing_t timing = {};
  std::vector<Continuation> continuations;
  Interruption interruption;
  {
    uint64_t generated = 0;
    Progress progress("generating",
                      prompts.size() * options.request.max_new_tokens,
                      !printer.isStreaming() || !isatty(STDOUT_FILENO));
    SADDLE_ASSIGN_OR_RETURN(continuations,
                            generate(
                                session.get(), info, prompts, options.request,
                                options.spec.tokensOf(info.spec_tokens),
                                options.spec.chainSteps(),
                                [&](int32_t token) {
                                  printer.token(token);
                                  progress.update(++generated);
                                },
                                timing));
  }
  if (!options.logitsOut.empty())
    SADDLE_RETURN_IF_ERROR(
        writeLogits(options.logitsOut, continuations, info.vocab_size));
  if (!options.goldenOut.empty()) {
    // Of the tokens that have logits: the last one is never fed.
    Continuation &golden = continuations[0];
    std::vector<int32_t> fed = golden.tokens;
    fed.resize(golden.logits.size() / info.vocab_size);
    SADDLE_RETURN_IF_ERROR(tapLayers(session.get(), info, fed, golden));
    SADDLE_RETURN_IF_ERROR(
        writeLogits(options.goldenOut, continuations, info.vocab_size));
  }
  if (options.json)
    printJson(continuations, tokenizer.get(),
              saddle_session_num_pages(session.get()) * info.page_size, timing,
              loading);
  else
    printer.finish(continuations);
  // Before anything goes to standard error, so that the two keep their order.
  if (std::fflush(stdout) != 0 || std::ferror(stdout))
    return makeError(StatusCode::ResourceExhausted,
                     "standard output could not be written");
  for (size_t i = 0; i < continuations.size(); ++i)
    if (continuations[i].stop == SADDLE_STOP_SEQUENCE_LIMIT)
      std::fprintf(stderr,
                   "prompt %zu: stopped at the engine's max_seq_len = %llu\n",
                   i, (unsigned long long)info.max_seq_len);
  if (interruption.isNoted())
    std::fprintf(
        stderr, "interrupted: %zu of %zu prompts had not ended\n",
        size_t(std::count_if(
            continuations.begin(), continuations.end(),
            [](const Continuation &text) { return !text.stop.has_value(); })),
        continuations.size());
  printStats(timing, loading);
  return {};
}

/// What CLI11 cannot check.
Status checkOptions(const Options &options) {
  constexpr StatusCode kCode = StatusCode::InvalidArgument;
  bool needsNone = !options.goldenOut.empty() || !options.selfTest.empty();
  if (!options.prompts.given() && !needsNone)
    return makeError(kCode, "expected an input: --prompt, --tokens or "
                            "--prompts-file");
  if (options.bound && options.selfTest.empty())
    return makeError(kCode, "--self-test-bound has no effect without "
                            "--self-test; leave it out");
  if (options.prompts.parseSpecial && !options.prompts.needTokenizer())
    return makeError(kCode, "--parse-special has no effect on --tokens; leave "
                            "it out");
  if (!options.sampled.empty() && options.request.sampling.temperature == 0)
    return makeError(kCode,
                     "%s has no effect without --temperature: the likeliest "
                     "token is taken; leave it out",
                     options.sampled.c_str());
  if (options.logitsOut == "-")
    return makeError(kCode, "--logits-out needs a file: standard output "
                            "carries the text");
  return {};
}

} // namespace

int main(int argc, char **argv) {
  tools::endWhenOutOfMemory();
  tools::makeFileSizeAnError();
  Options options;
  saddle_session_options_init(&options.session);
  saddle_request_init(&options.request);
  options.request.max_new_tokens = 32;
  saddle_sampler_options_t &sampling = options.request.sampling;

  CLI::App app("Continues prompts with a compiled engine.");
  app.footer(kNotes);
  app.set_version_flag("--version", "saddle-run " SADDLE_VERSION);
  app.add_option("FILE", options.engine, "Engine file; - is standard input")
      ->required();
  app.add_option("--weights", options.weights,
                 "Checkpoint folder, folder of saddle-pack, or synthetic:SEED")
      ->required();
  auto *inputs = app.add_option_group("Input", "exactly one kind");
  inputs
      ->add_option("--prompt", options.prompts.texts,
                   "Text to continue; may be repeated")
      ->allow_extra_args(false);
  inputs
      ->add_option("--tokens", options.prompts.tokens,
                   "Token ids to continue, 1,2,3; may be repeated")
      ->allow_extra_args(false);
  inputs->add_option(
      "--prompts-file", options.prompts.file,
      "One prompt per line, with LF or CRLF; - is standard input");
  inputs->require_option(0, 1); // with golden logits there need be none
  app.add_flag("--parse-special", options.prompts.parseSpecial,
               "The content of a special token in a text becomes that token; "
               "for prompts in a chat's form, and not for text of others");
  app.add_option("--max-new-tokens", options.request.max_new_tokens,
                 "Tokens to generate for each prompt")
      ->check(wholeNumber())
      ->capture_default_str();
  app.add_flag_callback(
      "--ignore-eos", [&] { options.request.ignore_eos = 1; },
      "Go on behind end-of-sequence tokens");
  app.add_option("--temperature", sampling.temperature, "0 is greedy")
      ->capture_default_str();
  const CLI::Option *sampled[] = {
      app.add_option("--top-k", sampling.top_k,
                     "Choose among the k likeliest; 0 is all")
          ->check(wholeNumber())
          ->capture_default_str(),
      app.add_option("--top-p", sampling.top_p,
                     "Choose among the likeliest that together have this "
                     "probability")
          ->capture_default_str(),
      app.add_option("--seed", sampling.seed,
                     "Of the random draws; every prompt draws the same stream")
          ->check(wholeNumber())
          ->capture_default_str()};
  app.add_option("--prefill-chunk", options.session.prefill_chunk,
                 "Most tokens of a prefill launch; 0 is the engine's")
      ->check(wholeNumber())
      ->capture_default_str();
  app.add_option("--tokenizer", options.tokenizer,
                 "tokenizer.json or its folder; default: the weights folder");
  app.add_option("--logits-out", options.logitsOut,
                 "Write logits to this safetensors file");
  app.add_option("--golden-out", options.goldenOut,
                 "Write tokens and logits for --self-test to this file");
  app.add_option("--self-test", options.selfTest,
                 "Compare with the logits in this file of --golden-out");
  app.add_option("--self-test-bound", options.bound,
                 "Largest difference, as a share of the largest logit")
      ->check(CLI::Range(0.0, 1.0));
  app.add_option("--micro-batches", options.session.micro_batches,
                 "Launches that a batch is cut into, for pipeline stages; 0 is "
                 "one per stage")
      ->check(CLI::Range(0, 1024))
      ->capture_default_str();
  app.add_option("--timeout", options.timeout,
                 "Seconds that a rank may make no progress")
      ->check(seconds())
      ->capture_default_str();
  options.device.addTo(app);
  options.spec.addTo(app);
  app.add_flag("--json", options.json, "Results as JSON on stdout");
  if (auto end = parseCommandLine(app, argc, argv, printError))
    return *end;
  for (const CLI::Option *option : sampled)
    if (option->count() > 0)
      options.sampled = option->get_name();
  Status status = checkOptions(options);
  if (!status.ok()) {
    printError(status);
    return kUsage;
  }
  options.request.wants_logits =
      !options.logitsOut.empty() || !options.goldenOut.empty();
  status = run(options);
  if (!status.ok())
    printError(status);
  Interruption::passOn();
  return status.ok() ? kFine : kFailed;
}
