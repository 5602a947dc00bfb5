// A file that is written piece by piece and may be gone on with after a crash.
// For contents that fit into memory: writeFileAtomically (File.h).

#ifndef SADDLE_RUNTIME_BASE_OUTPUTFILE_H
#define SADDLE_RUNTIME_BASE_OUTPUTFILE_H

#include "runtime/src/base/Descriptor.h"
#include "runtime/src/base/Status.h"

#include <cstddef>
#include <cstdint>
#include <string>

namespace saddle {

/// Move-only; closed by the destructor, without a word about errors.
class OutputFile {
public:
  /// Opens a regular file for reading and writing, and makes it when there is
  /// none. Errors: the folder is absent or not writable, a link.
  static StatusOr<OutputFile> open(const std::string &path);

  StatusOr<uint64_t> size() const;
  /// ResourceExhausted when the disk is full.
  Status write(uint64_t offset, const void *data, size_t count);
  /// Fills `count` bytes. DataLoss when there are fewer.
  Status read(uint64_t offset, void *to, size_t count) const;
  /// Forgets what is behind `bytes`.
  Status cut(uint64_t bytes);
  /// Returns when what was written is on the disk.
  Status flush();

private:
  OutputFile() = default;

  std::string path;
  Descriptor opened;
};

/// Makes `path` a folder, unless it is one.
Status makeFolder(const std::string &path);
/// Gives a file another name in the same file system, in place of what has it.
Status renameFile(const std::string &from, const std::string &to);
/// OK also when there is no such file.
Status removeFile(const std::string &path);

} // namespace saddle

#endif // SADDLE_RUNTIME_BASE_OUTPUTFILE_H
