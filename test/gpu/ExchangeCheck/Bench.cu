// Microseconds of exchanges by size, protocol and number of CTAs: many calls in
// one CUDA graph, median of replays, slowest rank.

#include "test/gpu/ExchangeCheck/Bodies.h"
#include "test/gpu/ExchangeCheck/Checks.h"
#include "test/gpu/ExchangeCheck/NcclPeer.h"

#include <algorithm>

using namespace saddle::device;

namespace {

constexpr uint64_t kMost = 64 << 20;

struct Result {
  std::string op, way;
  uint64_t bytes;
  uint32_t blocks;
  double microseconds;
};

struct Options : BenchOptions {
  uint32_t ranks, devices;
};

uint32_t callsOf(uint64_t bytes) {
  return bytes > (8 << 20) ? 8 : bytes > (1 << 20) ? 40 : 200;
}

/// Of one of the `calls` in each rank's graph, which it frees. `launchAll`
/// calls its argument with each rank, on threads if that may wait for others.
template <typename LaunchAll>
double measure(Ranks &ranks, const std::vector<cudaGraphExec_t> &graphs,
               uint32_t calls, LaunchAll launchAll) {
  std::vector<cudaEvent_t> begin(ranks.running), end(ranks.running);
  for (uint32_t r = 0; r < ranks.running; ++r) {
    ranks.use(r);
    CUDA(cudaEventCreate(&begin[r]));
    CUDA(cudaEventCreate(&end[r]));
  }
  std::vector<double> times;
  for (int replay = 0; replay < 12; ++replay) {
    launchAll([&](uint32_t r) {
      ranks.use(r);
      CUDA(cudaEventRecord(begin[r], ranks.streams[r]));
      CUDA(cudaGraphLaunch(graphs[r], ranks.streams[r]));
      CUDA(cudaEventRecord(end[r], ranks.streams[r]));
    });
    ranks.sync();
    float slowest = 0;
    for (uint32_t r = 0; r < ranks.running; ++r) {
      float took = 0;
      CUDA(cudaEventElapsedTime(&took, begin[r], end[r]));
      slowest = std::max(slowest, took);
    }
    if (replay >= 2)
      times.push_back(slowest * 1000 / calls);
  }
  for (uint32_t r = 0; r < ranks.running; ++r) {
    ranks.use(r);
    CUDA(cudaEventDestroy(begin[r]));
    CUDA(cudaEventDestroy(end[r]));
    CUDA(cudaGraphExecDestroy(graphs[r]));
  }
  if (ranks.fault->raised) {
    std::printf("fault: reason %u rank %u peer %u\n", ranks.fault->reason,
                ranks.fault->rank, ranks.fault->peer);
    std::exit(1);
  }
  std::sort(times.begin(), times.end());
  return times[times.size() / 2];
}

/// CTAs and threads as the planner chooses them, with at most `blocks` CTAs.
void shapeFor(uint64_t items, uint32_t blocks, uint32_t threads, uint32_t &grid,
              uint32_t &block) {
  grid = std::clamp<uint64_t>((items + 127) / 128, 1, blocks);
  block =
      std::min<uint64_t>(((items + grid - 1) / grid + 31) / 32 * 32, threads);
}

double measure(Ranks &ranks, const Options &options, Kernel kernel,
               uint32_t grid, uint32_t block, uint64_t bytes) {
  uint32_t calls = callsOf(bytes);
  auto graphs = ranks.graphs([&](uint32_t r) {
    for (uint32_t i = 0; i < calls; ++i)
      ranks.launch(r, kernel, grid, block, ranks.params(r), options.dependent);
  });
  return measure(ranks, graphs, calls, [&](auto launch) {
    for (uint32_t r = 0; r < ranks.running; ++r)
      launch(r);
  });
}

/// Of the joined side.
constexpr uint64_t kSizes[] = {
    8,         64,        1 << 10, 6 << 10, 16 << 10, 48 << 10, 96 << 10,
    192 << 10, 384 << 10, 1 << 20, 3 << 20, 12 << 20, 48 << 20, 64 << 20};

class Bench {
public:
  Bench(const Options &options)
      : options(options),
        ranks(options.ranks, options.devices,
              Places(kMost, kMost, 136 << 20, 65536), options.isLooped) {}

  /// Rows of `rowBytes`; items: threads that have work for one row.
  void add(const char *op, const char *way, Kernel kernel, uint64_t rowBytes,
           uint64_t capacity, double itemsPerRow, uint32_t parts = 1,
           uint64_t least = 1) {
    for (uint64_t size : kSizes) {
      uint64_t rows = size / parts / rowBytes;
      if (rows < least || rows > capacity)
        continue;
      if (rowBytes == 8 && size >= 1024)
        continue;
      std::vector<uint32_t> tokens(ranks.count, rows);
      ranks.setStep({0, uint32_t(rows)}, tokens);
      for (uint32_t blocks : options.blocks) {
        uint32_t grid, block;
        shapeFor(uint64_t(rows * itemsPerRow + 0.999), blocks, options.threads,
                 grid, block);
        if (grid < blocks && blocks != options.blocks[0])
          continue;
        double us =
            measure(ranks, options, kernel, grid, block, rows * rowBytes);
        results.push_back({op, way, size, grid, us});
        std::printf("%-16s %-9s %10llu B %3ux%3u %10.2f us\n", op, way,
                    (unsigned long long)size, grid, block, us);
        std::fflush(stdout);
      }
    }
  }

