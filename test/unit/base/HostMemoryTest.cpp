#include "runtime/src/base/HostMemory.h"
#include "test/unit/base/TemporaryFolder.h"

#include <gtest/gtest.h>

#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

namespace saddle {
namespace {

TEST(HostMemory, sumsAndProductsSaturate) {
  EXPECT_EQ(saturatingSum(3, 4), 7u);
  EXPECT_EQ(saturatingSum(UINT64_MAX - 3, 4), UINT64_MAX);
  EXPECT_EQ(saturatingProduct(3, 4), 12u);
  EXPECT_EQ(saturatingProduct(uint64_t(1) << 33, uint64_t(1) << 31),
            UINT64_MAX);
}

class ControlGroup : public testing::Test {
protected:
  /// Writes a limit in a group of `root`.
  void limit(const std::string &group, const std::string &file,
             const std::string &value) {
    std::filesystem::create_directories(folder.path(group));
    folder.write(group + "/" + file, value + "\n");
  }
  uint64_t of(const std::string &process) {
    return controlGroupLimit(process, folder.path(""));
  }
  TemporaryFolder folder;
};

TEST_F(ControlGroup, withoutFilesThereIsNoLimit) {
  EXPECT_EQ(of(""), UINT64_MAX);
  EXPECT_EQ(of("0::/a/b\n"), UINT64_MAX);
  EXPECT_EQ(of("nonsense\n:\n"), UINT64_MAX);
}

TEST_F(ControlGroup, theLowestOfAGroupAndThoseAroundItCounts) {
  limit("a/b", "memory.max", "max");
  EXPECT_EQ(of("0::/a/b\n"), UINT64_MAX);
  limit("a", "memory.max", "3000");
  EXPECT_EQ(of("0::/a/b\n"), 3000u);
  limit("a/b", "memory.max", "2000");
  EXPECT_EQ(of("0::/a/b\n"), 2000u);
  EXPECT_EQ(of("0::/a\n"), 3000u);
  EXPECT_EQ(of("0::/elsewhere\n"), UINT64_MAX);
  // In a container the path may be one of the host's.
  limit(".", "memory.max", "1000");
  EXPECT_EQ(of("0::/elsewhere\n"), 1000u);
}

TEST_F(ControlGroup, theFirstVersionHasAFolderForMemory) {
  limit("memory/a", "memory.limit_in_bytes", "4000");
  EXPECT_EQ(of("5:cpu,cpuacct:/b\n4:hugetlb,memory:/a\n0::/\n"), 4000u);
  EXPECT_EQ(of("5:cpu:/a\n"), UINT64_MAX);
}

TEST(HostMemoryTest, limitsOfTheProcessCount) {
  uint64_t whole = hostMemory();
  EXPECT_GT(whole, uint64_t(1) << 28);
  pid_t child = ::fork();
  if (child == 0) {
    struct rlimit little = {1 << 20, RLIM_INFINITY};
    ::getrlimit(RLIMIT_DATA, &little);
    little.rlim_cur = 64 << 20;
    ::setrlimit(RLIMIT_DATA, &little);
    ::_exit(hostMemory() == 64 << 20 ? 0 : 1);
  }
  int status = -1;
  ::waitpid(child, &status, 0);
  EXPECT_EQ(status, 0);
}

} // namespace
} // namespace saddle
