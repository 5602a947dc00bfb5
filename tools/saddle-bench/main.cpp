// saddle-bench: how long steps of a compiled engine take, and where the time
// goes.

#include "runtime/src/base/File.h"
#include "tools/saddle-bench/Report.h"
#include "tools/support/Checks.h"
#include "tools/support/CommandLine.h"
#include "tools/support/DeviceOptions.h"
#include "tools/support/Lists.h"
#include "tools/support/Memory.h"
#include "tools/support/Print.h"
#include "tools/support/Progress.h"
#include "tools/support/Signals.h"
#include "tools/support/SpecOptions.h"

#include <CLI/CLI.hpp>

#include <cstdio>

using namespace saddle;
using namespace saddle::tools;

namespace {

struct Options {
  std::string engine, weights, trace, budget;
  std::string batches = "1", contexts = "64", prefills = "64";
  uint64_t steps = 20;
  uint32_t microBatches = 0;
  double timeout = 10;
  DeviceOptions device;
  SpecOptions spec;
  std::optional<double> acceptance;
  std::optional<uint32_t> alone;
  bool json = false;
};

const char *const kNotes = R"(
With a draft in the engine, rounds of drafting, verifying and accepting follow
each figure: time of a round and of its parts, and time of a token of a sequence.
Every batch size is measured at every context: that many sequences of that many
tokens, then --steps steps of one token each, after 2 steps of warm-up; medians,
with the shortest and longest in parentheses. Under each figure stands the time
by op on rank 0 (or the one alone), from one more step that is traced. --trace writes all traced
steps for chrome://tracing or Perfetto, one row per rank.

The routing line counts, in that step, how many different experts the tokens of
each launch chose; bytes of experts are those of the ones chosen.

Steps yield candidates where the engine has them (saddle-compile --candidates),
else whole rows of logits.

On GPUs the time that the devices were busy stands below the step's, and the
table is by kernel, with the bytes that one launch must move at least and how
much of the memory's speed (4.6 TB/s) it reached. More than memory and cache can
deliver is an error, as are logits that are not finite. Traced steps run their kernels
one by one, not as a graph, so that the table adds up to more than a step.

--alone R runs one rank of an engine of any number of ranks on one GPU. What it
sends to the others comes back to itself, as if all had the same data: its
kernels do what they always do, its logits are finite numbers of no model, and
only links are missing. Their time is added from a table of exchanges measured
on 2, 4 and 8 GPUs: of each, what it takes there less what it takes looped back.

--budget writes Markdown tables of every launch of a layer: bytes, operations,
the time that memory or tensor cores need for them, what the launch waits for
besides by a model (functions, exchanges), and the time in the traced step.

Exit status: 0 fine, 1 the input or the run failed, 2 the command line was wrong.)";

StatusOr<std::vector<uint64_t>> numbers(const char *option,
                                        const std::string &text) {
  SADDLE_ASSIGN_OR_RETURN(std::vector<int64_t> list, parseList(option, text));
  std::vector<uint64_t> result;
  for (int64_t number : list) {
    if (number < 1)
      return makeError(StatusCode::InvalidArgument,
                       "%s %lld: expected 1 or more", option,
                       (long long)number);
    result.push_back(uint64_t(number));
  }
  return result;
}

Status write(const std::string &path, const std::string &text) {
  return writeFileAtomically(
      path, Bytes(reinterpret_cast<const uint8_t *>(text.data()), text.size()));
}

/// What CLI11 cannot check.
Status checkOptions(const Options &options) {
  for (auto [option, file] : {std::pair("--trace", &options.trace),
                              std::pair("--budget", &options.budget)})
    if (*file == "-")
      return makeError(StatusCode::InvalidArgument,
                       "%s needs a file: standard output carries the results",
                       option);
  return {};
}

