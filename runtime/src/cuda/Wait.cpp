#include "runtime/src/cuda/Wait.h"

#include "runtime/src/comm/Lapses.h"

#include <thread>

namespace saddle::cuda {

using comm::Clock;

bool isRaised(const device::Fault *fault) {
  return __atomic_load_n(&fault->raised, __ATOMIC_ACQUIRE) != 0;
}

void raiseFromHost(device::Fault *fault) {
  uint32_t expected = 0;
  if (__atomic_compare_exchange_n(&fault->raised, &expected, 1, false,
                                  __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE))
    __atomic_store_n(&fault->reason, uint32_t(device::kFaultHost),
                     __ATOMIC_RELEASE);
}

namespace {

class Waiter {
public:
  explicit Waiter(const Waiting &waiting)
      : waiting(waiting), start(Clock::now()), lastChange(start),
        lapses(start) {}

  Status run();

private:
  /// Notes the commands that are complete.
  void advance(Clock::time_point now);
  Status checkOthers(Clock::time_point now);
  Status sticky(CUresult result) const;
  const char *place() const {
    return passed < waiting.count ? waiting.names[passed].place : waiting.entry;
  }
  void pause(Clock::time_point now) const;

  const Waiting &waiting;
  const Clock::time_point start;
  Clock::time_point lastChange;
  comm::Lapses lapses;
  size_t passed = 0; // commands
};

} // namespace

void Waiter::advance(Clock::time_point now) {
  size_t before = passed;
  while (passed < waiting.count &&
         waiting.device.driver.cuEventQuery(waiting.events[passed].get()) ==
             CUDA_SUCCESS)
    ++passed;
  if (passed != before)
    lastChange = now;
}

Status Waiter::sticky(CUresult result) const {
  Status status = waiting.device.driver.check(result, "the device stopped");
  std::string where = "in entry \"" + std::string(waiting.entry) + "\"";
  if (passed < waiting.count)
    where = "at \"" + std::string(waiting.names[passed].place) + "\" (" +
            waiting.names[passed].op + ") or soon after it";
  return retellError(status, "on %s %s: %s", waiting.device.describe().c_str(),
                     where.c_str(), status.message().c_str());
}

Status Waiter::checkOthers(Clock::time_point now) {
  comm::Transport &transport = waiting.transport;
  if (isRaised(waiting.fault) && !transport.hasFailed()) {
    // Whoever gives up writes the reason behind the flag.
    for (int i = 0; i < 100 && __atomic_load_n(&waiting.fault->reason,
                                               __ATOMIC_ACQUIRE) == 0;
         ++i)
      std::this_thread::sleep_for(std::chrono::microseconds(100));
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
    Status status = waiting.explain();
    // Kernels cannot know it: devices go on.
    if (lapses.total().count() != 0)
      status = retellError(
          status, "%s; this process did not run for %.1f s meanwhile",
          status.message().c_str(),
          std::chrono::duration<double>(lapses.total()).count());
    transport.fail(status);
    return status;
  }
  if (transport.hasFailed())
    return makeError(StatusCode::Aborted, "rank %u stopped at \"%s\": %s",
                     waiting.rank, place(),
                     transport.failure().message().c_str());
  // Kernels give up first and know more.
  constexpr std::chrono::milliseconds kGrace{500};
  if (now - lastChange > waiting.timeout + kGrace + lapses.total())
    return makeError(StatusCode::DeadlineExceeded,
                     "the device has not finished for %.1f s",
                     double((waiting.timeout + kGrace).count()) / 1000);
  // The host is alive, and the device has its own deadline.
  transport.progress(waiting.rank, place());
  return {};
}

void Waiter::pause(Clock::time_point now) const {
  // Long waits need no exact end.
  if (now - start > std::chrono::milliseconds(20))
    std::this_thread::sleep_for(std::chrono::microseconds(50));
  else if (now - start > std::chrono::microseconds(100))
    std::this_thread::yield();
}

Status Waiter::run() {
  const Driver &driver = waiting.device.driver;
  for (uint64_t polls = 0;; ++polls) {
    CUresult result = waiting.until ? driver.cuEventQuery(waiting.until)
                                    : driver.cuStreamQuery(waiting.stream);
    if (result != CUDA_SUCCESS && result != CUDA_ERROR_NOT_READY)
      return sticky(result);
    Clock::time_point now = Clock::now();
    lapses.look(now);
    bool isDone = result == CUDA_SUCCESS;
    if (waiting.count != 0)
      advance(now);
    // A kernel that gave up has ended, too.
    if (isDone || polls % 64 == 0)
      SADDLE_RETURN_IF_ERROR(checkOthers(now));
    if (isDone)
      return {};
    pause(now);
  }
}

Status waitFor(const Waiting &waiting) { return Waiter(waiting).run(); }

} // namespace saddle::cuda
