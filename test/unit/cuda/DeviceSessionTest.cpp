// Whole sessions on a fake device that runs reference kernels: what reaches the
// kernels must be what the CPU target computes with, to the bit.

#include "runtime/src/base/HostMemory.h"
#include "runtime/src/weights/PackedFolder.h"
#include "test/unit/base/TemporaryFolder.h"
#include "test/unit/cuda/DeviceSessions.h"

#include <fstream>
#include <set>

namespace saddle::cuda {
namespace {

using session::kPrompt;
using testing::HasSubstr;

struct Shape {
  const char *name;
  uint32_t tp, dp, pp;
  bool tokenBlocks;
  uint64_t maxSeqLen;
};

TinyOptions tinyOf(const Shape &shape) {
  TinyOptions tiny;
  tiny.tp = shape.tp;
  tiny.dp = shape.dp;
  tiny.pp = shape.pp;
  tiny.layers = 2;
  tiny.tokenBlocks = shape.tokenBlocks;
  tiny.maxSeqLen = shape.maxSeqLen;
  return tiny;
}

/// Logits of a step that must succeed, through the session's own buffer.
Rows stepIntoBuffer(session::Session &session,
                    const std::vector<SequenceInput> &inputs) {
  size_t floats = session::rowsOf(inputs) * session::kVocab;
  auto buffer = session.outputBuffer("logits", session::rowsOf(inputs));
  EXPECT_TRUE(buffer.ok()) << buffer.status().message();
  auto *logits = static_cast<float *>(*buffer);
  std::fill_n(logits, floats, NAN);
  session::WantedOutput output = {"logits", logits, floats * sizeof(float)};
  Status status =
      session.step(inputs, Span<const session::WantedOutput>(&output, 1));
  EXPECT_TRUE(status.ok()) << status.message();
  return Rows(logits, logits + floats);
}

/// Two prompts of different lengths, two decode steps of both, then another
/// prompt: all logits in order.
Rows runAll(session::Session &session, bool intoBuffer = false) {
  Rows all;
  auto add = [&](const std::vector<SequenceInput> &inputs) {
    Rows rows = intoBuffer ? stepIntoBuffer(session, inputs)
                           : session::step(session, inputs);
    all.insert(all.end(), rows.begin(), rows.end());
  };
  uint32_t a = *session.addSequence(), b = *session.addSequence();
  const Tokens shortPrompt = {7, 2}, token = {5}, other = {11};
  add({{a, kPrompt, LogitsWanted::All}, {b, shortPrompt, LogitsWanted::Last}});
  add({{a, token, LogitsWanted::Last}, {b, other, LogitsWanted::Last}});
  add({{b, token, LogitsWanted::Last}});
  EXPECT_TRUE(session.removeSequence(a).ok());
  uint32_t c = *session.addSequence();
  add({{c, shortPrompt, LogitsWanted::Last}, {b, token, LogitsWanted::Last}});
  return all;
}

Rows onCpu(const Shape &shape) {
  auto session = session::open(tinyOf(shape));
  return runAll(*session);
}

class DeviceSessionTest : public testing::TestWithParam<Shape> {};

TEST_P(DeviceSessionTest, LogitsAreThoseOfTheCpuTarget) {
  auto engine = load(*deviceEngine(tinyOf(GetParam())));
  FakeDevice fake(engine, int(engine->worldSize()));
  auto session = makeSession(fake, engine);
  ASSERT_TRUE(session.ok()) << session.status().message();
  EXPECT_EQ((*session)->deviceTime().count(), 0);
  EXPECT_EQ(runAll(**session), onCpu(GetParam()));
  // The fake says that every batch takes a millisecond.
  EXPECT_EQ((*session)->deviceTime() % std::chrono::milliseconds(1),
            std::chrono::nanoseconds(0));
  EXPECT_GE((*session)->deviceTime(), std::chrono::milliseconds(1));
  for (const FakeDevice::Launch &launch : fake.launches())
    EXPECT_TRUE(launch.isReplay) << launch.function;
}

TEST_P(DeviceSessionTest, RanksWriteIntoTheSessionsBuffer) {
  auto engine = load(*deviceEngine(tinyOf(GetParam())));
  FakeDevice fake(engine, int(engine->worldSize()));
  auto session = makeSession(fake, engine);
  ASSERT_TRUE(session.ok()) << session.status().message();
  EXPECT_EQ(runAll(**session, /*intoBuffer=*/true), onCpu(GetParam()));
}

TEST_P(DeviceSessionTest, OneByOneGivesTheSameBits) {
  auto engine = load(*deviceEngine(tinyOf(GetParam())));
  FakeDevice fake(engine, int(engine->worldSize()));
  SessionOptions options;
  std::atomic<size_t> hooked = 0;
  options.beforeCommand = [&](uint32_t, const char *) {
    ++hooked;
    return backend::Fault::None;
  };
  auto session = makeSession(fake, engine, options);
  ASSERT_TRUE(session.ok()) << session.status().message();
  EXPECT_EQ(runAll(**session), onCpu(GetParam()));
  EXPECT_EQ(fake.launches().size(), hooked);
  for (const FakeDevice::Launch &launch : fake.launches())
    EXPECT_FALSE(launch.isReplay) << launch.function;
}

TEST_P(DeviceSessionTest, PackedWeightsAreReadAsTheyLie) {
  auto engine = load(*deviceEngine(tinyOf(GetParam())));
  TemporaryFolder folder;
  const std::string packed = folder.path("packed");
  auto seed = WeightSource::open(engine->root(), "synthetic:7");
  ASSERT_TRUE(seed.ok());
  ASSERT_TRUE(weights::packWeights(engine->root(), **seed, "7", packed,
                                   [](uint64_t, uint64_t) { return true; })
                  .ok());
  {
    FakeDevice fake(engine, int(engine->worldSize()));
    auto session = makeSession(fake, engine, {}, packed);
    ASSERT_TRUE(session.ok()) << session.status().message();
    EXPECT_EQ(runAll(**session), onCpu(GetParam()));
  }
  // A byte that the disk lost is not computed with.
  std::fstream file(weights::packedFile(packed, 0),
                    std::ios::in | std::ios::out | std::ios::binary);
  file.seekp(std::streamoff(weights::kPackedPage) + 8);
  file.write("\x55\xaa\x55", 3);
  file.close();
  FakeDevice fake(engine, int(engine->worldSize()));
  auto session = makeSession(fake, engine, {}, packed);
  EXPECT_THAT(session.status().message(),
              HasSubstr("rank 0: " + weights::packedFile(packed, 0) +
                        ": bytes 4096 to "));
}

TEST_P(DeviceSessionTest, RanksMayShareADevice) {
  auto engine = load(*deviceEngine(tinyOf(GetParam())));
  FakeDevice fake(engine, 1);
  SessionOptions options;
  options.shareDevices = true;
  auto session = makeSession(fake, engine, options);
  ASSERT_TRUE(session.ok()) << session.status().message();
  EXPECT_EQ(runAll(**session), onCpu(GetParam()));
  for (const FakeDevice::Launch &launch : fake.launches())
    EXPECT_FALSE(launch.overlaps && engine->worldSize() > 1) << launch.function;
}

// 20,000 tokens of 4 a page make a block table of 80 KB, which is copied by
// rows.
INSTANTIATE_TEST_SUITE_P(
    Topologies, DeviceSessionTest,
    testing::Values(Shape{"single", 1, 1, 1, false, 16},
                    Shape{"longTable", 1, 1, 1, false, 20000},
                    Shape{"tp4", 4, 1, 1, false, 16},
                    Shape{"stagesOfFour", 4, 1, 2, false, 16},
                    Shape{"replicasInStages", 4, 2, 2, false, 16},
                    Shape{"tokenBlocks", 2, 1, 1, true, 16},
                    Shape{"replicas", 4, 2, 1, false, 16},
                    Shape{"stages", 2, 1, 2, false, 20000}),
    [](const auto &info) { return info.param.name; });

TEST(DeviceSessionDetailTest, OnlyKernelsThatFollowKernelsOverlap) {
  auto engine = load(*deviceEngine({}));
  FakeDevice fake(engine, 1);
  auto session = makeSession(fake, engine);
  ASSERT_TRUE(session.ok()) << session.status().message();
  uint32_t sequence = *(*session)->addSequence();
  session::step(**session,
                {{sequence, {kPrompt.data(), 1}, LogitsWanted::Last}});
  auto launches = fake.launches();
  ASSERT_GT(launches.size(), 2u);
  for (size_t i = 0; i < launches.size(); ++i)
    EXPECT_EQ(launches[i].overlaps, i > 0) << i;
}

/// CTAs of the collectives (which have an exclusive grid of 128) and of all
/// other launches of a step on two ranks.
std::pair<std::set<uint32_t>, std::set<uint32_t>>
blocksOn(int devices, int multiprocessors) {
  TinyOptions tiny;
  tiny.tp = 2;
  auto description = deviceEngine(tiny);
  std::set<std::string> wide;
  for (auto &kernel : description->kernels)
    if (kernel->op == "all_reduce_sum" || kernel->op == "all_gather") {
      kernel->functions[0]->exclusive_grid = 128;
      wide.insert(kernel->functions[0]->name);
    }
  auto engine = load(*description);
  FakeDevice fake(engine, devices);
  fake.multiprocessors = multiprocessors;
  SessionOptions options;
  options.shareDevices = true;
  auto session = makeSession(fake, engine, options);
  EXPECT_TRUE(session.ok()) << session.status().message();
  uint32_t sequence = *(*session)->addSequence();
  session::step(**session,
                {{sequence, {kPrompt.data(), 1}, LogitsWanted::Last}});
  std::pair<std::set<uint32_t>, std::set<uint32_t>> blocks;
  for (const FakeDevice::Launch &launch : fake.launches())
    (wide.count(launch.function) ? blocks.first : blocks.second)
        .insert(launch.blocks);
  return blocks;
}

TEST(DeviceSessionDetailTest, ExclusiveGridsNeedDevicesOfTheirOwn) {
  using Blocks = std::set<uint32_t>; // deviceEngine(): 2 CTAs
  EXPECT_EQ(blocksOn(2, 132), std::pair(Blocks{128}, Blocks{2}));
  EXPECT_EQ(blocksOn(1, 132), std::pair(Blocks{2}, Blocks{2}));
  // Not all would be resident.
  EXPECT_EQ(blocksOn(2, 128), std::pair(Blocks{128}, Blocks{2}));
  EXPECT_EQ(blocksOn(2, 127), std::pair(Blocks{2}, Blocks{2}));
}

/// A session of one rank of `tiny` on one device.
struct AloneSession {
  AloneSession(const TinyOptions &tiny, uint32_t rank)
      : engine(load(*deviceEngine(tiny))), fake(engine, 1) {
    fake.alone = rank;
    SessionOptions options;
    options.alone = rank;
    auto made = makeSession(fake, engine, options);
    EXPECT_TRUE(made.ok()) << made.status().message();
    session = std::move(*made);
  }
  std::shared_ptr<const Engine> engine;
  FakeDevice fake;
  std::unique_ptr<session::Session> session;
};

TEST(DeviceAloneTest, ARankStepsWithItselfAsItsPeers) {
  for (bool tokenBlocks : {false, true})
    for (uint32_t rank : {0u, 3u}) {
      TinyOptions tiny;
      tiny.tp = 4;
      tiny.layers = 2;
      tiny.tokenBlocks = tokenBlocks;
      AloneSession alone(tiny, rank);
      // All rows come from the one rank, and none is what it was before.
      Rows rows = runAll(*alone.session);
      ASSERT_EQ(rows.size() % session::kVocab, 0u);
      for (float logit : rows)
        EXPECT_TRUE(std::isfinite(logit));
      EXPECT_EQ(runAll(*alone.session, /*intoBuffer=*/true), rows);
      size_t overlapping = 0;
      for (const FakeDevice::Launch &launch : alone.fake.launches()) {
        EXPECT_EQ(launch.rank, rank);
        EXPECT_TRUE(launch.isReplay);
        overlapping += launch.overlaps;
        if (!launch.params.group)
          continue;
        EXPECT_EQ(launch.params.group->rank, rank);
        for (int64_t peer : launch.params.group->peers)
          EXPECT_EQ(peer, 0);
      }
      // As on a device of its own, which it has.
      EXPECT_GT(overlapping, alone.fake.launches().size() / 2);
    }
}

TEST(DeviceAloneTest, ItIsItsOwnPeerInReplicas) {
  TinyOptions tiny;
  tiny.tp = 4;
  tiny.dp = 2;
  tiny.layers = 2;
  AloneSession alone(tiny, 2); // of the second replica
  uint32_t a = *alone.session->addSequence(), b = *alone.session->addSequence();
  EXPECT_EQ(alone.session->replicaOf(b), 1u);
  const Tokens prompt = {7, 2};
  Rows rows = session::step(*alone.session, {{a, prompt, LogitsWanted::Last},
                                             {b, prompt, LogitsWanted::Last}});
  ASSERT_EQ(rows.size(), 2 * session::kVocab);
  // Both replicas' rows were gathered from this rank.
  EXPECT_EQ(Rows(rows.begin(), rows.begin() + session::kVocab),
            Rows(rows.begin() + session::kVocab, rows.end()));
}

TEST(DeviceAloneTest, TracesAreOfTheOneRank) {
  TinyOptions tiny;
  tiny.tp = 2;
  AloneSession alone(tiny, 1);
  size_t events = 0, sums = 0;
  alone.session->setTrace([&](const session::TraceEvent &event) {
    ++events;
    EXPECT_EQ(event.rank, 1u);
    EXPECT_EQ(event.chain.functions, 1u);
    sums += event.exchange.kind == session::Exchange::Sum;
  });
  uint32_t sequence = *alone.session->addSequence();
  session::step(*alone.session,
                {{sequence, {kPrompt.data(), 1}, LogitsWanted::Last}});
  EXPECT_GT(events, sums);
  EXPECT_GT(sums, 0u);
}

TEST(DeviceSessionDetailTest, ADecodeStepIsOneCopy) {
  auto engine = load(*deviceEngine({}));
  FakeDevice fake(engine, 1);
  auto session = makeSession(fake, engine);
  ASSERT_TRUE(session.ok()) << session.status().message();
  uint32_t sequence = *(*session)->addSequence();
  for (int i = 0; i < 3; ++i) {
    fake.clear();
    session::step(**session,
                  {{sequence, {kPrompt.data(), 1}, LogitsWanted::Last}});
    auto copies = fake.copiesToDevice();
    ASSERT_EQ(copies.size(), 1u);
    EXPECT_TRUE(copies[0].isReplay);
  }
}

/// Two ranks with three candidates for each row, and a prompt of two tokens.
class DeviceCandidatesTest : public testing::Test {
protected:
  void SetUp() override {
    TinyOptions tiny;
    tiny.tp = 2;
    tiny.candidates = 3;
    engine = load(*deviceEngine(tiny));
    fake = std::make_unique<FakeDevice>(engine, 2);
    auto made = makeSession(*fake, engine);
    ASSERT_TRUE(made.ok()) << made.status().message();
    session = std::move(*made);
    sequence = *session->addSequence();
    inputs = {{sequence, {kPrompt.data(), 2}, LogitsWanted::All}};
  }
  /// The same sequence again, without tokens.
  void restart() {
    ASSERT_TRUE(session->removeSequence(sequence).ok());
    ASSERT_EQ(*session->addSequence(), sequence);
  }
  void expectCandidatesOf(const Rows &logits,
                          const session::Candidates &found) {
    session::Candidates expected = session::candidatesIn(logits, 3);
    EXPECT_EQ(found.values, expected.values);
    EXPECT_EQ(found.tokens, expected.tokens);
  }

