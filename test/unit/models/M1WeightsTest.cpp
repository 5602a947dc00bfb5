// Tensors of Text-01 and M1: what the architecture stores, and folders with
// something else.

#include "models/MiniMax/M1Model.h"

#include "test/unit/models/SmallM1Config.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

using namespace saddle;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

namespace {

StatusOr<M1Model> importFrom(const std::string &path,
                             const ImportOptions &options = {}) {
  SADDLE_ASSIGN_OR_RETURN(ModelSource source, ModelSource::open(path));
  return readM1(source, options);
}

// 456,089,655,296 parameters, which is what the shapes in the index of M1 make,
// in 8,243 tensors.
TEST(M1Weights, PublishedCounts) {
  StatusOr<M1Model> model = importFrom(std::string(SADDLE_MODELS_DIR) +
                                       "/configs/MiniMax-M1-80k/config.json");
  ASSERT_TRUE(model.ok()) << model.status().message();
  EXPECT_EQ(model->weights.elementCount(), 456089655296u);
  EXPECT_EQ(model->weights.tensorCount(), 8243u);
  auto shape = [&](const char *symbol) {
    const ModelWeight *weight = model->weights.find(symbol);
    EXPECT_TRUE(weight) << symbol;
    return weight ? weight->spec.shape : std::vector<uint64_t>();
  };
  EXPECT_THAT(shape("layers.0.qkv_proj"), ElementsAre(24576, 6144));
  EXPECT_THAT(shape("layers.0.scan_norm"), ElementsAre(8192));
  EXPECT_THAT(shape("layers.0.output_gate"), ElementsAre(8192, 6144));
  EXPECT_THAT(shape("layers.0.out_proj"), ElementsAre(6144, 8192));
  EXPECT_THAT(shape("layers.7.k_proj"), ElementsAre(1024, 6144));
  EXPECT_FALSE(model->weights.find("layers.7.qkv_proj"));
  EXPECT_FALSE(model->weights.find("layers.0.q_proj"));
  EXPECT_EQ(model->weights.find("layers.0.router")->spec.dtype,
            TensorDType::F32);
  // A head's query, key and value move together.
  EXPECT_EQ(model->weights.find("layers.0.qkv_proj")->dims[0].unit, 384u);
}

class M1Folder : public testing::Test {
protected:
  void SetUp() override {
    config = smallM1Config();
    tensors = smallM1Checkpoint();
  }
  StatusOr<M1Model> read() {
    folder.write("config.json", config.dump());
    tensors.write(folder);
    return importFrom(folder.path(""));
  }
  /// Behind the folder's name.
  std::string error() {
    std::string message = read().status().message();
    return message.substr(std::min(folder.path("").size() + 2, message.size()));
  }

