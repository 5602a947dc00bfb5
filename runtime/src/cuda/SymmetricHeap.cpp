#include "runtime/src/cuda/SymmetricHeap.h"

#include <algorithm>
#include <cinttypes>

namespace saddle::cuda {

static CUmemAllocationProp propertiesOf(const Device &device) {
  CUmemAllocationProp properties = {};
  properties.type = CU_MEM_ALLOCATION_TYPE_PINNED;
  properties.location.type = CU_MEM_LOCATION_TYPE_DEVICE;
  properties.location.id = device.ordinal;
  return properties;
}

StatusOr<uint64_t> heapGranularity(const std::vector<const Device *> &devices) {
  // Powers of two, so that the largest is a multiple of all.
  uint64_t largest = 1;
  for (const Device *device : devices) {
    CUmemAllocationProp properties = propertiesOf(*device);
    size_t granularity = 0;
    SADDLE_CUDA(device->driver, cuMemGetAllocationGranularity, &granularity,
                &properties, CU_MEM_ALLOC_GRANULARITY_RECOMMENDED);
    largest = std::max<uint64_t>(largest, granularity);
  }
  return largest;
}

/// Each device once.
static std::vector<const Device *>
distinct(std::vector<const Device *> devices) {
  std::sort(devices.begin(), devices.end());
  devices.erase(std::unique(devices.begin(), devices.end()), devices.end());
  return devices;
}

static Status checkPeers(const std::vector<const Device *> &devices) {
  for (const Device *from : devices)
    for (const Device *to : devices) {
      if (from == to)
        continue;
      int reachable = 0;
      SADDLE_CUDA(from->driver, cuDeviceCanAccessPeer, &reachable, from->handle,
                  to->handle);
      if (!reachable)
        return makeError(
            StatusCode::Unsupported,
            "%s cannot reach the memory of %s; ranks need devices that are "
            "peers, as those behind one NVLink switch are",
            from->describe().c_str(), to->describe().c_str());
    }
  return {};
}

StatusOr<std::unique_ptr<SymmetricHeap>>
SymmetricHeap::create(const std::vector<const Device *> &deviceOfRank,
                      uint64_t bytes) {
  SADDLE_RETURN_IF_ERROR(checkPeers(distinct(deviceOfRank)));
  std::unique_ptr<SymmetricHeap> heap(
      new SymmetricHeap(*deviceOfRank[0], bytes));
  SADDLE_RETURN_IF_ERROR(heap->map(deviceOfRank));
  return heap;
}

Status SymmetricHeap::map(const std::vector<const Device *> &deviceOfRank) {
  const Driver &driver = device.driver;
  ContextScope scope(device);
  uint64_t total = stride * deviceOfRank.size();
  SADDLE_CUDA(driver, cuMemAddressReserve, &base, total, /*alignment=*/0,
              /*addr=*/0, /*flags=*/0);
  reserved = total;
  for (uint32_t rank = 0; rank < deviceOfRank.size(); ++rank) {
    CUmemAllocationProp properties = propertiesOf(*deviceOfRank[rank]);
    CUmemGenericAllocationHandle handle = 0;
    Status status = driver.check(
        driver.cuMemCreate(&handle, stride, &properties, /*flags=*/0),
        "cuMemCreate");
    if (!status.ok())
      return retellError(status,
                         "rank %u on %s: activations and exchanges of %" PRIu64
                         " bytes: %s",
                         rank, deviceOfRank[rank]->describe().c_str(), stride,
                         status.message().c_str());
    parts.push_back({handle, false});
    SADDLE_CUDA(driver, cuMemMap, of(rank), stride, /*offset=*/0, handle,
                /*flags=*/0);
    parts.back().mapped = true;
  }
  std::vector<CUmemAccessDesc> access;
  for (const Device *each : distinct(deviceOfRank)) {
    CUmemAccessDesc entry = {};
    entry.location.type = CU_MEM_LOCATION_TYPE_DEVICE;
    entry.location.id = each->ordinal;
    entry.flags = CU_MEM_ACCESS_FLAGS_PROT_READWRITE;
    access.push_back(entry);
  }
  SADDLE_CUDA(driver, cuMemSetAccess, base, total, access.data(),
              access.size());
  return {};
}

SymmetricHeap::~SymmetricHeap() {
  const Driver &driver = device.driver;
  ContextScope scope(device);
  for (uint32_t rank = 0; rank < parts.size(); ++rank) {
    if (parts[rank].mapped)
      driver.cuMemUnmap(of(rank), stride);
    driver.cuMemRelease(parts[rank].handle);
  }
  if (reserved)
    driver.cuMemAddressFree(base, reserved);
}

} // namespace saddle::cuda
