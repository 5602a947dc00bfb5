// The checker against implementations with one fault each: the reference kernel
// itself, and something done to its operands.

#include "test/gpu/KernelCheck/CheckRun.h"

#include "runtime/src/base/Convert.h"
#include "runtime/src/cpu/Kernels.h"
#include "runtime/src/engine/Extents.h"
#include "test/gpu/KernelCheck/Compare.h"
#include "test/unit/engine/TinyEngine.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <set>

namespace saddle::check {
namespace {

using testing::HasSubstr;

Status runAll(const LaunchCase &launch, uint64_t count,
              const Operands &operands) {
  std::vector<View> views;
  for (const auto &operand : operands)
    views.push_back(operand->view());
  cpu::Scratch scratch;
  auto kernel = cpu::bindLaunch(*launch.kernel, views, launch.rank, scratch);
  SADDLE_RETURN_IF_ERROR(scratch.allocate());
  if (count != 0)
    kernel->run(count);
  return {};
}

class CheckRunTest : public testing::Test {
protected:
  void SetUp() override {
    TinyOptions options;
    options.prefillChunk = 64;
    options.maxSeqLen = 64;
    options.maxBatch = 8; // rows of logits, more than a sample has
    options.candidates = 4;
    options.recurrent = true;
    file = flatBufferOf(*tinyEngine(options));
    root = schema::GetEngine(file.data());
  }
  /// The first launch of that op in the prefill entry.
  LaunchCase find(const std::string &op) {
    const schema::Program &program = *root->programs()->Get(0);
    for (const schema::Entry *entry : *program.entries())
      for (const schema::Command *command : *entry->commands()) {
        const schema::Launch *launch = command->action_as_Launch();
        if (!launch || entry->name()->str() != "prefill")
          continue;
        const schema::Kernel *kernel = root->kernels()->Get(launch->kernel());
        if (kernel->op()->str() == op)
          return {
              root,
              entry,
              command,
              launch,
              kernel,
              engine::capacityOf(launch->extent(), *root->topology(), *entry),
              0};
      }
    ADD_FAILURE() << "no launch of " << op;
    return {};
  }
  /// What the check says of the reference with `damage` done behind it.
  StatusOr<double>
  check(const std::string &op, RunCase run,
        const std::function<void(const Operands &)> &damage = nullptr) {
    LaunchCase launch = find(op);
    return checkRun(
        launch, makeShared(launch, 3, 2), run,
        [&](const LaunchCase &which, uint64_t count, const Operands &operands) {
          Status status = runAll(which, count, operands);
          if (damage)
            damage(operands);
          return status;
        });
  }
  void expectFault(const std::string &op, RunCase run, const char *message,
                   const std::function<void(const Operands &)> &damage) {
    StatusOr<double> result = check(op, run, damage);
    ASSERT_FALSE(result.ok()) << "not found: " << message;
    EXPECT_THAT(result.status().message(), HasSubstr(message));
  }