  TemporaryFolder folder;
  nlohmann::json config;
  TinyCheckpoint tensors;
};

TEST_F(M1Folder, PublishedAndSavedFormHaveTheSameTensors) {
  StatusOr<M1Model> published = read();
  ASSERT_TRUE(published.ok()) << published.status().message();
  EXPECT_THAT(published->weights.ignored, IsEmpty());
  EXPECT_EQ(published->weights.tensorCount(), tensors.tensors.size());
  EXPECT_EQ(published->weights.find("layers.0.router")->spec.dtype,
            TensorDType::BF16);
  config = savedM1Config();
  StatusOr<M1Model> saved = read();
  ASSERT_TRUE(saved.ok()) << saved.status().message();
  EXPECT_EQ(saved->weights.fingerprint(), published->weights.fingerprint());
}

TEST_F(M1Folder, ASharedExpertIsAStackOfOneBesideTheOthers) {
  config["shared_intermediate_size"] = 16;
  config["shared_moe_mode"] = "sigmoid";
  EXPECT_THAT(error(), HasSubstr("model.layers.0.coefficient.weight"));
  for (std::string layer : {"model.layers.0.", "model.layers.1."}) {
    tensors.set(layer + "coefficient.weight", "BF16", {1, 24});
    tensors.set(layer + "shared_mlp.gate_proj.weight", "BF16", {16, 24});
    tensors.set(layer + "shared_mlp.up_proj.weight", "BF16", {16, 24});
    tensors.set(layer + "shared_mlp.down_proj.weight", "BF16", {24, 16});
  }
  StatusOr<M1Model> model = read();
  ASSERT_TRUE(model.ok()) << model.status().message();
  EXPECT_EQ(model->weights.tensorCount(), tensors.tensors.size());
  const ModelWeight *down = model->weights.find("layers.1.shared_w2");
  ASSERT_TRUE(down);
  EXPECT_EQ(down->dims.size(), 3u);
  EXPECT_EQ(down->spec.stack, 0u);
  EXPECT_THAT(down->spec.shape, ElementsAre(24, 16));
}

// transformers saves four buffers of each linear layer. The first of two layers
// has the rate 1.00001, and 4 heads the slopes 1/4 to 1/256.
class M1Decays : public M1Folder {
protected:
  void SetUp() override {
    M1Folder::SetUp();
    std::vector<float> query, key, diagonal;
    for (double slope : {0x1p-2, 0x1p-4, 0x1p-6, 0x1p-8}) {
      auto decayed = [&](int tokens) {
        return float(std::exp(-1.00001 * slope * tokens));
      };
      for (int i = 0; i < kBlock; ++i) {
        query.push_back(decayed(i + 1));
        key.push_back(decayed(kBlock - 1 - i));
        for (int j = 0; j < kBlock; ++j)
          diagonal.push_back(i < j ? 0 : decayed(i - j));
      }
    }
    set("query_decay", {4, kBlock, 1}, query);
    set("key_decay", {4, kBlock, 1}, key);
    set("diagonal_decay", {1, 4, kBlock, kBlock}, diagonal);
  }
  void set(const std::string &buffer, const std::vector<uint64_t> &shape,
           const std::vector<float> &values) {
    tensors.tensors[kLayer + buffer] = {kLayer + buffer, "F32", shape,
                                        bytesOf(values)};
  }
  void setSlopes(const std::vector<float> &slopes) {
    tensors.tensors[kName] = {
        kName, "F32", {slopes.size(), 1, 1}, bytesOf(slopes)};
  }