Status run(Options &options) {
  SADDLE_ASSIGN_OR_RETURN(std::vector<uint64_t> batches,
                          numbers("--batch", options.batches));
  SADDLE_ASSIGN_OR_RETURN(std::vector<uint64_t> contexts,
                          numbers("--context", options.contexts));
  SADDLE_ASSIGN_OR_RETURN(std::vector<uint64_t> prefills,
                          numbers("--prefill", options.prefills));
  SADDLE_ASSIGN_OR_RETURN(EngineOwner engine, loadEngine(options.engine));
  Report report;
  saddle_engine_info(engine.get(), &report.info);
  if (options.acceptance && options.spec.tokensOf(report.info.spec_tokens) == 0)
    return makeError(StatusCode::InvalidArgument,
                     "--spec-acceptance has no effect: nothing is drafted; "
                     "leave it out, or compile with --draft");
  const uint64_t chain = options.spec.chainSteps();
  for (uint64_t batch : batches)
    for (uint64_t context : contexts) {
      SADDLE_RETURN_IF_ERROR(
          checkDecode(report.info, batch, context, options.steps));
      if (uint64_t drafted = options.spec.tokensOf(report.info.spec_tokens))
        SADDLE_RETURN_IF_ERROR(checkSpeculation(report.info, batch, context,
                                                options.steps, drafted));
    }
  for (uint64_t tokens : prefills)
    SADDLE_RETURN_IF_ERROR(checkPrefill(report.info, tokens));

  saddle_session_options_t sessionOptions;
  saddle_session_options_init(&sessionOptions);
  sessionOptions.timeout_ms = toMilliseconds(options.timeout);
  sessionOptions.micro_batches = options.microBatches;
  if (options.alone)
    sessionOptions.alone = &*options.alone;
  options.device.applyTo(sessionOptions);
  options.spec.applyTo(sessionOptions);
  double start = now();
  SADDLE_ASSIGN_OR_RETURN(
      SessionOwner session,
      createSession(engine.get(), options.weights, sessionOptions));
  report.loadSeconds = now() - start;
  uint64_t pages = saddle_session_num_pages(session.get());
  report.kvTokens = pages * report.info.page_size;
  for (uint64_t batch : batches)
    for (uint64_t context : contexts)
      SADDLE_RETURN_IF_ERROR(
          checkPages(report.info, pages, batch, context, options.steps));

  report.alone = options.alone;
  const TokenRange range = tokensFor(report.info, options.alone);
  std::vector<Event> events, all;
  auto collect = [&](std::vector<std::vector<KernelTime>> &kernels,
                     std::vector<Spread> &spreads,
                     std::vector<std::vector<BudgetRow>> &budgets,
                     std::vector<double> &links) {
    uint32_t rank = report.rank();
    spreads.push_back(spreadOf(events, rank));
    kernels.push_back(sumByKernel(events, report.onDevices(), rank));
    budgets.push_back(budgetOf(events, rank, report.alone.has_value()));
    links.push_back(linkSecondsOf(events, rank));
    all.insert(all.end(), events.begin(), events.end());
    events.clear();
  };
  uint64_t done = 0;
  uint64_t drafted = options.spec.tokensOf(report.info.spec_tokens);
  {
    Progress progress("measuring",
                      (drafted ? 2 : 1) * batches.size() * contexts.size() +
                          prefills.size());
    for (uint64_t batch : batches)
      for (uint64_t context : contexts) {
        SADDLE_ASSIGN_OR_RETURN(DecodeResult result,
                                measureDecode(session.get(), report.info, range,
                                              batch, context, options.steps,
                                              events));
        report.decode.push_back(result);
        collect(report.decodeKernels, report.decodeSpreads,
                report.decodeBudgets, report.decodeLinks);
        progress.update(++done);
        // Only devices chain steps.
        if (chain > 1 && result.times.device.most > 0) {
          SADDLE_ASSIGN_OR_RETURN(
              SpeculationResult steps,
              measureSpeculation(session.get(), report.info, range, batch,
                                 context, options.steps, /*drafted=*/0, chain,
                                 std::nullopt));
          if (steps.chained > 1)
            report.chains.push_back(steps);
        }
        if (drafted == 0)
          continue;
        SADDLE_ASSIGN_OR_RETURN(SpeculationResult rounds,
                                measureSpeculation(session.get(), report.info,
                                                   range, batch, context,
                                                   options.steps, drafted,
                                                   chain, options.acceptance));
        report.speculation.push_back(rounds);
        progress.update(++done);
      }
    for (uint64_t tokens : prefills) {
      SADDLE_ASSIGN_OR_RETURN(PrefillResult result,
                              measurePrefill(session.get(), report.info, range,
                                             tokens, /*repeats=*/5, events));
      report.prefill.push_back(result);
      collect(report.prefillKernels, report.prefillSpreads,
              report.prefillBudgets, report.prefillLinks);
      progress.update(++done);
    }
  }
  if (!options.trace.empty())
    SADDLE_RETURN_IF_ERROR(write(options.trace, chromeTrace(all)));
  SADDLE_RETURN_IF_ERROR(checkShares(report));
  if (!options.budget.empty() && !report.onDevices())
    return makeError(StatusCode::InvalidArgument,
                     "--budget: %s is for target \"%s\", and budgets are of "
                     "GPUs; compile with --target sm_90a",
                     options.engine.c_str(), report.info.target);
  if (!options.budget.empty())
    SADDLE_RETURN_IF_ERROR(write(options.budget, reportBudget(report)));
  return write("-", options.json ? reportJson(report) : reportText(report));
}

} // namespace

