// Facts about the whole engine, and the tables that programs refer to.

#include "runtime/kernels/abi.h"
#include "runtime/src/base/DType.h"
#include "runtime/src/engine/Engine.h"
#include "runtime/src/engine/Programs.h"
#include "runtime/src/engine/Validate.h"

#include <algorithm>
#include <cstring>
#include <set>
#include <unordered_set>
#include <vector>

namespace saddle::engine {

using namespace schema;
using schema::Engine; // not saddle::Engine

namespace {

/// Step inputs are i32, so every token, slot and position must fit.
constexpr uint64_t kMaxIndex = INT32_MAX;
constexpr uint64_t kMaxAlignment = uint64_t(1) << 21; // a huge page
constexpr uint64_t kMaxArenaBytes = uint64_t(1) << 48;
/// Members of all stacks together; real models have about 10^5.
constexpr uint64_t kMaxTensors = uint64_t(1) << 24;

Status checkRange(const char *what, uint64_t value, uint64_t most) {
  if (value >= 1 && value <= most)
    return Status();
  return makeError(StatusCode::DataLoss,
                   "%s is %" PRIu64 ", expected 1 to %" PRIu64, what, value,
                   most);
}

/// Refuses the second use of a name.
class UniqueNames {
public:
  explicit UniqueNames(const char *kind) : kind(kind) {}
  Status add(const flatbuffers::String &name) {
    if (names.insert(name.str()).second)
      return Status();
    return makeError(StatusCode::DataLoss, "two %s are named \"%s\"", kind,
                     name.c_str());
  }

private:
  const char *kind;
  std::unordered_set<std::string> names;
};

Status validateTopology(const Topology &topology) {
  uint64_t tp = topology.tp(), pp = topology.pp();
  SADDLE_RETURN_IF_ERROR(checkRange("topology: tp", tp, kMaxRanks));
  SADDLE_RETURN_IF_ERROR(checkRange("topology: pp", pp, kMaxRanks / tp));
  if (topology.dp() == 0 || tp % topology.dp() != 0)
    return makeError(StatusCode::DataLoss,
                     "topology: dp = %u does not divide tp = %u", topology.dp(),
                     topology.tp());
  if (topology.ep() == 0 || tp % topology.ep() != 0)
    return makeError(StatusCode::DataLoss,
                     "topology: ep = %u does not divide tp = %u", topology.ep(),
                     topology.tp());
  return Status();
}

/// Device code sees replicas and groups in tables of fixed size.
Status validateDeviceLimits(const Engine &engine) {
  if (!isDeviceTarget(engine))
    return Status();
  if (engine.topology()->dp() > device::kMaxReplicas)
    return makeError(StatusCode::Unsupported,
                     "topology: dp = %u, but target \"%s\" takes up to %u "
                     "attention replicas",
                     engine.topology()->dp(), engine.target()->c_str(),
                     device::kMaxReplicas);
  for (const RankGroups *groups : *engine.rank_groups())
    if (groups->size() > device::kMaxGroup)
      return makeError(StatusCode::Unsupported,
                       "rank groups \"%s\": %u ranks in a group, but target "
                       "\"%s\" takes up to %u",
                       groups->axes()->c_str(), groups->size(),
                       engine.target()->c_str(), device::kMaxGroup);
  return Status();
}

Status validateLimits(const Limits &limits) {
  SADDLE_RETURN_IF_ERROR(
      checkRange("limits: max_batch", limits.max_batch(), kMaxIndex));
  SADDLE_RETURN_IF_ERROR(
      checkRange("limits: max_seq_len", limits.max_seq_len(), kMaxIndex));
  SADDLE_RETURN_IF_ERROR(
      checkRange("limits: prefill_chunk", limits.prefill_chunk(), kMaxIndex));
  return checkRange("limits: page_size", limits.page_size(), kMaxIndex);
}

Status validateArenas(const Engine &engine) {
  UniqueNames names("arenas");
  uint64_t bytes = 0; // of all
  for (const Arena *arena : *engine.arenas()) {
    SADDLE_RETURN_IF_ERROR(names.add(*arena->name()));
    std::string place = "arena " + quoted(*arena);
    if (arena->kind() < ArenaKind::CONSTANT ||
        arena->kind() > ArenaKind::SEQUENCES)
      return makeError(StatusCode::DataLoss, "%s: unknown kind %u",
                       place.c_str(), unsigned(arena->kind()));
    if (arena->kind() == ArenaKind::EXCHANGE && !isDeviceTarget(engine))
      return makeError(StatusCode::DataLoss,
                       "%s: kind EXCHANGE, which an engine for target \"cpu\" "
                       "cannot have",
                       place.c_str());
    uint64_t alignment = arena->alignment();
    if (alignment == 0 || (alignment & (alignment - 1)) != 0 ||
        alignment > kMaxAlignment)
      return makeError(StatusCode::DataLoss,
                       "%s: alignment is %" PRIu64
                       ", expected a power of two up to %" PRIu64,
                       place.c_str(), alignment, kMaxAlignment);
    if (arena->bytes() > kMaxArenaBytes)
      return makeError(StatusCode::DataLoss,
                       "%s: %" PRIu64 " bytes, expected at most %" PRIu64,
                       place.c_str(), arena->bytes(), kMaxArenaBytes);
    // Then plans may add what ranks need without a thought.
    bytes += arena->bytes();
    if (bytes > kMaxArenaBytes)
      return makeError(StatusCode::DataLoss,
                       "%s: the arenas up to here have %" PRIu64
                       " bytes together, expected at most %" PRIu64,
                       place.c_str(), bytes, kMaxArenaBytes);
  }
  return Status();
}

/// Every value of the matrix lies in the tensor, and nothing else does but
/// padding of the last words.
Status validateUnpacking(const Source &source, const Unpacking &how) {
  const auto &shape = *source.shape();
  uint64_t values = how.order() ? how.order()->size() : 0;
  uint64_t bits = 8 * elementBytes(source.dtype());
  bool isWord = source.dtype() == DType::I32 || source.dtype() == DType::U8;
  bool plain = how.bits() == 0 && values == 0 && how.per_element() == 1;
  bool packed = isWord && (how.bits() == 4 || how.bits() == 8) &&
                values == bits / how.bits() && how.per_element() > 0 &&
                how.per_element() * how.bits() <= 8;
  if (shape.size() != 2 || !(plain || packed) || how.rows() == 0 ||
      how.cols() == 0 || how.cols() > UINT64_MAX / 8)
    return makeError(StatusCode::DataLoss,
                     "unpacks %s into %" PRIu64 " x %" PRIu64
                     " elements of %u values of %u bits, %" PRIu64
                     " to a word; expected words of i32 or u8 full of values "
                     "of 4 or 8 bits, and at most 8 bits to an element",
                     formatDims(shape).c_str(), how.rows(), how.cols(),
                     how.per_element(), how.bits(), values);
  uint64_t seen = 0;
  for (uint64_t i = 0; i < values; ++i)
    if (how.order()->Get(uint32_t(i)) < values)
      seen |= uint64_t(1) << how.order()->Get(uint32_t(i));
  if (seen != (uint64_t(1) << values) - 1)
    return makeError(StatusCode::DataLoss,
                     "the order of %" PRIu64
                     " values in a word is no order of 0 .. n-1",
                     values);
  uint64_t rows = how.rows(), cols = how.cols() * how.per_element();
  if (how.transposed())
    std::swap(rows, cols);
  uint64_t perWord = std::max<uint64_t>(1, values);
  uint64_t &along = how.along_rows() ? rows : cols;
  along = along / perWord + (along % perWord != 0);
  if (shape.Get(0) == rows && shape.Get(1) == cols)
    return Status();
  return makeError(
      StatusCode::DataLoss,
      "a matrix of %" PRIu64 " x %" PRIu64 " elements comes from [%" PRIu64
      ", %" PRIu64 "] words, but the shape is %s",
      how.rows(), how.cols(), rows, cols, formatDims(shape).c_str());
}

Status validateSource(const Source &source) {
  SADDLE_RETURN_IF_ERROR(checkAligned(*source.shape()));
  if (elementBytes(source.dtype()) == 0)
    return makeError(StatusCode::DataLoss, "unknown dtype %u",
                     unsigned(source.dtype()));
  uint64_t bytes = elementBytes(source.dtype());
  for (uint64_t dim : *source.shape())
    if (dim == 0 || __builtin_mul_overflow(bytes, dim, &bytes))
      return makeError(StatusCode::DataLoss,
                       "shape %s is empty or needs more than 2^64 bytes",
                       formatDims(*source.shape()).c_str());
  // Nothing reads an ignored one.
  size_t most = source.stack() ? 2 : 3;
  if (!source.ignored_reason() && source.shape()->size() > most)
    return makeError(StatusCode::DataLoss,
                     "shape %s has %u dimensions, expected at most %zu",
                     formatDims(*source.shape()).c_str(),
                     source.shape()->size(), most);
  if (const Unpacking *unpacking = source.unpacking())
    SADDLE_RETURN_IF_ERROR(validateUnpacking(source, *unpacking));
  if (source.group() != 0 &&
      (!source.ignored_reason() || source.dtype() != DType::I32 ||
       source.shape()->size() != 1))
    return makeError(StatusCode::DataLoss,
                     "has groups of %" PRIu64 ", which only an ignored vector "
                     "of i32 has",
                     source.group());
  bool isFloat = source.dtype() == DType::F32 ||
                 source.dtype() == DType::BF16 || source.dtype() == DType::F16;
  if (source.over() != 0 && (!isFloat || source.companion_of() == 0))
    return makeError(StatusCode::DataLoss,
                     "is %s, divided by %u, which only floats of a companion "
                     "are",
                     dtypeName(source.dtype()), source.over());
  if (source.stack() == 0)
    return Status();
  const char *hole = std::strstr(source.name()->c_str(), "{}");
  if (!hole || std::strstr(hole + 2, "{}"))
    return makeError(StatusCode::DataLoss,
                     "a stack of %" PRIu64
                     " tensors needs exactly one {} in its name",
                     source.stack());
  return Status();
}

/// What it is to which weight.
Status validateCompanion(const Engine &engine, uint32_t index) {
  const Source &source = *engine.sources()->Get(index);
  if (source.companion() == CompanionKind::UNKNOWN &&
      source.companion_of() == 0)
    return Status();
  if (source.companion() == CompanionKind::UNKNOWN ||
      source.companion() > CompanionKind::MAX)
    return makeError(StatusCode::DataLoss,
                     "is a companion of kind %u; this runtime reads kinds 1 "
                     "to %u",
                     unsigned(source.companion()),
                     unsigned(CompanionKind::MAX));
  if (source.companion_of() == 0 ||
      source.companion_of() > engine.sources()->size() ||
      source.companion_of() == index + 1)
    return makeError(StatusCode::DataLoss,
                     "is the companion of source %" PRIu32
                     " - 1, expected another of the %u",
                     source.companion_of(), engine.sources()->size());
  const Source &weight = *engine.sources()->Get(source.companion_of() - 1);
  if (weight.stack() != source.stack() || weight.companion_of() != 0)
    return makeError(StatusCode::DataLoss,
                     "has a stack of %" PRIu64
                     ", but the weight %s, of which it is a companion, has "
                     "%" PRIu64 "%s",
                     source.stack(), quoted(weight).c_str(), weight.stack(),
                     weight.companion_of() ? " and is a companion itself" : "");
  return Status();
}

Status validateSources(const Engine &engine) {
  std::vector<UniqueNames> names(engine.checkpoints()->size(),
                                 UniqueNames("sources"));
  uint64_t tensors = 0;
  for (const Source *source : *engine.sources()) {
    std::string place = "source " + quoted(*source);
    if (source->checkpoint() >= names.size())
      return makeError(StatusCode::DataLoss,
                       "%s: checkpoint %u does not exist, there are %zu",
                       place.c_str(), source->checkpoint(), names.size());
    SADDLE_RETURN_IF_ERROR(names[source->checkpoint()].add(*source->name()));
    SADDLE_RETURN_IF_ERROR(prefix(place, validateSource(*source)));
    uint64_t members = std::max<uint64_t>(1, source->stack());
    if (members > kMaxTensors - tensors)
      return makeError(StatusCode::DataLoss,
                       "%s: the sources name more than %" PRIu64 " tensors",
                       place.c_str(), kMaxTensors);
    tensors += members;
  }
  for (uint32_t i = 0; i < engine.sources()->size(); ++i)
    SADDLE_RETURN_IF_ERROR(prefix("source " + quoted(*engine.sources()->Get(i)),
                                  validateCompanion(engine, i)));
  return Status();
}

/// Attributes are compared with the op's signature where the kernel is
/// launched; only the ranks' view of them is checked here.
Status validateKernels(const Engine &engine, uint64_t worldSize) {
  UniqueNames names("kernels");
  for (const Kernel *kernel : *engine.kernels()) {
    SADDLE_RETURN_IF_ERROR(names.add(*kernel->name()));
    SADDLE_RETURN_IF_ERROR(prefix("kernel " + quoted(*kernel),
                                  validateFunctions(engine, *kernel)));
    if (!kernel->attributes())
      continue;
    for (const Attribute *attribute : *kernel->attributes())
      SADDLE_RETURN_IF_ERROR(prefix(
          "kernel " + quoted(*kernel) + ": attribute " + quoted(*attribute),
          validateRankValue(attribute->rank_value(), worldSize)));
  }
  return Status();
}

Status validateRankGroups(const Engine &engine, uint64_t worldSize) {
  for (uint32_t i = 0; i < engine.rank_groups()->size(); ++i) {
    const RankGroups &groups = *engine.rank_groups()->Get(i);
    std::string place = "rank groups " + std::to_string(i) + " (\"" +
                        groups.axes()->str() + "\")";
    if (groups.size() == 0 || worldSize % groups.size() != 0)
      return makeError(StatusCode::DataLoss,
                       "%s: size %u does not divide %" PRIu64 " ranks",
                       place.c_str(), groups.size(), worldSize);
    if (groups.ranks()->size() != worldSize)
      return makeError(StatusCode::DataLoss,
                       "%s: %u ranks are listed, expected %" PRIu64,
                       place.c_str(), groups.ranks()->size(), worldSize);
    std::vector<bool> seen(worldSize);
    for (uint32_t rank : *groups.ranks()) {
      if (rank >= worldSize)
        return makeError(StatusCode::DataLoss,
                         "%s: rank %u does not exist, there are %" PRIu64,
                         place.c_str(), rank, worldSize);
      if (seen[rank])
        return makeError(StatusCode::DataLoss, "%s: rank %u is listed twice",
                         place.c_str(), rank);
      seen[rank] = true;
    }
    for (uint32_t j = 0; j < worldSize; ++j) {
      uint32_t rank = groups.ranks()->Get(j),
               first = groups.ranks()->Get(j - j % groups.size());
      uint32_t stage = rank / engine.topology()->tp(),
               firstStage = first / engine.topology()->tp();
      if (stage != firstStage)
        return makeError(StatusCode::DataLoss,
                         "%s: ranks %u and %u of one group are in pipeline "
                         "stages %u and %u",
                         place.c_str(), first, rank, firstStage, stage);
    }
  }
  return Status();
}

/// What cutting a tensor rests on.
Status validatePart(const schema::StoredPart &part) {
  auto holes = [](const std::string &name) {
    return name.find("{}") == std::string::npos  ? 0
           : name.find("{}") == name.rfind("{}") ? 1
                                                 : 2;
  };
  const std::string name = part.name()->str(), tensor = part.tensor()->str();
  bool renames = !tensor.empty() && tensor.back() == '*';
  if (name.empty() || tensor.empty() || renames != (name.back() == '*') ||
      (renames && (part.stack() || part.of())))
    return makeError(StatusCode::DataLoss,
                     "is read from \"%s\", expected two names, or two "
                     "beginnings of names with * behind them",
                     tensor.c_str());
  if (part.stack() > kMaxTensors || holes(name) != (part.stack() ? 1 : 0) ||
      holes(tensor) > holes(name))
    return makeError(StatusCode::DataLoss,
                     "is a stack of %" PRIu64 " and read from \"%s\"",
                     part.stack(), tensor.c_str());
  if (part.of() ? part.count() == 0 || part.count() > part.of() ||
                      part.first() > part.of() - part.count()
                : part.count() != 0 || part.first() != 0)
    return makeError(StatusCode::DataLoss,
                     "is %" PRIu64 " from %" PRIu64 " on of %" PRIu64,
                     part.count(), part.first(), part.of());
  return Status();
}

Status validateCheckpoints(const Engine &engine) {
  UniqueNames names("checkpoints");
  for (const Checkpoint *checkpoint : *engine.checkpoints()) {
    SADDLE_RETURN_IF_ERROR(names.add(*checkpoint->name()));
    std::string fingerprint = checkpoint->fingerprint()->str();
    if (fingerprint.size() != 32 ||
        fingerprint.find_first_not_of("0123456789abcdef") != std::string::npos)
      return makeError(StatusCode::DataLoss,
                       "checkpoint %s: fingerprint is \"%s\", expected 32 "
                       "lower-case hex digits",
                       quoted(*checkpoint).c_str(), fingerprint.c_str());
    uint64_t members = 0;
    for (uint32_t i = 0; checkpoint->parts() && i < checkpoint->parts()->size();
         ++i) {
      const schema::StoredPart &part = *checkpoint->parts()->Get(i);
      SADDLE_RETURN_IF_ERROR(
          prefix("part " + quoted(part), validatePart(part)));
      members += std::max<uint64_t>(1, part.stack());
    }
    if (members > kMaxTensors)
      return makeError(StatusCode::DataLoss,
                       "checkpoint %s: the parts name more than %" PRIu64
                       " tensors",
                       quoted(*checkpoint).c_str(), kMaxTensors);
  }
  if (engine.checkpoints()->size() == 0 ||
      engine.checkpoints()->Get(0)->name()->str() != kMainCheckpoint)
    return makeError(StatusCode::DataLoss, "the first checkpoint is not \"%s\"",
                     kMainCheckpoint);
  return Status();
}

/// Every program has one of each stage; they lie in order, "main" first.
Status validateProgramNames(const Engine &engine) {
  const auto &programs = *engine.programs();
  const uint32_t stages = engine.topology()->pp();
  std::set<std::pair<std::string, uint32_t>> known;
  for (const Program *program : programs) {
    std::string name = program->name()->str();
    if (program->stage() >= stages)
      return makeError(StatusCode::DataLoss,
                       "a program %s is of stage %u, but there are %u pipeline "
                       "stages",
                       quoted(*program).c_str(), program->stage(), stages);
    if (!known.insert({name, program->stage()}).second)
      return makeError(StatusCode::DataLoss, "two programs are %s of stage %u",
                       quoted(*program).c_str(), program->stage());
  }
  for (const auto &each : known)
    for (uint32_t stage = 0; stage < stages; ++stage)
      if (!known.count({each.first, stage}))
        return makeError(StatusCode::DataLoss,
                         "program \"%s\" lacks stage %u of %u",
                         each.first.c_str(), stage, stages);
  if (!known.count({kMainProgram, 0}))
    return makeError(StatusCode::DataLoss,
                     "no program is named \"%s\", which sessions run",
                     kMainProgram);
  for (uint32_t i = 0; i < programs.size(); ++i) {
    const Program &program = *programs.Get(i);
    std::string expected = i < stages ? kMainProgram
                           : i % stages == 0
                               ? program.name()->str()
                               : programs.Get(i - 1)->name()->str();
    if (program.name()->str() != expected || program.stage() != i % stages)
      return makeError(StatusCode::DataLoss,
                       "place %u holds program %s of stage %u, expected \"%s\" "
                       "of stage %u: stages follow each other, and \"%s\" "
                       "comes first",
                       i, quoted(program).c_str(), program.stage(),
                       expected.c_str(), i % stages, kMainProgram);
  }
  return Status();
}

} // namespace

Status validateFacts(const Engine &engine) {
  std::string target = engine.target()->str();
  if (target != "cpu" && target != "sm_90a")
    return makeError(StatusCode::Unsupported,
                     "compiled for target \"%s\", but this build knows only "
                     "\"cpu\" and \"sm_90a\"",
                     target.c_str());
  DType compute = engine.compute_dtype(), kv = engine.kv_dtype();
  if (compute != DType::F32 && compute != DType::BF16)
    return makeError(StatusCode::DataLoss,
                     "compute_dtype is %s, expected f32 or bf16",
                     dtypeName(compute));
  if (kv != DType::F32 && kv != DType::BF16 && kv != DType::F8E4M3)
    return makeError(StatusCode::DataLoss,
                     "kv_dtype is %s, expected f32, bf16 or f8e4m3",
                     dtypeName(kv));
  SADDLE_RETURN_IF_ERROR(validateTopology(*engine.topology()));
  SADDLE_RETURN_IF_ERROR(validateDeviceLimits(engine));
  SADDLE_RETURN_IF_ERROR(validateLimits(*engine.limits()));
  const Model &model = *engine.model();
  SADDLE_RETURN_IF_ERROR(
      checkRange("model: vocab_size", model.vocab_size(), kMaxIndex));
  SADDLE_RETURN_IF_ERROR(validateCheckpoints(engine));
  return validateProgramNames(engine);
}

Status validateTables(const Engine &engine) {
  uint64_t worldSize =
      uint64_t(engine.topology()->tp()) * engine.topology()->pp();
  SADDLE_RETURN_IF_ERROR(validateArenas(engine));
  SADDLE_RETURN_IF_ERROR(validateSources(engine));
  SADDLE_RETURN_IF_ERROR(validateKernels(engine, worldSize));
  return validateRankGroups(engine, worldSize);
}

} // namespace saddle::engine
