// Sessions on a fake device.

#ifndef SADDLE_TEST_UNIT_CUDA_DEVICESESSIONS_H
#define SADDLE_TEST_UNIT_CUDA_DEVICESESSIONS_H

#include "runtime/src/cuda/CudaBackend.h"
#include "test/unit/cuda/DeviceEngine.h"
#include "test/unit/cuda/FakeDevice.h"
#include "test/unit/session/Sessions.h"

namespace saddle::cuda {

using session::LogitsWanted;
using session::Rows;
using session::SequenceInput;
using session::SessionOptions;
using session::Tokens;

inline StatusOr<std::unique_ptr<CudaBackend>>
makeBackend(FakeDevice &fake, std::shared_ptr<const Engine> engine,
            const backend::BackendOptions &options = {}) {
  std::vector<Bytes> images;
  for (const schema::Module *module : *engine->root().modules())
    images.push_back(engine->segment(*module));
  return CudaBackend::create(fake.driver, engine, images, options);
}

inline StatusOr<std::unique_ptr<session::Session>>
makeSession(FakeDevice &fake, std::shared_ptr<const Engine> engine,
            const SessionOptions &options = {},
            const std::string &weights = "synthetic:7") {
  SADDLE_ASSIGN_OR_RETURN(
      std::unique_ptr<CudaBackend> backend,
      makeBackend(fake, engine,
                  {options.timeout, options.shareDevices, options.ncclLibrary,
                   options.ncclAboveBytes, options.kvTokens, options.alone}));
  return session::Session::create(engine, weights, options, std::move(backend));
}

} // namespace saddle::cuda

#endif // SADDLE_TEST_UNIT_CUDA_DEVICESESSIONS_H
