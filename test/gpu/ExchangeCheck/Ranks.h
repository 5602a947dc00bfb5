// Ranks as streams: the memory of every rank lies alike, on one device or
// spread over several, as the runtime's symmetric heap does.

#ifndef SADDLE_TEST_GPU_EXCHANGECHECK_RANKS_H
#define SADDLE_TEST_GPU_EXCHANGECHECK_RANKS_H

#include "runtime/kernels/abi.h"

#include <cuda_runtime.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <vector>

namespace saddle::device {

#define CUDA(call)                                                             \
  do {                                                                         \
    cudaError_t status = (call);                                               \
    if (status != cudaSuccess) {                                               \
      std::fprintf(stderr, "%s:%d: %s: %s\n", __FILE__, __LINE__, #call,       \
                   cudaGetErrorString(status));                                \
      std::exit(1);                                                            \
    }                                                                          \
  } while (0)

using Kernel = void (*)(const LaunchParams);

/// Where things lie in a rank's memory.
struct Places {
  uint64_t step = 0, group = 4096, pairs = 8192, input, output, exchange,
           boundary, bytes;
  Places(uint64_t input, uint64_t output, uint64_t exchange, uint64_t boundary)
      : input(1 << 16) {
    auto up = [](uint64_t n) { return (n + 65535) / 65536 * 65536; };
    this->output = this->input + up(input);
    this->exchange = this->output + up(output);
    this->boundary = this->exchange + up(exchange);
    bytes = this->boundary + up(boundary);
  }
};

class Ranks {
public:
  /// `isLooped`: only the first of them runs, and its peers are itself.
  Ranks(uint32_t count, uint32_t devices, Places places, bool isLooped = false)
      : places(places), count(count), running(isLooped ? 1 : count),
        devices(devices) {
    int present = 0;
    CUDA(cudaGetDeviceCount(&present));
    if (uint32_t(present) < devices) {
      std::fprintf(stderr, "%d devices, not %u\n", present, devices);
      std::exit(1);
    }
    memory.resize(running);
    streams.resize(running);
    for (uint32_t d = 0; d < devices; ++d) {
      CUDA(cudaSetDevice(d));
      for (uint32_t other = 0; other < devices; ++other)
        if (other != d)
          CUDA(cudaDeviceEnablePeerAccess(other, 0));
    }
    for (uint32_t r = 0; r < running; ++r) {
      use(r);
      CUDA(cudaMalloc(&memory[r], places.bytes));
      CUDA(cudaMemset(memory[r], 0, places.bytes));
      CUDA(cudaStreamCreateWithFlags(&streams[r], cudaStreamNonBlocking));
    }
    CUDA(cudaHostAlloc(&fault, sizeof(Fault), cudaHostAllocPortable));
    std::memset(fault, 0, sizeof(Fault));
    std::vector<uint32_t> all(count), replicas(count);
    for (uint32_t r = 0; r < count; ++r)
      all[r] = replicas[r] = r;
    for (uint32_t r = 0; r < running; ++r) {
      writeGroup(r, places.group, all, replicas, r);
      // The pair with the next rank, and with the one before.
      if (r + 1 < running)
        writeGroup(r, places.pairs, {r, r + 1}, {0, 0}, 0);
      if (r > 0)
        writeGroup(r, places.pairs + 2048, {r - 1, r}, {0, 0}, 1);
    }
    sync();
  }

  void use(uint32_t rank) { CUDA(cudaSetDevice(rank % devices)); }
  char *at(uint32_t rank, uint64_t place) { return memory[rank] + place; }

  LaunchParams params(uint32_t rank) {
    LaunchParams p{};
    p.step = reinterpret_cast<Step *>(at(rank, places.step));
    p.group = reinterpret_cast<Group *>(at(rank, places.group));
    p.exchange = at(rank, places.exchange);
    p.fault = fault;
    p.command = 7;
    p.operands[0] = at(rank, places.input);
    p.operands[1] = at(rank, places.output);
    return p;
  }

