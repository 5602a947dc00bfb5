#include "models/MiniMax/M2Weights.h"

#include "runtime/src/checkpoint/Fingerprint.h"
#include "test/unit/models/TinyCheckpoint.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

using namespace saddle;
using testing::ElementsAre;
using testing::IsEmpty;

namespace {

using Damage = void (*)(TinyCheckpoint &);

M2Config parse(const nlohmann::json &json) {
  std::vector<std::string> warnings;
  StatusOr<M2Config> config =
      readM2Config(*ConfigReader::parse(json.dump(), "c.json"), warnings);
  EXPECT_TRUE(config.ok()) << config.status().message();
  return config.ok() ? *config : M2Config();
}

M2Config publishedM25() {
  std::vector<std::string> warnings;
  return *readM2Config(*ConfigReader::open(std::string(SADDLE_MODELS_DIR) +
                                           "/configs/MiniMax-M2.5/config.json"),
                       warnings);
}

/// As the architecture stores the compiled layers.
StatusOr<ModelWeights> expectedWeights(const M2Config &config) {
  SADDLE_ASSIGN_OR_RETURN(ModelWeights weights,
                          listM2Weights(config, "c.json"));
  weights.keepLayers(config.layers);
  return weights;
}

/// As a folder has them.
StatusOr<ModelWeights> foundWeights(const M2Config &config,
                                    const Checkpoint &checkpoint) {
  SADDLE_ASSIGN_OR_RETURN(ModelWeights weights,
                          listM2Weights(config, "c.json"));
  SADDLE_RETURN_IF_ERROR(accountForTensors(
      checkpoint, m2AccountingRules(config, "c.json"), weights));
  weights.keepLayers(config.layers);
  return weights;
}

const WeightSpec &at(const StatusOr<ModelWeights> &weights,
                     const std::string &symbol) {
  static const WeightSpec none;
  const ModelWeight *weight = weights->find(symbol);
  EXPECT_TRUE(weight) << symbol;
  return weight ? weight->spec : none;
}

class Folder {
public:
  explicit Folder(const TinyCheckpoint &tensors) { tensors.write(folder); }

