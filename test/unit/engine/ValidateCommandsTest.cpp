// One bent engine per rule about launches, collectives and copies, in entry
// "decode": 4 tokens, 4 rows.

#include "runtime/src/engine/EngineFile.h"
#include "test/unit/engine/Mutate.h"

using namespace saddle;
using namespace saddle::schema;

namespace {

/// A command of "decode", and the text that begins messages about it.
struct Found {
  EngineT &engine;
  EntryT &entry;
  CommandT &command;
  std::string place;

  LaunchT &launch() { return *command.action.AsLaunch(); }
  CollectiveT &collective() { return *command.action.AsCollective(); }
  /// Gives the command a copy of its slice `index` for itself, to bend.
  SliceT &own(uint32_t &index) {
    entry.slices.push_back(std::make_unique<SliceT>(*entry.slices[index]));
    index = uint32_t(entry.slices.size() - 1);
    return *entry.slices.back();
  }
  SliceT &operand(size_t i) { return own(launch().operands[i]); }
};

/// The first command that `wanted` accepts.
Found find(EngineT &engine,
           const std::function<bool(const CommandT &)> &wanted) {
  EntryT &entry = *engine.programs[0]->entries[0];
  for (size_t i = 0;; ++i) {
    CommandT &command = *entry.commands.at(i);
    if (wanted(command))
      return {engine, entry, command,
              "program 0: entry \"decode\": command " + std::to_string(i) +
                  " (" + command.place + "): "};
  }
}

void refuses(const std::function<Found(EngineT &)> &find,
             const std::function<void(Found &)> &mutate,
             const std::string &message) {
  std::string place;
  std::string found = messageAfter([&](EngineT &engine) {
    Found command = find(engine);
    place = command.place;
    mutate(command);
  });
  EXPECT_EQ(found, place + message);
}

/// Bends the first launch of `op`.
void refusesLaunch(const std::string &op,
                   const std::function<void(Found &)> &mutate,
                   const std::string &message) {
  refuses(
      [&](EngineT &engine) {
        return find(engine, [&](const CommandT &command) {
          const LaunchT *launch = command.action.AsLaunch();
          return launch && engine.kernels[launch->kernel]->op == op;
        });
      },
      mutate, message);
}

TEST(ValidateCommands, references) {
  refusesLaunch(
      "attention", [](Found &f) { f.launch().kernel = 50; },
      "kernel 50 does not exist, there are 13");
  refusesLaunch(
      "attention", [](Found &f) { f.command.group = 2; },
      "fusion group 2 does not exist, there are 1");
  refusesLaunch(
      "attention", [](Found &f) { f.command.output = "logit"; },
      "is for output \"logit\", which no step has");
  refusesLaunch(
      "attention", [](Found &f) { f.launch().extent = Extent(7); },
      "unknown extent 7");
  refusesLaunch(
      "attention", [](Found &f) { f.launch().operands[2] = 7777; },
      "operand 2: slice 7777 does not exist, there are 45");
}

TEST(ValidateCommands, launchesFollowTheSignatureTable) {
  refusesLaunch(
      "kv_append", [](Found &f) { f.launch().operands.pop_back(); },
      "kernel \"kv_append\": kv_append: 4 operands, expected 5");
  refusesLaunch(
      "linear", [](Found &f) { f.operand(2).dtype = DType::I32; },
      "kernel \"linear\": linear: operand 2 (out) is i32, expected the compute "
      "dtype or f32 (compute f32, KV f32)");
}

TEST(ValidateCommands, unknownOpsAreUnsupported) {
  auto tree = tinyEngine();
  named(tree->kernels, "rope").op = "spin";
  auto file = engineFileOf(*tree);
  auto engine = saddle::Engine::fromBytes(file.data(), file.size(), "t");
  ASSERT_FALSE(engine.ok());
  EXPECT_EQ(engine.status().code(), StatusCode::Unsupported);
  EXPECT_NE(engine.status().message().find("spin"), std::string::npos);
}

TEST(ValidateCommands, countedDimensionIsTheEntrys) {
  refusesLaunch(
      "embedding",
      [](Found &f) {
        f.operand(0).shape = {3};
        f.operand(2).shape = {3, 8};
      },
      "kernel \"embedding\": counted operand (slice 45): dimension 0 is 3, "
      "expected the entry's tokens = 4");
  // Rows are counted by the indices, not by what they point into.
  refusesLaunch(
      "select_rows",
      [](Found &f) {
        f.operand(1).shape = {2};
        f.operand(2).shape = {2, 8};
      },
      "kernel \"select_rows\": counted operand (slice 45): dimension 0 is 2, "
      "expected the entry's rows = 4");
}

TEST(ValidateCommands, cachesAndBlockTableFollowTheLimits) {
  refusesLaunch(
      "attention", [](Found &f) { f.operand(5).shape = {3, 4}; },
      "kernel \"attention\": block_table (slice 45): dimension 0 is 3, "
      "expected max_batch = 4");
  refusesLaunch(
      "attention", [](Found &f) { f.operand(5).shape = {4, 3}; },
      "kernel \"attention\": block_table (slice 45): dimension 1 is 3, "
      "expected max_seq_len / page_size rounded up = 4");
  refusesLaunch(
      "attention",
      [](Found &f) {
        f.engine.arenas[2]->bytes = 1 << 20;
        f.operand(2).arena = 2;
      },
      "kernel \"attention\": vcache (slice 45) lies in arena \"activations\" "
      "of kind TRANSIENT, expected PAGES");
}

TEST(ValidateCommands, constantsAreNotWritten) {
  for (const char *op : {"rms_norm", "add", "linear"})
    refusesLaunch(
        op,
        [](Found &f) { f.operand(f.launch().operands.size() - 1).arena = 0; },
        std::string("kernel \"") + op +
            "\": output (slice 45) lies in arena \"weights\" of kind CONSTANT, "
            "which no command may write");
  // Two outputs: the first of them counts too.
  refusesLaunch(
      "router_topk",
      [](Found &f) {
        SliceT &weights = f.operand(2);
        weights.arena = 0;
        weights.offset = 0;
      },
      "kernel \"router_topk\": output (slice 45) lies in arena \"weights\" of "
      "kind CONSTANT, which no command may write");
}

void refusesCollective(CollectiveKind kind,
                       const std::function<void(Found &)> &mutate,
                       const std::string &message) {
  refuses(
      [&](EngineT &engine) {
        return find(engine, [&](const CommandT &command) {
          const CollectiveT *collective = command.action.AsCollective();
          return collective && collective->kind == kind;
        });
      },
      mutate, "collective: " + message);
}

constexpr CollectiveKind kReduce = CollectiveKind::ALL_REDUCE_SUM;
constexpr CollectiveKind kGather = CollectiveKind::ALL_GATHER;

TEST(ValidateCommands, collectiveReferences) {
  refusesCollective(
      kReduce, [](Found &f) { f.collective().kind = CollectiveKind::UNKNOWN; },
      "unknown collective kind 0");
  refusesCollective(
      kReduce, [](Found &f) { f.collective().groups = 1; },
      "rank groups 1 do not exist, there are 1");
  refusesCollective(
      kReduce, [](Found &f) { f.collective().input = 99; },
      "input: slice 99 does not exist, there are 45");
  refusesCollective(
      kReduce, [](Found &f) { f.collective().output = 99; },
      "output: slice 99 does not exist, there are 45");
  refusesCollective(
      kReduce, [](Found &f) { f.collective().extent = Extent::UNKNOWN; },
      "unknown extent 0");
  refusesCollective(
      kReduce, [](Found &f) { f.own(f.collective().output).arena = 0; },
      "output (slice 45) lies in arena \"weights\" of kind CONSTANT, which no "
      "command may write");
  refusesCollective(
      kReduce, [](Found &f) { f.own(f.collective().input).shape[0] = 3; },
      "input (slice 45): dimension 0 is 3, expected the entry's tokens = 4");
}

TEST(ValidateCommands, collectiveTypes) {
  refusesCollective(
      kReduce, [](Found &f) { f.own(f.collective().input).dtype = DType::I32; },
      "sums are of f32, bf16 or f16, but the input is i32");
  refusesCollective(
      kGather,
      [](Found &f) { f.own(f.collective().input).dtype = DType::BF16; },
      "the input is bf16, but the output is f32");
}

TEST(ValidateCommands, collectiveShapes) {
  refusesCollective(
      kReduce, [](Found &f) { f.own(f.collective().output).shape[1] = 7; },
      "ALL_REDUCE_SUM over 2 ranks along dimension 0 does not make [4, 7] of "
      "[4, 8]");
  refusesCollective(
      kReduce,
      [](Found &f) {
        SliceT &output = f.own(f.collective().output);
        output.shape = {32};
        output.strides = {1};
      },
      "output (slice 45): dimension 0 is 32, expected the entry's tokens = 4");
  refusesCollective(
      kGather, [](Found &f) { f.own(f.collective().input).shape[1] = 7; },
      "ALL_GATHER over 2 ranks along dimension 1 does not make [4, 16] of "
      "[4, 7]");
  refusesCollective(
      kGather, [&](Found &f) { f.collective().dim = 2; },
      "dimension 2 is split, but the input has 2");
}

TEST(ValidateCommands, reduceScatterSplitsItsInput) {
  auto bend = [](uint64_t columns, uint64_t distance) {
    return [=](Found &f) {
      CollectiveT &collective = f.collective();
      collective.kind = CollectiveKind::REDUCE_SCATTER_SUM;
      collective.dim = 1;
      f.engine.arenas[2]->bytes += 4096;
      SliceT &output = f.own(collective.output);
      output.shape[1] = columns;
      output.offset += distance;
    };
  };
  std::string message = messageAfter([&](EngineT &engine) {
    Found command = find(engine, [](const CommandT &command) {
      return command.action.type == Action::Collective;
    });
    bend(4, 4096)(command);
  });
  EXPECT_EQ(message, "");
  refusesCollective(kReduce, bend(8, 4096),
                    "REDUCE_SCATTER_SUM over 2 ranks along dimension 1 does "
                    "not make [4, 8] of [4, 8]");
  refusesCollective(kReduce, bend(4, 16),
                    "input and output (slices 7 and 45) share bytes");
}

/// Replaces the first all-reduce by a copy of its slice to a place `distance`
/// bytes further, then bends it.
std::string copyAfter(uint64_t distance,
                      const std::function<void(Found &, CopyT &)> &mutate) {
  return messageAfter([&](EngineT &engine) {
    engine.arenas[2]->bytes += 4096;
    Found f = find(engine, [](const CommandT &command) {
      return command.action.type == Action::Collective;
    });
    CopyT copy;
    copy.source = copy.dest = f.collective().input;
    f.own(copy.dest).offset += distance;
    copy.extent = Extent::TOKENS;
    mutate(f, copy);
    f.command.action.Reset();
    f.command.action.Set(std::move(copy));
  });
}

TEST(ValidateCommands, copies) {
  const std::string place = "program 0: entry \"decode\": command 1 "
                            "(model.embed_tokens): copy: ";
  EXPECT_EQ(copyAfter(128, [](Found &, CopyT &) {}), "");
  EXPECT_EQ(copyAfter(124, [](Found &, CopyT &) {}),
            place + "source and dest (slices 7 and 45) share bytes");
  EXPECT_EQ(copyAfter(128, [](Found &, CopyT &c) { c.source = 99; }),
            place + "source: slice 99 does not exist, there are 46");
  EXPECT_EQ(copyAfter(128, [](Found &, CopyT &c) { c.dest = 99; }),
            place + "dest: slice 99 does not exist, there are 46");
  EXPECT_EQ(copyAfter(0, [](Found &f, CopyT &c) { f.own(c.dest).arena = 0; }),
            place + "dest (slice 46) lies in arena \"weights\" of kind "
                    "CONSTANT, which no command may write");
  EXPECT_EQ(copyAfter(128, [](Found &, CopyT &c) { c.extent = Extent(9); }),
            place + "unknown extent 9");
  EXPECT_EQ(
      copyAfter(128, [](Found &f, CopyT &c) { f.own(c.source).shape[0] = 2; }),
      place + "source (slice 46): dimension 0 is 2, expected the entry's "
              "tokens = 4");
  EXPECT_EQ(copyAfter(128, [](Found &f,
                              CopyT &c) { f.own(c.dest).dtype = DType::I32; }),
            place + "the source is f32 [4, 8], but the dest is i32 [4, 8]");
}

TEST(ValidateCommands, unknownActionsAreRefused) {
  // The object API cannot write one, so patch the byte: a Copy becomes a 9.
  auto tree = tinyEngine();
  CommandT &command = *tree->programs[0]->entries[0]->commands[0];
  command.action.Reset();
  command.action.Set(CopyT());
  auto buffer = flatBufferOf(*tree);
  const auto *root = GetEngine(buffer.data());
  const Command *first =
      root->programs()->Get(0)->entries()->Get(0)->commands()->Get(0);
  ASSERT_EQ(first->action_type(), Action::Copy);
  auto table = reinterpret_cast<const flatbuffers::Table *>(first);
  size_t at = size_t(reinterpret_cast<const uint8_t *>(first) - buffer.data()) +
              table->GetOptionalFieldOffset(Command::VT_ACTION_TYPE);
  buffer[at] = 9;
  auto file = packEngineFile(buffer, {});
  auto engine = saddle::Engine::fromBytes(file.data(), file.size(), "t");
  ASSERT_FALSE(engine.ok());
  EXPECT_EQ(engine.status().message(),
            "t: program 0: entry \"decode\": command 0 (model.embed_tokens): "
            "unknown action 9");
}

} // namespace
