// Integers that share words: what quantization_config of compressed-tensors,
// GPTQ and AWQ may say, and what a folder must hold.

#include "test/unit/models/AccountingError.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>

using namespace saddle;
using testing::ElementsAre;
using testing::HasSubstr;

namespace {

const char *const kPacked = R"({
  "quant_method": "compressed-tensors", "format": "pack-quantized",
  "quantization_status": "compressed", "ignore": ["lm_head", "re:.*gate$"],
  "config_groups": {"group_0": {
    "targets": ["Linear"], "input_activations": null,
    "weights": {"num_bits": 4, "type": "int", "strategy": "group",
                "group_size": 16, "symmetric": true, "dynamic": false,
                "actorder": null}}}})";
const char *const kGptq = R"({"quant_method": "gptq", "bits": 4,
  "group_size": 16, "desc_act": false, "sym": true, "damp_percent": 0.1,
  "checkpoint_format": "gptq", "meta": {"quantizer": "x"}})";
const char *const kAwq = R"({"quant_method": "awq", "bits": 4,
  "group_size": 16, "zero_point": true, "version": "gemm"})";

/// What the import says about the config after a JSON merge patch.
std::string errorOf(const char *quantization, const std::string &patch = "{}") {
  ConfigReader reader = *ConfigReader::parse(
      quantisedConfig(quantization, patch).dump(), "c.json");
  std::vector<std::string> warnings;
  readQuantisation(reader, warnings);
  EXPECT_THAT(warnings, ElementsAre());
  return reader.status().message();
}
std::string schemeError(const std::string &patch) {
  return errorOf(kPacked, R"({"config_groups": {"group_0": {"weights": )" +
                              patch + "}}}");
}

TEST(PackedWeights, GroupsOfCompressedTensors) {
  const std::string scheme =
      "c.json: quantization_config.config_groups.group_0.weights.";
  EXPECT_EQ(errorOf(kPacked), "");
  EXPECT_EQ(schemeError(R"({"actorder": "static"})"), "");
  EXPECT_EQ(schemeError(R"({"num_bits": 8, "symmetric": false})"), "");
  EXPECT_EQ(schemeError(R"({"strategy": "channel", "group_size": -1})"), "");
  EXPECT_EQ(schemeError(R"({"num_bits": 3})"),
            scheme + "num_bits: expected 4 or 8 or nothing, found 3; other "
                     "integers are not implemented");
  EXPECT_EQ(schemeError(R"({"type": "float"})"),
            scheme + "type: expected \"int\" or nothing, found \"float\"; "
                     "packed weights are integers");
  EXPECT_EQ(schemeError(R"({"actorder": "group"})"),
            scheme + "actorder: expected \"weight\" or \"static\" or nothing, "
                     "found \"group\"; columns in another order than their "
                     "groups (weight_g_idx) are not implemented; quantise with "
                     "actorder \"static\"");
  EXPECT_EQ(schemeError(R"({"group_size": null})"),
            scheme + "group_size: missing, expected an integer from 1 to "
                     "1048576");
  EXPECT_EQ(schemeError(R"({"strategy": "tensor"})"),
            scheme + "strategy: expected \"group\" or \"channel\", the only "
                     "ones implemented here, found \"tensor\"");
  EXPECT_EQ(schemeError(R"({"strategy": "channel"})"),
            scheme + "group_size: expected -1 or nothing, found 16; the "
                     "strategy is \"channel\"");
  EXPECT_THAT(errorOf(kPacked, R"({"config_groups": {"group_0":
                {"input_activations": {"num_bits": 8}}}})"),
              HasSubstr("activations of packed weights stay as they are"));
}

