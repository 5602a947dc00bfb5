#include "runtime/src/weights/RecipeSource.h"

#include "runtime/src/base/Float.h"
#include "runtime/src/engine/Engine.h"
#include "runtime/src/engine/SourceMatrix.h"
#include "runtime/src/weights/Unpack.h"
#include "runtime/src/weights/WeightShape.h"

#include <algorithm>
#include <cstring>

namespace saddle::weights {

using schema::DType;

namespace {

/// Element `index` of `cells` as f32. Checkpoint bytes have no alignment.
float widen(const uint8_t *cells, DType dtype, uint64_t index) {
  if (dtype == DType::F8E4M3)
    return e4m3ToFloat(cells[index]);
  uint16_t bits;
  std::memcpy(&bits, cells + 2 * index, sizeof bits);
  return dtype == DType::BF16 ? bf16ToFloat(bits) : f16ToFloat(bits);
}

/// One row of a piece in columns: destination entry j takes cell
/// (start + j * destBlock) / sourceBlock.
struct ColumnMap {
  uint64_t start, destBlock, sourceBlock;

  uint64_t cell(uint64_t j) const {
    return (start + j * destBlock) / sourceBlock;
  }
  bool isPlain() const { return destBlock == 1 && sourceBlock == 1; }
};

/// Spreads cells, the first of which is column `map.cell(0)`, over `count`
/// destination entries.
void spreadCells(const uint8_t *cells, DType from, const ColumnMap &map,
                 uint64_t count, DType to, uint8_t *dest) {
  uint64_t first = map.cell(0), bytes = elementBytes(to);
  for (uint64_t j = 0; j < count; ++j) {
    uint64_t index = map.cell(j) - first;
    if (from == to) {
      std::memcpy(dest + j * bytes, cells + index * bytes, bytes);
      continue;
    }
    float value = widen(cells, from, index);
    std::memcpy(dest + j * bytes, &value, bytes);
  }
}

/// In place, of `count` floats.
void divide(uint8_t *floats, uint64_t count, float divisor) {
  for (uint64_t j = 0; j < count; ++j) {
    float value;
    std::memcpy(&value, floats + 4 * j, 4);
    value /= divisor;
    std::memcpy(floats + 4 * j, &value, 4);
  }
}

} // namespace

void RecipeSource::copyPiece(const schema::Slice &slice,
                             const schema::Piece &piece, const WeightPart &part,
                             uint32_t rank, uint8_t *dest,
                             std::vector<uint8_t> &scratch) const {
  WeightShape shape(slice);
  const schema::Source &source = *engine.sources()->Get(piece.source());
  DType from = source.unpacking() ? engine::SourceMatrix(source).dtype
                                  : storedDType(piece.source());
  ColumnMap map{evaluate(piece.col_start(), rank), piece.dest_block_cols(),
                piece.source_block_cols()};
  uint64_t rowStart = evaluate(piece.row_start(), rank);
  uint64_t memberStart = evaluate(piece.stack_start(), rank);

  CellRange range;
  range.source = piece.source();
  range.col = map.cell(0);
  range.count = map.cell(piece.cols() - 1) - range.col + 1;
  // The same bits (validateWeights).
  if (slice.dtype() == DType::F8E8M0)
    from = slice.dtype();
  uint32_t over = isStored() ? source.over() : 0;
  bool direct = map.isPlain() && from == slice.dtype() && over == 0;
  if (!direct)
    scratch.resize(range.count * elementBytes(from));
  std::vector<uint8_t> words;
  ReadWords readWords = [this](const CellRange &cells, uint8_t *out) {
    readCells(cells, out);
  };
  auto read = [&](uint8_t *out) {
    if (source.unpacking())
      unpackCells(readWords, source, range, out, words);
    else
      readCells(range, out);
  };
  uint64_t members =
      std::min(part.firstMember + part.members, piece.stack_count());
  uint64_t firstRow = std::max(part.firstRow, piece.dest_row());
  uint64_t endRow =
      std::min(part.firstRow + part.rows, piece.dest_row() + piece.rows());
  // Whole rows behind each other on both sides are one run of cells: a file is
  // read straight to where they belong.
  uint64_t cols = range.count;
  bool joined = direct && !source.unpacking() &&
                cols == engine::SourceMatrix(source).cols &&
                cols == shape.rowStride && piece.dest_block_rows() == 1 &&
                piece.source_block_rows() == 1;
  for (uint64_t m = part.firstMember; m < members; ++m) {
    range.member = memberStart + m;
    if (joined && firstRow < endRow) {
      range.row = rowStart + (firstRow - piece.dest_row());
      range.count = (endRow - firstRow) * cols;
      read(dest + shape.unit * ((m - part.firstMember) * shape.memberStride +
                                (firstRow - part.firstRow) * cols));
      continue;
    }
    for (uint64_t row = firstRow; row < endRow; ++row) {
      range.row =
          (rowStart + (row - piece.dest_row()) * piece.dest_block_rows()) /
          piece.source_block_rows();
      uint8_t *to =
          dest + shape.unit * ((m - part.firstMember) * shape.memberStride +
                               (row - part.firstRow) * shape.rowStride +
                               piece.dest_col());
      if (direct) {
        read(to);
        continue;
      }
      read(scratch.data());
      spreadCells(scratch.data(), from, map, piece.cols(), slice.dtype(), to);
      if (over != 0)
        divide(to, piece.cols(), float(over));
    }
  }
}

void RecipeSource::loadPart(const schema::Weight &weight,
                            const WeightPart &part, uint32_t rank,
                            uint8_t *dest,
                            std::vector<uint8_t> &scratch) const {
  for (const schema::Piece *piece : *weight.pieces())
    copyPiece(*weight.slice(), *piece, part, rank, dest, scratch);
}

Status RecipeSource::load(const std::vector<const schema::Weight *> &weights,
                          uint32_t rank,
                          const std::vector<uint8_t *> &arenas) const {
  std::vector<uint8_t> scratch;
  for (const schema::Weight *weight : weights) {
    const schema::Slice &slice = *weight->slice();
    if (slice.arena() >= arenas.size() || !arenas[slice.arena()])
      return makeError(StatusCode::InvalidArgument,
                       "weight \"%s\": no memory is given for arena %u",
                       weight->name()->c_str(), slice.arena());
    WeightShape shape(slice);
    loadPart(*weight, {0, shape.members, 0, shape.rows}, rank,
             arenas[slice.arena()] + slice.offset(), scratch);
  }
  return readError();
}

std::string memberName(const schema::Source &source, uint64_t index) {
  std::string name = source.name()->str();
  if (source.stack() > 0)
    name.replace(name.find("{}"), 2, std::to_string(index));
  return name;
}

} // namespace saddle::weights
