#include "runtime/src/base/File.h"

#include <cerrno>
#include <climits>
#include <cstdlib>
#include <cstring>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

namespace saddle {

namespace {

/// Owns a file descriptor.
class Descriptor {
public:
  explicit Descriptor(int fd) : fd(fd) {}
  Descriptor(const Descriptor &) = delete;
  Descriptor &operator=(const Descriptor &) = delete;
  ~Descriptor() {
    if (fd >= 0)
      ::close(fd);
  }
  int get() const { return fd; }
  bool ok() const { return fd >= 0; }
  /// Closes now; false with errno when the system reports a late write error.
  bool close() {
    int closing = fd;
    fd = -1;
    return ::close(closing) == 0;
  }

private:
  int fd;
};

StatusCode codeOf(int error) {
  switch (error) {
  case ENOENT:
  case ENOTDIR:
    return StatusCode::NotFound;
  case ENOSPC:
  case EDQUOT:
  case EFBIG:
  case ENOMEM:
  case EMFILE:
  case ENFILE:
    return StatusCode::ResourceExhausted;
  case EIO:
    return StatusCode::DataLoss;
  default:
    return StatusCode::InvalidArgument;
  }
}

/// Writes everything or leaves errno; short writes are retried, because only
/// the next call says why the first was short.
bool writeAll(int fd, Bytes bytes) {
  const uint8_t *next = bytes.data();
  size_t left = bytes.size();
  while (left > 0) {
    ssize_t written = ::write(fd, next, left);
    if (written < 0 && errno == EINTR)
      continue;
    if (written < 0)
      return false;
    next += written;
    left -= size_t(written);
  }
  return true;
}

Status writeDirectly(const std::string &path, Bytes bytes) {
  Descriptor file(::open(path.c_str(), O_WRONLY | O_CLOEXEC));
  if (!file.ok())
    return systemError(path, "cannot be opened for writing", errno);
  if (!writeAll(file.get(), bytes) || !file.close())
    return systemError(path, "cannot be written", errno);
  return Status();
}

/// Creates a new file beside `path`; its name goes to `name`.
int createBeside(const std::string &path, std::string &name) {
  for (unsigned attempt = 0;; ++attempt) {
    name = path + ".tmp" + std::to_string(::getpid());
    if (attempt)
      name += "." + std::to_string(attempt);
    int fd = ::open(name.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC,
                    0666); // umask applies, unlike with mkstemp
    if (fd >= 0 || errno != EEXIST || attempt == 1000)
      return fd;
  }
}

} // namespace

Status systemError(const std::string &path, const char *action, int error) {
  return makeError(codeOf(error), "%s: %s: %s", path.c_str(), action,
                   std::strerror(error));
}

StatusOr<MappedFile> MappedFile::open(const std::string &path) {
  // O_NONBLOCK: opening a pipe must not wait for a writer.
  Descriptor file(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  if (!file.ok())
    return systemError(path, "cannot be opened", errno);
  struct stat info;
  if (::fstat(file.get(), &info) != 0)
    return systemError(path, "cannot be opened", errno);
  if (!S_ISREG(info.st_mode))
    return makeError(StatusCode::InvalidArgument,
                     "%s: expected a file, but this is a %s", path.c_str(),
                     S_ISDIR(info.st_mode) ? "folder" : "device or pipe");
  MappedFile mapped;
  if (info.st_size == 0)
    return mapped;
  void *address = ::mmap(nullptr, size_t(info.st_size), PROT_READ, MAP_PRIVATE,
                         file.get(), 0);
  if (address == MAP_FAILED)
    return systemError(path, "cannot be mapped", errno);
  mapped.first = static_cast<const uint8_t *>(address);
  mapped.count = size_t(info.st_size);
  return mapped;
}

MappedFile &MappedFile::operator=(MappedFile &&other) noexcept {
  std::swap(first, other.first);
  std::swap(count, other.count);
  return *this;
}

MappedFile::~MappedFile() {
  if (first)
    ::munmap(const_cast<uint8_t *>(first), count);
}

StatusOr<std::vector<uint8_t>> readStandardInput() {
  std::vector<uint8_t> bytes;
  size_t used = 0;
  while (true) {
    if (bytes.size() - used < 65536)
      bytes.resize(bytes.size() * 2 + 65536);
    ssize_t got =
        ::read(STDIN_FILENO, bytes.data() + used, bytes.size() - used);
    if (got < 0 && errno == EINTR)
      continue;
    if (got < 0)
      return systemError("standard input", "cannot be read", errno);
    if (got == 0)
      break;
    used += size_t(got);
  }
  bytes.resize(used);
  return bytes;
}

Status writeFileAtomically(const std::string &path, Bytes bytes) {
  if (path == "-") {
    if (!writeAll(STDOUT_FILENO, bytes))
      return systemError("standard output", "cannot be written", errno);
    return Status();
  }
  std::string target = path;
  struct stat info;
  if (::stat(path.c_str(), &info) == 0) {
    if (S_ISDIR(info.st_mode))
      return systemError(path, "cannot be written", EISDIR);
    if (!S_ISREG(info.st_mode))
      return writeDirectly(path, bytes);
    // A symbolic link keeps pointing at the file that gets the new content.
    char resolved[PATH_MAX];
    if (::realpath(path.c_str(), resolved))
      target = resolved;
  }
  std::string temporary;
  Descriptor file(createBeside(target, temporary));
  if (!file.ok())
    return systemError(path, "cannot be created", errno);
  bool written = writeAll(file.get(), bytes) && ::fsync(file.get()) == 0 &&
                 file.close() &&
                 ::rename(temporary.c_str(), target.c_str()) == 0;
  if (written)
    return Status();
  int error = errno;
  ::unlink(temporary.c_str());
  return systemError(path, "cannot be written", error);
}

} // namespace saddle
