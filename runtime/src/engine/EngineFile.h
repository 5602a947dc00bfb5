// The envelope of an engine file: header, hashes, and where the parts lie
// (docs/EngineFormat.md). What the parts say is not looked at here.

#ifndef SADDLE_RUNTIME_ENGINE_ENGINEFILE_H
#define SADDLE_RUNTIME_ENGINE_ENGINEFILE_H

#include "runtime/src/base/Span.h"
#include "runtime/src/base/Status.h"

#include <string>
#include <vector>

namespace saddle {

/// The format that this build writes, and the newest that it reads.
constexpr uint16_t kEngineMajor = 2;
constexpr uint16_t kEngineMinor = 5;

constexpr size_t kEngineHeaderBytes = 64;

/// The bytes of an engine file around a finished FlatBuffer. `segments` is the
/// concatenation of 4096-aligned segments, or empty. Deterministic.
std::vector<uint8_t> packEngineFile(Bytes flatbuffer, Bytes segments);

/// The parts of an engine file, borrowed from its bytes.
struct EngineFileParts {
  Bytes flatbuffer;
  Bytes segments;
};

/// Checks magic, version, hashes and ranges of `file`, in this order; `name`
/// begins the messages.
StatusOr<EngineFileParts> unpackEngineFile(Bytes file, const std::string &name);

} // namespace saddle

#endif // SADDLE_RUNTIME_ENGINE_ENGINEFILE_H
