#include "compiler/Driver/Compile.h"

#include "compiler/Cuda/CompileModules.h"
#include "compiler/Cuda/KernelCache.h"
#include "compiler/Driver/Effects.h"
#include "compiler/Pipelines/Pipelines.h"
#include "compiler/Serialize/EngineWriter.h"
#include "dialects/Engine/IR/EngineDialect.h"
#include "dialects/InitAllDialects.h"
#include "models/Registry.h"
#include "passes/Dist/Passes.h"
#include "passes/Engine/Passes.h"
#include "passes/InitAllPasses.h"
#include "passes/Kernel/Passes.h"
#include "passes/Model/Passes.h"
#include "passes/UserError.h"
#include "runtime/src/base/File.h"
#include "runtime/src/base/Printable.h"
#include "runtime/src/engine/Engine.h"

#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/IR/AsmState.h"
#include "mlir/IR/Diagnostics.h"
#include "mlir/IR/MLIRContext.h"
#include "mlir/Parser/Parser.h"
#include "mlir/Pass/PassManager.h"
#include "mlir/Support/FileUtilities.h"
#include "mlir/Support/Timing.h"
#include "llvm/Support/CommandLine.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/FormatVariadic.h"
#include "llvm/Support/Path.h"
#include "llvm/Support/SourceMgr.h"
#include "llvm/Support/ToolOutputFile.h"
#include "llvm/Support/raw_ostream.h"

#include <cinttypes>

using namespace mlir;
using namespace saddle;

/// Prints an error, if it is one; whether it is none.
static bool report(const Status &status) {
  if (!status.ok())
    llvm::errs() << "saddle-compile: error: " << printable(status.labelled())
                 << "\n";
  return status.ok();
}

static void warn(const std::string &text) {
  llvm::errs() << "saddle-compile: warning: " << printable(text) << "\n";
}
static void warn(const Status &status) { warn(status.labelled()); }

/// "layers.3.experts: " for ops that the importer named, "file:3:5: " for
/// parsed ones.
static void printPlace(llvm::raw_ostream &os, Location loc) {
  while (auto fused = dyn_cast<FusedLoc>(loc))
    loc = fused.getLocations().front();
  if (auto name = dyn_cast<NameLoc>(loc))
    os << name.getName().getValue() << ": ";
  else if (auto file = dyn_cast<FileLineColLoc>(loc))
    os << file.getFilename().getValue() << ":" << file.getLine() << ":"
       << file.getColumn() << ": ";
}

namespace {

/// Prints diagnostics in the tools' form; remarks only when asked. Behind an
/// error of the user's nothing is printed: what follows are its consequences.
class DiagnosticPrinter : public ScopedDiagnosticHandler {
public:
  DiagnosticPrinter(MLIRContext *context, bool remarks)
      : ScopedDiagnosticHandler(context) {
    setHandler([this, remarks](Diagnostic &diagnostic) {
      if (isUsersFault())
        return success();
      std::optional<StringRef> identifier = identifierOfUserError(diagnostic);
      usersFault = identifier.has_value() &&
                   diagnostic.getSeverity() == DiagnosticSeverity::Error;
      StringRef severity;
      switch (diagnostic.getSeverity()) {
      case DiagnosticSeverity::Error:
        severity = "error: ";
        break;
      case DiagnosticSeverity::Warning:
        severity = "warning: ";
        break;
      case DiagnosticSeverity::Remark:
        if (!remarks)
          return success();
        severity = "remark: ";
        break;
      case DiagnosticSeverity::Note:
        severity = "note: ";
        break;
      }
      print(severity, diagnostic,
            identifier ? " [" + identifier->str() + "]" : "");
      for (Diagnostic &note : diagnostic.getNotes())
        print("note: ", note);
      return success();
    });
  }

  /// Whether an error came that asUserError() had marked.
  bool isUsersFault() const { return usersFault; }

private:
  static void print(StringRef severity, Diagnostic &diagnostic,
                    const std::string &label = "") {
    std::string text;
    llvm::raw_string_ostream os(text);
    printPlace(os, diagnostic.getLocation());
    os << diagnostic.str();
    llvm::errs() << "saddle-compile: " << severity << printable(text) << label
                 << "\n";
  }

  bool usersFault = false;
};

/// A file that is kept once something was written to it.
class ReproducerFile : public ReproducerStream {
public:
  explicit ReproducerFile(std::unique_ptr<llvm::ToolOutputFile> file)
      : file(std::move(file)) {}
  ~ReproducerFile() override { file->keep(); }
  StringRef description() override { return file->getFilename(); }
  raw_ostream &os() override { return file->os(); }

private:
  std::unique_ptr<llvm::ToolOutputFile> file;
};

class Compilation {
public:
  explicit Compilation(const CompileOptions &options)
      : options(options),
        context(makeRegistry(), MLIRContext::Threading::DISABLED),
        diagnostics(&context, options.explain) {
    context.loadAllAvailableDialects();
    // Messages name places; the op itself is in the reproducer.
    context.printOpOnDiagnostic(false);
  }

