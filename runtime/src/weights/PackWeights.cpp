// Writing packed folders: one rank after the other, its weights in the order in
// which they lie in memory, in chunks whose hashes a journal keeps.

#include "runtime/src/base/File.h"
#include "runtime/src/base/Hash.h"
#include "runtime/src/base/OutputFile.h"
#include "runtime/src/base/Prefetcher.h"
#include "runtime/src/engine/Programs.h"
#include "runtime/src/weights/PackedFolder.h"
#include "runtime/src/weights/WeightImage.h"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <cstring>
#include <thread>

namespace saddle::weights {

using nlohmann::json;

namespace {

using Progress = std::function<bool(uint64_t done, uint64_t all)>;

/// Takes the bytes of an image in order, with gaps that become zero.
class ImageWriter {
public:
  ImageWriter(std::string folder, uint32_t rank, const PackedHeader &header)
      : path(packedFile(folder, rank)), header(header) {}

  /// Opens what there is, and keeps the chunks whose hashes are right.
  Status open(const std::string &origin);
  /// The first byte that is not there yet.
  uint64_t position() const { return hashes.size() * kImageChunk; }
  /// Bytes of the image from `offset` on, not before those of the last call.
  Status put(uint64_t offset, const uint8_t *data, uint64_t count);
  /// Chunks up to the end; then the file has its name.
  Status finish();

private:
  std::string journalPath() const { return path + ".journal"; }
  Status closeChunk();
  /// Zeroes up to `offset`.
  Status fill(uint64_t offset);

