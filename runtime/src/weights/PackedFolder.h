// Packed weights on disk: a folder with one file for each rank, which holds the
// image of its constant memory (WeightImage.h).
//
//   saddle-pack.json   format, hash, ranks, and what it was made from
//   rank-00000.weights one page of header, the image, hashes of its chunks
//
// A file that is being written is called rank-00000.weights.part, and beside it
// rank-00000.journal has the hashes of the chunks that are complete.

#ifndef SADDLE_RUNTIME_WEIGHTS_PACKEDFOLDER_H
#define SADDLE_RUNTIME_WEIGHTS_PACKEDFOLDER_H

#include "runtime/src/weights/WeightLoader.h"

#include <functional>

namespace saddle::weights {

/// Of files and folder; a reader knows its own only.
constexpr uint32_t kPackedFormat = 1;
constexpr const char *kPackedManifest = "saddle-pack.json";

/// The first page of a rank's file, little-endian.
struct PackedHeader {
  char magic[8]; // "SDLPACK\n"
  uint32_t format, rank, ranks, chunkBytes;
  uint64_t imageBytes;
  char hash[32];       // imageHash
  uint64_t headerHash; // XXH3-64 of what is before it
};
constexpr uint64_t kPackedPage = 4096;

PackedHeader packedHeader(const std::string &hash, uint32_t rank,
                          uint32_t ranks, uint64_t imageBytes);
std::string packedFile(const std::string &folder, uint32_t rank);
/// Of the hashes of a rank's chunks.
uint64_t hashOfHashes(const std::vector<uint64_t> &hashes);

/// Whether the folder was written by packWeights, complete or not.
bool isPackedFolder(const std::string &folder);

/// Opens the weights of `engine` in a packed folder. Errors: made for another
/// engine, of another format, a rank's file missing, half written, of another
/// length, or with a header or list of hashes that is damaged.
StatusOr<std::unique_ptr<WeightSource>> openPacked(const schema::Engine &engine,
                                                   const std::string &folder);

/// Writes the weights of all ranks of `engine` from `source` to `folder`,
/// which is made unless it is there. What an earlier run left of the same
/// engine and the same `origin` (words that change when the source does) is
/// kept, after its hashes have been compared, and gone on with. `progress` is
/// told the bytes that are complete, those kept among them, and all; false from
/// it ends the work with Aborted, to be resumed. Memory: some 17 parts of
/// at most a chunk, or of a row of the largest tensor where that is more, and
/// what the source holds. Errors: those of the source
/// and of files; a complete folder of another engine is not touched.
Status
packWeights(const schema::Engine &engine, const WeightSource &source,
            const std::string &origin, const std::string &folder,
            const std::function<bool(uint64_t done, uint64_t all)> &progress);

/// Reads all of a packed folder and compares every hash.
Status
verifyPacked(const schema::Engine &engine, const std::string &folder,
             const std::function<bool(uint64_t done, uint64_t all)> &progress);

} // namespace saddle::weights

#endif // SADDLE_RUNTIME_WEIGHTS_PACKEDFOLDER_H
