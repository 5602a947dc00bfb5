#include "compiler/Cuda/Toolkit.h"

#include "compiler/Cuda/TemporaryFolder.h"

#include "llvm/ADT/SmallVector.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/MemoryBuffer.h"
#include "llvm/Support/Program.h"

#include <optional>
#include <unistd.h>

using namespace saddle;
using namespace saddle::cuda;
using llvm::StringRef;

/// sm_90a since 12.0; 12.8 is the first whose code we have looked at.
static constexpr unsigned kLeastMajor = 12, kLeastMinor = 8;

StatusOr<int> saddle::cuda::runProgram(StringRef program,
                                       llvm::ArrayRef<std::string> arguments,
                                       const std::string &output,
                                       const std::string &errors) {
  llvm::SmallVector<StringRef> argv = {program};
  argv.append(arguments.begin(), arguments.end());
  llvm::SmallVector<StringRef> environment;
  for (char **entry = environ; *entry; ++entry)
    if (StringRef name(*entry); !name.starts_with("NVCC_"))
      environment.push_back(name);
  std::optional<StringRef> redirects[] = {StringRef(), StringRef(output),
                                          StringRef(errors)};
  std::string message;
  bool failed = false;
  int status = llvm::sys::ExecuteAndWait(
      program, argv, llvm::ArrayRef<StringRef>(environment), redirects,
      /*SecondsToWait=*/0, /*MemoryLimit=*/0, &message, &failed);
  if (failed || status < 0)
    return makeError(StatusCode::Internal, "%s: cannot run: %s",
                     program.str().c_str(),
                     message.empty() ? "killed" : message.c_str());
  return int(status);
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
      int status, runProgram(toolkit.nvcc, {"--version"}, output, output));
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
