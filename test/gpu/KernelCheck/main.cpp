// Checks every kernel of a CUDA engine against the reference kernel of the same
// op: random inputs, poisoned outputs, guards around every operand, several
// row counts and input patterns.
//
//   SaddleKernelCheck ENGINE... [--only OP] [--rounds N] [--seed S] [--max-gib
//   G]

#include "runtime/src/cpu/Kernels.h"
#include "runtime/src/engine/Extents.h"
#include "runtime/src/engine/Validate.h"
#include "test/gpu/KernelCheck/Compare.h"
#include "test/gpu/KernelCheck/DeviceRun.h"

#include <CLI/CLI.hpp>

#include <cstdio>
#include <map>
#include <set>

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
};

struct Tally {
  unsigned kernels = 0, runs = 0, failures = 0, skipped = 0;
  double worst = 0;
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

/// One launch, one count, one pattern; the error or what went wrong.
StatusOr<double> checkOnce(DeviceRun &device, const LaunchCase &launch,
                           uint64_t count, Pattern pattern, uint64_t seed) {
  std::mt19937_64 random(seed);
  std::vector<OperandBuffer> found = makeOperands(launch, pattern, random);
  random.seed(seed);
  std::vector<OperandBuffer> expected = makeOperands(launch, pattern, random);
  std::vector<View> views;
  for (OperandBuffer &operand : expected)
    views.push_back(operand.view());
  cpu::Scratch scratch;
  std::unique_ptr<cpu::BoundKernel> reference =
      cpu::bindLaunch(*launch.kernel, views, launch.rank, scratch);
  SADDLE_RETURN_IF_ERROR(scratch.allocate());
  if (count != 0)
    reference->run(count);
  SADDLE_RETURN_IF_ERROR(device.run(launch, count, found));
  return compareOperands(launch, count, expected, found);
}

double gibibytes(const LaunchCase &launch) {
  double bytes = 0;
  for (uint32_t index : *launch.launch->operands())
    bytes += double(engine::spanBytes(*launch.entry->slices()->Get(index)));
  return bytes / double(1 << 30);
}

void checkLaunch(DeviceRun &device, const LaunchCase &launch,
                 const Options &options, Tally &tally) {
  ++tally.kernels;
  if (gibibytes(launch) > options.maxGiB) {
    ++tally.skipped;
    std::printf("skip   %s: operands of %.1f GiB, --max-gib is %.1f\n",
                launch.kernel->name()->c_str(), gibibytes(launch),
                options.maxGiB);
    return;
  }
  uint64_t most = std::min(launch.capacity, options.maxRows);
  std::set<uint64_t> counts = {0, 1, most, most / 2, most - 1};
  for (unsigned round = 0; round < options.rounds; ++round)
    for (Pattern pattern : {Pattern::Random, Pattern::Crowded, Pattern::Sparse})
      for (uint64_t count : counts) {
        ++tally.runs;
        StatusOr<double> error = checkOnce(device, launch, count, pattern,
                                           options.seed + 1000 * round +
                                               10 * count + unsigned(pattern));
        if (error.ok()) {
          tally.worst = std::max(tally.worst, *error);
          continue;
        }
        ++tally.failures;
        std::printf("FAILED %s, %s, %llu of %llu rows: %s\n",
                    launch.command->location()->c_str(), nameOf(pattern),
                    (unsigned long long)count,
                    (unsigned long long)launch.capacity,
                    error.status().message().c_str());
      }
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

int run(const Options &options) {
  Tallies tallies;
  unsigned failures = 0;
  for (const std::string &path : options.engines)
    if (Status status = checkEngine(path, options, tallies); !status.ok()) {
      std::printf("FAILED %s\n", status.message().c_str());
      ++failures;
    }
  for (const auto &[op, tally] : tallies) {
    std::printf("%-6s %-16s %4u kernels, %5u runs, %u failures, %u skipped, "
                "worst error %.2e\n",
                tally.failures ? "FAILED" : "ok", op.c_str(), tally.kernels,
                tally.runs, tally.failures, tally.skipped, tally.worst);
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
  CLI11_PARSE(app, argc, argv);
  return run(options);
}
