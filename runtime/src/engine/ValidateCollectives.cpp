// Collectives against their rank groups and the ranks' run-time counts;
// transfers against the pipeline.

#include "runtime/src/base/DType.h"
#include "runtime/src/engine/CommandCheck.h"
#include "runtime/src/engine/CommandNames.h"
#include "runtime/src/engine/Extents.h"

#include <iterator>

namespace saddle::engine {

using namespace schema;
using schema::Engine; // not saddle::Engine

namespace {

/// Members must contribute equal counts when nothing says whose rows are whose.
Status checkEqualCounts(const RankGroups &groups, const GroupFacts &facts,
                        Extent extent) {
  bool fits = extent == Extent::TOKEN_BLOCK || extent == Extent::TOKEN_SHARE
                  ? groups.size() == 1
              : extent == Extent::TOKENS || extent == Extent::ROWS
                  ? facts.inOneReplica
                  : true;
  if (fits)
    return Status();
  return makeError(StatusCode::DataLoss,
                   "the members of a group of \"%s\" have different counts of "
                   "%s",
                   groups.axes()->c_str(), EnumNameExtent(extent));
}

/// The groups and extents that a layout goes with. `small` is a rank's own
/// rows, `large` all the group's.
Status checkLayout(const Engine &engine, const RankGroups &groups,
                   const GroupFacts &facts, RowLayout layout, Extent small,
                   Extent large) {
  const Topology &topology = *engine.topology();
  if (layout < RowLayout::BLOCKS || layout > RowLayout::SHARES)
    return makeError(StatusCode::DataLoss,
                     "dimension 0 needs layout BLOCKS, PACKED, PADDED or "
                     "SHARES, "
                     "found %u",
                     unsigned(layout));
  bool shares = layout == RowLayout::SHARES;
  bool blocks = layout == RowLayout::BLOCKS || shares;
  Extent part = shares ? Extent::TOKEN_SHARE : Extent::TOKEN_BLOCK;
  bool extentsFit =
      blocks ? small == part && large == Extent::TOKENS
             : (small == Extent::TOKENS && large == Extent::ALL_TOKENS) ||
                   (small == Extent::ROWS && large == Extent::ALL_ROWS);
  if (!extentsFit)
    return makeError(StatusCode::DataLoss, "layout %s joins %s, not %s to %s",
                     EnumNameRowLayout(layout),
                     shares   ? "TOKEN_SHARE to TOKENS"
                     : blocks ? "TOKEN_BLOCK to TOKENS"
                              : "TOKENS to ALL_TOKENS or ROWS to ALL_ROWS",
                     EnumNameExtent(small), EnumNameExtent(large));
  uint32_t size = blocks ? attentionWidth(topology) : topology.dp();
  bool groupsFit = groups.size() == size &&
                   (blocks ? facts.areReplicas : facts.crossReplicas);
  if (groupsFit)
    return Status();
  return makeError(StatusCode::DataLoss,
                   "layout %s needs groups of %s (%u ranks each), which those "
                   "of \"%s\" are not",
                   EnumNameRowLayout(layout),
                   blocks ? "the ranks of one attention replica, in order"
                          : "one rank of each attention replica, in order",
                   size, groups.axes()->c_str());
}

Status checkShapes(const CommandContext &context, const Collective &collective,
                   uint64_t groupSize) {
  const Slice &input = context.slice(collective.input()),
              &output = context.slice(collective.output());
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
  if (!whole && dim >= from.size())
    return makeError(StatusCode::DataLoss,
                     "dimension %u is split, but the input has %u", dim,
                     from.size());
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

/// Only a sum may work in place: elsewhere one member's output would fall on
/// another's input.
Status checkAliasing(const CommandContext &context,
                     const Collective &collective) {
  uint32_t input = collective.input(), output = collective.output();
  const Slice &a = context.slice(input), &b = context.slice(output);
  bool inPlace = collective.kind() == CollectiveKind::ALL_REDUCE_SUM &&
                 a.offset() == b.offset() &&
                 std::equal(a.strides()->begin(), a.strides()->end(),
                            b.strides()->begin(), b.strides()->end());
  if (inPlace || !context.overlap(input, output))
    return Status();
  return makeError(StatusCode::DataLoss,
                   "input and output (slices %u and %u) share bytes", input,
                   output);
}

} // namespace

Status validateCollective(const CommandContext &context,
                          const Collective &collective) {
  const Engine &engine = context.engine;
  if (collective.kind() < CollectiveKind::ALL_REDUCE_SUM ||
      collective.kind() > CollectiveKind::REDUCE_SCATTER_SUM)
    return makeError(StatusCode::DataLoss, "unknown collective kind %u",
                     unsigned(collective.kind()));
  if (collective.groups() >= engine.rank_groups()->size())
    return makeError(StatusCode::DataLoss,
                     "rank groups %u do not exist, there are %u",
                     collective.groups(), engine.rank_groups()->size());
  const RankGroups &groups = *engine.rank_groups()->Get(collective.groups());
  const GroupFacts &facts = context.groups[collective.groups()];
  Extent from = collective.extent(), to = outputExtent(collective);
  SADDLE_RETURN_IF_ERROR(context.checkRows("input", collective.input(), from));
  SADDLE_RETURN_IF_ERROR(context.checkRows("output", collective.output(), to));
  SADDLE_RETURN_IF_ERROR(context.checkWritable("output", collective.output()));
  if (isAlongRows(collective)) {
    if (collective.kind() == CollectiveKind::REDUCE_SCATTER_SUM)
      std::swap(from, to);
    SADDLE_RETURN_IF_ERROR(
        checkLayout(engine, groups, facts, collective.layout(), from, to));
  } else {
    if (collective.layout() != RowLayout::UNKNOWN || from != to)
      return makeError(StatusCode::DataLoss,
                       "extents %s and %s and layout %u, but rows are neither "
                       "gathered nor scattered",
                       EnumNameExtent(from), EnumNameExtent(to),
                       unsigned(collective.layout()));
    SADDLE_RETURN_IF_ERROR(checkEqualCounts(groups, facts, from));
  }
  SADDLE_RETURN_IF_ERROR(checkShapes(context, collective, groups.size()));
  SADDLE_RETURN_IF_ERROR(checkAliasing(context, collective));
  SADDLE_RETURN_IF_ERROR(context.checkData("input", collective.input()));
  SADDLE_RETURN_IF_ERROR(
      validateRunner(context, collective.kernel(), opOf(collective.kind())));
  return validateMemory(context,
                        {collective.workspace(), collective.exchange()},
                        {collective.input(), collective.output()});
}

std::vector<GroupFacts> groupFactsOf(const Engine &engine) {
  const Topology &topology = *engine.topology();
  std::vector<GroupFacts> all;
  for (const RankGroups *groups : *engine.rank_groups()) {
    GroupFacts facts;
    for (uint32_t i = 0; i < groups->ranks()->size(); ++i) {
      uint32_t index = i % groups->size();
      Coordinates own = coordinatesOf(topology, groups->ranks()->Get(i)),
                  first =
                      coordinatesOf(topology, groups->ranks()->Get(i - index));
      facts.inOneReplica &= own.replica == first.replica;
      facts.areReplicas &= own.replica == first.replica && own.member == index;
      facts.crossReplicas &= own.replica == index;
    }
    all.push_back(facts);
  }
  return all;
}

Status validateLayouts(const Entry &entry) {
  constexpr Extent kShared[] = {Extent::ALL_TOKENS, Extent::ALL_ROWS};
  const RowLayout firsts[] = {layoutOf(entry, kShared[0]),
                              layoutOf(entry, kShared[1])};
  for (uint32_t i = 0; i < entry.commands()->size(); ++i) {
    const Command &command = *entry.commands()->Get(i);
    const Collective *collective = command.action_as_Collective();
    if (!collective || !isAlongRows(*collective))
      continue;
    for (size_t j = 0; j < std::size(kShared); ++j) {
      Extent all = kShared[j];
      RowLayout first = firsts[j];
      bool involved =
          collective->extent() == all || outputExtent(*collective) == all;
      if (involved && collective->layout() != first)
        return makeError(StatusCode::DataLoss,
                         "command %u (%s): %s is %s here, but %s in an earlier "
                         "command",
                         i, command.place()->c_str(), EnumNameExtent(all),
                         EnumNameRowLayout(collective->layout()),
                         EnumNameRowLayout(first));
    }
  }
  return Status();
}

Status validateTransfer(const CommandContext &context,
                        const Transfer &transfer) {
  uint32_t stage = context.program.stage(),
           stages = context.engine.topology()->pp();
  if (transfer.kind() != TransferKind::SEND &&
      transfer.kind() != TransferKind::RECEIVE)
    return makeError(StatusCode::DataLoss, "unknown transfer kind %u",
                     unsigned(transfer.kind()));
  bool sends = transfer.kind() == TransferKind::SEND;
  if (sends ? stage + 1 == stages : stage == 0)
    return makeError(StatusCode::DataLoss, "stage %u of %u has no stage to %s",
                     stage, stages, sends ? "send to" : "receive from");
  SADDLE_RETURN_IF_ERROR(
      context.checkRows("slice", transfer.slice(), transfer.extent()));
  SADDLE_RETURN_IF_ERROR(
      sends ? context.checkData("slice", transfer.slice())
            : context.checkWritable("slice", transfer.slice()));
  SADDLE_RETURN_IF_ERROR(
      validateRunner(context, transfer.kernel(), opOf(transfer.kind())));
  return validateMemory(context, {transfer.workspace(), transfer.exchange()},
                        {transfer.slice()});
}

} // namespace saddle::engine
