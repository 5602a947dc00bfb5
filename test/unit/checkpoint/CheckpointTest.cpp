// Folders and their index, the fingerprint, and speed at full-model size.

#include "runtime/src/checkpoint/Checkpoint.h"
#include "runtime/src/checkpoint/Fingerprint.h"
#include "test/unit/base/TemporaryFolder.h"
#include "test/unit/checkpoint/SafetensorsWriter.h"

#include <gtest/gtest.h>

#include <filesystem>

#include <chrono>

using namespace saddle;

namespace {

const char *const kIndex = "model.safetensors.index.json";

class CheckpointFolder : public testing::Test {
protected:
  /// Two shards: a in one, b and c in the other.
  void SetUp() override {
    folder.write("one", safetensors({{"a", "F32", {1}, "0123"}}));
    folder.write("two", safetensors({{"b", "U8", {4}, "0123"},
                                     {"c", "BF16", {2}, "0123"}}));
  }

  void refuses(const std::string &index, const std::string &message) {
    folder.write(kIndex, index);
    auto checkpoint = Checkpoint::open(folder.path(""));
    ASSERT_FALSE(checkpoint.ok()) << message;
    EXPECT_EQ(checkpoint.status().message(), message);
  }
  void refusesMap(const std::string &map, const std::string &message) {
    refuses("{\"weight_map\":{" + map + "}}", message);
  }
  std::string index() const { return folder.path(kIndex); }

  TemporaryFolder folder;
};

TEST_F(CheckpointFolder, opensASingleFile) {
  folder.write("model.safetensors", safetensors({{"x", "U8", {1}, "0"}}));
  auto checkpoint = Checkpoint::open(folder.path(""));
  ASSERT_TRUE(checkpoint.ok()) << checkpoint.status().message();
  EXPECT_EQ(checkpoint->files,
            std::vector<std::string>{folder.path("model.safetensors")});
  EXPECT_EQ(checkpoint->tensors.count("x"), 1u);
}

TEST_F(CheckpointFolder, opensShardsThroughTheIndex) {
  folder.write(kIndex, R"({"metadata":{"total_size":8,"more":[{"weight_map":
      1}]},"weight_map":{"a":"one","c":"two","b":"two"},"note":"x"})");
  auto checkpoint = Checkpoint::open(folder.path(""));
  ASSERT_TRUE(checkpoint.ok()) << checkpoint.status().message();
  EXPECT_EQ(checkpoint->files.size(), 2u);
  ASSERT_EQ(checkpoint->tensors.size(), 3u);
  EXPECT_EQ(checkpoint->tensors["a"].file, 0u);
  EXPECT_EQ(checkpoint->tensors["c"].file, 1u);
}

TEST_F(CheckpointFolder, namesAbsentThings) {
  EXPECT_EQ(Checkpoint::open(folder.path("no")).status().message(),
            folder.path("no") + ": there is no such folder; expected a "
                                "checkpoint folder with safetensors files");
  EXPECT_EQ(Checkpoint::open(folder.path("one")).status().message(),
            folder.path("one") +
                ": expected a checkpoint folder with safetensors files, but "
                "this is a file; give the folder that holds it");
  EXPECT_EQ(Checkpoint::open(folder.path("")).status().message(),
            folder.path("") + ": holds neither model.safetensors.index.json "
                              "nor model.safetensors");
}

TEST_F(CheckpointFolder, indexMayNotNameAnAbsentFile) {
  refusesMap(R"("a":"one","b":"three")",
             index() + ": tensor \"b\" is listed in \"three\", but there is "
                       "no such file in the folder");
}

TEST_F(CheckpointFolder, indexMustAgreeWithTheShards) {
  refusesMap(R"("a":"one","b":"two","c":"two","d":"two")",
             index() + ": tensor \"d\" is listed in \"two\", but that file "
                       "does not hold it");
  refusesMap(R"("a":"one","aa":"one","b":"two","c":"two")",
             index() + ": tensor \"aa\" is listed in \"one\", but that file "
                       "does not hold it");
  refusesMap(R"("a":"one","b":"one","c":"two")",
             index() + ": tensor \"b\" is listed in \"one\", but it is in "
                       "\"two\"");
  refusesMap(R"("a":"one","b":"two")",
             folder.path("two") + ": tensor \"c\" is not listed in " + kIndex);
  refusesMap(R"("a":"one","c":"two")",
             folder.path("two") + ": tensor \"b\" is not listed in " + kIndex);
}

TEST_F(CheckpointFolder, tensorInTwoShardsIsRefused) {
  folder.write("two",
               safetensors({{"a", "U8", {1}, "0"}, {"b", "U8", {1}, "0"}}));
  refusesMap(R"("a":"one","b":"two")",
             folder.path("two") + ": tensor \"a\" is also in \"one\"; every "
                                  "tensor must be in one file only");
}

