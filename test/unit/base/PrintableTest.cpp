#include "runtime/src/base/Printable.h"

#include <gtest/gtest.h>

using namespace saddle;

namespace {

TEST(Printable, textStaysAsItIs) {
  EXPECT_EQ(printable(""), "");
  EXPECT_EQ(
      printable("model.layers.0: \xc3\xb6 \xe6\xbc\xa2 \xf0\x9f\x98\x80\t."),
      "model.layers.0: \xc3\xb6 \xe6\xbc\xa2 \xf0\x9f\x98\x80\t.");
}

TEST(Printable, bytesThatAreNotUtf8AreSpelledOut) {
  EXPECT_EQ(printable("caf\xe9"), "caf\\xe9");
  EXPECT_EQ(printable("\xff\xc3(\xe6\xbc"), "\\xff\\xc3(\\xe6\\xbc");
  EXPECT_EQ(printable("\xed\xa0\x80"), "\\xed\\xa0\\x80"); // a surrogate
}

TEST(Printable, whatActsOnATerminalIsSpelledOut) {
  EXPECT_EQ(printable("\x1b[31mred"), "\\u{1b}[31mred");
  EXPECT_EQ(printable(std::string_view("a\0b\r\x7f\b", 6)),
            "a\\u{0}b\\u{d}\\u{7f}\\u{8}");
  EXPECT_EQ(printable("\xc2\x9b"), "\\u{9b}"); // a control sequence in one
}

TEST(Printable, whatHidesOrTurnsTextIsSpelledOut) {
  EXPECT_EQ(printable("a\xe2\x80\xae"
                      "b"),
            "a\\u{202e}b"); // right-to-left override
  EXPECT_EQ(printable("\xe2\x81\xa6\xe2\x80\x8b\xef\xbb\xbf"),
            "\\u{2066}\\u{200b}\\u{feff}");
}

TEST(Printable, noLinePassesForAnotherMessage) {
  EXPECT_EQ(printable("name\nerror: all is lost\n"),
            "name\n  error: all is lost\n");
  EXPECT_EQ(printable("a\nb", ""), "a\nb");
}

} // namespace
