#include "test/unit/cuda-plans/PlanFixture.h"

namespace saddle::cuda {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::StartsWith;

// A packet carries 8 bytes in 16 and there are two buffers; the state in front
// of the packets has 133376 bytes: four counters on a line of 256 bytes, 2 x 64
// headers of 16, 2 x 2 x 128 x 64 flags of 4.
constexpr uint64_t kState = 256 + 2 * 64 * 16 + 2 * 2 * 128 * 64 * 4;

class ExchangePlanTest : public PlanTest {
protected:
  LaunchDesc collective(const char *op, int64_t groupSize, Operand in,
                        Operand out, int64_t dim = 0) {
    LaunchDesc desc = launch(op, {std::move(in), std::move(out)}, {});
    desc.groupSize = groupSize;
    desc.dim = dim;
    return desc;
  }
  LaunchDesc sum(int64_t groupSize, int64_t rows, int64_t cols) {
    return collective("all_reduce_sum", groupSize,
                      operand("input", bf16(), {rows, cols}),
                      operand("output", bf16(), {rows, cols}));
  }
};

TEST_F(ExchangePlanTest, FewBytesAreSummedInOneShot) {
  // 5 x 3072 bf16 are 30720 bytes, 3840 packets of each member.
  KernelPlan p = plan(sum(8, 5, 3072));
  EXPECT_THAT(p.headers, ElementsAre("impls/all_reduce.cuh"));
  ASSERT_EQ(p.functions.size(), 1u);
  EXPECT_EQ(p.exchangeBytes, kState + 8 * 3840 * 32);
  EXPECT_EQ(p.functions[0].body,
            "allReduceOneShot<8, 1, Matrix<bf16, 5, 3072, 3072>, Matrix<bf16, "
            "5, 3072, 3072>, 1116416>(p);");
  // 128 threads are the least for one more CTA: 3840 / 128, and one that looks
  // for the members. The row is asked for behind a wait of the kernel's own.
  EXPECT_EQ(p.functions[0].grid[0], 31u);
  EXPECT_TRUE(p.functions[0].waitsItself);
  EXPECT_EQ(p.functions[0].block, 128u);
  EXPECT_EQ(p.functions[0].residentBlocks, 2u);
  EXPECT_EQ(p.functions[0].exclusiveGrid, 0u);
  // 49152 packets: with a device for each rank, a thread has one or two in
  // place of six.
  p = plan(sum(2, 64, 3072));
  EXPECT_THAT(p.functions[0].body, StartsWith("allReduceOneShot<2, "));
  EXPECT_EQ(p.functions[0].grid[0], 32u); // as many as may wait
  EXPECT_EQ(p.functions[0].block, 256u);
  EXPECT_EQ(p.functions[0].exclusiveGrid, 128u);
}

TEST_F(ExchangePlanTest, MoreBytesTakeTwoShots) {
  // 6 x 3072 bf16 are 4608 packets, 576 for each of 8 owners and in each shot.
  KernelPlan p = plan(sum(8, 6, 3072));
  EXPECT_THAT(p.functions[0].body, StartsWith("allReduceTwoShots<8, 1, "));
  EXPECT_EQ(p.exchangeBytes, kState + 2 * 8 * 576 * 32);
  // Two members have no need of a second shot at this size.
  EXPECT_THAT(plan(sum(2, 6, 3072)).functions[0].body,
              StartsWith("allReduceOneShot<2, "));
}

TEST_F(ExchangePlanTest, ManyBytesAreSummedInBulk) {
  KernelPlan p = plan(sum(4, 128, 3072));
  EXPECT_THAT(p.functions[0].body, StartsWith("allReduceBulk<4, "));
  EXPECT_EQ(p.exchangeBytes, kState);
  EXPECT_EQ(p.functions[0].grid[0], 32u);
  EXPECT_EQ(p.functions[0].block, 256u);
  // 768 KB: below what was measured with more.
  EXPECT_EQ(p.functions[0].exclusiveGrid, 0u);
}

TEST_F(ExchangePlanTest, BulkTakesMoreBlocksWithDevicesOfTheirOwn) {
  // Of 4 members; 6144 bytes a row are 384 units of 16, an owner has a quarter:
  // 171 rows are 1050624 bytes and 16416 units, 64.1 times 256 threads.
  KernelPlan p = plan(sum(4, 171, 3072));
  EXPECT_EQ(p.functions[0].grid[0], 32u);
  EXPECT_EQ(p.functions[0].exclusiveGrid, 65u);
  // 170 rows are 1044480 bytes, less than 1 MB.
  EXPECT_EQ(plan(sum(4, 170, 3072)).functions[0].exclusiveGrid, 0u);
  EXPECT_EQ(plan(sum(4, 2048, 3072)).functions[0].exclusiveGrid, 128u);
  // 8192 units for each of 8 owners are 32 CTAs: no more are of use.
  EXPECT_EQ(plan(sum(8, 171, 3072)).functions[0].exclusiveGrid, 33u);
  EXPECT_EQ(plan(sum(16, 171, 3072)).functions[0].exclusiveGrid, 0u);

  LaunchDesc gather =
      collective("all_gather", 4, operand("input", bf16(), {512, 3072}),
                 operand("output", bf16(), {2048, 3072}));
  gather.rows = dist::RowLayout::Packed;
  gather.outputExtent = engine::Extent::AllTokens;
  EXPECT_EQ(plan(gather).functions[0].exclusiveGrid, 128u);
  LaunchDesc scatter = collective("reduce_scatter_sum", 4,
                                  operand("input", bf16(), {2048, 3072}),
                                  operand("output", bf16(), {512, 3072}));
  scatter.rows = dist::RowLayout::Shares;
  scatter.outputExtent = engine::Extent::TokenShare;
  EXPECT_EQ(plan(scatter).functions[0].exclusiveGrid, 128u);
  // A transfer has no bulk protocol.
  EXPECT_EQ(plan(launch("send", {operand("buffer", bf16(), {2048, 3072})}, {}))
                .functions[0]
                .exclusiveGrid,
            0u);
}

TEST_F(ExchangePlanTest, ScalarsNeedOneWarp) {
  KernelPlan p =
      plan(collective("all_reduce_sum", 8, operand("input", f32(), {8, 2}),
                      operand("output", f32(), {8, 2})));
  // And one that looks for the members.
  EXPECT_EQ(p.functions[0].grid[0], 2u);
  EXPECT_EQ(p.functions[0].block, 32u);
  // A row is one packet: 8 rows x 8 members.
  EXPECT_EQ(p.exchangeBytes, kState + 64 * 32);
}

TEST_F(ExchangePlanTest, OddRowsHaveShortPackets) {
  // 33 bf16 are 66 bytes, 9 packets a row; 3 x 27 = 81 packets lie in three
  // blocks of 32. Rows of the input are 40 apart, the output begins at byte 2.
  LaunchDesc desc =
      collective("all_reduce_sum", 3, operand("input", bf16(), {3, 33}, 40),
                 operand("output", bf16(), {3, 33}));
  desc.operands[1].alignment = 2;
  KernelPlan p = plan(desc);
  EXPECT_EQ(p.exchangeBytes, kState + 96 * 32);
  EXPECT_EQ(p.functions[0].body,
            "allReduceOneShot<3, 1, Matrix<bf16, 3, 33, 40>, Matrix<bf16, 3, "
            "33, 33, 2>, 136448>(p);");
}

TEST_F(ExchangePlanTest, GathersSayHowRowsLie) {
  LaunchDesc desc =
      collective("all_gather", 2, operand("input", bf16(), {4, 32}),
                 operand("output", bf16(), {8, 32}));
  desc.rows = dist::RowLayout::Packed;
  desc.outputExtent = engine::Extent::AllTokens;
  KernelPlan p = plan(desc);
  EXPECT_THAT(p.headers, ElementsAre("impls/all_gather.cuh"));
  EXPECT_THAT(p.functions[0].body,
              StartsWith("allGatherPackets<2, RowLayout::Packed, 1, "));
  // 4 rows of 8 packets of 2 members.
  EXPECT_EQ(p.exchangeBytes, kState + 64 * 32);
  desc.rows = dist::RowLayout::Padded;
  EXPECT_THAT(plan(desc).functions[0].body, HasSubstr("RowLayout::Padded"));
}

TEST_F(ExchangePlanTest, LogitsAreGatheredInBulkAlongColumns) {
  LaunchDesc desc =
      collective("all_gather", 8, operand("input", f32(), {32, 25008}),
                 operand("output", f32(), {32, 200064}), 1);
  desc.extent = desc.outputExtent = engine::Extent::Rows;
  EXPECT_EQ(plan(desc).functions[0].body,
            "allGatherBulk<8, RowLayout::Whole, 2, Matrix<f32, 32, 25008, "
            "25008>, Matrix<f32, 32, 200064, 200064>, 133376>(p);");
}

TEST_F(ExchangePlanTest, ScattersCountTheirOutput) {
  LaunchDesc desc =
      collective("reduce_scatter_sum", 8, operand("input", bf16(), {64, 32}),
                 operand("output", bf16(), {8, 32}));
  desc.rows = dist::RowLayout::Shares;
  desc.outputExtent = engine::Extent::TokenShare;
  EXPECT_THAT(plan(desc).functions[0].body,
              StartsWith("reduceScatterPackets<8, RowLayout::Shares, 6, "));
  desc.operands[0].shape[0] = 4096;
  desc.operands[1].shape[0] = 512;
  desc.operands[0].shape[1] = desc.operands[1].shape[1] = 3072;
  desc.operands[0].strides[0] = desc.operands[1].strides[0] = 3072;
  EXPECT_THAT(plan(desc).functions[0].body,
              StartsWith("reduceScatterBulk<8, RowLayout::Shares, 6, "));
}

TEST_F(ExchangePlanTest, LaterDimensionsJoinAsColumns) {
  // [3, 2, 5] x 2 along dimension 1: rows of 10 become rows of 20.
  KernelPlan p =
      plan(collective("all_gather", 2, operand("input", f32(), {3, 2, 5}),
                      operand("output", f32(), {3, 4, 5}), 1));
  EXPECT_THAT(p.functions[0].body,
              HasSubstr("Matrix<f32, 3, 10, 10>, Matrix<f32, 3, 20, 20>"));
}

TEST_F(ExchangePlanTest, BothEndsOfATransferReserveTheSame) {
  LaunchDesc send = launch("send", {operand("buffer", bf16(), {128, 3072})}, {},
                           engine::Extent::TokenShare);
  LaunchDesc receive = send;
  receive.op = "receive";
  KernelPlan s = plan(send), r = plan(receive);
  // 384 units of 16 bytes a row, in each of two mailboxes.
  EXPECT_EQ(s.exchangeBytes, 1536u + 2 * 128 * 384 * 16);
  EXPECT_EQ(s.functions[0].body,
            "sendRows<6, Matrix<bf16, 128, 3072, 3072>, 1574400>(p);");
  EXPECT_EQ(r.exchangeBytes, s.exchangeBytes);
  EXPECT_EQ(r.functions[0].body,
            "receiveRows<6, Matrix<bf16, 128, 3072, 3072>, 1574400>(p);");
  EXPECT_EQ(r.functions[0].grid[0], s.functions[0].grid[0]);
}

TEST_F(ExchangePlanTest, AGroupOfOneCopies) {
  KernelPlan p = plan(sum(1, 8, 32));
  EXPECT_THAT(p.functions[0].body, StartsWith("copy<1, "));
  EXPECT_EQ(p.exchangeBytes, 0u);
}

TEST_F(ExchangePlanTest, WhatIsNotSupported) {
  EXPECT_EQ(
      errorOf(collective("all_reduce_sum", 2, operand("input", i32(), {3, 4}),
                         operand("output", i32(), {3, 4}))),
      "all_reduce_sum adds f32, bf16 or f16, but its input is i32");
  EXPECT_EQ(errorOf(collective("reduce_scatter_sum", 2,
                               operand("input", e4m3(), {4, 4}),
                               operand("output", e4m3(), {2, 4}))),
            "reduce_scatter_sum adds f32, bf16 or f16, but its input is "
            "f8E4M3FN");
  EXPECT_EQ(errorOf(collective("all_gather", 2, operand("input", f32(), {3, 4}),
                               operand("output", f32(), {6, 4}))),
            "all_gather along dimension 0 needs to know how rows lie: shares, "
            "packed or padded");
  EXPECT_EQ(
      errorOf(collective("all_gather", 2, operand("input", f32(), {3, 2, 5}),
                         operand("output", f32(), {3, 2, 10}), 2)),
      "all_gather along dimension 2 of a tensor whose dimension 1 is 2; "
      "expected dimension 0 or 1");
  Operand apart = operand("input", f32(), {3, 2, 5});
  apart.strides = {20, 10, 1};
  EXPECT_EQ(errorOf(collective("all_reduce_sum", 2, apart,
                               operand("output", f32(), {3, 2, 5}))),
            "operand \"input\" of all_reduce_sum: elements of dimension 1 are "
            "10 apart, expected 5; only rows may lie apart in an exchange");
}

} // namespace
} // namespace saddle::cuda
