// A library with NCCL's symbols that does nothing but tell what it was asked.
// It lies in a file of its own, which is opened as NCCL is; tests reach its
// state through get().

#ifndef SADDLE_TEST_UNIT_CUDA_FAKENCCL_H
#define SADDLE_TEST_UNIT_CUDA_FAKENCCL_H

#include "runtime/src/cuda/Nccl.h"

#include <functional>
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
  std::string failing; // a call that fails
  std::function<void(const AllReduce &)> onAllReduce;
  std::function<void()> onAbort, onDestroy; // before either is noted

  // What it saw: "init 1/2", "sum 1 64", "abort 1", "destroy 1".
  std::mutex mutex;
  std::vector<std::string> calls;
};

} // namespace saddle::cuda

#endif // SADDLE_TEST_UNIT_CUDA_FAKENCCL_H
