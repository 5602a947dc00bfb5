#include "compiler/Driver/Effects.h"

#include "llvm/ADT/STLExtras.h"
#include "llvm/ADT/StringRef.h"

using namespace saddle;

namespace {

/// An option and the phases that read it.
struct Reader {
  llvm::StringLiteral flag;
  Phase first, last;
};

constexpr Reader kReaders[] = {
    {"--max-batch", Phase::Start, Phase::Start},
    {"--max-seq-len", Phase::Start, Phase::Start},
    {"--prefill-chunk", Phase::Start, Phase::Start},
    {"--page-size", Phase::Start, Phase::Start},
    {"--compute-dtype", Phase::Start, Phase::Start},
    {"--kv-dtype", Phase::Start, Phase::Start},
    {"--candidates", Phase::Start, Phase::Start},
    {"--layers", Phase::Start, Phase::Start},
    {"--draft", Phase::Start, Phase::Start},
    {"--draft-taps", Phase::Start, Phase::Start},
    {"--draft-taps-are", Phase::Start, Phase::Start},
    {"--draft-embedding", Phase::Start, Phase::Start},
    {"--spec-tokens", Phase::Model, Phase::Model},
    {"--buckets", Phase::Model, Phase::Model},
    {"--rms-factors", Phase::Model, Phase::Model},
    {"--topology", Phase::Dist, Phase::Dist},
    {"--stage-layers", Phase::Dist, Phase::Dist},
    {"--reduction", Phase::Dist, Phase::Dist},
    {"--norm", Phase::Dist, Phase::Dist},
    {"--experts", Phase::Dist, Phase::Dist},
    {"--replica-rows", Phase::Dist, Phase::Dist},
    {"--target", Phase::Dist, Phase::Engine},
    {"--tuning-candidate", Phase::Engine, Phase::Engine},
};

/// An option of device code, and whether it is about compiling it.
struct DeviceOption {
  llvm::StringLiteral flag;
  bool ofNvcc;
};

constexpr DeviceOption kDeviceOptions[] = {
    {"--tuning-candidate", false}, {"--nvcc", true}, {"--kernel-cache", true}};

constexpr llvm::StringLiteral kDraftFlags[] = {
    "--draft-taps", "--draft-taps-are", "--draft-embedding"};

} // namespace

static Status hasNoEffect(const std::string &flag, const std::string &reason) {
  return makeError(StatusCode::InvalidArgument,
                   "%s has no effect here: %s; leave it out", flag.c_str(),
                   reason.c_str());
}

/// Why no phase that runs reads the option; empty when one does.
static std::string unreadBecause(const Reader &reader,
                                 const CompileOptions &options) {
  Phase from = options.compileFrom.value_or(Phase::Start);
  Phase to = options.compileTo.value_or(Phase::Engine);
  // IR of a phase has left it behind; but the engine phase ends with the file,
  // which names the target.
  bool past = options.compileFrom && reader.last <= from &&
              (reader.flag != "--target" || options.compileTo);
  if (past)
    return "--compile-from " + phaseName(from).str() +
           " begins behind the phase that reads it (" +
           phaseName(reader.last).str() + ")";
  // Both say how long the default prefill chunk of such a target is.
  const Target *target = findTarget(options.target);
  if (!options.compileFrom && options.prefillChunkIsDefault && target &&
      (reader.flag == "--topology" || reader.flag == "--target") &&
      target->prefillChunk() != defaultTarget().prefillChunk())
    return "";
  if (reader.first > to)
    return "--compile-to " + phaseName(to).str() +
           " ends before the phase that reads it (" +
           phaseName(reader.first).str() + ")";
  return "";
}

Status saddle::checkEffects(const CompileOptions &options) {
  const Target *target = findTarget(options.target);
  for (const std::string &flag : options.given) {
    for (const Reader &reader : kReaders)
      if (flag == reader.flag)
        if (std::string why = unreadBecause(reader, options); !why.empty())
          return hasNoEffect(flag, why);
    if (llvm::is_contained(kDraftFlags, flag) && options.draft.empty())
      return hasNoEffect(flag, "there is no --draft");
    for (const DeviceOption &option : kDeviceOptions) {
      if (flag != option.flag)
        continue;
      if (target && target->deviceCode() == DeviceCode::None)
        return hasNoEffect(flag,
                           "target " + options.target + " has no device code");
      if (option.ofNvcc && options.compileTo)
        return hasNoEffect(flag, "--compile-to compiles no device code");
    }
  }
  if (!options.dumpKernels.empty() && options.compileTo &&
      *options.compileTo < Phase::Engine)
    return hasNoEffect("--dump-kernels",
                       "--compile-to " + phaseName(*options.compileTo).str() +
                           " ends before kernels have sources");
  if (llvm::is_contained(options.given, "--draft-taps-are") &&
      !options.draftOptions.taps.empty())
    return hasNoEffect("--draft-taps-are",
                       "--draft-taps names layers that are entered");
  if (llvm::is_contained(options.given, "--draft-embedding") &&
      options.topology.tp == options.topology.dp)
    return hasNoEffect("--draft-embedding",
                       "a rank has the whole table anyway, as --topology has "
                       "no tensor parallelism inside a replica");
  if (!options.stageLayers.empty() && options.topology.pp == 1)
    return hasNoEffect("--stage-layers", "--topology has pp = 1");
  return Status();
}
