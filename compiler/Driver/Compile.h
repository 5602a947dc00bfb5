// One compilation: input, phases, outputs.

#ifndef SADDLE_COMPILER_DRIVER_COMPILE_H
#define SADDLE_COMPILER_DRIVER_COMPILE_H

#include "compiler/Driver/Phase.h"
#include "compiler/Driver/Topology.h"
#include "models/BuildOptions.h"
#include "models/DraftOptions.h"
#include "passes/Target/Target.h"

#include <functional>
#include <optional>
#include <string>
#include <vector>

namespace saddle {

/// What the command line says, checked for syntax only.
struct CompileOptions {
  /// A model folder, a config.json, or with `compileFrom` a .mlir file ("-" is
  /// standard input).
  std::string input;
  /// Where the engine, or with `compileTo` the IR, goes ("-" is standard
  /// output).
  std::string output;
  Topology topology;
  std::string target = defaultTarget().name().str();
  BuildOptions build;
  /// A draft for the model, a folder or a config.json; empty: none.
  std::string draft;
  DraftOptions draftOptions;
  /// Drafted tokens of a sequence that a step verifies; 0 without a draft.
  int64_t specTokens = 0;
  /// Token counts of decode entries; empty means powers of two.
  std::vector<int64_t> buckets;
  /// Where decodes divide by root mean squares: "reference", as the published
  /// code does, or "sunk", behind the next product.
  std::string rmsFactors = "reference";
  /// Lower the default of max_seq_len to what the model allows; a length that
  /// the user gave is refused instead.
  bool maxSeqLenIsDefault = true;
  /// Take the target's prefill chunk, divided over attention replicas and no
  /// longer than a sequence, but at least 128.
  bool prefillChunkIsDefault = true;
  /// Layers of each pipeline stage; empty means even.
  std::vector<int64_t> stageLayers;
  /// Choices of dist-choose-exchanges, by its names of their values; "auto"
  /// leaves them to the cost model.
  std::string reduction = "auto";
  std::string norm = "auto";
  std::string experts = "auto";
  std::string replicaRows = "auto";
  /// Compile only the first layers; 0 means all.
  int64_t layers = 0;
  std::optional<Phase> compileTo;
  std::optional<Phase> compileFrom;
  /// Folders for IR, created when absent; empty means none.
  std::string dumpPhasesTo;
  std::string dumpPassesTo;
  /// Of device targets: the nvcc to use (empty: search), the folder where
  /// binaries are cached ("" is none, absent is the user's), and the one where
  /// sources, binaries and a report are left (empty: nowhere).
  std::string nvcc;
  std::optional<std::string> kernelCache;
  std::string dumpKernels;
  /// Products are divided as the candidate of this number; -1: as measured
  /// (passes/Target/Target.h, KernelOptions).
  int64_t tuningCandidate = -1;
  /// Called while device code is compiled.
  std::function<void(size_t done, size_t total)> kernelProgress;
  /// Print the reasons of decisions (remarks) to standard error.
  bool explain = false;
  /// Flags that the user gave, "--topology".
  std::vector<std::string> given;
};

/// What is wrong with the options themselves, whatever the input holds; an
/// option without effect is wrong, too.
Status checkOptions(const CompileOptions &options);

/// Runs options that are in order. Everything for people goes to standard
/// error. A failing pass leaves a reproducer beside the output. Returns whether
/// the output was written.
bool compile(const CompileOptions &options);

/// Hands MLIR's own flags (--mlir=...) to it; call once before compile. Returns
/// false after printing what was wrong.
bool applyMlirFlags(const std::vector<std::string> &flags);

} // namespace saddle

#endif // SADDLE_COMPILER_DRIVER_COMPILE_H
