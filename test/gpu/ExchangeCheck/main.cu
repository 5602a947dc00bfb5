// Exchange kernels against plain loops, and their times, with 2, 4 and 8 ranks
// on one device or several.
//
//   SaddleExchangeCheck [--devices N] [--ranks N] [--replays N] [--dependent]
//       [--nccl libnccl.so.2]
//   SaddleExchangeCheck --bench --ranks N [--devices N] [--blocks 8,16,32]
//       [--threads N] [--dependent] [--looped] [--nccl libnccl.so.2]
//       [--json FILE]

#include "test/gpu/ExchangeCheck/Checks.h"

#include <CLI/CLI.hpp>

using namespace saddle::device;

int main(int argc, char **argv) {
  // A hardware queue for each rank that shares a device: they wait for one
  // another.
  setenv("CUDA_DEVICE_MAX_CONNECTIONS", "32", 1);
  CLI::App app("Checks and times the exchange kernels.");
  std::vector<uint32_t> sizes = {2, 4, 8};
  uint32_t devices = 1, replays = 20000;
  bool times = false;
  BenchOptions options;
  options.blocks = {32};
  app.add_option("--ranks", sizes, "Numbers of ranks")
      ->delimiter(',')
      ->check(CLI::IsMember({2, 4, 8}));
  app.add_option("--devices", devices, "Devices that they are spread over")
      ->check(CLI::Range(1, 8));
  app.add_option("--replays", replays, "Replays of a small exchange");
  app.add_flag("--dependent", options.dependent,
               "Programmatic dependent launches");
  app.add_flag("--bench", times, "Times instead of checks");
  app.add_flag("--looped", options.isLooped,
               "Times of one rank alone, whose peers are itself")
      ->needs("--bench")
      ->excludes("--devices");
  app.add_option("--blocks", options.blocks, "Most CTAs of a kernel")
      ->delimiter(',')
      ->check(CLI::Range(1, 128));
  app.add_option("--threads", options.threads, "Most threads of a CTA")
      ->check(CLI::Range(32, 256));
  app.add_option("--json", options.json, "File for the times");
  app.add_option("--nccl", options.nccl,
                 "Library of NCCL (libnccl.so.2): the reference, or timed too")
      ->excludes("--looped");
  CLI11_PARSE(app, argc, argv);
  for (uint32_t size : sizes)
    if (!options.nccl.empty() && size != devices) {
      std::fprintf(stderr, "--nccl needs a device for each rank: as many "
                           "--devices as --ranks\n");
      return 2;
    }
  if (!options.json.empty() && sizes.size() != 1) {
    std::fprintf(stderr, "--json needs one number of --ranks\n");
    return 2;
  }
  if (times) {
    for (uint32_t size : sizes)
      bench(size, devices, options);
    return 0;
  }
  Report report;
  for (uint32_t size : sizes) {
    Ranks ranks(size, devices, Places(kData, kData, kExchange, kBoundary));
    checkSums(ranks, report);
    if (!options.nccl.empty())
      checkNccl(ranks, report, options.nccl);
    checkJoins(ranks, report);
    checkScalars(ranks, report);
    checkTransfers(ranks, report);
    checkFaults(ranks, report);
    checkStreams(ranks, report, replays, options.dependent);
    Ranks looped(size, 1, Places(kData, kData, kExchange, kBoundary),
                 /*isLooped=*/true);
    checkLooped(looped, report);
    std::printf("%u ranks: %u checks, %u failures\n", size, report.checks,
                report.failures);
  }
  return report.failures != 0;
}
