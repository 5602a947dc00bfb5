#include "runtime/src/base/HostMemory.h"

#include "runtime/src/base/Descriptor.h"

#include <algorithm>
#include <cstdlib>
#include <fcntl.h>
#include <sys/resource.h>
#include <unistd.h>

namespace saddle {

/// The begin of a file of the system; empty when it is not there.
static std::string readShort(const std::string &path) {
  Descriptor file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  char text[4096];
  ssize_t got = file.ok() ? ::read(file.get(), text, sizeof text) : 0;
  return std::string(text, got > 0 ? size_t(got) : 0);
}

/// The number in a limit's file; "max", and no file at all, are no limit.
static uint64_t limitIn(const std::string &path) {
  std::string text = readShort(path);
  return !text.empty() && text[0] >= '0' && text[0] <= '9'
             ? std::strtoull(text.c_str(), nullptr, 10)
             : UINT64_MAX;
}

uint64_t controlGroupLimit(const std::string &process,
                           const std::string &root) {
  uint64_t least = UINT64_MAX;
  for (size_t begin = 0; begin < process.size();) {
    // "0::/path" of version 2, "4:cpu,memory:/path" of version 1.
    size_t end = std::min(process.find('\n', begin), process.size());
    std::string line = process.substr(begin, end - begin);
    begin = end + 1;
    size_t first = line.find(':'), second = line.find(':', first + 1);
    if (second == std::string::npos)
      continue;
    std::string controllers =
        "," + line.substr(first + 1, second - first - 1) + ",";
    bool isSecond = controllers == ",,";
    if (!isSecond && controllers.find(",memory,") == std::string::npos)
      continue;
    std::string mount = root + (isSecond ? "" : "/memory");
    const char *file = isSecond ? "/memory.max" : "/memory.limit_in_bytes";
    // Inside a container the path may be the host's, so the root counts, too.
    std::string group = line.substr(second + 1);
    while (true) {
      least = std::min(least, limitIn(mount + group + file));
      if (group.empty())
        break;
      group.resize(group.rfind('/') == std::string::npos ? 0
                                                         : group.rfind('/'));
    }
  }
  return least;
}

uint64_t hostMemory() {
  uint64_t least =
      uint64_t(sysconf(_SC_PHYS_PAGES)) * uint64_t(sysconf(_SC_PAGESIZE));
  for (auto resource : {RLIMIT_AS, RLIMIT_DATA}) {
    struct rlimit limit;
    if (::getrlimit(resource, &limit) == 0 && limit.rlim_cur != RLIM_INFINITY)
      least = std::min<uint64_t>(least, limit.rlim_cur);
  }
  return std::min(least, controlGroupLimit(readShort("/proc/self/cgroup"),
                                           "/sys/fs/cgroup"));
}

} // namespace saddle
