// Replicas, token blocks, pipeline stages: engines of every kind load, and one
// bent engine per rule.

#include "test/unit/engine/Mutate.h"

using namespace saddle;
using namespace saddle::schema;

namespace {

/// tp=4, dp=2: replicas {0, 1} and {2, 3}.
TinyOptions replicas(bool tokenBlocks = false) {
  TinyOptions options;
  options.tp = 4;
  options.dp = 2;
  options.tokenBlocks = tokenBlocks;
  return options;
}

/// tp=2, pp=2, two layers.
TinyOptions stages() {
  TinyOptions options;
  options.tp = 2;
  options.pp = 2;
  options.layers = 2;
  return options;
}

/// Command of entry "decode" of `program` that `wanted` accepts; its index goes
/// to `index`.
CommandT &find(EngineT &engine, uint32_t program, size_t &index,
               const std::function<bool(const CommandT &)> &wanted) {
  EntryT &entry = *engine.programs[program]->entries[0];
  for (index = 0;; ++index)
    if (wanted(*entry.commands.at(index)))
      return *entry.commands[index];
}

using Bend = std::function<void(EngineT &, EntryT &, CollectiveT &)>;

/// What the loader says after bending the first collective of that kind and
/// layout in "decode" of program 0; without the place.
std::string bent(const TinyOptions &options, CollectiveKind kind,
                 RowLayout layout, const Bend &bend) {
  std::string place;
  std::string message = messageAfter(
      [&](EngineT &engine) {
        size_t index;
        CommandT &command =
            find(engine, 0, index, [&](const CommandT &candidate) {
              const CollectiveT *found = candidate.action.AsCollective();
              return found && found->kind == kind && found->layout == layout;
            });
        place = "program 0: entry \"decode\": command " +
                std::to_string(index) + " (" + command.place +
                "): collective: ";
        bend(engine, *engine.programs[0]->entries[0],
             *command.action.AsCollective());
      },
      options);
  EXPECT_EQ(message.substr(0, place.size()), place);
  return message.substr(std::min(place.size(), message.size()));
}

constexpr auto kReduce = CollectiveKind::ALL_REDUCE_SUM;
constexpr auto kGather = CollectiveKind::ALL_GATHER;
constexpr auto kScatter = CollectiveKind::REDUCE_SCATTER_SUM;
constexpr auto kNoLayout = RowLayout::UNKNOWN;
constexpr auto kPacked = RowLayout::PACKED;
constexpr auto kBlocks = RowLayout::BLOCKS;

TEST(ValidateTopology, everyTopologyOfTheTinyModelLoads) {
  unsigned loaded = 0;
  for (uint32_t tp : {1, 2, 4, 8})
    for (uint32_t dp : {1, 2, 4, 8})
      for (uint32_t pp : {1, 2, 3})
        for (uint32_t ep : {1, 2, 4})
          for (bool blocks : {false, true}) {
            if (tp % dp || tp / dp > 4 || tp % ep || tp / ep > 4)
              continue;
            TinyOptions options;
            options.tp = tp;
            options.dp = dp;
            options.ep = ep;
            options.pp = pp;
            options.layers = 3;
            options.tokenBlocks = blocks;
            options.layout = blocks ? RowLayout::PADDED : RowLayout::PACKED;
            EXPECT_EQ(messageAfter([](EngineT &) {}, options), "")
                << "tp=" << tp << " dp=" << dp << " ep=" << ep << " pp=" << pp;
            ++loaded;
          }
  EXPECT_GT(loaded, 100u);
}

TEST(ValidateTopology, rankGroupsStayInsideAStage) {
  EXPECT_EQ(
      messageAfter([](EngineT &e) { e.rank_groups[0]->ranks = {0, 2, 1, 3}; },
                   stages()),
      "rank groups 0 (\"tp\"): ranks 0 and 2 of one group are in "
      "pipeline stages 0 and 1");
}

TEST(ValidateTopology, sumsJoinEqualCountsOnly) {
  EXPECT_EQ(bent(replicas(), kReduce, kNoLayout,
                 [](EngineT &, EntryT &, CollectiveT &c) { c.groups = 0; }),
            "the members of a group of \"tp\" have different counts of TOKENS");
  // Every rank has its own token block.
  EXPECT_EQ(bent(replicas(), kReduce, kNoLayout,
                 [](EngineT &, EntryT &entry, CollectiveT &c) {
                   entry.slices.push_back(
                       std::make_unique<SliceT>(*entry.slices[c.input]));
                   entry.slices.back()->shape[0] = 2;
                   c.input = c.output = uint32_t(entry.slices.size() - 1);
                   c.extent = Extent::TOKEN_BLOCK;
                 }),
            "the members of a group of \"attention\" have different counts of "
            "TOKEN_BLOCK");
}

TEST(ValidateTopology, onlyRowsHaveALayout) {
  EXPECT_EQ(bent(replicas(), kReduce, kNoLayout,
                 [](EngineT &, EntryT &, CollectiveT &c) {
                   c.layout = RowLayout::BLOCKS;
                 }),
            "extents TOKENS and TOKENS and layout 1, but rows are neither "
            "gathered nor scattered");
  // Decode has as many rows as tokens, so only the extents tell.
  EXPECT_EQ(bent(replicas(), kReduce, kNoLayout,
                 [](EngineT &, EntryT &, CollectiveT &c) {
                   c.output_extent = Extent::ROWS;
                 }),
            "extents TOKENS and ROWS and layout 0, but rows are neither "
            "gathered nor scattered");
  for (auto layout : {RowLayout::UNKNOWN, RowLayout(5)})
    EXPECT_EQ(
        bent(replicas(), kGather, kPacked,
             [&](EngineT &, EntryT &, CollectiveT &c) { c.layout = layout; }),
        "dimension 0 needs layout BLOCKS, PACKED, PADDED or SHARES, found " +
            std::to_string(unsigned(layout)));
}

TEST(ValidateTopology, layoutsGoWithExtents) {
  EXPECT_EQ(bent(replicas(), kGather, kPacked,
                 [](EngineT &, EntryT &, CollectiveT &c) {
                   c.output_extent = Extent::ALL_ROWS;
                 }),
            "layout PACKED joins TOKENS to ALL_TOKENS or ROWS to ALL_ROWS, not "
            "TOKENS to ALL_ROWS");
  EXPECT_EQ(bent(replicas(), kGather, kPacked,
                 [](EngineT &, EntryT &, CollectiveT &c) {
                   c.layout = RowLayout::BLOCKS;
                 }),
            "layout BLOCKS joins TOKEN_BLOCK to TOKENS, not TOKENS to "
            "ALL_TOKENS");
  EXPECT_EQ(bent(replicas(true), kScatter, kBlocks,
                 [](EngineT &, EntryT &, CollectiveT &c) {
                   c.layout = RowLayout::SHARES;
                 }),
            "layout SHARES joins TOKEN_SHARE to TOKENS, not TOKEN_BLOCK to "
            "TOKENS");
  // A scatter's output is the small side.
  EXPECT_EQ(bent(replicas(true), kScatter, kBlocks,
                 [](EngineT &, EntryT &, CollectiveT &c) {
                   c.layout = RowLayout::PADDED;
                 }),
            "layout PADDED joins TOKENS to ALL_TOKENS or ROWS to ALL_ROWS, not "
            "TOKEN_BLOCK to TOKENS");
}

TEST(ValidateTopology, layoutsGoWithGroups) {
  const std::string packed =
      "layout PACKED needs groups of one rank of each attention replica, in "
      "order (2 ranks each), which those of ";
  auto toAttention = [](EngineT &, EntryT &, CollectiveT &c) { c.groups = 1; };
  EXPECT_EQ(bent(replicas(), kGather, kPacked, toAttention),
            packed + "\"attention\" are not");
  auto toTp = [](EngineT &, EntryT &, CollectiveT &c) { c.groups = 0; };
  EXPECT_EQ(bent(replicas(), kGather, kPacked, toTp),
            packed + "\"tp\" are not");
  auto reversed = [](EngineT &e, EntryT &, CollectiveT &) {
    e.rank_groups[2]->ranks = {0, 2, 3, 1};
  };
  EXPECT_EQ(bent(replicas(), kGather, kPacked, reversed),
            packed + "\"replicas\" are not");

  const std::string blocks =
      "layout BLOCKS needs groups of the ranks of one attention replica, in "
      "order (2 ranks each), which those of ";
  auto toReplicas = [](EngineT &, EntryT &, CollectiveT &c) { c.groups = 2; };
  EXPECT_EQ(bent(replicas(true), kScatter, kBlocks, toReplicas),
            blocks + "\"replicas\" are not");
  auto swapped = [](EngineT &e, EntryT &, CollectiveT &) {
    e.rank_groups[1]->ranks = {0, 1, 3, 2};
  };
  EXPECT_EQ(bent(replicas(true), kScatter, kBlocks, swapped),
            blocks + "\"attention\" are not");
}

TEST(ValidateTopology, blocksDivideTheTokens) {
  TinyOptions options = replicas(true);
  options.maxBatch = 5; // of which a rank would own two and a half
  EXPECT_EQ(messageAfter([](EngineT &) {}, options),
            "program 0: entry \"decode\": command 1 (model.embed_tokens): "
            "collective: extent TOKEN_BLOCK: the entry's 5 tokens are no "
            "multiple of the attention width tp / dp = 2");
  options.tokenShares = true;
  EXPECT_EQ(messageAfter([](EngineT &) {}, options),
            "program 0: entry \"decode\": command 1 (model.embed_tokens): "
            "collective: extent TOKEN_SHARE: the entry's 5 tokens are no "
            "multiple of the attention width tp / dp = 2");
}

TEST(ValidateTopology, countedDimensionsFollowTheExtents) {
  EXPECT_EQ(bent(replicas(), kGather, kPacked,
                 [](EngineT &, EntryT &entry, CollectiveT &c) {
                   entry.slices[c.output]->shape[0] = 4;
                 }),
            "output (slice 31): dimension 0 is 4, expected dp x the entry's "
            "tokens = 8");
}

TEST(ValidateTopology, anEntryHasOneLayoutForEachExtent) {
  std::string message = messageAfter(
      [](EngineT &engine) {
        size_t index;
        CommandT &scatter =
            find(engine, 0, index, [&](const CommandT &command) {
              const CollectiveT *found = command.action.AsCollective();
              return found && found->kind == kScatter;
            });
        scatter.action.AsCollective()->layout = RowLayout::PADDED;
      },
      replicas());
  EXPECT_EQ(message, "program 0: entry \"decode\": command 20 "
                     "(model.layers.0.block_sparse_moe.experts): ALL_TOKENS is "
                     "PADDED here, but PACKED in an earlier command");
}

TEST(ValidateTopology, logitsBelongToTheLastStage) {
  auto drop = [](uint32_t program, const char *name) {
    return messageAfter(
        [&](EngineT &engine) {
          auto &all = engine.programs[program]->entries[0]->bindings;
          all.erase(std::remove_if(all.begin(), all.end(),
                                   [&](auto &b) { return b->name == name; }),
                    all.end());
        },
        stages());
  };
  EXPECT_EQ(drop(1, "logits"), "program 1: entry \"decode\": binding "
                               "\"logits\" is missing");
  EXPECT_EQ(drop(1, "rows"),
            "program 1: entry \"decode\": binding \"rows\" is missing");
  EXPECT_EQ(drop(0, "tokens"),
            "program 0: entry \"decode\": binding \"tokens\" is missing");
  auto add = [](uint32_t program, const char *name, std::vector<uint64_t> shape,
                DType dtype) {
    return messageAfter(
        [&](EngineT &engine) {
          EntryT &entry = *engine.programs[program]->entries[0];
          auto slice = std::make_unique<SliceT>(*entry.slices[0]);
          slice->offset = engine.arenas[3]->bytes;
          engine.arenas[3]->bytes += 4096;
          slice->dtype = dtype;
          slice->shape = shape;
          slice->strides.assign(shape.size(), 1);
          if (shape.size() == 2)
            slice->strides[0] = shape[1];
          entry.slices.push_back(std::move(slice));
          auto binding = std::make_unique<BindingT>();
          binding->name = name;
          binding->slice = uint32_t(entry.slices.size() - 1);
          entry.bindings.push_back(std::move(binding));
        },
        stages());
  };
  EXPECT_EQ(add(0, "logits", {4, 16}, DType::F32),
            "program 0: entry \"decode\": binding \"logits\": unknown name");
  // What a stage does not need does no harm.
  EXPECT_EQ(add(0, "rows", {4}, DType::I32), "");
  EXPECT_EQ(add(1, "tokens", {4}, DType::I32), "");
}

TEST(ValidateTopology, logitsHoldTheRowsOfAllReplicas) {
  std::string message = messageAfter(
      [](EngineT &engine) {
        EntryT &entry = *engine.programs[0]->entries[0];
        entry.slices[named(entry.bindings, "logits").slice]->shape[0] = 4;
      },
      replicas());
  EXPECT_EQ(message, "program 0: entry \"decode\": binding \"logits\": is f32 "
                     "[4, 16], expected f32 [8, 16]");
}

/// What the loader says after bending the first transfer of a program.
std::string bentTransfer(
    uint32_t program, const TinyOptions &options,
    const std::function<void(EngineT &, EntryT &, TransferT &)> &bend) {
  return messageAfter(
      [&](EngineT &engine) {
        size_t index;
        CommandT &command =
            find(engine, program, index, [](const CommandT &candidate) {
              return candidate.action.type == Action::Transfer;
            });
        bend(engine, *engine.programs[program]->entries[0],
             *command.action.AsTransfer());
      },
      options);
}

TEST(ValidateTopology, transfers) {
  const std::string receive = "program 1: entry \"decode\": command 0 "
                              "(model.layers.1.input): transfer: ";
  auto refuses =
      [&](const std::function<void(EngineT &, EntryT &, TransferT &)> &bend,
          const std::string &message) {
        EXPECT_EQ(bentTransfer(1, stages(), bend), receive + message);
      };
  refuses([](EngineT &, EntryT &, TransferT &t) { t.kind = TransferKind(3); },
          "unknown transfer kind 3");
  refuses(
      [](EngineT &, EntryT &, TransferT &t) { t.kind = TransferKind::SEND; },
      "stage 1 of 2 has no stage to send to");
  refuses([](EngineT &, EntryT &, TransferT &t) { t.slice = 99; },
          "slice: slice 99 does not exist, there are 43");
  refuses([](EngineT &, EntryT &, TransferT &t) { t.extent = Extent::UNKNOWN; },
          "unknown extent 0");
  refuses(
      [](EngineT &, EntryT &entry, TransferT &t) {
        entry.slices[t.slice]->arena = 0;
      },
      "slice (slice 6) lies in arena \"weights\" of kind CONSTANT, which no "
      "command may write");
  EXPECT_NE(bentTransfer(0, stages(),
                         [](EngineT &, EntryT &, TransferT &t) {
                           t.kind = TransferKind::RECEIVE;
                         })
                .find("transfer: stage 0 of 2 has no stage to receive from"),
            std::string::npos);
}

TEST(ValidateTopology, transfersNeedStages) {
  std::string message = messageAfter([](EngineT &engine) {
    CommandT &command = *engine.programs[0]->entries[0]->commands[0];
    TransferT transfer;
    transfer.kind = TransferKind::SEND;
    transfer.extent = Extent::TOKENS;
    command.action.Reset();
    command.action.Set(std::move(transfer));
  });
  EXPECT_EQ(message, "program 0: entry \"decode\": command 0 "
                     "(model.embed_tokens): transfer: stage 0 of 1 has no "
                     "stage to send to");
}

TEST(ValidateTopology, everySendHasAReceive) {
  auto without = [](uint32_t program) {
    return messageAfter(
        [&](EngineT &engine) {
          auto &commands = engine.programs[program]->entries[0]->commands;
          commands.erase(std::remove_if(commands.begin(), commands.end(),
                                        [](auto &command) {
                                          return command->action.type ==
                                                 Action::Transfer;
                                        }),
                         commands.end());
        },
        stages());
  };
  EXPECT_EQ(without(0), "entry \"decode\": program 0 sends 0 tensors and "
                        "program 1 receives 1, expected as many and at least "
                        "1");
  EXPECT_EQ(without(1), "entry \"decode\": program 0 sends 1 tensors and "
                        "program 1 receives 0, expected as many and at least "
                        "1");
  std::string message =
      bentTransfer(0, stages(), [](EngineT &, EntryT &entry, TransferT &t) {
        entry.slices.push_back(
            std::make_unique<SliceT>(*entry.slices[t.slice]));
        t.slice = uint32_t(entry.slices.size() - 1);
        entry.slices.back()->shape[1] = 4;
      });
  EXPECT_EQ(message,
            "entry \"decode\": transfer 0: program 0 sends f32 [4, 4] TOKENS "
            "(model.layers.1.input), but program 1 receives f32 [4, 8] TOKENS "
            "(model.layers.1.input)");
}

TEST(ValidateTopology, stagesHaveTheSameEntries) {
  EXPECT_EQ(messageAfter(
                [](EngineT &engine) {
                  auto &entries = engine.programs[1]->entries;
                  std::swap(entries[0], entries[1]);
                },
                stages()),
            "entry 0 is \"decode\" (DECODE, 4 tokens, 4 rows) in program 0, "
            "but \"prefill\" (PREFILL, 8 tokens, 4 rows) in program 1");
  // One more entry in stage 1, as valid as the one that it repeats.
  EXPECT_EQ(messageAfter(
                [](EngineT &engine) {
                  auto &entries = engine.programs[1]->entries;
                  entries.push_back(std::make_unique<EntryT>());
                  TinyOptions options = stages();
                  auto twin = tinyEngine(options);
                  entries.back() = std::move(twin->programs[1]->entries[0]);
                  entries.back()->name = "again";
                },
                stages()),
            "program 1 has 3 entries, but program 0 has 2");
}

} // namespace
