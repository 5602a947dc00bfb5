// Which target's backend a session gets, and what a build without CUDA says.

#include "runtime/src/session/Backends.h"
#include "test/unit/cuda/DeviceEngine.h"
#include "test/unit/session/Sessions.h"

namespace saddle::session {
namespace {

TEST(BackendTest, CpuEnginesNeedNothing) {
  EXPECT_TRUE(makeBackend(engineOf(*tinyEngine()), {}).ok());
}

#ifndef SADDLE_HAS_CUDA // with it, the driver's tests say the rest
TEST(BackendTest, ABuildWithoutCudaSaysSo) {
  Status status = makeBackend(cuda::load(*cuda::deviceEngine({})), {}).status();
  EXPECT_EQ(status.code(), StatusCode::Unsupported);
  EXPECT_EQ(status.message(),
            "tiny is for target \"sm_90a\", but this build was made without "
            "CUDA; configure it with -DSADDLE_CUDA=ON where cuda.h is "
            "installed, or compile the engine with --target cpu");
}
#endif

} // namespace
} // namespace saddle::session
