#include "compiler/Cuda/Toolkit.h"

#include "compiler/Cuda/TemporaryFolder.h"

#include "llvm/ADT/SmallVector.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/MemoryBuffer.h"
#include "llvm/Support/Program.h"

#include <csignal>
#include <cstring>
#include <fcntl.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

using namespace saddle;
using namespace saddle::cuda;
using llvm::StringRef;

/// sm_90a since 12.0; 12.8 is the first whose code we have looked at.
static constexpr unsigned kLeastMajor = 12, kLeastMinor = 8;

namespace {

/// What posix_spawn() is told.
class SpawnSettings {
public:
  SpawnSettings(const std::string &output, const std::string &errors) {
    posix_spawn_file_actions_init(&actions);
    auto open = [&](int fd, const std::string &path, int flags) {
      posix_spawn_file_actions_addopen(
          &actions, fd, path.empty() ? "/dev/null" : path.c_str(), flags, 0666);
    };
    constexpr int kWrite = O_WRONLY | O_CREAT | O_TRUNC;
    open(STDIN_FILENO, "", O_RDONLY);
    open(STDOUT_FILENO, output, kWrite);
    if (errors == output)
      posix_spawn_file_actions_adddup2(&actions, STDOUT_FILENO, STDERR_FILENO);
    else
      open(STDERR_FILENO, errors, kWrite);
    // A group of its own, so that all that it starts can be ended with it.
    posix_spawnattr_init(&attributes);
    posix_spawnattr_setpgroup(&attributes, 0);
    sigset_t none;
    sigemptyset(&none);
    posix_spawnattr_setsigmask(&attributes, &none);
    posix_spawnattr_setflags(&attributes,
                             POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGMASK);
  }
  SpawnSettings(const SpawnSettings &) = delete;
  SpawnSettings &operator=(const SpawnSettings &) = delete;
  ~SpawnSettings() {
    posix_spawn_file_actions_destroy(&actions);
    posix_spawnattr_destroy(&attributes);
  }

  posix_spawn_file_actions_t actions;
  posix_spawnattr_t attributes;
};

} // namespace

/// Pointers to the strings and a null behind them.
static std::vector<char *> pointersTo(std::vector<std::string> &strings) {
  std::vector<char *> pointers;
  for (std::string &string : strings)
    pointers.push_back(string.data());
  pointers.push_back(nullptr);
  return pointers;
}

StatusOr<int> saddle::cuda::runProgram(const std::string &program,
                                       llvm::ArrayRef<std::string> arguments,
                                       const std::string &output,
                                       const std::string &errors,
                                       const std::string &temporaryFolder) {
  std::vector<std::string> words = {program};
  words.insert(words.end(), arguments.begin(), arguments.end());
  std::vector<std::string> environment = {"TMPDIR=" + temporaryFolder};
  for (char **entry = environ; *entry; ++entry)
    if (StringRef name(*entry);
        !name.starts_with("NVCC_") && !name.starts_with("TMPDIR="))
      environment.push_back(name.str());
  SpawnSettings settings(output, errors);
  std::vector<char *> argv = pointersTo(words), envp = pointersTo(environment);
  int error = 0;
  pid_t child = CleanUp::startProgram([&] {
    pid_t started = 0;
    error = posix_spawn(&started, program.c_str(), &settings.actions,
                        &settings.attributes, argv.data(), envp.data());
    return error == 0 ? started : 0;
  });
  if (error != 0)
    return makeError(StatusCode::Internal, "%s: cannot run: %s",
                     program.c_str(), std::strerror(error));
  int status = CleanUp::waitForProgram(child);
  if (WIFSIGNALED(status))
    return makeError(StatusCode::Internal, "%s: was ended by signal %d (%s)",
                     program.c_str(), WTERMSIG(status),
                     strsignal(WTERMSIG(status)));
  return WEXITSTATUS(status);
}

static StatusOr<std::string> locate(const std::string &nvcc,
                                    const std::string &usual) {
  if (!nvcc.empty()) {
    if (llvm::sys::fs::can_execute(nvcc))
      return std::string(nvcc);
    return makeError(StatusCode::NotFound,
                     "--nvcc %s: no such file, or not a program", nvcc.c_str());
  }
  if (auto found = llvm::sys::findProgramByName("nvcc"))
    return std::string(*found);
  if (llvm::sys::fs::can_execute(usual + "/nvcc"))
    return usual + "/nvcc";
  return makeError(StatusCode::NotFound,
                   "target sm_90a needs nvcc of a CUDA toolkit %u.%u or newer, "
                   "but there is none on PATH or in %s; name one with --nvcc",
                   kLeastMajor, kLeastMinor, usual.c_str());
}

StatusOr<Toolkit> saddle::cuda::findToolkit(const std::string &nvcc,
                                            const std::string &usual) {
  Toolkit toolkit;
  SADDLE_ASSIGN_OR_RETURN(toolkit.nvcc, locate(nvcc, usual));
  SADDLE_ASSIGN_OR_RETURN(TemporaryFolder folder, TemporaryFolder::create());
  std::string output = folder.path("version");
  SADDLE_ASSIGN_OR_RETURN(
      int status,
      runProgram(toolkit.nvcc, {"--version"}, output, output, folder.path("")));
  auto text = llvm::MemoryBuffer::getFile(output);
  StringRef said = text ? (*text)->getBuffer() : StringRef();
  // "Cuda compilation tools, release 13.0, V13.0.88"
  StringRef release = said.split("release ").second;
  unsigned major = 0, minor = 0;
  bool understood = !release.consumeInteger(10, major) &&
                    release.consume_front(".") &&
                    !release.consumeInteger(10, minor);
  if (status != 0 || !understood)
    return makeError(StatusCode::Unsupported,
                     "%s --version: expected a line with \"release\" and a "
                     "number, found \"%s\" (exit status %d)",
                     toolkit.nvcc.c_str(), said.split('\n').first.str().c_str(),
                     status);
  if (std::pair(major, minor) < std::pair(kLeastMajor, kLeastMinor))
    return makeError(StatusCode::Unsupported,
                     "%s is of CUDA toolkit %u.%u, expected %u.%u or newer",
                     toolkit.nvcc.c_str(), major, minor, kLeastMajor,
                     kLeastMinor);
  toolkit.version = release.split('\n').first.ltrim(", ").str();
  if (toolkit.version.empty())
    toolkit.version = std::to_string(major) + "." + std::to_string(minor);
  return toolkit;
}
