#include "runtime/src/engine/EngineFile.h"

#include "runtime/src/base/Hash.h"

#include <algorithm>
#include <cinttypes>
#include <cstring>

namespace saddle {

namespace {

// A text-mode transfer rewrites the line end and thereby breaks the magic.
constexpr uint8_t kMagic[8] = {'S', 'A', 'D', 'D', 'L', 'E', '\r', '\n'};
constexpr uint64_t kSegmentAlignment = 4096;
// FlatBuffers counts with signed 32-bit offsets.
constexpr uint64_t kMaxFlatBufferBytes = (uint64_t(1) << 31) - 1;

// Offsets of the header's fields.
constexpr size_t kMajorAt = 8, kMinorAt = 10, kHeaderBytesAt = 12,
                 kFlatBufferBytesAt = 16, kSegmentBaseAt = 24,
                 kSegmentBytesAt = 32, kFileBytesAt = 40, kPayloadHashAt = 48,
                 kHeaderHashAt = 56;

void put(uint8_t *at, uint64_t value, unsigned bytes) {
  for (unsigned i = 0; i < bytes; ++i)
    at[i] = uint8_t(value >> (8 * i));
}

uint64_t get(const uint8_t *at, unsigned bytes) {
  uint64_t value = 0;
  for (unsigned i = 0; i < bytes; ++i)
    value |= uint64_t(at[i]) << (8 * i);
  return value;
}

/// Where the segments of a file begin; only meaningful when it has any.
uint64_t segmentBaseFor(uint64_t flatbufferBytes) {
  uint64_t end = kEngineHeaderBytes + flatbufferBytes;
  return (end + kSegmentAlignment - 1) / kSegmentAlignment * kSegmentAlignment;
}

Status checkField(const std::string &name, const char *field, uint64_t found,
                  uint64_t expected) {
  if (found == expected)
    return Status();
  return makeError(StatusCode::DataLoss,
                   "%s: header field %s is %" PRIu64 ", expected %" PRIu64,
                   name.c_str(), field, found, expected);
}

Status checkHash(const std::string &name, const char *what, uint64_t found,
                 uint64_t recorded) {
  if (found == recorded)
    return Status();
  return makeError(StatusCode::DataLoss,
                   "%s: damaged: the %s has hash %016" PRIx64
                   ", but %016" PRIx64 " is recorded",
                   name.c_str(), what, found, recorded);
}

} // namespace

std::vector<uint8_t> packEngineFile(Bytes flatbuffer, Bytes segments) {
  uint64_t end = kEngineHeaderBytes + flatbuffer.size();
  uint64_t segmentBase =
      segments.empty() ? 0 : segmentBaseFor(flatbuffer.size());
  std::vector<uint8_t> file(segments.empty() ? end
                                             : segmentBase + segments.size());
  uint8_t *header = file.data();
  std::memcpy(header, kMagic, sizeof kMagic);
  put(header + kMajorAt, kEngineMajor, 2);
  put(header + kMinorAt, kEngineMinor, 2);
  put(header + kHeaderBytesAt, kEngineHeaderBytes, 4);
  put(header + kFlatBufferBytesAt, flatbuffer.size(), 8);
  put(header + kSegmentBaseAt, segmentBase, 8);
  put(header + kSegmentBytesAt, segments.size(), 8);
  put(header + kFileBytesAt, file.size(), 8);
  std::copy(flatbuffer.begin(), flatbuffer.end(),
            file.begin() + kEngineHeaderBytes);
  std::copy(segments.begin(), segments.end(),
            file.begin() + ptrdiff_t(segmentBase));
  put(header + kPayloadHashAt,
      hash64(file.data() + kEngineHeaderBytes,
             file.size() - kEngineHeaderBytes),
      8);
  put(header + kHeaderHashAt, hash64(header, kHeaderHashAt), 8);
  return file;
}

StatusOr<EngineFileParts> unpackEngineFile(Bytes file,
                                           const std::string &name) {
  const char *path = name.c_str();
  if (file.size() < kEngineHeaderBytes)
    return makeError(StatusCode::DataLoss,
                     "%s: truncated: %zu bytes, but an engine file begins "
                     "with a header of %zu",
                     path, file.size(), kEngineHeaderBytes);
  const uint8_t *header = file.data();
  if (std::memcmp(header, kMagic, 6) != 0)
    return makeError(StatusCode::DataLoss,
                     "%s: not an engine file: it does not begin with "
                     "\"SADDLE\"",
                     path);
  if (std::memcmp(header + 6, kMagic + 6, 2) != 0)
    return makeError(StatusCode::DataLoss,
                     "%s: damaged: the line end after \"SADDLE\" was changed; "
                     "copy the file in binary mode",
                     path);
  unsigned major = unsigned(get(header + kMajorAt, 2)),
           minor = unsigned(get(header + kMinorAt, 2));
  if (major != kEngineMajor || minor > kEngineMinor)
    return makeError(StatusCode::Unsupported,
                     "%s: engine format %u.%u, but this build reads %u.0 to "
                     "%u.%u; compile the engine again with this version",
                     path, major, minor, kEngineMajor, kEngineMajor,
                     kEngineMinor);
  SADDLE_RETURN_IF_ERROR(checkHash(name, "header",
                                   hash64(header, kHeaderHashAt),
                                   get(header + kHeaderHashAt, 8)));

  SADDLE_RETURN_IF_ERROR(checkField(name, "header_bytes",
                                    get(header + kHeaderBytesAt, 4),
                                    kEngineHeaderBytes));
  uint64_t fileBytes = get(header + kFileBytesAt, 8);
  if (fileBytes != file.size())
    return makeError(StatusCode::DataLoss,
                     "%s: %s: the header says %" PRIu64
                     " bytes, but the file has %zu",
                     path, file.size() < fileBytes ? "truncated" : "damaged",
                     fileBytes, file.size());
  uint64_t flatbufferBytes = get(header + kFlatBufferBytesAt, 8);
  if (flatbufferBytes > file.size() - kEngineHeaderBytes ||
      flatbufferBytes > kMaxFlatBufferBytes)
    return makeError(StatusCode::DataLoss,
                     "%s: header field flatbuffer_bytes is %" PRIu64
                     ", but the file holds %zu bytes after the header (and "
                     "the limit is %" PRIu64 ")",
                     path, flatbufferBytes, file.size() - kEngineHeaderBytes,
                     kMaxFlatBufferBytes);
  uint64_t segmentBytes = get(header + kSegmentBytesAt, 8);
  uint64_t end = kEngineHeaderBytes + flatbufferBytes;
  uint64_t segmentBase = segmentBytes ? segmentBaseFor(flatbufferBytes) : 0;
  SADDLE_RETURN_IF_ERROR(checkField(
      name, "segment_base", get(header + kSegmentBaseAt, 8), segmentBase));
  uint64_t partsEnd = segmentBytes ? segmentBase : end;
  SADDLE_RETURN_IF_ERROR(
      checkField(name, "segment_bytes", segmentBytes,
                 fileBytes < partsEnd ? 0 : fileBytes - partsEnd));

  SADDLE_RETURN_IF_ERROR(checkHash(
      name, "content",
      hash64(header + kEngineHeaderBytes, file.size() - kEngineHeaderBytes),
      get(header + kPayloadHashAt, 8)));
  EngineFileParts parts;
  parts.flatbuffer = Bytes(header + kEngineHeaderBytes, flatbufferBytes);
  if (segmentBytes)
    parts.segments = Bytes(header + segmentBase, segmentBytes);
  return parts;
}

} // namespace saddle
