// From sources to binaries with a fake nvcc: order, cache, failures, dumps.

#include "compiler/Cuda/CompileModules.h"
#include "compiler/Cuda/DeviceHeaders.h"
#include "test/unit/cuda-compiler/FakeNvcc.h"

#include <gtest/gtest.h>

#include <fstream>
#include <sstream>

using namespace saddle;
using namespace saddle::cuda;

namespace {

std::string read(const std::string &path) {
  std::ostringstream text;
  text << std::ifstream(path).rdbuf();
  return text.str();
}

class CompileModules : public testing::Test {
protected:
  CompileModules() {
    options.nvcc = fakeNvcc(folder);
    options.cacheFolder = folder.path("cache");
    options.jobs = 2;
  }

  StatusOr<std::vector<DeviceBinary>>
  compile(const std::vector<ModuleSource> &sources) {
    return compileModules(sources, options, statistics);
  }

  /// Modules that nvcc has been called for so far.
  size_t calls() {
    std::ifstream file(folder.path("calls"));
    return std::count(std::istreambuf_iterator<char>(file), {}, '\n');
  }

  TemporaryFolder folder;
  CompileModulesOptions options;
  CompileModulesStatistics statistics;
};

std::string textOf(const DeviceBinary &binary) {
  return std::string(binary.cubin.begin(), binary.cubin.end());
}

TEST_F(CompileModules, keepsTheOrder) {
  std::vector<ModuleSource> sources;
  for (int i = 0; i < 7; ++i)
    sources.push_back(
        {"m" + std::to_string(i) + ".cu", "int x" + std::to_string(i) + ";\n"});
  std::vector<size_t> progress;
  options.progress = [&](size_t done) { progress.push_back(done); };
  auto binaries = compile(sources);
  ASSERT_TRUE(binaries.ok()) << binaries.status().message();
  ASSERT_EQ(binaries->size(), 7u);
  for (int i = 0; i < 7; ++i) {
    // The temporary folder is taken out of the PTX.
    std::string n = std::to_string(i);
    EXPECT_EQ(textOf((*binaries)[i]),
              ".file 1 \"m" + n + ".cu\"\nint x" + n + ";\n");
    ASSERT_EQ((*binaries)[i].functions.size(), 1u);
    EXPECT_EQ((*binaries)[i].functions[0].registers, 24u);
    EXPECT_FALSE((*binaries)[i].fromCache);
  }
  EXPECT_EQ(progress, (std::vector<size_t>{1, 2, 3, 4, 5, 6, 7}));
  EXPECT_EQ(statistics.fromCache, 0u);
  EXPECT_EQ(statistics.toolkit, "nvcc V13.0.88 (" + options.nvcc + ")");
}

TEST_F(CompileModules, cacheHits) {
  ASSERT_TRUE(compile({{"a.cu", "int a;\n"}, {"b.cu", "int b;\n"}}).ok());
  EXPECT_EQ(calls(), 2u);
  auto again = compile({{"b.cu", "int b;\n"}, {"c.cu", "int c;\n"}});
  ASSERT_TRUE(again.ok());
  EXPECT_EQ(calls(), 3u);
  EXPECT_TRUE((*again)[0].fromCache);
  EXPECT_EQ(textOf((*again)[0]), ".file 1 \"b.cu\"\nint b;\n");
  EXPECT_EQ((*again)[0].functions[0].registers, 24u);
  EXPECT_FALSE((*again)[1].fromCache);
  EXPECT_EQ(statistics.fromCache, 1u);
  options.cacheFolder = "";
  ASSERT_TRUE(compile({{"b.cu", "int b;\n"}}).ok());
  EXPECT_EQ(calls(), 4u);
}

TEST_F(CompileModules, otherToolkitsDoNotShareEntries) {
  ASSERT_TRUE(compile({{"a.cu", "int a;\n"}}).ok());
  options.nvcc = fakeNvcc(folder, "13.1");
  ASSERT_TRUE(compile({{"a.cu", "int a;\n"}}).ok());
  EXPECT_EQ(calls(), 2u);
}

TEST_F(CompileModules, damagedEntriesAreRebuilt) {
  ASSERT_TRUE(compile({{"a.cu", "int a;\n"}}).ok());
  for (const auto &entry :
       std::filesystem::directory_iterator(options.cacheFolder))
    std::filesystem::resize_file(entry, 60);
  auto again = compile({{"a.cu", "int a;\n"}});
  ASSERT_TRUE(again.ok());
  EXPECT_EQ(calls(), 2u);
  EXPECT_EQ(textOf((*again)[0]), ".file 1 \"a.cu\"\nint a;\n");
  ASSERT_TRUE(compile({{"a.cu", "int a;\n"}}).ok());
  EXPECT_EQ(calls(), 2u);
}

TEST_F(CompileModules, aCacheThatFailsLosesNothing) {
  ASSERT_TRUE(compile({{"a.cu", "int a;\n"}}).ok());
  EXPECT_TRUE(statistics.cacheError.ok());
  // What lies in the entry's place can be neither read nor replaced.
  const std::filesystem::path entry =
      *std::filesystem::directory_iterator(options.cacheFolder);
  std::filesystem::remove(entry);
  std::filesystem::create_directories(entry / "full");
  auto binaries = compile({{"a.cu", "int a;\n"}});
  ASSERT_TRUE(binaries.ok()) << binaries.status().message();
  EXPECT_EQ(textOf((*binaries)[0]), ".file 1 \"a.cu\"\nint a;\n");
  EXPECT_FALSE(statistics.cacheError.ok());
}

TEST_F(CompileModules, refusedSource) {
  auto binaries = compile({{"a.cu", "int a;\n"}, {"b.cu", "broken\n"}});
  ASSERT_FALSE(binaries.ok());
  const std::string &message = binaries.status().message();
  EXPECT_EQ(message.rfind("kernel source b.cu: nvcc failed with exit status 2; "
                          "--dump-kernels keeps the source:\n",
                          0),
            0u)
      << message;
  EXPECT_NE(message.find("b.cu(1): error: this is broken"), std::string::npos);
}

TEST_F(CompileModules, localMemory) {
  options.nvcc = fakeNvcc(
      folder, "13.0",
      "ptxas info    : Compiling entry function 'f_sum' for 'sm_90a'\n"
      "    16 bytes stack frame, 4 bytes spill stores, 4 bytes spill loads\n"
      "ptxas info    : Used 255 registers\n");
  for (int i = 0; i < 2; ++i) { // the second time from the cache
    auto binaries = compile({{"a.cu", "int a;\n"}});
    ASSERT_FALSE(binaries.ok());
    EXPECT_EQ(binaries.status().message(),
              "kernel source a.cu: function f_sum has 16 bytes of local "
              "memory, 4 of them spilled registers; expected none");
  }
  EXPECT_EQ(calls(), 1u);
}

TEST_F(CompileModules, silentAssembler) {
  options.nvcc = fakeNvcc(folder, "13.0", "nothing\n");
  auto binaries = compile({{"a.cu", "int a;\n"}});
  ASSERT_FALSE(binaries.ok());
  EXPECT_EQ(binaries.status().message(),
            "kernel source a.cu: the assembler reports no function");
}

TEST_F(CompileModules, dumps) {
  options.dumpFolder = folder.path("dump");
  ASSERT_TRUE(compile({{"a.cu", "int a;\n"}}).ok());
  EXPECT_EQ(read(folder.path("dump/a.cu")), "int a;\n");
  EXPECT_EQ(read(folder.path("dump/a.cubin")), ".file 1 \"a.cu\"\nint a;\n");
  EXPECT_EQ(read(folder.path("dump/report.txt")),
            "function registers spilled-bytes local-bytes static-shared-bytes "
            "binary-bytes source\n"
            "f 24 0 0 0 " +
                std::to_string(read(folder.path("dump/a.cubin")).size()) +
                " a.cu\n");
  EXPECT_FALSE(read(folder.path("dump/include/runtime/kernels/abi.h")).empty());
}

TEST_F(CompileModules, sourcesAreDumpedBeforeAFailure) {
  options.dumpFolder = folder.path("dump");
  ASSERT_FALSE(compile({{"b.cu", "broken\n"}}).ok());
  EXPECT_EQ(read(folder.path("dump/b.cu")), "broken\n");
}

TEST_F(CompileModules, folderThatIsAFile) {
  options.dumpFolder = folder.write("file", "");
  auto binaries = compile({{"a.cu", "int a;\n"}});
  ASSERT_FALSE(binaries.ok());
  EXPECT_EQ(binaries.status().message(),
            options.dumpFolder + ": cannot create folder: Not a directory");
}

TEST(DeviceHeaders, areThoseOfTheTree) {
  size_t found = 0;
  for (const DeviceHeader &header : deviceHeaders()) {
    // Texts of many pages: only the name is worth printing.
    EXPECT_TRUE(header.text == read(SADDLE_SOURCE_ROOT "/" + header.path.str()))
        << header.path.str();
    found += header.path == "runtime/kernels/abi.h";
  }
  EXPECT_EQ(found, 1u);
}

} // namespace
