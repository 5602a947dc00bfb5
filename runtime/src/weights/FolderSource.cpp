// Weights from the shards of a checkpoint folder, read and never mapped: a
// shard that is cut or overwritten under a mapping ends the process, or goes
// unnoticed.

#include "runtime/src/base/Convert.h"
#include "runtime/src/base/DType.h"
#include "runtime/src/base/File.h"
#include "runtime/src/checkpoint/Parts.h"
#include "runtime/src/weights/CompareSources.h"
#include "runtime/src/weights/RecipeSource.h"
#include "runtime/src/weights/SourceUses.h"

#include <algorithm>
#include <atomic>
#include <cinttypes>
#include <cmath>
#include <cstring>
#include <mutex>

namespace saddle::weights {

using schema::DType;

namespace {

/// The stretch of a shard that a thread has read last. Rows come one after the
/// other, and a rank's columns of a row may be few bytes.
struct Window {
  static constexpr uint64_t kBytes = 64 << 10;
  uint64_t source = 0; // FolderSource::number
  uint32_t shard = 0;
  uint64_t begin = 0;
  std::vector<uint8_t> bytes;
};

class FolderSource : public RecipeSource {
public:
  using RecipeSource::RecipeSource;

  /// Opens the shards and notes where every member's bytes begin.
  Status open(const Checkpoint &checkpoint, const MatchedTensors &matched);

  /// Looks at every scale: one that is no positive number would pass for
  /// weights of nothing, or of no number.
  Status checkScales() const;

  /// Looks at ignored tensors that must hold what the recipes rest on: the
  /// groups that columns are in, zero points that are zero. Nothing else reads
  /// them.
  Status checkIgnored(const Checkpoint &checkpoint, uint32_t index) const;

  Status readError() const override;
  DType storedDType(uint32_t source) const override {
    return tensors[source].dtype;
  }

protected:
  void readCells(const CellRange &range, uint8_t *out) const override {
    const Tensor &tensor = tensors[range.source];
    // Members of a rank-3 tensor follow each other in one tensor.
    bool isStack = tensor.members.size() > 1;
    uint64_t row = range.row + (isStack ? 0 : range.member * tensor.rows);
    const Member &member = tensor.members[isStack ? range.member : 0];
    if (!member.pitch)
      return read(member, (row * tensor.cols + range.col) * tensor.unit,
                  range.count * tensor.unit, out);
    uint64_t col = range.col;
    for (uint64_t left = range.count; left != 0; ++row, col = 0) {
      uint64_t count = std::min(left, tensor.cols - col);
      read(member, row * member.pitch + col * tensor.unit, count * tensor.unit,
           out);
      out += count * tensor.unit;
      left -= count;
    }
  }

private:
  struct Member {
    uint32_t shard;
    uint64_t offset, bytes;
    uint64_t pitch; // as TensorInfo
  };
  struct Tensor {
    DType dtype; // of the source, or of values in its place
    uint64_t rows, cols, unit;
    std::vector<Member> members; // of a stack
  };

  Status checkScale(uint32_t source, uint64_t member) const;
  Status checkGroup(const schema::Source &source, const std::string &name,
                    const TensorInfo &info) const;
  Status checkZero(const std::string &name, const TensorInfo &info) const;
  /// Bytes of a member; zeroes, and an error for readError(), when the shard
  /// does not give them.
  void read(const Member &member, uint64_t offset, uint64_t count,
            uint8_t *out) const;
  void keep(Status status) const;

