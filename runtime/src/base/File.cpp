#include "runtime/src/base/File.h"

#include "runtime/src/base/HostMemory.h"

#include <algorithm>
#include <cerrno>
#include <cinttypes>
#include <climits>
#include <cstdlib>
#include <cstring>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

namespace saddle {

namespace {

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

/// The file that becomes the one at `path`, in the same folder. Where the file
/// system can, it gets a name only when it is complete: then nothing is left of
/// it, whatever ends the process. Names are short: that of `path` may be as
/// long as the system allows.
class FileToBe {
public:
  explicit FileToBe(const std::string &path)
      : path(path), file(createUnnamed()) {
    if (file.get() < 0)
      named([&](const char *fresh) {
        // umask applies, unlike with mkstemp
        file = Descriptor(
            ::open(fresh, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666));
        return file.ok();
      });
  }

  bool ok() const { return file.ok(); }
  /// All steps or none; false with errno.
  bool become(Bytes bytes) {
    if (writeAll(file.get(), bytes) && ::fsync(file.get()) == 0 &&
        (!name.empty() || giveName()) && file.close() &&
        ::rename(name.c_str(), path.c_str()) == 0)
      return true;
    int error = errno;
    if (!name.empty())
      ::unlink(name.c_str());
    errno = error;
    return false;
  }

private:
  std::string folder() const {
    size_t slash = path.rfind('/');
    return slash == std::string::npos ? "" : path.substr(0, slash + 1);
  }
  std::string link() const {
    return "/proc/self/fd/" + std::to_string(file.get());
  }
  int createUnnamed() {
    std::string place = folder();
    int fd = ::open(place.empty() ? "." : place.c_str(),
                    O_WRONLY | O_TMPFILE | O_CLOEXEC, 0666);
    // It gets its name through this.
    if (fd >= 0 &&
        ::access(("/proc/self/fd/" + std::to_string(fd)).c_str(), F_OK) != 0) {
      ::close(fd);
      return -1;
    }
    return fd;
  }
  bool giveName() {
    return named([&](const char *fresh) {
      return ::linkat(AT_FDCWD, link().c_str(), AT_FDCWD, fresh,
                      AT_SYMLINK_FOLLOW) == 0;
    });
  }
  /// Lets `take` make a file of a name that is free.
  template <typename Take>
  bool named(Take take) {
    for (unsigned attempt = 0;; ++attempt) {
      std::string fresh = folder() + ".saddle-" + std::to_string(::getpid());
      if (attempt)
        fresh += "." + std::to_string(attempt);
      if (take(fresh.c_str())) {
        name = std::move(fresh);
        return true;
      }
      if (errno != EEXIST || attempt == 1000)
        return false;
    }
  }

  const std::string path;
  std::string name; // empty: none yet
  Descriptor file;
};

} // namespace

Status systemError(const std::string &path, const char *action, int error) {
  return makeError(codeOf(error), "%s: %s: %s", path.c_str(), action,
                   std::strerror(error));
}

StatusOr<bool> exists(const std::string &path) {
  struct stat info;
  if (::stat(path.c_str(), &info) == 0)
    return true;
  if (errno == ENOENT && ::lstat(path.c_str(), &info) == 0)
    return makeError(StatusCode::NotFound,
                     "%s: is a link to a file that is not there; download it "
                     "again",
                     path.c_str());
  if (errno == ENOENT)
    return false;
  return systemError(path, "cannot be opened", errno);
}

Status requireFolder(const std::string &path, const char *expected) {
  SADDLE_ASSIGN_OR_RETURN(bool isThere, exists(path));
  if (!isThere)
    return makeError(StatusCode::NotFound,
                     "%s: there is no such folder; expected %s", path.c_str(),
                     expected);
  struct stat info;
  if (::stat(path.c_str(), &info) == 0 && !S_ISDIR(info.st_mode))
    return makeError(StatusCode::InvalidArgument,
                     "%s: expected %s, but this is a file; give the folder "
                     "that holds it",
                     path.c_str(), expected);
  return Status();
}

//===--- Reading ---------------------------------------------------------===//

std::optional<OwnedBytes> OwnedBytes::allocate(size_t count) {
  OwnedBytes bytes;
  if (count == 0)
    return bytes;
  void *memory = ::mmap(nullptr, count, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED)
    return std::nullopt;
  // An engine of 100 MiB is 25,000 small pages, which are slow to get.
  constexpr size_t kHugePage = 2 << 20;
  if (count >= 2 * kHugePage)
    ::madvise(memory, count, MADV_HUGEPAGE);
  bytes.first = static_cast<uint8_t *>(memory);
  bytes.count = bytes.room = count;
  return bytes;
}

OwnedBytes &OwnedBytes::operator=(OwnedBytes &&other) noexcept {
  std::swap(first, other.first);
  std::swap(count, other.count);
  std::swap(room, other.room);
  return *this;
}

OwnedBytes::~OwnedBytes() {
  if (first)
    ::munmap(first, room);
}

StatusOr<InputFile> InputFile::open(const std::string &path, Links links) {
  // O_NONBLOCK: opening a pipe must not wait for a writer.
  InputFile file;
  file.path = path;
  file.opened = Descriptor(
      ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK |
                               (links == Links::Follow ? 0 : O_NOFOLLOW)));
  struct stat info;
  if (!file.opened.ok() || ::fstat(file.opened.get(), &info) != 0)
    return systemError(path, "cannot be opened", errno);
  if (!S_ISREG(info.st_mode))
    return makeError(StatusCode::InvalidArgument,
                     "%s: expected a file, but this is a %s", path.c_str(),
                     S_ISDIR(info.st_mode) ? "folder" : "device or pipe");
  file.own = info.st_uid == ::geteuid();
  file.length = uint64_t(info.st_size);
  file.seconds = info.st_mtim.tv_sec;
  file.nanoseconds = info.st_mtim.tv_nsec;
  return file;
}

