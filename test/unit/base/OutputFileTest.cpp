#include "runtime/src/base/OutputFile.h"
#include "test/unit/base/TemporaryFolder.h"

#include <gtest/gtest.h>

#include <unistd.h>

namespace saddle {
namespace {

TEST(OutputFile, isWrittenReadCutAndGoneOnWith) {
  TemporaryFolder folder;
  const std::string path = folder.path("data");
  {
    auto file = OutputFile::open(path);
    ASSERT_TRUE(file.ok()) << file.status().message();
    EXPECT_EQ(*file->size(), 0u);
    EXPECT_TRUE(file->write(4, "efgh", 4).ok());
    EXPECT_TRUE(file->write(0, "abcd", 4).ok());
    EXPECT_TRUE(file->flush().ok());
  }
  auto file = OutputFile::open(path);
  ASSERT_TRUE(file.ok()) << file.status().message();
  EXPECT_EQ(*file->size(), 8u);
  char text[4] = {};
  EXPECT_TRUE(file->read(2, text, 4).ok());
  EXPECT_EQ(std::string(text, 4), "cdef");
  EXPECT_TRUE(file->cut(5).ok());
  EXPECT_EQ(*file->size(), 5u);
  Status status = file->read(2, text, 4);
  EXPECT_EQ(status.code(), StatusCode::DataLoss);
  EXPECT_EQ(status.message(), path + ": ends too early");
}

TEST(OutputFile, linksAndAbsentFoldersAreRefused) {
  TemporaryFolder folder;
  ASSERT_EQ(symlink("nowhere", folder.path("link").c_str()), 0);
  EXPECT_FALSE(OutputFile::open(folder.path("link")).ok());
  EXPECT_EQ(OutputFile::open(folder.path("a/b")).status().code(),
            StatusCode::NotFound);
}

} // namespace
} // namespace saddle
