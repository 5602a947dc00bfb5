// Makes one call of the system fail: the allocation, the mapping, the read or
// the thread with a number. Whoever links Injection.cpp has operator new of its
// own, and the calls of the system that saddle_wrap_system_calls wraps.

#ifndef SADDLE_TEST_UNIT_FAULTS_INJECTION_H
#define SADDLE_TEST_UNIT_FAULTS_INJECTION_H

#include <cstdint>

namespace saddle::faults {

enum class Call {
  Allocate, // operator new throws; without throwing, it returns null
  Map,      // mmap: ENOMEM
  Read,     // pread: EIO
  Cut,      // pread: the end of the file
  Thread,   // pthread_create: EAGAIN
};

/// While it lives, the call with this number (from 1, on any thread) fails, and
/// with `lasting` all behind it. One at a time.
class Injection {
public:
  Injection(Call call, uint64_t number, bool lasting = false);
  ~Injection();
  Injection(const Injection &) = delete;
  Injection &operator=(const Injection &) = delete;

  /// Whether the call was met.
  bool hasFailed() const;
};

/// Blocks of operator new that have not been given back.
int64_t liveBlocks();

} // namespace saddle::faults

#endif // SADDLE_TEST_UNIT_FAULTS_INJECTION_H