  StatusOr<ModelWeights> resolve(const M2Config &config) {
    StatusOr<Checkpoint> checkpoint = Checkpoint::open(folder.path(""));
    EXPECT_TRUE(checkpoint.ok()) << checkpoint.status().message();
    return foundWeights(config, *checkpoint);
  }
  /// The error without the folder's name.
  std::string error(const M2Config &config) {
    std::string message = resolve(config).status().message();
    std::string prefix = folder.path("") + ": ";
    EXPECT_EQ(message.compare(0, prefix.size(), prefix), 0) << message;
    return message.substr(std::min(prefix.size(), message.size()));
  }

private:
  TemporaryFolder folder;
};

// Hugging Face's parameter count of MiniMax-M2.5; 62 * 1550 + 3 tensors.
TEST(M2Weights, M25HasThePublishedNumberOfElements) {
  StatusOr<ModelWeights> weights = expectedWeights(publishedM25());
  ASSERT_TRUE(weights.ok()) << weights.status().message();
  EXPECT_EQ(weights->elementCount(), 228703644928u);
  EXPECT_EQ(weights->tensorCount(), 96103u);
}

TEST(M2Weights, M25AsItsArchitectureSays) {
  StatusOr<ModelWeights> weights = expectedWeights(publishedM25());
  ASSERT_TRUE(weights.ok());
  auto expect = [](const WeightSpec &spec, const char *name, TensorDType dtype,
                   std::vector<uint64_t> shape, uint64_t stack = 0,
                   std::vector<uint64_t> scale = {}) {
    EXPECT_EQ(spec.name, name);
    EXPECT_EQ(spec.dtype, dtype) << name;
    EXPECT_EQ(spec.shape, shape) << name;
    EXPECT_EQ(spec.stack, stack) << name;
    ASSERT_EQ(spec.companions.size(), scale.empty() ? 0u : 1u) << name;
    if (scale.empty())
      return;
    const Companion &companion = spec.companions[0];
    EXPECT_EQ(companion.role, CompanionRole::Scale);
    EXPECT_EQ(companion.name, std::string(name) + "_scale_inv");
    EXPECT_EQ(companion.dtype, TensorDType::F32);
    EXPECT_EQ(companion.shape, scale) << name;
    EXPECT_EQ(companion.blockRows, 128u);
    EXPECT_EQ(companion.blockColumns, 128u);
  };
  constexpr TensorDType bf16 = TensorDType::BF16, f32 = TensorDType::F32,
                        fp8 = TensorDType::F8E4M3;
  expect(at(weights, "embed"), "model.embed_tokens.weight", bf16,
         {200064, 3072});
  expect(at(weights, "final_norm"), "model.norm.weight", bf16, {3072});
  expect(at(weights, "lm_head"), "lm_head.weight", bf16, {200064, 3072});
  expect(at(weights, "layers.61.input_norm"),
         "model.layers.61.input_layernorm.weight", bf16, {3072});
  expect(at(weights, "layers.61.post_attention_norm"),
         "model.layers.61.post_attention_layernorm.weight", bf16, {3072});
  expect(at(weights, "layers.61.q_proj"),
         "model.layers.61.self_attn.q_proj.weight", fp8, {6144, 3072}, 0,
         {48, 24});
  expect(at(weights, "layers.61.k_proj"),
         "model.layers.61.self_attn.k_proj.weight", fp8, {1024, 3072}, 0,
         {8, 24});
  expect(at(weights, "layers.61.v_proj"),
         "model.layers.61.self_attn.v_proj.weight", fp8, {1024, 3072}, 0,
         {8, 24});
  expect(at(weights, "layers.61.o_proj"),
         "model.layers.61.self_attn.o_proj.weight", fp8, {3072, 6144}, 0,
         {24, 48});
  expect(at(weights, "layers.61.q_norm"),
         "model.layers.61.self_attn.q_norm.weight", bf16, {6144});
  expect(at(weights, "layers.61.k_norm"),
         "model.layers.61.self_attn.k_norm.weight", bf16, {1024});
  expect(at(weights, "layers.61.router"),
         "model.layers.61.block_sparse_moe.gate.weight", f32, {256, 3072});
  expect(at(weights, "layers.61.router_bias"),
         "model.layers.61.block_sparse_moe.e_score_correction_bias", f32,
         {256});
  expect(at(weights, "layers.61.w1"),
         "model.layers.61.block_sparse_moe.experts.{}.w1.weight", fp8,
         {1536, 3072}, 256, {12, 24});
  expect(at(weights, "layers.61.w2"),
         "model.layers.61.block_sparse_moe.experts.{}.w2.weight", fp8,
         {3072, 1536}, 256, {24, 12});
  expect(at(weights, "layers.61.w3"),
         "model.layers.61.block_sparse_moe.experts.{}.w3.weight", fp8,
         {1536, 3072}, 256, {12, 24});
}

TEST(M2Weights, WithoutFp8EverythingHasTheConfigsDType) {
  nlohmann::json json = smallConfig();
  json["dtype"] = "float16";
  StatusOr<ModelWeights> weights = expectedWeights(parse(json));
  ASSERT_TRUE(weights.ok());
  for (const ModelWeight &weight : weights->used) {
    EXPECT_EQ(weight.spec.dtype, TensorDType::F16) << weight.symbol;
    EXPECT_FALSE(weight.spec.isQuantised()) << weight.symbol;
  }
}

TEST(M2Weights, ScaleShapesRoundUp) {
  nlohmann::json json = smallFp8Config();
  json["hidden_size"] = 129;
  json["intermediate_size"] = 257;
  StatusOr<ModelWeights> weights = expectedWeights(parse(json));
  ASSERT_TRUE(weights.ok());
  EXPECT_THAT(at(weights, "layers.0.w1").companions.at(0).shape,
              ElementsAre(3, 2));
  EXPECT_THAT(at(weights, "layers.0.w2").companions.at(0).shape,
              ElementsAre(2, 3));
}

// The same tensors give the same fingerprint, by whichever way they came, and
// it is the checkpoint's own.
TEST(M2Weights, FolderAndConfigAgreeOnTheFingerprint) {
  for (bool fp8 : {false, true}) {
    M2Config config = parse(fp8 ? smallFp8Config() : smallConfig());
    TemporaryFolder folder;
    TinyCheckpoint(fp8).write(folder);
    StatusOr<Checkpoint> checkpoint = Checkpoint::open(folder.path(""));
    ASSERT_TRUE(checkpoint.ok()) << checkpoint.status().message();
    StatusOr<ModelWeights> found = foundWeights(config, *checkpoint);
    StatusOr<ModelWeights> expected = expectedWeights(config);
    ASSERT_TRUE(found.ok()) << found.status().message();
    ASSERT_TRUE(expected.ok());
    EXPECT_EQ(found->fingerprint(), expected->fingerprint());
    EXPECT_EQ(found->fingerprint(), fingerprintOf(*checkpoint));
    EXPECT_THAT(found->ignored, IsEmpty());
  }
}

TEST(M2Weights, FolderDTypesAreTakenAsFound) {
  TinyCheckpoint tensors;
  tensors.set("model.norm.weight", "F32", {32});
  tensors.set("model.layers.1.block_sparse_moe.gate.weight", "F16", {3, 32});
  for (const char *expert : {"0", "1", "2"})
    tensors.set(std::string("model.layers.0.block_sparse_moe.experts.") +
                    expert + ".w2.weight",
                "F32", {32, 24});
  M2Config config = parse(smallConfig());
  StatusOr<ModelWeights> weights = Folder(tensors).resolve(config);
  ASSERT_TRUE(weights.ok()) << weights.status().message();
  EXPECT_EQ(at(weights, "final_norm").dtype, TensorDType::F32);
  EXPECT_EQ(at(weights, "layers.1.router").dtype, TensorDType::F16);
  EXPECT_EQ(at(weights, "layers.0.w2").dtype, TensorDType::F32);
  EXPECT_EQ(at(weights, "layers.0.w1").dtype, TensorDType::BF16);
  EXPECT_NE(weights->fingerprint(), expectedWeights(config)->fingerprint());
}

TEST(M2Weights, ModulesNotConvertedStayPlain) {
  nlohmann::json json = smallFp8Config();
  json["quantization_config"]["modules_to_not_convert"] = {
      "lm_head", "model.layers.1.self_attn", "w2"};
  M2Config config = parse(json);
  StatusOr<ModelWeights> expected = expectedWeights(config);
  ASSERT_TRUE(expected.ok());
  EXPECT_EQ(at(expected, "layers.0.q_proj").dtype, TensorDType::F8E4M3);
  EXPECT_EQ(at(expected, "layers.1.q_proj").dtype, TensorDType::BF16);
  EXPECT_EQ(at(expected, "layers.1.o_proj").dtype, TensorDType::BF16);
  EXPECT_EQ(at(expected, "layers.1.w1").dtype, TensorDType::F8E4M3);
  EXPECT_EQ(at(expected, "layers.1.w2").dtype, TensorDType::BF16);
  EXPECT_FALSE(at(expected, "layers.1.w2").isQuantised());
}

TEST(M2Weights, ExcludingSingleExpertsIsRefused) {
  nlohmann::json json = smallFp8Config();
  json["quantization_config"]["modules_to_not_convert"] = {"experts.1.w3"};
  EXPECT_EQ(expectedWeights(parse(json)).status().message(),
            "c.json: quantization_config.modules_to_not_convert: names single "
            "members of \"model.layers.0.block_sparse_moe.experts.{}.w3\", "
            "expected all or none of them");
}

TEST(M2Weights, TiedHeadIsTheEmbedding) {
  nlohmann::json json = smallConfig();
  json["tie_word_embeddings"] = true;
  TinyCheckpoint tensors;
  tensors.set("model.embed_tokens.weight", "F32", {40, 32});
  StatusOr<ModelWeights> both = Folder(tensors).resolve(parse(json));
  ASSERT_TRUE(both.ok()) << both.status().message();
  ASSERT_EQ(both->ignored.size(), 1u);
  EXPECT_EQ(both->ignored[0].spec.name, "lm_head.weight");
  EXPECT_EQ(both->ignored[0].reason,
            "tie_word_embeddings: the embedding is used");

  tensors.erase("lm_head.weight");
  StatusOr<ModelWeights> one = Folder(tensors).resolve(parse(json));
  ASSERT_TRUE(one.ok()) << one.status().message();
  EXPECT_FALSE(one->find("lm_head"));
  EXPECT_EQ(at(one, "embed").dtype, TensorDType::F32);
  EXPECT_EQ(one->fingerprint(), both->fingerprint());
}

TEST(M2Weights, KnownExtrasAreIgnoredWithAReason) {
  nlohmann::json json = smallConfig();
  json["num_mtp_modules"] = 2;
  TinyCheckpoint tensors;
  tensors.set("model.layers.0.self_attn.rotary_emb.inv_freq", "F32", {2});
  tensors.set("model.layers.2.eh_proj.weight", "BF16", {32, 64});
  tensors.set("model.layers.3.norm.weight", "I64", {32});
  StatusOr<ModelWeights> weights = Folder(tensors).resolve(parse(json));
  ASSERT_TRUE(weights.ok()) << weights.status().message();
  ASSERT_EQ(weights->ignored.size(), 3u);
  EXPECT_EQ(weights->ignored[0].reason,
            "recomputed from rope_theta and rotary_dim");
  EXPECT_EQ(weights->ignored[1].spec.name, "model.layers.2.eh_proj.weight");
  EXPECT_THAT(weights->ignored[1].spec.shape, ElementsAre(32, 64));
  EXPECT_EQ(weights->ignored[1].reason, "multi-token prediction is not used");
  EXPECT_EQ(weights->ignored[2].spec.dtype, TensorDType::I64);
  EXPECT_EQ(weights->fingerprint(),
            expectedWeights(parse(json))->fingerprint());
}

TEST(M2Weights, FewerLayersLeaveTheRestIgnoredInBothModes) {
  M2Config config = parse(smallFp8Config());
  config.layers = 1;
  StatusOr<ModelWeights> found = Folder(TinyCheckpoint(true)).resolve(config);
  StatusOr<ModelWeights> expected = expectedWeights(config);
  ASSERT_TRUE(found.ok()) << found.status().message();
  ASSERT_TRUE(expected.ok());
  for (const ModelWeights *weights : {&*found, &*expected}) {
    EXPECT_TRUE(weights->find("layers.0.w2"));
    EXPECT_FALSE(weights->find("layers.1.w2"));
    EXPECT_EQ(weights->ignored.size(), 13u); // specs of one layer
    EXPECT_EQ(weights->ignored[0].spec.name,
              "model.layers.1.input_layernorm.weight");
    EXPECT_EQ(weights->ignored[0].reason, "layer is not compiled");
  }
  EXPECT_EQ(found->fingerprint(), expected->fingerprint());
}

//===--- Errors ----------------------------------------------------------===//

struct BadFolder {
  bool fp8;
  Damage damage;
  const char *message;
};

class M2WeightsError : public testing::TestWithParam<BadFolder> {};

TEST_P(M2WeightsError, NamesTheTensor) {
  TinyCheckpoint tensors(GetParam().fp8);
  GetParam().damage(tensors);
  M2Config config = parse(GetParam().fp8 ? smallFp8Config() : smallConfig());
  EXPECT_EQ(Folder(tensors).error(config), GetParam().message);
}

constexpr const char *q = "model.layers.0.self_attn.q_proj.weight";
constexpr const char *qScale =
    "model.layers.0.self_attn.q_proj.weight_scale_inv";

INSTANTIATE_TEST_SUITE_P(
    All, M2WeightsError,
    testing::Values(
        BadFolder{false, [](TinyCheckpoint &t) { t.erase(q); },
                  "tensor \"model.layers.0.self_attn.q_proj.weight\" is "
                  "missing, expected [48, 32]"},
        BadFolder{false,
                  [](TinyCheckpoint &t) {
                    t.erase("lm_head.weight");
                    t.erase("model.norm.weight");
                    t.erase("model.layers.1.block_sparse_moe.experts.2.w3."
                            "weight");
                  },
                  "tensor \"model.layers.1.block_sparse_moe.experts.2.w3."
                  "weight\" is missing, expected [24, 32]; and 2 more"},
        BadFolder{true,
                  [](TinyCheckpoint &t) {
                    t.erase(q);
                    t.erase(qScale);
                  },
                  "tensor \"model.layers.0.self_attn.q_proj.weight\" is "
                  "missing, expected f8e4m3 [48, 32]"},
        BadFolder{false,
                  [](TinyCheckpoint &t) {
                    t.set("model.layers.0.self_attn.q_proj.bias", "BF16", {48});
                  },
                  "tensor \"model.layers.0.self_attn.q_proj.bias\" is not part "
                  "of this model (num_hidden_layers = 2, num_local_experts = "
                  "3)"},
        BadFolder{false,
                  [](TinyCheckpoint &t) {
                    t.set("model.layers.2.input_layernorm.weight", "BF16",
                          {32});
                    t.set("model.layers.0.block_sparse_moe.experts.3.w1.weight",
                          "BF16", {24, 32});
                  },
                  "tensor \"model.layers.0.block_sparse_moe.experts.3.w1."
                  "weight\" is not part of this model (num_hidden_layers = 2, "
                  "num_local_experts = 3); and 1 more"},
        // A number that no integer holds is a name like any other.
        BadFolder{false,
                  [](TinyCheckpoint &t) {
                    t.set("model.layers.99999999999999999999.x", "BF16", {1});
                  },
                  "tensor \"model.layers.99999999999999999999.x\" is not part "
                  "of this model (num_hidden_layers = 2, num_local_experts = "
                  "3)"},
        BadFolder{false, [](TinyCheckpoint &t) { t.set(q, "BF16", {32, 48}); },
                  "tensor \"model.layers.0.self_attn.q_proj.weight\" has shape "
                  "[32, 48], the config asks for [48, 32]"},
        BadFolder{false,
                  [](TinyCheckpoint &t) {
                    t.set("model.norm.weight", "BF16", {32, 1});
                  },
                  "tensor \"model.norm.weight\" has shape [32, 1], the config "
                  "asks for [32]"},
        BadFolder{false, [](TinyCheckpoint &t) { t.set(q, "I64", {48, 32}); },
                  "tensor \"model.layers.0.self_attn.q_proj.weight\" is i64, "
                  "expected f32, bf16 or f16"},
        BadFolder{true,
                  [](TinyCheckpoint &t) {
                    t.set(q, "U8", {48, 32});
                    t.erase(qScale);
                  },
                  "tensor \"model.layers.0.self_attn.q_proj.weight\" is u8, "
                  "expected f8e4m3"},
        BadFolder{true, [](TinyCheckpoint &t) { t.erase(q); },
                  "scale \"model.layers.0.self_attn.q_proj.weight_scale_inv\" "
                  "is present, but its weight "
                  "\"model.layers.0.self_attn.q_proj.weight\" is missing"},
        BadFolder{true, [](TinyCheckpoint &t) { t.erase(qScale); },
                  "tensor \"model.layers.0.self_attn.q_proj.weight\" is "
                  "f8e4m3, but its scale "
                  "\"model.layers.0.self_attn.q_proj.weight_scale_inv\" is "
                  "missing, expected f32 [1, 1]"},
        BadFolder{false,
                  [](TinyCheckpoint &t) { t.set(qScale, "F32", {1, 1}); },
                  "scale \"model.layers.0.self_attn.q_proj.weight_scale_inv\" "
                  "is present, but its weight "
                  "\"model.layers.0.self_attn.q_proj.weight\" is bf16, not "
                  "f8e4m3"},
        BadFolder{true, [](TinyCheckpoint &t) { t.set(qScale, "F32", {1, 2}); },
                  "tensor \"model.layers.0.self_attn.q_proj.weight_scale_inv\" "
                  "has shape [1, 2], the config asks for [1, 1]"},
        BadFolder{true, [](TinyCheckpoint &t) { t.set(qScale, "U8", {1, 1}); },
                  "scale \"model.layers.0.self_attn.q_proj.weight_scale_inv\" "
                  "is u8, expected f32"},
        BadFolder{true,
                  [](TinyCheckpoint &t) {
                    t.set(q, "BF16", {48, 32});
                    t.erase(qScale);
                  },
                  "tensor \"model.layers.0.self_attn.q_proj.weight\" is bf16, "
                  "but c.json declares FP8 weights (quantization_config); "
                  "expected f8e4m3, or the module in modules_to_not_convert"},
        BadFolder{false,
                  [](TinyCheckpoint &t) { t.set(q, "F8_E4M3", {48, 32}); },
                  "tensor \"model.layers.0.self_attn.q_proj.weight\" is "
                  "f8e4m3, but c.json has no quantization_config"},
        BadFolder{true,
                  [](TinyCheckpoint &t) {
                    t.set("lm_head.weight", "F8_E4M3", {40, 32});
                    t.set("lm_head.weight_scale_inv", "F32", {1, 1});
                  },
                  "tensor \"lm_head.weight\" is f8e4m3, but c.json keeps this "
                  "module unquantised"},
        BadFolder{false,
                  [](TinyCheckpoint &t) {
                    t.set("model.layers.0.block_sparse_moe.experts.2.w1.weight",
                          "F32", {24, 32});
                  },
                  "tensor \"model.layers.0.block_sparse_moe.experts.2.w1."
                  "weight\" is f32, but \"model.layers.0.block_sparse_moe."
                  "experts.0.w1.weight\" is bf16; all experts of a layer must "
                  "be stored alike"}));

TEST(M2WeightsErrors, AnUnknownStorageTypeIsNamedAsWritten) {
  TinyCheckpoint tensors;
  tensors.set(q, "F8_E5M2", {48, 16}); // two bytes per element by set()
  tensors.tensors[q].shape = {48, 32};
  TemporaryFolder folder;
  tensors.write(folder);
  StatusOr<Checkpoint> checkpoint = Checkpoint::open(folder.path(""));
  std::string message =
      checkpoint.ok()
          ? foundWeights(parse(smallConfig()), *checkpoint).status().message()
          : checkpoint.status().message();
  EXPECT_THAT(message, testing::HasSubstr("F8_E5M2"));
}

TEST(M2WeightsErrors, MtpLayersOnlyIfTheConfigHasThem) {
  nlohmann::json json = smallConfig();
  json["num_mtp_modules"] = 1;
  TinyCheckpoint tensors;
  tensors.set("model.layers.3.norm.weight", "BF16", {32});
  EXPECT_THAT(Folder(tensors).error(parse(json)),
              testing::HasSubstr("tensor \"model.layers.3.norm.weight\" is not "
                                 "part of this model"));
}

} // namespace
