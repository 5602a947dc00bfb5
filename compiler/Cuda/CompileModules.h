// Sources of device modules to binaries: nvcc in parallel, behind a cache.

#ifndef SADDLE_COMPILER_CUDA_COMPILEMODULES_H
#define SADDLE_COMPILER_CUDA_COMPILEMODULES_H

#include "compiler/Cuda/PtxasReport.h"
#include "runtime/src/base/Status.h"

#include "llvm/ADT/ArrayRef.h"

#include <functional>
#include <string>
#include <vector>

namespace saddle::cuda {

struct ModuleSource {
  std::string name; // ends in ".cu"
  std::string text;
};

struct DeviceBinary {
  std::vector<uint8_t> cubin;
  std::vector<FunctionResources> functions;
  bool fromCache = false;
};

struct CompileModulesOptions {
  std::string nvcc;        // empty: findToolkit searches
  std::string cacheFolder; // empty: no cache
  /// Where sources, headers, binaries and report.txt are left; empty: nowhere.
  std::string dumpFolder;
  unsigned jobs = 0; // at a time; 0: as many as there are cores
  /// Called with how many modules are done, by one thread at a time.
  std::function<void(size_t done)> progress;
};

/// What one compilation did, for people.
struct CompileModulesStatistics {
  size_t fromCache = 0;
  double seconds = 0;
  Status cacheError;   // why some binary could not be cached
  std::string toolkit; // "nvcc V13.0.88 (/usr/local/cuda/bin/nvcc)"
};

/// The binaries of `sources`, in their order. Equal sources give equal bytes,
/// whatever the folders are. Errors: no toolkit, nvcc refuses a source,
/// a function spills registers or has local memory (both name the kernel).
StatusOr<std::vector<DeviceBinary>>
compileModules(llvm::ArrayRef<ModuleSource> sources,
               const CompileModulesOptions &options,
               CompileModulesStatistics &statistics);

/// Writes the sources and the headers that they include to `folder`, which is
/// created.
Status dumpSources(llvm::ArrayRef<ModuleSource> sources,
                   const std::string &folder);

} // namespace saddle::cuda

#endif // SADDLE_COMPILER_CUDA_COMPILEMODULES_H
