// Recipes: every piece stays inside its source on every rank, and the pieces
// of a weight cover each of its elements exactly once.

#include "runtime/src/base/DType.h"
#include "runtime/src/engine/Engine.h"
#include "runtime/src/engine/Programs.h"
#include "runtime/src/engine/SourceMatrix.h"
#include "runtime/src/engine/Validate.h"

#include <algorithm>
#include <map>
#include <tuple>
#include <unordered_set>
#include <vector>

namespace saddle::engine {

using namespace schema;
using schema::Engine; // not saddle::Engine

namespace {

/// A weight as [stack, rows, cols].
struct Box {
  uint64_t stack = 1, rows = 1, cols = 1;
};

template <typename Dims>
Box boxOf(const Dims &shape) {
  Box box;
  uint32_t rank = shape.size();
  if (rank >= 1)
    box.cols = shape.Get(rank - 1);
  if (rank >= 2)
    box.rows = shape.Get(rank - 2);
  if (rank >= 3)
    box.stack = shape.Get(rank - 3);
  return box;
}

bool widensExactly(DType from, DType to) {
  // E8M0 has no dtype of its own in most files: the same bits.
  return from == to || (from == DType::U8 && to == DType::F8E8M0) ||
         (to == DType::F32 &&
          (from == DType::BF16 || from == DType::F16 || from == DType::F8E4M3));
}

/// Checks that `count` destination entries from `start` on read cells inside
/// `extent`. Entry j reads cell (start + j * destBlock) / sourceBlock.
Status checkAxis(const char *axis, uint64_t start, uint64_t count,
                 uint64_t destBlock, uint64_t sourceBlock, uint64_t extent,
                 uint32_t rank) {
  uint64_t last;
  bool inside = !__builtin_mul_overflow(count - 1, destBlock, &last) &&
                !__builtin_add_overflow(start, last, &last) &&
                last / sourceBlock < extent;
  if (inside)
    return Status();
  return makeError(StatusCode::DataLoss,
                   "on rank %u, %" PRIu64 " %s from %" PRIu64
                   " on (blocks of %" PRIu64 " from blocks of %" PRIu64
                   ") reach beyond the source's %" PRIu64,
                   rank, count, axis, start, destBlock, sourceBlock, extent);
}

/// A rank of those at which `value` is largest. Values repeat and rise in
/// between, so the largest stands at the last rank or in front of a return to
/// the base.
uint32_t rankOfLargest(const RankValue *value, StageRanks ranks) {
  if (!value || value->step() == 0 || value->modulus() == 1)
    return ranks.first; // all are equal
  uint32_t last = ranks.first + ranks.count - 1;
  uint64_t divisor = value->divisor(), modulus = value->modulus();
  uint64_t quotient = last / divisor, rest = quotient % modulus;
  if (rest == modulus - 1 || quotient < rest + 1)
    return last;
  // The last rank whose quotient is one less than a multiple of the modulus.
  uint64_t before = (quotient - rest) * divisor - 1;
  return before >= ranks.first ? uint32_t(before) : last;
}

Status checkInsideSource(const Piece &piece, const Source &source,
                         StageRanks ranks) {
  SourceMatrix box(source);
  // What fits at the largest start fits at all.
  uint32_t rank = rankOfLargest(piece.stack_start(), ranks);
  SADDLE_RETURN_IF_ERROR(checkAxis("stack members",
                                   evaluate(piece.stack_start(), rank),
                                   piece.stack_count(), 1, 1, box.stack, rank));
  rank = rankOfLargest(piece.row_start(), ranks);
  SADDLE_RETURN_IF_ERROR(checkAxis("rows", evaluate(piece.row_start(), rank),
                                   piece.rows(), piece.dest_block_rows(),
                                   piece.source_block_rows(), box.rows, rank));
  rank = rankOfLargest(piece.col_start(), ranks);
  return checkAxis("columns", evaluate(piece.col_start(), rank), piece.cols(),
                   piece.dest_block_cols(), piece.source_block_cols(), box.cols,
                   rank);
}

Status validatePiece(const Engine &engine, const Slice &dest,
                     const Piece &piece, StageRanks ranks) {
  if (piece.source() >= engine.sources()->size())
    return makeError(StatusCode::DataLoss,
                     "source %u does not exist, there are %u", piece.source(),
                     engine.sources()->size());
  const Source &source = *engine.sources()->Get(piece.source());
  if (source.ignored_reason())
    return makeError(StatusCode::DataLoss, "reads the ignored source %s",
                     quoted(source).c_str());
  DType from = SourceMatrix(source).dtype;
  if (!widensExactly(from, dest.dtype()))
    return makeError(StatusCode::DataLoss,
                     "source %s is %s, but the weight is %s; expected the same "
                     "dtype, or f32 from a narrower float",
                     quoted(source).c_str(), dtypeName(from),
                     dtypeName(dest.dtype()));
  if (source.over() != 0 && dest.dtype() != DType::F32)
    return makeError(StatusCode::DataLoss,
                     "source %s is divided by %u, but the weight is %s, "
                     "expected f32",
                     quoted(source).c_str(), source.over(),
                     dtypeName(dest.dtype()));
  if (piece.rows() == 0 || piece.cols() == 0 || piece.stack_count() == 0)
    return makeError(StatusCode::DataLoss,
                     "has %" PRIu64 " rows, %" PRIu64 " columns and %" PRIu64
                     " stack members, expected 1 or more",
                     piece.rows(), piece.cols(), piece.stack_count());
  if (piece.source_block_rows() == 0 || piece.source_block_cols() == 0 ||
      piece.dest_block_rows() == 0 || piece.dest_block_cols() == 0)
    return makeError(StatusCode::DataLoss,
                     "has a block size of 0, expected 1 or more");
  for (const RankValue *value :
       {piece.stack_start(), piece.row_start(), piece.col_start()})
    SADDLE_RETURN_IF_ERROR(
        validateRankValue(value, uint64_t(ranks.first) + ranks.count));
  Box box = boxOf(*dest.shape());
  if (piece.stack_count() != box.stack)
    return makeError(StatusCode::DataLoss,
                     "has %" PRIu64
                     " stack members, but the weight has %" PRIu64,
                     piece.stack_count(), box.stack);
  if (piece.dest_row() > box.rows ||
      piece.rows() > box.rows - piece.dest_row() ||
      piece.dest_col() > box.cols || piece.cols() > box.cols - piece.dest_col())
    return makeError(StatusCode::DataLoss,
                     "%" PRIu64 " x %" PRIu64 " entries at (%" PRIu64
                     ", %" PRIu64 ") reach beyond the weight's %" PRIu64
                     " x %" PRIu64,
                     piece.rows(), piece.cols(), piece.dest_row(),
                     piece.dest_col(), box.rows, box.cols);
  return prefix("source " + quoted(source),
                checkInsideSource(piece, source, ranks));
}

/// Sweeps over the rows: at each row the active pieces must not share columns.
/// Without overlap, equal areas mean full cover.
Status checkCover(const Weight &weight) {
  struct Event {
    uint64_t row;
    bool begins; // ends sort before begins
    const Piece *piece;
  };
  std::vector<Event> events;
  unsigned __int128 area = 0;
  for (const Piece *piece : *weight.pieces()) {
    events.push_back({piece->dest_row(), true, piece});
    events.push_back({piece->dest_row() + piece->rows(), false, piece});
    area += (unsigned __int128)piece->rows() * piece->cols();
  }
  std::sort(events.begin(), events.end(), [](const Event &a, const Event &b) {
    return a.row != b.row ? a.row < b.row : a.begins < b.begins;
  });
  std::map<uint64_t, uint64_t> active; // first column -> column behind the last
  for (const Event &event : events) {
    uint64_t begin = event.piece->dest_col(), end = begin + event.piece->cols();
    if (!event.begins) {
      active.erase(begin);
      continue;
    }
    auto next = active.lower_bound(begin);
    bool overlaps = (next != active.end() && next->first < end) ||
                    (next != active.begin() && std::prev(next)->second > begin);
    if (overlaps)
      return makeError(
          StatusCode::DataLoss,
          "two pieces write the element (%" PRIu64 ", %" PRIu64 ")", event.row,
          next != active.end() && next->first < end ? next->first : begin);
    active.emplace(begin, end);
  }
  Box box = boxOf(*weight.slice()->shape());
  if (area != (unsigned __int128)box.rows * box.cols)
    return makeError(StatusCode::DataLoss,
                     "the pieces do not cover all of its %" PRIu64 " x %" PRIu64
                     " elements",
                     box.rows, box.cols);
  return Status();
}

Status validateWeight(const Engine &engine, const Weight &weight,
                      StageRanks ranks) {
  const Slice &slice = *weight.slice();
  if (weight.layout() != Layout::AS_STORED)
    return makeError(StatusCode::DataLoss,
                     "has layout %u; this runtime lays weights as they are "
                     "stored, which is 0",
                     unsigned(weight.layout()));
  SADDLE_RETURN_IF_ERROR(validateSlice(engine, slice));
  const Arena &arena = *engine.arenas()->Get(slice.arena());
  if (arena.kind() != ArenaKind::CONSTANT)
    return makeError(StatusCode::DataLoss,
                     "lies in arena %s of kind %s, expected CONSTANT",
                     quoted(arena).c_str(), EnumNameArenaKind(arena.kind()));
  if (slice.shape()->size() > 3)
    return makeError(StatusCode::DataLoss,
                     "shape %s has %u dimensions, expected at most 3",
                     formatDims(*slice.shape()).c_str(), slice.shape()->size());
  for (uint32_t i = 0; i < weight.pieces()->size(); ++i)
    SADDLE_RETURN_IF_ERROR(
        prefix("piece " + std::to_string(i),
               validatePiece(engine, slice, *weight.pieces()->Get(i), ranks)));
  return checkCover(weight);
}

/// Weights are written once each; two in the same bytes would destroy one.
Status checkNoOverlap(std::vector<const Weight *> weights) {
  std::sort(weights.begin(), weights.end(),
            [](const Weight *a, const Weight *b) {
              const Slice &x = *a->slice(), &y = *b->slice();
              return x.arena() != y.arena() ? x.arena() < y.arena()
                                            : x.offset() < y.offset();
            });
  for (size_t i = 1; i < weights.size(); ++i) {
    const Slice &before = *weights[i - 1]->slice(),
                &slice = *weights[i]->slice();
    if (before.arena() == slice.arena() &&
        slice.offset() - before.offset() < spanBytes(before))
      return makeError(StatusCode::DataLoss,
                       "weight %s at offset %" PRIu64
                       " begins inside weight %s, which has %" PRIu64
                       " bytes at offset %" PRIu64,
                       quoted(*weights[i]).c_str(), slice.offset(),
                       quoted(*weights[i - 1]).c_str(), spanBytes(before),
                       before.offset());
  }
  return Status();
}

template <typename T>
bool isSame(const flatbuffers::Vector<T> &a, const flatbuffers::Vector<T> &b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end());
}

bool isSame(const RankValue *a, const RankValue *b) {
  auto fields = [](const RankValue *value) {
    return value
               ? std::tuple(value->base(), value->divisor(), value->modulus(),
                            value->step())
               : std::tuple<uint64_t, uint64_t, uint64_t, uint64_t>(0, 1, 1, 0);
  };
  return fields(a) == fields(b);
}

bool isSame(const Piece &a, const Piece &b) {
  auto fields = [](const Piece &piece) {
    return std::tuple(piece.source(), piece.stack_count(), piece.rows(),
                      piece.cols(), piece.dest_row(), piece.dest_col(),
                      piece.source_block_rows(), piece.source_block_cols(),
                      piece.dest_block_rows(), piece.dest_block_cols());
  };
  return fields(a) == fields(b) && isSame(a.stack_start(), b.stack_start()) &&
         isSame(a.row_start(), b.row_start()) &&
         isSame(a.col_start(), b.col_start());
}

/// Whether two weights at one place are the same bytes: shape and recipe.
bool isSame(const Weight &a, const Weight &b) {
  const Slice &x = *a.slice(), &y = *b.slice();
  if (x.dtype() != y.dtype() || !isSame(*x.shape(), *y.shape()) ||
      !isSame(*x.strides(), *y.strides()) ||
      a.pieces()->size() != b.pieces()->size())
    return false;
  for (uint32_t i = 0; i < a.pieces()->size(); ++i)
    if (!isSame(*a.pieces()->Get(i), *b.pieces()->Get(i)))
      return false;
  return true;
}

} // namespace