  const std::string path;
  const PackedHeader header;
  std::optional<OutputFile> file, journal;
  std::vector<uint64_t> hashes;
  std::vector<uint8_t> chunk;
  uint64_t journalBytes = 0;
};

Status ImageWriter::open(const std::string &origin) {
  SADDLE_ASSIGN_OR_RETURN(file, OutputFile::open(path + ".part"));
  SADDLE_ASSIGN_OR_RETURN(journal, OutputFile::open(journalPath()));
  // A journal is of one header and one origin.
  std::vector<uint8_t> start(sizeof header + origin.size());
  std::memcpy(start.data(), &header, sizeof header);
  std::memcpy(start.data() + sizeof header, origin.data(), origin.size());
  SADDLE_ASSIGN_OR_RETURN(uint64_t known, journal->size());
  SADDLE_ASSIGN_OR_RETURN(uint64_t written, file->size());
  std::vector<uint8_t> found(std::min<uint64_t>(known, start.size()));
  SADDLE_RETURN_IF_ERROR(journal->read(0, found.data(), found.size()));
  journalBytes = start.size();
  if (found != start) {
    SADDLE_RETURN_IF_ERROR(journal->cut(0));
    SADDLE_RETURN_IF_ERROR(file->cut(0));
    SADDLE_RETURN_IF_ERROR(journal->write(0, start.data(), start.size()));
    std::vector<uint8_t> page(kPackedPage);
    std::memcpy(page.data(), &header, sizeof header);
    return file->write(0, page.data(), page.size());
  }
  std::vector<uint8_t> bytes(kImageChunk);
  for (; journalBytes + sizeof(uint64_t) <= known;
       journalBytes += sizeof(uint64_t)) {
    uint64_t hash, offset = kPackedPage + position();
    uint64_t count = std::min(kImageChunk, header.imageBytes - position());
    if (count == 0 || offset + count > written)
      break;
    SADDLE_RETURN_IF_ERROR(journal->read(journalBytes, &hash, sizeof hash));
    SADDLE_RETURN_IF_ERROR(file->read(offset, bytes.data(), count));
    if (hash64(bytes.data(), count) != hash)
      break;
    hashes.push_back(hash);
    if (position() >= header.imageBytes) {
      journalBytes += sizeof(uint64_t);
      break;
    }
  }
  SADDLE_RETURN_IF_ERROR(journal->cut(journalBytes));
  return Status();
}

Status ImageWriter::closeChunk() {
  uint64_t hash = hash64(chunk.data(), chunk.size());
  SADDLE_RETURN_IF_ERROR(
      file->write(kPackedPage + position(), chunk.data(), chunk.size()));
  SADDLE_RETURN_IF_ERROR(journal->write(journalBytes, &hash, sizeof hash));
  journalBytes += sizeof hash;
  hashes.push_back(hash);
  chunk.clear();
  return Status();
}

Status ImageWriter::fill(uint64_t offset) {
  while (position() + chunk.size() < offset) {
    uint64_t count = std::min(offset - position(), kImageChunk) - chunk.size();
    chunk.resize(chunk.size() + count);
    if (chunk.size() == kImageChunk)
      SADDLE_RETURN_IF_ERROR(closeChunk());
  }
  return Status();
}

Status ImageWriter::put(uint64_t offset, const uint8_t *data, uint64_t count) {
  // What an earlier run has written.
  if (uint64_t begin = position(); offset < begin && chunk.empty()) {
    uint64_t kept = std::min(count, begin - offset);
    offset += kept;
    data += kept;
    count -= kept;
  }
  if (count == 0)
    return Status();
  SADDLE_RETURN_IF_ERROR(fill(offset));
  while (count > 0) {
    uint64_t room = std::min(count, kImageChunk - chunk.size());
    chunk.insert(chunk.end(), data, data + room);
    data += room;
    count -= room;
    if (chunk.size() == kImageChunk)
      SADDLE_RETURN_IF_ERROR(closeChunk());
  }
  return Status();
}

Status ImageWriter::finish() {
  SADDLE_RETURN_IF_ERROR(fill(header.imageBytes));
  if (!chunk.empty())
    SADDLE_RETURN_IF_ERROR(closeChunk());
  std::vector<uint64_t> tail = hashes;
  tail.push_back(hashOfHashes(hashes));
  uint64_t end = kPackedPage + header.imageBytes;
  SADDLE_RETURN_IF_ERROR(
      file->write(end, tail.data(), tail.size() * sizeof(uint64_t)));
  SADDLE_RETURN_IF_ERROR(file->cut(end + tail.size() * sizeof(uint64_t)));
  SADDLE_RETURN_IF_ERROR(file->flush());
  SADDLE_RETURN_IF_ERROR(renameFile(path + ".part", path));
  return removeFile(journalPath());
}

/// A part of a weight, and its bytes in the image.
struct PlacedPart {
  const schema::Weight *weight;
  WeightPart part;
  uint64_t begin, bytes;
};

/// Beyond, the one that writes is the limit, and each takes memory.
constexpr size_t kMostThreads = 8;

/// All ranks' images.
class Packer {
public:
  Packer(const schema::Engine &engine, const WeightSource &source,
         const std::string &folder, const Progress &progress)
      : engine(engine), source(source), folder(folder), progress(progress),
        hash(imageHash(engine)),
        count(engine.topology()->tp() * engine.topology()->pp()) {}

  Status run(const std::string &origin) {
    SADDLE_RETURN_IF_ERROR(makeFolder(folder));
    SADDLE_RETURN_IF_ERROR(writeManifest(origin));
    for (uint32_t rank = 0; rank < count; ++rank)
      all += imageBytes(rank);
    for (uint32_t rank = 0; rank < count; ++rank) {
      SADDLE_RETURN_IF_ERROR(pack(rank, origin));
      done += imageBytes(rank);
    }
    return Status();
  }

private:
  uint32_t stageOf(uint32_t rank) const {
    return rank / engine.topology()->tp();
  }
  uint64_t imageBytes(uint32_t rank) const {
    return imageOffsets(engine, stageOf(rank)).back();
  }

  Status writeManifest(const std::string &origin) const {
    const std::string path = folder + "/" + kPackedManifest;
    json manifest = {{"format", kPackedFormat},
                     {"engine", hash},
                     {"ranks", count},
                     {"origin", origin},
                     {"chunk_bytes", kImageChunk}};
    const std::string text = manifest.dump(2) + "\n";
    SADDLE_ASSIGN_OR_RETURN(bool isThere, exists(path));
    if (isThere) {
      SADDLE_ASSIGN_OR_RETURN(OwnedBytes found, readFile(path));
      json old = json::parse(found.data(), found.data() + found.size(), nullptr,
                             /*allow_exceptions=*/false);
      if (!old.is_object() || old.value("engine", json()) != hash ||
          old.value("format", json()) != kPackedFormat)
        return makeError(StatusCode::InvalidArgument,
                         "%s: holds weights that were packed for another "
                         "engine; give another folder, or delete this one",
                         folder.c_str());
      // Other weights of the same shapes: none of it is kept.
      if (old.value("origin", json()) != origin)
        for (uint32_t rank = 0; rank < count; ++rank)
          SADDLE_RETURN_IF_ERROR(removeFile(packedFile(folder, rank)));
    }
    return writeFileAtomically(
        path,
        Bytes(reinterpret_cast<const uint8_t *>(text.data()), text.size()));
  }

