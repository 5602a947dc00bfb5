#include "runtime/src/base/Status.h"

#include <gtest/gtest.h>

using namespace saddle;

namespace {

Status failing() {
  return makeError(StatusCode::Mismatch, "%s: expected %d, but got %d", "x", 1,
                   2);
}

StatusOr<int> half(int value) {
  if (value % 2)
    return makeError(StatusCode::InvalidArgument, "%d is odd", value);
  return value / 2;
}

Status quarter(int value, int &result) {
  SADDLE_ASSIGN_OR_RETURN(int once, half(value));
  SADDLE_ASSIGN_OR_RETURN(result, half(once));
  return Status();
}

TEST(Status, carriesCodeAndMessage) {
  EXPECT_TRUE(Status().ok());
  EXPECT_EQ(Status().message(), "");
  Status status = failing(), copy = status;
  EXPECT_EQ(copy.code(), StatusCode::Mismatch);
  EXPECT_EQ(copy.message(), "x: expected 1, but got 2");
  copy = Status();
  EXPECT_TRUE(copy.ok());
}

TEST(Status, macrosPassValuesAndErrorsOn) {
  int result = 0;
  EXPECT_TRUE(quarter(8, result).ok());
  EXPECT_EQ(result, 2);
  EXPECT_EQ(quarter(6, result).message(), "3 is odd");
}

} // namespace
