#include "runtime/src/weights/PackedFolder.h"

#include "runtime/src/base/File.h"
#include "runtime/src/base/Hash.h"
#include "runtime/src/base/Json.h"
#include "runtime/src/engine/Engine.h"
#include "runtime/src/engine/Programs.h"

#include <nlohmann/json.hpp>

#include <cinttypes>
#include <cstddef>
#include <cstring>

namespace saddle::weights {

static constexpr char kMagic[] = "SDLPACK\n";

/// What the system holds in memory is hashed in pieces that the processor's
/// caches still hold. A disk is asked for all that is left of a chunk.
static constexpr uint64_t kHashedAtOnce = 256 << 10;

static_assert(sizeof(PackedHeader) == 72 && sizeof(PackedHeader) < kPackedPage,
              "the header has no padding");

static uint64_t hashOf(const PackedHeader &header) {
  return hash64(&header, offsetof(PackedHeader, headerHash));
}

PackedHeader packedHeader(const std::string &hash, uint32_t rank,
                          uint32_t ranks, uint64_t imageBytes) {
  PackedHeader header = {};
  std::memcpy(header.magic, kMagic, sizeof header.magic);
  header.format = kPackedFormat;
  header.rank = rank;
  header.ranks = ranks;
  header.chunkBytes = kImageChunk;
  header.imageBytes = imageBytes;
  std::memcpy(header.hash, hash.data(),
              std::min(hash.size(), sizeof header.hash));
  header.headerHash = hashOf(header);
  return header;
}

std::string packedFile(const std::string &folder, uint32_t rank) {
  char name[32];
  std::snprintf(name, sizeof name, "/rank-%05u.weights", rank);
  return folder + name;
}

uint64_t hashOfHashes(const std::vector<uint64_t> &hashes) {
  return hash64(hashes.data(), hashes.size() * sizeof(uint64_t));
}

bool isPackedFolder(const std::string &folder) {
  StatusOr<bool> isThere = exists(folder + "/" + kPackedManifest);
  return isThere.ok() && *isThere;
}

namespace {

class PackedSource : public WeightSource, private WeightImage {
public:
  PackedSource(const schema::Engine &engine, std::string folder)
      : engine(engine), folder(std::move(folder)) {}

  Status open();

  const WeightImage *image() const override { return this; }
  Status readError() const override;
  Status load(const std::vector<const schema::Weight *> &weights, uint32_t rank,
              const std::vector<uint8_t *> &arenas) const override;
  void loadPart(const schema::Weight &weight, const WeightPart &part,
                uint32_t rank, uint8_t *dest,
                std::vector<uint8_t> &scratch) const override;

private:
  std::vector<ImageChunk> chunks(uint32_t rank) const override {
    return imageChunks(engine, stageOf(rank));
  }
  Status read(uint32_t rank, size_t chunk, uint8_t *to) const override;

  uint32_t stageOf(uint32_t rank) const {
    return rank / engine.topology()->tp();
  }
  Status openRank(uint32_t rank, const std::string &hash);

  struct RankFile {
    std::string path;
    InputFile file;
    uint64_t imageBytes;
    std::vector<uint64_t> hashes; // of chunks
  };

