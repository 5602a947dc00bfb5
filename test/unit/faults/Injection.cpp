#include "test/unit/faults/Injection.h"

#include <atomic>
#include <cerrno>
#include <cstddef>
#include <cstdlib>
#include <new>
#include <pthread.h>
#include <sys/mman.h>
#include <unistd.h>

namespace saddle::faults {

// No call has the number 0.
static std::atomic<uint64_t> failing{0}, counted{0};
static std::atomic<Call> failingCall{Call::Allocate};
static std::atomic<bool> lasts{false};
static std::atomic<int64_t> blocks{0};

Injection::Injection(Call call, uint64_t number, bool lasting) {
  failingCall = call;
  lasts = lasting;
  counted = 0;
  failing = number;
}

Injection::~Injection() { failing = 0; }

bool Injection::hasFailed() const { return counted >= failing; }

int64_t liveBlocks() { return blocks; }

static bool fails(Call call) {
  uint64_t number = failing.load(std::memory_order_relaxed);
  if (number == 0 || failingCall.load(std::memory_order_relaxed) != call)
    return false;
  uint64_t own = ++counted;
  return own == number || (own > number && lasts);
}

static void *allocate(std::size_t count, std::size_t alignment) noexcept {
  if (fails(Call::Allocate))
    return nullptr;
  void *block = nullptr;
  if (alignment <= alignof(std::max_align_t))
    block = std::malloc(count ? count : 1);
  else if (posix_memalign(&block, alignment, count ? count : 1) != 0)
    block = nullptr;
  blocks += block != nullptr;
  return block;
}

static void *allocateOrThrow(std::size_t count, std::size_t alignment = 1) {
  if (void *block = allocate(count, alignment))
    return block;
  throw std::bad_alloc();
}

static void release(void *block) noexcept {
  blocks -= block != nullptr;
  std::free(block);
}

} // namespace saddle::faults

using namespace saddle::faults;

void *operator new(std::size_t count) { return allocateOrThrow(count); }
void *operator new[](std::size_t count) { return allocateOrThrow(count); }
void *operator new(std::size_t count, std::align_val_t alignment) {
  return allocateOrThrow(count, std::size_t(alignment));
}
void *operator new[](std::size_t count, std::align_val_t alignment) {
  return allocateOrThrow(count, std::size_t(alignment));
}
void *operator new(std::size_t count, const std::nothrow_t &) noexcept {
  return allocate(count, 1);
}
void *operator new[](std::size_t count, const std::nothrow_t &) noexcept {
  return allocate(count, 1);
}
void operator delete(void *block) noexcept { release(block); }
void operator delete[](void *block) noexcept { release(block); }
void operator delete(void *block, std::size_t) noexcept { release(block); }
void operator delete[](void *block, std::size_t) noexcept { release(block); }
void operator delete(void *block, std::align_val_t) noexcept { release(block); }
void operator delete[](void *block, std::align_val_t) noexcept {
  release(block);
}
void operator delete(void *block, std::size_t, std::align_val_t) noexcept {
  release(block);
}
void operator delete[](void *block, std::size_t, std::align_val_t) noexcept {
  release(block);
}
void operator delete(void *block, const std::nothrow_t &) noexcept {
  release(block);
}
void operator delete[](void *block, const std::nothrow_t &) noexcept {
  release(block);
}

// The linker's --wrap: calls of these names in our objects come here.
extern "C" {

void *__real_mmap(void *, size_t, int, int, int, off_t);
ssize_t __real_pread(int, void *, size_t, off_t);
int __real_pthread_create(pthread_t *, const pthread_attr_t *,
                          void *(*)(void *), void *);

void *__wrap_mmap(void *address, size_t length, int protection, int flags,
                  int file, off_t offset) {
  if (fails(Call::Map)) {
    errno = ENOMEM;
    return MAP_FAILED;
  }
  return __real_mmap(address, length, protection, flags, file, offset);
}

ssize_t __wrap_pread(int file, void *to, size_t count, off_t offset) {
  if (fails(Call::Read)) {
    errno = EIO;
    return -1;
  }
  if (fails(Call::Cut))
    return 0;
  return __real_pread(file, to, count, offset);
}

int __wrap_pthread_create(pthread_t *thread, const pthread_attr_t *attributes,
                          void *(*start)(void *), void *argument) {
  if (fails(Call::Thread))
    return EAGAIN;
  return __real_pthread_create(thread, attributes, start, argument);
}

} // extern "C"
