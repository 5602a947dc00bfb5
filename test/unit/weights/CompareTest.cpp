// A folder that does not fit the engine is refused, in words that help.

#include "test/unit/base/TemporaryFolder.h"
#include "test/unit/weights/LoadedWeights.h"
#include "test/unit/weights/TestCheckpoint.h"

#include <gmock/gmock.h>

#include <algorithm>

#include <chrono>

using namespace saddle;
using schema::DType;
using testing::EndsWith;
using testing::HasSubstr;
using testing::StartsWith;

namespace {

class Compare : public testing::Test {
protected:
  Compare() : tree(tinyEngine()), tensors(testTensors(*tree)) {}

  TestTensor &tensor(const std::string &name) {
    return *std::find_if(tensors.begin(), tensors.end(),
                         [&](const TestTensor &t) { return t.name == name; });
  }
  void remove(const std::string &name) {
    tensors.erase(tensors.begin() + (&tensor(name) - tensors.data()));
  }
  Status load() {
    folder.write("model.safetensors", safetensors(tensors));
    return LoadedWeights(*tree, folder.path(""), 0).status;
  }
  /// The differences that the message lists.
  std::string differences() {
    Status status = load();
    EXPECT_EQ(status.code(), StatusCode::Mismatch);
    std::string head = folder.path("") +
                       ": these are not the weights that the engine was "
                       "compiled for (fingerprint ";
    EXPECT_THAT(status.message(), StartsWith(head));
    std::string tail = ", expected " + tree->checkpoints[0]->fingerprint +
                       "); compile this folder to run it: ";
    size_t wants = status.message().find(tail);
    EXPECT_NE(wants, std::string::npos);
    return status.message().substr(wants + tail.size());
  }

  /// Makes q_proj an FP8 block weight with a scale of [2, 1].
  void useFp8() {
    for (auto &source : tree->sources)
      if (source->name == kWeight)
        source->dtype = DType::F8E4M3;
    auto scale = std::make_unique<schema::SourceT>();
    scale->name = kScale;
    scale->dtype = DType::F32;
    scale->shape = {2, 1};
    scale->companion = schema::CompanionKind::SCALE;
    for (uint32_t i = 0; i < tree->sources.size(); ++i)
      if (tree->sources[i]->name == kWeight)
        scale->companion_of = i + 1;
    uint32_t index = uint32_t(tree->sources.size());
    tree->sources.push_back(std::move(scale));
    auto piece = std::make_unique<schema::PieceT>();
    piece->source = index;
    piece->rows = 2;
    piece->cols = 1;
    auto weight = std::make_unique<schema::WeightT>();
    weight->name = kScale;
    weight->slice = std::make_unique<schema::SliceT>();
    weight->slice->dtype = DType::F32;
    weight->slice->shape = {2, 1};
    weight->slice->strides = {1, 1};
    weight->slice->offset = tree->arenas[0]->bytes;
    tree->arenas[0]->bytes += 8;
    weight->pieces.push_back(std::move(piece));
    tree->programs[0]->weights.push_back(std::move(weight));
    // The pieces of one weight have one dtype.
    auto &qkv = *tree->programs[0]->weights[2];
    ASSERT_EQ(qkv.name, "model.layers.0.self_attn.qkv");
    qkv.slice->dtype = DType::F8E4M3;
    for (auto &source : tree->sources)
      if (source->name == "model.layers.0.self_attn.k_proj.weight" ||
          source->name == "model.layers.0.self_attn.v_proj.weight")
        source->dtype = DType::F8E4M3;
  }

