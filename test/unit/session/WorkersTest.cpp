#include "runtime/src/session/Workers.h"

#include <gtest/gtest.h>

#include <atomic>
#include <thread>

namespace saddle::session {
namespace {

using namespace std::chrono_literals;
using Ranks = std::vector<uint32_t>;

const Workers::GiveUp kNever = [](const Ranks &) { return false; };

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
        kNever);
    EXPECT_TRUE(status.ok());
    EXPECT_EQ(calls, 4);
  }
  EXPECT_NE(threads[0], std::this_thread::get_id());
  EXPECT_NE(threads[1], threads[2]);
}

TEST(WorkersTest, ASingleRankNeedsNoThread) {
  Workers workers(1);
  std::thread::id thread;
  auto job = [&](uint32_t rank) {
    thread = std::this_thread::get_id();
    return makeError(StatusCode::Internal, "rank %u", rank);
  };
  EXPECT_EQ(workers.run(job, kNever).message(), "rank 0");
  EXPECT_EQ(thread, std::this_thread::get_id());
}

TEST(WorkersTest, TheFirstErrorByRankIsReturned) {
  Workers workers(3);
  Status status = workers.run(
      [](uint32_t rank) {
        return rank == 0 ? Status()
                         : makeError(StatusCode::Internal, "rank %u", rank);
      },
      kNever);
  EXPECT_EQ(status.message(), "rank 1");
  EXPECT_TRUE(workers.run([](uint32_t) { return Status(); }, kNever).ok());
}

TEST(WorkersTest, AStuckRankIsNamedAndTheDestructorWaits) {
  std::atomic<bool> release = false, left = false;
  {
    Workers workers(3);
    auto job = [&](uint32_t rank) {
      while (rank == 1 && !release)
        std::this_thread::sleep_for(1ms);
      left = left || rank == 1;
      return Status();
    };
    int asked = 0;
    Status status = workers.run(job, [&](const Ranks &missing) {
      // The others may need a moment, but only at first.
      return ++asked >= 3 && missing == Ranks{1};
    });
    EXPECT_EQ(status.code(), StatusCode::DeadlineExceeded);
    EXPECT_EQ(status.message(), "gave up on rank 1 of 3 ranks");
    Status again = workers.run(job, kNever);
    EXPECT_EQ(again.code(), StatusCode::Aborted);
    EXPECT_EQ(again.message(), "a rank is still stuck in an earlier step");
    EXPECT_FALSE(left);
    release = true;
  }
  EXPECT_TRUE(left);
}

TEST(WorkersTest, WhatAJobThrowsIsItsRanksError) {
  for (uint32_t ranks : {1u, 3u}) {
    Workers workers(ranks);
    Status status = workers.run(
        [&](uint32_t rank) {
          if (rank + 1 == ranks)
            throw std::bad_alloc();
          return Status();
        },
        kNever);
    EXPECT_EQ(status.code(), StatusCode::ResourceExhausted);
    EXPECT_TRUE(workers.run([](uint32_t) { return Status(); }, kNever).ok());
  }
}

TEST(WorkersTest, WhoCannotLookAtStuckRanksWaitsOn) {
  Workers workers(2);
  std::atomic<int> asked = 0;
  auto job = [&](uint32_t) {
    while (asked < 2)
      std::this_thread::sleep_for(1ms);
    return Status();
  };
  EXPECT_TRUE(workers
                  .run(job,
                       [&](const Ranks &) -> bool {
                         ++asked;
                         throw std::bad_alloc();
                       })
                  .ok());
}

} // namespace
} // namespace saddle::session
