// Many exchanges after one another.

#include "test/gpu/ExchangeCheck/Iterations.h"

#include <chrono>

using namespace saddle::device;

namespace {

void setEpoch(Ranks &ranks, uint32_t epoch) {
  ranks.sync();
  for (uint32_t r = 0; r < ranks.count; ++r) {
    ranks.use(r);
    CUDA(cudaMemcpy(ranks.at(r, ranks.places.exchange), &epoch, 4,
                    cudaMemcpyHostToDevice));
  }
}

/// All kinds in turn, sharing one block, with drifting ranks, by graph.
template <int size>
void checkMixture(Ranks &ranks, Report &report, uint32_t replays,
                  bool dependent) {
  using M = Matrix<bf16, 24, 96, 96>;
  using Big = Matrix<bf16, 24, 1056, 1056>;
  using Tiny = Matrix<f32, 24, 2, 2>;
  ranks.reset();
  ranks.setStep({0, 24});
  auto graphs = ranks.graphs([&](uint32_t r) {
    LaunchParams p = ranks.params(r);
    p.workspace = ranks.at(r, kTally);
    p.rankValues[0] = 20000;
    auto step = [&](auto matrix, Kernel kernel, uint32_t grid, uint32_t block) {
      using Of = decltype(matrix);
      ranks.launch(r, produce<Of>, 2, 256, p, dependent);
      ranks.launch(r, kernel, grid, block, p, dependent);
      ranks.launch(r, verifySum<Of, size>, 2, 256, p, dependent);
      ranks.launch(r, advance, 1, 1, p, dependent);
    };
    step(Tiny(), run<SumBody<OneShot, size, 1, Tiny, Tiny>>, 1, 32);
    step(M(), run<SumBody<OneShot, size, 1, M, M>>, 5, 128);
    step(Big(), run<SumBody<TwoShots, size, 1, Big, Big>>, 7, 96);
    step(Tiny(), run<SumBody<TwoShots, size, 1, Tiny, Tiny>>, 2, 32);
    step(Big(), run<SumBody<Bulk, size, 1, Big, Big>>, 32, 256);
    step(Big(), run<SumBody<OneShot, size, 1, Big, Big>>, 32, 256);
    step(Tiny(), run<SumBody<OneShot, size, 1, Tiny, Tiny>>, 1, 32);
    step(M(), run<SumBody<Bulk, size, 1, M, M>>, 4, 64);
  });
  clearTallies(ranks);
  // From zero, across the clearing of old stamps, across the wrap.
  for (uint32_t epoch : {0u, 0x7fffffe0u, 0xffffffd1u}) {
    setEpoch(ranks, epoch);
    for (uint32_t i = 0; i < replays; ++i)
      ranks.replay(graphs);
    uint32_t iterations, errors = errorsOf(ranks, &iterations);
    report(errors == 0 && ranks.fault->raised == 0,
           "mixture size " + std::to_string(size) + " from epoch " +
               std::to_string(epoch) + ": " + std::to_string(errors) +
               " errors, fault " + std::to_string(ranks.fault->reason));
  }
  for (auto graph : graphs)
    CUDA(cudaGraphExecDestroy(graph));
}

/// A packet that was last written exactly 2^32 exchanges ago, by a kernel that
/// has not run since, must not be taken for a new one.
template <int size>
void checkWrap(Ranks &ranks, Report &report) {
  using Big = Matrix<bf16, 24, 1056, 1056>;
  using Tiny = Matrix<f32, 24, 2, 2>;
  ranks.reset();
  ranks.setStep({0, 24});
  clearTallies(ranks);
  auto step = [&](auto matrix, Kernel kernel, uint32_t grid, uint32_t block) {
    using Of = decltype(matrix);
    for (uint32_t r = 0; r < ranks.count; ++r) {
      LaunchParams p = ranks.params(r);
      p.workspace = ranks.at(r, kTally);
      p.rankValues[0] = 100000; // long, so that old packets are seen first
      ranks.launch(r, produce<Of>, 2, 256, p);
      ranks.launch(r, kernel, grid, block, p);
      ranks.launch(r, verifySum<Of, size>, 2, 256, p);
      ranks.launch(r, advance, 1, 1, p);
    }
  };
  auto big = [&] {
    step(Big(), run<SumBody<OneShot, size, 1, Big, Big>>, 16, 128);
  };
  auto tinies = [&](int count) {
    for (int i = 0; i < count; ++i)
      step(Tiny(), run<SumBody<OneShot, size, 1, Tiny, Tiny>>, 1, 32);
  };
  for (uint32_t last : {9u, 10u}) {
    setEpoch(ranks, last);
    big(); // number last + 1
    setEpoch(ranks, 0x7ffffff0);
    tinies(40);
    setEpoch(ranks, 0xfffffff0);
    tinies(15 + last - 1); // up to 2^32 - 1, then 2 .. last
    big();
    uint32_t errors = errorsOf(ranks);
    report(errors == 0 && ranks.fault->raised == 0,
           "wrap size " + std::to_string(size) + ": " + std::to_string(errors) +
               " errors, fault " + std::to_string(ranks.fault->reason));
  }
}

/// One small exchange, replayed very often; no delays.
template <int size>
void checkReplays(Ranks &ranks, Report &report, uint32_t replays) {
  using Tiny = Matrix<f32, 8, 2, 2>;
  ranks.reset();
  ranks.setStep({0, 8});
  clearTallies(ranks);
  auto graphs = ranks.graphs([&](uint32_t r) {
    LaunchParams p = ranks.params(r);
    p.workspace = ranks.at(r, kTally);
    p.rankValues[0] = 1;
    ranks.launch(r, produce<Tiny>, 1, 32, p);
    ranks.launch(r, run<SumBody<OneShot, size, 1, Tiny, Tiny>>, 1, 32, p);
    ranks.launch(r, verifySum<Tiny, size>, 1, 32, p);
    ranks.launch(r, advance, 1, 1, p);
  });
  auto begin = std::chrono::steady_clock::now();
  for (uint32_t i = 0; i < replays; ++i)
    ranks.replay(graphs);
  uint32_t iterations, errors = errorsOf(ranks, &iterations);
  double seconds =
      std::chrono::duration<double>(std::chrono::steady_clock::now() - begin)
          .count();
  report(errors == 0 && iterations == replays && ranks.fault->raised == 0,
         "replays size " + std::to_string(size) + ": " +
             std::to_string(errors) + " errors");
  std::printf("%u replays with %d ranks: %.2f s\n", replays, size, seconds);
}

template <int size>
void checkSize(Ranks &ranks, Report &report, uint32_t replays, bool dependent) {
  checkMixture<size>(ranks, report, replays / 100, dependent);
  checkWrap<size>(ranks, report);
  checkReplays<size>(ranks, report, replays);
}

} // namespace

void saddle::device::checkStreams(Ranks &ranks, Report &report,
                                  uint32_t replays, bool dependent) {
  FOR_SIZE(checkSize, ranks, report, replays, dependent);
}
