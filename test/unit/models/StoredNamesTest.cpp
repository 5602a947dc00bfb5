// Weights under other names, and as parts of larger tensors.

#include "models/Common/StoredNames.h"
#include "models/MiniMax/M2Model.h"

#include "test/unit/models/TinyCheckpoint.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

using namespace saddle;
using testing::HasSubstr;
using testing::IsEmpty;

namespace {

class StoredNames : public testing::Test {
protected:
  std::string import(bool fp8Cache = false) {
    folder.write("config.json", config.dump());
    tensors.write(folder);
    ModelSource source = *ModelSource::open(folder.path(""));
    ImportOptions options;
    options.fp8Cache = fp8Cache;
    StatusOr<M2Model> read = readM2(source, options);
    if (!read.ok())
      return read.status().message();
    model = std::move(*read);
    return "";
  }
  void rename(const std::string &from, const std::string &to) {
    std::map<std::string, TestTensor> renamed;
    for (const auto &entry : tensors.tensors) {
      std::string name = entry.first;
      TestTensor tensor = entry.second;
      if (size_t at = name.find(from); at != std::string::npos)
        name.replace(at, from.size(), to);
      tensor.name = name;
      renamed[name] = tensor;
    }
    tensors.tensors = std::move(renamed);
  }
  /// Layer 0's experts in two tensors, as transformers saves them.
  void stackExperts(uint64_t experts = 3) {
    for (const char *e : {"0.", "1.", "2."})
      for (const char *w : {"w1", "w2", "w3"})
        tensors.erase(moe + "experts." + e + w + ".weight");
    tensors.set("model.layers.0.mlp.experts.gate_up_proj", "BF16",
                {experts, 48, 32});
    tensors.set("model.layers.0.mlp.experts.down_proj", "BF16",
                {experts, 32, 24});
  }