  bool run() {
    if (!createFolders())
      return false;
    Phase at = options.compileFrom.value_or(Phase::Start);
    Phase last = options.compileTo.value_or(Phase::Engine);
    if (!(options.compileFrom ? parseInput() && runPhase(at, /*verify=*/true)
                              : importInput()) ||
        !dump(at))
      return false;
    for (const PhaseInfo &info : allPhases()) {
      if (info.phase <= at || info.phase > last)
        continue;
      if (!runPhase(info.phase, /*verify=*/false) || !dump(info.phase))
        return false;
    }
    if (!options.compileTo)
      return writeEngine();
    return (options.dumpKernels.empty() ||
            report(cuda::dumpSources(kernelSources(), options.dumpKernels))) &&
           writeIR(options.output);
  }

private:
  static const DialectRegistry &makeRegistry() {
    static const DialectRegistry registry = [] {
      DialectRegistry made;
      registerAllDialects(made);
      return made;
    }();
    return registry;
  }

  static bool createFolder(const std::string &folder) {
    std::error_code error = llvm::sys::fs::create_directories(folder);
    // A file of that name counts as existing.
    if (!error && !llvm::sys::fs::is_directory(folder))
      error = std::make_error_code(std::errc::not_a_directory);
    return !error || report(makeError(StatusCode::InvalidArgument,
                                      "%s: cannot create folder: %s",
                                      folder.c_str(), error.message().c_str()));
  }

  bool createFolders() {
    for (const std::string &folder :
         {options.dumpPhasesTo, options.dumpPassesTo})
      if (!folder.empty() && !createFolder(folder))
        return false;
    return true;
  }

  //===--------------------------------------------------------------------===//
  // Input
  //===--------------------------------------------------------------------===//

  bool importInput() {
    ImportOptions import;
    import.layers = options.layers;
    import.fp8Cache = options.build.kvDType == TensorDType::F8E4M3;
    auto imported = importModel(options.input, import);
    if (!imported.ok())
      return report(imported.status());
    const Importer &importer = **imported;
    for (const std::string &warning : importer.warnings())
      warn(warning);
    if (options.explain)
      for (const std::string &line : importer.explanation())
        llvm::errs() << "saddle-compile: remark: stored " << printable(line)
                     << "\n";
    if (importer.facts().tokens.eos.empty())
      warn(makeError(StatusCode::InvalidArgument,
                     "%s: no eos_token_id, in config.json or "
                     "generation_config.json; answers will end at a limit of "
                     "tokens only",
                     options.input.c_str()));
    BuildOptions build = options.build;
    int64_t longest = importer.facts().maxPositions;
    if (options.maxSeqLenIsDefault)
      build.limits.maxSeqLen = std::min(build.limits.maxSeqLen, longest);
    if (build.limits.maxSeqLen > longest)
      return report(
          makeError(StatusCode::InvalidArgument,
                    "--max-seq-len %" PRId64
                    " is more than max_position_embeddings = %" PRId64 " of %s",
                    build.limits.maxSeqLen, longest, options.input.c_str()));
    if (options.prefillChunkIsDefault)
      build.limits.prefillChunk = defaultPrefillChunk(build.limits.maxSeqLen);
    module = importer.build(context, modelName(), build);
    return options.draft.empty() || attachDraft(importer, build);
  }

  bool attachDraft(const Importer &importer, const BuildOptions &build) {
    auto draft =
        importDraft(options.draft, importer.facts(), options.draftOptions);
    if (!draft.ok())
      return report(draft.status());
    for (const std::string &warning : (*draft)->warnings())
      warn(warning);
    llvm::errs() << "saddle-compile: note: "
                 << printable((*draft)->describeTaps()) << "\n";
    bool isFolder = llvm::sys::fs::is_directory(options.input);
    return report(
        (*draft)->attach(*module, build, isFolder ? options.input : ""));
  }

  int64_t defaultPrefillChunk(int64_t maxSeqLen) const {
    constexpr int64_t kLeast = 128;
    int64_t chunk = findTarget(options.target)->prefillChunk();
    return std::max(kLeast, std::min(chunk / options.topology.dp, maxSeqLen));
  }

  /// The last folder of the input path.
  std::string modelName() const {
    llvm::SmallString<128> path(options.input);
    llvm::sys::path::remove_dots(path, /*remove_dot_dot=*/false);
    if (llvm::sys::path::filename(path) == "config.json")
      llvm::sys::path::remove_filename(path);
    StringRef name = llvm::sys::path::filename(path);
    if (name == ".")
      name = llvm::sys::path::filename(llvm::sys::path::parent_path(path));
    // The name goes into the engine, where others read it.
    return name.empty() ? "model" : printable(name);
  }

