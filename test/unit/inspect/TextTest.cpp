#include "tools/saddle-inspect/Text.h"
#include "test/unit/cuda/DeviceEngine.h"
#include "test/unit/engine/TinyEngine.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

using namespace saddle;
using namespace saddle::inspect;
using testing::HasSubstr;
using testing::Not;

namespace {

std::string report(const Sections &sections,
                   const schema::EngineT *tree = nullptr) {
  TinyOptions options;
  options.tp = 2;
  options.layers = 2;
  auto buffer = flatBufferOf(tree ? *tree : *tinyEngine(options));
  return reportText(*schema::GetEngine(buffer.data()), "t.saddle", sections);
}

TEST(Text, summary) {
  std::string text = report({});
  for (const char *line :
       {"engine t.saddle\n", "  model           tiny (MiniMaxM2ForCausalLM)\n",
        "  size            2 layers, hidden 8, vocabulary 16\n",
        "  topology        tp=2 dp=1 ep=2 pp=1, ranks 2\n",
        "  placement       pipeline 1 x 2 ranks, attention 1 x 2 ranks, "
        "experts "
        "2 x 1 rank\n",
        "  rank groups     tp: 1 group of 2, {0, 1}\n",
        ", entries 2, ranks 0..1, layers 0..1\n", "  compute dtype   f32\n",
        "  limits          max_batch=4 max_seq_len=16 prefill_chunk=8 "
        "page_size=4\n",
        // 3 outside; 10 + 12 expert matrices in each of two layers.
        "  checkpoint      47 tensors read, 0 ignored\n",
        "  entry decode: DECODE, tokens 4, rows 4\n",
        "    commands        44: launches 36, collectives 8, copies 0\n",
        "      ALL_GATHER over tp: 1, 128 bytes per rank\n",
        "      layers 0..1, each: 3, 288 bytes per rank\n"
        "        ALL_REDUCE_SUM over tp: 3, 288 bytes per rank\n",
        "memory per rank\n",
        "    fusion          add_rms_norm: groups 2, commands 4 (add "
        "rms_norm)\n",
        // 4 caches of 4 tokens of one head of 4 floats; 16 pages.
        "  kv              PAGES, 256 bytes per page of 4 tokens\n",
        "  all pages       16 for max_batch x max_seq_len, ",
        "  tokens per GiB  16777216\n"})
    EXPECT_THAT(text, HasSubstr(line));
  for (const char *section : {"arenas", "kernels", "weights of", "commands of"})
    EXPECT_THAT(text, Not(HasSubstr(std::string("\n") + section)));
}

TEST(Text, modules) {
  Sections sections;
  sections.weights = true;
  std::string text = report(sections);
  EXPECT_THAT(text, HasSubstr("modules of program 0\n"));
  EXPECT_THAT(text, HasSubstr("\n    from 2 x bf16; experts: as its values, "
                              "with f32 tokens\n"));
  EXPECT_THAT(text, HasSubstr("; rms_norm: as its values\n"));
}

TEST(Text, memory) {
  Sections sections;
  sections.memory = true;
  std::string text = report(sections);
  EXPECT_THAT(text,
              HasSubstr("  kv: PAGES, 256 bytes per page of 4 tokens, aligned "
                        "to 64\n"
                        "    state model.layers.0.k PAGED, 64 bytes\n"));
  EXPECT_THAT(text, HasSubstr("    program 0       weights 23, "));
}

TEST(Text, kernels) {
  Sections sections;
  sections.kernels = true;
  std::string text = report(sections);
  EXPECT_THAT(text, HasSubstr("  embedding: embedding(vocab_start=rank%2*8), "
                              "launches 2\n"));
  EXPECT_THAT(text, HasSubstr("  rope: rope(head_dim=4, rotary_dim=2, "
                              "theta=10000), launches 8\n"));
}

TEST(Text, weights) {
  Sections sections;
  sections.weights = true;
  TinyOptions options;
  options.tp = 4;
  auto tree = tinyEngine(options);
  schema::PieceT &piece = *tree->programs[0]->weights[2]->pieces[0];
  piece.dest_block_rows = 2;
  piece.source_block_rows = 4;
  auto ignored = std::make_unique<schema::SourceT>();
  ignored->name = "inv_freq";
  ignored->ignored_reason = "computed";
  tree->sources.push_back(std::move(ignored));
  std::string text = report(sections, tree.get());
  EXPECT_THAT(
      text,
      HasSubstr("  model.layers.0.self_attn.qkv: weights+128 bf16[12, 8]\n"
                "    at (0, 0) <- model.layers.0.self_attn.q_proj.weight "
                "[rank%4*4 +4 (block 4 to 2), 0 +8]\n"
                "    at (4, 0) <- model.layers.0.self_attn.k_proj.weight "
                "[rank/2%2*4 +4, 0 +8]\n"));
  EXPECT_THAT(text, HasSubstr("experts.{}.w2.weight {rank%4*1 +1} [0 +8, 0 "
                              "+4]\n"));
  EXPECT_THAT(text, HasSubstr("ignored tensors\n  inv_freq: computed\n"));
}

TEST(Text, commands) {
  Sections sections;
  sections.commands = true;
  std::string text = report(sections);
  EXPECT_THAT(
      text,
      HasSubstr("commands of program 0 entry decode\n"
                "  0 model.embed_tokens: launch embedding TOKENS(io+0 i32[4], "
                "weights+0 bf16[8, 8], activations+0 f32[4, 8])\n"
                "  1 model.embed_tokens: ALL_REDUCE_SUM over tp dim 0 TOKENS("
                "activations+0 f32[4, 8] -> activations+0 f32[4, 8])\n"));
  EXPECT_THAT(text, HasSubstr("  14 model.layers.0.self_attn.residual "
                              "<add_rms_norm>: launch add TOKENS("));
  EXPECT_THAT(text, Not(HasSubstr("for logits only")));
  TinyOptions options;
  options.tp = 2;
  options.candidates = 2;
  EXPECT_THAT(report(sections, tinyEngine(options).get()),
              testing::ContainsRegex(
                  "lm_head: ALL_GATHER [^\n]*\\(for logits only\\)\n"));
}

TEST(Text, deviceCode) {
  TinyOptions options;
  options.tp = options.pp = options.layers = 2;
  auto tree = cuda::deviceEngine(options);
  schema::FunctionT &function = *tree->kernels[0]->functions[0];
  function.grid_y = 3;
  function.exclusive_grid = 128;
  function.shared_bytes = 1024;
  function.registers = 27;
  function.spill_bytes = 4;
  schema::EntryT &entry = *tree->programs[0]->entries[0];
  entry.commands[0]->action.AsLaunch()->workspace =
      entry.commands[1]->action.AsCollective()->exchange;
  Sections sections;
  sections.kernels = sections.commands = true;
  std::string text = report(sections, tree.get());
  for (const char *line :
       {"  target          sm_90a\n"
        "  device code     modules 1, 4096 bytes, functions ",
        "  0.0.0: embedding(vocab_start=rank%2*8), launches 1\n"
        "    0.0.0 of code: grid 2x3x1 (own devices 128), block 64, registers "
        "27, spilled 4 "
        "bytes, shared 1024 bytes\n",
        "  0.0.1: all_reduce_sum(), launches 1\n",
        "modules\n  code: 4096 bytes at 0, hash ",
        "f32[4, 8]), workspace exchange+0 u8[512]\n",
        " -> activations+0 f32[4, 8]) by 0.0.1, exchange exchange+0 "
        "u8[512]\n",
        "SEND TOKENS(", ", exchange exchange+512 u8[512]\n"})
    EXPECT_THAT(text, HasSubstr(line));
}

TEST(Text, replicasAndStages) {
  TinyOptions options;
  options.tp = 4;
  options.dp = 2;
  options.ep = 2;
  options.pp = 2;
  options.layers = 3;
  auto tree = tinyEngine(options);
  Sections sections;
  sections.commands = true;
  std::string text = report(sections, tree.get());
  for (const char *line :
       {"  topology        tp=4 dp=2 ep=2 pp=2, ranks 8\n",
        "  placement       pipeline 2 x 4 ranks, attention 2 x 2 ranks, "
        "experts "
        "2 x 2 ranks\n",
        "  rank groups     replicas: 4 groups of 2, {0, 2} ...\n",
        "entries 2, ranks 0..3, layers 0..1\n",
        "entries 2, ranks 4..7, layers 2..2\n",
        // 4 tokens of 8 floats go in and 8 come out, and back.
        "        ALL_GATHER PACKED over replicas: 1, 128 bytes per rank\n",
        "        REDUCE_SCATTER_SUM PACKED over replicas: 1, 256 bytes per "
        "rank\n",
        "    sent            1, 128 bytes per rank\n",
        "    received        1, 128 bytes per rank\n", ", transfers 1\n",
        "memory per rank of stage 1\n",
        ": ALL_GATHER over replicas dim 0 TOKENS to ALL_TOKENS PACKED(",
        " model.layers.2.input: SEND TOKENS(activations+",
        "  0 model.layers.2.input: RECEIVE TOKENS(activations+0 f32[4, 8])\n"})
    EXPECT_THAT(text, HasSubstr(line));
}

TEST(Text, largeSizesAreRounded) {
  auto tree = tinyEngine();
  tree->arenas[1]->bytes = 3ull << 30;
  auto last = std::make_unique<schema::SliceT>();
  last->arena = 1;
  last->dtype = schema::DType::F32;
  last->shape = last->strides = {1};
  last->offset = (3ull << 30) - 4;
  tree->programs[0]->entries[0]->slices.push_back(std::move(last));
  EXPECT_THAT(report({}, tree.get()),
              HasSubstr("  kv              PAGES, 3221225472 bytes (3.00 "
                        "GiB) per page of 4 tokens\n"));
}

} // namespace
