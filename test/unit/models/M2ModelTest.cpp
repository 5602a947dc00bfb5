// Whole imports: folders, single files, the bundled model.

#include "models/MiniMax/M2Model.h"

#include "test/unit/models/TinyCheckpoint.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <unistd.h>

using namespace saddle;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

namespace {

StatusOr<M2Model> importFrom(const std::string &path,
                             const ImportOptions &options = {}) {
  SADDLE_ASSIGN_OR_RETURN(ModelSource source, ModelSource::open(path));
  return readM2(source, options);
}

TEST(ReadM2, Folder) {
  TemporaryFolder folder;
  folder.write("config.json", smallFp8Config().dump());
  TinyCheckpoint(true).write(folder);
  StatusOr<M2Model> model = importFrom(folder.path(""));
  ASSERT_TRUE(model.ok()) << model.status().message();
  EXPECT_EQ(model->config.hidden, 32);
  EXPECT_EQ(model->weights.find("layers.1.w2")->spec.dtype,
            TensorDType::F8E4M3);
  EXPECT_EQ(model->weights.fingerprint().size(), 32u);
  EXPECT_THAT(model->warnings, IsEmpty());
}

TEST(ReadM2, ConfigFileNeedsNoWeights) {
  TemporaryFolder folder;
  std::string config = folder.write("config.json", smallFp8Config().dump());
  StatusOr<M2Model> alone = importFrom(config);
  ASSERT_TRUE(alone.ok()) << alone.status().message();
  ImportOptions options;
  options.configOnly = true;
  StatusOr<M2Model> asked = importFrom(folder.path(""), options);
  ASSERT_TRUE(asked.ok()) << asked.status().message();
  TinyCheckpoint(true).write(folder);
  StatusOr<M2Model> full = importFrom(folder.path(""));
  ASSERT_TRUE(full.ok()) << full.status().message();
  EXPECT_EQ(alone->weights.fingerprint(), full->weights.fingerprint());
  EXPECT_EQ(asked->weights.fingerprint(), full->weights.fingerprint());
}

TEST(ReadM2, GenerationConfigBesideTheConfigCounts) {
  TemporaryFolder folder;
  std::string config = folder.write("config.json", smallConfig().dump());
  folder.write("generation_config.json", R"({"eos_token_id": [7, 8]})");
  EXPECT_THAT(importFrom(config)->config.tokens.eos, ElementsAre(7, 8));
  folder.write("generation_config.json", R"({"eos_token_id")");
  EXPECT_THAT(importFrom(config).status().message(),
              HasSubstr("generation_config.json: line 1"));
}

TEST(ReadM2, LayersOption) {
  TemporaryFolder folder;
  std::string config = folder.write("config.json", smallConfig().dump());
  ImportOptions options;
  options.layers = 1;
  StatusOr<M2Model> model = importFrom(config, options);
  ASSERT_TRUE(model.ok()) << model.status().message();
  EXPECT_EQ(model->config.layers, 1);
  EXPECT_EQ(model->config.checkpointLayers, 2);
  EXPECT_TRUE(model->weights.find("layers.0.w2"));
  EXPECT_FALSE(model->weights.find("layers.1.w2"));
  for (int64_t layers : {int64_t(-1), int64_t(3)}) {
    options.layers = layers;
    EXPECT_EQ(importFrom(config, options).status().message(),
              config + ": cannot compile " + std::to_string(layers) +
                  " layers, num_hidden_layers = 2");
  }
}

TEST(ReadM2, PathErrors) {
  TemporaryFolder folder;
  std::string root = folder.path("");
  EXPECT_EQ(importFrom(root + "/none").status().message(),
            root + "/none: no such file or folder, expected a model folder or "
                   "a config.json");
  EXPECT_EQ(importFrom(root).status().message(),
            root + ": the folder has no config.json");
  folder.write("config.json", smallConfig().dump());
  EXPECT_EQ(importFrom(root).status().message(),
            root + ": holds neither model.safetensors.index.json nor "
                   "model.safetensors; or give its config.json to compile "
                   "without weights");
}

TEST(ReadM2, WhatCannotBeLookedAtIsNotAbsent) {
  TemporaryFolder folder;
  const std::string loop = ": cannot be opened: Too many levels of symbolic "
                           "links";
  for (const char *name : {"config.json", "generation_config.json"}) {
    std::filesystem::create_symlink(name, folder.path(name));
    EXPECT_EQ(importFrom(folder.path("")).status().message(),
              folder.path(name) + loop);
    std::filesystem::remove(folder.path(name));
    folder.write(name, smallConfig().dump());
  }
  std::filesystem::create_symlink("self", folder.path("self"));
  EXPECT_EQ(importFrom(folder.path("self")).status().message(),
            folder.path("self") + loop);
}

TEST(ReadM2, WhatMayNotBeReadIsNotAbsent) {
  TemporaryFolder folder;
  folder.write("config.json", smallConfig().dump());
  // Root may read everything, so it becomes somebody else for a moment.
  const uid_t user = ::geteuid();
  std::filesystem::permissions(folder.path(""), std::filesystem::perms::none);
  if (user == 0 && ::seteuid(/*nobody*/ 65534) != 0)
    GTEST_SKIP() << "this process cannot become another user";
  StatusOr<M2Model> inside = importFrom(folder.path("config.json"));
  StatusOr<M2Model> whole = importFrom(folder.path(""));
  ASSERT_EQ(::seteuid(user), 0);
  std::filesystem::permissions(folder.path(""),
                               std::filesystem::perms::owner_all);
  for (const auto &model : {inside, whole}) {
    ASSERT_FALSE(model.ok());
    EXPECT_THAT(model.status().message(),
                testing::EndsWith("cannot be opened: Permission denied"));
  }
}

TEST(ReadM2, AFolderOfAHubIsNamed) {
  TemporaryFolder folder;
  std::filesystem::create_directories(folder.path("snapshots/0123"));
  EXPECT_EQ(importFrom(folder.path("")).status().message(),
            folder.path("") + ": the folder has no config.json; this is a "
                              "folder of a hub's cache: give a folder of its "
                              "snapshots/");
}

TEST(ReadM2, WhatADownloadHasLeftIsNoConfig) {
  TemporaryFolder folder;
  std::string config = folder.write(
      "config.json", "version https://git-lfs.github.com/spec/v1\noid x\n");
  EXPECT_EQ(importFrom(config).status().message(),
            config + ": expected JSON, but this is a pointer of Git LFS; fetch "
                     "the file itself with \"git lfs pull\"");
  folder.write("config.json", "<!doctype html>");
  EXPECT_EQ(importFrom(config).status().message(),
            config + ": expected JSON, but this is a web page; download the "
                     "file again, perhaps after logging in");
}

class Bundled : public testing::TestWithParam<const char *> {};

TEST_P(Bundled, HasNothingBesideItsWeights) {
  StatusOr<M2Model> model =
      importFrom(std::string(SADDLE_MODELS_DIR) + "/nano/" + GetParam());
  ASSERT_TRUE(model.ok()) << model.status().message();
  EXPECT_THAT(model->warnings, IsEmpty());
  EXPECT_THAT(model->weights.ignored, IsEmpty());
}

INSTANTIATE_TEST_SUITE_P(All, Bundled, testing::Values("bf16", "fp8"));

} // namespace
