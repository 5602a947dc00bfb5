// The way of a file from bytes to an engine: honest files load, and every
// truncation, flipped bit and foreign version is refused.

#include "runtime/src/base/Hash.h"
#include "runtime/src/engine/Engine.h"
#include "runtime/src/engine/EngineFile.h"
#include "test/unit/base/TemporaryFolder.h"
#include "test/unit/engine/TinyEngine.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <cstring>
#include <unistd.h>

using namespace saddle;
using schema::DType;
using testing::StartsWith;

namespace {

using File = std::vector<uint8_t>;

Status loadStatus(const File &file) {
  auto engine = Engine::fromBytes(file.data(), file.size(), "t.saddle");
  return engine.ok() ? Status() : engine.status();
}

File tinyFile() {
  TinyOptions options;
  options.tp = 2;
  return engineFileOf(*tinyEngine(options));
}

/// Overwrites a little-endian header field.
void setField(File &file, size_t at, uint64_t value, size_t bytes) {
  for (size_t i = 0; i < bytes; ++i)
    file[at + i] = uint8_t(value >> (8 * i));
}

/// `file` with a header field changed and the header's hash made right again.
File withField(File file, size_t at, uint64_t value, size_t bytes = 8) {
  setField(file, at, value, bytes);
  setField(file, 56, hash64(file.data(), 56), 8);
  return file;
}

TEST(Load, tinyEnginesAreValid) {
  for (uint32_t tp : {1, 2, 4})
    for (DType compute : {DType::F32, DType::BF16})
      for (DType kv : {DType::F32, DType::BF16, DType::F8E4M3}) {
        TinyOptions options;
        options.tp = tp;
        options.layers = 2;
        options.compute = compute;
        options.kv = kv;
        EXPECT_EQ(loadStatus(engineFileOf(*tinyEngine(options))).message(), "");
      }
}

TEST(Load, readsFilesAndBytesAlike) {
  TemporaryFolder folder;
  File file = tinyFile();
  std::string path =
      folder.write("e.saddle", std::string(file.begin(), file.end()));
  auto engine = Engine::load(path);
  ASSERT_TRUE(engine.ok()) << engine.status().message();
  EXPECT_EQ((*engine)->path(), path);
  EXPECT_EQ((*engine)->worldSize(), 2u);
  EXPECT_EQ((*engine)->root().model()->name()->str(), "tiny");
  EXPECT_EQ(Engine::load(folder.path("no")).status().code(),
            StatusCode::NotFound);
}

// What was validated is what runs: a session outlives what happens to the file.
TEST(Load, aFileChangedUnderALiveEngineChangesNothing) {
  TemporaryFolder folder;
  File file = tinyFile();
  std::string text(file.begin(), file.end());
  std::string path = folder.write("e.saddle", text);
  auto engine = Engine::load(path);
  ASSERT_TRUE(engine.ok()) << engine.status().message();
  folder.write("e.saddle", std::string(text.size(), '\xff'));
  EXPECT_EQ((*engine)->root().model()->name()->str(), "tiny");
  ASSERT_EQ(truncate(path.c_str(), 0), 0);
  EXPECT_EQ((*engine)->root().programs()->size(), 1u);
}

// Time grows with the file and no faster.
TEST(Load, manyCollectivesAreValidatedInLinearTime) {
  constexpr size_t kCollectives = 60000;
  TinyOptions options;
  options.tp = 4;
  options.dp = 2;
  auto tree = tinyEngine(options);
  auto &commands = tree->programs[0]->entries[0]->commands;
  std::vector<std::unique_ptr<schema::CommandT>> found;
  for (const auto &command : commands)
    if (command->action.type == schema::Action::Collective)
      found.push_back(std::make_unique<schema::CommandT>(*command));
  ASSERT_FALSE(found.empty());
  for (size_t i = 0; i < kCollectives; ++i)
    commands.push_back(
        std::make_unique<schema::CommandT>(*found[i % found.size()]));
  File file = engineFileOf(*tree);
  auto start = std::chrono::steady_clock::now();
  EXPECT_EQ(loadStatus(file).message(), "");
  std::chrono::duration<double> time = std::chrono::steady_clock::now() - start;
#ifdef NDEBUG
  EXPECT_LT(time.count(), 1.0);
#else
  EXPECT_LT(time.count(), 20.0);
#endif
}

TEST(Load, sameInputGivesSameBytes) { EXPECT_EQ(tinyFile(), tinyFile()); }

TEST(Load, headerIsAsDocumented) {
  File buffer = {1, 2, 3, 4, 5}, segment(10, 7);
  File file = packEngineFile(buffer, segment);
  ASSERT_EQ(file.size(), 4096u + 10);
  EXPECT_EQ(std::memcmp(file.data(), "SADDLE\r\n\2\0\5\0\x40\0\0\0", 16), 0);
  auto field = [&](size_t at) {
    uint64_t value;
    std::memcpy(&value, file.data() + at, 8);
    return value;
  };
  EXPECT_EQ(field(16), 5u);
  EXPECT_EQ(field(24), 4096u);
  EXPECT_EQ(field(32), 10u);
  EXPECT_EQ(field(40), 4106u);
  EXPECT_EQ(field(48), hash64(file.data() + 64, 4106 - 64));
  EXPECT_EQ(field(56), hash64(file.data(), 56));
  auto parts = unpackEngineFile(file, "x");
  ASSERT_TRUE(parts.ok()) << parts.status().message();
  EXPECT_EQ(File(parts->flatbuffer.begin(), parts->flatbuffer.end()), buffer);
  EXPECT_EQ(File(parts->segments.begin(), parts->segments.end()), segment);
  file = packEngineFile(buffer, {});
  EXPECT_EQ(file.size(), 64u + 5);
  EXPECT_EQ(field(24), 0u);
}

TEST(Load, refusesTruncationAtEveryByte) {
  File file = tinyFile();
  for (size_t size = 0; size < file.size(); ++size) {
    Status status = loadStatus(File(file.begin(), file.begin() + size));
    ASSERT_EQ(status.code(), StatusCode::DataLoss) << size;
    ASSERT_THAT(status.message(), StartsWith("t.saddle: truncated: ")) << size;
  }
  EXPECT_EQ(loadStatus(File(63)).message(),
            "t.saddle: truncated: 63 bytes, but an engine file begins with a "
            "header of 64");
  File longer = file;
  longer.push_back(0);
  EXPECT_THAT(loadStatus(longer).message(),
              StartsWith("t.saddle: damaged: the header says "));
}

TEST(Load, refusesEveryFlippedBit) {
  File file = tinyFile();
  for (size_t bit = 0; bit < file.size() * 8; ++bit) {
    file[bit / 8] ^= uint8_t(1u << (bit % 8));
    ASSERT_FALSE(loadStatus(file).ok()) << "bit " << bit;
    file[bit / 8] ^= uint8_t(1u << (bit % 8));
  }
  file.back() ^= 1;
  EXPECT_THAT(loadStatus(file).message(),
              testing::MatchesRegex("t.saddle: damaged: the content has hash "
                                    "[0-9a-f]{16}, but [0-9a-f]{16} is "
                                    "recorded"));
  file = tinyFile();
  file[20] ^= 1;
  EXPECT_THAT(loadStatus(file).message(),
              StartsWith("t.saddle: damaged: the header has hash "));
}

/// Damage that happened before the hashes were made: it may even be harmless,
/// but it must not crash.
void survivesFlippedBits(const TinyOptions &options, size_t stride) {
  File buffer = flatBufferOf(*tinyEngine(options));
  unsigned refused = 0, tried = 0;
  for (size_t byte = 0; byte < buffer.size(); byte += stride, ++tried) {
    buffer[byte] ^= uint8_t(1u << (tried % 8));
    Status status = loadStatus(packEngineFile(buffer, {}));
    refused += !status.ok();
    if (!status.ok())
      ASSERT_THAT(status.message(), StartsWith("t.saddle: ")) << byte;
    buffer[byte] ^= uint8_t(1u << (tried % 8));
  }
  EXPECT_GT(refused, tried / 4);
}

TEST(Load, survivesFlippedBitsUnderRightHashes) {
  TinyOptions options;
  options.tp = 2;
  survivesFlippedBits(options, 1);
}

TEST(Load, survivesFlippedBitsOfReplicasAndStages) {
  TinyOptions options;
  options.tp = 4;
  options.dp = options.pp = options.layers = 2;
  options.tokenBlocks = true;
  survivesFlippedBits(options, 11);
}

/// The FlatBuffers verifier does not see this.
TEST(Load, refusesMisalignedShapes) {
  File buffer = flatBufferOf(*tinyEngine());
  const auto *engine = schema::GetEngine(buffer.data());
  const schema::Source *source = engine->sources()->Get(0);
  auto table = reinterpret_cast<const flatbuffers::Table *>(source);
  size_t at =
      size_t(reinterpret_cast<const uint8_t *>(source) - buffer.data()) +
      table->GetOptionalFieldOffset(schema::Source::VT_SHAPE);
  // The vector's offset, 4 bytes further: the next 4 bytes, its first entry's
  // low half, become the length.
  buffer[at] = uint8_t(buffer[at] + 4);
  EXPECT_EQ(loadStatus(packEngineFile(buffer, {})).message(),
            "t.saddle: source \"model.embed_tokens.weight\": the metadata "
            "holds a shape or strides that are not aligned to 8 bytes");
}

TEST(Load, survivesTruncatedFlatBuffers) {
  File buffer = flatBufferOf(*tinyEngine());
  for (size_t size = 0; size < buffer.size(); ++size) {
    Status status = loadStatus(packEngineFile(Bytes(buffer.data(), size), {}));
    // The last bytes may be alignment that nothing refers to.
    if (size + 8 <= buffer.size())
      ASSERT_EQ(status.code(), StatusCode::DataLoss) << size;
  }
  EXPECT_EQ(loadStatus(packEngineFile(Bytes(buffer.data(), 8), {})).message(),
            "t.saddle: the 8 bytes of metadata are not a well-formed \"SDL1\" "
            "FlatBuffer");
}

TEST(Load, refusesForeignFiles) {
  std::string text = "#!/bin/sh\n" + std::string(100, 'x');
  EXPECT_EQ(loadStatus(File(text.begin(), text.end())).message(),
            "t.saddle: not an engine file: it does not begin with \"SADDLE\"");
  File file = tinyFile();
  file[6] = '\n';
  EXPECT_EQ(loadStatus(file).message(),
            "t.saddle: damaged: the line end after \"SADDLE\" was changed; "
            "copy the file in binary mode");
}

TEST(Load, refusesOtherVersions) {
  auto versioned = [](uint64_t major, uint64_t minor) {
    return loadStatus(
        withField(withField(tinyFile(), 8, major, 2), 10, minor, 2));
  };
  EXPECT_TRUE(versioned(2, 0).ok());
  EXPECT_TRUE(versioned(2, 5).ok());
  for (auto [major, minor] : {std::pair{1, 0}, {3, 0}, {0, 0}, {2, 6}}) {
    Status status = versioned(uint64_t(major), uint64_t(minor));
    EXPECT_EQ(status.code(), StatusCode::Unsupported);
    EXPECT_EQ(status.message(),
              "t.saddle: engine format " + std::to_string(major) + "." +
                  std::to_string(minor) +
                  ", but this build reads 2.0 to 2.5; compile the engine "
                  "again with this version");
  }
}

TEST(Load, refusesLyingHeaders) {
  File file = packEngineFile(File(8), File(8));
  auto message = [&](size_t at, uint64_t value, size_t bytes = 8) {
    return loadStatus(withField(file, at, value, bytes)).message();
  };
  EXPECT_EQ(message(12, 128, 4),
            "t.saddle: header field header_bytes is 128, expected 64");
  EXPECT_EQ(message(16, ~uint64_t(0)),
            "t.saddle: header field flatbuffer_bytes is 18446744073709551615, "
            "but the file holds 4040 bytes after the header (and the limit is "
            "2147483647)");
  EXPECT_EQ(message(16, 4041).substr(0, 51),
            "t.saddle: header field flatbuffer_bytes is 4041, bu");
  EXPECT_EQ(message(24, 4095),
            "t.saddle: header field segment_base is 4095, expected 4096");
  EXPECT_EQ(message(32, ~uint64_t(0)),
            "t.saddle: header field segment_bytes is 18446744073709551615, "
            "expected 8");
  EXPECT_EQ(message(32, 0),
            "t.saddle: header field segment_base is 4096, expected 0");
  EXPECT_EQ(message(40, 5000),
            "t.saddle: truncated: the header says 5000 bytes, but the file "
            "has 4104");
  file = packEngineFile(File(8), {});
  EXPECT_EQ(message(16, 7),
            "t.saddle: header field segment_bytes is 0, expected 1");
}

} // namespace
