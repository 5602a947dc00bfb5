// Binding the driver where there is none, and errors as Status.

#include "test/unit/cuda/DeviceSessions.h"

namespace saddle::cuda {
namespace {

using testing::HasSubstr;

TEST(DriverTest, AnAbsentDriverIsNamedWithWhatToDo) {
  Status status = Driver::bind("libnowhere.so.7").status();
  EXPECT_EQ(status.code(), StatusCode::Unsupported);
  EXPECT_THAT(status.message(),
              HasSubstr("the CUDA driver cannot be loaded: libnowhere.so.7: "));
  EXPECT_THAT(status.message(), HasSubstr("; install an NVIDIA driver of CUDA "
                                          "12.8 or newer, or compile the "
                                          "engine with --target cpu"));
}

TEST(DriverTest, ADriverWithoutASymbolIsTooOld) {
  // Any library without CUDA's symbols will do.
  Status status = Driver::bind("libc.so.6").status();
  EXPECT_EQ(status.code(), StatusCode::Unsupported);
  EXPECT_THAT(status.message(), HasSubstr("libc.so.6 has no cuInit: the CUDA "
                                          "driver is too old; install"));
}

TEST(DriverTest, ErrorsKeepNameNumberAndText) {
  auto engine = load(*deviceEngine({}));
  FakeDevice fake(engine, 1);
  EXPECT_TRUE(fake.driver.check(CUDA_SUCCESS, "cuInit").ok());
  Status memory = fake.driver.check(CUDA_ERROR_OUT_OF_MEMORY, "cuMemAlloc");
  EXPECT_EQ(memory.code(), StatusCode::ResourceExhausted);
  EXPECT_EQ(memory.message(),
            "cuMemAlloc: CUDA_ERROR_FAKE (2): it was asked to fail");
  // One that is newer than the driver.
  Driver old = fake.driver;
  old.cuGetErrorName = old.cuGetErrorString = [](CUresult, const char **) {
    return CUDA_ERROR_INVALID_VALUE;
  };
  EXPECT_EQ(old.check(CUresult(1001), "cuLaunchKernel").message(),
            "cuLaunchKernel: unknown error (1001): the driver has no text for "
            "it");
  EXPECT_EQ(fake.driver.check(CUDA_ERROR_NO_DEVICE, "x").code(),
            StatusCode::Unsupported);
  EXPECT_EQ(fake.driver.check(CUDA_ERROR_LAUNCH_FAILED, "x").code(),
            StatusCode::Internal);
}

TEST(DriverTest, CpuEnginesNeedNoDriver) {
  EXPECT_NE(session::open({}), nullptr);
}

// With a driver the same call fails elsewhere: the tiny engine's code is none.
TEST(DriverTest, ACudaEngineNeedsADriver) {
  if (Driver::get().ok())
    GTEST_SKIP() << "this machine has a CUDA driver";
  Status status =
      session::Session::create(load(*deviceEngine({})), "synthetic:1", {})
          .status();
  EXPECT_EQ(status.code(), StatusCode::Unsupported);
  EXPECT_THAT(status.message(),
              HasSubstr("tiny is for target \"sm_90a\", but the CUDA driver "
                        "cannot be loaded: libcuda.so.1"));
}

} // namespace
} // namespace saddle::cuda