TEST(PackedWeights, FieldsOfGptq) {
  const std::string at = "c.json: quantization_config.";
  EXPECT_EQ(errorOf(kGptq), "");
  EXPECT_EQ(errorOf(kGptq, R"({"bits": 8, "group_size": -1})"), "");
  EXPECT_EQ(errorOf(kGptq, R"({"dynamic": {"-:.*self_attn.*": {}}})"), "");
  EXPECT_EQ(errorOf(kGptq, R"({"bits": 2})"),
            at + "bits: expected 4 or 8 or nothing, found 2; other integers "
                 "are not implemented");
  EXPECT_EQ(errorOf(kGptq, R"({"bits": null})"),
            at + "bits: missing, expected an integer from 4 to 8");
  EXPECT_EQ(errorOf(kGptq, R"({"desc_act": true})"),
            at + "desc_act: expected false or nothing, found true; columns in "
                 "the order of their activations (g_idx) are not implemented; "
                 "quantise with desc_act false");
  EXPECT_EQ(errorOf(kGptq, R"({"group_size": 0})"),
            at + "group_size: expected a positive number of columns, or -1 for "
                 "all, found 0");
  EXPECT_EQ(errorOf(kGptq, R"({"checkpoint_format": "marlin"})"),
            at + "checkpoint_format: expected \"gptq\" or \"gptq_v2\", the "
                 "only ones implemented, found \"marlin\"");
  EXPECT_EQ(errorOf(kGptq, R"({"format": "gptq_v2"})"),
            at + "format: contradicts checkpoint_format");
  EXPECT_EQ(errorOf(kGptq, R"({"dynamic": {"+:.*w1": {"bits": 8}}})"), "");
  EXPECT_EQ(errorOf(kGptq, R"({"dynamic": {".*w1": {"bits": 3}}})"),
            at + "dynamic..*w1.bits: expected 4 or 8 or nothing, found 3; "
                 "other integers are not implemented");
  EXPECT_EQ(errorOf(kGptq, R"({"dynamic": {"+:.*w1": {"rank": 3}}})"),
            at + "dynamic: the meaning of quantization_config.dynamic.+:.*w1."
                 "rank is not known");
}

TEST(PackedWeights, FieldsOfAwq) {
  const std::string at = "c.json: quantization_config.";
  EXPECT_EQ(errorOf(kAwq), "");
  EXPECT_EQ(errorOf(kAwq, R"({"bits": 8})"),
            at + "bits: expected 4 or nothing, found 8; other integers are not "
                 "implemented");
  EXPECT_EQ(errorOf(kAwq, R"({"version": "gemv"})"),
            at + "version: expected \"gemm\" or \"GEMM\" or nothing, found "
                 "\"gemv\"; other packings (gemv, marlin) are not implemented");
  EXPECT_EQ(errorOf(kAwq, R"({"zero_point": false})"),
            at + "zero_point: expected true or nothing, found false; AWQ "
                 "weights without zero points are not implemented");
  EXPECT_EQ(errorOf(kAwq, R"({"zero_point": null})"),
            at + "zero_point: missing, expected a field that says what is "
                 "stored");
}