  std::shared_ptr<const Engine> engine;
  std::unique_ptr<FakeDevice> fake;
  std::unique_ptr<session::Session> session;
  uint32_t sequence = 0;
  std::vector<SequenceInput> inputs;
};

TEST_F(DeviceCandidatesTest, OnlyTheWantedOutputsAreCopied) {
  fake->clear();
  Rows logits = session::step(*session, inputs);
  restart();
  EXPECT_EQ(fake->bytesToHost(), 2 * session::kVocab * sizeof(float));
  fake->clear();
  session::Candidates found = session::stepCandidates(*session, inputs, 3);
  EXPECT_EQ(fake->bytesToHost(), 2 * 3 * (sizeof(float) + sizeof(int32_t)));
  expectCandidatesOf(logits, found);
}

TEST_F(DeviceCandidatesTest, TheSessionsBufferIsLeftAlone) {
  Rows logits = stepIntoBuffer(*session, inputs);
  restart();
  auto *buffer = static_cast<float *>(*session->outputBuffer("logits", 2));
  std::fill_n(buffer, logits.size(), -1.0f);
  expectCandidatesOf(logits, session::stepCandidates(*session, inputs, 3));
  EXPECT_EQ(Rows(buffer, buffer + logits.size()), Rows(logits.size(), -1.0f));
}

/// Logits go straight into the session's buffer, candidates into the caller's
/// vectors, both from one step.
TEST_F(DeviceCandidatesTest, SeveralOutputsOfOneStep) {
  Rows alone = session::step(*session, inputs);
  restart();
  auto *logits = static_cast<float *>(*session->outputBuffer("logits", 2));
  Rows values(2 * 3, NAN);
  session::Tokens tokens(2 * 3, -1);
  session::WantedOutput outputs[] = {
      session::wanted("candidate_tokens", tokens),
      {"logits", logits, alone.size() * sizeof(float)},
      session::wanted("candidate_values", values)};
  fake->clear();
  Status status =
      session->step(inputs, Span<const session::WantedOutput>(outputs, 3));
  ASSERT_TRUE(status.ok()) << status.message();
  EXPECT_EQ(fake->bytesToHost(), 2 * session::kVocab * sizeof(float) +
                                     2 * 3 * (sizeof(float) + sizeof(int32_t)));
  EXPECT_EQ(Rows(logits, logits + alone.size()), alone);
  expectCandidatesOf(alone, {values, tokens});
}

TEST(DeviceSessionDetailTest, ALongBlockTableTravelsWhenItChanges) {
  TinyOptions tiny;
  tiny.maxSeqLen = 20000;
  auto engine = load(*deviceEngine(tiny));
  FakeDevice fake(engine, 1);
  auto session = makeSession(fake, engine);
  ASSERT_TRUE(session.ok()) << session.status().message();
  uint32_t sequence = *(*session)->addSequence();
  std::vector<size_t> copies;
  std::vector<uint64_t> tableBytes;
  for (int i = 0; i < 6; ++i) {
    fake.clear();
    session::step(**session,
                  {{sequence, {kPrompt.data(), 1}, LogitsWanted::Last}});
    copies.push_back(fake.copiesToDevice().size());
    if (!fake.copiesToDevice()[0].isReplay)
      tableBytes.push_back(fake.copiesToDevice()[0].bytes);
  }
  // Header and inputs in front of the table and those behind it, and the table
  // when it changes. A page holds 4 tokens: a row of one page, then of two from
  // token 5 on.
  EXPECT_EQ(copies, (std::vector<size_t>{3, 2, 2, 2, 3, 2}));
  EXPECT_EQ(tableBytes, (std::vector<uint64_t>{4, 4}));
}

TEST(DeviceSessionDetailTest, StateOfSequencesIsKeptAndRestored) {
  TinyOptions tiny;
  tiny.tp = tiny.pp = 2;
  tiny.layers = 2;
  tiny.recurrent = true;
  auto run = [&](session::Session &session) {
    Rows all;
    auto add = [&](uint32_t sequence, size_t first, size_t count) {
      Rows rows = session::step(
          session,
          {{sequence, {kPrompt.data() + first, count}, LogitsWanted::All}});
      all.insert(all.end(), rows.begin(), rows.end());
    };
    uint32_t other = *session.addSequence(), sequence = *session.addSequence();
    add(other, 0, 3);
    add(sequence, 0, 5);
    auto snapshot = session.keep(sequence);
    EXPECT_TRUE(snapshot.ok()) << snapshot.status().message();
    add(sequence, 5, 4);
    EXPECT_TRUE(session.restore(sequence, *snapshot).ok());
    add(sequence, 2, 3);
    add(other, 3, 2);
    EXPECT_TRUE(session.release(*snapshot).ok());
    return all;
  };
  auto engine = load(*deviceEngine(tiny));
  FakeDevice fake(engine, 4);
  auto session = makeSession(fake, engine);
  ASSERT_TRUE(session.ok()) << session.status().message();
  EXPECT_EQ(run(**session), run(*session::open(tiny)));
  // Layers share the code of a scan, which so gets its rate with the launch.
  std::set<double> reals;
  for (const FakeDevice::Launch &launch : fake.launches())
    reals.insert(launch.params.reals[0]);
  EXPECT_TRUE(reals.count(0.5));
}

TEST(DeviceSessionDetailTest, PagesAreAsManyAsAskedFor) {
  auto engine = load(*deviceEngine({}));
  FakeDevice fake(engine, 1);
  SessionOptions options;
  options.kvTokens = 9;
  auto session = makeSession(fake, engine, options);
  ASSERT_TRUE(session.ok()) << session.status().message();
  EXPECT_EQ((*session)->numPages(), 3u);
  uint32_t sequence = *(*session)->addSequence();
  EXPECT_EQ(session::step(**session, {{sequence, kPrompt, LogitsWanted::All}}),
            session::wholePrompt({}, kPrompt));
}

TEST(DeviceSessionDetailTest, TraceReportsEveryCommand) {
  TinyOptions tiny;
  tiny.tp = 2;
  auto engine = load(*deviceEngine(tiny));
  FakeDevice fake(engine, 2);
  auto session = makeSession(fake, engine);
  ASSERT_TRUE(session.ok()) << session.status().message();
  std::vector<size_t> perRank(2);
  std::set<std::string> ops;
  std::vector<decltype(session::TraceEvent().time.end)> lastEnd(2);
  (*session)->setTrace([&](const session::TraceEvent &event) {
    ++perRank[event.rank];
    ops.insert(event.op);
    // What copies its choices has ended before the next begins.
    EXPECT_LE(lastEnd[event.rank], event.time.start);
    EXPECT_LE(event.time.start, event.time.end);
    lastEnd[event.rank] = event.time.end;
  });
  uint32_t sequence = *(*session)->addSequence();
  session::step(**session,
                {{sequence, {kPrompt.data(), 1}, LogitsWanted::Last}});
  size_t commands =
      engine->root().programs()->Get(0)->entries()->Get(0)->commands()->size();
  EXPECT_EQ(perRank, (std::vector<size_t>{commands, commands}));
  EXPECT_TRUE(ops.count("attention") && ops.count("all_reduce_sum"));
}

TEST(DeviceSessionDetailTest, ChosenExpertsAreCountedAsOnTheCpu) {
  TinyOptions tiny;
  tiny.tp = tiny.ep = tiny.dp = tiny.layers = 2;
  auto hitsOf = [](session::Session &session) {
    std::vector<uint64_t> hits;
    session.setTrace([&](const session::TraceEvent &event) {
      if (event.routing.held)
        hits.push_back(event.routing.hit);
    });
    runAll(session);
    return hits;
  };
  auto engine = load(*deviceEngine(tiny));
  FakeDevice fake(engine, 2);
  auto session = makeSession(fake, engine);
  ASSERT_TRUE(session.ok()) << session.status().message();
  std::vector<uint64_t> hits = hitsOf(**session);
  EXPECT_EQ(hits, hitsOf(*session::open(tiny)));
  // Every prompt fills chunks of tokens that differ.
  EXPECT_EQ(*std::max_element(hits.begin(), hits.end()), 2u);
  EXPECT_EQ(hits.size() % 4, 0u); // of two layers on two ranks
}

TEST(DeviceSessionDetailTest, ManyChangesOfALongTableAreOneCopy) {
  TinyOptions tiny;
  tiny.maxBatch = tiny.prefillChunk = 16;
  tiny.maxSeqLen = 20000;
  auto engine = load(*deviceEngine(tiny));
  for (size_t sequences : {8, 9}) {
    FakeDevice fake(engine, 1);
    auto session = makeSession(fake, engine);
    ASSERT_TRUE(session.ok()) << session.status().message();
    std::vector<SequenceInput> inputs;
    for (size_t i = 0; i < sequences; ++i)
      inputs.push_back({*(*session)->addSequence(),
                        {kPrompt.data(), 1},
                        LogitsWanted::None});
    fake.clear();
    session::step(**session, inputs);
    auto copies = fake.copiesToDevice();
    // 5,000 blocks a row; from the first page of the first to that of the last.
    if (sequences == 8) {
      ASSERT_EQ(copies.size(), 8 + 2u);
      EXPECT_EQ(copies[7].bytes, 4u);
    } else {
      ASSERT_EQ(copies.size(), 1 + 2u);
      EXPECT_EQ(copies[0].bytes, 8 * 5000 * 4 + 4u);
    }
  }
}

TEST(DeviceSessionDetailTest, TablesOfSequencesAreCheckedBeforeTheDevices) {
  if (hostMemory() >> 39 != 0)
    GTEST_SKIP() << "this machine has memory for 2^33 sequences";
  TinyOptions tiny;
  tiny.tp = tiny.dp = 4;
  tiny.maxBatch = INT32_MAX;
  // Devices that no machine has would be asked for otherwise.
  Status status =
      session::Session::create(load(*deviceEngine(tiny)), "synthetic:7", {})
          .status();
  EXPECT_EQ(status.code(), StatusCode::ResourceExhausted);
  EXPECT_THAT(status.message(),
              HasSubstr("of the host for tables of 8589934588 sequences"));
}

//===--- Failures --------------------------------------------------------===//

/// Makes a session and runs three steps, the last one traced, with a snapshot
/// before it where the engine has state of sequences; the first error.
Status wholeLife(FakeDevice &fake, const std::shared_ptr<const Engine> &engine,
                 const std::string &weights = "synthetic:7") {
  SADDLE_ASSIGN_OR_RETURN(std::unique_ptr<session::Session> session,
                          makeSession(fake, engine, {}, weights));
  SADDLE_ASSIGN_OR_RETURN(uint32_t sequence, session->addSequence());
  std::vector<SequenceInput> inputs = {
      {sequence, {kPrompt.data(), 1}, LogitsWanted::Last}};
  Rows logits(session::kVocab);
  for (int i = 0; i < 3; ++i) {
    if (i == 2) {
      SADDLE_ASSIGN_OR_RETURN(uint32_t snapshot, session->keep(sequence));
      SADDLE_RETURN_IF_ERROR(session->restore(sequence, snapshot));
      SADDLE_RETURN_IF_ERROR(session->release(snapshot));
      session->setTrace([](const session::TraceEvent &) {});
    }
    SADDLE_RETURN_IF_ERROR(session::stepInto(*session, inputs, logits));
  }
  return {};
}

/// Lets each call of the driver fail in a life of its own. With several ranks
/// calls come in any order, but there are as many of them.
void failEveryCall(const TinyOptions &tiny,
                   const std::string &weights = "synthetic:7") {
  auto engine = load(*deviceEngine(tiny));
  const int devices = int(engine->worldSize());
  uint64_t calls = 0;
  {
    FakeDevice fake(engine, devices);
    Status status = wholeLife(fake, engine, weights);
    ASSERT_TRUE(status.ok()) << status.message();
    calls = fake.calls();
  }
  ASSERT_GT(calls, 100u);
  uint64_t withoutHarm = 0;
  bool heapFailed = false;
  for (uint64_t k = 1; k <= calls; ++k) {
    FakeDevice fake(engine, devices);
    fake.failingCall = k;
    Status status = wholeLife(fake, engine, weights);
    // An event that cannot be asked how far things are is asked again, and the
    // destructor ignores what it cannot help.
    if (status.ok()) {
      ++withoutHarm;
      continue;
    }
    EXPECT_EQ(status.code(), StatusCode::ResourceExhausted) << k;
    EXPECT_THAT(status.message(), HasSubstr("CUDA_ERROR_FAKE (2): it was asked "
                                            "to fail"))
        << k;
    heapFailed |= status.message().find(": activations and exchanges of ") !=
                  std::string::npos;
  }
  EXPECT_TRUE(heapFailed);
  std::printf("[  WALKED  ] %llu calls of the driver, %llu without harm\n",
              (unsigned long long)calls, (unsigned long long)withoutHarm);
  // With several ranks some calls are made by whoever fails afterwards.
  EXPECT_LE(withoutHarm, calls / (devices == 1 ? 20 : 10));
}

TEST(DeviceFailureTest, EveryCallMayFail) { failEveryCall({}); }

TEST(DeviceFailureTest, EveryCallOfSeveralRanksMayFail) {
  TinyOptions tiny;
  tiny.tp = 2;
  tiny.recurrent = true;
  failEveryCall(tiny);
}

TEST(DeviceFailureTest, EveryCallWithPackedWeightsMayFail) {
  auto engine = load(*deviceEngine({}));
  TemporaryFolder folder;
  const std::string packed = folder.path("packed");
  auto seed = WeightSource::open(engine->root(), "synthetic:7");
  ASSERT_TRUE(seed.ok());
  ASSERT_TRUE(weights::packWeights(engine->root(), **seed, "7", packed,
                                   [](uint64_t, uint64_t) { return true; })
                  .ok());
  failEveryCall({}, packed);
}

TEST(DeviceFailureTest, AStickyErrorNamesTheEntry) {
  auto engine = load(*deviceEngine({}));
  FakeDevice fake(engine, 1);
  auto session = makeSession(fake, engine);
  ASSERT_TRUE(session.ok()) << session.status().message();
  fake.streamState = [] { return CUDA_ERROR_ILLEGAL_ADDRESS; };
  uint32_t sequence = *(*session)->addSequence();
  std::vector<SequenceInput> inputs = {
      {sequence, {kPrompt.data(), 1}, LogitsWanted::None}};
  Status status = (*session)->step(inputs, {});
  EXPECT_EQ(status.code(), StatusCode::Internal);
  EXPECT_EQ(status.message(),
            "rank 0 failed at \"decode\": on device 0 (Fake H200) in entry "
            "\"decode\": the device stopped: CUDA_ERROR_FAKE (700): it was "
            "asked to fail");
}

TEST(DeviceFailureTest, AStickyErrorNamesTheCommandWhenTraced) {
  auto engine = load(*deviceEngine({}));
  FakeDevice fake(engine, 1);
  auto session = makeSession(fake, engine);
  ASSERT_TRUE(session.ok()) << session.status().message();
  // The first three questions go well: the stream, two events.
  int asked = 0;
  fake.streamState = [&] {
    ++asked;
    return asked == 1   ? CUDA_ERROR_NOT_READY
           : asked <= 3 ? CUDA_SUCCESS
                        : CUDA_ERROR_ILLEGAL_ADDRESS;
  };
  (*session)->setTrace([](const session::TraceEvent &) {});
  uint32_t sequence = *(*session)->addSequence();
  std::vector<SequenceInput> inputs = {
      {sequence, {kPrompt.data(), 1}, LogitsWanted::None}};
  Status status = (*session)->step(inputs, {});
  EXPECT_EQ(status.code(), StatusCode::Internal);
  const schema::Command &third =
      *engine->root().programs()->Get(0)->entries()->Get(0)->commands()->Get(2);
  EXPECT_THAT(status.message(),
              HasSubstr("at \"" + third.place()->str() + "\" ("));
  EXPECT_THAT(status.message(), HasSubstr("or soon after it: the device "
                                          "stopped: CUDA_ERROR_FAKE (700)"));
}

} // namespace
} // namespace saddle::cuda
