// The part that all weight sources share: pieces are executed on cells that the
// concrete source delivers.

#ifndef SADDLE_RUNTIME_WEIGHTS_RECIPESOURCE_H
#define SADDLE_RUNTIME_WEIGHTS_RECIPESOURCE_H

#include "runtime/src/weights/WeightLoader.h"

namespace saddle::weights {

/// Where a run of cells lies: columns from `col` on in a row of one member of a
/// source. Behind the last column it goes on in the next row.
struct CellRange {
  uint32_t source;
  uint64_t member;
  uint64_t row;
  uint64_t col;
  uint64_t count;
};

class RecipeSource : public WeightSource {
public:
  explicit RecipeSource(const schema::Engine &engine) : engine(engine) {}

  Status load(const std::vector<const schema::Weight *> &weights, uint32_t rank,
              const std::vector<uint8_t *> &arenas) const override;
  void loadPart(const schema::Weight &weight, const WeightPart &part,
                uint32_t rank, uint8_t *dest,
                std::vector<uint8_t> &scratch) const override;

  /// Writes `range.count` elements of storedDType() to `out`, densely.
  virtual void readCells(const CellRange &range, uint8_t *out) const = 0;

  /// What a checkpoint has in the place of a source's plain values: another
  /// dtype of values, or the source's own.
  virtual schema::DType storedDType(uint32_t source) const {
    return engine.sources()->Get(source)->dtype();
  }

protected:
  /// Whether cells are as a checkpoint stores them; if not, nothing is left to
  /// be divided (engine.fbs `Source.over`).
  virtual bool isStored() const { return true; }

  const schema::Engine &engine;

private:
  /// The part's share of a piece.
  void copyPiece(const schema::Slice &slice, const schema::Piece &piece,
                 const WeightPart &part, uint32_t rank, uint8_t *dest,
                 std::vector<uint8_t> &scratch) const;
};

/// Name of member `index` of a source: "{}" replaced when it is a stack.
std::string memberName(const schema::Source &source, uint64_t index);

/// A source for the tensors of the engine's checkpoint of that index, which lie
/// in a folder.
StatusOr<std::unique_ptr<RecipeSource>>
openFolder(const schema::Engine &engine, uint32_t checkpoint,
           const std::string &directory);

/// A source that makes the values of all checkpoints from `seed`.
std::unique_ptr<RecipeSource> makeSynthetic(const schema::Engine &engine,
                                            uint64_t seed);

} // namespace saddle::weights

#endif // SADDLE_RUNTIME_WEIGHTS_RECIPESOURCE_H
