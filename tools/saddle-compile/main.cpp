// saddle-compile: a model folder in, an engine file out. Exit codes: 0 fine, 1
// the input or the run failed, 2 the command line was wrong.

#include "compiler/Driver/Compile.h"
#include "runtime/src/base/Printable.h"
#include "tools/saddle-compile/Golden.h"
#include "tools/saddle-compile/Shortage.h"
#include "tools/support/CommandLine.h"
#include "tools/support/Memory.h"
#include "tools/support/Progress.h"
#include "tools/support/Signals.h"

#include <CLI/CLI.hpp>

#include <iostream>

using namespace saddle;

static constexpr const char *kDraftOptions = "Speculation";
static constexpr const char *kDeviceOptions = "Device code (target sm_90a)";

static std::string describePhases() {
  std::string text;
  for (const PhaseInfo &info : allPhases())
    text += "\n  " + info.name.str() + ": " + info.description.str();
  return text;
}

static std::vector<std::string> phaseNames() {
  std::vector<std::string> names;
  for (const PhaseInfo &info : allPhases())
    names.push_back(info.name.str());
  return names;
}

int main(int argc, char **argv) {
  tools::endWhenOutOfMemory();
  tools::endWhenLLVMIsOutOfMemory();
  tools::makeFileSizeAnError();
  CompileOptions options;
  std::string topology = "tp=1", computeDType = "bf16", kvDType;
  std::string compileTo, compileFrom, kernelCache, golden,
      tapsAre = "entering", draftEmbedding = "split";
  std::vector<std::string> mlirFlags;
  model::Limits &limits = options.build.limits;

  CLI::App app("Compiles a MiniMax model folder to an engine file.");
  app.set_version_flag("--version", "saddle-compile " SADDLE_VERSION);
  app.add_option("MODEL", options.input,
                 "Model folder, or a config.json for a compilation without "
                 "weights; with --compile-from an .mlir file")
      ->required();
  app.add_option("-o,--output", options.output,
                 "Engine file, or IR with --compile-to; - is standard output")
      ->required();
  app.add_option("--topology", topology,
                 "tp=T[,dp=D][,ep=E][,pp=P]: T ranks for each of P pipeline "
                 "stages; attention runs D replicas of width T/D, experts are "
                 "split E ways, each expert T/E ways")
      ->capture_default_str();
  app.add_option("--target", options.target, "cpu or sm_90a (Hopper)")
      ->capture_default_str();
  app.add_option("--compute-dtype", computeDType,
                 "f32: the oracle mode, nothing is quantised on the fly")
      ->check(CLI::IsMember({"f32", "bf16"}))
      ->capture_default_str();
  app.add_option("--kv-dtype", kvDType,
                 "Of the KV cache; default: the compute dtype")
      ->check(CLI::IsMember({"f32", "bf16", "fp8"}));
  app.add_option("--max-batch", limits.maxBatch, "Sequences at a time")
      ->check(CLI::Range(1, 65536))
      ->capture_default_str();
  auto *maxSeqLen =
      app.add_option("--max-seq-len", limits.maxSeqLen,
                     "Tokens of a sequence, prompt and answer; default: 4096 "
                     "or the model's limit")
          ->check(CLI::Range(1, 1 << 24));
  auto *prefillChunk =
      app.add_option("--prefill-chunk", limits.prefillChunk,
                     "Most tokens of an attention replica that one prefill "
                     "step takes; default: 128 on cpu; on sm_90a 8192 over "
                     "all replicas, or a longest sequence, and at least 128")
          ->check(CLI::Range(1, 1 << 20));
  app.add_option("--page-size", limits.pageSize, "Tokens of a KV page")
      ->check(CLI::Range(1, 1 << 16))
      ->capture_default_str();
  app.add_option("--buckets", options.buckets,
                 "Token counts of decode entries; default: powers of two up to "
                 "the batch")
      ->delimiter(',')
      ->check(CLI::Range(1, 65536));
  app.add_option("--rms-factors", options.rmsFactors,
                 "Where decodes divide by the root mean square of a norm whose "
                 "rows ranks share: as the published code does, or behind the "
                 "product that follows, whose sum over ranks then carries it; "
                 "rounds otherwise")
      ->check(CLI::IsMember({"reference", "sunk"}))
      ->capture_default_str();
  app.add_option("--candidates", options.build.candidates,
                 "Best tokens of each row of logits that a step yields, enough "
                 "for greedy and top-k sampling without the row")
      ->check(CLI::Range(0, 64))
      ->capture_default_str();
  app.add_option("--draft", options.draft,
                 "An EAGLE3 draft for the model, its folder or config.json: "
                 "speculative decoding")
      ->group(kDraftOptions);
  auto *specTokens =
      app.add_option("--spec-tokens", options.specTokens,
                     "Tokens of a sequence that are drafted for a step, at "
                     "most; default: 3 with --draft")
          ->check(CLI::Range(1, 64))
          ->group(kDraftOptions);
  app.add_option("--draft-taps", options.draftOptions.taps,
                 "Layers of the model whose entering hidden states the draft "
                 "sees; default: what its config.json says, or 2, n/2, n-3")
      ->delimiter(',')
      ->check(CLI::Range(0, 1 << 20))
      ->group(kDraftOptions);
  app.add_option("--draft-taps-are", tapsAre,
                 "What layers in the draft's config.json name: the hidden "
                 "states that enter them, or those that leave them")
      ->check(CLI::IsMember({"entering", "leaving"}))
      ->capture_default_str()
      ->group(kDraftOptions);
  app.add_option("--draft-embedding", draftEmbedding,
                 "How ranks hold the embedding that the draft reads: a share, "
                 "or the whole table, whose memory saves each drafted token an "
                 "exchange")
      ->check(CLI::IsMember({"split", "whole"}))
      ->capture_default_str()
      ->group(kDraftOptions);
  app.add_option("--stage-layers", options.stageLayers,
                 "Layers of each pipeline stage; default: even")
      ->delimiter(',')
      ->check(CLI::Range(1, 1 << 20));
  auto addChoice = [&](const char *flag, std::string &value,
                       const char *description,
                       std::vector<std::string> values) {
    values.insert(values.begin(), "auto");
    app.add_option(flag, value, description)
        ->check(CLI::IsMember(values))
        ->capture_default_str()
        ->group("How ranks meet (auto: predicted for H200, see --explain)");
  };
  addChoice("--reduction", options.reduction,
            "How the partial sums behind attention and experts are finished: "
            "by launches of their own, in the launch of the next add and norm, "
            "or by blocks of tokens, gathered for the next branch",
            {"all_reduce", "deferred", "reduce_scatter"});
  addChoice("--norm", options.norm,
            "Where ranks hold different rows: norm of own rows before the "
            "gather, or of all rows behind it",
            {"early", "late"});
  addChoice("--experts", options.experts,
            "Where experts' tokens come from: every rank holds all, or they "
            "are gathered from split rows",
            {"masked", "gathered"});
  addChoice("--replica-rows", options.replicaRows,
            "How tokens of attention replicas travel to the experts",
            {"packed", "padded"});
  app.add_option("--layers", options.layers, "Compile only the first layers")
      ->check(CLI::Range(1, 1 << 20));
  app.add_option("--compile-to", compileTo,
                 "Stop after a phase and write its IR:" + describePhases())
      ->check(CLI::IsMember(phaseNames()));
  app.add_option("--compile-from", compileFrom, "Read IR that a phase has left")
      ->check(CLI::IsMember(phaseNames()));
  app.add_option("--dump-phases-to", options.dumpPhasesTo,
                 "Folder for the IR after each phase");
  app.add_option("--dump-passes-to", options.dumpPassesTo,
                 "Folder for the IR after each pass");
  app.add_option("--nvcc", options.nvcc,
                 "nvcc of a CUDA toolkit 12.8 or newer; default: the one on "
                 "PATH or in /usr/local/cuda/bin")
      ->group(kDeviceOptions);
  auto *cache = app.add_option("--kernel-cache", kernelCache,
                               "Folder for compiled kernels, none when empty; "
                               "default: ~/.cache/saddle/kernels")
                    ->group(kDeviceOptions);
  app.add_option("--dump-kernels", options.dumpKernels,
                 "Folder for kernel sources, binaries and report.txt")
      ->group(kDeviceOptions);
  app.add_option("--tuning-candidate", options.tuningCandidate,
                 "Divide every product as its candidate of this number, 0 as "
                 "planned, instead of as measured; for saddle-tune")
      ->check(CLI::Range(0, 1000))
      ->group(kDeviceOptions);
  app.add_option("--golden", golden,
                 "Also run the model on the CPU in fp32 and write logits for "
                 "saddle-run --self-test to this file");
  app.add_flag("--explain", options.explain, "Print why choices were made");
  app.add_option("--mlir", mlirFlags,
                 "A flag of MLIR itself, such as --mlir=--mlir-timing");

  auto fail = [](const Status &status) {
    std::cerr << "saddle-compile: error: " << printable(status.labelled())
              << "\n";
    return 1;
  };
  auto usage = [&](const Status &status) {
    fail(status);
    return 2;
  };
  if (auto end = tools::parseCommandLine(app, argc, argv, fail))
    return *end;
  auto parsed = parseTopology(topology);
  if (!parsed.ok())
    return usage(parsed.status());
  options.topology = *parsed;
  if (!compileTo.empty())
    options.compileTo = parsePhase(compileTo);
  if (!compileFrom.empty())
    options.compileFrom = parsePhase(compileFrom);
  bool f32 = computeDType == "f32";
  options.build.computeDType = f32 ? TensorDType::F32 : TensorDType::BF16;
  options.build.kvDType = kvDType == "fp8"    ? TensorDType::F8E4M3
                          : kvDType == "f32"  ? TensorDType::F32
                          : kvDType == "bf16" ? TensorDType::BF16
                                              : options.build.computeDType;
  if (cache->count() > 0)
    options.kernelCache = kernelCache;
  options.draftOptions.wholeEmbedding = draftEmbedding == "whole";
  if (tapsAre == "leaving")
    options.draftOptions.convention = TapConvention::Leaving;
  if (!options.draft.empty() && specTokens->count() == 0)
    options.specTokens = 3;
  std::optional<tools::Progress> progress;
  options.kernelProgress = [&](size_t done, size_t total) {
    if (!progress)
      progress.emplace("compiling kernels", total);
    progress->update(done);
    if (done == total)
      progress.reset();
  };
  options.maxSeqLenIsDefault = maxSeqLen->count() == 0;
  options.prefillChunkIsDefault = prefillChunk->count() == 0;
  for (const CLI::Option *option : app.get_options())
    if (option->count() > 0)
      options.given.push_back(option->get_name());
  if (Status status = checkOptions(options); !status.ok())
    return usage(status);
  if (!golden.empty())
    if (Status status = tools::checkGolden(options); !status.ok())
      return usage(status);
  if (!applyMlirFlags(mlirFlags))
    return 2;
  if (!compile(options))
    return 1;
  if (golden.empty())
    return 0;
  Status status = tools::writeGolden(options, golden);
  return status.ok() ? 0 : fail(status);
}
