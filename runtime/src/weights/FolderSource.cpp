// Weights from the mapped shards of a checkpoint folder.

#include "runtime/src/base/Convert.h"
#include "runtime/src/base/DType.h"
#include "runtime/src/base/File.h"
#include "runtime/src/checkpoint/Checkpoint.h"
#include "runtime/src/weights/CompareSources.h"
#include "runtime/src/weights/RecipeSource.h"

#include <cinttypes>
#include <cmath>
#include <cstring>

namespace saddle::weights {

using schema::DType;

namespace {

class FolderSource : public RecipeSource {
public:
  using RecipeSource::RecipeSource;

  /// Maps the shards and notes where every member's bytes begin.
  Status map(const Checkpoint &checkpoint, const MatchedTensors &matched);

  /// Looks at every scale: one that is no positive number would pass for
  /// weights of nothing, or of no number.
  Status checkScales() const;

protected:
  void readCells(const CellRange &range, uint8_t *out) const override {
    const Tensor &tensor = tensors[range.source];
    // Members of a rank-3 tensor follow each other in one tensor.
    bool isStack = tensor.members.size() > 1;
    const uint8_t *data = tensor.members[isStack ? range.member : 0];
    uint64_t row = range.row + (isStack ? 0 : range.member * tensor.rows);
    std::memcpy(out, data + (row * tensor.cols + range.col) * tensor.unit,
                range.count * tensor.unit);
  }

private:
  Status checkScale(uint32_t source, uint64_t member) const;

  struct Tensor {
    uint64_t rows, cols, unit;
    std::vector<const uint8_t *> members; // of a stack
  };
  std::vector<MappedFile> shards;
  std::vector<Tensor> tensors; // as engine.sources; empty for others'
};

Status FolderSource::map(const Checkpoint &checkpoint,
                         const MatchedTensors &matched) {
  for (const std::string &path : checkpoint.files) {
    SADDLE_ASSIGN_OR_RETURN(MappedFile shard, MappedFile::open(path));
    shards.push_back(std::move(shard));
  }
  for (uint32_t i = 0; i < matched.size(); ++i) {
    const schema::Source &source = *engine.sources()->Get(i);
    const auto &shape = *source.shape();
    uint32_t rank = shape.size();
    Tensor tensor;
    tensor.cols = rank >= 1 ? shape.Get(rank - 1) : 1;
    tensor.rows = rank >= 2 ? shape.Get(rank - 2) : 1;
    tensor.unit = elementBytes(source.dtype());
    for (const TensorInfo *info : matched[i]) {
      const MappedFile &shard = shards[info->file];
      if (info->offset > shard.size() ||
          info->bytes > shard.size() - info->offset)
        return makeError(StatusCode::DataLoss,
                         "%s: the file shrank to %zu bytes while it was read",
                         checkpoint.files[info->file].c_str(), shard.size());
      tensor.members.push_back(shard.data() + info->offset);
    }
    tensors.push_back(std::move(tensor));
  }
  return Status();
}

Status FolderSource::checkScale(uint32_t index, uint64_t member) const {
  const schema::Source &source = *engine.sources()->Get(index);
  const Tensor &tensor = tensors[index];
  // Files have scales of e8m0 as bytes. Those of e4m3 are zero where all that
  // they scale is zero.
  DType dtype = source.dtype() == DType::U8 ? DType::F8E8M0 : source.dtype();
  bool mayBeZero = dtype == DType::F8E4M3;
  std::vector<float> row(tensor.cols);
  // Checkpoint bytes have no alignment.
  std::vector<uint32_t> aligned((tensor.cols * tensor.unit + 3) / 4);
  auto *bytes = reinterpret_cast<uint8_t *>(aligned.data());
  for (uint64_t i = 0; i < tensor.rows; ++i) {
    std::memcpy(bytes, tensor.members[member] + i * tensor.cols * tensor.unit,
                tensor.cols * tensor.unit);
    loadRow(bytes, dtype, row.data(), tensor.cols);
    for (uint64_t j = 0; j < tensor.cols; ++j)
      if (!(row[j] > 0 || (mayBeZero && row[j] == 0)) || std::isinf(row[j]))
        return makeError(
            StatusCode::DataLoss,
            "scale \"%s\" is %g at row %" PRIu64 ", column %" PRIu64
            "; expected a positive finite number",
            memberName(source, member).c_str(), double(row[j]), i, j);
  }
  return Status();
}

Status FolderSource::checkScales() const {
  for (uint32_t i = 0; i < tensors.size(); ++i)
    if (schema::CompanionKind kind = engine.sources()->Get(i)->companion();
        kind == schema::CompanionKind::SCALE ||
        kind == schema::CompanionKind::GLOBAL_SCALE)
      for (uint64_t m = 0; m < tensors[i].members.size(); ++m)
        SADDLE_RETURN_IF_ERROR(checkScale(i, m));
  return Status();
}

} // namespace

StatusOr<std::unique_ptr<RecipeSource>>
openFolder(const schema::Engine &engine, uint32_t index,
           const std::string &directory) {
  SADDLE_ASSIGN_OR_RETURN(Checkpoint checkpoint, Checkpoint::open(directory));
  SADDLE_ASSIGN_OR_RETURN(MatchedTensors matched,
                          matchSources(engine, index, checkpoint));
  auto source = std::make_unique<FolderSource>(engine);
  SADDLE_RETURN_IF_ERROR(source->map(checkpoint, matched));
  Status scales = source->checkScales();
  if (!scales.ok())
    return makeError(scales.code(), "%s: %s", directory.c_str(),
                     scales.message().c_str());
  return std::unique_ptr<RecipeSource>(std::move(source));
}

} // namespace saddle::weights
