// Checks every kernel of a CUDA engine against the reference kernel of the same
// op: random inputs, poisoned outputs, guards around every operand, several
// row counts and input patterns.
//
// The device takes one run at a time; the reference runs beside it on several
// threads.
//
//   SaddleKernelCheck ENGINE... [--only OP] [--sample-rows N] [--threads N]
//   SaddleKernelCheck ENGINE... --long-walk TOKENS

#include "runtime/src/engine/Extents.h"
#include "runtime/src/engine/Validate.h"
#include "test/gpu/KernelCheck/CheckRun.h"
#include "test/gpu/KernelCheck/Compare.h"
#include "test/gpu/KernelCheck/DeviceRun.h"
#include "test/gpu/KernelCheck/Inputs.h"
#include "test/gpu/KernelCheck/LongWalk.h"

#include <CLI/CLI.hpp>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <functional>
#include <map>
#include <set>
#include <thread>

using namespace saddle;
using namespace saddle::check;

namespace {

struct Options {
  std::vector<std::string> engines;
  std::string only;
  uint64_t seed = 1;
  unsigned rounds = 1;
  double maxGiB = 4;
  uint64_t maxRows = ~uint64_t(0);
  uint64_t sampleRows = 0;
  unsigned threads = std::max(1u, std::thread::hardware_concurrency());
  double slow = 5;
  uint64_t longWalk = 0; // tokens
};

struct Tally {
  unsigned kernels = 0, runs = 0, failures = 0, skipped = 0;
  double worst = 0, seconds = 0;
};
using Tallies = std::map<std::string, Tally>; // by op

const char *nameOf(Pattern pattern) {
  switch (pattern) {
  case Pattern::Random:
    return "random";
  case Pattern::Crowded:
    return "crowded";
  case Pattern::Sparse:
    return "sparse";
  }
  return "";
}

void checkLaunch(DeviceRun &device, const LaunchCase &launch,
                 const Options &options, Tally &tally) {
  ++tally.kernels;
  double gib = double(operandBytes(launch)) / double(1 << 30);
  if (gib > options.maxGiB) {
    ++tally.skipped;
    std::printf("skip   %s: operands of %.1f GiB, --max-gib is %.1f\n",
                launch.kernel->name()->c_str(), gib, options.maxGiB);
    return;
  }
  uint64_t most = std::min(launch.capacity, options.maxRows);
  // Long ones first, so that threads end together.
  std::set<uint64_t, std::greater<>> counts = {most, most - 1, most / 2, 1, 0};
  std::vector<RunCase> runs;
  for (uint64_t count : counts)
    for (Pattern pattern : {Pattern::Random, Pattern::Crowded, Pattern::Sparse})
      for (unsigned round = 0; round < options.rounds; ++round)
        runs.push_back(
            {count, pattern,
             options.seed + 1000 * round + 10 * count + unsigned(pattern),
             options.sampleRows});

  auto start = std::chrono::steady_clock::now();
  Operands shared = makeShared(launch, options.seed, options.threads);
  Status around = device.share(launch, shared);
  std::vector<StatusOr<double>> errors(runs.size(), 0.0);
  if (around.ok()) {
    Executor execute = [&](const LaunchCase &which, uint64_t count,
                           const Operands &operands) {
      return device.run(which, count, operands);
    };
    forEachIndex(runs.size(), options.threads, [&](uint64_t i) {
      errors[i] = checkRun(launch, shared, runs[i], execute);
    });
    around = device.checkShared(launch, shared);
  }
  for (size_t i = 0; i < runs.size(); ++i) {
    ++tally.runs;
    if (errors[i].ok()) {
      tally.worst = std::max(tally.worst, *errors[i]);
      continue;
    }
    ++tally.failures;
    std::printf("FAILED %s, %s, %llu of %llu rows: %s\n",
                launch.command->place()->c_str(), nameOf(runs[i].pattern),
                (unsigned long long)runs[i].count,
                (unsigned long long)launch.capacity,
                errors[i].status().message().c_str());
  }
  if (!around.ok()) {
    ++tally.failures;
    std::printf("FAILED %s, read-only operands: %s\n",
                launch.command->place()->c_str(), around.message().c_str());
  }
  std::chrono::duration<double> seconds =
      std::chrono::steady_clock::now() - start;
  tally.seconds += seconds.count();
  if (seconds.count() > options.slow)
    std::printf("slow   %s, %llu rows: %.1f s\n",
                launch.kernel->name()->c_str(),
                (unsigned long long)launch.capacity, seconds.count());
}

/// Kernel, shapes and strides: what makes two launches the same to check.
std::string keyOf(const LaunchCase &launch) {
  std::string key = std::to_string(launch.launch->kernel());
  for (uint32_t index : *launch.launch->operands()) {
    const schema::Slice &slice = *launch.entry->slices()->Get(index);
    key += engine::formatDims(*slice.shape()) +
           engine::formatDims(*slice.strides());
  }
  return key;
}

Status checkEngine(const std::string &path, const Options &options,
                   Tallies &tallies) {
  SADDLE_ASSIGN_OR_RETURN(std::unique_ptr<Engine> engine, Engine::load(path));
  SADDLE_ASSIGN_OR_RETURN(std::unique_ptr<DeviceRun> device,
                          DeviceRun::open(*engine));
  const schema::Engine &root = engine->root();
  std::set<std::string> seen;
  uint32_t tp = root.topology()->tp();
  for (const schema::Program *program : *root.programs())
    for (const schema::Entry *entry : *program->entries())
      for (const schema::Command *command : *entry->commands()) {
        const schema::Launch *launch = command->action_as_Launch();
        if (!launch)
          continue;
        const schema::Kernel *kernel = root.kernels()->Get(launch->kernel());
        std::string op = kernel->op()->str();
        // What needs its peers has no reference: topologies are its test.
        if (launch->groups() != 0 ||
            (!options.only.empty() && op != options.only))
          continue;
        // The last rank of the stage: its rank values are not all zero.
        LaunchCase launchCase{
            &root,
            entry,
            command,
            launch,
            kernel,
            engine::capacityOf(launch->extent(), *root.topology(), *entry),
            program->stage() * tp + tp - 1};
        if (seen.insert(keyOf(launchCase)).second)
          checkLaunch(*device, launchCase, options, tallies[op]);
      }
  return {};
}

/// Every gait over the slowest scan: the state may be off by 1e-5 of its
/// largest value, and an output by as much and what its type rounds.
Status checkLongWalks(const std::string &path, const Options &options,
                      unsigned &failures) {
  constexpr double kStateBound = 1e-5;
  SADDLE_ASSIGN_OR_RETURN(std::unique_ptr<Engine> engine, Engine::load(path));
  SADDLE_ASSIGN_OR_RETURN(std::unique_ptr<DeviceRun> device,
                          DeviceRun::open(*engine));
  std::string place;
  uint32_t rank = engine->root().topology()->tp() - 1; // of the last heads
  std::vector<LaunchCase> launches = slowestScan(engine->root(), rank, place);
  if (launches.empty())
    return Status(StatusCode::InvalidArgument,
                  path + ": has no layer of linear attention");
  for (auto [gait, name] : {std::pair(Gait::Chunks, "whole chunks"),
                            std::pair(Gait::Odd, "odd chunks and decodes"),
                            std::pair(Gait::Decodes, "decodes")}) {
    auto start = std::chrono::steady_clock::now();
    LongWalk way{gait, options.longWalk, options.seed, options.threads};
    SADDLE_ASSIGN_OR_RETURN(LongWalkErrors errors,
                            walk(launches, way,
                                 [&](const LaunchCase &which, uint64_t count,
                                     const Operands &operands) {
                                   return device->run(which, count, operands);
                                 }));
    double outputBound =
        std::max(kStateBound, boundOf(launches[0], outputOf(launches[0])));
    bool good = errors.state <= kStateBound && errors.outputs <= outputBound;
    failures += !good;
    std::chrono::duration<double> seconds =
        std::chrono::steady_clock::now() - start;
    std::printf("%-6s %s, %s, %llu tokens in %llu launches: state %.2e (bound "
                "%.0e), outputs %.2e (bound %.0e), %.1f s\n",
                good ? "ok" : "FAILED", place.c_str(), name,
                (unsigned long long)way.tokens,
                (unsigned long long)errors.launches, errors.state, kStateBound,
                errors.outputs, outputBound, seconds.count());
  }
  return {};
}

int runLongWalks(const Options &options) {
  unsigned failures = 0;
  for (const std::string &path : options.engines)
    if (Status status = checkLongWalks(path, options, failures); !status.ok()) {
      std::printf("FAILED %s\n", status.message().c_str());
      ++failures;
    }
  return failures != 0;
}

int run(const Options &options) {
  if (options.longWalk != 0)
    return runLongWalks(options);
  Tallies tallies;
  unsigned failures = 0;
  for (const std::string &path : options.engines)
    if (Status status = checkEngine(path, options, tallies); !status.ok()) {
      std::printf("FAILED %s\n", status.message().c_str());
      ++failures;
    }
  for (const auto &[op, tally] : tallies) {
    std::printf("%-6s %-16s %4u kernels, %5u runs, %u failures, %u skipped, "
                "worst error %.2e, %.1f s\n",
                tally.failures ? "FAILED" : "ok", op.c_str(), tally.kernels,
                tally.runs, tally.failures, tally.skipped, tally.worst,
                tally.seconds);
    failures += tally.failures;
  }
  if (tallies.empty()) {
    std::printf("FAILED nothing was checked\n");
    ++failures;
  }
  return failures != 0;
}

} // namespace

