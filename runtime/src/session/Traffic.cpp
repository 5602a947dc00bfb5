#include "runtime/src/session/Traffic.h"

#include "runtime/ops/Body.h"
#include "runtime/src/backend/Choices.h"
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
          const backend::RowCounts &counts, const backend::ReplicaBatch &batch,
          const Routing &routing)
      : engine(engine), entry(entry), counts(counts), batch(batch),
        routing(routing) {}

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
  /// Tokens that the batch's sequences hold, its own included.
  uint64_t heldTokens() const;
  /// Sequences of the batch.
  uint64_t heldSequences() const;

  const Engine &engine;
  const Entry &entry;
  const backend::RowCounts &counts;
  const backend::ReplicaBatch &batch;
  const Routing &routing;
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

Routing routingOf(const Engine &engine, const Entry &entry,
                  const Command &command, const backend::RowCounts &counts,
                  uint32_t rank, uint64_t hit) {
  std::optional<backend::Choices> choices =
      backend::choicesOf(engine, entry, command, rank);
  if (!choices)
    return {};
  double all = double(choices->held) * engine.topology()->ep();
  double chosen = std::min(1.0, double(choices->each) / all);
  double missed = std::pow(1 - chosen, double(counts.of(choices->extent)));
  return {choices->held, hit, double(choices->held) * (1 - missed)};
}

uint64_t Traffic::of(const Launch &launch) const {
  const uint64_t count = counts.of(launch.extent());
  if (count == 0)
    return 0;
  const auto &operands = *launch.operands();
  // The engine has been validated.
  const ops::Body body =
      *ops::Body::of(*engine.kernels()->Get(launch.kernel()), operands.size());
  uint64_t bytes = 0;
  for (uint32_t i = 0; i < operands.size(); ++i) {
    uint32_t slice = operands.Get(i);
    switch (body.definition(i).traffic) {
    case ops::Traffic::Rows:
      bytes += rows(slice, launch.extent());
      break;
    case ops::Traffic::Whole:
      bytes += wholeBytes(slice);
      break;
    case ops::Traffic::Chosen:
      bytes += routing.hit * rowBytes(slice);
      break;
    case ops::Traffic::Lookups:
      bytes += count * rowBytes(slice);
      break;
    case ops::Traffic::Tokens: // of a cache, [pages, page, heads, dim]
      bytes += count * (rowBytes(slice) / dim(slice, 1));
      break;
    case ops::Traffic::Context:
      bytes += heldTokens() * (rowBytes(slice) / dim(slice, 1));
      break;
    case ops::Traffic::Slots:
      bytes += 2 * heldSequences() * rowBytes(slice);
      break;
    case ops::Traffic::Blocks:
      bytes += heldTokens() / engine.limits()->page_size() * sizeof(int32_t);
      break;
    }
  }
  return bytes;
}

uint64_t bytesOf(const Engine &engine, const Entry &entry,
                 const Command &command, const backend::RowCounts &counts,
                 const backend::ReplicaBatch &batch, const Routing &routing) {
  Traffic traffic(engine, entry, counts, batch, routing);
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