TEST(PackedWeights, ExceptionsAsEachToolWritesThem) {
  auto isPacked = [](const char *quantization, const std::string &patch,
                     const std::string &module) {
    ConfigReader reader = *ConfigReader::parse(
        quantisedConfig(quantization, patch).dump(), "c.json");
    std::vector<std::string> warnings;
    auto format = readQuantisation(reader, warnings)
                      .formatOf(module, "c.json", /*members=*/12);
    EXPECT_TRUE(reader.status().ok()) << reader.status().message();
    return !format.ok() ? "partly" : *format ? "yes" : "no";
  };
  // Parts of names, as published: layer 0 and not layer 10.
  const std::string awq = R"({"modules_to_not_convert":
    ["self_attn", "block_sparse_moe.gate", "model.layers.0."]})";
  EXPECT_STREQ(isPacked(kAwq, awq, "model.layers.1.self_attn.q_proj"), "no");
  EXPECT_STREQ(isPacked(kAwq, awq, "model.layers.0.mlp.experts.{}.w1"), "no");
  EXPECT_STREQ(isPacked(kAwq, awq, "model.layers.10.mlp.experts.{}.w1"), "yes");
  EXPECT_STREQ(isPacked(kAwq, R"({"modules_to_not_convert": ["experts.1"]})",
                        "model.layers.0.mlp.experts.{}.w1"),
               "partly");
  // Expressions that a name begins with, beside whole components.
  const std::string packed = R"({"ignore": ["re:.*experts\\.\\d+\\.w2$",
    "re:model\\.layers\\.1\\.self_attn", "k_proj", "re:layers"]})";
  EXPECT_STREQ(isPacked(kPacked, packed, "model.layers.0.experts.{}.w2"), "no");
  EXPECT_STREQ(isPacked(kPacked, packed, "model.layers.0.experts.{}.w1"),
               "yes");
  EXPECT_STREQ(isPacked(kPacked, packed, "model.layers.1.self_attn.q_proj"),
               "no");
  EXPECT_STREQ(isPacked(kPacked, packed, "model.layers.2.self_attn.k_proj"),
               "no");
  EXPECT_STREQ(isPacked(kPacked, packed, "model.layers.2.self_attn.q_proj"),
               "yes");
  EXPECT_STREQ(isPacked(kPacked, R"({"ignore": ["re:.*experts\\.1\\d*\\.w1"]})",
                        "model.layers.0.experts.{}.w1"),
               "partly");
  const std::string gptq = R"({"dynamic": {"-:.*self_attn.*": {}}})";
  EXPECT_STREQ(isPacked(kGptq, gptq, "model.layers.0.self_attn.q_proj"), "no");
  EXPECT_STREQ(isPacked(kGptq, gptq, "model.layers.0.experts.{}.w1"), "yes");
}

/// Replaces the projections of an FP8 checkpoint by what `make` adds for each.
using Make = std::function<void(TinyCheckpoint &, const std::string &module,
                                uint64_t rows, uint64_t columns)>;
std::string folderError(const char *quantization, const Make &make,
                        const std::function<void(TinyCheckpoint &)> &change,
                        const std::string &patch = "{}") {
  TinyCheckpoint tensors(/*fp8=*/true);
  std::vector<std::string> modules;
  const std::string suffix = ".weight_scale_inv";
  for (const auto &entry : tensors.tensors)
    if (entry.first.size() > suffix.size() &&
        entry.first.substr(entry.first.size() - suffix.size()) == suffix)
      modules.push_back(
          entry.first.substr(0, entry.first.size() - suffix.size()));
  for (const std::string &module : modules) {
    std::vector<uint64_t> shape = tensors.tensors[module + ".weight"].shape;
    tensors.erase(module + ".weight");
    tensors.erase(module + suffix);
    make(tensors, module, shape[0], shape[1]);
  }
  change(tensors);
  return accountingError(quantisedConfig(quantization, patch), tensors);
}

void nothing(TinyCheckpoint &) {}
const std::string q = "model.layers.0.self_attn.q_proj.";

void makePacked(TinyCheckpoint &t, const std::string &module, uint64_t rows,
                uint64_t columns) {
  t.set(module + ".weight_packed", "I32", {rows, columns / 8});
  t.set(module + ".weight_scale", "BF16", {rows, (columns + 15) / 16});
  t.set(module + ".weight_shape", "I64", {2});
}
void makeGptq(TinyCheckpoint &t, const std::string &module, uint64_t rows,
              uint64_t columns) {
  t.set(module + ".qweight", "I32", {columns / 8, rows});
  t.set(module + ".qzeros", "I32", {(columns + 15) / 16, rows / 8});
  t.set(module + ".scales", "F16", {(columns + 15) / 16, rows});
  t.set(module + ".g_idx", "I32", {columns});
}
void makeAwq(TinyCheckpoint &t, const std::string &module, uint64_t rows,
             uint64_t columns) {
  t.set(module + ".qweight", "I32", {columns, rows / 8});
  t.set(module + ".qzeros", "I32", {(columns + 15) / 16, rows / 8});
  t.set(module + ".scales", "F16", {(columns + 15) / 16, rows});
}

