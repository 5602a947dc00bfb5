// The rendezvous: threads, groups, and everything that can go wrong in them.

#include "test/unit/comm/Ranks.h"

namespace saddle::comm {
namespace {

TEST(ThreadTransportTest, ManySumsOnMoreRanksThanCores) {
  constexpr uint32_t world = 8;
  ThreadTransport transport(world, {everyone(world)}, within(20s));
  auto results = onRanks(world, [&](uint32_t rank) {
    std::vector<float> data(3);
    for (int round = 0; round < 200; ++round) {
      data = {float(rank), float(round), 1};
      SADDLE_RETURN_IF_ERROR(
          transport.run(rank, sumOf(data, "somewhere"), kOneRow));
      if (data != std::vector<float>{28, float(8 * round), 8})
        return makeError(StatusCode::Internal, "round %d: wrong sum", round);
    }
    return Status();
  });
  for (const Status &result : results)
    EXPECT_TRUE(result.ok()) << result.message();
  EXPECT_TRUE(transport.failure().ok());
}

TEST(ThreadTransportTest, GroupsAreIndependent) {
  // Rows {0, 1}, {2, 3} and columns {0, 2}, {1, 3} of a 2 x 2 mesh.
  ThreadTransport transport(
      4, {{"tp", 2, {0, 1, 2, 3}}, {"dp", 2, {0, 2, 1, 3}}}, within(20s));
  std::vector<std::vector<float>> data = {{1}, {10}, {100}, {1000}};
  auto results = onRanks(4, [&](uint32_t rank) {
    SADDLE_RETURN_IF_ERROR(
        transport.run(rank, sumOf(data[rank], "rows", 0), kOneRow));
    return transport.run(rank, sumOf(data[rank], "columns", 1), kOneRow);
  });
  for (uint32_t rank = 0; rank < 4; ++rank) {
    EXPECT_TRUE(results[rank].ok()) << results[rank].message();
    EXPECT_EQ(data[rank][0], 1111);
  }
}

TEST(ThreadTransportTest, AGroupOfOneNeedsNobody) {
  ThreadTransport transport(2, {{"dp", 1, {0, 1}}}, within(10ms));
  std::vector<float> data = {5};
  EXPECT_TRUE(transport.run(1, sumOf(data, "alone"), kOneRow).ok());
  EXPECT_EQ(data[0], 5);
}

TEST(ThreadTransportTest, AMissingRankIsNamedAndEndsAllInTime) {
  ThreadTransport transport(3, {everyone(3)}, within(200ms));
  auto start = std::chrono::steady_clock::now();
  auto results = onRanks(3, [&](uint32_t rank) {
    std::vector<float> data(4);
    SADDLE_RETURN_IF_ERROR(
        transport.run(rank, sumOf(data, "layers.0"), kOneRow));
    if (rank == 2)
      return Status(); // dies
    return transport.run(rank, sumOf(data, "layers.1"), kOneRow);
  });
  EXPECT_LT(std::chrono::steady_clock::now() - start, 5s);
  EXPECT_TRUE(results[2].ok());
  Status failure = transport.failure();
  EXPECT_EQ(failure.code(), StatusCode::DeadlineExceeded);
  EXPECT_THAT(failure.message(),
              testing::MatchesRegex(
                  "rank [01] waited 0.2 s at \"layers.1\" \\(all_reduce_sum "
                  "over tp, f32\\[1, 4\\], 1 rows\\) for rank 2, last seen at "
                  "\"layers.0\", which did not arrive"));
  for (uint32_t rank : {0, 1}) {
    EXPECT_FALSE(results[rank].ok());
    EXPECT_THAT(results[rank].message(), HasSubstr(failure.message()));
  }
  // Later calls fail at once.
  std::vector<float> data(4);
  EXPECT_EQ(transport.run(2, sumOf(data, "layers.2"), kOneRow).code(),
            StatusCode::Aborted);
}

TEST(ThreadTransportTest, ALateRankFindsTheRunEnded) {
  ThreadTransport transport(2, {everyone(2)}, within(50ms));
  auto results = onRanks(2, [&](uint32_t rank) {
    std::vector<float> data(1);
    if (rank == 1)
      std::this_thread::sleep_for(300ms);
    return transport.run(rank, sumOf(data, "layers.0"), kOneRow);
  });
  EXPECT_EQ(results[0].code(), StatusCode::DeadlineExceeded);
  EXPECT_THAT(results[0].message(), HasSubstr("for rank 1, not seen yet,"));
  EXPECT_EQ(results[1].code(), StatusCode::Aborted);
  EXPECT_THAT(results[1].message(),
              HasSubstr("rank 1 stopped at \"layers.0\": rank 0 waited"));
}

TEST(ThreadTransportTest, AnotherCollectiveIsAMismatchForAll) {
  ThreadTransport transport(3, {everyone(3)}, within(20s));
  auto start = std::chrono::steady_clock::now();
  auto results = onRanks(3, [&](uint32_t rank) {
    std::vector<float> data(4);
    return transport.run(rank, sumOf(data, rank == 1 ? "here" : "there"),
                         kOneRow);
  });
  EXPECT_LT(std::chrono::steady_clock::now() - start, 5s);
  Status failure = transport.failure();
  EXPECT_EQ(failure.code(), StatusCode::Internal);
  EXPECT_THAT(failure.message(), HasSubstr("rank 1 is at \"here\""));
  EXPECT_THAT(failure.message(), HasSubstr("is at \"there\" (all_reduce_sum"));
  for (const Status &result : results)
    EXPECT_THAT(result.message(), HasSubstr(failure.message()));
}

TEST(ThreadTransportTest, OtherShapesKindsAndCountsAreMismatches) {
  struct Case {
    size_t width;
    CollectiveKind kind;
    std::vector<uint64_t> count;
    const char *expected;
  };
  for (const Case &other :
       {Case{3, CollectiveKind::ALL_REDUCE_SUM, kOneRow, "f32[1, 3], 1 rows"},
        Case{4, CollectiveKind::ALL_GATHER, kOneRow, "all_gather over tp"},
        Case{4, CollectiveKind::ALL_REDUCE_SUM, kNoRows,
             "f32[1, 4], 0 rows"}}) {
    ThreadTransport transport(2, {everyone(2)}, within(20s));
    onRanks(2, [&](uint32_t rank) {
      std::vector<float> data(rank ? other.width : 4), out(8);
      Call call = sumOf(data, "here");
      call.operation.kind = rank ? other.kind : CollectiveKind::ALL_REDUCE_SUM;
      return transport.run(rank, call, rank ? Counts(other.count) : kOneRow);
    });
    EXPECT_EQ(transport.failure().code(), StatusCode::Internal);
    EXPECT_THAT(transport.failure().message(), HasSubstr(other.expected));
  }
}

TEST(ThreadTransportTest, CrossedGroupsAreFoundWithoutWaiting) {
  // Rank 0 waits for rank 1 in "tp", rank 1 for rank 0 in "ep".
  ThreadTransport transport(2, {{"tp", 2, {0, 1}}, {"ep", 2, {0, 1}}},
                            within(20s));
  auto start = std::chrono::steady_clock::now();
  onRanks(2, [&](uint32_t rank) {
    std::vector<float> data(1);
    return transport.run(rank, sumOf(data, rank ? "moe" : "attention", rank),
                         kOneRow);
  });
  EXPECT_LT(std::chrono::steady_clock::now() - start, 5s);
  EXPECT_EQ(transport.failure().code(), StatusCode::Internal);
  EXPECT_THAT(transport.failure().message(),
              HasSubstr("\"attention\" (all_reduce_sum over tp"));
  EXPECT_THAT(transport.failure().message(),
              HasSubstr("\"moe\" (all_reduce_sum over ep"));
}

TEST(ThreadTransportTest, AFailingRankEndsAllAtOnce) {
  ThreadTransport transport(4, {everyone(4)}, within(20s));
  auto start = std::chrono::steady_clock::now();
  auto results = onRanks(4, [&](uint32_t rank) {
    std::vector<float> data(1);
    SADDLE_RETURN_IF_ERROR(transport.run(rank, sumOf(data, "first"), kOneRow));
    if (rank == 3) {
      Status error = makeError(StatusCode::ResourceExhausted, "out of ink");
      transport.abort(3, error);
      return error;
    }
    return transport.run(rank, sumOf(data, "second"), kOneRow);
  });
  EXPECT_LT(std::chrono::steady_clock::now() - start, 5s);
  EXPECT_EQ(transport.failure().message(),
            "rank 3 failed at \"first\": out of ink");
  EXPECT_EQ(transport.failure().code(), StatusCode::ResourceExhausted);
  for (uint32_t rank = 0; rank < 3; ++rank) {
    EXPECT_EQ(results[rank].code(), StatusCode::Aborted);
    EXPECT_THAT(results[rank].message(),
                testing::AllOf(HasSubstr("stopped at \"second\""),
                               HasSubstr("out of ink")));
  }
}

TEST(ThreadTransportTest, UnevenRowsMeet) {
  // Round k: member m has (m + k) % 3 rows of the value 10 m + k.
  constexpr uint32_t world = 4;
  ThreadTransport transport(world, {everyone(world)}, within(20s));
  auto results = onRanks(world, [&](uint32_t rank) {
    for (uint64_t round = 0; round < 50; ++round) {
      std::vector<uint64_t> counts;
      std::vector<float> expected;
      for (uint64_t m = 0; m < world; ++m) {
        counts.push_back((m + round) % 3);
        expected.insert(expected.end(), counts[m], float(10 * m + round));
      }
      std::vector<float> own(2, float(10 * rank + round)), all(8);
      Call call = {{CollectiveKind::ALL_GATHER, 0, RowLayout::PACKED},
                   0,
                   {columnOf(own), columnOf(all)},
                   "gather"};
      SADDLE_RETURN_IF_ERROR(transport.run(rank, call, counts));
      all.resize(expected.size());
      if (all != expected)
        return makeError(StatusCode::Internal, "round %d", int(round));
    }
    return Status();
  });
  for (const Status &result : results)
    EXPECT_TRUE(result.ok()) << result.message();
}

TEST(ThreadTransportTest, DisagreementOnSomebodysRowsIsAMismatch) {
  ThreadTransport transport(2, {everyone(2)}, within(20s));
  auto start = Clock::now();
  onRanks(2, [&](uint32_t rank) {
    std::vector<float> own(2), all(4);
    Call call = {{CollectiveKind::ALL_GATHER, 0, RowLayout::PADDED},
                 0,
                 {columnOf(own), columnOf(all)},
                 "layers.7"};
    return transport.run(rank, call, std::vector<uint64_t>{2, rank});
  });
  EXPECT_LT(Clock::now() - start, 5s);
  EXPECT_EQ(transport.failure().code(), StatusCode::Internal);
  EXPECT_THAT(transport.failure().message(),
              HasSubstr("\"layers.7\" (all_gather over tp, f32[2, 1] padded, 2 "
                        "+ 0 rows)"));
  EXPECT_THAT(transport.failure().message(), HasSubstr("2 + 1 rows)"));
}

TEST(ThreadTransportTest, ALateRankThatProgressesIsWaitedFor) {
  ThreadTransport transport(2, {everyone(2)}, within(150ms));
  auto results = onRanks(2, [&](uint32_t rank) {
    std::vector<float> data(1);
    for (int i = 0; rank == 1 && i < 10; ++i) {
      std::this_thread::sleep_for(50ms);
      transport.progress(rank, "long work");
    }
    return transport.run(rank, sumOf(data, "layers.0"), kOneRow);
  });
  for (const Status &result : results)
    EXPECT_TRUE(result.ok()) << result.message();
}

TEST(ThreadTransportTest, TheStalledRankBehindAWaitingOneIsNamed) {
  // Rank 0 waits for rank 1, which waits for rank 2, which stalls.
  ThreadTransport transport(3, {{"pair", 3, {0, 1, 2}}, {"all", 3, {0, 1, 2}}},
                            within(300ms));
  onRanks(3, [&](uint32_t rank) {
    std::vector<float> data(1);
    if (rank == 2) {
      transport.progress(rank, "layers.4.o_proj");
      return Status();
    }
    if (rank == 1)
      return transport.run(rank, sumOf(data, "layers.5"), kOneRow);
    // Later than rank 1, so that its own patience would last longer.
    std::this_thread::sleep_for(50ms);
    return transport.receive(rank, {1, rowOf(data), "layers.6"}, 1, 0);
  });
  Status failure = transport.failure();
  EXPECT_EQ(failure.code(), StatusCode::DeadlineExceeded);
  EXPECT_THAT(failure.message(), HasSubstr("rank 2, last seen at "
                                           "\"layers.4.o_proj\","));
}

} // namespace
} // namespace saddle::comm
