// Commands: launches against their op's signature and the engine's limits,
// collectives against their rank groups, copies.

#include "runtime/src/base/DType.h"
#include "runtime/src/cpu/Kernels.h"
#include "runtime/src/engine/Validate.h"

#include <cstring>
#include <vector>

namespace saddle::engine {

using namespace schema;
using schema::Engine; // not saddle::Engine

namespace {

constexpr unsigned kNone = ~0u;

/// What a launch's signature alone cannot tell, because it depends on the
/// entry or the limits: which operand's dimension 0 is the run-time count,
/// where the KV caches and the block table stand, and which are written.
struct OpFacts {
  const char *op;
  unsigned counted = 0;
  unsigned outputs = 1; // the last ones
  unsigned cache = kNone;
  unsigned blockTable = kNone;
};

constexpr OpFacts kDefaultFacts = {""};
constexpr OpFacts kOpFacts[] = {
    {"attention", 0, 1, 1, 5},
    {"kv_append", 0, 2, 3, kNone},
    {"router_topk", 0, 2, kNone, kNone},
    {"select_rows", 1, 1, kNone, kNone},
};

const OpFacts &factsOf(const Kernel &kernel) {
  for (const OpFacts &facts : kOpFacts)
    if (kernel.op()->str() == facts.op)
      return facts;
  return kDefaultFacts;
}

class CommandChecker {
public:
  CommandChecker(const Engine &engine, const Program &program,
                 const Entry &entry)
      : engine(engine), program(program), entry(entry) {}

  Status check(const Command &command);

private:
  Status checkLaunch(const Launch &launch);
  Status checkLimits(const OpFacts &facts, const Launch &launch,
                     uint64_t count);
  Status checkCollective(const Collective &collective);
  Status checkShapes(const Collective &collective, uint64_t groupSize);
  Status checkGroupsInStage(const RankGroups &groups);
  Status checkCopy(const Copy &copy);

  Status checkIndex(const char *what, uint32_t index);
  Status checkDim(const char *what, uint32_t index, uint32_t dim,
                  uint64_t expected, const char *rule);
  Status checkWritable(const char *what, uint32_t index);
  StatusOr<uint64_t> countOf(Extent extent);
  const Slice &slice(uint32_t index) const {
    return *entry.slices()->Get(index);
  }

