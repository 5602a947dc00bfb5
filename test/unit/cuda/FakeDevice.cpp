#include "test/unit/cuda/FakeDevice.h"

#include "runtime/kernels/chain.h"
#include "runtime/src/backend/RowCounts.h"
#include "runtime/src/comm/Exchange.h"
#include "runtime/src/cpu/Kernels.h"
#include "runtime/src/engine/States.h"
#include "runtime/src/engine/Validate.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <cstring>
#include <set>

namespace saddle::cuda {

using backend::RowCounts;

namespace {

/// A stream, or what it captures.
struct FakeStream {
  bool isCapturing = false;
  std::vector<std::function<void(bool isReplay)>> captured;
};
struct FakeGraph {
  std::vector<std::function<void(bool isReplay)>> work;
};
struct FakeEvent {
  float time = 0;
};

/// A team of one.
struct Alone {
  uint32_t index() const { return 0; }
  uint32_t size() const { return 1; }
  bool all(bool holds) const { return holds; }
};

std::atomic<FakeDevice *> current{nullptr};

} // namespace

struct FakeDevice::Implementation {
  std::shared_ptr<const Engine> engine;
  mutable std::mutex mutex;
  std::map<std::string, std::unique_ptr<std::string>> functions;
  std::map<CUfunction, unsigned> dynamicSharedBytes;
  std::vector<Launch> launches;
  std::vector<Copy> copies;
  std::atomic<uint64_t> bytesToHost{0};
  std::atomic<uint32_t> clock{0}; // milliseconds; every record takes one
  std::atomic<int64_t> alive{0};  // handles and memory not given back
  std::unique_ptr<comm::ThreadTransport> transport;
  uint64_t heap = 0, heapBytes = 0;
  const std::optional<uint32_t> *alone = nullptr; // of the device