  bool parseInput() {
    module = parseSourceFile<ModuleOp>(options.input, &context);
    return static_cast<bool>(module);
  }

  //===--------------------------------------------------------------------===//
  // Phases
  //===--------------------------------------------------------------------===//

  void addPasses(OpPassManager &pm, Phase phase) {
    switch (phase) {
    case Phase::Start:
      return;
    case Phase::Model: {
      ModelPipelineOptions pipeline;
      pipeline.buckets = options.buckets;
      pipeline.specTokens = options.specTokens;
      pipeline.rmsFactors = options.rmsFactors;
      return buildModelPipeline(pm, pipeline);
    }
    case Phase::Dist: {
      TopologyOptions pipeline;
      pipeline.tp = options.topology.tp;
      pipeline.dp = options.topology.dp;
      pipeline.ep = options.topology.ep;
      pipeline.pp = options.topology.pp;
      pipeline.layers = options.stageLayers;
      pipeline.reduction = options.reduction;
      pipeline.norm = options.norm;
      pipeline.experts = options.experts;
      pipeline.rows = options.replicaRows;
      pipeline.target = options.target;
      return buildDistPipeline(pm, pipeline);
    }
    case Phase::Kernel: {
      TargetOptions pipeline;
      pipeline.target = options.target;
      return buildKernelPipeline(pm, pipeline);
    }
    case Phase::Engine: {
      TargetOptions pipeline;
      pipeline.target = options.target;
      pipeline.tuningCandidate = options.tuningCandidate;
      return buildEnginePipeline(pm, pipeline);
    }
    }
  }

  /// The passes that closed a phase: IR from outside must pass it again, since
  /// everything behind relies on it. Imported modules are checked on the way.
  static void addVerifier(OpPassManager &pm, Phase phase) {
    switch (phase) {
    case Phase::Start:
      return;
    case Phase::Model:
      return pm.addPass(model::createVerifyStatic());
    case Phase::Dist:
      return pm.addPass(dist::createVerifySPMD());
    case Phase::Kernel:
      return pm.addPass(kernel::createVerifyGroups());
    case Phase::Engine:
      pm.addPass(engine::createVerifyExtents());
      return pm.addPass(engine::createVerifyMemory());
    }
  }

  /// Runs the passes of a phase, or only the one that verifies its result.
  bool runPhase(Phase phase, bool verify) {
    PassManager pm(&context);
    if (failed(applyPassManagerCLOptions(pm)))
      return false;
    applyDefaultTimingPassManagerCLOptions(pm);
    if (verify)
      addVerifier(pm, phase);
    else
      addPasses(pm, phase);
    std::string reproducer =
        (options.output == "-" ? "saddle" : options.output) +
        ".reproducer.mlir";
    // For crashes and violated invariants: what the user asked for is no
    // defect that anybody could reproduce.
    pm.enableCrashReproducerGeneration(
        [this,
         reproducer](std::string &error) -> std::unique_ptr<ReproducerStream> {
          if (diagnostics.isUsersFault())
            return nullptr;
          auto file = openOutputFile(reproducer, &error);
          return file ? std::make_unique<ReproducerFile>(std::move(file))
                      : nullptr;
        });
    if (!options.dumpPassesTo.empty() && !verify) {
      std::string folder = options.dumpPassesTo + "/" +
                           std::to_string(static_cast<int>(phase)) + "-" +
                           phaseName(phase).str();
      OpPrintingFlags flags;
      flags.enableDebugInfo(/*enable=*/true, /*prettyForm=*/false);
      pm.enableIRPrintingToFileTree(
          /*shouldPrintBeforePass=*/nullptr,
          [](Pass *, Operation *) { return true; },
          /*printModuleScope=*/true, /*printAfterOnlyOnChange=*/false,
          /*printAfterOnlyOnFailure=*/false, folder, flags);
    }
    if (succeeded(pm.run(*module)))
      return true;
    // What the user can mend has been said.
    return !diagnostics.isUsersFault() &&
           report(makeError(StatusCode::Internal, "phase %s of %s stopped",
                            phaseName(phase).str().c_str(),
                            options.input.c_str()));
  }

  //===--------------------------------------------------------------------===//
  // Output
  //===--------------------------------------------------------------------===//

  std::string printIR() {
    std::string text;
    llvm::raw_string_ostream os(text);
    OpPrintingFlags flags;
    // Locations carry the places of ops from one phase to the next.
    flags.enableDebugInfo(/*enable=*/true, /*prettyForm=*/false);
    module->print(os, flags);
    os << "\n";
    return text;
  }

