// What is thrown becomes a status, also where there is no memory for it.

#include "runtime/src/base/Guard.h"
#include "test/unit/faults/Injection.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <stdexcept>
#include <system_error>
#include <vector>

namespace saddle {
namespace {

using faults::Call;
using faults::Injection;
using testing::HasSubstr;

template <typename Exception>
Status thrown(const Exception &exception) {
  return guard([&]() -> Status { throw exception; });
}

TEST(GuardTest, ShortagesAreResourceExhausted) {
  for (const Status &status :
       {thrown(std::bad_alloc()), thrown(std::length_error("vector"))}) {
    EXPECT_EQ(status.code(), StatusCode::ResourceExhausted);
    EXPECT_EQ(status.message(), "out of memory; raise the limit of memory, or "
                                "use a smaller model, batch or context");
  }
  Status threads = thrown(std::system_error(
      std::make_error_code(std::errc::resource_unavailable_try_again)));
  EXPECT_EQ(threads.code(), StatusCode::ResourceExhausted);
  EXPECT_EQ(threads.message(),
            "the system gives no more: Resource temporarily unavailable; raise "
            "the limits of memory and of threads");
}

TEST(GuardTest, AnythingElseIsADefectOfOurs) {
  EXPECT_EQ(thrown(std::runtime_error("a")).code(), StatusCode::Internal);
  EXPECT_EQ(thrown(std::runtime_error("a")).message(),
            "an exception reached the edge of the library: a");
  EXPECT_EQ(thrown(7).message(),
            "an exception reached the edge of the library");
}

TEST(GuardTest, WhatIsLeftHalfDoneIsTold) {
  StatusCode told = StatusCode::Ok;
  auto tell = [&](const Status &error) { told = error.code(); };
  StatusOr<int> fine = guard([]() -> StatusOr<int> { return 3; }, tell);
  EXPECT_EQ(*fine, 3);
  EXPECT_EQ(told, StatusCode::Ok);
  EXPECT_FALSE(
      guard([]() -> StatusOr<int> { throw std::bad_alloc(); }, tell).ok());
  EXPECT_EQ(told, StatusCode::ResourceExhausted);
}

TEST(GuardTest, ErrorsWithoutMemoryKeepTheirCode) {
  Status original = makeError(StatusCode::Mismatch, "%s", "some other words");
  Status copy, made;
  {
    Injection injection(Call::Allocate, 1, /*lasting=*/true);
    copy = original;
    made = makeError(StatusCode::NotFound, "%d of them", 3);
  }
  EXPECT_EQ(copy.code(), StatusCode::Mismatch);
  EXPECT_THAT(copy.message(), HasSubstr("out of memory"));
  EXPECT_EQ(made.code(), StatusCode::NotFound);
  EXPECT_THAT(made.message(), HasSubstr("out of memory"));
  copy = original;
  EXPECT_EQ(copy.message(), "some other words");
  Status moved = std::move(copy);
  EXPECT_EQ(moved.message(), "some other words");
  EXPECT_TRUE(copy.ok()); // NOLINT: a moved status is fine
}

} // namespace
} // namespace saddle
