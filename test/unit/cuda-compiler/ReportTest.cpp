// What is read out of nvcc's outputs: the assembler's report, and PTX freed of
// the folder that it was made in.

#include "compiler/Cuda/NormalizePtx.h"
#include "compiler/Cuda/PtxasReport.h"

#include <gtest/gtest.h>

using namespace saddle::cuda;

namespace {

// Lines of ptxas 13.0.
TEST(PtxasReport, functions) {
  auto functions = parsePtxasReport(
      "ptxas info    : 0 bytes gmem\n"
      "ptxas info    : Compiling entry function 'add_0' for 'sm_90a'\n"
      "ptxas info    : Function properties for add_0\n"
      "    0 bytes stack frame, 0 bytes spill stores, 0 bytes spill loads\n"
      "ptxas info    : Used 16 registers, used 0 barriers\n"
      "ptxas info    : Compile time = 21.191 ms\n"
      "ptxas info    : Compiling entry function 'sum_0' for 'sm_90a'\n"
      "ptxas info    : Function properties for sum_0\n"
      "    120 bytes stack frame, 136 bytes spill stores, 140 bytes spill "
      "loads\n"
      "ptxas info    : Used 255 registers, used 1 barriers, 120 bytes "
      "cumulative stack size, 1024 bytes smem\n");
  ASSERT_EQ(functions.size(), 2u);
  EXPECT_EQ(functions[0].name, "add_0");
  EXPECT_EQ(functions[0].registers, 16u);
  EXPECT_EQ(functions[0].stackBytes, 0u);
  EXPECT_EQ(functions[0].spillBytes, 0u);
  EXPECT_EQ(functions[0].sharedBytes, 0u);
  EXPECT_EQ(functions[1].name, "sum_0");
  EXPECT_EQ(functions[1].registers, 255u);
  EXPECT_EQ(functions[1].stackBytes, 120u);
  EXPECT_EQ(functions[1].spillBytes, 136u);
  EXPECT_EQ(functions[1].sharedBytes, 1024u);
}

// Properties of device functions that are called belong to no entry.
TEST(PtxasReport, otherLines) {
  EXPECT_TRUE(parsePtxasReport("").empty());
  EXPECT_TRUE(parsePtxasReport("warning: x\nUsed 3 registers\n"
                               "8 bytes stack frame, 0 bytes spill stores, 0 "
                               "bytes spill loads\n")
                  .empty());
}

TEST(NormalizePtx, fileNames) {
  EXPECT_EQ(normalizePtx("\t.file\t1 \"/tmp/k-1/add.cu\"\n"
                         ".file 2 \"/tmp/k-1/include/a.cuh\"\n"
                         ".file 3 \"/usr/include/b.h\"\n"
                         "// /tmp/k-1/ elsewhere stays\n",
                         "/tmp/k-1/"),
            "\t.file\t1 \"add.cu\"\n"
            ".file 2 \"include/a.cuh\"\n"
            ".file 3 \"/usr/include/b.h\"\n"
            "// /tmp/k-1/ elsewhere stays\n");
}

// "_INTERNAL_26084ee2_8" in letters and in bytes, there over two lines.
TEST(NormalizePtx, marksOfTheTranslationUnit) {
  EXPECT_EQ(normalizePtx("call _ZN35_INTERNAL_26084ee2_8_x;\n", "/f/"),
            "call _ZN35_INTERNAL_00000000_8_x;\n");
  EXPECT_EQ(normalizePtx("{\n"
                         ".b8 95,73,78,84,69,82,78,65,76,95,50,54\n"
                         ".b8 48,56,52,101,101,50,95,56\n"
                         "}\n",
                         "/f/"),
            "{\n"
            ".b8 95,73,78,84,69,82,78,65,76,95,48,48\n"
            ".b8 48,48,48,48,48,48,95,56\n"
            "}\n");
  // Too short at the end, and other bytes stay.
  EXPECT_EQ(normalizePtx(".b8 95,73,78,84,69,82,78,65,76,95,50\n", "/f/"),
            ".b8 95,73,78,84,69,82,78,65,76,95,48\n");
  EXPECT_EQ(normalizePtx(".b8 1,2,3\n", "/f/"), ".b8 1,2,3\n");
}

} // namespace
