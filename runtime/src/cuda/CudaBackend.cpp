#include "runtime/src/cuda/CudaBackend.h"

#include "runtime/src/backend/PagePool.h"
#include "runtime/src/cuda/DeviceProgram.h"

#include <algorithm>

namespace saddle::cuda {

StatusOr<std::unique_ptr<backend::Backend>>
CudaBackend::create(std::shared_ptr<const Engine> engine,
                    const backend::BackendOptions &options) {
  // First, since it needs no driver: a wrong name shows on any machine.
  if (!options.ncclLibrary.empty())
    SADDLE_RETURN_IF_ERROR(Nccl::bind(options.ncclLibrary).status());
  StatusOr<const Driver *> driver = Driver::get();
  if (!driver.ok())
    return retellError(driver.status(), "%s is for target \"%s\", but %s",
                       engine->path().c_str(), engine->root().target()->c_str(),
                       driver.status().message().c_str());
  std::vector<Bytes> images;
  uint32_t count =
      engine->root().modules() ? engine->root().modules()->size() : 0;
  for (uint32_t i = 0; i < count; ++i)
    images.push_back(engine->segment(*engine->root().modules()->Get(i)));
  SADDLE_ASSIGN_OR_RETURN(std::unique_ptr<CudaBackend> backend,
                          create(**driver, std::move(engine), images, options));
  return std::unique_ptr<backend::Backend>(std::move(backend));
}

StatusOr<std::unique_ptr<CudaBackend>>
CudaBackend::create(const Driver &driver, std::shared_ptr<const Engine> engine,
                    const std::vector<Bytes> &images,
                    const backend::BackendOptions &options) {
  std::unique_ptr<CudaBackend> backend(new CudaBackend(engine, options));
  auto steps = [&]() -> Status {
    std::unique_ptr<Nccl> nccl;
    if (!options.ncclLibrary.empty() && backend->runsAlone())
      return makeError(StatusCode::InvalidArgument,
                       "NCCL needs all ranks, but rank %u runs alone; do "
                       "without --nccl or without --alone",
                       *options.alone);
    if (!options.ncclLibrary.empty()) {
      SADDLE_ASSIGN_OR_RETURN(nccl, Nccl::bind(options.ncclLibrary));
    }
    SADDLE_RETURN_IF_ERROR(backend->openDevices(driver));
    if (nccl && !backend->isExclusive())
      return makeError(StatusCode::InvalidArgument,
                       "NCCL needs a device for each rank, but %u ranks share "
                       "%zu; do without --nccl or without --share-devices",
                       backend->worldSize(), backend->devices.size());
    SADDLE_RETURN_IF_ERROR(backend->planState());
    SADDLE_RETURN_IF_ERROR(backend->allocate(images));
    return nccl ? backend->connectNccl(std::move(nccl)) : Status();
  };
  SADDLE_RETURN_IF_ERROR(steps().within(engine->path()));
  return backend;
}

Status CudaBackend::openDevices(const Driver &driver) {
  SADDLE_ASSIGN_OR_RETURN(uint32_t count, countDevices(driver));
  uint32_t used = 1;
  if (runsAlone()) {
    if (engine().topology()->pp() != 1)
      return makeError(StatusCode::Unsupported,
                       "rank %u cannot run alone: the engine has %u pipeline "
                       "stages, and a stage has nothing to do before another "
                       "one sends; compile one with pp=1",
                       *options.alone, engine().topology()->pp());
    SADDLE_RETURN_IF_ERROR(placeRanks(1, count, false).status());
    deviceOfRank.assign(loaded->worldSize(), kNoDevice);
    deviceOfRank[*options.alone] = 0;
  } else {
    SADDLE_ASSIGN_OR_RETURN(deviceOfRank, placeRanks(loaded->worldSize(), count,
                                                     options.shareDevices));
    used = deviceOfRank.back() + 1;
  }
  constexpr int kCapability = 90; // of sm_90a, and of nothing newer
  for (uint32_t i = 0; i < used; ++i) {
    SADDLE_ASSIGN_OR_RETURN(std::unique_ptr<Device> device,
                            Device::open(driver, int(i)));
    if (device->capability != kCapability)
      return makeError(StatusCode::Unsupported,
                       "%s has compute capability %d.%d, but the engine's code "
                       "is for %d.%d (%s)",
                       device->describe().c_str(), device->capability / 10,
                       device->capability % 10, kCapability / 10,
                       kCapability % 10, engine().target()->c_str());
    devices.push_back(std::move(device));
  }
  std::vector<const Device *> all;
  for (const auto &device : devices)
    all.push_back(device.get());
  SADDLE_ASSIGN_OR_RETURN(uint64_t granularity, heapGranularity(all));
  plan.emplace(engine(), granularity);
  return {};
}

std::vector<const Device *> CudaBackend::devicesInOrder() const {
  std::vector<const Device *> result;
  for (uint32_t device : deviceOfRank)
    if (device != kNoDevice)
      result.push_back(devices[device].get());
  return result;
}

uint32_t CudaBackend::ownMultiprocessors() const {
  if (!isExclusive())
    return 0;
  int fewest = devices[0]->multiprocessors;
  for (const auto &device : devices)
    fewest = std::min(fewest, device->multiprocessors);
  return uint32_t(fewest);
}

Status CudaBackend::planState() {
  std::vector<DeviceRoom> room;
  for (const auto &device : devices) {
    SADDLE_ASSIGN_OR_RETURN(uint64_t bytes, device->freeBytes());
    room.push_back({device->describe(), bytes});
  }
  Status others = checkMemory(engine(), *plan, deviceOfRank, room);
  uint64_t pages = roomForPages(engine(), *plan, deviceOfRank, room);
  // With one page it must fit; what does not says by how much.
  if (pages == 0 && !others.ok())
    return others;
  SADDLE_ASSIGN_OR_RETURN(
      plan->counts.pages,
      backend::choosePages(engine(), options.kvTokens, pages));
  return checkMemory(engine(), *plan, deviceOfRank, room);
}

Status CudaBackend::allocate(const std::vector<Bytes> &images) {
  for (const auto &device : devices) {
    SADDLE_ASSIGN_OR_RETURN(Modules loadedModules,
                            Modules::load(*device, engine(), images));
    modules.push_back(std::move(loadedModules));
  }
  SADDLE_ASSIGN_OR_RETURN(
      symmetric, SymmetricHeap::create(devicesInOrder(), plan->heapBytes));
  SADDLE_ASSIGN_OR_RETURN(
      record,
      allocatePinned(*devices[0], sizeof(device::Fault), "the fault record"));
  return {};
}

Status CudaBackend::connectNccl(std::unique_ptr<Nccl> library) {
  SADDLE_ASSIGN_OR_RETURN(
      ncclGroups,
      NcclGroups::create(std::move(library),
                         {engine(), devicesInOrder(), *symmetric,
                          options.ncclAboveBytes, options.timeout}));
  others.push_back(ncclGroups.get());
  return {};
}

StatusOr<std::unique_ptr<backend::RankProgram>>
CudaBackend::makeRank(uint32_t rank) {
  return DeviceProgram::create(*this, rank);
}

namespace {
class PinnedHostMemory : public backend::HostMemory {
public:
  explicit PinnedHostMemory(PinnedMemory memory) : memory(std::move(memory)) {}
  void *data() const override { return memory.get(); }

private:
  PinnedMemory memory;
};
} // namespace

StatusOr<std::unique_ptr<backend::HostMemory>>
CudaBackend::makeHostMemory(uint64_t bytes) {
  SADDLE_ASSIGN_OR_RETURN(
      PinnedMemory memory,
      allocatePinned(*devices[0], bytes, "a buffer for outputs"));
  return std::unique_ptr<backend::HostMemory>(
      new PinnedHostMemory(std::move(memory)));
}

} // namespace saddle::cuda
