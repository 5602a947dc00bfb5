#include "runtime/src/session/Backends.h"

#include "runtime/src/cpu/CpuProgram.h"

#ifdef SADDLE_HAS_CUDA
#include "runtime/src/cuda/CudaBackend.h"
#endif

namespace saddle::session {

StatusOr<std::unique_ptr<backend::Backend>>
makeBackend(std::shared_ptr<const Engine> engine,
            const backend::BackendOptions &options) {
  std::string target = engine->root().target()->str();
  if (target == "cpu" && !options.ncclLibrary.empty())
    return makeError(
        StatusCode::InvalidArgument,
        "%s is for target \"cpu\", whose ranks exchange in memory; "
        "do without NCCL (--nccl)",
        engine->path().c_str());
  if (target == "cpu" && options.alone)
    return makeError(StatusCode::InvalidArgument,
                     "%s is for target \"cpu\", whose ranks exchange in "
                     "memory; a rank can run alone on a GPU only (--alone)",
                     engine->path().c_str());
  if (target == "cpu")
    return cpu::CpuBackend::create(std::move(engine), options);
#ifdef SADDLE_HAS_CUDA
  if (target == "sm_90a")
    return cuda::CudaBackend::create(std::move(engine), options);
  const char *reason = "which this build does not know";
#else
  const char *reason =
      "but this build was made without CUDA; configure it with "
      "-DSADDLE_CUDA=ON where cuda.h is installed, or compile "
      "the engine with --target cpu";
#endif
  return makeError(StatusCode::Unsupported, "%s is for target \"%s\", %s",
                   engine->path().c_str(), target.c_str(), reason);
}

} // namespace saddle::session