  static uint64_t nextNumber() {
    static std::atomic<uint64_t> made{0};
    return ++made;
  }
  /// Tells windows of this source from those of one that was here before.
  const uint64_t number = nextNumber();
  std::vector<InputFile> shards;
  std::vector<Tensor> tensors; // as engine.sources; empty for others'
  mutable std::mutex mutex;
  mutable Status firstError; // guarded
};

Status FolderSource::open(const Checkpoint &checkpoint,
                          const MatchedTensors &matched) {
  for (const std::string &path : checkpoint.files) {
    SADDLE_ASSIGN_OR_RETURN(InputFile shard, InputFile::open(path));
    shards.push_back(std::move(shard));
  }
  for (uint32_t i = 0; i < matched.size(); ++i) {
    const schema::Source &source = *engine.sources()->Get(i);
    const auto &shape = *source.shape();
    uint32_t rank = shape.size();
    Tensor tensor;
    tensor.cols = rank >= 1 ? shape.Get(rank - 1) : 1;
    tensor.rows = rank >= 2 ? shape.Get(rank - 2) : 1;
    tensor.dtype = matched[i].empty() ? source.dtype()
                                      : schemaDType(matched[i].front()->dtype);
    tensor.unit = elementBytes(tensor.dtype);
    for (const TensorInfo *info : matched[i]) {
      uint64_t size = shards[info->file].size();
      if (info->offset > size || info->bytes > size - info->offset)
        return makeError(StatusCode::DataLoss,
                         "%s: the file shrank to %" PRIu64
                         " bytes while it was read",
                         checkpoint.files[info->file].c_str(), size);
      tensor.members.push_back(
          {info->file, info->offset, info->bytes, info->pitch});
    }
    tensors.push_back(std::move(tensor));
  }
  return Status();
}

void FolderSource::keep(Status status) const {
  std::lock_guard<std::mutex> lock(mutex);
  if (firstError.ok())
    firstError = std::move(status);
}

Status FolderSource::readError() const {
  {
    std::lock_guard<std::mutex> lock(mutex);
    SADDLE_RETURN_IF_ERROR(firstError);
  }
  for (const InputFile &shard : shards)
    SADDLE_RETURN_IF_ERROR(shard.checkUnchanged());
  return Status();
}

void FolderSource::read(const Member &member, uint64_t offset, uint64_t count,
                        uint8_t *out) const {
  const InputFile &shard = shards[member.shard];
  uint64_t begin = member.offset + offset;
  static thread_local Window window;
  auto fill = [&](uint8_t *to, uint64_t bytes) {
    Status status = shard.read(begin, to, bytes);
    if (status.ok())
      return;
    std::memset(to, 0, bytes);
    keep(std::move(status));
  };
  if (count >= Window::kBytes)
    return fill(out, count);
  bool held = window.source == number && window.shard == member.shard &&
              begin >= window.begin &&
              begin + count <= window.begin + window.bytes.size();
  if (!held) {
    window.bytes.resize(std::min(Window::kBytes, member.bytes - offset));
    window.source = number;
    window.shard = member.shard;
    window.begin = begin;
    fill(window.bytes.data(), window.bytes.size());
  }
  std::memcpy(out, window.bytes.data() + (begin - window.begin), count);
}

Status FolderSource::checkScale(uint32_t index, uint64_t member) const {
  const schema::Source &source = *engine.sources()->Get(index);
  const Tensor &tensor = tensors[index];
  uint64_t rowBytes = tensor.cols * tensor.unit;
  // Files have scales of e8m0 as bytes. Those of e4m3 are zero where all that
  // they scale is zero.
  DType dtype = source.dtype() == DType::U8 ? DType::F8E8M0 : source.dtype();
  bool mayBeZero = dtype == DType::F8E4M3;
  std::vector<float> row(tensor.cols);
  // Checkpoint bytes have no alignment.
  std::vector<uint32_t> aligned((rowBytes + 3) / 4);
  auto *bytes = reinterpret_cast<uint8_t *>(aligned.data());
  for (uint64_t i = 0; i < tensor.rows; ++i) {
    uint64_t pitch = tensor.members[member].pitch;
    read(tensor.members[member], i * (pitch ? pitch : rowBytes), rowBytes,
         bytes);
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
  const std::vector<SourceUse> uses = usesOfSources(engine);
  for (uint32_t i = 0; i < tensors.size(); ++i)
    if (schema::CompanionKind kind = engine.sources()->Get(i)->companion();
        kind == schema::CompanionKind::SCALE ||
        kind == schema::CompanionKind::GLOBAL_SCALE ||
        uses[i] == SourceUse::Scale)
      for (uint64_t m = 0; m < tensors[i].members.size(); ++m)
        SADDLE_RETURN_IF_ERROR(checkScale(i, m));
  return Status();
}

Status FolderSource::checkGroup(const schema::Source &source,
                                const std::string &name,
                                const TensorInfo &info) const {
  uint64_t columns = source.shape()->Get(0);
  if (info.dtype != TensorDType::I32 ||
      info.shape != std::vector<uint64_t>{columns})
    return makeError(StatusCode::Mismatch,
                     "tensor \"%s\" is %s %s, expected i32 [%" PRIu64 "]",
                     name.c_str(), info.dtypeName.c_str(),
                     formatShape(info.shape).c_str(), columns);
  std::vector<uint8_t> bytes(info.bytes);
  SADDLE_RETURN_IF_ERROR(
      shards[info.file].read(info.offset, bytes.data(), bytes.size()));
  for (uint64_t i = 0; i < columns; ++i) {
    int32_t found;
    std::memcpy(&found, bytes.data() + i * sizeof found, sizeof found);
    if (found != int64_t(i / source.group()))
      return makeError(
          StatusCode::Unsupported,
          "\"%s\" says that column %" PRIu64
          " is in group %d, expected %" PRIu64 " with groups of %" PRIu64
          ": columns in the order of their "
          "activations are not implemented; quantise with desc_act false",
          name.c_str(), i, found, i / source.group(), source.group());
  }
  return Status();
}

Status FolderSource::checkZero(const std::string &name,
                               const TensorInfo &info) const {
  std::vector<uint8_t> bytes(info.bytes);
  SADDLE_RETURN_IF_ERROR(
      shards[info.file].read(info.offset, bytes.data(), bytes.size()));
  for (uint64_t i = 0; i < bytes.size(); ++i)
    if (bytes[i] != 0)
      return makeError(StatusCode::Unsupported,
                       "\"%s\" is not zero at byte %" PRIu64
                       ": weights with zero points are not implemented in this "
                       "format",
                       name.c_str(), i);
  return Status();
}

Status FolderSource::checkIgnored(const Checkpoint &checkpoint,
                                  uint32_t index) const {
  for (const schema::Source *source : *engine.sources()) {
    if ((source->group() == 0 && !source->zero()) ||
        source->checkpoint() != index)
      continue;
    for (uint64_t m = 0; m < std::max<uint64_t>(1, source->stack()); ++m) {
      std::string name = memberName(*source, m);
      auto found = checkpoint.tensors.find(name);
      if (found == checkpoint.tensors.end())
        continue;
      if (source->group())
        SADDLE_RETURN_IF_ERROR(checkGroup(*source, name, found->second));
      if (source->zero())
        SADDLE_RETURN_IF_ERROR(checkZero(name, found->second));
    }
  }
  return Status();
}

/// Where the folder may have tensors otherwise than the engine names them.
std::vector<StoredPart> partsOf(const schema::Checkpoint &checkpoint) {
  std::vector<StoredPart> parts;
  if (checkpoint.parts())
    for (const schema::StoredPart *part : *checkpoint.parts())
      parts.push_back({part->name()->str(), part->tensor()->str(),
                       part->stack(), part->columns(), part->first(),
                       part->count(), part->of()});
  return parts;
}

} // namespace

StatusOr<std::unique_ptr<RecipeSource>>
openFolder(const schema::Engine &engine, uint32_t index,
           const std::string &directory) {
  SADDLE_ASSIGN_OR_RETURN(Checkpoint checkpoint, Checkpoint::open(directory));
  SADDLE_RETURN_IF_ERROR(
      applyParts(partsOf(*engine.checkpoints()->Get(index)), checkpoint));
  SADDLE_ASSIGN_OR_RETURN(MatchedTensors matched,
                          matchSources(engine, index, checkpoint));
  auto source = std::make_unique<FolderSource>(engine);
  SADDLE_RETURN_IF_ERROR(source->open(checkpoint, matched));
  Status values = source->checkScales();
  if (values.ok())
    values = source->checkIgnored(checkpoint, index);
  SADDLE_RETURN_IF_ERROR(source->readError()); // names its file, and is first
  if (!values.ok())
    return values.within(directory);
  return std::unique_ptr<RecipeSource>(std::move(source));
}

} // namespace saddle::weights