int main(int argc, char **argv) {
  tools::endWhenOutOfMemory();
  tools::makeFileSizeAnError();
  Options options;
  CLI::App app("Measures decode steps and prefill of a compiled engine.");
  app.footer(kNotes);
  app.set_version_flag("--version", "saddle-bench " SADDLE_VERSION);
  app.add_option("FILE", options.engine, "Engine file; - is standard input")
      ->required();
  app.add_option("--weights", options.weights,
                 "Checkpoint folder, folder of saddle-pack, or synthetic:SEED")
      ->required();
  app.add_option("--batch", options.batches, "Decode batch sizes, 1,8,64")
      ->capture_default_str();
  app.add_option("--context", options.contexts,
                 "Tokens that each sequence holds before")
      ->capture_default_str();
  app.add_option("--steps", options.steps, "Timed decode steps")
      ->check(CLI::Range(1, 1000000))
      ->capture_default_str();
  app.add_option("--prefill", options.prefills, "Prompt lengths, 64,512")
      ->capture_default_str();
  app.add_option("--micro-batches", options.microBatches,
                 "Launches that a batch is cut into, for pipeline stages; 0 is "
                 "one per stage")
      ->check(CLI::Range(0, 1024))
      ->capture_default_str();
  app.add_option("--timeout", options.timeout,
                 "Seconds that a rank may make no progress")
      ->check(seconds())
      ->capture_default_str();
  app.add_option("--trace", options.trace, "Write a Chrome trace to this file");
  app.add_option("--budget", options.budget,
                 "Write the budget of each step's launches to this file");
  app.add_option("--alone", options.alone,
                 "Run this rank only, on one GPU, its exchanges looped back")
      ->check(wholeNumber());
  options.device.addTo(app);
  options.spec.addTo(app);
  app.add_option("--spec-acceptance", options.acceptance,
                 "Take each drafted token for right with this probability, "
                 "whatever the model says: for synthetic weights")
      ->check(CLI::Range(0.0, 1.0));
  app.add_flag("--json", options.json, "Results as JSON");
  if (auto end = parseCommandLine(app, argc, argv, printError))
    return *end;
  Status status = checkOptions(options);
  if (!status.ok()) {
    printError(status);
    return kUsage;
  }
  status = run(options);
  if (status.ok())
    return kFine;
  printError(status);
  return kFailed;
}
