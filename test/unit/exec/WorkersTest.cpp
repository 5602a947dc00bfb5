#include "runtime/src/exec/Workers.h"

#include <gtest/gtest.h>

#include <atomic>

namespace saddle::exec {
namespace {

using namespace std::chrono_literals;

TEST(WorkersTest, EachRankRunsOnceOnItsOwnThread) {
  Workers workers(4);
  std::vector<std::thread::id> threads(4);
  for (int round = 0; round < 100; ++round) {
    std::atomic<int> calls = 0;
    Status status = workers.run(
        [&](uint32_t rank) {
          threads[rank] = std::this_thread::get_id();
          ++calls;
          return Status();
        },
        10s);
    EXPECT_TRUE(status.ok());
    EXPECT_EQ(calls, 4);
  }
  EXPECT_EQ(threads[0], std::this_thread::get_id());
  EXPECT_NE(threads[1], threads[2]);
}

TEST(WorkersTest, TheFirstErrorByRankIsReturned) {
  Workers workers(3);
  Status status = workers.run(
      [](uint32_t rank) {
        return rank == 0 ? Status()
                         : makeError(StatusCode::Internal, "rank %u", rank);
      },
      10s);
  EXPECT_EQ(status.message(), "rank 1");
  EXPECT_TRUE(workers.run([](uint32_t) { return Status(); }, 10s).ok());
}

TEST(WorkersTest, AStuckRankIsNamedAndTheDestructorWaits) {
  std::atomic<bool> release = false, left = false;
  {
    Workers workers(2);
    auto job = [&](uint32_t rank) {
      while (rank == 1 && !release)
        std::this_thread::sleep_for(1ms);
      left = left || rank == 1;
      return Status();
    };
    Status status = workers.run(job, 50ms);
    EXPECT_EQ(status.code(), StatusCode::DeadlineExceeded);
    EXPECT_EQ(status.message(), "rank 1 has not finished 0.1 s after rank 0");
    EXPECT_EQ(workers.run(job, 50ms).code(), StatusCode::Aborted);
    EXPECT_FALSE(left);
    release = true;
  }
  EXPECT_TRUE(left);
}

} // namespace
} // namespace saddle::exec