  Status report(uint64_t bytes) const {
    if (progress(done + bytes, all))
      return Status();
    return makeError(StatusCode::Aborted,
                     "%s: is half written; run saddle-pack with the same "
                     "arguments to go on",
                     folder.c_str());
  }

  Status pack(uint32_t rank, const std::string &origin) {
    SADDLE_ASSIGN_OR_RETURN(bool isThere, exists(packedFile(folder, rank)));
    if (isThere)
      return report(imageBytes(rank)); // its end is written last
    const uint32_t stage = stageOf(rank);
    ImageWriter writer(folder, rank,
                       packedHeader(hash, rank, count, imageBytes(rank)));
    SADDLE_RETURN_IF_ERROR(writer.open(origin));
    const std::vector<uint64_t> offsets = imageOffsets(engine, stage);
    std::vector<const schema::Weight *> weights =
        engine::weightsOf(engine, stage);
    auto beginOf = [&](const schema::Weight *weight) {
      return offsets[weight->slice()->arena()] + weight->slice()->offset();
    };
    std::sort(weights.begin(), weights.end(),
              [&](const schema::Weight *a, const schema::Weight *b) {
                return beginOf(a) < beginOf(b);
              });
    std::vector<PlacedPart> parts;
    for (const schema::Weight *weight : weights)
      for (const WeightPart &each :
           splitWeight(*weight->slice(), kImageChunk)) {
        const schema::Slice &slice = *weight->slice();
        PlacedPart part = {weight, each,
                           beginOf(weight) + partOffset(slice, each),
                           partBytes(slice, each)};
        if (part.begin + part.bytes > writer.position())
          parts.push_back(part);
      }
    SADDLE_RETURN_IF_ERROR(write(parts, rank, writer));
    SADDLE_RETURN_IF_ERROR(writer.finish());
    return report(imageBytes(rank));
  }

  /// Of a rank, in their order. Executing recipes takes longer than writing
  /// what comes of them, so several threads do it.
  Status write(const std::vector<PlacedPart> &parts, uint32_t rank,
               ImageWriter &writer) const {
    const size_t threads = std::clamp<size_t>(
        std::thread::hardware_concurrency(), 1, kMostThreads);
    struct Place {
      std::vector<uint8_t> bytes, scratch;
    };
    std::vector<Place> places(2 * threads);
    Prefetcher loader(parts.size(), places.size(), [&](size_t i) {
      Place &place = places[i % places.size()];
      place.bytes.assign(parts[i].bytes, 0);
      source.loadPart(*parts[i].weight, parts[i].part, rank, place.bytes.data(),
                      place.scratch);
      return source.readError();
    });
    SADDLE_RETURN_IF_ERROR(loader.start(threads));
    for (size_t i = 0; i < parts.size(); ++i) {
      SADDLE_RETURN_IF_ERROR(loader.wait(i));
      SADDLE_RETURN_IF_ERROR(writer.put(parts[i].begin,
                                        places[i % places.size()].bytes.data(),
                                        parts[i].bytes));
      loader.release(i);
      SADDLE_RETURN_IF_ERROR(report(writer.position()));
    }
    return Status();
  }

  const schema::Engine &engine;
  const WeightSource &source;
  const std::string &folder;
  const Progress &progress;
  const std::string hash;
  const uint32_t count;
  uint64_t done = 0, all = 0;
};

} // namespace

Status
packWeights(const schema::Engine &engine, const WeightSource &source,
            const std::string &origin, const std::string &folder,
            const std::function<bool(uint64_t done, uint64_t all)> &progress) {
  return Packer(engine, source, folder, progress).run(origin);
}

} // namespace saddle::weights
