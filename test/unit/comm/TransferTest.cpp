// Messages between ranks: order, room, and everything that can go wrong.

#include "test/unit/comm/Ranks.h"

#include <atomic>

namespace saddle::comm {
namespace {

ThreadTransportOptions withRoom(uint32_t room) {
  ThreadTransportOptions options = within(20s);
  options.room = room;
  return options;
}

TEST(TransferTest, MessagesArriveInOrderWhateverTheRoom) {
  for (uint32_t room : {1, 2, 5}) {
    ThreadTransport transport(2, {}, withRoom(room));
    auto results = onRanks(2, [&](uint32_t rank) {
      for (uint64_t i = 0; i < 200; ++i) {
        std::vector<float> data(3, rank ? -1 : float(i));
        View view = columnOf(data);
        uint64_t rows = i % 4;
        if (rank == 0) {
          SADDLE_RETURN_IF_ERROR(
              transport.send(0, {1, view, "layers.2"}, rows, i));
          continue;
        }
        SADDLE_RETURN_IF_ERROR(
            transport.receive(1, {0, view, "layers.2"}, rows, i));
        for (uint64_t row = 0; row < 3; ++row)
          if (data[row] != (row < rows ? float(i) : -1))
            return makeError(StatusCode::Internal, "message %d", int(i));
      }
      return Status();
    });
    for (const Status &result : results)
      EXPECT_TRUE(result.ok()) << result.message();
  }
}

TEST(TransferTest, StridedBuffersKeepTheirGaps) {
  ThreadTransport transport(2, {}, withRoom(1));
  std::vector<float> from = {1, 2, 99, 3, 4, 99}, to(8, -1);
  View source = rowOf(from), dest = rowOf(to);
  source.shape = dest.shape = {2, 2};
  source.strides = {3, 1};
  dest.strides = {4, 1};
  ASSERT_TRUE(transport.send(0, {1, source, "x"}, 2, 0).ok());
  ASSERT_TRUE(transport.receive(1, {0, dest, "x"}, 2, 0).ok());
  EXPECT_THAT(to, testing::ElementsAre(1, 2, -1, -1, 3, 4, -1, -1));
}

TEST(TransferTest, ASenderRunsAheadByTheRoomOnly) {
  ThreadTransport transport(2, {}, withRoom(2));
  std::atomic<int> sent{0};
  auto results = onRanks(2, [&](uint32_t rank) {
    std::vector<float> data(1);
    for (uint64_t i = 0; i < 4; ++i) {
      if (rank == 0) {
        SADDLE_RETURN_IF_ERROR(transport.send(0, {1, rowOf(data), "x"}, 1, i));
        ++sent;
        continue;
      }
      if (i == 0) {
        std::this_thread::sleep_for(200ms);
        if (sent != 2)
          return makeError(StatusCode::Internal, "%d sent", sent.load());
      }
      SADDLE_RETURN_IF_ERROR(transport.receive(1, {0, rowOf(data), "x"}, 1, i));
    }
    return Status();
  });
  for (const Status &result : results)
    EXPECT_TRUE(result.ok()) << result.message();
  EXPECT_EQ(sent, 4);
}

TEST(TransferTest, AnotherMessageIsAMismatch) {
  struct Case {
    size_t width;
    uint64_t rows, tag;
    const char *expected;
  };
  for (const Case &other :
       {Case{4, 1, 6, "message 7, but rank 0 sent message 6 at \"layers.1\""},
        Case{4, 0, 7, "message 7 at \"layers.1\", f32[1, 4], 0 rows"},
        Case{3, 1, 7, "message 7 at \"layers.1\", f32[1, 3], 1 rows"}}) {
    ThreadTransport transport(2, {}, within(20s));
    std::vector<float> sent(other.width), received(4);
    ASSERT_TRUE(
        transport.send(0, {1, rowOf(sent), "layers.1"}, other.rows, other.tag)
            .ok());
    Status status =
        transport.receive(1, {0, rowOf(received), "layers.2"}, 1, 7);
    EXPECT_EQ(status.code(), StatusCode::Internal);
    EXPECT_THAT(status.message(),
                HasSubstr("rank 1 is at \"layers.2\" (receive from rank 0, "
                          "f32[1, 4], 1 rows), message 7, but rank 0 sent"));
    EXPECT_THAT(status.message(), HasSubstr(other.expected));
    EXPECT_EQ(transport.send(0, {1, rowOf(sent), "next"}, 1, 8).code(),
              StatusCode::Aborted);
  }
}

TEST(TransferTest, ASilentSenderIsNamed) {
  ThreadTransport transport(2, {}, within(100ms));
  transport.progress(0, "layers.0.experts");
  std::vector<float> data(4);
  auto start = Clock::now();
  Status status = transport.receive(1, {0, rowOf(data), "layers.2"}, 1, 0);
  EXPECT_LT(Clock::now() - start, 5s);
  EXPECT_EQ(status.code(), StatusCode::DeadlineExceeded);
  EXPECT_EQ(status.message(),
            "rank 1 waited 0.1 s at \"layers.2\" (receive from rank 0, f32[1, "
            "4], 1 rows) for rank 0, last seen at \"layers.0.experts\", which "
            "did not arrive");
}

TEST(TransferTest, AReceiverThatNeverTakesIsNamed) {
  ThreadTransportOptions options = within(100ms);
  options.room = 1;
  ThreadTransport transport(2, {}, options);
  std::vector<float> data(4);
  ASSERT_TRUE(transport.send(0, {1, rowOf(data), "layers.1"}, 1, 0).ok());
  Status status = transport.send(0, {1, rowOf(data), "layers.1"}, 1, 1);
  EXPECT_EQ(status.code(), StatusCode::DeadlineExceeded);
  EXPECT_THAT(status.message(),
              HasSubstr("at \"layers.1\" (send to rank 1, f32[1, 4], 1 rows) "
                        "for rank 1, not seen yet, which did not arrive"));
}

TEST(TransferTest, AFailureWakesWaitingEnds) {
  ThreadTransportOptions options = withRoom(1);
  ThreadTransport transport(3, {}, options);
  auto start = Clock::now();
  auto results = onRanks(3, [&](uint32_t rank) {
    std::vector<float> data(1);
    if (rank == 0) { // its second message has no room
      SADDLE_RETURN_IF_ERROR(
          transport.send(0, {1, rowOf(data), "first"}, 1, 0));
      return transport.send(0, {1, rowOf(data), "second"}, 1, 1);
    }
    if (rank == 1)
      return transport.receive(1, {2, rowOf(data), "third"}, 1, 0);
    std::this_thread::sleep_for(50ms);
    Status error = makeError(StatusCode::Internal, "out of ink");
    transport.abort(2, error);
    return error;
  });
  EXPECT_LT(Clock::now() - start, 5s);
  EXPECT_EQ(transport.failure().message(),
            "rank 2 failed at its start: out of ink");
  EXPECT_EQ(results[0].code(), StatusCode::Aborted);
  EXPECT_THAT(results[0].message(), HasSubstr("rank 0 stopped at \"second\""));
  EXPECT_EQ(results[1].code(), StatusCode::Aborted);
  EXPECT_THAT(results[1].message(), HasSubstr("rank 1 stopped at \"third\""));
}

} // namespace
} // namespace saddle::comm
