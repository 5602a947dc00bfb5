// What every transport offers on top of messages: blobs while setting up, and
// the barrier.

#include "runtime/src/comm/ThreadTransport.h"
#include "test/unit/comm/Ranks.h"

#include <atomic>

namespace saddle::comm {
namespace {

Bytes bytesOf(const std::string &text) {
  return {reinterpret_cast<const uint8_t *>(text.data()), text.size()};
}

/// "rank 2 is here", longer for higher ranks.
std::string textOf(uint32_t rank) {
  return std::string(rank * 1000, 'x') + std::to_string(rank);
}

TEST(Transport, ExchangeGivesEveryBlobToEveryRank) {
  for (uint32_t world : {1u, 2u, 5u}) {
    ThreadTransport transport(world, {everyone(world)}, within(5000ms));
    EXPECT_EQ(transport.worldSize(), world);
    std::vector<Status> results = onRanks(world, [&](uint32_t rank) -> Status {
      // Twice, so that nothing of the first is left over.
      for (int round = 0; round < 2; ++round) {
        std::string own = round == 0 ? textOf(rank) : "";
        SADDLE_ASSIGN_OR_RETURN(
            std::vector<std::vector<uint8_t>> all,
            transport.exchange(rank, bytesOf(own), "handles"));
        for (uint32_t peer = 0; peer < world; ++peer) {
          std::string expected = round == 0 ? textOf(peer) : "";
          if (std::string(all[peer].begin(), all[peer].end()) != expected)
            return makeError(StatusCode::Internal, "rank %u: blob of rank %u",
                             rank, peer);
        }
      }
      return {};
    });
    for (const Status &status : results)
      EXPECT_TRUE(status.ok()) << status.message();
    EXPECT_TRUE(transport.checkDelivered().ok());
  }
}

TEST(Transport, NobodyLeavesABarrierBeforeAllAreThere) {
  constexpr uint32_t kWorld = 4;
  ThreadTransport transport(kWorld, {everyone(kWorld)}, within(5000ms));
  std::atomic<uint32_t> arrived{0};
  std::vector<Status> results = onRanks(kWorld, [&](uint32_t rank) -> Status {
    for (uint32_t round = 1; round <= 50; ++round) {
      ++arrived;
      SADDLE_RETURN_IF_ERROR(transport.barrier(rank, "a round"));
      if (arrived < round * kWorld)
        return makeError(StatusCode::Internal, "rank %u left early", rank);
      SADDLE_RETURN_IF_ERROR(transport.barrier(rank, "the next round"));
    }
    return {};
  });
  for (const Status &status : results)
    EXPECT_TRUE(status.ok()) << status.message();
}

TEST(Transport, ARankThatStaysAwayEndsTheBarrier) {
  ThreadTransport transport(2, {everyone(2)}, within(50ms));
  Status status = transport.barrier(0, "weights are loaded");
  EXPECT_EQ(status.code(), StatusCode::DeadlineExceeded);
  EXPECT_THAT(status.message(), HasSubstr("\"weights are loaded\""));
  EXPECT_THAT(status.message(), HasSubstr("rank 1"));
}

TEST(Transport, AFailureEndsTheBarrierOfTheOthers) {
  ThreadTransport transport(3, {everyone(3)}, within(5000ms));
  std::vector<Status> results = onRanks(3, [&](uint32_t rank) -> Status {
    if (rank != 1)
      return transport.barrier(rank, "weights are loaded");
    transport.abort(1, makeError(StatusCode::NotFound, "no such folder"));
    return {};
  });
  for (uint32_t rank : {0u, 2u}) {
    EXPECT_EQ(results[rank].code(), StatusCode::Aborted);
    EXPECT_THAT(transport.failure().message(), HasSubstr("no such folder"));
  }
}

TEST(Transport, RanksThatExchangeDifferentThingsAreFoundOut) {
  ThreadTransport transport(2, {everyone(2)}, within(5000ms));
  std::vector<Status> results = onRanks(2, [&](uint32_t rank) -> Status {
    if (rank == 0)
      return transport.barrier(0, "weights are loaded");
    return transport.exchange(1, bytesOf("handle"), "handles").status();
  });
  EXPECT_FALSE(results[0].ok());
  EXPECT_EQ(transport.failure().code(), StatusCode::Internal);
}

TEST(Transport, BlobsAreSmall) {
  ThreadTransport transport(1, {everyone(1)}, within(50ms));
  std::string large(Transport::kMostBlobBytes + 1, 'x');
  Status status = transport.exchange(0, bytesOf(large), "handles").status();
  EXPECT_EQ(status.code(), StatusCode::InvalidArgument);
  EXPECT_EQ(status.message(), "rank 0 gives 1048577 bytes at \"handles\", "
                              "expected at most 1048576");
}

} // namespace
} // namespace saddle::comm
