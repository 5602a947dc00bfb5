// The program itself: exit statuses, streams, usage errors.

#include "test/unit/base/TemporaryFolder.h"
#include "test/unit/engine/TinyEngine.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <sys/wait.h>

using namespace saddle;
using testing::HasSubstr;
using testing::StartsWith;

namespace {

class CommandLine : public testing::Test {
protected:
  CommandLine() {
    auto file = engineFileOf(*tinyEngine());
    folder.write("a", std::string(file.begin(), file.end()));
    auto tree = tinyEngine();
    tree->producer = "other";
    file = engineFileOf(*tree);
    folder.write("b", std::string(file.begin(), file.end()));
  }

  /// Runs `saddle-inspect ARGUMENTS` in the folder; both streams go to files.
  int run(const std::string &arguments) {
    std::string command = "cd '" + folder.path("") +
                          "' && '" SADDLE_INSPECT "' >out 2>err " + arguments;
    int status = std::system(command.c_str());
    out = read("out");
    err = read("err");
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
  }
  std::string read(const std::string &name) {
    std::ifstream file(folder.path(name));
    return std::string(std::istreambuf_iterator<char>(file), {});
  }

  TemporaryFolder folder;
  std::string out, err;
};

TEST_F(CommandLine, printsText) {
  EXPECT_EQ(run("a --memory --kernels --weights --commands"), 0);
  EXPECT_THAT(out, StartsWith("engine a\n"));
  EXPECT_THAT(out, HasSubstr("\ncommands of program 0 entry decode\n"));
  EXPECT_EQ(err, "");
}

TEST_F(CommandLine, readsStandardInputAndPrintsJson) {
  EXPECT_EQ(run("- --json <a"), 0);
  EXPECT_THAT(out, StartsWith("{\n  \"producer\": \"TinyEngine\",\n"));
  EXPECT_EQ(run("- <a"), 0);
  EXPECT_THAT(out, StartsWith("engine standard input\n"));
}

TEST_F(CommandLine, diffTellsByItsExitStatus) {
  EXPECT_EQ(run("--diff a a"), 0);
  EXPECT_EQ(out + err, "");
  EXPECT_EQ(run("--diff a b"), 1);
  EXPECT_EQ(out, "producer: \"TinyEngine\" -> \"other\"\n");
  EXPECT_EQ(run("--diff a c"), 1);
  EXPECT_THAT(err, StartsWith("error: c: cannot be opened: No such file or "
                              "directory [D"));
}

TEST_F(CommandLine, badInputFails) {
  folder.write("bad", "nonsense");
  EXPECT_EQ(run("bad"), 1);
  EXPECT_THAT(
      err,
      StartsWith("error: bad: truncated: 8 bytes, but an engine file begins "
                 "with a header of 64 [D"));
  EXPECT_EQ(run("a >/dev/full"), 1);
  EXPECT_THAT(
      err,
      StartsWith("error: standard output: cannot be written: No space left on "
                 "device [D"));
}

TEST_F(CommandLine, badUsageIsTwo) {
  EXPECT_EQ(run(""), 2);
  EXPECT_THAT(err, HasSubstr("expected FILE, or --diff with two engines"));
  EXPECT_EQ(run("a --frobnicate"), 2);
  EXPECT_THAT(err, HasSubstr("--frobnicate"));
  EXPECT_EQ(run("--diff a"), 2);
  EXPECT_EQ(run("a --diff a b"), 2);
  EXPECT_EQ(run("--diff a b --json"), 2);
  EXPECT_EQ(run("--help"), 0);
  EXPECT_THAT(out, HasSubstr("--diff"));
}

} // namespace
