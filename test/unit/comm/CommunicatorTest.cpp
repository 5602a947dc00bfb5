// The rendezvous: threads, groups, and everything that can go wrong in them.

#include "runtime/src/comm/Communicator.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>
#include <thread>

namespace saddle::comm {
namespace {

using namespace std::chrono_literals;
using schema::CollectiveKind;
using testing::HasSubstr;

/// Runs f(rank) on `world` threads and returns what each returned.
std::vector<Status> onRanks(uint32_t world,
                            const std::function<Status(uint32_t)> &f) {
  std::vector<Status> results(world);
  std::vector<std::thread> threads;
  for (uint32_t rank = 0; rank < world; ++rank)
    threads.emplace_back([&, rank] { results[rank] = f(rank); });
  for (std::thread &thread : threads)
    thread.join();
  return results;
}

View rowOf(std::vector<float> &data) {
  View view;
  view.data = reinterpret_cast<uint8_t *>(data.data());
  view.dtype = schema::DType::F32;
  view.rank = 2;
  view.shape = {1, data.size()};
  view.strides = {data.size(), 1};
  return view;
}

Partition everyone(uint32_t world) {
  Partition partition{"tp", world, {}};
  for (uint32_t rank = 0; rank < world; ++rank)
    partition.ranks.push_back(rank);
  return partition;
}

Call sumOf(std::vector<float> &data, const char *location,
           uint32_t partition = 0) {
  return {CollectiveKind::ALL_REDUCE_SUM,
          partition,
          0,
          {rowOf(data), rowOf(data)},
          location};
}

TEST(CommunicatorTest, ManySumsOnMoreRanksThanCores) {
  constexpr uint32_t world = 8;
  Communicator communicator(world, {everyone(world)}, 20s);
  auto results = onRanks(world, [&](uint32_t rank) {
    std::vector<float> data(3);
    for (int round = 0; round < 200; ++round) {
      data = {float(rank), float(round), 1};
      SADDLE_RETURN_IF_ERROR(
          communicator.run(rank, sumOf(data, "somewhere"), 1));
      if (data != std::vector<float>{28, float(8 * round), 8})
        return makeError(StatusCode::Internal, "round %d: wrong sum", round);
    }
    return Status();
  });
  for (const Status &result : results)
    EXPECT_TRUE(result.ok()) << result.message();
  EXPECT_TRUE(communicator.failure().ok());
}

TEST(CommunicatorTest, GroupsAreIndependent) {
  // Rows {0, 1}, {2, 3} and columns {0, 2}, {1, 3} of a 2 x 2 mesh.
  Communicator communicator(
      4, {{"tp", 2, {0, 1, 2, 3}}, {"dp", 2, {0, 2, 1, 3}}}, 20s);
  std::vector<std::vector<float>> data = {{1}, {10}, {100}, {1000}};
  auto results = onRanks(4, [&](uint32_t rank) {
    SADDLE_RETURN_IF_ERROR(
        communicator.run(rank, sumOf(data[rank], "rows", 0), 1));
    return communicator.run(rank, sumOf(data[rank], "columns", 1), 1);
  });
  for (uint32_t rank = 0; rank < 4; ++rank) {
    EXPECT_TRUE(results[rank].ok()) << results[rank].message();
    EXPECT_EQ(data[rank][0], 1111);
  }
}

TEST(CommunicatorTest, AGroupOfOneNeedsNobody) {
  Communicator communicator(2, {{"dp", 1, {0, 1}}}, 10ms);
  std::vector<float> data = {5};
  EXPECT_TRUE(communicator.run(1, sumOf(data, "alone"), 1).ok());
  EXPECT_EQ(data[0], 5);
}

TEST(CommunicatorTest, AMissingRankIsNamedAndEndsAllInTime) {
  Communicator communicator(3, {everyone(3)}, 200ms);
  auto start = std::chrono::steady_clock::now();
  auto results = onRanks(3, [&](uint32_t rank) {
    std::vector<float> data(4);
    SADDLE_RETURN_IF_ERROR(communicator.run(rank, sumOf(data, "layers.0"), 1));
    if (rank == 2)
      return Status(); // dies
    return communicator.run(rank, sumOf(data, "layers.1"), 1);
  });
  EXPECT_LT(std::chrono::steady_clock::now() - start, 5s);
  EXPECT_TRUE(results[2].ok());
  Status failure = communicator.failure();
  EXPECT_EQ(failure.code(), StatusCode::DeadlineExceeded);
  EXPECT_THAT(failure.message(),
              testing::MatchesRegex(
                  "rank [01] waited 0.2 s at \"layers.1\" \\(all_reduce_sum "
                  "over tp, f32\\[1, 4\\], 1 rows\\) for rank 2, last met at "
                  "\"layers.0\", which did not arrive"));
  for (uint32_t rank : {0, 1}) {
    EXPECT_FALSE(results[rank].ok());
    EXPECT_THAT(results[rank].message(), HasSubstr(failure.message()));
  }
  // Later calls fail at once.
  std::vector<float> data(4);
  EXPECT_EQ(communicator.run(2, sumOf(data, "layers.2"), 1).code(),
            StatusCode::Aborted);
}

TEST(CommunicatorTest, ALateRankFindsTheRunEnded) {
  Communicator communicator(2, {everyone(2)}, 50ms);
  auto results = onRanks(2, [&](uint32_t rank) {
    std::vector<float> data(1);
    if (rank == 1)
      std::this_thread::sleep_for(300ms);
    return communicator.run(rank, sumOf(data, "layers.0"), 1);
  });
  EXPECT_EQ(results[0].code(), StatusCode::DeadlineExceeded);
  EXPECT_THAT(results[0].message(), HasSubstr("for rank 1, not met yet,"));
  EXPECT_EQ(results[1].code(), StatusCode::Aborted);
  EXPECT_THAT(results[1].message(),
              HasSubstr("rank 1 stopped at \"layers.0\": rank 0 waited"));
}

TEST(CommunicatorTest, AnotherCollectiveIsAMismatchForAll) {
  Communicator communicator(3, {everyone(3)}, 20s);
  auto start = std::chrono::steady_clock::now();
  auto results = onRanks(3, [&](uint32_t rank) {
    std::vector<float> data(4);
    return communicator.run(rank, sumOf(data, rank == 1 ? "here" : "there"), 1);
  });
  EXPECT_LT(std::chrono::steady_clock::now() - start, 5s);
  Status failure = communicator.failure();
  EXPECT_EQ(failure.code(), StatusCode::Internal);
  EXPECT_THAT(failure.message(), HasSubstr("rank 1 is at \"here\""));
  EXPECT_THAT(failure.message(), HasSubstr("is at \"there\" (all_reduce_sum"));
  for (const Status &result : results)
    EXPECT_THAT(result.message(), HasSubstr(failure.message()));
}

TEST(CommunicatorTest, OtherShapesKindsAndCountsAreMismatches) {
  struct Case {
    size_t width;
    CollectiveKind kind;
    uint64_t count;
    const char *expected;
  };
  for (const Case &other :
       {Case{3, CollectiveKind::ALL_REDUCE_SUM, 1, "f32[1, 3], 1 rows"},
        Case{4, CollectiveKind::ALL_GATHER, 1, "all_gather over tp"},
        Case{4, CollectiveKind::ALL_REDUCE_SUM, 0, "f32[1, 4], 0 rows"}}) {
    Communicator communicator(2, {everyone(2)}, 20s);
    onRanks(2, [&](uint32_t rank) {
      std::vector<float> data(rank ? other.width : 4), out(8);
      Call call = sumOf(data, "here");
      call.kind = rank ? other.kind : CollectiveKind::ALL_REDUCE_SUM;
      return communicator.run(rank, call, rank ? other.count : 1);
    });
    EXPECT_EQ(communicator.failure().code(), StatusCode::Internal);
    EXPECT_THAT(communicator.failure().message(), HasSubstr(other.expected));
  }
}

TEST(CommunicatorTest, CrossedGroupsAreFoundWithoutWaiting) {
  // Rank 0 waits for rank 1 in "tp", rank 1 for rank 0 in "ep".
  Communicator communicator(2, {{"tp", 2, {0, 1}}, {"ep", 2, {0, 1}}}, 20s);
  auto start = std::chrono::steady_clock::now();
  onRanks(2, [&](uint32_t rank) {
    std::vector<float> data(1);
    return communicator.run(rank, sumOf(data, rank ? "moe" : "attention", rank),
                            1);
  });
  EXPECT_LT(std::chrono::steady_clock::now() - start, 5s);
  EXPECT_EQ(communicator.failure().code(), StatusCode::Internal);
  EXPECT_THAT(communicator.failure().message(),
              HasSubstr("\"attention\" (all_reduce_sum over tp"));
  EXPECT_THAT(communicator.failure().message(),
              HasSubstr("\"moe\" (all_reduce_sum over ep"));
}

TEST(CommunicatorTest, AFailingRankEndsAllAtOnce) {
  Communicator communicator(4, {everyone(4)}, 20s);
  auto start = std::chrono::steady_clock::now();
  auto results = onRanks(4, [&](uint32_t rank) {
    std::vector<float> data(1);
    SADDLE_RETURN_IF_ERROR(communicator.run(rank, sumOf(data, "first"), 1));
    if (rank == 3) {
      Status error = makeError(StatusCode::ResourceExhausted, "out of ink");
      communicator.abort(3, error);
      return error;
    }
    return communicator.run(rank, sumOf(data, "second"), 1);
  });
  EXPECT_LT(std::chrono::steady_clock::now() - start, 5s);
  EXPECT_EQ(communicator.failure().message(),
            "rank 3 failed after \"first\": out of ink");
  EXPECT_EQ(communicator.failure().code(), StatusCode::ResourceExhausted);
  for (uint32_t rank = 0; rank < 3; ++rank) {
    EXPECT_EQ(results[rank].code(), StatusCode::Aborted);
    EXPECT_THAT(results[rank].message(),
                testing::AllOf(HasSubstr("stopped at \"second\""),
                               HasSubstr("out of ink")));
  }
}

} // namespace
} // namespace saddle::comm
