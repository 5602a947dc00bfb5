#include "runtime/src/weights/WeightImage.h"

#include "runtime/src/base/Hash.h"
#include "runtime/src/engine/Programs.h"

#include <algorithm>

namespace saddle {

std::vector<uint64_t> imageOffsets(const schema::Engine &engine,
                                   uint32_t stage) {
  constexpr uint64_t kPage = 4096;
  const std::vector<uint64_t> bytes = engine::arenaBytesOf(engine, stage);
  std::vector<uint64_t> offsets;
  uint64_t end = 0;
  for (uint32_t i = 0; i < bytes.size(); ++i) {
    bool isConstant =
        engine.arenas()->Get(i)->kind() == schema::ArenaKind::CONSTANT;
    offsets.push_back(isConstant ? end : kNoImage);
    if (isConstant)
      end += (bytes[i] + kPage - 1) / kPage * kPage;
  }
  offsets.push_back(end);
  return offsets;
}

std::vector<ImageChunk> imageChunks(const schema::Engine &engine,
                                    uint32_t stage) {
  const std::vector<uint64_t> bytes = engine::arenaBytesOf(engine, stage);
  const std::vector<uint64_t> offsets = imageOffsets(engine, stage);
  std::vector<ImageChunk> chunks;
  for (uint64_t at = 0; at < offsets.back(); at += kImageChunk) {
    ImageChunk chunk = {at, std::min(kImageChunk, offsets.back() - at), {}};
    for (uint32_t i = 0; i < bytes.size(); ++i) {
      if (offsets[i] == kNoImage)
        continue;
      uint64_t begin = std::max(at, offsets[i]);
      uint64_t end = std::min(at + chunk.bytes, offsets[i] + bytes[i]);
      if (begin < end)
        chunk.pieces.push_back(
            {i, begin - offsets[i], begin - at, end - begin});
    }
    chunks.push_back(std::move(chunk));
  }
  return chunks;
}

namespace {

/// Feeds tables to a hash; texts and lists with their lengths, so that no two
/// descriptions run together.
class Description {
public:
  void add(uint64_t value) { hasher.update(&value, sizeof value); }
  void add(const flatbuffers::String &text) {
    add(text.size());
    hasher.update(text.data(), text.size());
  }
  template <typename List>
  void addNumbers(const List *list) {
    add(list ? list->size() : 0);
    for (uint32_t i = 0; list && i < list->size(); ++i)
      add(uint64_t(list->Get(i)));
  }
  void add(const schema::RankValue *value) {
    add(value ? value->base() : 0);
    add(value ? value->divisor() : 1);
    add(value ? value->modulus() : 1);
    add(value ? value->step() : 0);
  }
  void add(const schema::Source &source) {
    add(*source.name());
    add(source.stack());
    add(uint64_t(source.dtype()));
    addNumbers(source.shape());
    add(source.checkpoint());
    add(uint64_t(source.companion()));
    add(source.companion_of());
    if (source.over() != 0) // images of older engines stay what they are
      add(source.over());
    const schema::Unpacking *how = source.unpacking();
    add(how ? 1 : 0);
    if (!how)
      return;
    add(how->bits());
    addNumbers(how->order());
    add(how->along_rows());
    add(how->transposed());
    add(how->per_element());
    add(how->add());
    add(how->rows());
    add(how->cols());
  }
  void add(const schema::Weight &weight) {
    add(*weight.name());
    const schema::Slice &slice = *weight.slice();
    add(slice.arena());
    add(slice.offset());
    add(uint64_t(slice.dtype()));
    addNumbers(slice.shape());
    addNumbers(slice.strides());
    add(uint64_t(weight.layout()));
    add(weight.pieces()->size());
    for (const schema::Piece *piece : *weight.pieces()) {
      add(piece->source());
      add(piece->stack_start());
      add(piece->row_start());
      add(piece->col_start());
      for (uint64_t number :
           {piece->stack_count(), piece->rows(), piece->cols(),
            piece->dest_row(), piece->dest_col(), piece->source_block_rows(),
            piece->source_block_cols(), piece->dest_block_rows(),
            piece->dest_block_cols()})
        add(number);
    }
  }
  std::string hex() const { return hasher.hex(); }

private:
  Hasher128 hasher;
};

} // namespace

std::string imageHash(const schema::Engine &engine) {
  Description all;
  all.add(engine.topology()->tp());
  all.add(engine.topology()->pp());
  for (const schema::Checkpoint *checkpoint : *engine.checkpoints()) {
    all.add(*checkpoint->name());
    all.add(*checkpoint->fingerprint());
  }
  for (const schema::Source *source : *engine.sources())
    if (!source->ignored_reason())
      all.add(*source);
  for (uint32_t stage = 0; stage < engine.topology()->pp(); ++stage) {
    const std::vector<uint64_t> offsets = imageOffsets(engine, stage);
    for (uint64_t offset : offsets)
      all.add(offset);
    for (const schema::Weight *weight : engine::weightsOf(engine, stage))
      all.add(*weight);
  }
  return all.hex();
}

} // namespace saddle
