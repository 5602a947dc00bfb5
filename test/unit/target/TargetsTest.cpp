// Targets by name, and what the cost model asks them: how a sequence of ops is
// cut into launches.

#include "passes/Target/Target.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace saddle {
namespace {

using testing::ElementsAre;

template <typename... Ops>
std::vector<size_t> launches(const char *target) {
  llvm::SmallVector<size_t> sizes =
      findTarget(target)->launches({mlir::TypeID::get<Ops>()...});
  return {sizes.begin(), sizes.end()};
}

using dist::AllGatherOp, dist::AllReduceOp, dist::ReduceScatterOp;
using model::AddOp, model::KVAppendOp, model::LinearOp, model::RMSNormOp,
    model::RMSScaleOp, model::RopeOp, model::RouterOp, model::SumOfSquaresOp;

TEST(TargetsTest, AreFoundByName) {
  EXPECT_EQ(targetNames(), "cpu, sm_90a");
  for (const Target *target : allTargets())
    EXPECT_EQ(findTarget(target->name()), target);
  EXPECT_EQ(findTarget("sm_90"), nullptr);
  EXPECT_EQ(findTarget("CPU"), nullptr);
  EXPECT_EQ(findTarget(""), nullptr);
  EXPECT_EQ(&defaultTarget(), findTarget("cpu"));
}

TEST(TargetsTest, OnlyDevicesHaveCode) {
  EXPECT_EQ(findTarget("cpu")->deviceCode(), DeviceCode::None);
  EXPECT_EQ(findTarget("sm_90a")->deviceCode(), DeviceCode::Cuda);
}

TEST(TargetsTest, FusionsAreFoundByName) {
  const Target &sm90a = *findTarget("sm_90a");
  for (const Fusion *fusion : sm90a.fusions())
    EXPECT_EQ(sm90a.fusion(fusion->name()), fusion);
  EXPECT_EQ(sm90a.fusion("router_top_k"), nullptr);
  EXPECT_NE(findTarget("cpu")->fusion("router_top_k"), nullptr);
  EXPECT_EQ(sm90a.fusion("inline"), nullptr);
}

// A sum is a launch of its own, and so is a gather.
TEST(TargetsTest, Sm90aAddsAndNormalisesInOneLaunch) {
  const char *target = "sm_90a";
  EXPECT_THAT((launches<AllReduceOp, AddOp, RMSNormOp>(target)),
              ElementsAre(1, 2));
  EXPECT_THAT(
      (launches<ReduceScatterOp, AddOp, RMSNormOp, AllGatherOp>(target)),
      ElementsAre(1, 2, 1));
  EXPECT_THAT((launches<AddOp, AllGatherOp, RMSNormOp>(target)),
              ElementsAre(1, 1, 1));
  EXPECT_THAT((launches<RMSNormOp, AddOp>(target)), ElementsAre(1, 1));
  EXPECT_THAT((launches<LinearOp, RouterOp>(target)), ElementsAre(1, 1));
}

// Its groups say what one launch could do.
TEST(TargetsTest, TheCpuCountsItsGroups) {
  const char *target = "cpu";
  EXPECT_THAT((launches<AllReduceOp, AddOp, RMSNormOp>(target)),
              ElementsAre(3));
  EXPECT_THAT(
      (launches<ReduceScatterOp, AllReduceOp, AddOp, RMSNormOp, AllGatherOp>(
          target)),
      ElementsAre(5));
  EXPECT_THAT(
      (launches<ReduceScatterOp, AddOp, AllGatherOp, RMSNormOp>(target)),
      ElementsAre(1, 1, 1, 1));
  EXPECT_THAT((launches<RMSNormOp>(target)), ElementsAre(1));
  EXPECT_THAT((launches<LinearOp, RouterOp, AddOp, RMSNormOp>(target)),
              ElementsAre(2, 2));
}

TEST(TargetsTest, BothNormaliseQAndKInOneLaunch) {
  for (const char *target : {"cpu", "sm_90a"}) {
    EXPECT_THAT((launches<SumOfSquaresOp, RMSScaleOp, RMSScaleOp, RopeOp,
                          RopeOp, KVAppendOp>(target)),
                ElementsAre(6));
    EXPECT_THAT((launches<SumOfSquaresOp, AllReduceOp, RMSScaleOp, RMSScaleOp,
                          RopeOp, RopeOp, KVAppendOp>(target)),
                ElementsAre(7));
    // Without the append nothing of it is one launch.
    EXPECT_THAT(
        (launches<SumOfSquaresOp, RMSScaleOp, RMSScaleOp, RopeOp, RopeOp>(
            target)),
        ElementsAre(1, 1, 1, 1, 1));
  }
}

TEST(TargetsTest, NothingIsNoLaunch) {
  EXPECT_THAT(launches<>("sm_90a"), ElementsAre());
}

} // namespace
} // namespace saddle
