// A shell script that answers like nvcc: step one copies the source, step two
// makes a binary of it and reports what the assembler would.

#ifndef SADDLE_TEST_UNIT_CUDACOMPILER_FAKENVCC_H
#define SADDLE_TEST_UNIT_CUDACOMPILER_FAKENVCC_H

#include "test/unit/base/TemporaryFolder.h"

#include <filesystem>
#include <string>

namespace saddle::cuda {

/// An executable file of `folder` with that text behind the first line.
inline std::string script(const TemporaryFolder &folder,
                          const std::string &name, const std::string &text) {
  std::string path = folder.write(name, "#!/bin/sh\n" + text);
  std::filesystem::permissions(path, std::filesystem::perms::owner_all);
  return path;
}

/// Says that it is of `release` and appends a line to the file "calls" of
/// `folder` for each module that it compiles. `report` is printed by the second
/// step. A source with the word "broken" is refused.
inline std::string
fakeNvcc(const TemporaryFolder &folder, const std::string &release = "13.0",
         const std::string &report =
             "ptxas info    : Compiling entry function 'f' for 'sm_90a'\n"
             "ptxas info    : Function properties for f\n"
             "    0 bytes stack frame, 0 bytes spill stores, 0 bytes spill "
             "loads\n"
             "ptxas info    : Used 24 registers, used 0 barriers\n") {
  std::string calls = folder.path("calls");
  return script(folder, "nvcc-" + release,
                "if [ \"$1\" = --version ]; then\n"
                "  echo 'nvcc: NVIDIA (R) Cuda compiler driver'\n"
                "  echo 'Cuda compilation tools, release " +
                    release + ", V" + release +
                    ".88'\n"
                    "  exit 0\n"
                    "fi\n"
                    "while [ $# -gt 0 ]; do\n"
                    "  case $1 in\n"
                    "  -o) shift; output=$1 ;;\n"
                    "  -ptx) step=ptx ;;\n"
                    "  -cubin) step=cubin ;;\n"
                    "  esac\n"
                    "  input=$1\n"
                    "  shift\n"
                    "done\n"
                    "if grep -q broken \"$input\"; then\n"
                    "  echo \"$input(1): error: this is broken\"\n"
                    "  exit 2\n"
                    "fi\n"
                    "if [ $step = ptx ]; then\n"
                    "  basename \"$input\" >> '" +
                    calls +
                    "'\n"
                    "  { echo \".file 1 \\\"$input\\\"\"; cat \"$input\"; } "
                    "> \"$output\"\n"
                    "else\n"
                    "  cat \"$input\" > \"$output\"\n"
                    "  cat << 'END'\n" +
                    report +
                    "END\n"
                    "fi\n");
}

} // namespace saddle::cuda

#endif // SADDLE_TEST_UNIT_CUDACOMPILER_FAKENVCC_H
