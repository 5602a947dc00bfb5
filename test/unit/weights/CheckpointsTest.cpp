// Engines that read several checkpoints: which weights come from which, and
// what users hear when one is not there.

#include "test/unit/base/TemporaryFolder.h"
#include "test/unit/weights/LoadedWeights.h"
#include "test/unit/weights/TestCheckpoint.h"

using namespace saddle;

namespace {

const char *const kEmbedding = "model.embed_tokens.weight",
                  *const kHead = "lm_head.weight";

std::unique_ptr<schema::EngineT> twoPrograms() {
  TinyOptions options;
  options.draft = true;
  return tinyEngine(options);
}

/// The tensors of one checkpoint of an engine, all values moved by `shift`
/// places.
std::string checkpointFile(const schema::EngineT &tree, uint32_t checkpoint,
                           uint64_t shift) {
  auto copy = tinyEngine(TinyOptions());
  copy->sources.clear();
  for (const auto &source : tree.sources)
    if (source->checkpoint == checkpoint)
      copy->sources.push_back(std::make_unique<schema::SourceT>(*source));
  std::vector<TestTensor> tensors = testTensors(*copy);
  for (TestTensor &tensor : tensors) {
    std::string moved =
        tensor.data.substr(shift) + tensor.data.substr(0, shift);
    tensor.data = moved;
  }
  return safetensors(tensors);
}

TEST(Checkpoints, EachProgramReadsItsOwn) {
  auto tree = twoPrograms();
  TemporaryFolder main, draft;
  main.write("model.safetensors", checkpointFile(*tree, 0, 0));
  draft.write("model.safetensors", checkpointFile(*tree, 1, 2));
  LoadedWeights loaded(*tree, main.path(""), 0, {{"draft", draft.path("")}});
  ASSERT_TRUE(loaded.status.ok()) << loaded.status.message();
  // bf16: two bytes are an element.
  std::vector<float> head = loaded.values(kHead),
                     other = loaded.values(kHead, "draft");
  EXPECT_EQ(head[0], testValue(kHead, 0));
  EXPECT_EQ(other[0], testValue(kHead, 1));
  EXPECT_EQ(std::vector<float>(head.begin() + 1, head.end()),
            std::vector<float>(other.begin(), other.end() - 1));
  // Shared, so from the main checkpoint.
  EXPECT_EQ(loaded.values(kEmbedding, "draft")[0], testValue(kEmbedding, 0));
  EXPECT_EQ(loaded.values(kEmbedding, "draft"), loaded.values(kEmbedding));
  // 13 weights of a program with one layer, of which one is shared.
  const schema::Engine &root = loaded.engine->root();
  EXPECT_EQ(engine::weightsOf(root, 0).size(),
            2 * root.programs()->Get(0)->weights()->size() - 1);
}

// What becomes f32 may be stored otherwise in one of several checkpoints, too.
TEST(Checkpoints, EachHasDTypesOfItsOwn) {
  auto tree = twoPrograms();
  const std::string norm = "model.norm.weight";
  TemporaryFolder main, draft;
  main.write("model.safetensors", checkpointFile(*tree, 0, 0));
  auto copy = tinyEngine(TinyOptions());
  copy->sources.clear();
  for (const auto &source : tree->sources)
    if (source->checkpoint == 1)
      copy->sources.push_back(std::make_unique<schema::SourceT>(*source));
  std::vector<TestTensor> tensors = testTensors(*copy);
  for (TestTensor &tensor : tensors)
    if (tensor.name == norm)
      tensor = testTensor(norm, schema::DType::F32, {8});
  draft.write("model.safetensors", safetensors(tensors));
  LoadedWeights loaded(*tree, main.path(""), 0, {{"draft", draft.path("")}});
  ASSERT_TRUE(loaded.status.ok()) << loaded.status.message();
  for (size_t i = 0; i < 8; ++i) {
    EXPECT_EQ(loaded.values(norm)[i], testValue(norm, i));
    EXPECT_EQ(loaded.values(norm, "draft")[i], testValue(norm, i));
  }
}

TEST(Checkpoints, FoldersAndSeedsMix) {
  auto tree = twoPrograms();
  TemporaryFolder main;
  main.write("model.safetensors", checkpointFile(*tree, 0, 0));
  LoadedWeights mixed(*tree, main.path(""), 0, {{"draft", "synthetic:7"}});
  ASSERT_TRUE(mixed.status.ok()) << mixed.status.message();
  LoadedWeights made(*tree, "synthetic:7", 0);
  ASSERT_TRUE(made.status.ok()) << made.status.message();
  LoadedWeights alone(*tinyEngine(TinyOptions()), "synthetic:7", 0);
  EXPECT_EQ(mixed.values(kHead)[0], testValue(kHead, 0));
  EXPECT_EQ(mixed.values(kHead, "draft"), made.values(kHead, "draft"));
  // A draft does not change the model, and is another one.
  EXPECT_EQ(made.values(kHead), alone.values(kHead));
  EXPECT_NE(made.values(kHead), made.values(kHead, "draft"));
  LoadedWeights seeds(*tree, "synthetic:7", 0, {{"draft", "synthetic:8"}});
  ASSERT_TRUE(seeds.status.ok()) << seeds.status.message();
  EXPECT_EQ(seeds.values(kHead), alone.values(kHead));
  EXPECT_NE(seeds.values(kHead, "draft"), made.values(kHead, "draft"));
}

TEST(Checkpoints, WhatIsMissingOrUnknownIsSaid) {
  auto tree = twoPrograms();
  TemporaryFolder main;
  main.write("model.safetensors", checkpointFile(*tree, 0, 0));
  auto refused = [&](const std::string &spec,
                     const std::vector<CheckpointPlace> &others) {
    LoadedWeights loaded(*tree, spec, 0, others);
    EXPECT_EQ(loaded.status.code(), StatusCode::InvalidArgument);
    return loaded.status.message();
  };
  EXPECT_EQ(refused(main.path(""), {}),
            "the engine reads checkpoint \"draft\", too; say where its weights "
            "are");
  EXPECT_EQ(refused("synthetic:1", {{"eagle", "synthetic:2"}}),
            "weights \"synthetic:2\" are for checkpoint \"eagle\", but the "
            "engine reads main, draft");
  EXPECT_EQ(refused("synthetic:1",
                    {{"draft", "synthetic:2"}, {"draft", "synthetic:3"}}),
            "checkpoint \"draft\" has two sets of weights, \"synthetic:2\" and "
            "\"synthetic:3\"");
  // Another checkpoint's tensors are no part of this one.
  TemporaryFolder wrong;
  wrong.write("model.safetensors", checkpointFile(*tree, 0, 0));
  LoadedWeights loaded(*tree, main.path(""), 0, {{"draft", wrong.path("")}});
  EXPECT_EQ(loaded.status.code(), StatusCode::Mismatch);
  EXPECT_NE(
      loaded.status.message().find(
          "tensor \"model.embed_tokens.weight\" is not part of the model"),
      std::string::npos)
      << loaded.status.message();
}

} // namespace
