// How much memory there can be, asked before it is taken: a container's limit
// is met with a signal that nobody can answer.

#ifndef SADDLE_RUNTIME_BASE_HOSTMEMORY_H
#define SADDLE_RUNTIME_BASE_HOSTMEMORY_H

#include <cstdint>
#include <string>

namespace saddle {

/// The most bytes that this process can have, in use or not: the machine's
/// memory, or a limit of the process (address space, data) or of its control
/// group that is lower. Asked anew by every call.
uint64_t hostMemory();

/// The lowest limit of a control group and those around it; UINT64_MAX without
/// one. `process` is the text of /proc/self/cgroup, `root` the folder where
/// control groups are mounted: "/sys/fs/cgroup".
uint64_t controlGroupLimit(const std::string &process, const std::string &root);

/// a + b and a * b, or UINT64_MAX when they are larger.
inline uint64_t saturatingSum(uint64_t a, uint64_t b) {
  uint64_t sum;
  return __builtin_add_overflow(a, b, &sum) ? UINT64_MAX : sum;
}
inline uint64_t saturatingProduct(uint64_t a, uint64_t b) {
  uint64_t product;
  return __builtin_mul_overflow(a, b, &product) ? UINT64_MAX : product;
}

} // namespace saddle

#endif // SADDLE_RUNTIME_BASE_HOSTMEMORY_H
