// Finding nvcc: which one, how old, and what is said when there is none.

#include "compiler/Cuda/Toolkit.h"
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

/// Replaces PATH for the length of a test.
class PathVariable {
public:
  explicit PathVariable(const std::string &value) : old(getenv("PATH")) {
    setenv("PATH", value.c_str(), 1);
  }
  ~PathVariable() { setenv("PATH", old.c_str(), 1); }

private:
  std::string old;
};

TEST(Toolkit, namedOne) {
  TemporaryFolder folder;
  std::string nvcc = fakeNvcc(folder, "12.8");
  auto toolkit = findToolkit(nvcc);
  ASSERT_TRUE(toolkit.ok()) << toolkit.status().message();
  EXPECT_EQ(toolkit->nvcc, nvcc);
  EXPECT_EQ(toolkit->version, "V12.8.88");
}

TEST(Toolkit, onPath) {
  TemporaryFolder folder;
  std::filesystem::rename(fakeNvcc(folder), folder.path("nvcc"));
  PathVariable path(folder.path("") + ":/usr/bin:/bin");
  auto toolkit = findToolkit("");
  ASSERT_TRUE(toolkit.ok()) << toolkit.status().message();
  EXPECT_EQ(toolkit->nvcc, folder.path("nvcc"));
}

TEST(Toolkit, inTheUsualFolder) {
  TemporaryFolder folder;
  std::filesystem::rename(fakeNvcc(folder), folder.path("nvcc"));
  PathVariable path("/usr/bin:/bin");
  auto toolkit = findToolkit("", folder.path(""));
  ASSERT_TRUE(toolkit.ok()) << toolkit.status().message();
  EXPECT_EQ(toolkit->nvcc, folder.path("nvcc"));
}

TEST(Toolkit, absentOne) {
  TemporaryFolder folder;
  std::string absent = folder.path("nvcc");
  auto toolkit = findToolkit(absent);
  ASSERT_FALSE(toolkit.ok());
  EXPECT_EQ(toolkit.status().code(), StatusCode::NotFound);
  EXPECT_EQ(toolkit.status().message(),
            "--nvcc " + absent + ": no such file, or not a program");
}

TEST(Toolkit, noneAnywhere) {
  TemporaryFolder folder;
  PathVariable path(folder.path(""));
  auto toolkit = findToolkit("", "/opt/nothing");
  ASSERT_FALSE(toolkit.ok());
  EXPECT_EQ(toolkit.status().message(),
            "target sm_90a needs nvcc of a CUDA toolkit 12.8 or newer, but "
            "there is none on PATH or in /opt/nothing; name one with "
            "--nvcc");
}

TEST(Toolkit, tooOld) {
  TemporaryFolder folder;
  // 12.10 is newer than 12.8, and 9.2 older.
  EXPECT_TRUE(findToolkit(fakeNvcc(folder, "12.10")).ok());
  for (std::string release : {"12.7", "9.2"}) {
    std::string nvcc = fakeNvcc(folder, release);
    auto toolkit = findToolkit(nvcc);
    ASSERT_FALSE(toolkit.ok());
    EXPECT_EQ(toolkit.status().code(), StatusCode::Unsupported);
    EXPECT_EQ(toolkit.status().message(), nvcc + " is of CUDA toolkit " +
                                              release +
                                              ", expected 12.8 or newer");
  }
}

TEST(Toolkit, otherPrograms) {
  TemporaryFolder folder;
  std::string program = script(folder, "other", "echo 'hello there'\nexit 3\n");
  auto toolkit = findToolkit(program);
  ASSERT_FALSE(toolkit.ok());
  EXPECT_EQ(toolkit.status().message(),
            program + " --version: expected a line with \"release\" and a "
                      "number, found \"hello there\" (exit status 3)");
}

TEST(RunProgram, outputErrorsAndStatus) {
  TemporaryFolder folder;
  std::string program =
      script(folder, "p", "echo out \"$1\"\necho err \"$2\" >&2\nexit 7\n");
  auto status = runProgram(program, {"a b", "c"}, folder.path("out"),
                           folder.path("err"), folder.path(""));
  ASSERT_TRUE(status.ok());
  EXPECT_EQ(*status, 7);
  EXPECT_EQ(read(folder.path("out")), "out a b\n");
  EXPECT_EQ(read(folder.path("err")), "err c\n");
}

// NVCC_APPEND_FLAGS would change what is compiled behind the cache's back.
TEST(RunProgram, dropsVariablesOfNvcc) {
  TemporaryFolder folder;
  setenv("NVCC_APPEND_FLAGS", "-G", 1);
  std::string program = script(folder, "p", "echo \"<$NVCC_APPEND_FLAGS>\"\n");
  auto status = runProgram(program, {}, folder.path("out"), "", "");
  unsetenv("NVCC_APPEND_FLAGS");
  ASSERT_TRUE(status.ok());
  EXPECT_EQ(read(folder.path("out")), "<>\n");
}

TEST(RunProgram, temporaryFilesGoToTheFolder) {
  TemporaryFolder folder;
  std::string program = script(folder, "p", "echo \"$TMPDIR\"\n");
  ASSERT_TRUE(
      runProgram(program, {}, folder.path("out"), "", folder.path("t")).ok());
  EXPECT_EQ(read(folder.path("out")), folder.path("t") + "\n");
}

TEST(RunProgram, killed) {
  TemporaryFolder folder;
  std::string program = script(folder, "p", "kill -KILL $$\n");
  EXPECT_EQ(runProgram(program, {}, "", "", "").status().message(),
            program + ": was ended by signal 9 (Killed)");
}

TEST(RunProgram, noProgram) {
  auto status = runProgram("/nonexistent/nvcc", {}, "", "", "");
  ASSERT_FALSE(status.ok());
  EXPECT_EQ(
      status.status().message().rfind("/nonexistent/nvcc: cannot run: ", 0), 0u)
      << status.status().message();
}

} // namespace
