// nvcc in two steps, so that the PTX between them can be freed of the names of
// temporary folders: engines are reproducible.

#include "compiler/Cuda/CompileModules.h"

#include "compiler/Cuda/CleanUp.h"
#include "compiler/Cuda/DeviceHeaders.h"
#include "compiler/Cuda/KernelCache.h"
#include "compiler/Cuda/NormalizePtx.h"
#include "compiler/Cuda/TemporaryFolder.h"
#include "compiler/Cuda/Toolkit.h"
#include "runtime/src/base/File.h"

#include "llvm/Support/FileSystem.h"
#include "llvm/Support/FormatVariadic.h"
#include "llvm/Support/MemoryBuffer.h"
#include "llvm/Support/Path.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <mutex>
#include <optional>
#include <thread>

using namespace saddle;
using namespace saddle::cuda;
using llvm::StringRef;

static const std::vector<std::string> kToPtx = {
    "-gencode", "arch=compute_90a,code=compute_90a",
    "-ptx",     "-std=c++17",
    "-O3",      "-lineinfo"};
static const std::vector<std::string> kToCubin = {
    "-gencode",  "arch=compute_90a,code=sm_90a",
    "-cubin",    "-O3",
    "-lineinfo", "-Xptxas",
    "-v"};

static Status writeText(const std::string &path, StringRef text) {
  return writeFileAtomically(
      path, Bytes(reinterpret_cast<const uint8_t *>(text.data()), text.size()));
}

static std::string readText(const std::string &path) {
  auto buffer = llvm::MemoryBuffer::getFile(path);
  return buffer ? (*buffer)->getBuffer().str() : std::string();
}

static Status createFolder(const std::string &folder) {
  std::error_code error = llvm::sys::fs::create_directories(folder);
  if (!error && !llvm::sys::fs::is_directory(folder))
    error = std::make_error_code(std::errc::not_a_directory);
  if (!error)
    return Status();
  return makeError(StatusCode::InvalidArgument, "%s: cannot create folder: %s",
                   folder.c_str(), error.message().c_str());
}

static std::optional<StringRef> headerText(StringRef path) {
  for (const DeviceHeader &header : deviceHeaders())
    if (header.path == path)
      return StringRef(header.text);
  return std::nullopt;
}

static Status writeHeaders(const std::string &folder) {
  for (const DeviceHeader &header : deviceHeaders()) {
    std::string path = folder + "/" + header.path.str();
    SADDLE_RETURN_IF_ERROR(
        createFolder(llvm::sys::path::parent_path(path).str()));
    SADDLE_RETURN_IF_ERROR(writeText(path, header.text));
  }
  return Status();
}

Status saddle::cuda::dumpSources(llvm::ArrayRef<ModuleSource> sources,
                                 const std::string &folder) {
  SADDLE_RETURN_IF_ERROR(createFolder(folder));
  for (const ModuleSource &source : sources)
    SADDLE_RETURN_IF_ERROR(writeText(folder + "/" + source.name, source.text));
  return writeHeaders(folder + "/include");
}

namespace {

class ModuleCompiler {
public:
  ModuleCompiler(const Toolkit &toolkit, const KernelCache &cache,
                 const TemporaryFolder &folder)
      : toolkit(toolkit), cache(cache), folder(folder) {}

  StatusOr<DeviceBinary> compile(const ModuleSource &source) const {
    std::vector<std::string> flags = kToPtx;
    flags.insert(flags.end(), kToCubin.begin(), kToCubin.end());
    std::string key =
        cacheKey(source.name, source.text, toolkit.version, flags, headerText);
    std::optional<CachedBinary> made = cache.load(key);
    DeviceBinary binary;
    binary.fromCache = made.has_value();
    if (!made) {
      made.emplace();
      SADDLE_RETURN_IF_ERROR(build(source, *made));
      // A cache helps or does not; the kernel is there.
      keepCacheError(cache.store(key, *made));
    }
    binary.cubin = std::move(made->cubin);
    binary.functions = parsePtxasReport(made->log);
    SADDLE_RETURN_IF_ERROR(checkResources(source, binary));
    return binary;
  }

  /// Why some binary could not be cached; ok when all were.
  Status cacheError() const {
    std::lock_guard<std::mutex> lock(mutex);
    return firstCacheError;
  }

private:
  void keepCacheError(Status status) const {
    std::lock_guard<std::mutex> lock(mutex);
    if (firstCacheError.ok())
      firstCacheError = std::move(status);
  }

  Status build(const ModuleSource &source, CachedBinary &made) const {
    std::string file = folder.path(source.name);
    std::string ptx = file + ".ptx", cubin = file + ".cubin",
                log = file + ".log";
    SADDLE_RETURN_IF_ERROR(writeText(file, source.text));
    std::vector<std::string> arguments = kToPtx;
    for (const std::string &argument :
         {"-I" + folder.path("include"), std::string("-o"), ptx, file})
      arguments.push_back(argument);
    SADDLE_RETURN_IF_ERROR(runNvcc(source, arguments, log));
    SADDLE_RETURN_IF_ERROR(
        writeText(ptx, normalizePtx(readText(ptx), folder.path(""))));
    arguments = kToCubin;
    for (const std::string &argument : {std::string("-o"), cubin, ptx})
      arguments.push_back(argument);
    SADDLE_RETURN_IF_ERROR(runNvcc(source, arguments, log));
    made.log = readText(log);
    auto bytes = llvm::MemoryBuffer::getFile(cubin);
    if (!bytes || (*bytes)->getBufferSize() == 0)
      return makeError(StatusCode::Internal,
                       "kernel source %s: nvcc has left no binary",
                       source.name.c_str());
    made.cubin.assign((*bytes)->getBuffer().bytes_begin(),
                      (*bytes)->getBuffer().bytes_end());
    return Status();
  }