  bool writeIR(const std::string &path) {
    std::string text = printIR();
    return report(writeFileAtomically(
        path,
        Bytes(reinterpret_cast<const uint8_t *>(text.data()), text.size())));
  }

  bool dump(Phase phase) {
    if (options.dumpPhasesTo.empty())
      return true;
    return writeIR(options.dumpPhasesTo + "/" +
                   std::to_string(static_cast<int>(phase)) + "-" +
                   phaseName(phase).str() + ".mlir");
  }

  std::vector<cuda::ModuleSource> kernelSources() {
    std::vector<cuda::ModuleSource> sources;
    for (auto device : module->getOps<engine::DeviceModuleOp>())
      sources.push_back({device.getSymName().str(), device.getSource().str()});
    return sources;
  }

  /// The user's cache; none when it cannot be used, which nobody asked for.
  static std::string userKernelCache() {
    std::string folder = cuda::KernelCache::defaultFolder();
    Status status = cuda::KernelCache(folder).open();
    if (status.ok())
      return folder;
    warn(retellError(status, "%s; compiling without a cache",
                     status.message().c_str()));
    return "";
  }

  /// The binaries of all device modules; none on the CPU target.
  std::optional<ModuleBinaries> compileKernels() {
    std::vector<cuda::ModuleSource> sources = kernelSources();
    ModuleBinaries binaries;
    if (sources.empty())
      return binaries;
    cuda::CompileModulesOptions compile;
    compile.nvcc = options.nvcc;
    compile.cacheFolder = options.kernelCache.value_or(userKernelCache());
    compile.dumpFolder = options.dumpKernels;
    if (options.kernelProgress)
      compile.progress = [&](size_t done) {
        options.kernelProgress(done, sources.size());
      };
    cuda::CompileModulesStatistics statistics;
    auto compiled = cuda::compileModules(sources, compile, statistics);
    if (!report(compiled.status()))
      return std::nullopt;
    if (!statistics.cacheError.ok())
      warn(statistics.cacheError.within("kernel cache"));
    for (size_t i = 0; i < sources.size(); ++i)
      binaries[sources[i].name] = std::move((*compiled)[i]);
    if (options.explain)
      llvm::errs() << "saddle-compile: remark: "
                   << llvm::formatv(
                          "{0} kernel sources in {1:F1} s, {2} from the cache, "
                          "others by {3}\n",
                          sources.size(), statistics.seconds,
                          statistics.fromCache, statistics.toolkit);
    return binaries;
  }

  bool writeEngine() {
    auto binaries = compileKernels();
    if (!binaries)
      return false;
    auto bytes = serializeEngine(*module, options.target, *binaries);
    if (failed(bytes))
      return false;
    // Whoever loads the file has no say in how it was made: what its loader
    // would refuse is refused here.
    if (!report(checkLoads(*bytes).within(
            "not written, since it could not be loaded")))
      return false;
    return report(writeFileAtomically(options.output, Bytes(*bytes)));
  }

  Status checkLoads(const std::vector<uint8_t> &bytes) const {
    return Engine::fromBytes(bytes.data(), bytes.size(), options.output)
        .status();
  }

  const CompileOptions &options;
  MLIRContext context;
  DiagnosticPrinter diagnostics;
  OwningOpRef<ModuleOp> module;
};

} // namespace

Status saddle::checkOptions(const CompileOptions &options) {
  const Target *target = findTarget(options.target);
  if (!target)
    return makeError(StatusCode::InvalidArgument,
                     "--target %s is not supported by this version; targets: "
                     "%s",
                     options.target.c_str(), targetNames().c_str());
  if (!options.dumpKernels.empty() && target->deviceCode() == DeviceCode::None)
    return makeError(StatusCode::InvalidArgument,
                     "--dump-kernels: target %s has no kernel sources",
                     options.target.c_str());
  if (options.compileFrom && options.compileTo &&
      *options.compileTo < *options.compileFrom)
    return makeError(StatusCode::InvalidArgument,
                     "--compile-to %s lies before --compile-from %s",
                     phaseName(*options.compileTo).str().c_str(),
                     phaseName(*options.compileFrom).str().c_str());
  return checkEffects(options);
}

bool saddle::compile(const CompileOptions &options) {
  return Compilation(options).run();
}

bool saddle::applyMlirFlags(const std::vector<std::string> &flags) {
  registerAllPasses(); // first, so that flags can name passes
  registerAsmPrinterCLOptions();
  registerMLIRContextCLOptions();
  registerPassManagerCLOptions();
  registerDefaultTimingManagerCLOptions();
  std::vector<const char *> arguments = {"saddle-compile --mlir"};
  for (const std::string &flag : flags)
    arguments.push_back(flag.c_str());
  return llvm::cl::ParseCommandLineOptions(arguments.size(), arguments.data(),
                                           "MLIR's own options\n",
                                           &llvm::errs());
}
