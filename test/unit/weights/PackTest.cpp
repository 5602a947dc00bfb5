// Packed folders: what is in them, what is refused, what is gone on with.

#include "runtime/src/weights/PackedFolder.h"

#include "runtime/src/engine/Programs.h"
#include "test/unit/base/TemporaryFolder.h"
#include "test/unit/weights/LoadedWeights.h"
#include "test/unit/weights/TestCheckpoint.h"

#include <gmock/gmock.h>

#include <filesystem>
#include <fstream>

using namespace saddle;
using testing::AllOf;
using testing::HasSubstr;
namespace fs = std::filesystem;

namespace {

class Pack : public testing::Test {
protected:
  explicit Pack(uint32_t pp = 1) {
    TinyOptions options;
    options.tp = 2;
    options.pp = pp;
    options.layers = pp;
    tree = tinyEngine(options);
    spread(*tree);
    folder.write("model.safetensors", safetensors(testTensors(*tree)));
  }

  /// One weight of each stage lies behind a gap, so that images have several
  /// chunks.
  static void spread(schema::EngineT &tree) {
    constexpr uint64_t kGap = kImageChunk + 4096;
    for (auto &program : tree.programs) {
      schema::SliceT &slice = *program->weights.back()->slice;
      const uint64_t before = slice.offset;
      const uint32_t arena = slice.arena;
      slice.offset += kGap;
      for (auto &entry : program->entries)
        for (auto &each : entry->slices)
          if (each->arena == arena && each->offset == before)
            each->offset = slice.offset;
      tree.arenas[arena]->bytes =
          std::max(tree.arenas[arena]->bytes, kGap + (uint64_t(1) << 20));
    }
  }

  Status pack(const schema::EngineT &engine, uint64_t stopAt = ~uint64_t(0),
              const std::string &origin = "a") {
    std::vector<uint8_t> buffer = flatBufferOf(engine);
    const schema::Engine &root = *schema::GetEngine(buffer.data());
    auto source = WeightSource::open(root, folder.path(""));
    EXPECT_TRUE(source.ok()) << source.status().message();
    told.clear();
    return weights::packWeights(root, **source, origin, packed,
                                [&](uint64_t done, uint64_t all) {
                                  told.push_back(done);
                                  EXPECT_LE(done, all);
                                  return done < stopAt || done == all;
                                });
  }
  /// All ranks from the packed folder have the bytes of the checkpoint's.
  void expectSame(const schema::EngineT &engine) {
    uint32_t ranks = engine.topology->tp * engine.topology->pp;
    for (uint32_t rank = 0; rank < ranks; ++rank) {
      LoadedWeights from(engine, packed, rank);
      ASSERT_TRUE(from.status.ok()) << from.status.message();
      LoadedWeights expected(engine, folder.path(""), rank);
      ASSERT_TRUE(expected.status.ok()) << expected.status.message();
      EXPECT_TRUE(from.bytes() == expected.bytes()) << "rank " << rank;
    }
  }
  std::string loadError(const schema::EngineT &engine) {
    return LoadedWeights(engine, packed, 0).status.message();
  }
  std::string rankFile(uint32_t rank = 1) const {
    return weights::packedFile(packed, rank);
  }
  static void flip(const std::string &path, uint64_t at) {
    std::fstream file(path, std::ios::in | std::ios::out | std::ios::binary);
    file.seekg(std::streamoff(at));
    char byte = char(file.get());
    file.seekp(std::streamoff(at));
    file.put(char(byte ^ 1));
  }

