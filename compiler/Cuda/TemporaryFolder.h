// A folder that lives as long as its owner, and no longer than the process.

#ifndef SADDLE_COMPILER_CUDA_TEMPORARYFOLDER_H
#define SADDLE_COMPILER_CUDA_TEMPORARYFOLDER_H

#include "compiler/Cuda/CleanUp.h"
#include "runtime/src/base/Status.h"

#include "llvm/ADT/SmallString.h"
#include "llvm/ADT/Twine.h"
#include "llvm/Support/FileSystem.h"

#include <utility>

namespace saddle::cuda {

/// Move-only; removes the folder and everything in it.
class TemporaryFolder {
public:
  static StatusOr<TemporaryFolder> create() {
    llvm::SmallString<128> path;
    if (std::error_code error =
            llvm::sys::fs::createUniqueDirectory("saddle-kernels", path))
      return makeError(StatusCode::Internal,
                       "cannot create a temporary folder: %s",
                       error.message().c_str());
    CleanUp::addFolder(path);
    return TemporaryFolder(path.str().str());
  }
  TemporaryFolder(TemporaryFolder &&other)
      : root(std::exchange(other.root, std::string())) {}
  TemporaryFolder &operator=(TemporaryFolder &&) = delete;
  ~TemporaryFolder() {
    if (root.empty())
      return;
    llvm::sys::fs::remove_directories(root);
    CleanUp::removeFolder(root);
  }

  std::string path(const llvm::Twine &name) const {
    return (root + "/" + name).str();
  }

private:
  explicit TemporaryFolder(std::string root) : root(std::move(root)) {}
  std::string root;
};

} // namespace saddle::cuda

#endif // SADDLE_COMPILER_CUDA_TEMPORARYFOLDER_H