  const std::string kWeight = "model.layers.0.self_attn.q_proj.weight";
  const std::string kScale = kWeight + "_scale_inv";
  TemporaryFolder folder;
  std::unique_ptr<schema::EngineT> tree;
  std::vector<TestTensor> tensors;
};

TEST_F(Compare, fittingFolderLoads) {
  EXPECT_TRUE(load().ok());
  std::reverse(tensors.begin(), tensors.end()); // order in the file is free
  EXPECT_TRUE(load().ok());
}

TEST_F(Compare, missingTensor) {
  remove("model.norm.weight");
  EXPECT_EQ(differences(),
            "tensor \"model.norm.weight\" is missing, expected bf16 [8]");
}

TEST_F(Compare, missingStackMember) {
  remove("model.layers.0.block_sparse_moe.experts.2.w1.weight");
  EXPECT_EQ(differences(),
            "tensor \"model.layers.0.block_sparse_moe.experts.2.w1.weight\" is "
            "missing, expected bf16 [4, 8]");
}

TEST_F(Compare, extraTensor) {
  tensors.push_back(testTensor("aaa", DType::F32, {1}));
  tensors.push_back(testTensor("zzz", DType::F32, {1}));
  tensors.push_back(
      testTensor("model.layers.0.block_sparse_moe.experts.4.w1.weight",
                 DType::BF16, {4, 8}));
  EXPECT_EQ(differences(),
            "tensor \"aaa\" is not part of the model; tensor "
            "\"model.layers.0.block_sparse_moe.experts.4.w1.weight\" is not "
            "part of the model; tensor \"zzz\" is not part of the model");
}

TEST_F(Compare, misShapedTensor) {
  tensor("model.norm.weight") =
      testTensor("model.norm.weight", DType::BF16, {9});
  tensor("lm_head.weight") = testTensor("lm_head.weight", DType::BF16, {8, 16});
  EXPECT_EQ(differences(),
            "tensor \"lm_head.weight\" is bf16 [8, 16], expected bf16 [16, 8]; "
            "tensor \"model.norm.weight\" is bf16 [9], expected bf16 [8]");
}

TEST_F(Compare, misTypedTensor) {
  tensor("model.norm.weight") = {
      "model.norm.weight", "F64", {8}, std::string(64, 0)};
  tensor("lm_head.weight") = testTensor("lm_head.weight", DType::F32, {16, 8});
  EXPECT_EQ(differences(),
            "tensor \"lm_head.weight\" is f32 [16, 8], expected bf16 [16, 8]; "
            "tensor \"model.norm.weight\" is F64 [8], expected bf16 [8]");
}

// An engine of a config.json guesses dtypes. What becomes f32 may be any
// float; a matrix that stays as it is stored may not.
TEST_F(Compare, whatBecomesF32MayBeStoredAsAnyFloat) {
  const std::string norm = "model.norm.weight",
                    bias = "model.layers.0.block_sparse_moe."
                           "e_score_correction_bias";
  for (DType dtype : {DType::F32, DType::BF16, DType::F16}) {
    tensor(norm) = testTensor(norm, dtype, {8});
    tensor(bias) = testTensor(bias, dtype, {4});
    folder.write("model.safetensors", safetensors(tensors));
    LoadedWeights loaded(*tree, folder.path(""), 0);
    ASSERT_TRUE(loaded.status.ok()) << loaded.status.message();
    for (size_t i = 0; i < 8; ++i)
      EXPECT_EQ(loaded.values(norm)[i], testValue(norm, i));
    for (size_t i = 0; i < 4; ++i)
      EXPECT_EQ(loaded.values(bias)[i], testValue(bias, i));
  }
}

TEST_F(Compare, manyDifferencesAreCounted) {
  tensors.clear();
  // 2 tables, 1 norm; per layer 2 norms, 2 head norms, q, k, v, o, gate, bias
  // and 3 * 4 expert matrices: 25 tensors, of which 4 are listed.
  EXPECT_THAT(differences(), EndsWith("; and 21 more differences"));
}

TEST_F(Compare, scaleWithoutWeight) {
  useFp8();
  updateFingerprint(*tree);
  tensors = testTensors(*tree);
  ASSERT_TRUE(load().ok()) << load().message();
  remove(kWeight);
  EXPECT_EQ(differences(), "tensor \"" + kWeight +
                               "\" is missing, expected f8e4m3 [16, 8], "
                               "although its scale \"" +
                               kScale + "\" is there");
}

TEST_F(Compare, weightWithoutScale) {
  useFp8();
  updateFingerprint(*tree);
  tensors = testTensors(*tree);
  remove(kScale);
  EXPECT_EQ(differences(), "tensor \"" + kScale +
                               "\" is missing, expected f32 [2, 1] as the "
                               "scale of \"" +
                               kWeight + "\", which is there");
}

TEST_F(Compare, scaleThatNobodyReads) {
  tensors.push_back(testTensor(kScale, DType::F32, {2, 1}));
  EXPECT_EQ(differences(), "tensor \"" + kScale +
                               "\" is not part of the model: the engine reads "
                               "\"" +
                               kWeight + "\" without a scale");
}

TEST_F(Compare, scaleOfNothing) {
  tensors.push_back(testTensor("x_scale_inv", DType::F32, {1}));
  EXPECT_EQ(differences(), "tensor \"x_scale_inv\" is not part of the model: "
                           "it is a scale without its weight \"x\"");
}

TEST_F(Compare, scalesArePositiveNumbers) {
  useFp8();
  updateFingerprint(*tree);
  auto message = [&](float second) {
    tensors = testTensors(*tree);
    tensor(kScale).data = bytesOf(std::vector<float>{0.5f, second});
    return load().message();
  };
  EXPECT_EQ(message(1e-40f), "");
  // Nothing lies behind the last row of the last scale.
  tensors = testTensors(*tree);
  std::partition(tensors.begin(), tensors.end(),
                 [this](const auto &each) { return each.name != kScale; });
  EXPECT_EQ(load().message(), "");
  struct {
    float value;
    const char *text;
  } refused[] = {{0, "0"}, {-1, "-1"}, {NAN, "nan"}, {INFINITY, "inf"}};
  for (auto [value, text] : refused)
    EXPECT_THAT(message(value),
                EndsWith("scale \"" + kScale + "\" is " + text +
                         " at row 1, column 0; expected a positive finite "
                         "number"));
}

// Those of GPTQ, AWQ and compressed-tensors, which are widened.
TEST_F(Compare, scalesOfTwoBytes) {
  useFp8();
  auto &source = *tree->sources.back();
  ASSERT_EQ(source.name, kScale);
  struct {
    DType dtype;
    const char *spelling;
    uint16_t half, tiny, nan, infinity;
  } types[] = {{DType::F16, "F16", 0x3800, 0x0001, 0x7e00, 0x7c00},
               {DType::BF16, "BF16", 0x3f00, 0x0001, 0x7fc0, 0x7f80}};
  for (const auto &type : types) {
    SCOPED_TRACE(type.spelling);
    source.dtype = type.dtype;
    updateFingerprint(*tree);
    auto message = [&](uint16_t second) {
      tensors = testTensors(*tree);
      tensor(kScale) = {kScale,
                        type.spelling,
                        {2, 1},
                        bytesOf(std::vector<uint16_t>{type.half, second})};
      return load().message();
    };
    EXPECT_EQ(message(type.tiny), "");
    EXPECT_THAT(message(0), HasSubstr("is 0 at row 1"));
    EXPECT_THAT(message(0x8000 | type.half), HasSubstr("is -0.5 at row 1"));
    EXPECT_THAT(message(type.nan), HasSubstr("is nan at row 1"));
    EXPECT_THAT(message(type.infinity), HasSubstr("is inf at row 1"));
  }
}

TEST_F(Compare, scalesOfOneByte) {
  useFp8();
  auto &source = *tree->sources.back();
  ASSERT_EQ(source.name, kScale);
  auto message = [&](DType dtype, const char *spelling, uint8_t second) {
    source.dtype = dtype;
    tree->programs[0]->weights.back()->slice->dtype =
        dtype == DType::U8 ? DType::F8E8M0 : dtype;
    updateFingerprint(*tree);
    tensors = testTensors(*tree);
    tensor(kScale) = {
        kScale, spelling, {2, 1}, std::string({char(0x38), char(second)})};
    return load().message();
  };
  // A group of zeros has a scale of zero in NVFP4.
  EXPECT_EQ(message(DType::F8E4M3, "F8_E4M3", 0), "");
  EXPECT_THAT(message(DType::F8E4M3, "F8_E4M3", 0x7f), HasSubstr("is nan"));
  EXPECT_THAT(message(DType::F8E4M3, "F8_E4M3", 0xb8), HasSubstr("is -1"));
  // Bytes are e8m0: 0 is 2^-127.
  EXPECT_EQ(message(DType::U8, "U8", 0), "");
  EXPECT_THAT(message(DType::U8, "U8", 0xff), HasSubstr("is nan"));
}

TEST_F(Compare, oneNumberMayHaveAnyShape) {
  useFp8();
  tree->sources.back()->shape = {1, 1};
  auto &weight = *tree->programs[0]->weights.back();
  weight.slice->shape = {1, 1};
  weight.pieces[0]->rows = 1;
  // The import knew [1], and so does the fingerprint.
  for (std::vector<uint64_t> shape : {std::vector<uint64_t>{}, {1}, {1, 1}}) {
    auto engine = std::make_unique<schema::EngineT>(*tree);
    engine->sources.back()->shape = shape;
    updateFingerprint(*engine);
    tree->checkpoints[0]->fingerprint = engine->checkpoints[0]->fingerprint;
    tensors = testTensors(*tree);
    tensor(kScale).shape = shape;
    EXPECT_EQ(load().message(), "");
  }
  tensor(kScale) = testTensor(kScale, DType::F32, {2});
  EXPECT_EQ(differences(),
            "tensor \"" + kScale + "\" is f32 [2], expected f32 [1, 1]");
}

// A vector is a row, not a column.
TEST_F(Compare, aRowMayBeAVector) {
  useFp8();
  auto &weight = *tree->programs[0]->weights.back();
  weight.slice->shape = {1, 2};
  weight.slice->strides = {2, 1};
  weight.pieces[0]->rows = 1;
  weight.pieces[0]->cols = 2;
  tree->sources.back()->shape = {2};
  updateFingerprint(*tree); // what files hold
  tree->sources.back()->shape = {1, 2};
  tensors = testTensors(*tree);
  tensor(kScale) = testTensor(kScale, DType::F32, {2});
  EXPECT_EQ(load().message(), "");
  tensor(kScale) = testTensor(kScale, DType::F32, {3});
  EXPECT_EQ(differences(),
            "tensor \"" + kScale + "\" is f32 [3], expected f32 [1, 2]");
}

// The suffix is no rule: what an engine knows as a companion is one.
TEST_F(Compare, otherNamesOfScales) {
  tensors.push_back(testTensor(kWeight + "_scale", DType::F32, {16, 1}));
  EXPECT_EQ(differences(), "tensor \"" + kWeight +
                               "_scale\" is not part of the model: the engine "
                               "reads \"" +
                               kWeight + "\" without a scale");
}

TEST_F(Compare, ignoredTensorsMayBePresentOrAbsent) {
  auto ignored = std::make_unique<schema::SourceT>();
  ignored->name = "rotary.{}.inv_freq";
  ignored->stack = 2;
  ignored->dtype = DType::F32;
  ignored->shape = {4};
  ignored->ignored_reason = "computed from rope_theta";
  tree->sources.push_back(std::move(ignored));
  EXPECT_TRUE(load().ok());
  tensors.push_back(testTensor("rotary.1.inv_freq", DType::F32, {4}));
  EXPECT_TRUE(load().ok());
  tensors.push_back(testTensor("rotary.2.inv_freq", DType::F32, {4}));
  EXPECT_EQ(differences(),
            "tensor \"rotary.2.inv_freq\" is not part of the model");
}

TEST_F(Compare, fullModelSizeIsFast) {
  // As many expert tensors as the real models have.
  for (auto &source : tree->sources)
    if (source->stack)
      source->stack = 32000;
  updateFingerprint(*tree);
  tensors = testTensors(*tree);
  ASSERT_GT(tensors.size(), 96000u);
  auto start = std::chrono::steady_clock::now();
  EXPECT_TRUE(load().ok());
  std::chrono::duration<double> took = std::chrono::steady_clock::now() - start;
  // Under 1 s with writing the file; the bound only catches a quadratic walk.
  EXPECT_LT(took.count(), 10);
}

TEST_F(Compare, inconsistentEngineIsNamed) {
  tree->checkpoints[0]->fingerprint = std::string(32, '0');
  EXPECT_EQ(differences(), "every tensor is as the engine expects, so the "
                           "engine itself is inconsistent; compile it again");
}

TEST_F(Compare, checkpointErrorsPassThrough) {
  LoadedWeights loaded(*tree, folder.path("no"), 0);
  EXPECT_EQ(loaded.status.code(), StatusCode::NotFound);
}

// Of GPTQ: which group a column is in. Whatever the config says about it, the
// values decide what the weights are.
TEST_F(Compare, ColumnsStandInTheirGroups) {
  const std::string name = "model.layers.0.self_attn.q_proj.g_idx";
  auto source = std::make_unique<schema::SourceT>();
  source->name = name;
  source->dtype = DType::I32;
  source->shape = {8};
  source->ignored_reason = "in their groups";
  source->group = 3;
  tree->sources.push_back(std::move(source));
  EXPECT_EQ(load().message(), ""); // it need not be there
  tensors.push_back({name, "I32", {8}, ""});
  auto loadWith = [&](const std::vector<int32_t> &values) {
    tensors.back().data = bytesOf(values);
    return load();
  };
  EXPECT_EQ(loadWith({0, 0, 0, 1, 1, 1, 2, 2}).message(), "");
  auto refused = [&](const char *where) {
    return folder.path("") + ": \"" + name + "\" says that column " + where +
           " with groups of 3: columns in the order of their activations are "
           "not implemented; quantise with desc_act false";
  };
  Status status = loadWith({0, 0, 0, 1, 1, 1, 2, 3});
  EXPECT_EQ(status.code(), StatusCode::Unsupported);
  EXPECT_EQ(status.message(), refused("7 is in group 3, expected 2"));
  EXPECT_EQ(loadWith({0, 1, 0, 1, 1, 1, 2, 2}).message(),
            refused("1 is in group 1, expected 0"));
  EXPECT_EQ(loadWith({-1, 0, 0, 1, 1, 1, 2, 2}).message(),
            refused("0 is in group -1, expected 0"));
  tensors.back().shape = {2, 4};
  EXPECT_EQ(loadWith({0, 0, 0, 1, 1, 1, 2, 2}).message(),
            folder.path("") + ": tensor \"" + name +
                "\" is I32 [2, 4], expected i32 [8]");
}

} // namespace