Status InputFile::read(uint64_t offset, uint8_t *to, size_t count) const {
  int64_t got = opened.readAt(offset, to, count);
  if (got < 0)
    return systemError(path, "cannot be read", errno);
  if (size_t(got) < count)
    return makeError(StatusCode::DataLoss,
                     "%s: ends at byte %" PRIu64 ", but had %" PRIu64
                     " bytes when it was opened; leave files alone while "
                     "they are read",
                     path.c_str(), offset + uint64_t(got), length);
  return Status();
}

Status InputFile::checkUnchanged() const {
  struct stat info;
  if (::fstat(opened.get(), &info) != 0)
    return systemError(path, "cannot be read", errno);
  if (uint64_t(info.st_size) == length && info.st_mtim.tv_sec == seconds &&
      info.st_mtim.tv_nsec == nanoseconds)
    return Status();
  return makeError(StatusCode::DataLoss,
                   "%s: was changed while it was read; leave files alone while "
                   "they are read",
                   path.c_str());
}

static Status noMemoryFor(const std::string &path, uint64_t bytes) {
  return makeError(StatusCode::ResourceExhausted,
                   "%s: no memory for its %" PRIu64 " bytes", path.c_str(),
                   bytes);
}

/// None also when the machine would promise them without having them.
static std::optional<OwnedBytes> allocateReal(uint64_t count) {
  return count <= hostMemory() ? OwnedBytes::allocate(count) : std::nullopt;
}

StatusOr<OwnedBytes> readFile(const std::string &path, uint64_t most) {
  SADDLE_ASSIGN_OR_RETURN(InputFile file, InputFile::open(path));
  if (file.size() > most)
    return makeError(StatusCode::DataLoss,
                     "%s: has %" PRIu64 " bytes, expected at most %" PRIu64,
                     path.c_str(), file.size(), most);
  std::optional<OwnedBytes> bytes = allocateReal(file.size());
  if (!bytes)
    return noMemoryFor(path, file.size());
  SADDLE_RETURN_IF_ERROR(file.read(0, bytes->data(), bytes->size()));
  SADDLE_RETURN_IF_ERROR(file.checkUnchanged());
  return std::move(*bytes);
}

StatusOr<OwnedBytes> readStandardInput() {
  const std::string name = "standard input";
  OwnedBytes bytes;
  size_t used = 0;
  while (true) {
    if (used == bytes.size()) {
      std::optional<OwnedBytes> larger = allocateReal(bytes.size() * 2 + 65536);
      if (!larger)
        return noMemoryFor(name, bytes.size() * 2 + 65536);
      std::copy_n(bytes.data(), used, larger->data());
      bytes = std::move(*larger);
    }
    ssize_t got =
        ::read(STDIN_FILENO, bytes.data() + used, bytes.size() - used);
    if (got < 0 && errno == EINTR)
      continue;
    if (got < 0)
      return systemError(name, "cannot be read", errno);
    if (got == 0)
      break;
    used += size_t(got);
  }
  bytes.cut(used);
  return bytes;
}

//===--- Writing ---------------------------------------------------------===//

Status writeFileAtomically(const std::string &path, Bytes bytes, Links links) {
  if (path == "-") {
    if (!writeAll(STDOUT_FILENO, bytes))
      return systemError("standard output", "cannot be written", errno);
    return Status();
  }
  std::string target = path;
  struct stat info;
  if (links == Links::Follow && ::stat(path.c_str(), &info) == 0) {
    if (S_ISDIR(info.st_mode))
      return systemError(path, "cannot be written", EISDIR);
    if (!S_ISREG(info.st_mode))
      return writeDirectly(path, bytes);
    // A symbolic link keeps pointing at the file that gets the new content.
    char resolved[PATH_MAX];
    if (::realpath(path.c_str(), resolved))
      target = resolved;
  }
  FileToBe file(target);
  if (!file.ok())
    return systemError(path, "cannot be created", errno);
  if (!file.become(bytes))
    return systemError(path, "cannot be written", errno);
  return Status();
}

} // namespace saddle