  const std::string moe = "model.layers.0.block_sparse_moe.";
  nlohmann::json config = smallConfig();
  TinyCheckpoint tensors;
  TemporaryFolder folder;
  M2Model model;
};

TEST_F(StoredNames, ExpertsMayStandUnderMlp) {
  rename(".block_sparse_moe.", ".mlp.");
  EXPECT_EQ(import(), "");
}

TEST_F(StoredNames, OwnNamesHaveNoParts) {
  ASSERT_EQ(import(), "");
  EXPECT_THAT(model.weights.parts, IsEmpty());
}

TEST_F(StoredNames, PrefixesOfModelsAroundIt) {
  ASSERT_EQ(import(), "");
  std::string plain = model.weights.fingerprint();
  rename("model.", "model.language_model.");
  ASSERT_EQ(import(), "");
  EXPECT_EQ(model.weights.parts.front().tensor, "model.language_model.*");
  EXPECT_EQ(model.weights.fingerprint(), plain);
  rename("model.language_model.", "language_model.model.");
  rename("lm_head", "language_model.lm_head");
  ASSERT_EQ(import(), "");
  EXPECT_EQ(model.weights.fingerprint(), plain);
  tensors.set("model.layers.0.input_layernorm.weight", "BF16", {32});
  EXPECT_THAT(import(), HasSubstr("names of tensors begin with "
                                  "\"language_model.model.\" and with "
                                  "\"model.layers.\""));
}

TEST_F(StoredNames, StacksAsTransformersSavesThem) {
  ASSERT_EQ(import(), "");
  std::string plain = model.weights.fingerprint();
  stackExperts();
  ASSERT_EQ(import(), "");
  EXPECT_EQ(model.weights.fingerprint(), plain);
  const auto &parts = model.weights.parts;
  ASSERT_EQ(parts.size(), 3u);
  EXPECT_EQ(parts[0].name, moe + "experts.{}.w1.weight");
  EXPECT_EQ(parts[0].tensor, "model.layers.0.mlp.experts.gate_up_proj");
  EXPECT_EQ(parts[0].stack, 3u);
  EXPECT_EQ(parts[0].first, 0u);
  EXPECT_EQ(parts[1].name, moe + "experts.{}.w3.weight");
  EXPECT_EQ(parts[1].first, 24u);
  EXPECT_EQ(parts[1].count, 24u);
  EXPECT_EQ(parts[1].of, 48u);
  EXPECT_EQ(parts[2].of, 0u);
}

TEST_F(StoredNames, FusedTensorsOfOtherShapes) {
  stackExperts(2);
  EXPECT_THAT(import(), HasSubstr("gate_up_proj\" has shape [2, 48, 32], "
                                  "expected 3 members along dimension 0"));
  stackExperts();
  tensors.set("model.layers.0.mlp.experts.gate_up_proj", "BF16", {3, 40, 32});
  EXPECT_THAT(import(), HasSubstr("gate_up_proj\" has shape [3, 40, 32], "
                                  "expected 48 rows of each member, of which"));
}

TEST_F(StoredNames, HalfOfAPairIsMissing) {
  stackExperts();
  tensors.erase("model.layers.0.mlp.experts.down_proj");
  EXPECT_THAT(import(), HasSubstr("tensor \"" + moe +
                                  "experts.0.w2.weight\" is missing"));
}

TEST_F(StoredNames, BothFormsAtOnce) {
  stackExperts();
  tensors.set(moe + "experts.1.w1.weight", "BF16", {24, 32});
  EXPECT_THAT(import(),
              HasSubstr("tensors \"" + moe +
                        "experts.1.w1.weight\" and "
                        "\"model.layers.0.mlp.experts.gate_up_proj\" both hold "
                        "one weight; delete the one that is stale"));
}

TEST_F(StoredNames, StaleCompanionsOfFusedTensors) {
  stackExperts();
  tensors.set("model.layers.0.mlp.experts.gate_up_proj_scale_inv", "F32",
              {3, 1, 1});
  EXPECT_THAT(import(),
              HasSubstr("scale \"" + moe +
                        "experts.0.w1.weight_scale_inv\" is "
                        "present, but its weight \"" +
                        moe +
                        "experts.0.w1.weight\" is bf16 (in "
                        "\"model.layers.0.mlp.experts.gate_up_proj\"), not "
                        "f8e4m3"));
}

TEST_F(StoredNames, UndeclaredPrecisionOfFusedTensors) {
  stackExperts();
  tensors.set("model.layers.0.mlp.experts.gate_up_proj", "F8_E4M3",
              {3, 48, 32});
  EXPECT_THAT(import(), HasSubstr("is f8e4m3 (in \"model.layers.0.mlp.experts."
                                  "gate_up_proj\"), but"));
}

TEST_F(StoredNames, ScalesWithoutInv) {
  config = smallFp8Config();
  tensors = TinyCheckpoint(true);
  ASSERT_EQ(import(), "");
  std::string plain = model.weights.fingerprint();
  rename("weight_scale_inv", "weight_scale");
  ASSERT_EQ(import(), "");
  EXPECT_EQ(model.weights.fingerprint(), plain);
  // One of a stack is missing.
  tensors.erase(moe + "experts.1.w1.weight_scale");
  EXPECT_THAT(import(), HasSubstr("scale \"" + moe +
                                  "experts.1.w1.weight_scale_inv\" is "
                                  "missing"));
}

TEST_F(StoredNames, FusedRowsEndInsideABlock) {
  config = smallFp8Config();
  tensors = TinyCheckpoint(true);
  for (const char *part : {"q", "k", "v"}) {
    tensors.erase("model.layers.1.self_attn." + std::string(part) +
                  "_proj.weight");
    tensors.erase("model.layers.1.self_attn." + std::string(part) +
                  "_proj.weight_scale_inv");
  }
  tensors.set("model.layers.1.self_attn.qkv_proj.weight", "F8_E4M3", {80, 32});
  tensors.set("model.layers.1.self_attn.qkv_proj.weight_scale_inv", "F32",
              {1, 1});
  EXPECT_THAT(import(), HasSubstr("qkv_proj.weight_scale_inv\" has 48 rows of "
                                  "one weight before those of the next, "
                                  "expected a multiple of 128"));
}

//===--- Scales of caches -------------------------------------------------===//

class CacheScales : public StoredNames {
protected:
  /// {} stands for k and v.
  void add(const std::string &pattern, const std::vector<uint64_t> &shape = {},
           int layers = 2) {
    for (int layer = 0; layer < layers; ++layer)
      for (const char *letter : {"k", "v"}) {
        std::string name = pattern;
        for (size_t at; (at = name.find("{}")) != std::string::npos;)
          name.replace(at, 2, letter);
        tensors.set("model.layers." + std::to_string(layer) + ".self_attn." +
                        name,
                    "F32", shape);
      }
  }
};

TEST_F(CacheScales, EverySpelling) {
  const TinyCheckpoint without = tensors;
  for (const char *pattern :
       {"{}_proj.{}_scale", "{}_scale", "attn.{}_scale", "qkv_proj.{}_scale",
        "{}_proj.output_scale", "kv_scale", "attn.kv_scale"}) {
    tensors = without;
    add(pattern, std::string(pattern) == "{}_scale" ? std::vector<uint64_t>{1}
                                                    : std::vector<uint64_t>{});
    ASSERT_EQ(import(/*fp8Cache=*/true), "") << pattern;
    ASSERT_NE(model.weights.find("layers.1.kv_k_scale"), nullptr) << pattern;
    ASSERT_NE(model.weights.find("layers.0.kv_v_scale"), nullptr) << pattern;
    EXPECT_THAT(model.warnings, IsEmpty()) << pattern;
  }
}

TEST_F(CacheScales, OtherCachesSaySo) {
  add("{}_proj.{}_scale");
  ASSERT_EQ(import(), "");
  EXPECT_EQ(model.weights.find("layers.1.kv_k_scale"), nullptr);
  ASSERT_EQ(model.warnings.size(), 1u);
  EXPECT_THAT(model.warnings[0], HasSubstr("give --kv-dtype fp8 to use them"));
}

TEST_F(CacheScales, NoneAreStored) {
  ASSERT_EQ(import(/*fp8Cache=*/true), "");
  EXPECT_EQ(model.weights.find("layers.1.kv_k_scale"), nullptr);
  EXPECT_THAT(model.warnings, IsEmpty());
}

TEST_F(CacheScales, OfSomeLayersOnly) {
  add("{}_proj.{}_scale", {}, /*layers=*/1);
  EXPECT_THAT(import(/*fp8Cache=*/true),
              HasSubstr("1 layers have \"k_scale\", 1 have \"v_scale\", "
                        "expected both in each of 2 layers"));
  add("{}_proj.{}_scale");
  tensors.erase("model.layers.1.self_attn.v_proj.v_scale");
  EXPECT_THAT(import(/*fp8Cache=*/true),
              HasSubstr("2 layers have \"k_scale\", 1 have \"v_scale\""));
}

TEST_F(CacheScales, OneForEachHead) {
  add("{}_scale", {2});
  EXPECT_THAT(import(/*fp8Cache=*/true),
              HasSubstr("has shape [2], the config asks for [1]"));
}

TEST_F(CacheScales, DeclaredSchemes) {
  config = smallFp8Config();
  tensors = TinyCheckpoint(true);
  auto &quantisation = config["quantization_config"];
  quantisation["kv_cache_scheme"] = {{"num_bits", 8},
                                     {"type", "float"},
                                     {"dynamic", false},
                                     {"strategy", "tensor"}};
  ASSERT_EQ(import(/*fp8Cache=*/true), "");
  ASSERT_EQ(model.warnings.size(), 1u);
  EXPECT_THAT(model.warnings[0], HasSubstr("says that scales of the KV cache "
                                           "are stored, but there are none"));
  quantisation["kv_cache_scheme"]["strategy"] = "attn_head";
  EXPECT_THAT(import(), HasSubstr("kv_cache_scheme.strategy: expected "
                                  "\"tensor\" or nothing, found \"attn_head\"; "
                                  "a cache has one scale"));
  quantisation["kv_cache_scheme"] = {{"num_bits", 4}};
  EXPECT_THAT(import(), HasSubstr("kv_cache_scheme.num_bits: expected 8 or "
                                  "nothing, found 4; only fp8 caches"));
  quantisation["kv_cache_scheme"] = {{"dynamic", true}};
  EXPECT_THAT(import(), HasSubstr("scales that are found at run time"));
  quantisation.erase("kv_cache_scheme");
  quantisation["kv_cache_quant_algo"] = "NVFP4";
  EXPECT_THAT(import(), HasSubstr("kv_cache_quant_algo: expected \"FP8\" or "
                                  "nothing, found \"NVFP4\""));
}

} // namespace
