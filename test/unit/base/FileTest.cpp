#include "runtime/src/base/File.h"
#include "test/unit/base/TemporaryFolder.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <csignal>
#include <fcntl.h>
#include <fstream>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

using namespace saddle;
using testing::HasSubstr;
using testing::StartsWith;

namespace {

Bytes bytesOf(const std::string &text) {
  return Bytes(reinterpret_cast<const uint8_t *>(text.data()), text.size());
}

std::string contentOf(const std::string &path) {
  std::ifstream file(path, std::ios::binary);
  return std::string(std::istreambuf_iterator<char>(file), {});
}

class File : public testing::Test {
protected:
  TemporaryFolder folder;
};

TEST_F(File, readsWhatWasWritten) {
  std::string path = folder.write("data", "some bytes");
  auto file = readFile(path);
  ASSERT_TRUE(file.ok()) << file.status().message();
  OwnedBytes moved = std::move(*file);
  EXPECT_EQ(std::string(moved.bytes().begin(), moved.bytes().end()),
            "some bytes");
}

TEST_F(File, readsAnEmptyFile) {
  auto file = readFile(folder.write("data", ""));
  ASSERT_TRUE(file.ok());
  EXPECT_EQ(file->size(), 0u);
}

TEST_F(File, whatIsCachedIsReadOrNot) {
  std::string path = folder.write("data", "0123456789");
  StatusOr<InputFile> file = InputFile::open(path);
  ASSERT_TRUE(file.ok());
  uint8_t bytes[16] = {};
  ASSERT_TRUE(file->read(0, bytes, 10).ok());
  // A system may say nothing, but not something else.
  size_t got = file->readCached(4, bytes, sizeof bytes);
  EXPECT_LE(got, 6u);
  EXPECT_EQ(std::string(bytes, bytes + got), std::string("456789", got));
  EXPECT_EQ(file->readCached(10, bytes, sizeof bytes), 0u);
}

TEST_F(File, sizesAreCheckedBeforeAnythingIsRead) {
  std::string path = folder.write("data", "0123456789");
  EXPECT_TRUE(readFile(path, 10).ok());
  Status status = readFile(path, 9).status();
  EXPECT_EQ(status.code(), StatusCode::DataLoss);
  EXPECT_EQ(status.message(), path + ": has 10 bytes, expected at most 9");
  // A hole of 4 TiB.
  if (truncate(path.c_str(), off_t(1) << 42) != 0)
    GTEST_SKIP() << "this file system has no such files";
  status = readFile(path).status();
  EXPECT_EQ(status.code(), StatusCode::ResourceExhausted);
  EXPECT_EQ(status.message(), path + ": no memory for its 4398046511104 bytes");
}

TEST_F(File, whatChangesWhileItIsReadIsAnError) {
  std::string path = folder.write("data", "0123456789");
  auto file = InputFile::open(path);
  ASSERT_TRUE(file.ok()) << file.status().message();
  uint8_t byte = 0;
  EXPECT_TRUE(file->read(9, &byte, 1).ok());
  EXPECT_EQ(byte, '9');
  EXPECT_TRUE(file->checkUnchanged().ok());
  ASSERT_EQ(truncate(path.c_str(), 5), 0);
  EXPECT_TRUE(file->read(4, &byte, 1).ok());
  Status status = file->read(4, &byte, 2);
  EXPECT_EQ(status.code(), StatusCode::DataLoss);
  EXPECT_EQ(status.message(),
            path + ": ends at byte 5, but had 10 bytes when it was opened; "
                   "leave files alone while they are read");
  EXPECT_THAT(file->checkUnchanged().message(),
              HasSubstr("data: was changed while it was read"));
}

TEST_F(File, absentFileIsNotFound) {
  auto file = readFile(folder.path("nothing"));
  ASSERT_FALSE(file.ok());
  EXPECT_EQ(file.status().code(), StatusCode::NotFound);
  EXPECT_EQ(file.status().message(),
            folder.path("nothing") +
                ": cannot be opened: No such file or directory");
}

TEST_F(File, folderAndPipeAreNotRead) {
  auto file = readFile(folder.path(""));
  ASSERT_FALSE(file.ok());
  EXPECT_THAT(file.status().message(),
              HasSubstr("expected a file, but this is a folder"));
  std::string pipe = folder.path("pipe");
  ASSERT_EQ(mkfifo(pipe.c_str(), 0600), 0);
  file = readFile(pipe);
  ASSERT_FALSE(file.ok());
  EXPECT_THAT(file.status().message(),
              HasSubstr("expected a file, but this is a device or pipe"));
}

TEST_F(File, writesAndReplaces) {
  std::string path = folder.path("out");
  ASSERT_TRUE(writeFileAtomically(path, bytesOf("first")).ok());
  ASSERT_TRUE(writeFileAtomically(path, bytesOf("second")).ok());
  EXPECT_EQ(contentOf(path), "second");
  EXPECT_EQ(folder.list(), std::vector<std::string>{"out"});
}

TEST_F(File, writesThroughASymbolicLink) {
  std::string target = folder.write("target", "old");
  ASSERT_EQ(symlink(target.c_str(), folder.path("link").c_str()), 0);
  ASSERT_TRUE(writeFileAtomically(folder.path("link"), bytesOf("new")).ok());
  EXPECT_EQ(contentOf(target), "new");
}

TEST_F(File, namesMayBeAsLongAsTheSystemAllows) {
  const std::string path = folder.path(std::string(255, 'n'));
  EXPECT_TRUE(writeFileAtomically(path, bytesOf("x")).ok());
  EXPECT_EQ(std::filesystem::file_size(path), 1u);
  EXPECT_THAT(writeFileAtomically(path + "n", bytesOf("x")).message(),
              HasSubstr("File name too long"));
}

TEST_F(File, absentFolderIsNamed) {
  std::string path = folder.path("no/such/out");
  Status status = writeFileAtomically(path, bytesOf("x"));
  EXPECT_EQ(status.code(), StatusCode::NotFound);
  EXPECT_EQ(status.message(),
            path + ": cannot be created: No such file or directory");
}

TEST_F(File, folderAsOutputIsRefused) {
  Status status = writeFileAtomically(folder.path(""), bytesOf("x"));
  EXPECT_EQ(status.message(),
            folder.path("") + ": cannot be written: Is a directory");
}

TEST_F(File, fullDeviceIsResourceExhausted) {
  Status status = writeFileAtomically("/dev/full", bytesOf("x"));
  EXPECT_EQ(status.code(), StatusCode::ResourceExhausted);
  EXPECT_EQ(status.message(),
            "/dev/full: cannot be written: No space left on device");
}

TEST_F(File, failedWriteLeavesTheOldFileAlone) {
  std::string path = folder.write("out", "old");
  // A limit on file size stands for a full disk: write() fails half-way.
  rlimit before;
  ASSERT_EQ(getrlimit(RLIMIT_FSIZE, &before), 0);
  rlimit small = before;
  small.rlim_cur = 4096;
  signal(SIGXFSZ, SIG_IGN);
  ASSERT_EQ(setrlimit(RLIMIT_FSIZE, &small), 0);
  std::string big(100000, 'x');
  Status status = writeFileAtomically(path, bytesOf(big));
  ASSERT_EQ(setrlimit(RLIMIT_FSIZE, &before), 0);
  EXPECT_EQ(status.code(), StatusCode::ResourceExhausted);
  EXPECT_THAT(status.message(), StartsWith(path + ": cannot be written: "));
  EXPECT_EQ(contentOf(path), "old");
  EXPECT_EQ(folder.list(), std::vector<std::string>{"out"});
}

// Where the file system has files without names, as it has almost everywhere.
TEST_F(File, aProcessThatEndsInTheMiddleLeavesNothing) {
  std::string path = folder.write("out", "old");
  int unnamed = open(folder.path("").c_str(), O_WRONLY | O_TMPFILE, 0600);
  if (unnamed < 0)
    GTEST_SKIP() << "no files without names here";
  close(unnamed);
  pid_t child = fork();
  if (child == 0) {
    rlimit small = {4096, 4096};
    setrlimit(RLIMIT_FSIZE, &small);
    signal(SIGXFSZ, SIG_DFL); // ends the process inside of write()
    rlimit noCore = {0, 0};
    setrlimit(RLIMIT_CORE, &noCore);
    (void)writeFileAtomically(path, bytesOf(std::string(100000, 'x')));
    _exit(0);
  }
  int status = 0;
  waitpid(child, &status, 0);
  ASSERT_TRUE(WIFSIGNALED(status));
  EXPECT_EQ(WTERMSIG(status), SIGXFSZ);
  EXPECT_EQ(contentOf(path), "old");
  EXPECT_EQ(folder.list(), std::vector<std::string>{"out"});
}

TEST_F(File, dashIsStandardOutputAndInput) {
  std::string path = folder.write("stream", "");
  int saved = dup(STDOUT_FILENO);
  int fd = open(path.c_str(), O_RDWR);
  ASSERT_GE(dup2(fd, STDOUT_FILENO), 0);
  Status status = writeFileAtomically("-", bytesOf("to stdout"));
  dup2(saved, STDOUT_FILENO);
  EXPECT_TRUE(status.ok());
  EXPECT_EQ(contentOf(path), "to stdout");

  int savedInput = dup(STDIN_FILENO);
  lseek(fd, 0, SEEK_SET);
  ASSERT_GE(dup2(fd, STDIN_FILENO), 0);
  auto input = readStandardInput();
  dup2(savedInput, STDIN_FILENO);
  ASSERT_TRUE(input.ok());
  EXPECT_EQ(std::string(input->bytes().begin(), input->bytes().end()),
            "to stdout");
}

TEST_F(File, fullStandardOutputIsReported) {
  int saved = dup(STDOUT_FILENO);
  int full = open("/dev/full", O_WRONLY);
  ASSERT_GE(dup2(full, STDOUT_FILENO), 0);
  Status status = writeFileAtomically("-", bytesOf("x"));
  dup2(saved, STDOUT_FILENO);
  EXPECT_EQ(status.message(),
            "standard output: cannot be written: No space left on device");
}

} // namespace
