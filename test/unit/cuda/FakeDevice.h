// A CUDA driver without a GPU: memory is the host's, and a launch runs the
// reference kernel of the command that the function is named after, at once, on
// the operands, counts and groups that its parameters point to. So the whole
// runtime above the driver runs, and its logits can be compared with the CPU
// target's.
//
// One at a time; the driver's calls have no other way to find it.

#ifndef SADDLE_TEST_UNIT_CUDA_FAKEDEVICE_H
#define SADDLE_TEST_UNIT_CUDA_FAKEDEVICE_H

#include "runtime/kernels/abi.h"
#include "runtime/src/comm/ThreadTransport.h"
#include "runtime/src/cuda/Driver.h"
#include "runtime/src/engine/Engine.h"

#include <atomic>
#include <functional>
#include <map>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

namespace saddle::cuda {

class FakeDevice {
public:
  /// `count` devices of `freeBytes` each.
  FakeDevice(std::shared_ptr<const Engine> engine, int count,
             uint64_t freeBytes = uint64_t(64) << 30);
  /// Everything must have been given back.
  ~FakeDevice();

  Driver driver;

  // What it pretends; set before use.
  int devices;
  uint64_t freeBytes;
  int capability = 90, multiprocessors = 132;
  bool peersReachable = true;
  /// The rank that runs alone: all memory is its own, and what it exchanges it
  /// exchanges with itself.
  std::optional<uint32_t> alone;
  /// The call with this number (from 1) fails with `failure`; 0: none. Releases
  /// never fail.
  uint64_t failingCall = 0;
  CUresult failure = CUDA_ERROR_OUT_OF_MEMORY;
  /// Called instead of running a command when it returns true; `params` are
  /// those of the launch.
  std::function<bool(const std::string &function,
                     const device::LaunchParams &params)>
      intercept;
  /// What a stream says of itself.
  std::function<CUresult()> streamState;

  // What it saw.
  struct Launch {
    std::string function;
    device::LaunchParams params;
    bool overlaps, isReplay;
    uint32_t blocks, rank;
  };
  struct Copy {
    uint64_t to, bytes;
    bool isReplay;
  };
  /// Graphs that can be replayed and have not been given back.
  std::atomic<int> liveGraphs{0};
  /// Puts a sum over all ranks into a stream, as a launch of "nccl": f32,
  /// dense.
  void enqueueAllReduce(const void *input, void *output, uint64_t elements,
                        CUstream stream);
  /// Kernels that wait for other ranks give up, now and later, as real ones do
  /// when a host says so.
  void giveUp();
  std::vector<Launch> launches() const;
  std::vector<Copy> copiesToDevice() const;
  uint64_t bytesToHost() const;
  uint64_t calls() const { return callCount; }
  /// Forgets launches and copies.
  void clear();

  struct Implementation;
  std::unique_ptr<Implementation> implementation;
  std::atomic<uint64_t> callCount{0};
};

} // namespace saddle::cuda

#endif // SADDLE_TEST_UNIT_CUDA_FAKEDEVICE_H
