// Weights in a device's memory, byte by byte against those that the host makes.
// Needs GPUs, so it is run by hand:
//
//   SaddleWeightCheck ENGINE WEIGHTS
//
// Ranks may share devices.

#include "runtime/src/cuda/CudaBackend.h"
#include "runtime/src/cuda/DeviceProgram.h"
#include "runtime/src/weights/WeightLoader.h"

#include <algorithm>
#include <cstdio>

using namespace saddle;
using namespace saddle::cuda;

/// Compares one weight of a rank in parts; the number of bytes that differ.
static StatusOr<uint64_t> compare(const Driver &driver,
                                  const DeviceProgram &rank,
                                  const schema::Weight &weight,
                                  const WeightSource &source) {
  const schema::Slice &slice = *weight.slice();
  uint64_t different = 0;
  std::vector<uint8_t> host, device, scratch;
  for (const WeightPart &part : splitWeight(slice, 64 << 20)) {
    uint64_t bytes = partBytes(slice, part);
    // Padding between rows is nobody's: the same on both sides.
    device.assign(bytes, 0);
    SADDLE_CUDA(driver, cuMemcpyDtoHAsync, device.data(),
                rank.memory().of(slice) + partOffset(slice, part), bytes,
                nullptr);
    SADDLE_CUDA(driver, cuStreamSynchronize, nullptr);
    host = device;
    source.loadPart(weight, part, rank.memory().rank, host.data(), scratch);
    for (uint64_t i = 0; i < bytes; ++i)
      different += host[i] != device[i];
  }
  return different;
}

static Status run(const char *path, const char *weights) {
  SADDLE_ASSIGN_OR_RETURN(std::shared_ptr<const Engine> engine,
                          Engine::load(path));
  backend::BackendOptions options;
  options.shareDevices = true;
  SADDLE_ASSIGN_OR_RETURN(std::unique_ptr<backend::Backend> backend,
                          CudaBackend::create(engine, options));
  SADDLE_ASSIGN_OR_RETURN(std::unique_ptr<WeightSource> source,
                          WeightSource::open(engine->root(), weights));
  SADDLE_ASSIGN_OR_RETURN(const Driver *driver, Driver::get());
  auto &cuda = static_cast<CudaBackend &>(*backend);
  uint64_t wrong = 0, total = 0;
  for (uint32_t rank = 0; rank < engine->worldSize(); ++rank) {
    SADDLE_ASSIGN_OR_RETURN(std::unique_ptr<backend::RankProgram> made,
                            cuda.makeRank(rank));
    auto start = comm::Clock::now();
    SADDLE_RETURN_IF_ERROR(made->load(*source));
    double seconds =
        std::chrono::duration<double>(comm::Clock::now() - start).count();
    ContextScope scope(cuda.deviceOf(rank));
    uint64_t bytes = 0;
    for (const schema::Weight *weight :
         *backend::programOf(engine->root(), rank).weights()) {
      SADDLE_ASSIGN_OR_RETURN(uint64_t different,
                              compare(*driver,
                                      static_cast<DeviceProgram &>(*made),
                                      *weight, *source));
      if (different != 0)
        std::printf("rank %u: \"%s\": %llu bytes differ\n", rank,
                    weight->name()->c_str(), (unsigned long long)different);
      wrong += different;
      bytes += partBytes(*weight->slice(),
                         splitWeight(*weight->slice(), ~uint64_t(0))[0]);
    }
    std::printf("rank %u: %.1f MB loaded in %.3f s\n", rank,
                double(bytes) * 1e-6, seconds);
    total += bytes;
  }
  std::printf("%llu of %llu bytes differ\n", (unsigned long long)wrong,
              (unsigned long long)total);
  return wrong == 0 ? Status()
                    : makeError(StatusCode::Internal, "weights differ");
}

int main(int argc, char **argv) {
  if (argc != 3) {
    std::fprintf(stderr, "usage: %s ENGINE WEIGHTS\n", argv[0]);
    return 2;
  }
  Status status = run(argv[1], argv[2]);
  if (status.ok())
    return 0;
  std::fprintf(stderr, "error: %s\n", status.message().c_str());
  return 1;
}