TEST(PackedWeights, FoldersOfCompressedTensors) {
  auto error = [](const std::function<void(TinyCheckpoint &)> &change,
                  const std::string &patch = "{}") {
    return folderError(kPacked, makePacked, change, patch);
  };
  EXPECT_EQ(error(nothing), "");
  EXPECT_EQ(error([](TinyCheckpoint &t) {
              t.set(q + "weight_scale", "F32", {48, 2});
            }),
            "");
  EXPECT_EQ(error([](TinyCheckpoint &t) { t.erase(q + "weight_shape"); }), "");
  EXPECT_EQ(
      error([](TinyCheckpoint &t) { t.set(q + "weight_shape", "I64", {3}); }),
      "tensor \"" + q +
          "weight_shape\" has shape [3], the config asks "
          "for [2]");
  // A group size of 8 would want twice as many scales.
  EXPECT_EQ(error(nothing, R"({"config_groups": {"group_0": {"weights":
                               {"group_size": 8}}}})"),
            "tensor \"" + q +
                "weight_scale\" has shape [48, 2], the config "
                "asks for [48, 4]");
  EXPECT_EQ(error([](TinyCheckpoint &t) {
              t.set(q + "weight_packed", "I32", {48, 5});
            }),
            "tensor \"" + q +
                "weight_packed\" has shape [48, 5], the config "
                "asks for [48, 4]");
  EXPECT_EQ(error([](TinyCheckpoint &t) {
              t.set(q + "weight_scale", "BF16", {47, 2});
            }),
            "tensor \"" + q +
                "weight_scale\" has shape [47, 2], the config "
                "asks for [48, 2]");
  EXPECT_EQ(error([](TinyCheckpoint &t) { t.erase(q + "weight_scale"); }),
            "tensor \"" + q + "weight_packed\" is i32, but its scale \"" + q +
                "weight_scale\" is missing, expected bf16 [48, 2]");
  EXPECT_EQ(error([](TinyCheckpoint &t) { t.erase(q + "weight_packed"); }),
            "scale \"" + q + "weight_scale\" is present, but its weight \"" +
                q + "weight_packed\" is missing");
  EXPECT_EQ(error(nothing, R"({"config_groups": {"group_0": {"weights":
                               {"symmetric": false}}}})"),
            "tensor \"" + q + "weight_packed\" is i32, but its zero point \"" +
                q + "weight_zero_point\" is missing, expected i32 [6, 2]");
  EXPECT_EQ(error([](TinyCheckpoint &t) {
              t.set(q + "weight_zero_point", "I32", {6, 2});
            }),
            "tensor \"" + q +
                "weight_zero_point\" is not part of this model "
                "(num_hidden_layers = 2, num_local_experts = 3)");
}

TEST(PackedWeights, OneFormatForOneWeight) {
  EXPECT_EQ(folderError(kPacked, makePacked,
                        [](TinyCheckpoint &t) {
                          t.set(q + "weight", "BF16", {48, 32});
                        }),
            "tensors \"" + q + "weight_packed\" and \"" + q +
                "weight\" both claim to be one weight; c.json declares packed "
                "int4 weights (quantization_config)");
  EXPECT_EQ(
      folderError(kPacked, makePacked,
                  [](TinyCheckpoint &t) {
                    for (const char *tensor :
                         {"weight_packed", "weight_scale", "weight_shape"})
                      t.erase(q + tensor);
                    t.set(q + "weight", "BF16", {48, 32});
                  }),
      "tensor \"" + q +
          "weight\" is bf16, but c.json declares packed int4 weights "
          "(quantization_config); expected \"" +
          q + "weight_packed\", or the module in ignore");
  EXPECT_EQ(folderError(kAwq, makePacked, nothing),
            "tensor \"" + q +
                "weight_packed\" is i32, but c.json declares AWQ int4 weights "
                "(quantization_config); expected \"" +
                q + "qweight\"");
  EXPECT_EQ(folderError(kAwq, makeAwq, nothing,
                        R"({"modules_to_not_convert": ["q_proj"]})"),
            "tensor \"" + q +
                "qweight\" is i32, but c.json keeps this module "
                "unquantised; expected \"" +
                q + "weight\"");
}