  /// The same counts on all ranks; tokens and rows by replica.
  void setStep(const std::vector<uint32_t> &counts,
               const std::vector<uint32_t> &tokens = {},
               const std::vector<uint32_t> &rows = {}) {
    Step step{};
    for (size_t i = 0; i < counts.size(); ++i)
      step.counts[i] = counts[i];
    for (size_t i = 0; i < tokens.size(); ++i)
      step.tokens[i] = tokens[i];
    for (size_t i = 0; i < rows.size(); ++i)
      step.rows[i] = rows[i];
    step.replicas = count;
    step.timeoutNs = timeoutNs;
    for (uint32_t r = 0; r < running; ++r)
      setStep(r, step);
  }
  void setStep(uint32_t rank, const Step &step) {
    use(rank);
    CUDA(cudaMemcpy(at(rank, places.step), &step, sizeof(step),
                    cudaMemcpyHostToDevice));
  }

  void launch(uint32_t rank, Kernel kernel, uint32_t grid, uint32_t block,
              LaunchParams p, bool dependent = false) {
    use(rank);
    cudaLaunchConfig_t config{};
    config.gridDim = grid;
    config.blockDim = block;
    config.stream = streams[rank];
    cudaLaunchAttribute attribute;
    attribute.id = cudaLaunchAttributeProgrammaticStreamSerialization;
    attribute.val.programmaticStreamSerializationAllowed = 1;
    config.attrs = &attribute;
    config.numAttrs = dependent;
    void *arguments[] = {&p};
    CUDA(cudaLaunchKernelExC(&config, reinterpret_cast<const void *>(kernel),
                             arguments));
  }
  /// On all ranks.
  void launch(Kernel kernel, uint32_t grid, uint32_t block) {
    for (uint32_t r = 0; r < running; ++r)
      launch(r, kernel, grid, block, params(r));
  }

  void sync() {
    for (uint32_t r = 0; r < running; ++r) {
      use(r);
      CUDA(cudaStreamSynchronize(streams[r]));
      CUDA(cudaDeviceSynchronize());
    }
  }

  /// As after loading an engine.
  void reset() {
    sync();
    std::memset(fault, 0, sizeof(Fault));
    for (uint32_t r = 0; r < running; ++r) {
      use(r);
      CUDA(cudaMemset(at(r, places.exchange), 0,
                      places.bytes - places.exchange));
    }
    sync();
  }

  /// A graph of what `record(rank)` launches, for each rank.
  std::vector<cudaGraphExec_t>
  graphs(const std::function<void(uint32_t)> &record) {
    std::vector<cudaGraphExec_t> execs(running);
    for (uint32_t r = 0; r < running; ++r) {
      use(r);
      cudaGraph_t graph;
      CUDA(
          cudaStreamBeginCapture(streams[r], cudaStreamCaptureModeThreadLocal));
      record(r);
      CUDA(cudaStreamEndCapture(streams[r], &graph));
      CUDA(cudaGraphInstantiate(&execs[r], graph, 0));
      CUDA(cudaGraphDestroy(graph));
    }
    return execs;
  }
  void replay(const std::vector<cudaGraphExec_t> &execs) {
    for (uint32_t r = 0; r < running; ++r) {
      use(r);
      CUDA(cudaGraphLaunch(execs[r], streams[r]));
    }
  }

  const Places places;
  const uint32_t count, running, devices;
  uint64_t timeoutNs = 5'000'000'000;
  std::vector<char *> memory;
  std::vector<cudaStream_t> streams;
  Fault *fault = nullptr;

private:
  void writeGroup(uint32_t rank, uint64_t place,
                  const std::vector<uint32_t> &ranks,
                  const std::vector<uint32_t> &replicas, uint32_t index) {
    Group group{};
    group.size = ranks.size();
    group.index = index;
    group.rank = rank;
    group.width = 1;
    for (size_t i = 0; i < ranks.size(); ++i) {
      group.ranks[i] = ranks[i];
      group.replicas[i] = replicas[i];
      group.peers[i] = running == count ? memory[ranks[i]] - memory[rank] : 0;
    }
    use(rank);
    CUDA(cudaMemcpy(at(rank, place), &group, sizeof(group),
                    cudaMemcpyHostToDevice));
  }
};

} // namespace saddle::device

#endif // SADDLE_TEST_GPU_EXCHANGECHECK_RANKS_H
