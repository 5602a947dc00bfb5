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
  Operations operationsOf(const Launch &launch) const;
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
  /// Pairs of a token of the batch and one that it attends to.
  uint64_t attendedPairs() const;
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

uint64_t Traffic::attendedPairs() const {
  uint64_t pairs = 0;
  for (int32_t position : batch.positions)
    pairs += uint64_t(position) + 1;
  return pairs;
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
  return {choices->held, hit, double(choices->held) * (1 - missed),
          double(counts.of(choices->extent)) * double(choices->each) *
              double(choices->held) / all};
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

Chain chainOf(const Engine &engine, const Command &command) {
  Chain result;
  uint32_t kernel = 0; // its index and one
  if (const Launch *launch = command.action_as_Launch()) {
    kernel = launch->kernel() + 1;
    result.steps = ops::Body::of(*engine.kernels()->Get(kernel - 1),
                                 launch->operands()->size())
                       ->steps()
                       .size();
  }
  if (const Collective *collective = command.action_as_Collective())
    kernel = collective->kernel();
  else if (const Transfer *transfer = command.action_as_Transfer())
    kernel = transfer->kernel();
  else if (const Copy *copy = command.action_as_Copy())
    kernel = copy->kernel();
  if (kernel == 0)
    return result;
  const auto *functions = engine.kernels()->Get(kernel - 1)->functions();
  result.functions = functions ? functions->size() : 0;
  return result;
}

/// Two floats of each row, in a packet.
static constexpr uint64_t kRowNumbersBytes = 8;

Exchange exchangeOf(const Engine &engine, const Entry &entry,
                    const Command &command, const backend::RowCounts &counts) {
  auto ranksOf = [&](uint32_t partition) {
    return engine.rank_groups()->Get(partition)->size();
  };
  if (const Launch *launch = command.action_as_Launch())
    return launch->groups() == 0
               ? Exchange{}
               : Exchange{Exchange::Rows, ranksOf(launch->groups() - 1),
                          counts.of(launch->extent()) * kRowNumbersBytes};
  const Collective *collective = command.action_as_Collective();
  if (!collective)
    return {};
  const backend::ReplicaBatch noTokens;
  const Routing noChoices;
  Traffic traffic(engine, entry, counts, noTokens, noChoices);
  uint64_t in = traffic.rows(collective->input(), collective->extent());
  uint64_t out =
      traffic.rows(collective->output(), engine::outputExtent(*collective));
  Exchange::Kind kind = Exchange::Sum;
  if (collective->kind() == CollectiveKind::ALL_GATHER)
    kind = Exchange::Gather;
  else if (collective->kind() == CollectiveKind::REDUCE_SCATTER_SUM)
    kind = Exchange::Scatter;
  return {kind, ranksOf(collective->groups()), std::max(in, out)};
}

Operations Traffic::operationsOf(const Launch &launch) const {
  const double count = double(counts.of(launch.extent()));
  const auto &operands = *launch.operands();
  const ops::Body body =
      *ops::Body::of(*engine.kernels()->Get(launch.kernel()), operands.size());
  // Of one row of an operand of a step, which may be a temporary.
  auto elements = [&](uint32_t index) {
    if (index >= operands.size())
      return double(body.temporary(index - operands.size(), 1).shape[1]);
    const Slice &slice = *entry.slices()->Get(operands.Get(index));
    double product = 1;
    for (uint32_t i = 1; i < slice.shape()->size(); ++i)
      product *= double(slice.shape()->Get(i));
    return product;
  };
  Operations result;
  for (const ops::Step &step : body.steps())
    for (size_t i = 0; i < step.operands.size(); ++i) {
      const ops::Operand &operand = step.definitions[i];
      const uint32_t index = step.operands[i];
      if (index >= operands.size() || operand.companion)
        continue;
      const Slice &slice = *entry.slices()->Get(operands.Get(index));
      double products = 0;
      if (operand.traffic == ops::Traffic::Context)
        // Of each query head with keys, or of weights with values.
        products = double(attendedPairs()) * elements(step.operands[0]);
      else if (operand.traffic == ops::Traffic::Chosen)
        products = routing.pairs * elements(index) *
                   double(operand.encoding.perElement);
      else if (operand.role == ops::Role::Weight && slice.shape()->size() == 2)
        products = count * double(slice.shape()->Get(0)) * elements(index) *
                   double(operand.encoding.perElement);
      if (operand.traffic == ops::Traffic::Lookups)
        products = 0; // rows are fetched
      result.all += 2 * products;
      if (slice.dtype() == DType::F8E4M3 && operand.role == ops::Role::Weight)
        result.e4m3 += 2 * products;
    }
  return result;
}

Operations operationsOf(const Engine &engine, const Entry &entry,
                        const Command &command,
                        const backend::RowCounts &counts,
                        const backend::ReplicaBatch &batch,
                        const Routing &routing) {
  const Launch *launch = command.action_as_Launch();
  return launch ? Traffic(engine, entry, counts, batch, routing)
                      .operationsOf(*launch)
                : Operations{};
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
