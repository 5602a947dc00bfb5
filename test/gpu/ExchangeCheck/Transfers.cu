// send and receive: chains of stages, and pairs that do not fit.

#include "test/gpu/ExchangeCheck/Iterations.h"

using namespace saddle::device;

namespace {

/// A chain of stages: rank 0 produces, each hands on, the last verifies.
template <typename M>
void checkChain(Ranks &ranks, Report &report, const char *name,
                uint32_t capacity) {
  static_assert(Send<M>::kMemory <= kBoundary);
  ranks.reset();
  uint64_t shift = M::isVectorizable(8 / sizeof(typename M::Element))
                       ? 0
                       : sizeof(typename M::Element);
  for (uint32_t n : {capacity, 0u, 1u, capacity / 2}) {
    ranks.setStep({0, n});
    clearTallies(ranks);
    for (int round = 0; round < 9; ++round)
      for (uint32_t r = 0; r < ranks.count; ++r) {
        LaunchParams p = ranks.params(r);
        p.workspace = ranks.at(r, kTally);
        p.exchange = ranks.at(r, ranks.places.boundary);
        p.operands[0] = p.operands[1] = ranks.at(r, ranks.places.input + shift);
        // All act as rank 0 when they produce and verify.
        LaunchParams asFirst = p;
        asFirst.group =
            reinterpret_cast<Group *>(ranks.at(0, ranks.places.group));
        asFirst.rankValues[0] = 1;
        LaunchParams before = p, next = p;
        before.group =
            reinterpret_cast<Group *>(ranks.at(r, ranks.places.pairs + 2048));
        next.group = reinterpret_cast<Group *>(ranks.at(r, ranks.places.pairs));
        if (r == 0)
          ranks.launch(r, produce<M>, 4, 128, asFirst);
        else
          ranks.launch(r, run<Receive<M>>, 7, 128, before);
        ranks.launch(r, verifySum<M, 1>, 4, 128, asFirst);
        if (r + 1 < ranks.count)
          ranks.launch(r, run<Send<M>>, 7, 128, next);
        ranks.launch(r, advance, 1, 1, p);
      }
    uint32_t errors = errorsOf(ranks);
    report(errors == 0 && ranks.fault->raised == 0,
           std::string("transfers ") + name + " n " + std::to_string(n) + ": " +
               std::to_string(errors) + " errors, fault " +
               std::to_string(ranks.fault->reason));
  }
}

template <typename M>
void checkPairFaults(Ranks &ranks, Report &report) {
  ranks.timeoutNs = 100'000'000;
  auto params = [&](uint32_t r, bool sends) {
    LaunchParams p = ranks.params(r);
    p.exchange = ranks.at(r, ranks.places.boundary);
    p.group = reinterpret_cast<Group *>(
        ranks.at(r, ranks.places.pairs + (sends ? 0 : 2048)));
    return p;
  };
  // Other counts.
  ranks.reset();
  ranks.setStep({0, 4});
  Step step{};
  step.counts[1] = 3;
  step.timeoutNs = ranks.timeoutNs;
  ranks.setStep(1, step);
  ranks.launch(0, run<Send<M>>, 4, 128, params(0, true));
  ranks.launch(1, run<Receive<M>>, 4, 128, params(1, false));
  ranks.sync();
  const Fault *f = ranks.fault;
  report(f->reason == kFaultMismatch && f->rank == 1 && f->peer == 0 &&
             f->expected == 3 && f->found == 4,
         "transfer of other counts");
  // Nobody takes: the third parcel has no room.
  ranks.reset();
  ranks.setStep({0, 4});
  for (int i = 0; i < 2; ++i)
    ranks.launch(0, run<Send<M>>, 4, 128, params(0, true));
  ranks.sync();
  report(f->raised == 0, "two parcels find room");
  ranks.launch(0, run<Send<M>>, 4, 128, params(0, true));
  ranks.sync();
  report(f->reason == kFaultTimeout && f->rank == 0 && f->peer == 1 &&
             f->expected == 3,
         "no room for a third parcel");
  ranks.reset();
  ranks.launch(1, run<Receive<M>>, 4, 128, params(1, false));
  ranks.sync();
  report(f->reason == kFaultTimeout && f->rank == 1 && f->peer == 0,
         "nothing to receive");
  ranks.timeoutNs = 5'000'000'000;
  ranks.reset();
}

} // namespace

void saddle::device::checkTransfers(Ranks &ranks, Report &report) {
  checkChain<Matrix<bf16, 64, 768, 768>>(ranks, report, "bf16 768", 64);
  checkChain<Matrix<f32, 5, 33, 35, 4>>(ranks, report, "f32 33", 5);
  checkChain<Matrix<bf16, 1, 3, 3, 2>>(ranks, report, "bf16 3", 1);
  checkPairFaults<Matrix<bf16, 5, 33, 35, 2>>(ranks, report);
}
