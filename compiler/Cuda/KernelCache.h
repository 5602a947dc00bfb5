// Device binaries by the content of what they were made from.

#ifndef SADDLE_COMPILER_CUDA_KERNELCACHE_H
#define SADDLE_COMPILER_CUDA_KERNELCACHE_H

#include "runtime/src/base/Status.h"

#include "llvm/ADT/ArrayRef.h"
#include "llvm/ADT/STLFunctionalExtras.h"
#include "llvm/ADT/StringRef.h"

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace saddle::cuda {

/// What nvcc made of a module.
struct CachedBinary {
  std::vector<uint8_t> cubin;
  std::string log; // of the assembler
};

/// Everything that decides the bytes of a module's binary, as 32 hex digits:
/// its name, its source but for comments (their lines stay, for line numbers),
/// the headers that it reaches, the version of nvcc and the flags. `header`
/// gives the text of an include of "runtime/kernels/...", or nothing.
std::string cacheKey(
    llvm::StringRef name, llvm::StringRef source, llvm::StringRef version,
    llvm::ArrayRef<std::string> flags,
    llvm::function_ref<std::optional<llvm::StringRef>(llvm::StringRef)> header);

class KernelCache {
public:
  /// An empty folder name caches nothing.
  explicit KernelCache(std::string folder) : folder(std::move(folder)) {}

  /// ~/.cache/saddle/kernels of the user; empty when there is no home.
  static std::string defaultFolder();

  /// Creates the folder, for this user alone.
  Status open() const;
  /// The entry, unless it is absent or damaged, not a file, or of another user:
  /// who can write an entry decides what runs on the GPU.
  std::optional<CachedBinary> load(llvm::StringRef key) const;
  /// Others that read the cache see the whole entry or none. Links are
  /// replaced, not followed.
  Status store(llvm::StringRef key, const CachedBinary &binary) const;

private:
  std::string path(llvm::StringRef key) const;

  std::string folder;
};

} // namespace saddle::cuda

#endif // SADDLE_COMPILER_CUDA_KERNELCACHE_H
