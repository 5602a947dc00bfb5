// A compilation that a signal ends leaves no folder and no program behind.

#include "compiler/Cuda/CompileModules.h"
#include "test/unit/cuda-compiler/FakeNvcc.h"

#include <gtest/gtest.h>

#include <csignal>
#include <fstream>
#include <sys/wait.h>
#include <unistd.h>

using namespace saddle;
using namespace saddle::cuda;

namespace {

/// Waits up to ten seconds.
template <typename Condition>
bool comesTrue(Condition condition) {
  for (int i = 0; i < 1000; ++i) {
    if (condition())
      return true;
    ::usleep(10000);
  }
  return false;
}

std::string wordOf(const std::string &path) {
  std::string word;
  std::ifstream(path) >> word;
  return word;
}

/// Whether a process runs; one that has ended and waits to be asked does not.
bool runs(const std::string &number) {
  std::ifstream file("/proc/" + number + "/stat");
  std::string word;
  file >> word >> word >> word; // number, (name), state
  return file && word != "Z" && word != "X";
}

/// Compiles with an nvcc that starts another program and waits for it, gets
/// `number`, and ends with the status that is returned.
int compileAndSignal(const TemporaryFolder &folder, int number,
                     bool isIgnored) {
  std::string nvcc =
      script(folder, "nvcc",
             "if [ \"$1\" = --version ]; then\n"
             "  echo 'Cuda compilation tools, release 13.0, V13.0.88'\n"
             "  exit 0\n"
             "fi\n"
             "echo x > \"$TMPDIR/left\"\n"
             "sleep " +
                 std::string(isIgnored ? "0.1" : "1000") +
                 " &\n"
                 "echo $! > '" +
                 folder.path("second.new") +
                 "'\n"
                 "mv '" +
                 folder.path("second.new") + "' '" + folder.path("second") +
                 "'\n"
                 "echo $$ > '" +
                 folder.path("first.new") +
                 "'\n"
                 "mv '" +
                 folder.path("first.new") + "' '" + folder.path("first") +
                 "'\n"
                 "wait\n");
  std::filesystem::create_directory(folder.path("tmp"));
  pid_t child = ::fork();
  if (child == 0) {
    ::signal(number, isIgnored ? SIG_IGN : SIG_DFL);
    ::setenv("TMPDIR", folder.path("tmp").c_str(), 1);
    CompileModulesOptions options;
    options.nvcc = nvcc;
    options.jobs = 2;
    CompileModulesStatistics statistics;
    auto made = compileModules({{"a.cu", "int a;\n"}, {"b.cu", "int b;\n"}},
                               options, statistics);
    ::_exit(made.ok() ? 0 : 1);
  }
  EXPECT_TRUE(
      comesTrue([&] { return std::filesystem::exists(folder.path("first")); }));
  ::kill(child, number);
  int status = 0;
  ::waitpid(child, &status, 0);
  return status;
}

TEST(CleanUp, signalsLeaveNothingBehind) {
  for (int number : {SIGINT, SIGTERM, SIGHUP}) {
    TemporaryFolder folder;
    int status = compileAndSignal(folder, number, /*isIgnored=*/false);
    EXPECT_TRUE(WIFSIGNALED(status));
    EXPECT_EQ(WTERMSIG(status), number);
    EXPECT_TRUE(std::filesystem::is_empty(folder.path("tmp")));
    for (const char *which : {"first", "second"}) {
      std::string program = wordOf(folder.path(which));
      ASSERT_FALSE(program.empty());
      // The parent of the second is gone, so somebody else asks for it.
      EXPECT_TRUE(comesTrue([&] { return !runs(program); })) << which;
    }
  }
}

TEST(CleanUp, whatIsIgnoredStaysIgnored) {
  TemporaryFolder folder;
  int status = compileAndSignal(folder, SIGHUP, /*isIgnored=*/true);
  ASSERT_TRUE(WIFEXITED(status));
  EXPECT_EQ(WEXITSTATUS(status), 1); // this nvcc has made nothing
  EXPECT_TRUE(std::filesystem::is_empty(folder.path("tmp")));
}

} // namespace
