// Runs a tool and keeps what it said.

#ifndef SADDLE_TEST_UNIT_TOOLS_PROCESS_H
#define SADDLE_TEST_UNIT_TOOLS_PROCESS_H

#include "runtime/src/engine/EngineFile.h"
#include "test/unit/base/TemporaryFolder.h"
#include "test/unit/cuda/DeviceEngine.h"
#include "test/unit/engine/TinyEngine.h"

#include <gtest/gtest.h>

#include <regex>
#include <sstream>
#include <sys/wait.h>

namespace saddle {

/// What a command left behind, without the identifiers of messages, which are
/// of the words: test/tools/identifiers.test has them.
struct Outcome {
  int code;
  std::string out, err;
};

/// A folder with the tiny engine (tp=2) as tiny.saddle.
class ToolTest : public testing::Test {
protected:
  void SetUp() override { writeEngine("tiny.saddle", *tinyEngine(twoRanks())); }
  static TinyOptions twoRanks() {
    TinyOptions options;
    options.tp = 2;
    return options;
  }
  std::string writeEngine(const std::string &name,
                          const schema::EngineT &engine) {
    std::vector<uint8_t> file = engineFileOf(engine);
    return folder.write(name, std::string(file.begin(), file.end()));
  }
  /// For a GPU, of one rank.
  std::string writeDeviceEngine(const std::string &name) {
    std::vector<uint8_t> file = packEngineFile(
        flatBufferOf(*cuda::deviceEngine({})), std::vector<uint8_t>(4096));
    return folder.write(name, std::string(file.begin(), file.end()));
  }
  static std::string read(const std::string &path) {
    std::ifstream file(path, std::ios::binary);
    std::ostringstream text;
    text << file.rdbuf();
    return text.str();
  }
  /// `command` goes through the shell, in the folder.
  Outcome run(const std::string &command) {
    std::string out = folder.path("stdout"), err = folder.path("stderr");
    int status = std::system(("cd '" + folder.path("") + "' && " + command +
                              " >'" + out + "' 2>'" + err + "'")
                                 .c_str());
    auto said = [](const std::string &path) {
      return std::regex_replace(read(path), std::regex(" \\[D[0-9a-f]{6}\\]\n"),
                                "\n");
    };
    return {WIFEXITED(status) ? WEXITSTATUS(status) : -1, said(out), said(err)};
  }

  TemporaryFolder folder;
};

} // namespace saddle

#endif // SADDLE_TEST_UNIT_TOOLS_PROCESS_H
