// Files: read-only mappings, whole reads of standard input, atomic writes.
// Every errno becomes a Status here and nowhere else.

#ifndef SADDLE_RUNTIME_BASE_FILE_H
#define SADDLE_RUNTIME_BASE_FILE_H

#include "runtime/src/base/Span.h"
#include "runtime/src/base/Status.h"

#include <string>
#include <vector>

namespace saddle {

/// `PATH: ACTION: strerror(error)`, with the code that `error` deserves.
Status systemError(const std::string &path, const char *action, int error);

/// A whole regular file mapped read-only. Move-only; unmaps when destroyed.
/// Shrinking the file while it is mapped makes the lost pages unreadable
/// (SIGBUS); nobody can check for that beforehand.
class MappedFile {
public:
  /// Errors: NotFound, no permission, not a regular file.
  static StatusOr<MappedFile> open(const std::string &path);

  MappedFile(MappedFile &&other) noexcept { *this = std::move(other); }
  MappedFile &operator=(MappedFile &&other) noexcept;
  ~MappedFile();

  /// Page-aligned; null when the file is empty.
  const uint8_t *data() const { return first; }
  size_t size() const { return count; }
  Bytes bytes() const { return Bytes(first, count); }

private:
  MappedFile() = default;

  const uint8_t *first = nullptr;
  size_t count = 0;
};

/// Everything up to the end of standard input.
StatusOr<std::vector<uint8_t>> readStandardInput();

/// Writes `bytes` so that `path` holds either its old or its whole new content:
/// a temporary file in the same folder, then a rename. The temporary file is
/// removed when anything fails. "-" is standard output; devices and pipes are
/// written directly. Errors: folder absent or not writable, disk full.
Status writeFileAtomically(const std::string &path, Bytes bytes);

} // namespace saddle

#endif // SADDLE_RUNTIME_BASE_FILE_H
