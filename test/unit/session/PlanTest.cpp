// What a session needs is added up and refused before anything of it is taken:
// what a file asks for costs the file nothing.

#include "test/unit/base/Sanitizers.h"
#include "test/unit/session/Sessions.h"

#include "runtime/src/base/HostMemory.h"
#include "runtime/src/cpu/Arenas.h"

#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

namespace saddle::session {
namespace {

using testing::AllOf;

Status errorOf(const schema::EngineT &description,
               const SessionOptions &options = {}) {
  auto engine = engineOf(description);
  auto start = comm::Clock::now();
  Status status = Session::create(engine, "synthetic:1", options).status();
  EXPECT_LT(comm::Clock::now() - start, 2s);
  EXPECT_EQ(status.code(), StatusCode::ResourceExhausted);
  return status;
}

TEST(PlanTest, TablesOfSequencesAreCheckedFirst) {
  TinyOptions tiny;
  tiny.tp = tiny.dp = 4;
  tiny.maxBatch = INT32_MAX;
  if (hostMemory() >> 39 != 0)
    GTEST_SKIP() << "this machine has memory for 2^33 sequences";
  EXPECT_THAT(
      errorOf(*tinyEngine(tiny)).message(),
      AllOf(HasSubstr("tiny: a session needs "),
            HasSubstr(" GiB of the host for tables of 8589934588 sequences and "
                      "0.00 GiB for rank groups, but there are "),
            HasSubstr("; compile with a smaller --max-batch or for fewer "
                      "ranks")));
}

/// Commands of the entry are so many launches of a kernel that keeps as many
/// rows as the launch has between two turns.
std::unique_ptr<schema::EngineT> engineWithBodies(uint64_t tokens,
                                                  size_t launches) {
  TinyOptions tiny;
  tiny.prefillChunk = tokens;
  auto engine = tinyEngine(tiny);
  auto &entry = *engine->programs[0]->entries[1];
  for (auto &command : entry.commands) {
    schema::LaunchT *launch = command->action.AsLaunch();
    if (!launch || engine->kernels[launch->kernel]->op != "rope")
      continue;
    auto fused = std::make_unique<schema::KernelT>();
    fused->name = fused->op = "turn_twice";
    for (std::vector<uint32_t> operands :
         {std::vector<uint32_t>{0, 1, 3}, std::vector<uint32_t>{3, 1, 2}}) {
      auto step = std::make_unique<schema::BodyOpT>();
      step->op = "rope";
      for (const auto &attribute : engine->kernels[launch->kernel]->attributes)
        step->attributes.push_back(
            std::make_unique<schema::AttributeT>(*attribute));
      step->operands = operands;
      fused->body.push_back(std::move(step));
    }
    auto temporary = std::make_unique<schema::TemporaryT>();
    temporary->dtype = schema::DType::F32;
    temporary->shape = {entry.slices[launch->operands[0]]->shape[1]};
    fused->temporaries.push_back(std::move(temporary));
    launch->kernel = uint32_t(engine->kernels.size());
    engine->kernels.push_back(std::move(fused));
    const schema::CommandT fusedLaunch = *command;
    for (size_t i = 1; i < launches; ++i)
      entry.commands.push_back(std::make_unique<schema::CommandT>(fusedLaunch));
    break;
  }
  return engine;
}

TEST(PlanTest, RowsThatBodiesKeepAreCheckedFirst) {
  // 16 f32 of 2^20 tokens are 64 MiB.
  EXPECT_THAT(errorOf(*engineWithBodies(1 << 20, 20000)).message(),
              HasSubstr("tiny: the engine needs 12"));
  EXPECT_TRUE(
      Session::create(engineOf(*engineWithBodies(8, 3)), "synthetic:1", {})
          .status()
          .ok());
}

TEST(PlanTest, PagesThatTakeTheRestLeaveATenthOfIt) {
  if (!kTakesLimits)
    GTEST_SKIP() << "sanitizers need more";
  TinyOptions tiny;
  tiny.maxSeqLen = 1 << 22; // a GiB of pages for four sequences
  auto engine = engineOf(*tinyEngine(tiny));
  pid_t child = fork();
  if (child == 0) {
    struct rlimit little;
    getrlimit(RLIMIT_DATA, &little);
    little.rlim_cur = 256 << 20;
    setrlimit(RLIMIT_DATA, &little);
    auto chosen = cpu::planStates(engine->root(), 0);
    if (!chosen.ok())
      _exit(1);
    // Nine tenths: ten are the most that there is room for.
    uint64_t tokens = chosen->pages * 4 * 10 / 9;
    bool fits = cpu::planStates(engine->root(), tokens - 100).ok();
    bool more = cpu::planStates(engine->root(), tokens + 1000).ok();
    _exit(fits && !more ? 0 : 2);
  }
  int result = -1;
  waitpid(child, &result, 0);
  EXPECT_EQ(result, 0);
}

TEST(PlanTest, PagesTakeWhatActivationsLeave) {
  if (!kTakesLimits)
    GTEST_SKIP() << "sanitizers need more";
  TinyOptions tiny;
  tiny.maxSeqLen = 1 << 22;
  auto tree = tinyEngine(tiny);
  constexpr uint64_t kActivations = 128 << 20;
  for (auto &entry : tree->programs[0]->entries)
    for (auto &slice : entry->slices)
      if (tree->arenas[slice->arena]->kind == schema::ArenaKind::TRANSIENT)
        slice->offset += kActivations;
  for (auto &arena : tree->arenas)
    if (arena->kind == schema::ArenaKind::TRANSIENT)
      arena->bytes += kActivations;
  auto engine = engineOf(*tree);
  pid_t child = fork();
  if (child == 0) {
    struct rlimit little;
    getrlimit(RLIMIT_DATA, &little);
    little.rlim_cur = 256 << 20;
    setrlimit(RLIMIT_DATA, &little);
    auto chosen = cpu::planStates(engine->root(), 0);
    if (!chosen.ok())
      _exit(1);
    // Keys and values of 4 tokens, 8 numbers each.
    _exit(chosen->pages * (2 * 4 * 8 * 4) <= 128 << 20 ? 0 : 2);
  }
  int result = -1;
  waitpid(child, &result, 0);
  EXPECT_EQ(result, 0);
}

TEST(PlanTest, WhatRanksResolveIsCheckedFirst) {
  if (!kTakesLimits)
    GTEST_SKIP() << "sanitizers need more";
  // 4096 stages would need as many layers, so ranks are of one stage; each of
  // them resolves every slice of the file.
  auto engine = tinyEngine();
  auto &slices = engine->programs[0]->entries[0]->slices;
  const schema::SliceT slice = *slices[0];
  for (int i = 0; i < 400000; ++i)
    slices.push_back(std::make_unique<schema::SliceT>(slice));
  // 400,000 slices of three views each in a process that may have 64 MiB.
  struct rlimit before, little;
  ASSERT_EQ(getrlimit(RLIMIT_AS, &before), 0);
  auto file = engineOf(*engine);
  pid_t child = fork();
  if (child == 0) {
    little = before;
    little.rlim_cur = 64 << 20;
    setrlimit(RLIMIT_AS, &little);
    Status status = Session::create(file, "synthetic:1", {}).status();
    bool isRefused =
        status.code() == StatusCode::ResourceExhausted &&
        status.message().find("the engine needs 0.") != std::string::npos;
    _exit(isRefused ? 0 : 1);
  }
  int result = -1;
  waitpid(child, &result, 0);
  EXPECT_EQ(result, 0);
}

} // namespace
} // namespace saddle::session
