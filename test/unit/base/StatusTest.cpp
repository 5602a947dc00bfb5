#include "runtime/src/base/Status.h"

#include <gtest/gtest.h>

#include <fstream>
#include <regex>

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

// FNV-1a of 32 bits, folded to 24, worked out in Python from the published
// constants.
TEST(Status, identifiersAreThoseOfTheFormat) {
  EXPECT_EQ(identify(""), 0x1c9d44u);
  EXPECT_EQ(identify("... is odd"), 0x6f94beu);
  for (const char *format : {"%d is odd", "%5s is odd", "%-08.3f is odd",
                             "%zu is odd", "%lld is odd", "%*.*s is odd"})
    EXPECT_EQ(identify(format), identify("... is odd")) << format;
  EXPECT_EQ(identify("at 5%%"), identify("at 5..."));
  EXPECT_NE(identify("%d is even"), identify("%d is odd"));
  // Whatever is filled in.
  EXPECT_EQ(half(3).status().identifier(), half(5).status().identifier());
  EXPECT_EQ(half(3).status().identifier(), identify("... is odd"));
  EXPECT_EQ(Status().identifier(), 0u);
  EXPECT_EQ(Status(StatusCode::Internal, "words of others").identifier(), 0u);
}

// The lint writes the page, and hashes in Python.
TEST(Status, identifiersOfThePageAreThoseThatArePrinted) {
  std::ifstream page(SADDLE_SOURCE_DIR "/docs/Diagnostics.md");
  const std::regex row(
      R"(\| (D[0-9a-f]{6}) \| [A-Z][a-z]\w+ \| (.*) \| \S+ \| .* \|)");
  size_t rows = 0;
  for (std::string line; std::getline(page, line);) {
    std::smatch cells;
    // Behind a slash are alternatives of what is filled in; a page has no line
    // ends and escapes.
    if (!std::regex_match(line, cells, row) ||
        cells.str(2).find(" / ") != std::string::npos ||
        cells.str(2).find('\\') != std::string::npos ||
        cells.str(2).find("  ") != std::string::npos)
      continue;
    ++rows;
    Status said(StatusCode::Internal, "", identify(cells.str(2).c_str()));
    EXPECT_EQ(said.labelled(), " [" + cells.str(1) + "]") << line;
  }
  EXPECT_GT(rows, 400u);
}

TEST(Status, identifiersStandBehindMessages) {
  EXPECT_EQ(half(3).status().labelled(), "3 is odd [D6f94be]");
  EXPECT_EQ(Status().labelled(), "");
  EXPECT_EQ(Status(StatusCode::Internal, "words of others").labelled(),
            "words of others");
}

TEST(Status, whoeverTellsItAgainKeepsCodeAndIdentifier) {
  Status status = failing(), placed = status.within("layer 3"),
         again = retellError(placed, "%s; twice is %d", "sorry", 2);
  EXPECT_EQ(placed.message(), "layer 3: x: expected 1, but got 2");
  EXPECT_EQ(again.message(), "sorry; twice is 2");
  for (const Status &each : {placed, again}) {
    EXPECT_EQ(each.code(), StatusCode::Mismatch);
    EXPECT_EQ(each.identifier(), status.identifier());
  }
  Status moved = std::move(again);
  EXPECT_EQ(moved.identifier(), status.identifier());
  EXPECT_TRUE(Status().within("layer 3").ok());
  // Foreign text may hold anything.
  EXPECT_EQ(Status(StatusCode::Internal, std::string("a\0b", 3))
                .within(std::string("c\0", 2))
                .message(),
            std::string("c\0: a\0b", 7));
}

TEST(Status, labelsAreTakenOffAgain) {
  std::string message = failing().labelled();
  EXPECT_EQ(takeLabel(message), failing().identifier());
  EXPECT_EQ(message, "x: expected 1, but got 2");
  for (const char *text :
       {"", "[D123456]", "x [D12345]", "x [D12345g]", "x [E123456]",
        "x [D123456] ", "x [D1234567]", "x [D-12345]", "x [D12345A]"}) {
    message = text;
    EXPECT_EQ(takeLabel(message), 0u) << text;
    EXPECT_EQ(message, text);
  }
}

} // namespace
