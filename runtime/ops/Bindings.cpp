#include "runtime/ops/Bindings.h"

#include <algorithm>

namespace saddle::ops {

using schema::DType;
using schema::Extent;

static constexpr Output kLogits = {"logits", nullptr},
                        kCandidates = {"candidates", "--candidates"};

static const std::vector<Binding> &table() {
  constexpr Direction kIn = Direction::HostWrites, kOut = Direction::HostReads;
  // Token ids enter at the first stage, and rows leave at the last.
  static const std::vector<Binding> all = {
      {BindingId::Tokens,
       "tokens",
       kIn,
       DType::I32,
       {Dim::Tokens},
       Extent::TOKENS,
       Stages::First,
       nullptr},
      {BindingId::Positions,
       "positions",
       kIn,
       DType::I32,
       {Dim::Tokens},
       Extent::TOKENS,
       Stages::All,
       nullptr},
      {BindingId::Rows,
       "rows",
       kIn,
       DType::I32,
       {Dim::Rows},
       Extent::ROWS,
       Stages::Last,
       nullptr},
      {BindingId::Sequences,
       "sequences",
       kIn,
       DType::I32,
       {Dim::Tokens},
       Extent::TOKENS,
       Stages::All,
       nullptr},
      {BindingId::Slots,
       "slots",
       kIn,
       DType::I32,
       {Dim::Tokens},
       Extent::TOKENS,
       Stages::All,
       nullptr},
      {BindingId::BlockTable,
       "block_table",
       kIn,
       DType::I32,
       {Dim::Sequences, Dim::Pages},
       Extent::UNKNOWN,
       Stages::All,
       nullptr},
      {BindingId::Logits,
       "logits",
       kOut,
       DType::F32,
       {Dim::AllRows, Dim::Vocab},
       Extent::ALL_ROWS,
       Stages::Last,
       &kLogits},
      {BindingId::CandidateValues,
       "candidate_values",
       kOut,
       DType::F32,
       {Dim::AllRows, Dim::Candidates},
       Extent::ALL_ROWS,
       Stages::Last,
       &kCandidates},
      {BindingId::CandidateTokens,
       "candidate_tokens",
       kOut,
       DType::I32,
       {Dim::AllRows, Dim::Candidates},
       Extent::ALL_ROWS,
       Stages::Last,
       &kCandidates},
  };
  return all;
}

uint64_t Sizes::of(Dim dim) const {
  switch (dim) {
  case Dim::Tokens:
    return tokens;
  case Dim::Rows:
    return rows;
  case Dim::AllRows:
    return replicas * rows;
  case Dim::Sequences:
    return sequences;
  case Dim::Pages:
    return pages;
  case Dim::Vocab:
    return vocab;
  case Dim::Candidates:
    return candidates;
  }
  return 0;
}

bool Binding::isRequired(bool isMain, bool isFirstStage,
                         bool isLastStage) const {
  if (output && (output->option || !isMain))
    return false;
  return stages == Stages::All || (stages == Stages::First && isFirstStage) ||
         (stages == Stages::Last && isLastStage);
}

std::vector<uint64_t> Binding::shape(const Sizes &sizes) const {
  std::vector<uint64_t> shape;
  for (Dim dim : dims)
    shape.push_back(sizes.of(dim));
  return shape;
}

Span<const Binding> bindings() { return table(); }

Span<const Binding> outputs() {
  const std::vector<Binding> &all = table();
  auto first = std::find_if(all.begin(), all.end(),
                            [](const Binding &b) { return b.isOutput(); });
  return Span<const Binding>(all.data() + (first - all.begin()),
                             size_t(all.end() - first));
}

std::vector<const Binding *> partsOfOutput(std::string_view name) {
  std::vector<const Binding *> parts;
  for (const Binding &binding : outputs())
    if (name == binding.output->name)
      parts.push_back(&binding);
  return parts;
}

const Binding *findBinding(std::string_view name) {
  for (const Binding &binding : table())
    if (name == binding.name)
      return &binding;
  return nullptr;
}

} // namespace saddle::ops
