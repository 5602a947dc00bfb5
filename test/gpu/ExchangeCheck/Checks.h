// What the program checks, and the count of it.

#ifndef SADDLE_TEST_GPU_EXCHANGECHECK_CHECKS_H
#define SADDLE_TEST_GPU_EXCHANGECHECK_CHECKS_H

#include "test/gpu/ExchangeCheck/Ranks.h"

#include <cstdio>
#include <string>

namespace saddle::device {

/// Bytes of a rank's inputs and outputs, and of the two kinds of shared blocks.
constexpr uint64_t kData = 72 << 20, kExchange = 140 << 20,
                   kBoundary = 16 << 20;

struct Report {
  uint32_t checks = 0, failures = 0;

  void operator()(bool good, const std::string &what) {
    ++checks;
    if (good)
      return;
    ++failures;
    std::printf("FAIL %s\n", what.c_str());
    std::fflush(stdout);
  }
};

/// Calls f<2>, f<4> or f<8>, as many ranks as there are.
#define FOR_SIZE(f, ...)                                                       \
  (ranks.count == 2   ? f<2>(__VA_ARGS__)                                      \
   : ranks.count == 4 ? f<4>(__VA_ARGS__)                                      \
                      : f<8>(__VA_ARGS__))

/// all_reduce_sum in all ways: shapes, strides, counts, in place.
void checkSums(Ranks &ranks, Report &report);
/// all_gather and reduce_scatter_sum: layouts, ragged counts, types.
void checkJoins(Ranks &ranks, Report &report);
/// All ways in turn in graphs, ranks drifting apart, epochs that wrap; one
/// small exchange replayed very often.
void checkStreams(Ranks &ranks, Report &report, uint32_t replays,
                  bool dependent);
void checkTransfers(Ranks &ranks, Report &report);
void checkScalars(Ranks &ranks, Report &report);
/// One rank whose peers are itself: every output is written, and sums are those
/// of its own values.
void checkLooped(Ranks &looped, Report &report);
/// Ranks that do not come or come with something else.
void checkFaults(Ranks &ranks, Report &report);

/// all_reduce_sum against NCCL's, 8 bytes to 64 MB, up to rounding. The ranks
/// have a device each.
void checkNccl(Ranks &ranks, Report &report, const std::string &library);

struct BenchOptions {
  std::vector<uint32_t> blocks;
  uint32_t threads = 256;
  bool dependent = false;
  bool isLooped = false; // one rank alone, its peers itself
  std::string json;
  std::string nccl; // a library to time beside ours; empty: none
};
/// Prints microseconds by op, way, size and CTAs (0 for NCCL).
void bench(uint32_t ranks, uint32_t devices, const BenchOptions &options);

} // namespace saddle::device

#endif // SADDLE_TEST_GPU_EXCHANGECHECK_CHECKS_H
