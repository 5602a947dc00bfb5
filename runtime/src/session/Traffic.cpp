#include "runtime/src/session/Traffic.h"

#include "runtime/src/base/DType.h"

#include <algorithm>
#include <cmath>

namespace saddle::session {

using namespace schema;
using schema::Engine; // not saddle::Engine

namespace {

class Traffic {
public:
  Traffic(const Engine &engine, const Entry &entry,
          const backend::RowCounts &counts, const backend::ReplicaBatch &batch)
      : engine(engine), entry(entry), counts(counts), batch(batch) {}

  uint64_t of(const Launch &launch) const;
  uint64_t of(const Collective &collective) const {
    return rows(collective.input(), collective.extent()) +
           rows(collective.output(), engine::outputExtent(collective));
  }
  /// The first rows of a slice.
  uint64_t rows(uint32_t slice, Extent extent) const {
    return std::min(counts.of(extent), dim(slice, 0)) * rowBytes(slice);
  }

private:
  uint64_t dim(uint32_t slice, uint32_t index) const {
    return entry.slices()->Get(slice)->shape()->Get(index);
  }
  /// Of one entry of dimension 0.
  uint64_t rowBytes(uint32_t slice) const;
  uint64_t wholeBytes(uint32_t slice) const {
    return dim(slice, 0) * rowBytes(slice);
  }
  bool isIn(ArenaKind kind, uint32_t slice) const {
    uint32_t arena = entry.slices()->Get(slice)->arena();
    return engine.arenas()->Get(arena)->kind() == kind;
  }
  double expertShare(const Launch &launch) const;
  /// Tokens that the batch's sequences hold, its own included.
  uint64_t heldTokens() const;
  /// Sequences of the batch.
  uint64_t heldSequences() const;

  const Engine &engine;
  const Entry &entry;
  const backend::RowCounts &counts;
  const backend::ReplicaBatch &batch;
};

} // namespace

uint64_t Traffic::rowBytes(uint32_t index) const {
  const Slice &slice = *entry.slices()->Get(index);
  uint64_t bytes = elementBytes(slice.dtype());
  for (uint32_t i = 1; i < slice.shape()->size(); ++i)
    bytes *= slice.shape()->Get(i);
  return bytes;
}

uint64_t Traffic::heldTokens() const {
  // Tokens of a sequence are neighbours and in order.
  uint64_t held = 0;
  for (size_t i = 0; i < batch.sequences.size(); ++i)
    if (i + 1 == batch.sequences.size() ||
        batch.sequences[i + 1] != batch.sequences[i])
      held += uint64_t(batch.positions[i]) + 1;
  return held;
}

uint64_t Traffic::heldSequences() const {
  uint64_t held = 0;
  for (size_t i = 0; i < batch.sequences.size(); ++i)
    held += i == 0 || batch.sequences[i] != batch.sequences[i - 1];
  return held;
}

/// Of the experts here, how many some token chooses: x, weights [n, k],
/// experts, then the experts' own operands.
double Traffic::expertShare(const Launch &launch) const {
  const auto &operands = *launch.operands();
  uint32_t choices = operands.Get(1), stack = operands.Get(3);
  double all = double(dim(stack, 0)) * engine.topology()->ep();
  double chosen = std::min(1.0, double(dim(choices, 1)) / all);
  return 1 - std::pow(1 - chosen, double(counts.of(launch.extent())));
}

uint64_t Traffic::of(const Launch &launch) const {
  const auto &operands = *launch.operands();
  std::string op = engine.kernels()->Get(launch.kernel())->op()->str();
  if (counts.of(launch.extent()) == 0)
    return 0;
  bool isExperts = op == "experts" || op == "experts_scaled";
  uint64_t bytes = 0, count = counts.of(launch.extent());
  for (uint32_t i = 0; i < operands.size(); ++i) {
    uint32_t slice = operands.Get(i);
    bool isLookedUp =
        (op == "embedding" && i == 1) || (op == "select_rows" && i == 0);
    if (isIn(ArenaKind::PAGES, slice)) // [page, tokens, heads, dim]
      bytes += (op == "attention" ? heldTokens() : count) *
               (rowBytes(slice) / dim(slice, 1));
    else if (isIn(ArenaKind::SEQUENCES, slice)) // once in and once out
      bytes += 2 * heldSequences() * rowBytes(slice);
    else if (op == "attention" && i == 5) // the block table
      bytes += heldTokens() / engine.limits()->page_size() * sizeof(int32_t);
    else if (isLookedUp)
      bytes += count * rowBytes(slice);
    else if (isExperts && i >= 3 && isIn(ArenaKind::CONSTANT, slice))
      bytes += uint64_t(expertShare(launch) * double(wholeBytes(slice)));
    else if (isIn(ArenaKind::CONSTANT, slice))
      bytes += wholeBytes(slice);
    else
      bytes += rows(slice, launch.extent());
  }
  return bytes;
}

uint64_t bytesOf(const Engine &engine, const Entry &entry,
                 const Command &command, const backend::RowCounts &counts,
                 const backend::ReplicaBatch &batch) {
  Traffic traffic(engine, entry, counts, batch);
  if (const Launch *launch = command.action_as_Launch())
    return traffic.of(*launch);
  if (const Collective *collective = command.action_as_Collective())
    return traffic.of(*collective);
  if (const Transfer *transfer = command.action_as_Transfer())
    return traffic.rows(transfer->slice(), transfer->extent());
  const Copy *copy = command.action_as_Copy();
  return traffic.rows(copy->source(), copy->extent()) +
         traffic.rows(copy->dest(), copy->extent());
}

} // namespace saddle::session
