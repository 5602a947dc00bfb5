// Files: reads of parts and of everything, atomic writes.
// Every errno becomes a Status here and nowhere else.

#ifndef SADDLE_RUNTIME_BASE_FILE_H
#define SADDLE_RUNTIME_BASE_FILE_H

#include "runtime/src/base/Descriptor.h"
#include "runtime/src/base/Span.h"
#include "runtime/src/base/Status.h"

#include <optional>
#include <string>
#include <utility>

namespace saddle {

/// `PATH: ACTION: strerror(error)`, with the code that `error` deserves.
Status systemError(const std::string &path, const char *action, int error);

/// Whether there is something at `path`. What cannot be looked at is not
/// absent: no permission, a loop of links, a link that leads nowhere.
StatusOr<bool> exists(const std::string &path);

/// OK when `path` is a folder; `expected` says of what: "a checkpoint folder".
Status requireFolder(const std::string &path, const char *expected);

/// Bytes in memory of their own, page-aligned. Move-only. Unlike a container it
/// says when there is no memory, and does not write what is read over anyway.
class OwnedBytes {
public:
  OwnedBytes() = default;
  /// None when memory is short.
  static std::optional<OwnedBytes> allocate(size_t count);
  OwnedBytes(OwnedBytes &&other) noexcept { *this = std::move(other); }
  OwnedBytes &operator=(OwnedBytes &&other) noexcept;
  ~OwnedBytes();

  uint8_t *data() { return first; }
  const uint8_t *data() const { return first; }
  size_t size() const { return count; }
  Bytes bytes() const { return Bytes(first, count); }
  /// Of what was allocated, keeps the first `fewer`.
  void cut(size_t fewer) { count = fewer; }

private:
  uint8_t *first = nullptr;
  size_t count = 0, room = 0;
};

/// What a symbolic link at the end of a path stands for: the file that it
/// names, or nothing, so that it is not read and is replaced like a file.
enum class Links { Follow, Replace };

/// A regular file, open for reading. It is never mapped: whoever changes or
/// cuts a mapped file changes what was validated already, or ends the process
/// with SIGBUS. Move-only; reads may come from several threads.
class InputFile {
public:
  /// Errors: NotFound, no permission, not a regular file.
  static StatusOr<InputFile> open(const std::string &path,
                                  Links links = Links::Follow);

  /// In bytes, when it was opened.
  uint64_t size() const { return length; }
  /// Whether it belongs to the user of this process.
  bool isOwn() const { return own; }
  /// Fills `count` bytes from `offset` on. DataLoss when the file has become
  /// shorter.
  Status read(uint64_t offset, uint8_t *to, size_t count) const;
  /// As many of `count` bytes from `offset` on as are in the page cache,
  /// without waiting for a disk; 0 says nothing.
  size_t readCached(uint64_t offset, uint8_t *to, size_t count) const {
    return opened.readCachedAt(offset, to, count);
  }
  /// DataLoss when anybody has written to the file since it was opened, as far
  /// as its size and times tell.
  Status checkUnchanged() const;

private:
  InputFile() = default;

  std::string path;
  Descriptor opened;
  bool own = false;
  uint64_t length = 0;
  int64_t seconds = 0, nanoseconds = 0; // of its last change
};

/// The whole content of a regular file. Errors: those of InputFile, DataLoss
/// when it has more than `most` bytes, ResourceExhausted when it has more than
/// there can be memory.
StatusOr<OwnedBytes> readFile(const std::string &path,
                              uint64_t most = UINT64_MAX);

/// Everything up to the end of standard input. ResourceExhausted when that does
/// not fit into memory.
StatusOr<OwnedBytes> readStandardInput();

/// Writes `bytes` so that `path` holds either its old or its whole new content:
/// a temporary file in the same folder, then a rename. The temporary file is
/// removed when anything fails. Where links are followed, "-" is standard
/// output, and devices and pipes are written directly. Errors: folder absent or
/// not writable, disk full.
Status writeFileAtomically(const std::string &path, Bytes bytes,
                           Links links = Links::Follow);

} // namespace saddle

#endif // SADDLE_RUNTIME_BASE_FILE_H