  static constexpr int kBlock = 3;
  const std::string kLayer = "model.layers.0.self_attn.",
                    kName = kLayer + "slope_rate";
};

TEST_F(M1Decays, OfThePublishedCodeAreIgnored) {
  setSlopes({0.2500025f, 0.062500625f, 0.0156251563f, 0.00390628906f});
  StatusOr<M1Model> model = read();
  ASSERT_TRUE(model.ok()) << model.status().message();
  ASSERT_EQ(model->weights.ignored.size(), 4u);
  for (const IgnoredWeight &ignored : model->weights.ignored)
    EXPECT_EQ(ignored.reason, "recomputed from the number of heads and the "
                              "place of the layer");
}

TEST_F(M1Decays, MayBeRounded) {
  // 1/4 to 1/256 themselves.
  std::vector<uint16_t> bf16 = {0x3e80, 0x3d80, 0x3c80, 0x3b80};
  tensors.tensors[kName] = {kName, "BF16", {4, 1, 1}, bytesOf(bf16)};
  EXPECT_TRUE(read().ok()) << read().status().message();
  std::vector<uint16_t> f16 = {0x3400, 0x2c00, 0x2400, 0x1c00};
  tensors.tensors[kName] = {kName, "F16", {4, 1, 1}, bytesOf(f16)};
  EXPECT_TRUE(read().ok()) << read().status().message();
}

TEST_F(M1Decays, OfOtherModelsAreRefused) {
  const std::string tensor = "tensor \"" + kName + "\" ";
  setSlopes({0.25f, 0.0625f, 0.0156f, 0.005f});
  EXPECT_EQ(error(), tensor + "is 0.005 for head 3, but the decays of 4 heads "
                              "make 0.00390629; models with other decays are "
                              "not implemented");
  setSlopes({0.25f, 0.0625f, NAN, 0.0039f});
  EXPECT_EQ(error(), tensor + "is nan for head 2, but the decays of 4 heads "
                              "make 0.0156252; models with other decays are "
                              "not implemented");
  setSlopes({0.25f, 0.0625f});
  EXPECT_EQ(error(), tensor + "is F32 [2, 1, 1], expected F32, BF16 or F16 [4, "
                              "1, 1], a value for each head");
  tensors.set(kName, "I32", {4, 1, 1});
  EXPECT_EQ(error(), tensor + "is I32 [4, 1, 1], expected F32, BF16 or F16 [4, "
                              "1, 1], a value for each head");
}

TEST_F(M1Decays, OfTokensMustBeThoseOfTheSlopes) {
  auto other = [&](const std::string &buffer,
                   const std::vector<uint64_t> &shape) {
    uint64_t count = 1;
    for (uint64_t extent : shape)
      count *= extent;
    set(buffer, shape, std::vector<float>(count, 0.5f));
    std::string message = error();
    SetUp();
    return message;
  };
  const std::string tail = "; models with other decays are not implemented";
  const std::string tensor = "tensor \"" + kLayer;
  // exp(-1.00001 / 4), 1 less two of them, and a token's own 1.
  EXPECT_EQ(other("query_decay", {4, 3, 1}),
            tensor +
                "query_decay\" is 0.5 for head 0, value 0, but the decays "
                "of 4 heads make 0.778799" +
                tail);
  EXPECT_EQ(other("key_decay", {4, 3, 1}),
            tensor +
                "key_decay\" is 0.5 for head 0, value 0, but the decays "
                "of 4 heads make 0.606528" +
                tail);
  EXPECT_EQ(other("diagonal_decay", {1, 4, 3, 3}),
            tensor +
                "diagonal_decay\" is 0.5 for head 0, value 0, but the "
                "decays of 4 heads make 1" +
                tail);
  EXPECT_EQ(other("key_decay", {4, 3}),
            tensor + "key_decay\" is F32 [4, 3], expected F32, BF16 or F16 [4, "
                     "tokens of a block, 1]");
  EXPECT_EQ(other("diagonal_decay", {4, 3, 3}),
            tensor + "diagonal_decay\" is F32 [4, 3, 3], expected F32, BF16 or "
                     "F16 [1, 4, tokens of a block, as many]");
  EXPECT_TRUE(read().ok()) << read().status().message();
}

TEST_F(M1Folder, DecaysOfOtherLayersAreNotKnown) {
  tensors.set("model.layers.1.self_attn.slope_rate", "F32", {4, 1, 1});
  EXPECT_EQ(
      error(),
      "tensor \"model.layers.1.self_attn.slope_rate\" is not part of this "
      "model (num_hidden_layers = 2, num_local_experts = 3)");
}

TEST_F(M1Folder, AnotherLayerPatternIsAnError) {
  config["attn_type_list"] = {1, 0};
  EXPECT_EQ(error(),
            "tensor \"model.layers.0.self_attn.qkv_proj.weight\" has shape "
            "[96, 24], expected 64 rows, of which "
            "\"model.layers.0.self_attn.q_proj.weight\" is a part");
}

TEST_F(M1Folder, SharedExpertsAreUnknownTensors) {
  tensors.set("model.layers.0.shared_mlp.gate_proj.weight", "BF16", {20, 24});
  EXPECT_EQ(error(),
            "tensor \"model.layers.0.shared_mlp.gate_proj.weight\" is not part "
            "of this model (num_hidden_layers = 2, num_local_experts = 3)");
}

TEST_F(M1Folder, TiedEmbeddingsNeedNoHead) {
  config["tie_word_embeddings"] = true;
  StatusOr<M1Model> tied = read();
  ASSERT_TRUE(tied.ok()) << tied.status().message();
  ASSERT_EQ(tied->weights.ignored.size(), 1u);
  EXPECT_EQ(tied->weights.ignored[0].spec.name, "lm_head.weight");
  tensors.erase("lm_head.weight");
  StatusOr<M1Model> without = read();
  EXPECT_TRUE(without.ok()) << without.status().message();
}

} // namespace
