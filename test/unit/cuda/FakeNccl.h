// A library with NCCL's symbols that does nothing but tell what it was asked.
// It lies in a file of its own, which is opened as NCCL is; tests reach its
// state through get().

#ifndef SADDLE_TEST_UNIT_CUDA_FAKENCCL_H
#define SADDLE_TEST_UNIT_CUDA_FAKENCCL_H

#include "runtime/src/cuda/Nccl.h"

#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

namespace saddle::cuda {

struct FakeNccl {
  /// Of the library SADDLE_FAKE_NCCL; the same for the whole process.
  static FakeNccl &get();
  /// As at the start of the process.
  void reset();
  /// How often calls begin with this.
  size_t count(const std::string &prefix);

  struct AllReduce {
    const void *input;
    void *output;
    size_t elements;
    NcclType type;
    CUstream stream;
    bool isGrouped; // for several ranks at once
  };
  // What it pretends.
  int version = 22809;
  std::string failing;  // calls of this name fail
  bool hasTexts = true; // of its errors
  /// The call with this number (from 1) fails; 0: none. Ends of communicators
  /// never do.
  uint64_t failingCall = 0;
  std::function<void(const AllReduce &)> onAllReduce;
  std::function<void()> onAbort, onDestroy; // before either is noted
  std::function<void()> onFailure;          // of failingCall

  // What it saw: "init 1/2", "sum 1 64", "abort 1", "destroy 1".
  std::mutex mutex;
  std::vector<std::string> calls;
  uint64_t callCount = 0; // of those that may fail
  /// Communicators that nobody has ended; nobody does when the group that
  /// makes them fails.
  std::map<const void *, std::shared_ptr<void>> liveComms;
};

} // namespace saddle::cuda

#endif // SADDLE_TEST_UNIT_CUDA_FAKENCCL_H