  const schema::Engine &engine;
  const std::string folder;
  std::vector<RankFile> ranks;
};

Status otherEngine(const std::string &path, const std::string &found,
                   const std::string &expected) {
  return makeError(StatusCode::Mismatch,
                   "%s: was packed for another engine (%s, expected %s); run "
                   "saddle-pack with this engine",
                   path.c_str(), found.c_str(), expected.c_str());
}

Status PackedSource::open() {
  const std::string path = folder + "/" + kPackedManifest;
  SADDLE_ASSIGN_OR_RETURN(OwnedBytes text, readFile(path, kMaxJsonBytes));
  SADDLE_ASSIGN_OR_RETURN(JsonDocument manifest, readJson(path, text.bytes()));
  auto textOf = [&](const char *key) -> std::string {
    auto found = manifest->find(key); // the end, unless it is an object
    return found == manifest->end() ? "null" : found->dump();
  };
  const std::string format = textOf("format");
  if (format != std::to_string(kPackedFormat))
    return makeError(StatusCode::Unsupported,
                     "%s: \"format\" is %s, expected %u; pack the weights with "
                     "the saddle-pack of this version",
                     path.c_str(), format.c_str(), kPackedFormat);
  const std::string hash = imageHash(engine);
  const std::string stored = textOf("engine"), expected = "\"" + hash + "\"";
  if (stored != expected)
    return otherEngine(path, stored, expected);
  uint32_t count = engine.topology()->tp() * engine.topology()->pp();
  for (uint32_t rank = 0; rank < count; ++rank)
    SADDLE_RETURN_IF_ERROR(openRank(rank, hash));
  return Status();
}

Status PackedSource::openRank(uint32_t rank, const std::string &hash) {
  const std::string path = packedFile(folder, rank);
  SADDLE_ASSIGN_OR_RETURN(bool isThere, exists(path));
  if (!isThere) {
    SADDLE_ASSIGN_OR_RETURN(bool isPart, exists(path + ".part"));
    return makeError(StatusCode::NotFound,
                     "%s: %s; run saddle-pack with the same arguments to go on",
                     path.c_str(),
                     isPart ? "is half written" : "does not exist");
  }
  SADDLE_ASSIGN_OR_RETURN(InputFile file, InputFile::open(path));
  PackedHeader header;
  auto damaged = [&](const char *what) {
    return makeError(StatusCode::DataLoss, "%s: %s; pack the weights again",
                     path.c_str(), what);
  };
  if (file.size() < kPackedPage)
    return damaged("is shorter than its header");
  SADDLE_RETURN_IF_ERROR(
      file.read(0, reinterpret_cast<uint8_t *>(&header), sizeof header));
  if (std::memcmp(header.magic, kMagic, sizeof header.magic) != 0 ||
      header.headerHash != hashOf(header))
    return damaged("the header is damaged");
  const uint64_t bytes = imageOffsets(engine, stageOf(rank)).back();
  const PackedHeader expected = packedHeader(
      hash, rank, engine.topology()->tp() * engine.topology()->pp(), bytes);
  if (std::memcmp(&header, &expected, sizeof header) != 0)
    return otherEngine(path, std::string(header.hash, sizeof header.hash),
                       hash);
  std::vector<uint64_t> hashes((bytes + kImageChunk - 1) / kImageChunk + 1);
  uint64_t length = kPackedPage + bytes + hashes.size() * sizeof(uint64_t);
  if (file.size() != length)
    return makeError(StatusCode::DataLoss,
                     "%s: has %" PRIu64 " bytes, expected %" PRIu64
                     "; pack the weights again",
                     path.c_str(), file.size(), length);
  SADDLE_RETURN_IF_ERROR(file.read(kPackedPage + bytes,
                                   reinterpret_cast<uint8_t *>(hashes.data()),
                                   hashes.size() * sizeof(uint64_t)));
  uint64_t stored = hashes.back();
  hashes.pop_back();
  if (stored != hashOfHashes(hashes))
    return damaged("the hashes at its end are damaged");
  ranks.push_back({path, std::move(file), bytes, std::move(hashes)});
  return Status();
}

Status PackedSource::read(uint32_t rank, size_t chunk, uint8_t *to) const {
  const RankFile &file = ranks[rank];
  uint64_t offset = chunk * kImageChunk;
  uint64_t bytes = std::min(kImageChunk, file.imageBytes - offset);
  Hasher64 hasher;
  for (uint64_t done = 0; done < bytes;) {
    const uint64_t at = kPackedPage + offset + done;
    uint64_t got = file.file.readCached(
        at, to + done, std::min<uint64_t>(kHashedAtOnce, bytes - done));
    if (got == 0) {
      got = bytes - done;
      SADDLE_RETURN_IF_ERROR(file.file.read(at, to + done, got));
    }
    hasher.update(to + done, got);
    done += got;
  }
  if (hasher.value() == file.hashes[chunk])
    return Status();
  return makeError(StatusCode::DataLoss,
                   "%s: bytes %" PRIu64 " to %" PRIu64
                   " do not have their hash; pack the weights again",
                   file.path.c_str(), kPackedPage + offset,
                   kPackedPage + offset + bytes);
}

Status PackedSource::readError() const {
  for (const RankFile &rank : ranks)
    SADDLE_RETURN_IF_ERROR(rank.file.checkUnchanged());
  return Status();
}

Status PackedSource::load(const std::vector<const schema::Weight *> &weights,
                          uint32_t rank,
                          const std::vector<uint8_t *> &arenas) const {
  for (const schema::Weight *weight : weights)
    if (uint32_t arena = weight->slice()->arena();
        arena >= arenas.size() || !arenas[arena])
      return makeError(StatusCode::InvalidArgument,
                       "weight \"%s\": no memory is given for arena %u",
                       weight->name()->c_str(), arena);
  std::vector<uint8_t> buffer;
  const std::vector<ImageChunk> all = chunks(rank);
  for (size_t i = 0; i < all.size(); ++i) {
    buffer.resize(all[i].bytes);
    SADDLE_RETURN_IF_ERROR(read(rank, i, buffer.data()));
    for (const ImagePiece &piece : all[i].pieces)
      if (piece.arena < arenas.size() && arenas[piece.arena])
        std::memcpy(arenas[piece.arena] + piece.offset,
                    buffer.data() + piece.inChunk, piece.bytes);
  }
  return readError();
}

void PackedSource::loadPart(const schema::Weight &weight,
                            const WeightPart &part, uint32_t rank,
                            uint8_t *dest, std::vector<uint8_t> &) const {
  const schema::Slice &slice = *weight.slice();
  uint64_t offset = imageOffsets(engine, stageOf(rank))[slice.arena()] +
                    slice.offset() + partOffset(slice, part);
  uint64_t bytes = partBytes(slice, part);
  if (!ranks[rank].file.read(kPackedPage + offset, dest, bytes).ok())
    std::memset(dest, 0, bytes); // readError() says why
}

} // namespace

StatusOr<std::unique_ptr<WeightSource>> openPacked(const schema::Engine &engine,
                                                   const std::string &folder) {
  auto source = std::make_unique<PackedSource>(engine, folder);
  SADDLE_RETURN_IF_ERROR(source->open());
  return std::unique_ptr<WeightSource>(std::move(source));
}

Status
verifyPacked(const schema::Engine &engine, const std::string &folder,
             const std::function<bool(uint64_t done, uint64_t all)> &progress) {
  SADDLE_ASSIGN_OR_RETURN(std::unique_ptr<WeightSource> source,
                          openPacked(engine, folder));
  const WeightImage &image = *source->image();
  uint32_t count = engine.topology()->tp() * engine.topology()->pp();
  uint64_t done = 0, all = 0;
  for (uint32_t rank = 0; rank < count; ++rank)
    for (const ImageChunk &chunk : image.chunks(rank))
      all += chunk.bytes;
  std::vector<uint8_t> buffer(kImageChunk);
  for (uint32_t rank = 0; rank < count; ++rank) {
    const std::vector<ImageChunk> chunks = image.chunks(rank);
    for (size_t i = 0; i < chunks.size(); ++i) {
      SADDLE_RETURN_IF_ERROR(image.read(rank, i, buffer.data()));
      if (!progress(done += chunks[i].bytes, all))
        return makeError(StatusCode::Aborted, "%s: was not read to its end",
                         folder.c_str());
    }
  }
  return source->readError();
}

} // namespace saddle::weights
