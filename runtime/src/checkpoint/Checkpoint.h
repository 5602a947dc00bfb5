// A Hugging Face checkpoint folder seen without reading weight bytes: tensor
// names, dtypes, shapes and where their bytes lie. Shared by the compiler's
// models/ (import) and the runtime's weights/ (loading), so that both refuse
// the same lies.

#ifndef SADDLE_RUNTIME_CHECKPOINT_CHECKPOINT_H
#define SADDLE_RUNTIME_CHECKPOINT_CHECKPOINT_H

#include "runtime/src/base/Status.h"

#include <cstdint>
#include <map>
#include <string>
#include <vector>

namespace saddle {

/// Storage type of a checkpoint tensor, as safetensors spells it.
enum class TensorDType : uint8_t {
  F32,
  BF16,
  F16,
  F8E4M3,
  F8E8M0,
  I8,
  I32,
  I64,
  U8,
  Other
};

/// One tensor: `bytes` bytes at `offset` from the start of file `file` (index
/// into Checkpoint::files).
struct TensorInfo {
  TensorDType dtype;
  std::string dtypeName;       // as written in the header, for messages
  std::vector<uint64_t> shape; // at most 16 entries
  uint32_t file;
  uint64_t offset;
  uint64_t bytes;
  /// Of a part of a file's tensor (Parts.h): bytes from a row to the next, 0
  /// when they follow each other; and the tensor's name, for messages.
  uint64_t pitch = 0;
  std::string partOf = {};
};

/// Headers of all shards of a folder. Tensor names are unique over all shards.
struct Checkpoint {
  std::string directory;
  std::vector<std::string> files; // paths
  std::map<std::string, TensorInfo> tensors;

  /// Reads `DIR/model.safetensors.index.json` and the shards it names, or
  /// `DIR/model.safetensors`. Reads headers only. Errors: absent folder or
  /// file, index naming an absent file or a tensor that its shard lacks, a
  /// shard tensor that the index does not list, duplicate tensors, and
  /// everything readSafetensorsHeader refuses.
  static StatusOr<Checkpoint> open(const std::string &directory);
};

/// Of a folder in which something is missing: "; this is ..." when it is that
/// of a model in a hub's cache, which holds folders with the files, else empty.
std::string describeHubFolder(const std::string &directory);

/// Reads the header of one safetensors file and appends its tensors with file
/// index `file`. Refuses: files shorter than their header, headers over 512
/// MiB, JSON that is not an object of {dtype, shape, data_offsets} and one
/// optional __metadata__, duplicate names, offsets that run backwards, overlap,
/// leave gaps or point outside the file, byte counts that do not equal dtype
/// size times the (overflow-checked) product of the shape, unknown dtypes.
/// After an error `tensors` holds some of the file's tensors.
Status readSafetensorsHeader(const std::string &path, uint32_t file,
                             std::map<std::string, TensorInfo> &tensors);

/// Bytes per element; 0 for Other.
uint64_t elementBytes(TensorDType dtype);
/// "bf16", "f8e4m3", ...
const char *dtypeName(TensorDType dtype);
/// "[4, 16]"
std::string formatShape(const std::vector<uint64_t> &shape);

/// Whether numbers of shape `found` are those of shape `wanted`: tools write
/// one number as [], [1] or [1, 1], and a row or column as a vector.
template <typename Wanted>
bool isSameLine(const std::vector<uint64_t> &found, const Wanted &wanted) {
  auto length = [](const auto &shape) {
    uint64_t result = 1;
    for (uint64_t dim : shape)
      result = result == 1 ? dim : dim == 1 ? result : 0;
    return result;
  };
  return length(found) != 0 && length(found) == length(wanted) &&
         (length(found) == 1 || found.size() == 1);
}

} // namespace saddle

#endif // SADDLE_RUNTIME_CHECKPOINT_CHECKPOINT_H