  std::unique_ptr<schema::EngineT> tree;
  TemporaryFolder folder, out;
  const std::string packed = out.path("packed");
  std::vector<uint64_t> told;
};

class PackStages : public Pack {
protected:
  PackStages() : Pack(2) {}
};

TEST_F(Pack, LoadsWhatTheCheckpointHas) {
  ASSERT_TRUE(pack(*tree).ok());
  EXPECT_FALSE(fs::exists(rankFile() + ".part"));
  EXPECT_FALSE(fs::exists(rankFile() + ".journal"));
  expectSame(*tree);
  std::vector<uint8_t> buffer = flatBufferOf(*tree);
  const schema::Engine &root = *schema::GetEngine(buffer.data());
  EXPECT_TRUE(weights::verifyPacked(root, packed, [](uint64_t, uint64_t) {
                return true;
              }).ok());
  EXPECT_EQ(weights::verifyPacked(root, packed,
                                  [](uint64_t, uint64_t) { return false; })
                .message(),
            packed + ": was not read to its end");
  // One part at a time, as devices with other memory load.
  auto opened = WeightSource::open(root, packed);
  ASSERT_TRUE(opened.ok());
  auto source = std::move(*opened);
  const schema::Weight &weight = *root.programs()->Get(0)->weights()->Get(1);
  std::vector<uint8_t> bytes(1 << 16), other(1 << 16), scratch;
  for (const WeightPart &part : splitWeight(*weight.slice(), 64)) {
    source->loadPart(weight, part, 1, bytes.data(), scratch);
    (*WeightSource::open(root, folder.path("")))
        ->loadPart(weight, part, 1, other.data(), scratch);
    ASSERT_EQ(std::memcmp(bytes.data(), other.data(),
                          partBytes(*weight.slice(), part)),
              0);
  }
  EXPECT_TRUE(source->readError().ok());
}

TEST_F(PackStages, LoadWhatTheCheckpointHas) {
  ASSERT_TRUE(pack(*tree).ok());
  expectSame(*tree);
}

TEST_F(Pack, EnginesThatDifferInLimitsOnly) {
  ASSERT_TRUE(pack(*tree).ok());
  tree->producer = "another";
  EXPECT_EQ(loadError(*tree), "");
}

TEST_F(Pack, OfAnotherEngine) {
  ASSERT_TRUE(pack(*tree).ok());
  tree->programs[0]->weights[0]->name += "x";
  EXPECT_THAT(loadError(*tree), HasSubstr("saddle-pack.json: was packed for "
                                          "another engine (\""));
  Status again = pack(*tree);
  EXPECT_THAT(again.message(),
              HasSubstr("holds weights that were packed for "
                        "another engine; give another folder"));
  tree->programs[0]->weights[0]->name.pop_back();
  EXPECT_EQ(loadError(*tree), "");
  fs::copy_file(rankFile(0), rankFile(1), fs::copy_options::overwrite_existing);
  EXPECT_THAT(loadError(*tree), HasSubstr("rank-00001.weights: was packed for "
                                          "another engine"));
}

TEST_F(Pack, AnImageMayEndWithAChunk) {
  TinyOptions options;
  options.tp = 2;
  tree = tinyEngine(options);
  schema::ProgramT &program = *tree->programs[0];
  schema::SliceT &slice = *program.weights.back()->slice;
  const uint64_t before = slice.offset;
  uint64_t bytes = 2; // bf16
  for (uint64_t extent : slice.shape)
    bytes *= extent;
  slice.offset = kImageChunk - bytes;
  for (auto &entry : program.entries)
    for (auto &each : entry->slices)
      if (each->arena == slice.arena && each->offset == before)
        each->offset = slice.offset;
  tree->arenas[slice.arena]->bytes = kImageChunk;
  Status status = pack(*tree);
  ASSERT_TRUE(status.ok()) << status.message();
  expectSame(*tree);
}

TEST_F(Pack, Truncated) {
  ASSERT_TRUE(pack(*tree).ok());
  uint64_t bytes = fs::file_size(rankFile());
  fs::resize_file(rankFile(), bytes - 8);
  EXPECT_THAT(loadError(*tree),
              HasSubstr("rank-00001.weights: has " + std::to_string(bytes - 8) +
                        " bytes, expected " + std::to_string(bytes) +
                        "; pack the weights again"));
  fs::resize_file(rankFile(), 100);
  EXPECT_THAT(loadError(*tree),
              HasSubstr("is shorter than its header; pack the weights "
                        "again"));
  fs::remove(rankFile());
  EXPECT_THAT(loadError(*tree), HasSubstr("rank-00001.weights: does not exist; "
                                          "run saddle-pack with the same "
                                          "arguments to go on"));
}

TEST_F(Pack, FlippedBits) {
  ASSERT_TRUE(pack(*tree).ok());
  uint64_t bytes = fs::file_size(rankFile(0));
  flip(rankFile(0), weights::kPackedPage + kImageChunk + 5);
  EXPECT_THAT(loadError(*tree),
              AllOf(HasSubstr("rank-00000.weights: bytes 16781312 to "),
                    HasSubstr(" do not have their hash; pack the weights "
                              "again")));
  flip(rankFile(0), weights::kPackedPage + kImageChunk + 5);
  EXPECT_EQ(loadError(*tree), "");
  flip(rankFile(0), 12);
  EXPECT_THAT(loadError(*tree), HasSubstr("the header is damaged"));
  flip(rankFile(0), 12);
  flip(rankFile(0), bytes - 9);
  EXPECT_THAT(loadError(*tree), HasSubstr("hashes at its end are damaged"));
}

TEST_F(Pack, HalfWrittenAndResumed) {
  Status stopped = pack(*tree, kImageChunk);
  EXPECT_EQ(stopped.code(), StatusCode::Aborted);
  EXPECT_THAT(stopped.message(), HasSubstr("is half written"));
  EXPECT_THAT(loadError(*tree), HasSubstr("rank-00000.weights: is half "
                                          "written; run saddle-pack"));
  ASSERT_TRUE(pack(*tree).ok());
  // Weights that were complete are not read again.
  EXPECT_GE(told.front(), kImageChunk);
  expectSame(*tree);
  // Nothing is left to do.
  ASSERT_TRUE(pack(*tree).ok());
  EXPECT_EQ(told.size(), 2u);
}

TEST_F(Pack, SeveralChunksAreNotWrittenAgain) {
  // A rank has two chunks.
  EXPECT_FALSE(pack(*tree, kImageChunk + 1).ok());
  const uint64_t before = told.back();
  ASSERT_TRUE(pack(*tree).ok());
  EXPECT_GE(told.front(), before);
  expectSame(*tree);
}

TEST_F(Pack, WhatIsKeptIsKeptByTheNextRunToo) {
  EXPECT_FALSE(pack(*tree, kImageChunk).ok());
  EXPECT_FALSE(pack(*tree, 0).ok()); // goes on, and stops at once
  ASSERT_TRUE(pack(*tree).ok());
  EXPECT_GE(told.front(), kImageChunk);
  expectSame(*tree);
}

TEST_F(Pack, KilledWhileAChunkWasWritten) {
  EXPECT_FALSE(pack(*tree, kImageChunk).ok());
  // The journal knows of a chunk that the disk does not have right.
  flip(rankFile(0) + ".part", weights::kPackedPage + 77);
  ASSERT_TRUE(pack(*tree).ok());
  expectSame(*tree);
  fs::remove_all(packed);
  EXPECT_FALSE(pack(*tree, kImageChunk).ok());
  fs::resize_file(rankFile(0) + ".part", weights::kPackedPage + 100);
  ASSERT_TRUE(pack(*tree).ok());
  expectSame(*tree);
}

TEST_F(Pack, AnotherCheckpointOfTheSameShapes) {
  EXPECT_FALSE(pack(*tree, kImageChunk).ok());
  ASSERT_TRUE(pack(*tree, ~uint64_t(0), "b").ok());
  // Weights of "a" before the gap are written anew.
  EXPECT_LT(told.front(), kImageChunk);
  ASSERT_TRUE(pack(*tree, ~uint64_t(0), "c").ok());
  EXPECT_GT(told.size(), 2u);
  expectSame(*tree);
}

TEST_F(Pack, FormatsToCome) {
  ASSERT_TRUE(pack(*tree).ok());
  std::ofstream(packed + "/saddle-pack.json") << R"({"format": 2})";
  EXPECT_THAT(loadError(*tree), HasSubstr("\"format\" is 2, expected 1; pack "
                                          "the weights with the saddle-pack of "
                                          "this version"));
  std::ofstream(packed + "/saddle-pack.json") << "[";
  EXPECT_THAT(loadError(*tree), HasSubstr("saddle-pack.json"));
}

} // namespace
