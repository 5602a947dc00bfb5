// Ranks that do not come to an exchange, or come to another one: every rank
// must stop soon, once for all exchanges that follow, and say why.

#include "test/gpu/ExchangeCheck/Bodies.h"
#include "test/gpu/ExchangeCheck/Checks.h"

#include <chrono>

using namespace saddle::device;

namespace {

template <int size, Way way>
void checkWay(Ranks &ranks, Report &report) {
  using M = Matrix<bf16, 24, 1056, 1056>;
  Kernel kernel = run<SumBody<way, size, 1, M, M>>;
  auto seconds = [&](auto &&action) {
    auto begin = std::chrono::steady_clock::now();
    action();
    ranks.sync();
    return std::chrono::duration<double>(std::chrono::steady_clock::now() -
                                         begin)
        .count();
  };
  const Fault *f = ranks.fault;
  uint32_t last = size - 1;
  std::string label =
      " size " + std::to_string(size) + " way " + std::to_string(way);
  // The last rank never comes to one exchange, nor to any of the 100 after it.
  ranks.reset();
  ranks.timeoutNs = 300'000'000;
  ranks.setStep({0, 24});
  double took = seconds([&] {
    for (int i = 0; i < 100; ++i)
      for (uint32_t r = 0; r < last; ++r)
        ranks.launch(r, kernel, 32, 256, ranks.params(r));
  });
  report(f->raised == 1 && f->reason == kFaultTimeout && f->rank < last &&
             f->peer == last && f->command == 7 && f->expected == 1 &&
             took > 0.25 && took < 0.6,
         "dead peer" + label + ": " + std::to_string(took) + " s, reason " +
             std::to_string(f->reason) + " rank " + std::to_string(f->rank) +
             " peer " + std::to_string(f->peer));
  std::printf("dead peer, 100 exchanges,%s: %.3f s of a timeout of 0.3\n",
              label.c_str(), took);
  // Another command.
  ranks.reset();
  ranks.timeoutNs = 5'000'000'000;
  ranks.setStep({0, 24});
  took = seconds([&] {
    for (uint32_t r = 0; r < size; ++r) {
      LaunchParams p = ranks.params(r);
      p.command = r == last ? 9 : 7;
      ranks.launch(r, kernel, 32, 256, p);
    }
  });
  report(f->reason == kFaultElsewhere && took < 1 &&
             ((f->rank == last && f->expected == 9 && f->found == 7) ||
              (f->peer == last && f->expected == 7 && f->found == 9)),
         "another command" + label + ": reason " + std::to_string(f->reason) +
             " " + std::to_string(took) + " s");
  // Other counts: a rank with fewer rows.
  ranks.reset();
  ranks.setStep({0, 24});
  Step step{};
  step.counts[1] = 20;
  step.timeoutNs = ranks.timeoutNs;
  ranks.setStep(last, step);
  took = seconds([&] { ranks.launch(kernel, 32, 256); });
  report(f->reason == kFaultMismatch && took < 1 &&
             ((f->rank == last && f->expected == 20 && f->found == 24) ||
              (f->peer == last && f->expected == 24 && f->found == 20)),
         "other counts" + label + ": reason " + std::to_string(f->reason) +
             " " + std::to_string(took) + " s");
  // The host ends the step.
  ranks.reset();
  ranks.setStep({0, 24});
  took = seconds([&] {
    ranks.launch(0, kernel, 32, 256, ranks.params(0));
    *reinterpret_cast<volatile uint32_t *>(&ranks.fault->raised) = 1;
  });
  report(took < 0.5, "ended by the host" + label + ": " + std::to_string(took));
  ranks.reset();
}

template <int size>
void checkSize(Ranks &ranks, Report &report) {
  checkWay<size, OneShot>(ranks, report);
  checkWay<size, TwoShots>(ranks, report);
  checkWay<size, Bulk>(ranks, report);
}

} // namespace

void saddle::device::checkFaults(Ranks &ranks, Report &report) {
  FOR_SIZE(checkSize, ranks, report);
}
