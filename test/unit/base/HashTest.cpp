#include "runtime/src/base/Hash.h"

#include <gtest/gtest.h>

using namespace saddle;

namespace {

// The constants are published test values of XXH3 for the empty input.
TEST(Hash, emptyInputHasPublishedValues) {
  EXPECT_EQ(hash64(nullptr, 0), 0x2d06800538d394c2u);
  EXPECT_EQ(Hasher128().hex(), "99aa06d3014798d86001c324468d497f");
}

TEST(Hash, partsHashLikeTheWhole) {
  std::string text(1000, 'x');
  text[500] = 'y';
  Hasher128 whole, parts;
  whole.update(text.data(), text.size());
  parts.update(text.data(), 1);
  parts.update(text.data() + 1, 600);
  EXPECT_NE(whole.hex(), parts.hex());
  parts.update(text.data() + 601, 399);
  EXPECT_EQ(whole.hex(), parts.hex());
  Hasher64 shorter;
  EXPECT_EQ(shorter.value(), hash64(nullptr, 0));
  shorter.update(text.data(), 999);
  shorter.update(text.data() + 999, 1);
  EXPECT_EQ(shorter.value(), hash64(text.data(), text.size()));
}

TEST(Hash, seedMatters) {
  EXPECT_EQ(hash64("abc", 3), hash64("abc", 3, 0));
  EXPECT_NE(hash64("abc", 3), hash64("abc", 3, 1));
}

} // namespace
