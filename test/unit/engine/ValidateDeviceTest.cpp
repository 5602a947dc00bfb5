// Engines for devices: modules, functions, scratch and exchange memory; one
// bent engine per rule.

#include "runtime/src/engine/EngineFile.h"
#include "test/unit/cuda/DeviceEngine.h"
#include "test/unit/engine/Mutate.h"

using namespace saddle;
using namespace saddle::schema;

namespace {

/// Two stages of two ranks: rank groups "tp" and all kinds of commands but
/// copies.
TinyOptions twoStages() {
  TinyOptions options;
  options.tp = options.pp = options.layers = 2;
  return options;
}

constexpr size_t kImageBytes = 4096; // of DeviceEngine.h

StatusOr<std::unique_ptr<saddle::Engine>> loadAfter(const Mutation &mutate,
                                                    size_t segments) {
  auto tree = cuda::deviceEngine(twoStages());
  mutate(*tree);
  std::vector<uint8_t> image(segments);
  auto file = packEngineFile(flatBufferOf(*tree), image);
  return saddle::Engine::fromBytes(file.data(), file.size(), "t");
}

/// As messageAfter, of a device engine.
std::string deviceMessage(const Mutation &mutate,
                          size_t segments = kImageBytes) {
  auto engine = loadAfter(mutate, segments);
  if (engine.ok())
    return "";
  EXPECT_EQ(engine.status().code(), StatusCode::DataLoss);
  return engine.status().message().substr(3);
}

template <typename Action>
Action &firstOf(EntryT &entry, Action *(ActionUnion::*as)()) {
  for (auto &command : entry.commands)
    if (Action *action = (command->action.*as)())
      return *action;
  std::abort();
}

EntryT &decode(EngineT &e, size_t stage = 0) {
  return *e.programs[stage]->entries[0];
}
LaunchT &launch(EngineT &e) {
  return firstOf(decode(e), &ActionUnion::AsLaunch);
}
CollectiveT &collective(EngineT &e) {
  return firstOf(decode(e), &ActionUnion::AsCollective);
}
TransferT &send(EngineT &e) {
  return firstOf(decode(e), &ActionUnion::AsTransfer);
}

/// One behind the index of a new slice of bytes in the decode entry.
uint32_t bytes(EngineT &e, const std::string &arena, uint64_t offset,
               uint64_t size, DType dtype = DType::U8) {
  auto slice = std::make_unique<SliceT>();
  for (size_t i = 0; i < e.arenas.size(); ++i)
    if (e.arenas[i]->name == arena) {
      slice->arena = uint32_t(i);
      e.arenas[i]->alignment = 256;
      e.arenas[i]->bytes = std::max(e.arenas[i]->bytes, offset + 4 * size);
    }
  slice->offset = offset;
  slice->dtype = dtype;
  slice->shape = {size};
  slice->strides = {1};
  decode(e).slices.push_back(std::move(slice));
  return uint32_t(decode(e).slices.size());
}

constexpr const char *kFirstLaunch =
    "program 0: entry \"decode\": command 0 (model.embed_tokens): kernel "
    "\"0.0.0\": ";
constexpr const char *kFirstCollective =
    "program 0: entry \"decode\": command 1 (model.embed_tokens): collective: ";

TEST(ValidateDevice, loadsAndGivesItsSegments) {
  auto engine = loadAfter([](EngineT &) {}, kImageBytes);
  ASSERT_TRUE(engine.ok()) << engine.status().message();
  Bytes segment = (*engine)->segment(*(*engine)->root().modules()->Get(0));
  EXPECT_EQ(segment.size(), kImageBytes);
  EXPECT_TRUE(std::all_of(segment.begin(), segment.end(),
                          [](uint8_t byte) { return byte == 0; }));
}

TEST(ValidateDevice, modules) {
  EXPECT_EQ(deviceMessage([](EngineT &e) { e.modules[0]->offset = 64; }, 8192),
            "module \"code\": offset 64, expected a multiple of 4096");
  std::string outside = "module \"code\": 4096 bytes at offset 4096 do not lie "
                        "in the 4096 bytes of segments";
  EXPECT_EQ(deviceMessage([](EngineT &e) { e.modules[0]->offset = 4096; }),
            outside);
  // offset + bytes wraps around to a small number.
  EXPECT_EQ(deviceMessage([](EngineT &e) { e.modules[0]->offset = -4096; }),
            "module \"code\": 4096 bytes at offset 18446744073709547520 do not "
            "lie in the 4096 bytes of segments");
  EXPECT_EQ(deviceMessage([](EngineT &) {}, 0),
            "module \"code\": 4096 bytes at offset 0 do not lie in the 0 bytes "
            "of segments");
  EXPECT_EQ(deviceMessage([](EngineT &e) { e.modules[0]->bytes = 0; }),
            "module \"code\": 0 bytes at offset 0 do not lie in the 4096 bytes "
            "of segments");
  EXPECT_NE(deviceMessage([](EngineT &e) {
              e.modules[0]->hash = "abc";
            }).find("module \"code\": damaged: its bytes have hash "),
            std::string::npos);
  EXPECT_EQ(deviceMessage([](EngineT &e) {
              e.modules.push_back(std::make_unique<ModuleT>(*e.modules[0]));
            }),
            "two modules are named \"code\"");
}

TEST(ValidateDevice, functions) {
  auto bend = [](void (*change)(FunctionT &)) {
    return deviceMessage(
        [&](EngineT &e) { change(*e.kernels[0]->functions[0]); });
  };
  std::string at = "kernel \"0.0.0\": function \"0.0.0\": ";
  EXPECT_EQ(bend([](FunctionT &f) { f.module_ = 1; }),
            at + "module 1 does not exist, there are 1");
  EXPECT_EQ(bend([](FunctionT &f) { f.grid_x = 0; }),
            at + "grid x is 0, expected 1 to 2147483647");
  EXPECT_EQ(bend([](FunctionT &f) { f.grid_y = 65536; }),
            at + "grid y is 65536, expected 1 to 65535");
  EXPECT_EQ(bend([](FunctionT &f) { f.grid_z = 65536; }),
            at + "grid z is 65536, expected 1 to 65535");
  // Of 2 CTAs along x.
  EXPECT_EQ(bend([](FunctionT &f) { f.exclusive_grid = 1; }),
            at + "exclusive grid is 1, expected 0 or grid x (2) to 128");
  EXPECT_EQ(bend([](FunctionT &f) { f.exclusive_grid = 129; }),
            at + "exclusive grid is 129, expected 0 or grid x (2) to 128");
  EXPECT_EQ(bend([](FunctionT &f) { f.exclusive_grid = 128; }), "");
  EXPECT_EQ(bend([](FunctionT &f) { f.block = 1025; }),
            at + "block is 1025, expected 1 to 1024");
  EXPECT_EQ(bend([](FunctionT &f) { f.shared_bytes = 232449; }),
            at + "232449 bytes of shared memory, expected at most 232448");
  EXPECT_EQ(deviceMessage([](EngineT &e) { e.kernels[0]->functions.clear(); }),
            "kernel \"0.0.0\": has no functions, expected at least 1 for "
            "target \"sm_90a\"");
  EXPECT_EQ(deviceMessage([](EngineT &e) {
              for (int i = 0; i < 5; ++i) {
                auto attribute = std::make_unique<AttributeT>();
                attribute->name = "r" + std::to_string(i);
                attribute->kind = AttributeKind::RANK;
                e.kernels[1]->attributes.push_back(std::move(attribute));
              }
            }),
            "kernel \"0.0.1\": has 5 RANK attributes, expected at most 4");
}

TEST(ValidateDevice, kernelsOfOtherCommands) {
  std::string at = kFirstCollective;
  EXPECT_EQ(deviceMessage([](EngineT &e) { collective(e).kernel = 0; }),
            at + "has no kernel, expected one for target \"sm_90a\"");
  EXPECT_EQ(deviceMessage([](EngineT &e) {
              collective(e).kernel = uint32_t(e.kernels.size()) + 1;
            }).substr(0, at.size() + 7),
            at + "kernel ");
  EXPECT_EQ(deviceMessage([](EngineT &e) { collective(e).kernel = 1; }),
            at + "kernel \"0.0.0\" is of op \"embedding\", expected "
                 "\"all_reduce_sum\"");
  EXPECT_NE(deviceMessage([](EngineT &e) { send(e).kernel = 1; })
                .find("transfer: kernel \"0.0.0\" is of op \"embedding\", "
                      "expected \"send\""),
            std::string::npos);
}

TEST(ValidateDevice, workspace) {
  // The tiny engine's activations end below 64 KiB.
  constexpr uint64_t kFree = 65536;
  EXPECT_EQ(deviceMessage([](EngineT &e) {
              launch(e).workspace = bytes(e, "activations", kFree, 256);
            }),
            "");
  std::string at = kFirstLaunch;
  EXPECT_EQ(deviceMessage([](EngineT &e) {
              launch(e).workspace = 9999;
            }).substr(0, at.size() + 21),
            at + "workspace: slice 9998");
  EXPECT_NE(deviceMessage([](EngineT &e) {
              launch(e).workspace = bytes(e, "io", kFree, 256);
            }).find("lies in arena \"io\" of kind IO, expected TRANSIENT"),
            std::string::npos);
  EXPECT_NE(deviceMessage([](EngineT &e) {
              launch(e).workspace =
                  bytes(e, "activations", kFree, 256, DType::F32);
            }).find("is f32 [256], expected a vector of u8"),
            std::string::npos);
  EXPECT_NE(
      deviceMessage([](EngineT &e) {
        launch(e).workspace = bytes(e, "activations", kFree + 64, 256);
      })
          .find("offset 65600 in arena \"activations\" (alignment 256) is "
                "not aligned to 256"),
      std::string::npos);
  // The embedding's result is the first activation.
  EXPECT_NE(deviceMessage([](EngineT &e) {
              launch(e).workspace = bytes(e, "activations", 0, 256);
            }).find("workspace and operand (slices "),
            std::string::npos);
}

TEST(ValidateDevice, operands) {
  auto message = deviceMessage([](EngineT &e) {
    SliceT &out = *decode(e).slices[launch(e).operands.back()];
    out.arena = uint32_t(e.arenas.size()) - 1;
    out.offset = 0;
  });
  EXPECT_NE(message.find("output (slice "), std::string::npos) << message;
  EXPECT_NE(message.find("lies in arena \"exchange\" of kind EXCHANGE, which "
                         "holds exchange memory only"),
            std::string::npos)
      << message;
}

TEST(ValidateDevice, exchangeMemory) {
  EXPECT_NE(deviceMessage([](EngineT &e) {
              collective(e).exchange = bytes(e, "activations", 65536, 256);
            }).find("exchange memory (slice "),
            std::string::npos);
  // Another place than the collectives behind it use.
  std::string message = deviceMessage([](EngineT &e) {
    collective(e).exchange = bytes(e, "exchange", 4096, 512);
  });
  EXPECT_NE(message.find("exchange memory of groups \"tp\" is 512 bytes at "
                         "offset 0, but 512 at 4096 in an earlier command"),
            std::string::npos)
      << message;
  // Stage 1 receives elsewhere than stage 0 sends.
  message = deviceMessage([](EngineT &e) {
    for (auto &slice : decode(e, 1).slices)
      if (slice->arena + 1 == e.arenas.size() && slice->offset == 512)
        slice->offset = 1024;
    e.arenas.back()->bytes = 2048;
  });
  EXPECT_NE(message.find("exchange memory of transfers is 512 bytes at offset "
                         "1024, but 512 at 512 in an earlier command"),
            std::string::npos)
      << message;
  // Transfers over the end of the groups' block.
  message = deviceMessage([](EngineT &e) {
    for (auto &program : e.programs)
      for (auto &entry : program->entries)
        for (auto &slice : entry->slices)
          if (slice->arena + 1 == e.arenas.size() && slice->offset == 512)
            slice->offset = 256;
  });
  EXPECT_NE(message.find("exchange memory of transfers overlaps that of groups "
                         "\"tp\""),
            std::string::npos)
      << message;
}

/// The n-th launch of the op in the first entry.
LaunchT &launchOf(EngineT &e, const std::string &op, unsigned n = 0) {
  for (auto &command : decode(e).commands)
    if (LaunchT *found = command->action.AsLaunch())
      if (e.kernels[found->kernel]->op == op && n-- == 0)
        return *found;
  std::abort();
}

/// A step of a body, with the attributes of the kernel that a launch has.
std::unique_ptr<BodyOpT> stepOf(const EngineT &e, const LaunchT &from,
                                std::vector<uint32_t> operands) {
  const KernelT &kernel = *e.kernels[from.kernel];
  auto step = std::make_unique<BodyOpT>();
  step->op = kernel.op;
  step->operands = std::move(operands);
  for (const auto &attribute : kernel.attributes)
    step->attributes.push_back(std::make_unique<AttributeT>(*attribute));
  return step;
}

/// Puts a kernel that exchanges sums in the place of the entry's kv_append: its
/// body is what stands before, with an all-reduce in the middle. The result is
/// a valid engine.
LaunchT &exchangingLaunch(EngineT &e) {
  const LaunchT &sums = launchOf(e, "sum_of_squares"),
                &q = launchOf(e, "rms_scale"), &k = launchOf(e, "rms_scale", 1),
                &turned = launchOf(e, "rope");
  LaunchT &append = launchOf(e, "kv_append");
  auto fused = std::make_unique<KernelT>();
  fused->name = fused->op = "qk_norm_all_reduce_rope_kv_append";
  for (const auto &function : e.kernels[append.kernel]->functions)
    fused->functions.push_back(std::make_unique<FunctionT>(*function));
  auto &body = fused->body;
  body.push_back(stepOf(e, sums, {0, 1, 10}));
  body.push_back(std::make_unique<BodyOpT>());
  body.back()->op = "all_reduce_sum";
  body.back()->operands = {10, 11};
  body.push_back(stepOf(e, q, {0, 11, 2, 12}));
  body.push_back(stepOf(e, k, {1, 11, 3, 13}));
  body.push_back(stepOf(e, turned, {12, 4, 7}));
  body.push_back(stepOf(e, turned, {13, 4, 14}));
  body.push_back(stepOf(e, append, {14, 5, 6, 8, 9}));
  auto rowOf = [&](uint32_t slice) {
    return decode(e).slices[slice]->shape[1];
  };
  for (uint64_t columns : {uint64_t(2), uint64_t(2), rowOf(q.operands[0]),
                           rowOf(k.operands[0]), rowOf(k.operands[0])}) {
    auto temporary = std::make_unique<TemporaryT>();
    temporary->dtype = DType::F32;
    temporary->shape = {columns};
    fused->temporaries.push_back(std::move(temporary));
  }
  append.operands = {q.operands[0],      k.operands[0],      q.operands[2],
                     k.operands[2],      turned.operands[1], append.operands[1],
                     append.operands[2], turned.operands[2], append.operands[3],
                     append.operands[4]};
  append.kernel = e.kernels.size();
  e.kernels.push_back(std::move(fused));
  append.groups = 1;
  append.exchange = collective(e).exchange;
  return append;
}

TEST(ValidateDevice, launchesThatExchange) {
  EXPECT_EQ(deviceMessage([](EngineT &e) { exchangingLaunch(e); }), "");
  EXPECT_NE(deviceMessage([](EngineT &e) {
              exchangingLaunch(e).groups = 0;
            }).find("rank groups -1 do not exist, there are 1"),
            std::string::npos);
  EXPECT_NE(deviceMessage([](EngineT &e) {
              exchangingLaunch(e).groups = 9;
            }).find("rank groups 8 do not exist, there are 1"),
            std::string::npos);
  EXPECT_NE(deviceMessage([](EngineT &e) {
              exchangingLaunch(e).exchange = 0;
            }).find("has no exchange memory, but its op needs some"),
            std::string::npos);
  for (auto mutate :
       {+[](EngineT &e) { launch(e).groups = 1; },
        +[](EngineT &e) { launch(e).exchange = collective(e).exchange; }})
    EXPECT_EQ(deviceMessage(mutate),
              "program 0: entry \"decode\": command 0 (model.embed_tokens): "
              "kernel \"0.0.0\": has rank groups or exchange memory, but "
              "its op exchanges nothing");
}

TEST(ValidateDevice, limitsOfDeviceTables) {
  auto engine = loadAfter(
      [](EngineT &e) {
        e.topology->tp = 128;
        e.topology->dp = 128;
      },
      kImageBytes);
  ASSERT_FALSE(engine.ok());
  EXPECT_EQ(engine.status().code(), StatusCode::Unsupported);
  EXPECT_EQ(engine.status().message(),
            "t: topology: dp = 128, but target \"sm_90a\" takes up to 64 "
            "attention replicas");
  engine =
      loadAfter([](EngineT &e) { e.rank_groups[0]->size = 65; }, kImageBytes);
  ASSERT_FALSE(engine.ok());
  EXPECT_EQ(engine.status().message(),
            "t: rank groups \"tp\": 65 ranks in a group, but target \"sm_90a\" "
            "takes up to 64");
}

// Nothing of it on the CPU.
TEST(ValidateDevice, cpuEngines) {
  EXPECT_EQ(messageAfter([](EngineT &e) {
              e.modules.push_back(std::make_unique<ModuleT>());
              e.modules[0]->name = "code";
            }),
            "module \"code\": an engine for target \"cpu\" has no modules");
  EXPECT_EQ(messageAfter([](EngineT &e) {
              e.kernels[0]->functions.push_back(std::make_unique<FunctionT>());
              e.kernels[0]->functions[0]->name = "f";
            }),
            "kernel \"embedding\": has functions, which an engine for target "
            "\"cpu\" cannot have");
  EXPECT_EQ(
      messageAfter([](EngineT &e) { e.arenas[2]->kind = ArenaKind::EXCHANGE; }),
      "arena \"activations\": kind EXCHANGE, which an engine for target "
      "\"cpu\" cannot have");
  std::string at = "program 0: entry \"decode\": command 0 "
                   "(model.embed_tokens): kernel \"embedding\": ";
  EXPECT_EQ(messageAfter([](EngineT &e) { launch(e).workspace = 1; }),
            at + "has a workspace, which an engine for target \"cpu\" cannot "
                 "have");
  EXPECT_EQ(messageAfter([](EngineT &e) { collective(e).exchange = 1; }),
            std::string(kFirstCollective) +
                "has exchange memory, which an engine for target \"cpu\" "
                "cannot have");
  EXPECT_EQ(messageAfter([](EngineT &e) { collective(e).kernel = 1; }),
            std::string(kFirstCollective) +
                "has a kernel, which an engine for target \"cpu\" cannot have");
  auto tree = tinyEngine(twoStages());
  exchangingLaunch(*tree).exchange = 0;
  auto file = packEngineFile(flatBufferOf(*tree), {});
  auto engine = saddle::Engine::fromBytes(file.data(), file.size(), "t");
  ASSERT_FALSE(engine.ok());
  EXPECT_EQ(engine.status().code(), StatusCode::Unsupported);
  EXPECT_NE(engine.status().message().find(
                "its op exchanges data inside a kernel, which target \"cpu\" "
                "cannot"),
            std::string::npos);
}

} // namespace