  std::vector<uint8_t> file;
  const schema::Engine *root = nullptr;
};

TEST_F(CheckRunTest, TheReferenceIsItselfInAllRowsAndInSamples) {
  std::set<std::string> ops;
  for (const schema::Kernel *kernel : *root->kernels())
    ops.insert(kernel->op()->str());
  EXPECT_GE(ops.size(), 10u);
  for (const std::string &op : ops)
    for (Pattern pattern : {Pattern::Random, Pattern::Crowded, Pattern::Sparse})
      for (uint64_t sample : {0, 3}) {
        uint64_t capacity = find(op).capacity;
        for (uint64_t count : {uint64_t(0), uint64_t(1), capacity}) {
          StatusOr<double> error = check(op, {count, pattern, 5, sample});
          ASSERT_TRUE(error.ok()) << error.status().message();
          EXPECT_EQ(*error, 0);
        }
      }
}

TEST_F(CheckRunTest, BoundsAreThoseOfWhatAnOpRounds) {
  auto bound = [&](const char *op) {
    LaunchCase launch = find(op);
    return boundOf(launch, launch.launch->operands()->size() - 1);
  };
  // Values move; sums in fp32; rows of bf16 are a step of seven bits apart.
  EXPECT_EQ(bound("embedding"), 0);
  EXPECT_EQ(bound("linear"), 2e-5);
  TinyOptions options;
  options.compute = options.kv = schema::DType::BF16;
  file = flatBufferOf(*tinyEngine(options));
  root = schema::GetEngine(file.data());
  EXPECT_EQ(bound("add"), 0x1p-7 * 1.01);
}

/// A largest code of 448 moves by a step of 32, a factor by one of bf16.
TEST_F(CheckRunTest, BoundsOfCodesAreThoseOfTheRowBefore) {
  auto bound = [&](const char *op, schema::DType out) {
    std::unique_ptr<schema::EngineT> engine = tinyEngine({});
    for (auto &entry : engine->programs[0]->entries)
      for (auto &command : entry->commands)
        if (schema::LaunchT *launch = command->action.AsLaunch();
            launch && engine->kernels[launch->kernel]->op == "add")
          entry->slices[launch->operands.back()]->dtype = out;
    for (auto &kernel : engine->kernels)
      if (kernel->op == "add")
        kernel->op = op;
    file = flatBufferOf(*engine);
    root = schema::GetEngine(file.data());
    LaunchCase launch = find(op);
    return boundOf(launch, launch.launch->operands()->size() - 1);
  };
  using schema::DType;
  for (const char *op : {"add_rms_norm_encode", "add_rms_norm_and_encode"}) {
    EXPECT_EQ(bound(op, DType::F8E4M3), 32.0 / 448 * 1.01);
    EXPECT_EQ(bound(op, DType::F32), 0x1p-7 * 1.01);
  }
  EXPECT_EQ(bound("encode_rows", DType::F32), 2e-5);
}

/// attention_linear has weight and scale of its product before the output.
class EncodedAttentionBoundTest : public CheckRunTest {
protected:
  double boundOf(const char *op, schema::DType cache, bool hasScale = true) {
    TinyOptions options;
    options.compute = schema::DType::BF16;
    options.maxBatch = 8;
    std::unique_ptr<schema::EngineT> engine = tinyEngine(options);
    schema::EntryT &entry = *engine->programs[0]->entries[0];
    for (auto &command : entry.commands)
      if (schema::LaunchT *launch = command->action.AsLaunch())
        if (std::string &name = engine->kernels[launch->kernel]->op;
            name == "attention") {
          name = op;
          std::vector<uint32_t> &operands = launch->operands;
          entry.slices[operands[1]]->dtype = cache;
          if (std::string_view(op) != "attention_linear")
            std::swap(operands[1], operands.back());
          else
            operands.insert(operands.end() - 1, hasScale ? 2 : 1, operands[0]);
          file = flatBufferOf(*engine);
          root = schema::GetEngine(file.data());
          const schema::Entry *written =
              root->programs()->Get(0)->entries()->Get(0);
          for (const schema::Command *each : *written->commands())
            if (const schema::Launch *found = each->action_as_Launch())
              if (const schema::Kernel *kernel =
                      root->kernels()->Get(found->kernel());
                  kernel->op()->str() == op)
                return check::boundOf(
                    {root, written, each, found, kernel, 0, 0}, 0);
        }
    ADD_FAILURE() << "no attention";
    return 0;
  }
};

TEST_F(EncodedAttentionBoundTest, IsWiderWhereRoundedWeightsBecomeCodes) {
  using schema::DType;
  const double step = 0x1p-7 * 1.01;
  EXPECT_EQ(boundOf("attention_linear", DType::F8E4M3), 2.5e-2);
  EXPECT_EQ(boundOf("attention_linear", DType::BF16), step);
  // A product without a scale encodes nothing.
  EXPECT_EQ(boundOf("attention_linear", DType::F8E4M3, false), step);
  // With QK norm in front, the last operand is a cache.
  const char *normed = "qk_norm_rope_kv_append_attention_linear";
  EXPECT_EQ(boundOf(normed, DType::F8E4M3), 2.5e-2);
  EXPECT_EQ(boundOf(normed, DType::BF16), step);
}

// linear: x [64, K], w, out [64, N] in fp32, all dense; bound 2e-5.
const RunCase kAllRows{60, Pattern::Random, 1, 0};
const RunCase kSample{60, Pattern::Random, 1, 2}; // rows 0 and 59

TEST_F(CheckRunTest, AnErrorAboveTheBoundIsFound) {
  auto nudge = [](float factor, uint64_t row) {
    return [=](const Operands &operands) {
      View out = operands[2]->view();
      auto *values = reinterpret_cast<float *>(out.row(row));
      float *largest =
          std::max_element(values, values + out.shape[1], [](float a, float b) {
            return std::fabs(a) < std::fabs(b);
          });
      *largest *= factor;
    };
  };
  StatusOr<double> small = check("linear", kAllRows, nudge(1 + 1e-5f, 17));
  ASSERT_TRUE(small.ok()) << small.status().message();
  EXPECT_NEAR(*small, 1e-5, 1e-6);
  expectFault("linear", kAllRows, "output 2, row 17, column ",
              nudge(1 + 4e-5f, 17));
  expectFault("linear", kSample, "output 2, row 59, column ",
              nudge(1 + 4e-5f, 59));
  // Not one of the sample.
  EXPECT_TRUE(check("linear", kSample, nudge(2, 17)).ok());
}

TEST_F(CheckRunTest, RowsOutsideTheSampleAreWrittenAndFinite) {
  auto put = [](uint32_t bits) {
    return [=](const Operands &operands) {
      std::memcpy(operands[2]->view().row(17) + 4, &bits, 4);
    };
  };
  expectFault("linear", kSample,
              "output 2, row 17, column 1: found what was there before",
              put(0xffffffff));
  expectFault("linear", kSample,
              "output 2, row 17, column 1: found NaN or an infinity",
              put(0x7fc00000));
  expectFault("linear", kSample, "found NaN or an infinity", put(0x7f800000));
}

TEST_F(CheckRunTest, WritesOutsideTheRealRowsAreFound) {
  expectFault(
      "linear", kAllRows, "outside the real rows of outputs, is 0, ",
      [](const Operands &operands) { operands[2]->view().row(60)[0] = 0; });
  expectFault(
      "linear", kAllRows, "operand 2: byte -1 of ",
      [](const Operands &operands) { operands[2]->view().data[-1] = 1; });
  expectFault("linear", kAllRows, ", is 0x1, expected 0xa5",
              [](const Operands &operands) {
                View out = operands[2]->view();
                out.data[out.shape[0] * out.strides[0] * 4] = 1;
              });
}

TEST_F(CheckRunTest, ChangedInputsAreFound) {
  expectFault(
      "linear", kAllRows, "operand 0: byte 9 of ",
      [](const Operands &operands) { operands[0]->view().data[9] ^= 1; });
  // Read-only operands are compared once per launch, by who runs them.
  LaunchCase launch = find("linear");
  Operands shared = makeShared(launch, 3, 1);
  ASSERT_TRUE(isReadOnly(launch, 1));
  EXPECT_FALSE(isReadOnly(launch, 0));
  EXPECT_EQ(shared[0], nullptr);
  OperandBuffer copy(*shared[1]);
  EXPECT_TRUE(compareBytes(launch, 1, *shared[1], copy).ok());
  copy.view().data[3] ^= 0x10;
  EXPECT_THAT(compareBytes(launch, 1, *shared[1], copy).message(),
              HasSubstr("operand 1: byte 3 of "));
}

TEST_F(CheckRunTest, IntegersAreCompared) {
  expectFault("top_candidates", {4, Pattern::Crowded, 1, 0},
              "output 2, row 1, column 0: found ",
              [](const Operands &operands) {
                ++*reinterpret_cast<int32_t *>(operands[2]->view().row(1));
              });
}

TEST_F(CheckRunTest, CachesKeepWhatIsNotWritten) {
  LaunchCase launch = find("kv_append");
  EXPECT_TRUE(updatesCaches(launch));
  EXPECT_TRUE(isShared(launch, 3));
  EXPECT_FALSE(isReadOnly(launch, 3));
  // With no row to append, whatever changes is wrong, below any bound and with
  // samples too: the last bits of a float.
  expectFault(
      "kv_append", {0, Pattern::Random, 1, 2}, "output 3, row ",
      [](const Operands &operands) { operands[3]->view().data[100] ^= 0x04; });
}

TEST_F(CheckRunTest, PositionsReachTheEndAndSurroundHalves) {
  // 64 positions in pages of 4.
  LaunchCase launch = find("attention");
  Operands shared = makeShared(launch, 3, 1);
  auto positions = [&](Pattern pattern) {
    Operands operands = makeOperands(launch, shared, pattern, 1);
    View view = operands[3]->view();
    auto *values = reinterpret_cast<const int32_t *>(view.data);
    return std::set<int32_t>(values, values + view.shape[0]);
  };
  EXPECT_EQ(positions(Pattern::Crowded), (std::set<int32_t>{61, 62, 63}));
  std::set<int32_t> sparse = positions(Pattern::Sparse);
  for (int32_t position : {3, 4, 5, 15, 16, 17, 31, 32, 33})
    EXPECT_TRUE(sparse.count(position)) << position;
}

TEST_F(CheckRunTest, ScansMeetPromptsBeginningsAndTokensOfNobody) {
  LaunchCase launch = find("decay_scan");
  EXPECT_TRUE(updatesCaches(launch));
  Operands shared = makeShared(launch, 3, 1);
  auto values = [&](Pattern pattern, size_t operand) {
    Operands operands = makeOperands(launch, shared, pattern, 1);
    View view = operands[operand]->view();
    auto *values = reinterpret_cast<const int32_t *>(view.data);
    return std::vector<int32_t>(values, values + view.shape[0]);
  };
  // A prompt, in order.
  std::vector<int32_t> positions = values(Pattern::Crowded, 1),
                       sequences = values(Pattern::Crowded, 2);
  for (size_t i = 1; i < positions.size(); ++i) {
    EXPECT_EQ(positions[i], positions[0] + int32_t(i));
    EXPECT_EQ(sequences[i], sequences[0]);
  }
  positions = values(Pattern::Sparse, 1);
  sequences = values(Pattern::Sparse, 2);
  for (int32_t position : {-1, 0})
    EXPECT_TRUE(std::count(positions.begin(), positions.end(), position));
  for (int32_t sequence : {-1, 0, 7, 8}) // of slots 0 to 7
    EXPECT_TRUE(std::count(sequences.begin(), sequences.end(), sequence));
  // The state is compared, too.
  expectFault(
      "decay_scan", {64, Pattern::Crowded, 1}, "output 3, row ",
      [](const Operands &operands) { operands[3]->view().data[2] ^= 0x40; });
}

TEST_F(CheckRunTest, CandidatesMeetTiesNanAndInfinities) {
  LaunchCase launch = find("top_candidates");
  Operands shared = makeShared(launch, 3, 1);
  auto count = [&](Pattern pattern, auto is) {
    Operands operands = makeOperands(launch, shared, pattern, 1);
    View view = operands[0]->view();
    auto *row = reinterpret_cast<const float *>(view.row(0));
    return std::count_if(row, row + view.shape[1], is);
  };
  EXPECT_GT(count(Pattern::Sparse, [](float x) { return std::isnan(x); }), 0);
  EXPECT_GT(count(Pattern::Sparse, [](float x) { return x == INFINITY; }), 0);
  EXPECT_GT(count(Pattern::Sparse, [](float x) { return x == -INFINITY; }), 0);
  EXPECT_EQ(count(Pattern::Crowded, [](float x) { return x == std::round(x); }),
            16); // of a vocabulary of 16, drawn with deviation 4
}

} // namespace
} // namespace saddle::check