TEST_F(CheckpointFolder, whatIsThereInsteadIsNamed) {
  std::filesystem::create_directory(folder.path("shards"));
  folder.write("shards/model-00001-of-00002.safetensors", "");
  EXPECT_EQ(Checkpoint::open(folder.path("shards")).status().message(),
            folder.path("shards") +
                ": holds neither model.safetensors.index.json nor "
                "model.safetensors, but "
                "\"model-00001-of-00002.safetensors\"; download the index, "
                "which says which tensors there are");
  // Its ending is not a name.
  std::filesystem::create_directories(folder.path("hidden"));
  folder.write("hidden/.safetensors", "");
  EXPECT_EQ(Checkpoint::open(folder.path("hidden")).status().message(),
            folder.path("hidden") +
                ": holds neither model.safetensors.index.json nor "
                "model.safetensors");
  std::filesystem::create_directories(folder.path("hub/snapshots"));
  EXPECT_EQ(Checkpoint::open(folder.path("hub")).status().message(),
            folder.path("hub") +
                ": holds neither model.safetensors.index.json nor "
                "model.safetensors; this is a folder of a hub's cache: give a "
                "folder of its snapshots/");
  // What cannot be looked at is not absent.
  std::filesystem::create_symlink("loop", folder.path("loop"));
  EXPECT_EQ(Checkpoint::open(folder.path("loop")).status().message(),
            folder.path("loop") +
                ": cannot be opened: Too many levels of symbolic links");
  // Snapshots of a hub are links to files that may have been cleared away.
  std::filesystem::create_directory(folder.path("snapshot"));
  std::filesystem::create_symlink("../blobs/gone",
                                  folder.path("snapshot/model.safetensors"));
  EXPECT_EQ(Checkpoint::open(folder.path("snapshot")).status().message(),
            folder.path("snapshot/model.safetensors") +
                ": is a link to a file that is not there; download it again");
}

TEST_F(CheckpointFolder, malformedIndexIsRefused) {
  std::string noObject = index() + ": expected a JSON object";
  std::string noMap = index() + ": weight_map must be an object that maps "
                                "tensor names to file names";
  refuses("", index() + ": line 1, column 1 (byte 0): not valid JSON, "
                        "unexpected end of file");
  refuses("[]", noObject);
  refuses("1", noObject);
  refuses("{}", index() + ": has no \"weight_map\"");
  refuses(R"({"weight_map":[]})", noMap);
  refuses(R"({"weight_map":3})", noMap);
  refuses(R"({"weight_map":{"a":3}})", noMap);
  refuses(R"({"weight_map":{"a":{}}})", noMap);
  refuses(R"({"weight_map":{"a":[]}})", noMap);
  refuses(R"({"weight_map":{},"weight_map":{}})",
          index() + ": \"weight_map\" appears twice");
  refusesMap(R"("a":"one","a":"two")",
             index() + ": tensor \"a\" appears twice in weight_map");
}

TEST_F(CheckpointFolder, indexMayNotLeaveTheFolder) {
  for (std::string file : {"../one", "/etc/passwd", "..", ".", ""})
    refusesMap("\"a\":\"" + file + "\"",
               index() + ": tensor \"a\": \"" + file +
                   "\" is not the name of a file in the same folder");
}

TEST_F(CheckpointFolder, shardErrorsPassThrough) {
  folder.write("one", "short");
  refusesMap(R"("a":"one")",
             folder.path("one") +
                 ": 5 bytes are too few for a safetensors file, which begins "
                 "with 8 bytes of header length");
}

TEST_F(CheckpointFolder, fullModelSizeIsFast) {
  // 130 shards of 769 tensors: the real models' 95k expert tensors and the
  // rest.
  std::string map;
  for (unsigned shard = 0; shard < 130; ++shard) {
    std::vector<TestTensor> tensors;
    std::string file = "shard-" + std::to_string(shard);
    for (unsigned i = 0; i < 769; ++i) {
      std::string name = "model.layers." + std::to_string(shard) +
                         ".block_sparse_moe.experts." + std::to_string(i) +
                         ".w1.weight";
      tensors.push_back({name, "U8", {1}, "0"});
      map += (map.empty() ? "\"" : ",\"") + name + "\":\"" + file + "\"";
    }
    folder.write(file, safetensors(tensors));
  }
  folder.write(kIndex, "{\"weight_map\":{" + map + "}}");
  auto start = std::chrono::steady_clock::now();
  auto checkpoint = Checkpoint::open(folder.path(""));
  std::chrono::duration<double> took = std::chrono::steady_clock::now() - start;
  ASSERT_TRUE(checkpoint.ok()) << checkpoint.status().message();
  EXPECT_EQ(checkpoint->tensors.size(), 99970u);
  // About 0.15 s in a release build; the bound only catches a quadratic walk.
  EXPECT_LT(took.count(), 10);
}

std::string oneTensor(const std::string &name, TensorDType dtype,
                      const std::vector<uint64_t> &shape) {
  Fingerprint fingerprint;
  fingerprint.add(name, dtype, shape);
  return fingerprint.hex();
}

TEST(Fingerprint, everyPartCounts) {
  std::string base = oneTensor("ab", TensorDType::F32, {2, 3});
  EXPECT_EQ(base.size(), 32u);
  EXPECT_EQ(base, oneTensor("ab", TensorDType::F32, {2, 3}));
  EXPECT_NE(base, oneTensor("ac", TensorDType::F32, {2, 3}));
  EXPECT_NE(base, oneTensor("ab", TensorDType::BF16, {2, 3}));
  EXPECT_NE(base, oneTensor("ab", TensorDType::F32, {3, 2}));
  EXPECT_NE(base, oneTensor("ab", TensorDType::F32, {2, 3, 1}));
}

TEST(Fingerprint, neverChangesBetweenVersions) {
  // Engines carry it: another value here would orphan every existing engine.
  // Computed with the xxhsum program over the length-prefixed bytes of the
  // name, the dtype, the rank and the shape.
  EXPECT_EQ(oneTensor("w", TensorDType::F32, {2}),
            "4ee8b353098232e8d0a8e89137279790");
}

TEST(Fingerprint, ofACheckpointCoversAllTensors) {
  Checkpoint checkpoint;
  checkpoint.tensors["a"] = {TensorDType::U8, "U8", {1}, 0, 0, 1};
  checkpoint.tensors["b"] = {TensorDType::F32, "F32", {2}, 0, 1, 8};
  Fingerprint expected;
  expected.add("a", TensorDType::U8, {1});
  expected.add("b", TensorDType::F32, {2});
  EXPECT_EQ(fingerprintOf(checkpoint), expected.hex());
}

} // namespace