  template <int size>
  void all() {
    using Tiny = Matrix<f32, 64, 2, 2>;
    using Mid = Matrix<bf16, 3072, 512, 512>;
    using Large = Matrix<bf16, 65536, 512, 512>;
    using OneCap = Matrix<bf16, 2048, 512, 512>;
    const char *sum = "all_reduce_sum";
    add(sum, "one shot", run<SumBody<OneShot, size, 1, Tiny, Tiny>>, 8, 64, 1);
    add(sum, "two shots", run<SumBody<TwoShots, size, 1, Tiny, Tiny>>, 8, 64,
        1.0 / size);
    add(sum, "bulk", run<SumBody<Bulk, size, 1, Tiny, Tiny>>, 8, 64,
        1.0 / size);
    // Capacities near the sizes, as buckets have them.
    using Few = Matrix<bf16, 64, 512, 512>;
    add(sum, "one shot", run<SumBody<OneShot, size, 1, Few, Few>>, 1024, 64,
        128);
    add(sum, "one shot", run<SumBody<OneShot, size, 1, OneCap, OneCap>>, 1024,
        2048, 128, 1, 65);
    add(sum, "two shots", run<SumBody<TwoShots, size, 1, Few, Few>>, 1024, 64,
        128.0 / size);
    add(sum, "two shots", run<SumBody<TwoShots, size, 1, Mid, Mid>>, 1024, 3072,
        128.0 / size, 1, 65);
    add(sum, "bulk", run<SumBody<Bulk, size, 1, Large, Large>>, 1024, 65536,
        64.0 / size);
    // Sizes are those of the joined side.
    using Part = Matrix<bf16, 1536, 512, 512>;
    using All = Matrix<bf16, 1536 * size, 512, 512>;
    using BigPart = Matrix<bf16, 65536 / size, 512, 512>;
    constexpr RowLayout kPacked = RowLayout::Packed;
    add("all_gather", "packets",
        run<GatherBody<false, size, kPacked, 1, Part, All>>, 1024, 1536, 128,
        size);
    add("all_gather", "bulk",
        run<GatherBody<true, size, kPacked, 1, BigPart, Large>>, 1024,
        65536 / size, 64, size);
    add("reduce_scatter", "packets",
        run<ScatterBody<false, size, kPacked, 1, All, Part>>, 1024, 1536, 128,
        size);
    add("reduce_scatter", "bulk",
        run<ScatterBody<true, size, kPacked, 1, Large, BigPart>>, 1024,
        65536 / size, 64, size);
  }

  void addNccl() {
    NcclPeer peer(ranks, options.nccl);
    ncclVersion = peer.version;
    struct {
      const char *name;
      PeerOp op;
    } ops[] = {{"all_reduce_sum", PeerOp::AllReduce},
               {"all_gather", PeerOp::AllGather},
               {"reduce_scatter", PeerOp::ReduceScatter}};
    for (auto [name, op] : ops)
      for (uint64_t size : kSizes) {
        size_t count = size / 2 / (op == PeerOp::AllReduce ? 1 : ranks.count);
        if (count == 0)
          continue;
        uint32_t calls = callsOf(size);
        double us = measure(ranks, peer.graphs(op, count, calls), calls,
                            [&](auto launch) { peer.onRanks(launch); });
        results.push_back({name, "nccl", size, 0, us});
        std::printf("%-16s %-9s %10llu B         %10.2f us\n", name, "nccl",
                    (unsigned long long)size, us);
        std::fflush(stdout);
      }
  }

  void writeJson() {
    FILE *file = std::fopen(options.json.c_str(), "w");
    if (!file)
      return;
    std::fprintf(file,
                 "{\"ranks\": %u, \"devices\": %u, \"looped\": %s, "
                 "\"dependent\": %s, \"nccl\": %d, \"results\": [\n",
                 options.ranks, options.devices,
                 options.isLooped ? "true" : "false",
                 options.dependent ? "true" : "false", ncclVersion);
    for (size_t i = 0; i < results.size(); ++i)
      std::fprintf(file,
                   "  {\"op\": \"%s\", \"way\": \"%s\", \"bytes\": %llu, "
                   "\"blocks\": %u, \"us\": %.3f}%s\n",
                   results[i].op.c_str(), results[i].way.c_str(),
                   (unsigned long long)results[i].bytes, results[i].blocks,
                   results[i].microseconds, i + 1 < results.size() ? "," : "");
    std::fprintf(file, "]}\n");
    std::fclose(file);
  }

private:
  const Options &options;
  Ranks ranks;
  std::vector<Result> results;
  int ncclVersion = 0; // 22809 is 2.28.9; 0: not asked for
};

} // namespace

void saddle::device::bench(uint32_t ranks, uint32_t devices,
                           const BenchOptions &benchOptions) {
  Options options{benchOptions, ranks, devices};
  Bench bench(options);
  if (ranks == 2)
    bench.all<2>();
  else if (ranks == 4)
    bench.all<4>();
  else
    bench.all<8>();
  if (!options.nccl.empty())
    bench.addNccl();
  if (!options.json.empty())
    bench.writeJson();
}