TEST(PackedWeights, MatricesEndWithAWord) {
  auto error = [](const char *quantization, const char *sizes) {
    nlohmann::json config = quantisedConfig(quantization, "{}");
    config.merge_patch(nlohmann::json::parse(sizes));
    std::vector<std::string> warnings;
    return listM2Weights(
               *readM2Config(*ConfigReader::parse(config.dump(), "c.json"),
                             warnings),
               "c.json")
        .status()
        .message();
  };
  const std::string w1 =
      "\"model.layers.0.block_sparse_moe.experts.{}.w1\" has ";
  const char *odd = R"({"intermediate_size": 20})";
  EXPECT_THAT(error(kGptq, odd),
              HasSubstr(w1 +
                        "20 rows, expected a multiple of 8, which GPTQ int4 "
                        "packs to a word"));
  EXPECT_THAT(error(kAwq, odd),
              HasSubstr(w1 +
                        "20 rows, expected a multiple of 8, which AWQ int4 "
                        "packs to a word"));
  EXPECT_THAT(
      error(R"({"quant_method": "modelopt", "quant_algo": "NVFP4"})",
            R"({"intermediate_size": 17})"),
      HasSubstr(
          "experts.{}.w2\" has 17 columns, expected a multiple of 2, which "
          "NVFP4 packs to a word"));
  // compressed-tensors fills the last word of a row.
  EXPECT_EQ(error(kPacked, odd), "");
}

TEST(PackedWeights, ValuesInPlaceOfCodes) {
  const char *nvfp4 = R"({"quant_method": "modelopt", "quant_algo": "NVFP4",
                          "ignore": ["lm_head"]})";
  auto make = [](TinyCheckpoint &t, const std::string &module, uint64_t rows,
                 uint64_t columns) {
    t.set(module + ".weight", "BF16", {rows, columns});
  };
  EXPECT_THAT(folderError(nvfp4, make, nothing),
              HasSubstr("weight\" is bf16, but c.json declares NVFP4 weights "
                        "(quantization_config); expected u8, or the module in "
                        "ignore"));
}

TEST(PackedWeights, FoldersOfGptqAndAwq) {
  EXPECT_EQ(folderError(kGptq, makeGptq, nothing), "");
  EXPECT_EQ(folderError(kAwq, makeAwq, nothing), "");
  EXPECT_EQ(folderError(kGptq, makeGptq,
                        [](TinyCheckpoint &t) { t.erase(q + "g_idx"); }),
            "");
  // They share names and differ in shapes.
  EXPECT_EQ(folderError(kAwq, makeGptq, nothing),
            "tensor \"" + q +
                "qweight\" has shape [4, 48], the config asks "
                "for [32, 6]");
  EXPECT_EQ(folderError(kGptq, makeGptq,
                        [](TinyCheckpoint &t) { t.erase(q + "qzeros"); }),
            "tensor \"" + q + "qweight\" is i32, but its zero point \"" + q +
                "qzeros\" is missing, expected i32 [2, 6]");
  EXPECT_EQ(folderError(
                kGptq, makeGptq,
                [](TinyCheckpoint &t) { t.set(q + "scales", "F16", {3, 48}); }),
            "tensor \"" + q +
                "scales\" has shape [3, 48], the config asks for "
                "[2, 48]");
  EXPECT_EQ(folderError(
                kAwq, makeAwq,
                [](TinyCheckpoint &t) { t.set(q + "qzeros", "I32", {2, 7}); }),
            "tensor \"" + q +
                "qzeros\" has shape [2, 7], the config asks for "
                "[2, 6]");
  EXPECT_EQ(
      folderError(kGptq, makeGptq,
                  [](TinyCheckpoint &t) { t.set(q + "g_idx", "I32", {31}); }),
      "tensor \"" + q +
          "g_idx\" has shape [31], the config asks for "
          "[32]");
}

} // namespace