Status validateWeights(const Engine &engine, const Program &program) {
  std::unordered_set<std::string> names;
  StageRanks ranks = ranksOf(engine, program);
  for (const Weight *weight : *program.weights()) {
    if (!names.insert(weight->name()->str()).second)
      return makeError(StatusCode::DataLoss, "two weights are named %s",
                       quoted(*weight).c_str());
    SADDLE_RETURN_IF_ERROR(prefix("weight " + quoted(*weight),
                                  validateWeight(engine, *weight, ranks)));
  }
  return checkNoOverlap({program.weights()->begin(), program.weights()->end()});
}

Status validateSharedWeights(const Engine &engine) {
  for (uint32_t stage = 0; stage < engine.topology()->pp(); ++stage) {
    std::vector<const Program *> programs = programsOf(engine, stage);
    if (programs.size() == 1)
      continue;
    // One of those that are the same.
    std::map<std::pair<uint32_t, uint64_t>, const Weight *> places;
    std::vector<const Weight *> weights;
    for (const Program *program : programs)
      for (const Weight *weight : *program->weights()) {
        const Slice &slice = *weight->slice();
        auto [place, isNew] =
            places.insert({{slice.arena(), slice.offset()}, weight});
        if (isNew || !isSame(*place->second, *weight))
          weights.push_back(weight);
      }
    SADDLE_RETURN_IF_ERROR(prefix("stage " + std::to_string(stage),
                                  checkNoOverlap(std::move(weights))));
  }
  return Status();
}

Status validateSourcesAreRead(const Engine &engine) {
  std::vector<bool> read(engine.sources()->size());
  for (const Program *program : *engine.programs())
    for (const Weight *weight : *program->weights())
      for (const Piece *piece : *weight->pieces())
        read[piece->source()] = true;
  for (uint32_t i = 0; i < engine.sources()->size(); ++i) {
    const Source &source = *engine.sources()->Get(i);
    if (!read[i] && !source.ignored_reason())
      return makeError(StatusCode::DataLoss,
                       "source %s: no weight reads it, and no reason to ignore "
                       "it is given",
                       quoted(source).c_str());
  }
  return Status();
}

} // namespace saddle::engine