  Status runNvcc(const ModuleSource &source,
                 const std::vector<std::string> &arguments,
                 const std::string &log) const {
    SADDLE_ASSIGN_OR_RETURN(int status,
                            runProgram(toolkit.nvcc, arguments, log, log,
                                       folder.path("temporary")));
    if (status == 0)
      return Status();
    return makeError(StatusCode::Internal,
                     "kernel source %s: nvcc failed with exit status %d; "
                     "--dump-kernels keeps the source:\n%s",
                     source.name.c_str(), status,
                     StringRef(readText(log)).rtrim().str().c_str());
  }

  /// Local memory is as slow as global memory, and nobody asked for it.
  static Status checkResources(const ModuleSource &source,
                               const DeviceBinary &binary) {
    if (binary.functions.empty())
      return makeError(StatusCode::Internal,
                       "kernel source %s: the assembler reports no function",
                       source.name.c_str());
    for (const FunctionResources &function : binary.functions)
      if (function.stackBytes > 0 || function.spillBytes > 0)
        return makeError(StatusCode::Internal,
                         "kernel source %s: function %s has %u bytes of local "
                         "memory, %u of them spilled registers; expected none",
                         source.name.c_str(), function.name.c_str(),
                         function.stackBytes, function.spillBytes);
    return Status();
  }

  const Toolkit &toolkit;
  const KernelCache &cache;
  const TemporaryFolder &folder;
  mutable std::mutex mutex;
  mutable Status firstCacheError; // guarded
};

} // namespace

static std::string formatReport(llvm::ArrayRef<ModuleSource> sources,
                                const std::vector<DeviceBinary> &binaries) {
  std::string report = "function registers spilled-bytes local-bytes "
                       "static-shared-bytes binary-bytes source\n";
  for (size_t i = 0; i < sources.size(); ++i)
    for (const FunctionResources &function : binaries[i].functions)
      report += llvm::formatv("{0} {1} {2} {3} {4} {5} {6}\n", function.name,
                              function.registers, function.spillBytes,
                              function.stackBytes, function.sharedBytes,
                              binaries[i].cubin.size(), sources[i].name)
                    .str();
  return report;
}

static Status dumpBinaries(llvm::ArrayRef<ModuleSource> sources,
                           const std::vector<DeviceBinary> &binaries,
                           const std::string &folder) {
  for (size_t i = 0; i < sources.size(); ++i) {
    llvm::SmallString<128> path(folder + "/" + sources[i].name);
    llvm::sys::path::replace_extension(path, ".cubin");
    SADDLE_RETURN_IF_ERROR(
        writeFileAtomically(path.str().str(), Bytes(binaries[i].cubin)));
  }
  return writeText(folder + "/report.txt", formatReport(sources, binaries));
}

StatusOr<std::vector<DeviceBinary>>
saddle::cuda::compileModules(llvm::ArrayRef<ModuleSource> sources,
                             const CompileModulesOptions &options,
                             CompileModulesStatistics &statistics) {
  auto start = std::chrono::steady_clock::now();
  if (!options.dumpFolder.empty())
    SADDLE_RETURN_IF_ERROR(dumpSources(sources, options.dumpFolder));
  CleanUp cleanUp;
  SADDLE_ASSIGN_OR_RETURN(Toolkit toolkit, findToolkit(options.nvcc));
  KernelCache cache(options.cacheFolder);
  SADDLE_RETURN_IF_ERROR(cache.open());
  SADDLE_ASSIGN_OR_RETURN(TemporaryFolder folder, TemporaryFolder::create());
  SADDLE_RETURN_IF_ERROR(writeHeaders(folder.path("include")));
  SADDLE_RETURN_IF_ERROR(createFolder(folder.path("temporary")));

  ModuleCompiler compiler(toolkit, cache, folder);
  std::vector<DeviceBinary> binaries(sources.size());
  std::vector<Status> failures(sources.size());
  std::atomic<size_t> next{0};
  std::atomic<bool> failed{false};
  std::mutex mutex;
  size_t done = 0;
  auto work = [&] {
    for (size_t i; !failed && (i = next++) < sources.size();) {
      auto binary = compiler.compile(sources[i]);
      if (binary.ok())
        binaries[i] = std::move(*binary);
      else
        failures[i] = binary.status();
      failed = failed || !binary.ok();
      std::lock_guard<std::mutex> lock(mutex);
      ++done;
      if (options.progress)
        options.progress(done);
    }
  };
  unsigned jobs = options.jobs > 0
                      ? options.jobs
                      : std::max(1u, std::thread::hardware_concurrency());
  std::vector<std::thread> workers;
  for (unsigned i = 0; i < std::min<size_t>(jobs, sources.size()); ++i)
    workers.emplace_back(work);
  for (std::thread &worker : workers)
    worker.join();
  for (const Status &failure : failures)
    SADDLE_RETURN_IF_ERROR(failure);

  if (!options.dumpFolder.empty())
    SADDLE_RETURN_IF_ERROR(dumpBinaries(sources, binaries, options.dumpFolder));
  statistics.fromCache = std::count_if(
      binaries.begin(), binaries.end(),
      [](const DeviceBinary &binary) { return binary.fromCache; });
  statistics.seconds =
      std::chrono::duration<double>(std::chrono::steady_clock::now() - start)
          .count();
  statistics.cacheError = compiler.cacheError();
  statistics.toolkit = "nvcc " + toolkit.version + " (" + toolkit.nvcc + ")";
  return binaries;
}
