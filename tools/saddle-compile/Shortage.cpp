#include "tools/saddle-compile/Shortage.h"

#include "tools/support/Memory.h"

#include "llvm/Support/ErrorHandling.h"

#include <cstdio>
#include <cstdlib>
#include <fcntl.h>
#include <sys/resource.h>
#include <unistd.h>

namespace saddle::tools {

// LLVM's constructors and a small model take 2.3 MB together, and the passes of
// M2.5 no more than 132 kB of stack (VmStk), measured on 2026-12-01.
static constexpr rlim_t kRoom = 8 << 20;
static constexpr size_t kStack = 512 << 10;

/// Bytes of addresses that the process has taken; 0 where nobody says.
__attribute__((no_sanitize("address", "undefined"))) static rlim_t
takenAddresses() {
  char text[32] = {};
  int file = ::open("/proc/self/statm", O_RDONLY | O_CLOEXEC);
  if (file < 0)
    return 0;
  ssize_t bytes = ::read(file, text, sizeof text - 1);
  ::close(file);
  return bytes > 0 ? rlim_t(std::strtoull(text, nullptr, 10)) *
                         rlim_t(::sysconf(_SC_PAGESIZE))
                   : 0;
}

/// Runs when all libraries are mapped and none of their constructors has run:
/// later is too late, and earlier there is only the system's loader, which says
/// that it "failed to map segment from shared object" (exit status 127).
__attribute__((no_sanitize("address", "undefined"))) static void
checkAddresses(int, char **, char **) {
  rlimit limit;
  if (::getrlimit(RLIMIT_AS, &limit) != 0 || limit.rlim_cur == RLIM_INFINITY)
    return;
  rlim_t needed = takenAddresses() + kRoom;
  if (limit.rlim_cur >= needed)
    return;
  constexpr char kAddressesText[] =
      "%llu kB of addresses are allowed (ulimit -v), but %llu kB are the least "
      "that is needed; raise the limit";
  char text[200], line[sizeof text + 40];
  std::snprintf(text, sizeof text, kAddressesText,
                (unsigned long long)limit.rlim_cur >> 10,
                (unsigned long long)needed >> 10);
  int size =
      std::snprintf(line, sizeof line, "saddle-compile: error: %s [D%06x]\n",
                    text, unsigned(identify(kAddressesText)));
  [[maybe_unused]] ssize_t written = ::write(STDERR_FILENO, line, size_t(size));
  ::_exit(1);
}

__attribute__((section(".preinit_array"),
               used)) static void (*const beforeConstructors)(int, char **,
                                                              char **) =
    checkAddresses;

/// Where the stack cannot grow, a process ends with a signal.
__attribute__((noinline)) static void takeStack() {
  volatile char room[kStack];
  for (size_t i = 0; i < kStack; i += 4096)
    room[i] = 0;
}

void endWhenLLVMIsOutOfMemory() {
  takeStack();
  llvm::install_bad_alloc_error_handler(
      [](void *, const char *, bool) { sayOutOfMemory(); });
}

} // namespace saddle::tools
