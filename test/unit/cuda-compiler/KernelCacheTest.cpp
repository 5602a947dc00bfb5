// The cache of device binaries: keys, entries, damage.

#include "compiler/Cuda/KernelCache.h"
#include "test/unit/base/TemporaryFolder.h"

#include <gtest/gtest.h>

#include <sys/stat.h>
#include <unistd.h>

#include <fstream>
#include <iterator>
#include <map>

using namespace saddle;
using namespace saddle::cuda;

namespace {

struct KeyParts {
  std::string name = "add.cu";
  std::string source = "// first\n#include \"a.cuh\"\nint x;\n";
  std::string version = "V13.0.88";
  std::vector<std::string> flags = {"-O3"};
  std::map<std::string, std::string> headers = {
      {"a.cuh", "#include \"b.cuh\"\n#include <stdint.h>\n"},
      {"b.cuh", "#include \"a.cuh\"\nint b;\n"},
      {"c.cuh", "int c;\n"}};

  std::string key() const {
    return cacheKey(
        name, source, version, flags,
        [&](llvm::StringRef path) -> std::optional<llvm::StringRef> {
          auto header = headers.find(path.str());
          if (header == headers.end())
            return std::nullopt;
          return llvm::StringRef(header->second);
        });
  }
};

TEST(CacheKey, dependsOnWhatDecidesTheBinary) {
  const std::string key = KeyParts().key();
  EXPECT_EQ(key.size(), 32u);
  EXPECT_EQ(KeyParts().key(), key);
  auto changed = [](auto change) {
    KeyParts parts;
    change(parts);
    return parts.key();
  };
  EXPECT_NE(changed([](KeyParts &p) { p.name = "sub.cu"; }), key);
  EXPECT_NE(changed([](KeyParts &p) { p.source += "int y;\n"; }), key);
  EXPECT_NE(changed([](KeyParts &p) { p.version = "V13.0.89"; }), key);
  EXPECT_NE(changed([](KeyParts &p) { p.flags = {"-O2"}; }), key);
  EXPECT_NE(changed([](KeyParts &p) { p.flags = {"-O", "3"}; }), key);
  // Directly and indirectly included, also in a circle.
  EXPECT_NE(changed([](KeyParts &p) { p.headers["a.cuh"] += " "; }), key);
  EXPECT_NE(changed([](KeyParts &p) { p.headers["b.cuh"] += " "; }), key);
  // Not reached.
  EXPECT_EQ(changed([](KeyParts &p) { p.headers["c.cuh"] += " "; }), key);
}

TEST(CacheKey, commentsCountAsLinesOnly) {
  KeyParts parts, reworded, longer;
  reworded.source = "// second\n#include \"a.cuh\"\nint x;\n";
  longer.source = "// first\n// line\n#include \"a.cuh\"\nint x;\n";
  EXPECT_EQ(reworded.key(), parts.key());
  EXPECT_NE(longer.key(), parts.key());
}

constexpr const char *kKey = "0123456789abcdef0123456789abcdef";

CachedBinary sample() { return {{0x7f, 'E', 0, 'F'}, "ptxas info\n"}; }

TEST(KernelCache, keepsEntries) {
  TemporaryFolder folder;
  KernelCache cache(folder.path("deep/er"));
  ASSERT_TRUE(cache.open().ok());
  EXPECT_FALSE(cache.load(kKey));
  ASSERT_TRUE(cache.store(kKey, sample()).ok());
  auto loaded = cache.load(kKey);
  ASSERT_TRUE(loaded);
  EXPECT_EQ(loaded->cubin, sample().cubin);
  EXPECT_EQ(loaded->log, sample().log);
  // Nothing else is left in the folder.
  EXPECT_EQ(
      std::distance(std::filesystem::directory_iterator(folder.path("deep/er")),
                    std::filesystem::directory_iterator()),
      1);
}

TEST(KernelCache, damageIsSeen) {
  TemporaryFolder folder;
  KernelCache cache(folder.path(""));
  ASSERT_TRUE(cache.store(kKey, sample()).ok());
  std::string path = folder.path(std::string(kKey) + ".kernel");
  std::ifstream file(path, std::ios::binary);
  const std::string whole((std::istreambuf_iterator<char>(file)), {});
  // Every truncation, every byte bent.
  for (size_t size = 0; size < whole.size(); ++size) {
    std::ofstream(path, std::ios::binary) << whole.substr(0, size);
    EXPECT_FALSE(cache.load(kKey)) << size;
  }
  for (size_t i = 0; i < whole.size(); ++i) {
    std::string bent = whole;
    bent[i] ^= 1;
    std::ofstream(path, std::ios::binary) << bent;
    EXPECT_FALSE(cache.load(kKey)) << i;
  }
  // An entry under another key's name.
  std::ofstream(folder.path("f" + std::string(kKey + 1) + ".kernel"),
                std::ios::binary)
      << whole;
  EXPECT_FALSE(cache.load("f" + std::string(kKey + 1)));
}

// What lies where an entry would be is neither waited for, nor followed, nor
// run, and a binary that cannot be kept is no more than that.
TEST(KernelCache, strangeEntriesAreNoEntries) {
  TemporaryFolder folder;
  KernelCache cache(folder.path(""));
  const std::string path = folder.path(std::string(kKey) + ".kernel");
  ASSERT_EQ(mkfifo(path.c_str(), 0600), 0);
  EXPECT_FALSE(cache.load(kKey));
  EXPECT_TRUE(cache.store(kKey, sample()).ok());
  EXPECT_TRUE(cache.load(kKey));

  std::string precious = folder.write("precious", "precious");
  std::filesystem::remove(path);
  std::filesystem::create_symlink(precious, path);
  EXPECT_TRUE(cache.store(kKey, sample()).ok());
  EXPECT_TRUE(cache.load(kKey));
  std::string content;
  std::ifstream(precious) >> content;
  EXPECT_EQ(content, "precious");
  // A whole entry behind a link.
  std::filesystem::rename(path, precious);
  std::filesystem::create_symlink(precious, path);
  EXPECT_FALSE(cache.load(kKey));

  std::filesystem::remove(path);
  std::filesystem::create_directory(path);
  EXPECT_FALSE(cache.load(kKey));
  EXPECT_FALSE(cache.store(kKey, sample()).ok());
}

// In a folder that others may write to, code of theirs is not run.
TEST(KernelCache, entriesOfOthersAreNoEntries) {
  TemporaryFolder folder;
  KernelCache cache(folder.path(""));
  ASSERT_TRUE(cache.store(kKey, sample()).ok());
  const std::string path = folder.path(std::string(kKey) + ".kernel");
  if (::chown(path.c_str(), /*nobody*/ 65534, -1) != 0)
    GTEST_SKIP() << "only root gives files away";
  EXPECT_FALSE(cache.load(kKey));
  EXPECT_TRUE(cache.store(kKey, sample()).ok());
  EXPECT_TRUE(cache.load(kKey));
}

TEST(KernelCache, aNewFolderIsPrivate) {
  TemporaryFolder folder;
  ASSERT_TRUE(KernelCache(folder.path("kernels")).open().ok());
  EXPECT_EQ(std::filesystem::status(folder.path("kernels")).permissions(),
            std::filesystem::perms::owner_all);
}

TEST(KernelCache, noFolder) {
  KernelCache cache("");
  EXPECT_TRUE(cache.open().ok());
  EXPECT_TRUE(cache.store(kKey, sample()).ok());
  EXPECT_FALSE(cache.load(kKey));
}

TEST(KernelCache, folderThatIsAFile) {
  TemporaryFolder folder;
  std::string file = folder.write("file", "");
  Status status = KernelCache(file).open();
  EXPECT_EQ(status.message(),
            "kernel cache " + file + ": cannot create folder: Not a directory");
}

TEST(KernelCache, defaultFolderIsTheUsers) {
  std::string folder = KernelCache::defaultFolder();
  EXPECT_NE(folder.find("/.cache/saddle/kernels"), std::string::npos);
  EXPECT_EQ(folder.front(), '/');
}

} // namespace
