// One bent engine per rule about recipes and their destinations. The qkv weight
// of a rank is [16, 8]: rows 0..7 from q, 8..11 from k, 12..15 from v.

#include "test/unit/engine/Mutate.h"

using namespace saddle;
using namespace saddle::schema;

namespace {

const char *const kQkv = "model.layers.0.self_attn.qkv";
const std::string kPlace = std::string("program 0: weight \"") + kQkv + "\": ";

std::string weightAfter(const std::function<void(WeightT &)> &mutate) {
  return messageAfter(
      [&](EngineT &e) { mutate(named(e.programs[0]->weights, kQkv)); });
}

/// Bends the piece that reads k.
std::string pieceAfter(const std::function<void(PieceT &)> &mutate) {
  return weightAfter([&](WeightT &w) { mutate(*w.pieces[1]); });
}

const std::string kPiece = kPlace + "piece 1: ";
const std::string kSource =
    kPiece + "source \"model.layers.0.self_attn.k_proj.weight\": ";

TEST(ValidateWeights, destination) {
  EXPECT_EQ(messageAfter([](EngineT &e) {
              e.programs[0]->weights[0]->name = e.programs[0]->weights[1]->name;
            }),
            "program 0: two weights are named "
            "\"model.layers.0.input_layernorm.weight\"");
  EXPECT_EQ(weightAfter([](WeightT &w) { w.slice->arena = 7; }),
            kPlace + "arena 7 does not exist, there are 4");
  EXPECT_EQ(weightAfter([](WeightT &w) { w.slice->arena = 2; }),
            kPlace + "lies in arena \"activations\" of kind TRANSIENT, "
                     "expected CONSTANT");
  EXPECT_EQ(weightAfter([](WeightT &w) {
              w.slice->shape = {1, 1, 16, 8};
              w.slice->strides = {128, 128, 8, 1};
            }),
            kPlace + "shape [1, 1, 16, 8] has 4 dimensions, expected at most "
                     "3");
}

TEST(ValidateWeights, destinationsDoNotOverlap) {
  // Two bytes before its end; the norms before it are 32 bytes of f32 at 256.
  std::string message = messageAfter([](EngineT &e) {
    auto &weights = e.programs[0]->weights;
    weights[1]->slice->offset = weights[0]->slice->offset + 124;
  });
  EXPECT_EQ(message, "program 0: weight "
                     "\"model.layers.0.input_layernorm.weight\" at offset 124 "
                     "begins inside weight \"model.embed_tokens.weight\", "
                     "which has 128 bytes at offset 0");
}

TEST(ValidateWeights, pieceNamesAReadableSource) {
  EXPECT_EQ(pieceAfter([](PieceT &p) { p.source = 99; }).substr(0, 90),
            (kPiece + "source 99 does not exist, there are ").substr(0, 90));
  EXPECT_EQ(messageAfter([](EngineT &e) {
              named(e.sources, "model.layers.0.self_attn.k_proj.weight")
                  .ignored_reason = "x";
            }),
            kPiece + "reads the ignored source "
                     "\"model.layers.0.self_attn.k_proj.weight\"");
}

TEST(ValidateWeights, dtypesAreEqualOrWidenToF32) {
  auto withDTypes = [](DType source, DType dest) {
    return messageAfter([&](EngineT &e) {
      named(e.sources, "model.norm.weight").dtype = source;
      named(e.programs[0]->weights, "model.norm.weight").slice->dtype = dest;
    });
  };
  EXPECT_EQ(withDTypes(DType::F8E4M3, DType::F32), "");
  const std::string place =
      "program 0: weight \"model.norm.weight\": piece 0: source "
      "\"model.norm.weight\" is ";
  const std::string rule =
      "; expected the same dtype, or f32 from a narrower float";
  EXPECT_EQ(withDTypes(DType::F32, DType::BF16),
            place + "f32, but the weight is bf16" + rule);
  EXPECT_EQ(withDTypes(DType::I32, DType::F32),
            place + "i32, but the weight is f32" + rule);
  EXPECT_EQ(withDTypes(DType::F8E4M3, DType::BF16),
            place + "f8e4m3, but the weight is bf16" + rule);
}

TEST(ValidateWeights, whatIsDividedIsF32) {
  auto withDType = [](DType dtype) {
    return messageAfter([&](EngineT &e) {
      auto &norm = named(e.sources, "model.norm.weight");
      norm.dtype = DType::BF16;
      norm.over = 7;
      norm.companion = CompanionKind::SCALE;
      norm.companion_of = &norm == e.sources[0].get() ? 2 : 1;
      named(e.programs[0]->weights, "model.norm.weight").slice->dtype = dtype;
    });
  };
  EXPECT_EQ(withDType(DType::F32), "");
  EXPECT_EQ(withDType(DType::BF16),
            "program 0: weight \"model.norm.weight\": piece 0: source "
            "\"model.norm.weight\" is divided by 7, but the weight is bf16, "
            "expected f32");
}

TEST(ValidateWeights, otherLayoutsAreRefused) {
  EXPECT_EQ(messageAfter([](EngineT &e) {
              named(e.programs[0]->weights, "model.norm.weight").layout =
                  Layout(3);
            }),
            "program 0: weight \"model.norm.weight\": has layout 3; this "
            "runtime lays weights as they are stored, which is 0");
}

TEST(ValidateWeights, pieceSizesArePositive) {
  EXPECT_EQ(pieceAfter([](PieceT &p) { p.rows = 0; }),
            kPiece + "has 0 rows, 8 columns and 1 stack members, expected 1 or "
                     "more");
  EXPECT_EQ(pieceAfter([](PieceT &p) { p.stack_count = 0; }),
            kPiece + "has 4 rows, 8 columns and 0 stack members, expected 1 or "
                     "more");
  EXPECT_EQ(pieceAfter([](PieceT &p) { p.dest_block_cols = 0; }),
            kPiece + "has a block size of 0, expected 1 or more");
  EXPECT_EQ(pieceAfter([](PieceT &p) { p.source_block_rows = 0; }),
            kPiece + "has a block size of 0, expected 1 or more");
  EXPECT_EQ(pieceAfter([](PieceT &p) { p.row_start->divisor = 0; }),
            kPiece + "rank value has divisor 0 and modulus 2, expected 1 or "
                     "more");
}

TEST(ValidateWeights, piecesStayInsideTheirSourceOnEveryRank) {
  // k has 8 rows of 8; rank 1 starts at row 4.
  EXPECT_EQ(pieceAfter([](PieceT &p) { p.row_start->step = 5; }),
            kSource + "on rank 1, 4 rows from 5 on (blocks of 1 from blocks of "
                      "1) reach beyond the source's 8");
  EXPECT_EQ(pieceAfter([](PieceT &p) { p.col_start->base = 1; }),
            kSource + "on rank 0, 8 columns from 1 on (blocks of 1 from blocks "
                      "of 1) reach beyond the source's 8");
  EXPECT_EQ(pieceAfter([](PieceT &p) { p.dest_block_rows = 1ull << 62; }),
            kSource + "on rank 1, 4 rows from 4 on (blocks of "
                      "4611686018427387904 from blocks of 1) reach beyond the "
                      "source's 8");
  EXPECT_EQ(pieceAfter([](PieceT &p) { p.stack_start->base = 1; }),
            kSource + "on rank 0, 1 stack members from 1 on (blocks of 1 from "
                      "blocks of 1) reach beyond the source's 1");
  EXPECT_EQ(pieceAfter([](PieceT &p) { p.row_start->base = ~0ull; }),
            kPiece + "rank value 18446744073709551615 + 1 * 4 exceeds 64 "
                     "bits");
}

// The check looks at one rank; here is what it is to find on all of them.
TEST(ValidateWeights, theLargestStartOfAnyRankDecides) {
  TinyOptions options;
  options.tp = 4;
  int refused = 0, accepted = 0;
  for (uint64_t base = 0; base < 3; ++base)
    for (uint64_t divisor = 1; divisor < 5; ++divisor)
      for (uint64_t modulus = 1; modulus < 5; ++modulus)
        for (uint64_t step = 0; step < 3; ++step) {
          bool fits = true; // 4 rows of 8
          for (uint64_t rank = 0; rank < 4; ++rank)
            fits &= base + rank / divisor % modulus * step + 4 <= 8;
          std::string message = messageAfter(
              [&](EngineT &e) {
                RankValueT &start =
                    *named(e.programs[0]->weights, kQkv).pieces[1]->row_start;
                start.base = base;
                start.divisor = divisor;
                start.modulus = modulus;
                start.step = step;
              },
              options);
          EXPECT_EQ(message.empty(), fits)
              << base << " " << divisor << " " << modulus << " " << step;
          ++(fits ? accepted : refused);
        }
  EXPECT_GT(refused, 5);
  EXPECT_GT(accepted, 10);
}

TEST(ValidateWeights, stackedPiecesStayInsideTheStack) {
  // Four experts, two per rank.
  std::string message = messageAfter([](EngineT &e) {
    named(e.programs[0]->weights, "model.layers.0.block_sparse_moe.w2")
        .pieces[0]
        ->stack_start->base = 1;
  });
  EXPECT_EQ(message,
            "program 0: weight \"model.layers.0.block_sparse_moe.w2\": piece "
            "0: source \"model.layers.0.block_sparse_moe.experts.{}.w2"
            ".weight\": on rank 1, 2 stack members from 3 on (blocks of 1 from "
            "blocks of 1) reach beyond the source's 4");
}

TEST(ValidateWeights, blocksLetOneCellServeManyEntries) {
  // 4 entries of 2 cells each from blocks of 4: source rows 0, 0, 1, 1 of rank
  // 0 and, from cell 4 on, 1, 1, 2, 2 of rank 1.
  EXPECT_EQ(pieceAfter([](PieceT &p) {
              p.dest_block_rows = 2;
              p.source_block_rows = 4;
            }),
            "");
}

TEST(ValidateWeights, piecesStayInsideTheWeight) {
  EXPECT_EQ(pieceAfter([](PieceT &p) { p.dest_row = 13; }),
            kPiece + "4 x 8 entries at (13, 0) reach beyond the weight's 16 x "
                     "8");
  EXPECT_EQ(pieceAfter([](PieceT &p) { p.dest_col = ~0ull; }),
            kPiece + "4 x 8 entries at (8, 18446744073709551615) reach beyond "
                     "the weight's 16 x 8");
  EXPECT_EQ(messageAfter([](EngineT &e) {
              named(e.programs[0]->weights,
                    "model.layers.0.block_sparse_moe.w2")
                  .pieces[0]
                  ->stack_count = 1;
            }),
            "program 0: weight \"model.layers.0.block_sparse_moe.w2\": piece "
            "0: has 1 stack members, but the weight has 2");
}

TEST(ValidateWeights, piecesCoverEveryElementOnce) {
  EXPECT_EQ(pieceAfter([](PieceT &p) { p.dest_row = 7; }),
            kPlace + "two pieces write the element (7, 0)");
  EXPECT_EQ(pieceAfter([](PieceT &p) { p.dest_row = 10; }),
            kPlace + "two pieces write the element (12, 0)");
  EXPECT_EQ(pieceAfter([](PieceT &p) { p.rows = 3; }),
            kPlace + "the pieces do not cover all of its 16 x 8 elements");
  EXPECT_EQ(weightAfter([](WeightT &w) { w.pieces.clear(); }),
            kPlace + "the pieces do not cover all of its 16 x 8 elements");
  // Left and right halves of k's rows, the right one shifted.
  auto halves = [](uint64_t rightColumn) {
    return weightAfter([&](WeightT &w) {
      auto right = std::make_unique<PieceT>(*w.pieces[1]);
      w.pieces[1]->cols = right->cols = 4;
      right->dest_col = rightColumn;
      right->col_start->base = 4;
      w.pieces.push_back(std::move(right));
    });
  };
  EXPECT_EQ(halves(4), "");
  EXPECT_EQ(halves(3), kPlace + "two pieces write the element (8, 3)");
  EXPECT_EQ(halves(0), kPlace + "two pieces write the element (8, 0)");
}

} // namespace