  const Engine &engine;
  const Program &program;
  const Entry &entry;
};

Status CommandChecker::checkIndex(const char *what, uint32_t index) {
  if (index < entry.slices()->size())
    return Status();
  return makeError(StatusCode::DataLoss,
                   "%s: slice %u does not exist, there are %u", what, index,
                   entry.slices()->size());
}

Status CommandChecker::checkDim(const char *what, uint32_t index, uint32_t dim,
                                uint64_t expected, const char *rule) {
  uint64_t found = slice(index).shape()->Get(dim);
  if (found == expected)
    return Status();
  return makeError(StatusCode::DataLoss,
                   "%s (slice %u): dimension %u is %" PRIu64
                   ", expected %s = %" PRIu64,
                   what, index, dim, found, rule, expected);
}

Status CommandChecker::checkWritable(const char *what, uint32_t index) {
  const Arena &arena = *engine.arenas()->Get(slice(index).arena());
  if (arena.kind() != ArenaKind::CONSTANT)
    return Status();
  return makeError(StatusCode::DataLoss,
                   "%s (slice %u) lies in arena %s of kind CONSTANT, which no "
                   "command may write",
                   what, index, quoted(arena).c_str());
}

StatusOr<uint64_t> CommandChecker::countOf(Extent extent) {
  if (extent == Extent::TOKENS)
    return entry.tokens();
  if (extent == Extent::ROWS)
    return entry.rows();
  return makeError(StatusCode::DataLoss, "unknown extent %u", unsigned(extent));
}

const char *nameOf(Extent extent) {
  return extent == Extent::TOKENS ? "the entry's tokens" : "the entry's rows";
}

Status CommandChecker::checkLaunch(const Launch &launch) {
  if (launch.kernel() >= engine.kernels()->size())
    return makeError(StatusCode::DataLoss,
                     "kernel %u does not exist, there are %u", launch.kernel(),
                     engine.kernels()->size());
  const Kernel &kernel = *engine.kernels()->Get(launch.kernel());
  SADDLE_ASSIGN_OR_RETURN(uint64_t count, countOf(launch.extent()));
  std::vector<View> operands;
  for (uint32_t i = 0; i < launch.operands()->size(); ++i) {
    uint32_t index = launch.operands()->Get(i);
    SADDLE_RETURN_IF_ERROR(
        checkIndex(("operand " + std::to_string(i)).c_str(), index));
    operands.push_back(viewOf(slice(index)));
  }
  std::string place = "kernel " + quoted(kernel);
  if (Status status = cpu::checkLaunch(kernel, engine.compute_dtype(),
                                       engine.kv_dtype(), operands);
      !status.ok())
    // Whatever the table calls it: here it is the file that is wrong.
    return Status(status.code() == StatusCode::Unsupported
                      ? StatusCode::Unsupported
                      : StatusCode::DataLoss,
                  place + ": " + status.message());
  const OpFacts &facts = factsOf(kernel);
  SADDLE_RETURN_IF_ERROR(prefix(
      place, checkDim("counted operand", launch.operands()->Get(facts.counted),
                      0, count, nameOf(launch.extent()))));
  SADDLE_RETURN_IF_ERROR(prefix(place, checkLimits(facts, launch, count)));
  for (uint32_t i = launch.operands()->size() - facts.outputs;
       i < launch.operands()->size(); ++i)
    SADDLE_RETURN_IF_ERROR(
        prefix(place, checkWritable("output", launch.operands()->Get(i))));
  return Status();
}

Status CommandChecker::checkLimits(const OpFacts &facts, const Launch &launch,
                                   uint64_t count) {
  const Limits &limits = *engine.limits();
  if (facts.cache != kNone) {
    // The signature makes both caches equal, so the first speaks for both.
    uint32_t cache = launch.operands()->Get(facts.cache);
    SADDLE_RETURN_IF_ERROR(
        checkDim("cache", cache, 0, limits.num_pages(), "num_pages"));
    SADDLE_RETURN_IF_ERROR(
        checkDim("cache", cache, 1, limits.page_size(), "page_size"));
    for (uint32_t index : {cache, launch.operands()->Get(facts.cache + 1)}) {
      const Arena &arena = *engine.arenas()->Get(slice(index).arena());
      if (arena.kind() != ArenaKind::STATE)
        return makeError(StatusCode::DataLoss,
                         "cache (slice %u) lies in arena %s of kind %s, "
                         "expected STATE",
                         index, quoted(arena).c_str(),
                         EnumNameArenaKind(arena.kind()));
    }
  }
  if (facts.blockTable != kNone) {
    uint32_t table = launch.operands()->Get(facts.blockTable);
    uint64_t blocks = (limits.max_seq_len() - 1) / limits.page_size() + 1;
    SADDLE_RETURN_IF_ERROR(
        checkDim("block table", table, 0, limits.max_batch(), "max_batch"));
    SADDLE_RETURN_IF_ERROR(checkDim("block table", table, 1, blocks,
                                    "max_seq_len / page_size rounded up"));
  }
  return Status();
}

Status CommandChecker::checkCollective(const Collective &collective) {
  if (collective.kind() < CollectiveKind::ALL_REDUCE_SUM ||
      collective.kind() > CollectiveKind::REDUCE_SCATTER_SUM)
    return makeError(StatusCode::DataLoss, "unknown collective kind %u",
                     unsigned(collective.kind()));
  if (collective.groups() >= engine.rank_groups()->size())
    return makeError(StatusCode::DataLoss,
                     "rank groups %u do not exist, there are %u",
                     collective.groups(), engine.rank_groups()->size());
  const RankGroups &groups = *engine.rank_groups()->Get(collective.groups());
  SADDLE_RETURN_IF_ERROR(checkGroupsInStage(groups));
  SADDLE_RETURN_IF_ERROR(checkIndex("input", collective.input()));
  SADDLE_RETURN_IF_ERROR(checkIndex("output", collective.output()));
  SADDLE_RETURN_IF_ERROR(checkWritable("output", collective.output()));
  SADDLE_ASSIGN_OR_RETURN(uint64_t count, countOf(collective.extent()));
  SADDLE_RETURN_IF_ERROR(checkDim("input", collective.input(), 0, count,
                                  nameOf(collective.extent())));
  return checkShapes(collective, groups.size());
}

Status CommandChecker::checkGroupsInStage(const RankGroups &groups) {
  StageRanks stage = ranksOf(engine, program);
  for (uint32_t begin = 0; begin < groups.ranks()->size();
       begin += groups.size()) {
    uint32_t inside = 0;
    for (uint32_t i = begin; i < begin + groups.size(); ++i)
      inside += groups.ranks()->Get(i) - stage.first < stage.count;
    if (inside != 0 && inside != groups.size())
      return makeError(StatusCode::DataLoss,
                       "a rank group of \"%s\" has members outside pipeline "
                       "stage %u, which never arrive",
                       groups.axes()->c_str(), program.stage());
  }
  return Status();
}

Status CommandChecker::checkShapes(const Collective &collective,
                                   uint64_t groupSize) {
  const Slice &input = slice(collective.input()),
              &output = slice(collective.output());
  bool reduces = collective.kind() != CollectiveKind::ALL_GATHER;
  bool isFloat = input.dtype() == DType::F32 || input.dtype() == DType::BF16 ||
                 input.dtype() == DType::F16;
  if (reduces && !isFloat)
    return makeError(StatusCode::DataLoss,
                     "sums are of f32, bf16 or f16, but the input is %s",
                     dtypeName(input.dtype()));
  if (input.dtype() != output.dtype())
    return makeError(StatusCode::DataLoss,
                     "the input is %s, but the output is %s",
                     dtypeName(input.dtype()), dtypeName(output.dtype()));
  const auto &from = *input.shape(), &to = *output.shape();
  bool whole = collective.kind() == CollectiveKind::ALL_REDUCE_SUM;
  uint32_t dim = collective.dim();
  if (!whole && (dim == 0 || dim >= from.size()))
    return makeError(StatusCode::DataLoss,
                     "dimension %u is split, expected 1 to %d: dimension 0 "
                     "counts tokens or rows",
                     dim, int(from.size()) - 1);
  bool agree = from.size() == to.size();
  for (uint32_t i = 0; agree && i < from.size(); ++i) {
    uint64_t small = from.Get(i), large = to.Get(i);
    if (collective.kind() == CollectiveKind::REDUCE_SCATTER_SUM)
      std::swap(small, large);
    uint64_t factor = !whole && i == dim ? groupSize : 1;
    agree = large % factor == 0 && large / factor == small;
  }
  if (agree)
    return Status();
  return makeError(StatusCode::DataLoss,
                   "%s over %" PRIu64 " ranks along dimension %u does not "
                   "make %s of %s",
                   EnumNameCollectiveKind(collective.kind()), groupSize, dim,
                   formatDims(to).c_str(), formatDims(from).c_str());
}

Status CommandChecker::checkCopy(const Copy &copy) {
  SADDLE_RETURN_IF_ERROR(checkIndex("source", copy.source()));
  SADDLE_RETURN_IF_ERROR(checkIndex("dest", copy.dest()));
  SADDLE_RETURN_IF_ERROR(checkWritable("dest", copy.dest()));
  SADDLE_ASSIGN_OR_RETURN(uint64_t count, countOf(copy.extent()));
  SADDLE_RETURN_IF_ERROR(
      checkDim("source", copy.source(), 0, count, nameOf(copy.extent())));
  const Slice &source = slice(copy.source()), &dest = slice(copy.dest());
  bool same = source.dtype() == dest.dtype() &&
              std::equal(source.shape()->begin(), source.shape()->end(),
                         dest.shape()->begin(), dest.shape()->end());
  if (!same)
    return makeError(
        StatusCode::DataLoss, "the source is %s %s, but the dest is %s %s",
        dtypeName(source.dtype()), formatDims(*source.shape()).c_str(),
        dtypeName(dest.dtype()), formatDims(*dest.shape()).c_str());
  const Slice &first = source.offset() < dest.offset() ? source : dest;
  const Slice &second = &first == &source ? dest : source;
  if (first.arena() == second.arena() &&
      second.offset() - first.offset() < spanBytes(first))
    return makeError(StatusCode::DataLoss,
                     "source and dest (slices %u and %u) share bytes",
                     copy.source(), copy.dest());
  return Status();
}

Status CommandChecker::check(const Command &command) {
  if (command.group() > engine.fusions()->size())
    return makeError(StatusCode::DataLoss,
                     "fusion group %u does not exist, there are %u",
                     command.group(), engine.fusions()->size());
  // The FlatBuffers verifier lets unknown union members pass.
  switch (command.action_type()) {
  case Action::Launch:
    return checkLaunch(*command.action_as_Launch());
  case Action::Collective:
    return prefix("collective",
                  checkCollective(*command.action_as_Collective()));
  case Action::Copy:
    return prefix("copy", checkCopy(*command.action_as_Copy()));
  case Action::NONE:
    break;
  }
  return makeError(StatusCode::DataLoss, "unknown action %u",
                   unsigned(command.action_type()));
}

} // namespace

Status validateCommand(const Engine &engine, const Program &program,
                       const Entry &entry, const Command &command) {
  return CommandChecker(engine, program, entry).check(command);
}

} // namespace saddle::engine
