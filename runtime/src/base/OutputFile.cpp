#include "runtime/src/base/OutputFile.h"

#include "runtime/src/base/File.h"

#include <cerrno>
#include <cstdio>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

namespace saddle {

StatusOr<OutputFile> OutputFile::open(const std::string &path) {
  OutputFile file;
  file.path = path;
  file.opened = Descriptor(
      ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0666));
  if (!file.opened.ok())
    return systemError(path, "cannot be created", errno);
  return file;
}

StatusOr<uint64_t> OutputFile::size() const {
  struct stat info;
  if (::fstat(opened.get(), &info) != 0)
    return systemError(path, "cannot be read", errno);
  return uint64_t(info.st_size);
}

Status OutputFile::write(uint64_t offset, const void *data, size_t count) {
  auto *from = static_cast<const uint8_t *>(data);
  while (count > 0) {
    ssize_t put = ::pwrite(opened.get(), from, count, off_t(offset));
    if (put < 0 && errno == EINTR)
      continue;
    if (put < 0)
      return systemError(path, "cannot be written", errno);
    from += put;
    offset += uint64_t(put);
    count -= size_t(put);
  }
  return Status();
}

Status OutputFile::read(uint64_t offset, void *data, size_t count) const {
  int64_t got = opened.readAt(offset, data, count);
  if (got < 0)
    return systemError(path, "cannot be read", errno);
  if (size_t(got) < count)
    return makeError(StatusCode::DataLoss, "%s: ends too early", path.c_str());
  return Status();
}

Status OutputFile::cut(uint64_t bytes) {
  if (::ftruncate(opened.get(), off_t(bytes)) != 0)
    return systemError(path, "cannot be written", errno);
  return Status();
}

Status OutputFile::flush() {
  if (::fdatasync(opened.get()) != 0)
    return systemError(path, "cannot be written", errno);
  return Status();
}

Status makeFolder(const std::string &path) {
  if (::mkdir(path.c_str(), 0777) == 0)
    return Status();
  if (errno != EEXIST)
    return systemError(path, "cannot be created", errno);
  return requireFolder(path, "a folder to write to");
}

Status renameFile(const std::string &from, const std::string &to) {
  if (::rename(from.c_str(), to.c_str()) != 0)
    return systemError(to, "cannot be written", errno);
  return Status();
}

Status removeFile(const std::string &path) {
  if (::unlink(path.c_str()) != 0 && errno != ENOENT)
    return systemError(path, "cannot be removed", errno);
  return Status();
}

} // namespace saddle
