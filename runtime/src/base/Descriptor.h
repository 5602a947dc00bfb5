// An open file of the system.

#ifndef SADDLE_RUNTIME_BASE_DESCRIPTOR_H
#define SADDLE_RUNTIME_BASE_DESCRIPTOR_H

#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <sys/uio.h>
#include <unistd.h>
#include <utility>

namespace saddle {

/// Owns a file descriptor. Move-only; closed by the destructor, without a word
/// about errors.
class Descriptor {
public:
  explicit Descriptor(int fd = -1) : fd(fd) {}
  Descriptor(Descriptor &&other) noexcept { *this = std::move(other); }
  Descriptor &operator=(Descriptor &&other) noexcept {
    std::swap(fd, other.fd);
    return *this;
  }
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

  /// Reads `count` bytes from `offset` on, or as many as the file has. Returns
  /// how many, or -1 with errno.
  int64_t readAt(uint64_t offset, void *to, size_t count) const {
    size_t done = 0;
    while (done < count) {
      ssize_t got = ::pread(fd, static_cast<uint8_t *>(to) + done, count - done,
                            off_t(offset + done));
      if (got < 0 && errno == EINTR)
        continue;
      if (got < 0)
        return -1;
      if (got == 0)
        break;
      done += size_t(got);
    }
    return int64_t(done);
  }

  /// As many of `count` bytes from `offset` on as the system holds in memory,
  /// without waiting for a disk; 0 also where it cannot tell.
  size_t readCachedAt(uint64_t offset, void *to, size_t count) const {
    iovec part = {to, count};
    ssize_t got = ::preadv2(fd, &part, 1, off_t(offset), RWF_NOWAIT);
    return got > 0 ? size_t(got) : 0;
  }

private:
  int fd = -1;
};

} // namespace saddle

#endif // SADDLE_RUNTIME_BASE_DESCRIPTOR_H
