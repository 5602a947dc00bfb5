// Records that devices leave, as errors.

#include "runtime/src/cuda/FaultReport.h"
#include "test/unit/cuda/DeviceEngine.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace saddle::cuda {
namespace {

class FaultReportTest : public testing::Test {
protected:
  FaultReportTest() {
    TinyOptions tiny;
    tiny.tp = 2;
    tiny.pp = 2;
    tiny.layers = 2;
    engine = load(*deviceEngine(tiny));
  }
  /// Number of the first collective, or of the transfer, of a stage's decode
  /// entry.
  uint32_t find(uint32_t stage, schema::Action action) const {
    const auto &commands =
        *engine->root().programs()->Get(stage)->entries()->Get(0)->commands();
    for (uint32_t i = 0; i < commands.size(); ++i)
      if (commands.Get(i)->action_type() == action)
        return i;
    ADD_FAILURE();
    return 0;
  }
  Status describe(const device::Fault &fault,
                  const char *seen = "decode") const {
    return describeFault(
        fault,
        {engine->root(), 0, std::chrono::milliseconds(2000), seen, silent});
  }
  std::shared_ptr<const Engine> engine;
  std::optional<FaultContext::LastSeen> silent;
};

TEST_F(FaultReportTest, ATimeoutNamesBothRanksAndThePlace) {
  device::Fault fault = {};
  fault.rank = 0;
  fault.peer = 1;
  fault.command = find(0, schema::Action::Collective);
  fault.reason = device::kFaultTimeout;
  Status status = describe(fault);
  EXPECT_EQ(status.code(), StatusCode::DeadlineExceeded);
  EXPECT_EQ(status.message(),
            "rank 0 waited 2.0 s at \"model.embed_tokens\" (all_reduce_sum "
            "over tp, f32[4, 8]) for rank 1, last seen at \"decode\", which "
            "did not arrive");
  EXPECT_THAT(describe(fault, nullptr).message(),
              testing::HasSubstr("for rank 1, not seen yet, which"));
}

TEST_F(FaultReportTest, ARankAloneWaitsForItself) {
  device::Fault fault = {};
  fault.rank = 1;
  fault.peer = 0;
  fault.command = find(0, schema::Action::Collective);
  fault.reason = device::kFaultTimeout;
  Status status = describeFault(fault, {engine->root(),
                                        0,
                                        std::chrono::milliseconds(2000),
                                        nullptr,
                                        {},
                                        /*isAlone=*/true});
  EXPECT_EQ(status.code(), StatusCode::DeadlineExceeded);
  EXPECT_EQ(status.message(),
            "rank 1, which runs alone, waited 2.0 s at \"model.embed_tokens\" "
            "(all_reduce_sum over tp, f32[4, 8]) for what it had sent itself; "
            "an engine of an older saddle-compile has no way back for it, so "
            "compile the model again");
}

TEST_F(FaultReportTest, TheSilentRankIsTheCause) {
  device::Fault fault = {};
  fault.rank = 3;
  fault.peer = 1;
  fault.command = find(1, schema::Action::Transfer);
  fault.reason = device::kFaultTimeout;
  silent = {0, "model.norm"};
  EXPECT_EQ(describe(fault).message(),
            "rank 3 waited 2.0 s at \"model.layers.1.input\" (receive from "
            "rank 1, f32[4, 8]) for rank 1, last seen at \"decode\", which did "
            "not arrive because rank 0, last seen at \"model.norm\", makes no "
            "progress");
  silent = {1, "decode"};
  EXPECT_THAT(describe(fault).message(),
              testing::EndsWith("which did not arrive"));
}

TEST_F(FaultReportTest, ATransferNamesItsOtherEnd) {
  device::Fault fault = {};
  fault.rank = 3;
  fault.peer = 1;
  fault.command = find(1, schema::Action::Transfer);
  fault.reason = device::kFaultTimeout;
  EXPECT_EQ(describe(fault).message(),
            "rank 3 waited 2.0 s at \"model.layers.1.input\" (receive from "
            "rank 1, f32[4, 8]) for rank 1, last seen at \"decode\", which did "
            "not arrive");
}

TEST_F(FaultReportTest, DisagreementsNameBothSides) {
  device::Fault fault = {};
  fault.rank = 1;
  fault.peer = 0;
  fault.command = find(0, schema::Action::Collective);
  fault.reason = device::kFaultMismatch;
  fault.expected = 3;
  fault.found = 4;
  Status status = describe(fault);
  EXPECT_EQ(status.code(), StatusCode::Internal);
  EXPECT_EQ(status.message(),
            "rank 1 is at \"model.embed_tokens\" (all_reduce_sum over tp, "
            "f32[4, 8]) with 3 rows, but rank 0 is there with 4");
  fault.reason = device::kFaultElsewhere;
  fault.found = 2;
  EXPECT_THAT(describe(fault).message(),
              testing::MatchesRegex(
                  "rank 1 is at \"model.embed_tokens\" .*, but rank 0 is at "
                  "\"model.layers.0.* \\(rms_norm\\)"));
}

TEST_F(FaultReportTest, ALaunchThatWaitsNamesItsOpAndGroups) {
  auto description = deviceEngine([] {
    TinyOptions tiny;
    tiny.tp = 2;
    return tiny;
  }());
  // The op is not one that waits; for the text it is as good.
  auto &command = *description->programs[0]->entries[0]->commands[0];
  command.action.AsLaunch()->groups = 1;
  std::vector<uint8_t> buffer = flatBufferOf(*description);
  device::Fault fault = {};
  fault.peer = 1;
  fault.reason = device::kFaultTimeout;
  Status status = describeFault(fault, {*schema::GetEngine(buffer.data()), 0,
                                        std::chrono::milliseconds(500), nullptr,
                                        std::nullopt});
  EXPECT_THAT(status.message(),
              testing::StartsWith("rank 0 waited 0.5 s at "
                                  "\"model.embed_tokens\" (embedding over tp) "
                                  "for rank 1, not seen yet,"));
}

TEST_F(FaultReportTest, ImpossibleRecordsAreErrorsToo) {
  device::Fault fault = {};
  fault.rank = 9;
  fault.reason = 1;
  EXPECT_EQ(describe(fault).message(),
            "a device left a fault record that cannot be: rank 9, peer 0 of 4 "
            "ranks, reason 1");
  fault.rank = 0;
  fault.command = 9999;
  fault.reason = 77;
  EXPECT_EQ(describe(fault).message(),
            "rank 0 stopped at command 9999 for reason 77");
}

} // namespace
} // namespace saddle::cuda
