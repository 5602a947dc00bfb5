// What recipes put where. Expected values come from the formula of the test
// checkpoint and from the arithmetic in each test, not from the recipes.

#include "test/unit/base/TemporaryFolder.h"
#include "test/unit/weights/LoadedWeights.h"
#include "test/unit/weights/TestCheckpoint.h"

#include <gmock/gmock.h>

#include <algorithm>

using namespace saddle;
using schema::DType;
using Values = std::vector<float>;

namespace {

const std::string kAttention = "model.layers.0.self_attn.";
const std::string kMoe = "model.layers.0.block_sparse_moe.";

class Recipe : public testing::Test {
protected:
  std::unique_ptr<schema::EngineT> engine(uint32_t tp,
                                          DType weights = DType::BF16) {
    TinyOptions options;
    options.tp = tp;
    options.weights = weights;
    return tinyEngine(options);
  }

  LoadedWeights load(const schema::EngineT &tree, uint32_t rank) {
    folder.write("model.safetensors", safetensors(testTensors(tree)));
    LoadedWeights loaded(tree, folder.path(""), rank);
    EXPECT_TRUE(loaded.status.ok()) << loaded.status.message();
    return loaded;
  }

  TemporaryFolder folder;
};

/// Appends rows [firstRow, firstRow + rows) and columns likewise of a tensor
/// that is `width` wide.
void append(Values &values, const std::string &name, uint64_t width,
            uint64_t firstRow, uint64_t rows, uint64_t firstCol,
            uint64_t cols) {
  for (uint64_t row = firstRow; row < firstRow + rows; ++row)
    for (uint64_t col = firstCol; col < firstCol + cols; ++col)
      values.push_back(testValue(name, row * width + col));
}

// Shards that are cut or overwritten while they are read: an error, neither a
// signal nor other weights.
TEST_F(Recipe, aShardChangedWhileItIsReadIsAnError) {
  auto tree = engine(2);
  std::vector<uint8_t> buffer = flatBufferOf(*tree);
  const schema::Engine &root = *schema::GetEngine(buffer.data());
  std::string text = safetensors(testTensors(*tree));
  std::vector<std::vector<uint8_t>> memory;
  std::vector<uint8_t *> arenas;
  for (const schema::Arena *arena : *root.arenas()) {
    memory.emplace_back(arena->bytes());
    arenas.push_back(memory.back().data());
  }
  std::vector<const schema::Weight *> weights(
      root.programs()->Get(0)->weights()->begin(),
      root.programs()->Get(0)->weights()->end());
  for (bool cuts : {true, false}) {
    std::string path = folder.write("model.safetensors", text);
    auto source = WeightSource::open(root, folder.path(""));
    ASSERT_TRUE(source.ok()) << source.status().message();
    if (cuts)
      std::filesystem::resize_file(path, text.size() / 2);
    else
      folder.write("model.safetensors", text + "x");
    Status status = (*source)->load(weights, 1, arenas);
    EXPECT_EQ(status.code(), StatusCode::DataLoss);
    EXPECT_THAT(status.message(),
                testing::HasSubstr(cuts ? "model.safetensors: ends at byte "
                                        : "model.safetensors: was changed"));
    EXPECT_THAT(status.message(),
                testing::HasSubstr("leave files alone while they are read"));
  }
}

// The next part would overwrite what one writes behind its end.
TEST_F(Recipe, partsKeepWithinTheirBytes) {
  constexpr uint8_t kCanary = 0xc5;
  constexpr size_t kBehind = 256;
  for (uint32_t tp : {1, 2, 4}) {
    auto tree = engine(tp);
    folder.write("model.safetensors", safetensors(testTensors(*tree)));
    std::vector<uint8_t> buffer = flatBufferOf(*tree);
    const schema::Engine &root = *schema::GetEngine(buffer.data());
    for (const std::string &spec :
         {folder.path(""), std::string("synthetic:3")}) {
      auto source = WeightSource::open(root, spec);
      ASSERT_TRUE(source.ok()) << source.status().message();
      std::vector<uint8_t> scratch;
      for (const schema::Weight *weight : *root.programs()->Get(0)->weights()) {
        const schema::Slice &slice = *weight->slice();
        for (uint64_t most : {1, 40, 1 << 20})
          for (const WeightPart &part : splitWeight(slice, most)) {
            uint64_t bytes = partBytes(slice, part);
            std::vector<uint8_t> memory(bytes + 2 * kBehind, kCanary);
            (*source)->loadPart(*weight, part, tp - 1, memory.data() + kBehind,
                                scratch);
            auto holds = [&](size_t first) {
              return std::all_of(memory.begin() + ptrdiff_t(first),
                                 memory.begin() + ptrdiff_t(first + kBehind),
                                 [](uint8_t byte) { return byte == kCanary; });
            };
            EXPECT_TRUE(holds(0)) << weight->name()->c_str();
            EXPECT_TRUE(holds(kBehind + bytes)) << weight->name()->c_str();
          }
      }
      EXPECT_TRUE((*source)->readError().ok());
    }
  }
}

TEST_F(Recipe, concatenatesAndSlicesRows) {
  // Rank 1 of 2: q heads 2, 3 (rows 8..15), kv head 1 (rows 4..7).
  LoadedWeights loaded = load(*engine(2), 1);
  Values expected;
  append(expected, kAttention + "q_proj.weight", 8, 8, 8, 0, 8);
  append(expected, kAttention + "k_proj.weight", 8, 4, 4, 0, 8);
  append(expected, kAttention + "v_proj.weight", 8, 4, 4, 0, 8);
  EXPECT_EQ(loaded.values(kAttention + "qkv"), expected);
}

TEST_F(Recipe, replicatesKvHeads) {
  // Ranks 2 and 3 of 4 share kv head 1; each has one q head of its own.
  auto tree = engine(4);
  for (uint32_t rank : {2, 3}) {
    LoadedWeights loaded = load(*tree, rank);
    Values expected;
    append(expected, kAttention + "q_proj.weight", 8, rank * 4, 4, 0, 8);
    append(expected, kAttention + "k_proj.weight", 8, 4, 4, 0, 8);
    append(expected, kAttention + "v_proj.weight", 8, 4, 4, 0, 8);
    EXPECT_EQ(loaded.values(kAttention + "qkv"), expected) << rank;
  }
}

TEST_F(Recipe, slicesColumns) {
  LoadedWeights loaded = load(*engine(2), 1);
  Values expected;
  append(expected, kAttention + "o_proj.weight", 16, 0, 8, 8, 8);
  EXPECT_EQ(loaded.values(kAttention + "o_proj.weight"), expected);
}

TEST_F(Recipe, stacksExperts) {
  // Rank 1 of 2 holds experts 2 and 3; w1 above w3 in each.
  LoadedWeights loaded = load(*engine(2), 1);
  Values w13, w2;
  for (const char *expert : {"2", "3"}) {
    std::string at = kMoe + "experts." + expert;
    append(w13, at + ".w1.weight", 8, 0, 4, 0, 8);
    append(w13, at + ".w3.weight", 8, 0, 4, 0, 8);
    append(w2, at + ".w2.weight", 4, 0, 8, 0, 4);
  }
  EXPECT_EQ(loaded.values(kMoe + "w13"), w13);
  EXPECT_EQ(loaded.values(kMoe + "w2"), w2);
}

TEST_F(Recipe, widensExactly) {
  // Norms are f32 in the engine whatever the checkpoint has; rank 1 of 2 reads
  // the second half of the q norm.
  for (DType dtype : {DType::F32, DType::BF16, DType::F16}) {
    LoadedWeights loaded = load(*engine(2, dtype), 1);
    Values expected;
    append(expected, kAttention + "q_norm.weight", 16, 0, 1, 8, 8);
    EXPECT_EQ(loaded.values(kAttention + "q_norm.weight"), expected);
  }
  LoadedWeights loaded = load(*engine(1, DType::F8E4M3), 0);
  Values expected;
  for (uint64_t i = 0; i < 8; ++i)
    expected.push_back(e4m3ToFloat(
        uint8_t(uint64_t(testValue("model.norm.weight", i)) % 126)));
  EXPECT_EQ(loaded.values("model.norm.weight"), expected);
}

/// A weight "scale" whose piece the caller describes, from a source "s".
std::unique_ptr<schema::EngineT>
withScale(std::unique_ptr<schema::EngineT> tree,
          std::vector<uint64_t> sourceShape, std::vector<uint64_t> shape,
          schema::PieceT piece) {
  auto source = std::make_unique<schema::SourceT>();
  source->name = "s";
  source->dtype = DType::F32;
  source->shape = sourceShape;
  piece.source = uint32_t(tree->sources.size());
  tree->sources.push_back(std::move(source));
  auto weight = std::make_unique<schema::WeightT>();
  weight->name = "scale";
  weight->slice = std::make_unique<schema::SliceT>();
  weight->slice->dtype = DType::F32;
  weight->slice->shape = shape;
  weight->slice->strides = {shape[1], 1};
  weight->slice->offset = tree->arenas[0]->bytes;
  weight->pieces.push_back(std::make_unique<schema::PieceT>(piece));
  tree->arenas[0]->bytes += shape[0] * shape[1] * 4;
  tree->programs[0]->weights.push_back(std::move(weight));
  updateFingerprint(*tree);
  return tree;
}

TEST_F(Recipe, blockScalesFollowASplitInsideABlock) {
  // A 12 x 8 weight in blocks of 4 x 8 has scales [3, 1]. Rank 1 of 2 holds
  // rows 6..11: its first two rows are in block 1, the rest in block 2. At
  // 2-row granularity: rows 6, 8, 10 -> blocks 1, 2, 2.
  schema::PieceT piece;
  piece.rows = 3;
  piece.cols = 1;
  piece.row_start = std::make_unique<schema::RankValueT>();
  piece.row_start->modulus = 2;
  piece.row_start->step = 6;
  piece.source_block_rows = 4;
  piece.dest_block_rows = 2;
  piece.source_block_cols = piece.dest_block_cols = 8;
  auto tree = withScale(engine(2), {3, 1}, {3, 1}, piece);
  EXPECT_EQ(load(*tree, 1).values("scale"),
            (Values{testValue("s", 1), testValue("s", 2), testValue("s", 2)}));
  // Rank 0: rows 0, 2, 4 -> blocks 0, 0, 1.
  EXPECT_EQ(load(*tree, 0).values("scale"),
            (Values{testValue("s", 0), testValue("s", 0), testValue("s", 1)}));
}

TEST_F(Recipe, blockScalesFollowASplitOfColumns) {
  // 2 x 12 in blocks of 2 x 4: scales [1, 3]; rank 1 holds columns 6..11, in
  // steps of 2: blocks 1, 2, 2.
  schema::PieceT piece;
  piece.rows = 1;
  piece.cols = 3;
  piece.col_start = std::make_unique<schema::RankValueT>();
  piece.col_start->modulus = 2;
  piece.col_start->step = 6;
  piece.source_block_cols = 4;
  piece.dest_block_cols = 2;
  piece.source_block_rows = piece.dest_block_rows = 2;
  auto tree = withScale(engine(2), {1, 3}, {1, 3}, piece);
  EXPECT_EQ(load(*tree, 1).values("scale"),
            (Values{testValue("s", 1), testValue("s", 2), testValue("s", 2)}));
}

TEST_F(Recipe, readsPartOfAThreeDimensionalTensor) {
  // Source [3, 2, 4], members 1 and 2, column 1 to 3 of row 1.
  schema::PieceT piece;
  piece.rows = 1;
  piece.cols = 3;
  piece.row_start = std::make_unique<schema::RankValueT>();
  piece.row_start->base = 1;
  piece.col_start = std::make_unique<schema::RankValueT>();
  piece.col_start->base = 1;
  piece.stack_start = std::make_unique<schema::RankValueT>();
  piece.stack_start->base = 1;
  piece.stack_count = 2;
  auto tree = withScale(engine(1), {3, 2, 4}, {2, 3}, piece);
  schema::SliceT &slice = *tree->programs[0]->weights.back()->slice;
  slice.shape = {2, 1, 3};
  slice.strides = {3, 3, 1};
  // Member m, row 1, column c is element 8m + 4 + c.
  Values expected;
  for (uint64_t index : {13, 14, 15, 21, 22, 23})
    expected.push_back(testValue("s", index));
  EXPECT_EQ(load(*tree, 0).values("scale"), expected);
}

TEST_F(Recipe, needsMemoryForEveryArena) {
  auto tree = engine(1);
  auto file = engineFileOf(*tree);
  auto loaded = Engine::fromBytes(file.data(), file.size(), "t");
  ASSERT_TRUE(loaded.ok());
  auto source = WeightSource::open((*loaded)->root(), "synthetic:1");
  ASSERT_TRUE(source.ok());
  Status status =
      (*source)->load(engine::weightsOf((*loaded)->root(), 0), 0, {nullptr});
  EXPECT_EQ(status.message(), "weight \"model.embed_tokens.weight\": no memory "
                              "is given for arena 0");
}

} // namespace
