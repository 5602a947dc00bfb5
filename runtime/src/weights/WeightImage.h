// A rank's constant memory as one stream of bytes, which needs no recipe: the
// CONSTANT arenas of its stage one behind the other, in chunks.

#ifndef SADDLE_RUNTIME_WEIGHTS_WEIGHTIMAGE_H
#define SADDLE_RUNTIME_WEIGHTS_WEIGHTIMAGE_H

#include "runtime/schema/engine_generated.h"
#include "runtime/src/base/Status.h"

#include <cstdint>
#include <string>
#include <vector>

namespace saddle {

/// Where bytes of a chunk go.
struct ImagePiece {
  uint32_t arena;
  uint64_t offset;  // in the arena
  uint64_t inChunk; // from the chunk's first byte
  uint64_t bytes;
};

struct ImageChunk {
  uint64_t offset; // in the image
  uint64_t bytes;
  std::vector<ImagePiece> pieces;
};

/// Every chunk but the last has so many bytes.
constexpr uint64_t kImageChunk = 16 << 20;

/// Where each arena begins in the image of a rank of the stage, at multiples of
/// 4096; kNoImage for arenas that are not CONSTANT. The last entry is the whole
/// image's size.
constexpr uint64_t kNoImage = ~uint64_t(0);
std::vector<uint64_t> imageOffsets(const schema::Engine &engine,
                                   uint32_t stage);
std::vector<ImageChunk> imageChunks(const schema::Engine &engine,
                                    uint32_t stage);

/// Over all that decides what is in the image of each rank and where: arenas,
/// sources, checkpoints' fingerprints, weights and their recipes. 32 hex
/// digits. Engines of one model and topology that differ in buckets or limits
/// may have the same.
std::string imageHash(const schema::Engine &engine);

/// An image that is stored.
class WeightImage {
public:
  virtual ~WeightImage() = default;
  virtual std::vector<ImageChunk> chunks(uint32_t rank) const = 0;
  /// Reads chunk number `chunk` to `to` and compares its hash. DataLoss when
  /// that differs. Several threads may read.
  virtual Status read(uint32_t rank, size_t chunk, uint8_t *to) const = 0;
};

} // namespace saddle

#endif // SADDLE_RUNTIME_WEIGHTS_WEIGHTIMAGE_H
