#include "runtime/src/base/Prefetcher.h"

#include <gtest/gtest.h>

#include <atomic>
#include <stdexcept>

namespace saddle {
namespace {

TEST(Prefetcher, itemsComeInTheirOrderAndInTheirPlaces) {
  constexpr size_t kItems = 500, kPlaces = 6;
  size_t places[kPlaces];
  Prefetcher prefetcher(kItems, kPlaces, [&](size_t item) {
    places[item % kPlaces] = item * item;
    return Status();
  });
  ASSERT_TRUE(prefetcher.start(3).ok());
  for (size_t item = 0; item < kItems; ++item) {
    ASSERT_TRUE(prefetcher.wait(item).ok());
    EXPECT_EQ(places[item % kPlaces], item * item);
    prefetcher.release(item);
  }
}

TEST(Prefetcher, nothingIsMadeBeforeItsPlaceIsFree) {
  std::atomic<size_t> most = 0;
  Prefetcher prefetcher(100, 4, [&](size_t item) {
    for (size_t old = most;
         old < item && !most.compare_exchange_weak(old, item);)
      ;
    return Status();
  });
  ASSERT_TRUE(prefetcher.start(8).ok());
  for (size_t item = 0; item < 20; ++item) {
    ASSERT_TRUE(prefetcher.wait(item).ok());
    EXPECT_LT(most, item + 4);
    prefetcher.release(item);
  }
  // Most items are never asked for: the destructor does not wait for them.
}

TEST(Prefetcher, anErrorEndsItAndSoDoesWhatIsThrown) {
  Prefetcher failing(100, 4, [](size_t item) {
    return item == 2 ? makeError(StatusCode::DataLoss, "item %zu", item)
                     : Status();
  });
  ASSERT_TRUE(failing.start(2).ok());
  EXPECT_EQ(failing.wait(2).message(), "item 2");
  EXPECT_EQ(failing.wait(99).code(), StatusCode::DataLoss);
  Prefetcher throwing(1, 1, [](size_t) -> Status { throw std::bad_alloc(); });
  ASSERT_TRUE(throwing.start(1).ok());
  EXPECT_EQ(throwing.wait(0).code(), StatusCode::ResourceExhausted);
}

TEST(Prefetcher, ofNothingThereIsNothingToMake) {
  Prefetcher prefetcher(0, 1, [](size_t) { return Status(); });
  EXPECT_TRUE(prefetcher.start(4).ok());
}

} // namespace
} // namespace saddle