  void run(const std::string &function, const device::LaunchParams &params);
  uint32_t rankAt(const void *address) const {
    if (*alone)
      return **alone;
    return uint32_t((reinterpret_cast<uint64_t>(address) - heap) /
                    (heapBytes / engine->worldSize()));
  }
  void runCollective(const schema::Collective &collective, const View *views,
                     const RowCounts &counts, uint32_t rank,
                     const device::LaunchParams &params);
};

//===--- What a launch does -----------------------------------------------===//

void FakeDevice::Implementation::run(const std::string &function,
                                     const device::LaunchParams &params) {
  if (function == device::kChainKernel) {
    device::ChainWork<Alone>(
        *static_cast<device::Chain *>(params.operands[0]),
        *static_cast<const device::ChainLink *>(params.operands[1]), Alone())
        .run();
    return;
  }
  unsigned stage = 0, entryIndex = 0, number = 0;
  ASSERT_EQ(
      std::sscanf(function.c_str(), "%u.%u.%u", &stage, &entryIndex, &number),
      3);
  EXPECT_EQ(params.command, number);
  const schema::Engine &root = engine->root();
  uint32_t world = engine->worldSize();
  uint32_t rank = rankAt(params.step);
  ASSERT_LT(rank, world);
  const schema::Entry &entry =
      *root.programs()->Get(stage)->entries()->Get(entryIndex);
  const schema::Command &command = *entry.commands()->Get(number);

  // The batch as the step header tells it.
  backend::Batch batch;
  batch.tokenCounts.assign(params.step->tokens,
                           params.step->tokens + params.step->replicas);
  batch.rowCounts.assign(params.step->rows,
                         params.step->rows + params.step->replicas);
  RowCounts counts(*root.topology(), rank);
  counts.set(batch, backend::RowRules(entry));
  for (size_t i = 0; i < RowCounts::kExtents; ++i)
    EXPECT_EQ(params.step->counts[i], counts.of(schema::Extent(i))) << i;

  std::vector<uint32_t> slices;
  if (const auto *launch = command.action_as_Launch())
    slices.assign(launch->operands()->begin(), launch->operands()->end());
  else if (const auto *collective = command.action_as_Collective())
    slices = {collective->input(), collective->output()};
  else if (const auto *transfer = command.action_as_Transfer())
    slices = {transfer->slice()};
  std::vector<View> views;
  for (size_t i = 0; i < slices.size(); ++i) {
    engine::StateCounts states{params.step->slots / root.limits()->page_size(),
                               root.limits()->max_batch()};
    View view = engine::viewOf(root, *entry.slices()->Get(slices[i]), states);
    view.data = static_cast<uint8_t *>(params.operands[i]);
    views.push_back(view);
  }

  if (const auto *launch = command.action_as_Launch()) {
    cpu::Scratch scratch;
    auto bound = cpu::bindLaunch(*root.kernels()->Get(launch->kernel()), views,
                                 rank, scratch);
    ASSERT_TRUE(scratch.allocate().ok());
    if (uint64_t rows = counts.of(launch->extent()))
      bound->run(rows);
  } else if (const auto *collective = command.action_as_Collective()) {
    runCollective(*collective, views.data(), counts, rank, params);
  } else if (const auto *transfer = command.action_as_Transfer()) {
    bool sends = transfer->kind() == schema::TransferKind::SEND;
    const device::Group &group = *params.group;
    ASSERT_EQ(group.size, 2u);
    EXPECT_EQ(group.index, sends ? 0u : 1u);
    EXPECT_EQ(group.ranks[group.index], rank);
    comm::Message message{group.ranks[sends ? 1 : 0], views[0],
                          command.place()->c_str()};
    uint64_t rows = counts.of(transfer->extent());
    Status status = sends ? transport->send(rank, message, rows, 0)
                          : transport->receive(rank, message, rows, 0);
    EXPECT_TRUE(status.ok()) << status.message();
  }
}

void FakeDevice::Implementation::runCollective(
    const schema::Collective &collective, const View *views,
    const RowCounts &counts, uint32_t rank,
    const device::LaunchParams &params) {
  const device::Group &group = *params.group;
  EXPECT_EQ(group.rank, rank);
  EXPECT_EQ(group.ranks[group.index], rank);
  // The peers' exchange memory is where the group says.
  uint64_t stride = *alone ? 0 : heapBytes / engine->worldSize();
  for (uint32_t i = 0; i < group.size; ++i)
    EXPECT_EQ(uint64_t(group.peers[i]),
              (uint64_t(group.ranks[i]) - rank) * stride);
  EXPECT_NE(params.exchange, nullptr);
  EXPECT_NE(params.fault, nullptr);
  if (*alone) {
    std::vector<comm::Buffers> members(group.size, {views[0], views[1]});
    std::vector<float> scratch;
    comm::exchange({collective.kind(), collective.dim(), collective.layout()},
                   counts.ofMembers(collective), members, scratch);
    return;
  }
  comm::Call call{{collective.kind(), collective.dim(), collective.layout()},
                  collective.groups(),
                  {views[0], views[1]},
                  "collective"};
  Status status = transport->run(rank, call, counts.ofMembers(collective));
  EXPECT_TRUE(status.ok() || status.code() == StatusCode::Aborted)
      << status.message();
}

//===--- The driver's calls -----------------------------------------------===//

/// Counts a call; whether it is the one that fails.
static bool fails() {
  FakeDevice &fake = *current;
  if (++fake.callCount != fake.failingCall)
    return false;
  fake.giveUp();
  return true;
}
#define FAKE_CALL()                                                            \
  if (fails())                                                                 \
    return current.load()->failure;                                            \
  [[maybe_unused]] FakeDevice &fake = *current;                                \
  [[maybe_unused]] FakeDevice::Implementation &state = *fake.implementation

/// Now, or when the graph is replayed that the stream captures.
static void enqueue(CUstream stream, std::function<void(bool)> work) {
  auto *fake = reinterpret_cast<FakeStream *>(stream);
  if (fake->isCapturing)
    fake->captured.push_back(std::move(work));
  else
    work(false);
}

template <typename Handle, typename T>
static Handle toHandle(T *object) {
  ++current.load()->implementation->alive;
  return reinterpret_cast<Handle>(object);
}
template <typename T, typename Handle>
static CUresult destroy(Handle handle) {
  --current.load()->implementation->alive;
  delete reinterpret_cast<T *>(handle);
  return CUDA_SUCCESS;
}

static void fillDevices(Driver &driver) {
  driver.cuInit = [](unsigned) { return CUDA_SUCCESS; };
  driver.cuDriverGetVersion = [](int *version) {
    *version = 13000;
    return CUDA_SUCCESS;
  };
  driver.cuGetErrorName = [](CUresult, const char **name) {
    *name = "CUDA_ERROR_FAKE";
    return CUDA_SUCCESS;
  };
  driver.cuGetErrorString = [](CUresult, const char **text) {
    *text = "it was asked to fail";
    return CUDA_SUCCESS;
  };
  driver.cuDeviceGetCount = [](int *count) {
    FAKE_CALL();
    *count = fake.devices;
    return CUDA_SUCCESS;
  };
  driver.cuDeviceGet = [](CUdevice *device, int ordinal) {
    FAKE_CALL();
    *device = ordinal;
    return CUDA_SUCCESS;
  };
  driver.cuDeviceGetName = [](char *name, int size, CUdevice) {
    FAKE_CALL();
    std::snprintf(name, size_t(size), "Fake H200");
    return CUDA_SUCCESS;
  };
  driver.cuDeviceGetAttribute = [](int *value, CUdevice_attribute which,
                                   CUdevice) {
    FAKE_CALL();
    *value = which == CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR
                 ? fake.capability / 10
             : which == CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR
                 ? fake.capability % 10
                 : fake.multiprocessors;
    return CUDA_SUCCESS;
  };
  driver.cuDeviceCanAccessPeer = [](int *can, CUdevice, CUdevice) {
    FAKE_CALL();
    *can = fake.peersReachable;
    return CUDA_SUCCESS;
  };
  driver.cuDevicePrimaryCtxRetain = [](CUcontext *context, CUdevice device) {
    FAKE_CALL();
    ++state.alive;
    *context = reinterpret_cast<CUcontext>(uintptr_t(device) + 1);
    return CUDA_SUCCESS;
  };
  driver.cuDevicePrimaryCtxRelease = [](CUdevice) {
    --current.load()->implementation->alive;
    return CUDA_SUCCESS;
  };
  driver.cuCtxPushCurrent = [](CUcontext) { return CUDA_SUCCESS; };
  driver.cuCtxPopCurrent = [](CUcontext *) { return CUDA_SUCCESS; };
}

static void fillMemory(Driver &driver) {
  driver.cuMemGetInfo = [](size_t *available, size_t *total) {
    FAKE_CALL();
    *available = *total = fake.freeBytes;
    return CUDA_SUCCESS;
  };
  driver.cuMemAlloc = [](CUdeviceptr *address, size_t bytes) {
    FAKE_CALL();
    ++state.alive;
    *address = reinterpret_cast<CUdeviceptr>(
        std::aligned_alloc(256, (bytes + 255) / 256 * 256));
    // Device memory is not zero at first.
    std::memset(reinterpret_cast<void *>(*address), 0xff, bytes);
    return CUDA_SUCCESS;
  };
  driver.cuMemFree = [](CUdeviceptr address) {
    --current.load()->implementation->alive;
    std::free(reinterpret_cast<void *>(address));
    return CUDA_SUCCESS;
  };
  driver.cuMemHostAlloc = [](void **address, size_t bytes, unsigned) {
    FAKE_CALL();
    ++state.alive;
    *address = std::malloc(bytes);
    return CUDA_SUCCESS;
  };
  driver.cuMemFreeHost = [](void *address) {
    --current.load()->implementation->alive;
    std::free(address);
    return CUDA_SUCCESS;
  };
  driver.cuMemGetAllocationGranularity = [](size_t *granularity,
                                            const CUmemAllocationProp *,
                                            CUmemAllocationGranularity_flags) {
    FAKE_CALL();
    *granularity = 4096;
    return CUDA_SUCCESS;
  };
  driver.cuMemAddressReserve = [](CUdeviceptr *address, size_t bytes, size_t,
                                  CUdeviceptr, unsigned long long) {
    FAKE_CALL();
    ++state.alive;
    state.heap = *address =
        reinterpret_cast<CUdeviceptr>(std::aligned_alloc(4096, bytes));
    state.heapBytes = bytes;
    std::memset(reinterpret_cast<void *>(*address), 0xff, bytes);
    return CUDA_SUCCESS;
  };
  driver.cuMemAddressFree = [](CUdeviceptr address, size_t) {
    --current.load()->implementation->alive;
    std::free(reinterpret_cast<void *>(address));
    return CUDA_SUCCESS;
  };
  driver.cuMemCreate = [](CUmemGenericAllocationHandle *handle, size_t,
                          const CUmemAllocationProp *, unsigned long long) {
    FAKE_CALL();
    ++state.alive;
    *handle = 1;
    return CUDA_SUCCESS;
  };
  driver.cuMemRelease = [](CUmemGenericAllocationHandle) {
    --current.load()->implementation->alive;
    return CUDA_SUCCESS;
  };
  driver.cuMemMap = [](CUdeviceptr, size_t, size_t,
                       CUmemGenericAllocationHandle, unsigned long long) {
    FAKE_CALL();
    ++state.alive;
    return CUDA_SUCCESS;
  };
  driver.cuMemUnmap = [](CUdeviceptr, size_t) {
    --current.load()->implementation->alive;
    return CUDA_SUCCESS;
  };
  driver.cuMemSetAccess = [](CUdeviceptr, size_t, const CUmemAccessDesc *,
                             size_t) {
    FAKE_CALL();
    return CUDA_SUCCESS;
  };
}

static void fillCopies(Driver &driver) {
  driver.cuMemsetD8Async = [](CUdeviceptr address, unsigned char value,
                              size_t bytes, CUstream) {
    FAKE_CALL();
    std::memset(reinterpret_cast<void *>(address), value, bytes);
    return CUDA_SUCCESS;
  };
  driver.cuMemcpyHtoDAsync = [](CUdeviceptr to, const void *from, size_t bytes,
                                CUstream stream) {
    FAKE_CALL();
    enqueue(stream, [&state, to, from, bytes](bool isReplay) {
      std::memcpy(reinterpret_cast<void *>(to), from, bytes);
      std::lock_guard<std::mutex> lock(state.mutex);
      state.copies.push_back({to, bytes, isReplay});
    });
    return CUDA_SUCCESS;
  };
  driver.cuMemcpyDtoDAsync = [](CUdeviceptr to, CUdeviceptr from, size_t bytes,
                                CUstream) {
    FAKE_CALL();
    std::memcpy(reinterpret_cast<void *>(to),
                reinterpret_cast<const void *>(from), bytes);
    return CUDA_SUCCESS;
  };
  driver.cuMemcpyDtoHAsync = [](void *to, CUdeviceptr from, size_t bytes,
                                CUstream) {
    FAKE_CALL();
    std::memcpy(to, reinterpret_cast<void *>(from), bytes);
    state.bytesToHost += bytes;
    return CUDA_SUCCESS;
  };
  driver.cuMemcpy2DAsync = [](const CUDA_MEMCPY2D *copy, CUstream) {
    FAKE_CALL();
    for (size_t i = 0; i < copy->Height; ++i)
      std::memcpy(
          reinterpret_cast<uint8_t *>(copy->dstDevice) + i * copy->dstPitch,
          static_cast<const uint8_t *>(copy->srcHost) + i * copy->srcPitch,
          copy->WidthInBytes);
    return CUDA_SUCCESS;
  };
}

static void fillStreams(Driver &driver) {
  driver.cuStreamCreate = [](CUstream *stream, unsigned) {
    FAKE_CALL();
    *stream = toHandle<CUstream>(new FakeStream);
    return CUDA_SUCCESS;
  };
  driver.cuStreamDestroy = destroy<FakeStream, CUstream>;
  driver.cuStreamQuery = [](CUstream) {
    FAKE_CALL();
    return fake.streamState ? fake.streamState() : CUDA_SUCCESS;
  };
  driver.cuStreamSynchronize = [](CUstream) {
    FAKE_CALL();
    return CUDA_SUCCESS;
  };
  driver.cuStreamBeginCapture = [](CUstream stream, CUstreamCaptureMode) {
    FAKE_CALL();
    reinterpret_cast<FakeStream *>(stream)->isCapturing = true;
    return CUDA_SUCCESS;
  };
  driver.cuStreamEndCapture = [](CUstream stream, CUgraph *graph) {
    FAKE_CALL();
    auto *captured = reinterpret_cast<FakeStream *>(stream);
    captured->isCapturing = false;
    *graph = toHandle<CUgraph>(new FakeGraph{std::move(captured->captured)});
    captured->captured.clear();
    return CUDA_SUCCESS;
  };
  driver.cuEventCreate = [](CUevent *event, unsigned) {
    FAKE_CALL();
    *event = toHandle<CUevent>(new FakeEvent);
    return CUDA_SUCCESS;
  };
  driver.cuEventDestroy = destroy<FakeEvent, CUevent>;
  auto touchEvent = [](CUevent) {
    FAKE_CALL();
    return CUDA_SUCCESS;
  };
  driver.cuEventSynchronize = touchEvent;
  driver.cuEventQuery = [](CUevent) {
    FAKE_CALL();
    return fake.streamState ? fake.streamState() : CUDA_SUCCESS;
  };
  driver.cuEventRecord = [](CUevent event, CUstream) {
    FAKE_CALL();
    reinterpret_cast<FakeEvent *>(event)->time = float(++state.clock);
    return CUDA_SUCCESS;
  };
  driver.cuEventElapsedTime = [](float *milliseconds, CUevent from,
                                 CUevent to) {
    FAKE_CALL();
    *milliseconds = reinterpret_cast<FakeEvent *>(to)->time -
                    reinterpret_cast<FakeEvent *>(from)->time;
    return CUDA_SUCCESS;
  };
}

static void fillCode(Driver &driver) {
  driver.cuModuleLoadData = [](CUmodule *module, const void *) {
    FAKE_CALL();
    *module = toHandle<CUmodule>(new FakeEvent);
    return CUDA_SUCCESS;
  };
  driver.cuModuleUnload = destroy<FakeEvent, CUmodule>;
  driver.cuModuleGetFunction = [](CUfunction *function, CUmodule,
                                  const char *name) {
    FAKE_CALL();
    std::lock_guard<std::mutex> lock(state.mutex);
    auto &known = state.functions[name];
    if (!known)
      known = std::make_unique<std::string>(name);
    *function = reinterpret_cast<CUfunction>(known.get());
    return CUDA_SUCCESS;
  };
  driver.cuFuncLoad = [](CUfunction) {
    FAKE_CALL();
    return CUDA_SUCCESS;
  };
  driver.cuFuncSetAttribute = [](CUfunction function,
                                 CUfunction_attribute attribute, int value) {
    FAKE_CALL();
    if (attribute == CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES) {
      std::lock_guard<std::mutex> lock(state.mutex);
      state.dynamicSharedBytes[function] = unsigned(value);
    }
    return CUDA_SUCCESS;
  };
  driver.cuLaunchKernelEx = [](const CUlaunchConfig *config,
                               CUfunction function, void **parameters,
                               void **) {
    FAKE_CALL();
    EXPECT_EQ(config->blockDimX, 64u);
    // The code of a function has a KiB of its own.
    constexpr unsigned kStatic = 1 << 10, kUnasked = 48 << 10;
    {
      std::lock_guard<std::mutex> lock(state.mutex);
      auto asked = state.dynamicSharedBytes.find(function);
      unsigned most = asked == state.dynamicSharedBytes.end()
                          ? kUnasked - kStatic
                          : asked->second;
      if (config->sharedMemBytes > most)
        return CUDA_ERROR_INVALID_VALUE;
    }
    FakeDevice::Launch launch{
        *reinterpret_cast<std::string *>(function),
        *static_cast<device::LaunchParams *>(parameters[0]),
        config->numAttrs != 0,
        false,
        config->gridDimX,
        0};
    launch.rank = state.rankAt(launch.params.step);
    enqueue(config->hStream, [&fake, &state, launch](bool isReplay) mutable {
      launch.isReplay = isReplay;
      {
        std::lock_guard<std::mutex> lock(state.mutex);
        state.launches.push_back(launch);
      }
      if (!fake.intercept || !fake.intercept(launch.function, launch.params))
        state.run(launch.function, launch.params);
    });
    return CUDA_SUCCESS;
  };
  driver.cuGraphInstantiate = [](CUgraphExec *exec, CUgraph graph,
                                 unsigned long long) {
    FAKE_CALL();
    *exec = toHandle<CUgraphExec>(
        new FakeGraph(*reinterpret_cast<FakeGraph *>(graph)));
    ++fake.liveGraphs;
    return CUDA_SUCCESS;
  };
  driver.cuGraphUpload = [](CUgraphExec, CUstream) {
    FAKE_CALL();
    return CUDA_SUCCESS;
  };
  driver.cuGraphLaunch = [](CUgraphExec exec, CUstream) {
    FAKE_CALL();
    for (const auto &work : reinterpret_cast<FakeGraph *>(exec)->work)
      work(true);
    return CUDA_SUCCESS;
  };
  driver.cuGraphDestroy = destroy<FakeGraph, CUgraph>;
  driver.cuGraphExecDestroy = [](CUgraphExec exec) {
    --current.load()->liveGraphs;
    return destroy<FakeGraph>(exec);
  };
}

//===--- FakeDevice -------------------------------------------------------===//

FakeDevice::FakeDevice(std::shared_ptr<const Engine> engine, int count,
                       uint64_t freeBytes)
    : devices(count), freeBytes(freeBytes),
      implementation(std::make_unique<Implementation>()) {
  EXPECT_EQ(current.load(), nullptr);
  current = this;
  implementation->alone = &alone;
  std::vector<comm::Partition> partitions;
  for (const schema::RankGroups *groups : *engine->root().rank_groups())
    partitions.push_back({groups->axes()->str(),
                          groups->size(),
                          {groups->ranks()->begin(), groups->ranks()->end()}});
  implementation->transport = std::make_unique<comm::ThreadTransport>(
      engine->worldSize(), std::move(partitions),
      comm::ThreadTransportOptions());
  implementation->engine = std::move(engine);
  fillDevices(driver);
  fillMemory(driver);
  fillCopies(driver);
  fillStreams(driver);
  fillCode(driver);
}

FakeDevice::~FakeDevice() {
  EXPECT_EQ(implementation->alive, 0) << "not everything was given back";
  current = nullptr;
}

void FakeDevice::giveUp() {
  implementation->transport->fail(
      makeError(StatusCode::Aborted, "a call was asked to fail"));
}

void FakeDevice::enqueueAllReduce(const void *input, void *output,
                                  uint64_t elements, CUstream stream) {
  uint32_t rank = implementation->rankAt(output);
  auto view = [&](const void *data) {
    View result;
    result.data = static_cast<uint8_t *>(const_cast<void *>(data));
    result.dtype = schema::DType::F32;
    result.rank = 1;
    result.shape[0] = elements;
    result.strides[0] = 1;
    return result;
  };
  comm::Call call{{schema::CollectiveKind::ALL_REDUCE_SUM},
                  0,
                  {view(input), view(output)},
                  "nccl"};
  enqueue(stream, [this, rank, call, elements](bool isReplay) {
    {
      std::lock_guard<std::mutex> lock(implementation->mutex);
      implementation->launches.push_back(
          {"nccl", {}, false, isReplay, 0, rank});
    }
    Status status = implementation->transport->run(rank, call, {&elements, 1});
    EXPECT_TRUE(status.ok() || status.code() == StatusCode::Aborted)
        << status.message();
  });
}

std::vector<FakeDevice::Launch> FakeDevice::launches() const {
  std::lock_guard<std::mutex> lock(implementation->mutex);
  return implementation->launches;
}

std::vector<FakeDevice::Copy> FakeDevice::copiesToDevice() const {
  std::lock_guard<std::mutex> lock(implementation->mutex);
  return implementation->copies;
}

uint64_t FakeDevice::bytesToHost() const { return implementation->bytesToHost; }

void FakeDevice::clear() {
  std::lock_guard<std::mutex> lock(implementation->mutex);
  implementation->launches.clear();
  implementation->copies.clear();
  implementation->bytesToHost = 0;
}

} // namespace saddle::cuda
