// Whole imports: folders, single files, the bundled model.

#include "models/Registry.h"

#include "test/unit/models/TinyCheckpoint.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

using namespace saddle;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

namespace {

std::string modelsDir(const std::string &path) {
  return std::string(SADDLE_MODELS_DIR) + "/" + path;
}

TEST(ImportM2, Folder) {
  TemporaryFolder folder;
  folder.write("config.json", smallFp8Config().dump());
  TinyCheckpoint(true).write(folder);
  StatusOr<M2Model> model = importM2(folder.path(""));
  ASSERT_TRUE(model.ok()) << model.status().message();
  EXPECT_EQ(model->config.hidden, 32);
  EXPECT_EQ(model->weights.layers[1].w2.dtype, TensorDType::F8E4M3);
  EXPECT_EQ(model->weights.fingerprint.size(), 32u);
  EXPECT_THAT(model->warnings, IsEmpty());
}

TEST(ImportM2, ConfigFileNeedsNoWeights) {
  TemporaryFolder folder;
  std::string config = folder.write("config.json", smallFp8Config().dump());
  StatusOr<M2Model> alone = importM2(config);
  ASSERT_TRUE(alone.ok()) << alone.status().message();
  ImportOptions options;
  options.configOnly = true;
  StatusOr<M2Model> asked = importM2(folder.path(""), options);
  ASSERT_TRUE(asked.ok()) << asked.status().message();
  TinyCheckpoint(true).write(folder);
  StatusOr<M2Model> full = importM2(folder.path(""));
  ASSERT_TRUE(full.ok()) << full.status().message();
  EXPECT_EQ(alone->weights.fingerprint, full->weights.fingerprint);
  EXPECT_EQ(asked->weights.fingerprint, full->weights.fingerprint);
}

TEST(ImportM2, GenerationConfigBesideTheConfigCounts) {
  TemporaryFolder folder;
  std::string config = folder.write("config.json", smallConfig().dump());
  folder.write("generation_config.json", R"({"eos_token_id": [7, 8]})");
  EXPECT_THAT(importM2(config)->config.eosTokenIds, ElementsAre(7, 8));
  folder.write("generation_config.json", R"({"eos_token_id")");
  EXPECT_THAT(importM2(config).status().message(),
              HasSubstr("generation_config.json: line 1"));
}

TEST(ImportM2, LayersOption) {
  TemporaryFolder folder;
  std::string config = folder.write("config.json", smallConfig().dump());
  ImportOptions options;
  options.layers = 1;
  StatusOr<M2Model> model = importM2(config, options);
  ASSERT_TRUE(model.ok()) << model.status().message();
  EXPECT_EQ(model->config.layers, 1);
  EXPECT_EQ(model->config.checkpointLayers, 2);
  EXPECT_EQ(model->weights.layers.size(), 1u);
  for (int64_t layers : {int64_t(-1), int64_t(3)}) {
    options.layers = layers;
    EXPECT_EQ(importM2(config, options).status().message(),
              config + ": cannot compile " + std::to_string(layers) +
                  " layers, num_hidden_layers = 2");
  }
}

TEST(ImportM2, PathErrors) {
  TemporaryFolder folder;
  std::string root = folder.path("");
  EXPECT_EQ(importM2(root + "/none").status().message(),
            root + "/none: no such file or folder, expected a model folder or "
                   "a config.json");
  EXPECT_EQ(importM2(root).status().message(),
            root + ": the folder has no config.json");
  folder.write("config.json", smallConfig().dump());
  EXPECT_EQ(importM2(root).status().message(),
            root + ": the folder has neither model.safetensors nor "
                   "model.safetensors.index.json; give its config.json to "
                   "compile without weights");
}

TEST(ImportModel, PicksTheImporter) {
  TemporaryFolder folder;
  std::string config = folder.write("config.json", smallConfig().dump());
  StatusOr<ImportedModel> model = importModel(config);
  ASSERT_TRUE(model.ok()) << model.status().message();
  EXPECT_EQ(std::get<M2Model>(*model).config.vocab, 40);

  folder.write("config.json", R"({"architectures": ["LlamaForCausalLM"]})");
  EXPECT_THAT(importModel(config).status().message(),
              HasSubstr("\"LlamaForCausalLM\" is not a known architecture"));
}

class Bundled : public testing::TestWithParam<const char *> {};

TEST_P(Bundled, ImportsWithoutWarnings) {
  StatusOr<ImportedModel> model =
      importModel(modelsDir(std::string("nano/") + GetParam()));
  ASSERT_TRUE(model.ok()) << model.status().message();
  const M2Model &m2 = std::get<M2Model>(*model);
  EXPECT_THAT(m2.warnings, IsEmpty());
  EXPECT_THAT(m2.weights.ignored, IsEmpty());
  EXPECT_FALSE(m2.config.eosTokenIds.empty());
}

INSTANTIATE_TEST_SUITE_P(All, Bundled, testing::Values("bf16", "fp8"));

} // namespace