int main(int argc, char **argv) {
  std::setvbuf(stdout, nullptr, _IOLBF, 0); // for whoever looks at a long run
  Options options;
  CLI::App app("Checks the kernels of CUDA engines against the CPU reference.");
  app.add_option("ENGINE", options.engines, "Engine files")->required();
  app.add_option("--only", options.only, "Only kernels of this op");
  app.add_option("--rounds", options.rounds, "Fresh inputs for each case")
      ->capture_default_str();
  app.add_option("--seed", options.seed, "Of the inputs")
      ->capture_default_str();
  app.add_option("--max-gib", options.maxGiB,
                 "Skip launches with larger operands")
      ->capture_default_str();
  app.add_option("--max-rows", options.maxRows,
                 "Most rows of a launch, where the reference is slow");
  app.add_option("--sample-rows", options.sampleRows,
                 "Compute at most so many rows of a run with the reference: "
                 "first, last, both sides of tiles, others evenly spread. The "
                 "device computes all, and the others must be written and "
                 "finite. 0: all rows")
      ->capture_default_str();
  app.add_option("--threads", options.threads, "For inputs and the reference")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  app.add_option("--slow", options.slow, "Name launches that take more seconds")
      ->capture_default_str();
  app.add_option("--long-walk", options.longWalk,
                 "Instead of all that: so many tokens through the layer of "
                 "linear attention that forgets most slowly, beside a loop in "
                 "fp64");
  CLI11_PARSE(app, argc, argv);
  return run(options);
}
