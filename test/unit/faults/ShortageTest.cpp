// The library in a process where memory, threads or files fail at any one call:
// a status, nothing lost, and the next session computes what it always did.

#include "test/unit/base/TemporaryFolder.h"
#include "test/unit/engine/TinyEngine.h"
#include "test/unit/faults/Walk.h"
#include "test/unit/weights/TestCheckpoint.h"
#include "tools/support/Runtime.h"

#include <saddle/engine.h>
#include <saddle/generate.h>
#include <saddle/session.h>
#include <saddle/tokenizer.h>

#include <fstream>
#include <memory>
#include <sstream>

namespace saddle::faults {
namespace {

constexpr saddle_status_t kFine = {SADDLE_OK, ""};
const Codes kShortage = {SADDLE_RESOURCE_EXHAUSTED};
/// A file that cannot be read, or ends before it should.
const Codes kLoss = {SADDLE_DATA_LOSS, SADDLE_INTERNAL, SADDLE_NOT_FOUND,
                     SADDLE_RESOURCE_EXHAUSTED};

#define RETURN_IF_ERROR(call)                                                  \
  do {                                                                         \
    saddle_status_t status = (call);                                           \
    if (status.code != SADDLE_OK)                                              \
      return status;                                                           \
  } while (false)

using tools::EngineOwner;
using tools::SessionOwner;
using tools::StreamOwner;
using tools::TokenizerOwner;
using GeneratorOwner =
    tools::Owner<saddle_generator_t, saddle_generator_destroy>;

struct Nothing {};

EngineOwner loadEngine(const std::vector<uint8_t> &file) {
  saddle_engine_t *engine = nullptr;
  saddle_status_t status =
      saddle_engine_load_memory(file.data(), file.size(), "tiny", &engine);
  EXPECT_EQ(status.code, SADDLE_OK) << status.message;
  return EngineOwner(engine);
}

saddle_status_t createSession(const saddle_engine_t *engine,
                              const std::string &weights,
                              SessionOwner &session) {
  saddle_session_t *made = nullptr;
  saddle_status_t status =
      saddle_session_create(engine, weights.c_str(), nullptr, &made);
  session.reset(made);
  return status;
}

SessionOwner openSession(const EngineOwner &engine,
                         const std::string &weights = "synthetic:7") {
  SessionOwner session;
  saddle_status_t status = createSession(engine.get(), weights, session);
  EXPECT_EQ(status.code, SADDLE_OK) << status.message;
  return session;
}

const int32_t kPrompt[] = {3, 1, 4, 1, 5, 9, 2, 6, 5, 3, 5};

/// Feeds a prompt in chunks and a token, keeps and restores, cuts and feeds
/// again; the last logits.
saddle_status_t useSession(saddle_session_t *session,
                           std::vector<float> *logits = nullptr) {
  uint32_t sequence = 0, snapshot = 0;
  void *rows = nullptr;
  RETURN_IF_ERROR(saddle_session_add_sequence(session, &sequence));
  RETURN_IF_ERROR(saddle_session_output_buffer(session, "logits", 1, &rows));
  saddle_output_t output = {"logits", rows, 16 * sizeof(float)};
  saddle_input_t input = {sequence, kPrompt, 11, SADDLE_LOGITS_LAST};
  RETURN_IF_ERROR(saddle_session_step(session, &input, 1, &output, 1));
  RETURN_IF_ERROR(saddle_session_keep(session, sequence, &snapshot));
  input.num_tokens = 1;
  RETURN_IF_ERROR(saddle_session_step(session, &input, 1, &output, 1));
  RETURN_IF_ERROR(saddle_session_restore(session, sequence, snapshot));
  RETURN_IF_ERROR(saddle_session_release(session, snapshot));
  RETURN_IF_ERROR(saddle_session_truncate(session, sequence, 0));
  input.num_tokens = 3;
  RETURN_IF_ERROR(saddle_session_step(session, &input, 1, &output, 1));
  if (logits)
    logits->assign(static_cast<float *>(rows), static_cast<float *>(rows) + 16);
  return saddle_session_remove_sequence(session, sequence);
}

/// One rank with recurrent state, ranks that meet, and stages with replicas.
TinyOptions optionsOf(uint32_t ranks) {
  TinyOptions tiny;
  tiny.recurrent = ranks == 1;
  tiny.candidates = ranks == 2 ? 2 : 0;
  tiny.tp = ranks == 1 ? 1 : 2;
  if (ranks == 4)
    tiny.dp = tiny.pp = tiny.layers = 2;
  return tiny;
}

class ShortageTest : public testing::TestWithParam<uint32_t> {
protected:
  ShortageTest()
      : tree(tinyEngine(optionsOf(GetParam()))), file(engineFileOf(*tree)),
        engine(loadEngine(file)) {}

  std::vector<float> logits() {
    std::vector<float> rows;
    SessionOwner session = openSession(engine);
    saddle_status_t status = useSession(session.get(), &rows);
    EXPECT_EQ(status.code, SADDLE_OK) << status.message;
    return rows;
  }

  std::unique_ptr<schema::EngineT> tree;
  std::vector<uint8_t> file;
  EngineOwner engine;
};

INSTANTIATE_TEST_SUITE_P(Ranks, ShortageTest, testing::Values(1, 2, 4));

TEST_P(ShortageTest, WhileAnEngineIsLoaded) {
  uint64_t calls = walk(
      Call::Allocate, kShortage, [] { return Nothing(); },
      [&](Nothing) {
        saddle_engine_t *raw = nullptr;
        saddle_status_t status =
            saddle_engine_load_memory(file.data(), file.size(), "tiny", &raw);
        EngineOwner loaded(raw);
        return status;
      });
  EXPECT_GT(calls, 20u);
  walk(
      Call::Map, kShortage, [] { return Nothing(); },
      [&](Nothing) {
        saddle_engine_t *raw = nullptr;
        saddle_status_t status =
            saddle_engine_load_memory(file.data(), file.size(), "tiny", &raw);
        EngineOwner loaded(raw);
        return status;
      });
  EXPECT_TRUE(hasSeen({"tiny: no memory for a copy of "}));
}

TEST_P(ShortageTest, WhileASessionIsMade) {
  auto make = [&](Nothing) {
    SessionOwner session;
    return createSession(engine.get(), "synthetic:7", session);
  };
  std::vector<float> before = logits();
  for (Call call : {Call::Allocate, Call::Map})
    EXPECT_GT(walk(call, kShortage, [] { return Nothing(); }, make), 2u);
  if (GetParam() > 1)
    EXPECT_EQ(walk(
                  Call::Thread, kShortage, [] { return Nothing(); }, make),
              GetParam());
  EXPECT_EQ(logits(), before);
  if (GetParam() == 1) { // in an order that is always the same
    EXPECT_TRUE(
        hasSeen({"rank ", ": arena \"", " bytes could not be allocated"}));
    EXPECT_TRUE(hasSeen({"the kernels' working memory needs ", "which this "}));
  }
  if (GetParam() > 1)
    EXPECT_TRUE(hasSeen({": no thread could be started: ",
                         "; raise the limits of memory and of threads, or "
                         "compile for fewer than "}));
}

TEST_P(ShortageTest, WhileASessionIsUsed) {
  std::vector<float> before = logits();
  uint64_t calls = walk(
      Call::Allocate, kShortage, [&] { return openSession(engine); },
      [&](const SessionOwner &session) {
        saddle_status_t status = useSession(session.get());
        return status;
      });
  EXPECT_GT(calls, 10u);
  EXPECT_EQ(logits(), before);
  // Several ranks allocate in another order each time, so that a walk need not
  // meet every allocation.
  if (GetParam() == 1)
    EXPECT_TRUE(hasSeen({": no memory for a copy of state of ",
                         " bytes; release a snapshot first"}));
}

TEST_P(ShortageTest, ASessionThatItBrokeSaysSo) {
  // A step that is refused before it begins changes nothing.
  int unchanged = 0, broken = 0;
  for (uint64_t number = 1;; ++number) {
    SessionOwner session = openSession(engine);
    uint32_t sequence = 0;
    ASSERT_EQ(saddle_session_add_sequence(session.get(), &sequence).code,
              SADDLE_OK);
    saddle_input_t input = {sequence, kPrompt, 1, SADDLE_LOGITS_NONE};
    auto step = [&] {
      return saddle_session_step(session.get(), &input, 1, nullptr, 0);
    };
    {
      Injection injection(Call::Allocate, number, /*lasting=*/true);
      saddle_status_t status = step();
      if (!injection.hasFailed())
        break;
      EXPECT_EQ(status.code, SADDLE_RESOURCE_EXHAUSTED);
    }
    saddle_status_t again = step();
    (again.code == SADDLE_OK ? unchanged : broken) += 1;
    uint64_t length = saddle_session_sequence_length(session.get(), sequence);
    if (again.code == SADDLE_OK) {
      EXPECT_EQ(length, 1u);
      continue;
    }
    EXPECT_EQ(again.code, SADDLE_RESOURCE_EXHAUSTED);
    EXPECT_NE(std::string(again.message).find("out of memory"),
              std::string::npos)
        << again.message;
  }
  EXPECT_GT(unchanged, 0);
  EXPECT_GT(broken, 0);
}

TEST_P(ShortageTest, WhileRequestsAreGenerated) {
  auto generate = [&](const SessionOwner &session) -> saddle_status_t {
    saddle_generator_t *raw = nullptr;
    saddle_listener_t listener = {};
    RETURN_IF_ERROR(saddle_generator_create(session.get(), &listener, &raw));
    GeneratorOwner generator(raw);
    saddle_request_t request;
    saddle_request_init(&request);
    request.tokens = kPrompt;
    request.ignore_eos = 1;
    request.max_new_tokens = 3;
    for (size_t tokens : {5, 2, 9}) {
      request.num_tokens = tokens;
      uint64_t number;
      RETURN_IF_ERROR(saddle_generator_add(generator.get(), &request, &number));
    }
    while (saddle_generator_live(generator.get()) != 0)
      RETURN_IF_ERROR(saddle_generator_step(generator.get()));
    return kFine;
  };
  uint64_t calls = walk(
      Call::Allocate, kShortage, [&] { return openSession(engine); }, generate);
  EXPECT_GT(calls, 10u);
}

TEST_P(ShortageTest, WhileFilesAreRead) {
  TemporaryFolder folder;
  std::string path =
      folder.write("tiny.saddle", std::string(file.begin(), file.end()));
  TemporaryFolder weights;
  weights.write("model.safetensors", safetensors(testTensors(*tree)));
  const std::string place = weights.path("");
  auto loadAndOpen = [&](Nothing) -> saddle_status_t {
    saddle_engine_t *raw = nullptr;
    RETURN_IF_ERROR(saddle_engine_load(path.c_str(), &raw));
    EngineOwner loaded(raw);
    SessionOwner session;
    return createSession(loaded.get(), place, session);
  };
  for (Call call : {Call::Read, Call::Cut})
    EXPECT_GT(walk(call, kLoss, [] { return Nothing(); }, loadAndOpen), 5u);
  // Loading an engine is walked above.
  auto open = [&](Nothing) {
    SessionOwner session;
    return createSession(engine.get(), place, session);
  };
  EXPECT_GT(
      walk(Call::Allocate, kShortage, [] { return Nothing(); }, open), 20u);
  walk(Call::Map, kShortage, [] { return Nothing(); }, loadAndOpen);
  EXPECT_TRUE(hasSeen({"model.safetensors: no memory for its header of "}));
}

//===--- Text ------------------------------------------------------------===//

/// The tokenizer of one of test/unit/text/goldens.
std::string tokenizerJson(const std::string &name) {
  std::ifstream stream(SADDLE_SOURCE_DIR "/test/unit/text/goldens/" + name);
  std::stringstream text;
  text << stream.rdbuf();
  std::string golden = text.str();
  size_t first = golden.find('{', 1), depth = 0, end = first;
  bool quoted = false;
  for (;; ++end) {
    char c = golden.at(end);
    if (quoted && c == '\\')
      ++end;
    else if (c == '"')
      quoted = !quoted;
    else if (!quoted && c == '{')
      ++depth;
    else if (!quoted && c == '}' && --depth == 0)
      break;
  }
  return golden.substr(first, end + 1 - first);
}

TokenizerOwner openTokenizer(const std::string &path) {
  saddle_tokenizer_t *raw = nullptr;
  saddle_status_t status = saddle_tokenizer_load(path.c_str(), &raw);
  EXPECT_EQ(status.code, SADDLE_OK) << status.message;
  return TokenizerOwner(raw);
}

class TextShortageTest : public testing::TestWithParam<const char *> {};

INSTANTIATE_TEST_SUITE_P(Tokenizers, TextShortageTest,
                         testing::Values("template.json", "nfc.json"));

TEST_P(TextShortageTest, WhileTextBecomesTokensAndBack) {
  TemporaryFolder folder;
  std::string path = folder.write("tokenizer.json", tokenizerJson(GetParam()));
  TokenizerOwner tokenizer = openTokenizer(path);
  ASSERT_TRUE(tokenizer);
  const std::string text = "Hello, w\xc3\xb6rld 123, cafe\xcc\x81 and more";
  uint64_t calls = walk(
      Call::Allocate, kShortage, [] { return Nothing(); },
      [&](Nothing) -> saddle_status_t {
        int32_t ids[256];
        size_t count = 0, length = 0;
        char decoded[256];
        RETURN_IF_ERROR(saddle_tokenizer_encode(
            tokenizer.get(), text.data(), text.size(), 1, 1, ids, 256, &count));
        RETURN_IF_ERROR(saddle_tokenizer_decode(tokenizer.get(), ids, count, 1,
                                                decoded, 256, &length));
        saddle_text_stream_t *raw = nullptr;
        RETURN_IF_ERROR(saddle_text_stream_create(tokenizer.get(), 1, &raw));
        StreamOwner stream(raw);
        // NULL is their word for a shortage.
        for (size_t i = 0; i < count; ++i)
          if (!saddle_text_stream_push(raw, ids[i], &length))
            return {SADDLE_RESOURCE_EXHAUSTED, "push"};
        if (!saddle_text_stream_finish(raw, &length))
          return {SADDLE_RESOURCE_EXHAUSTED, "finish"};
        return kFine;
      });
  EXPECT_GT(calls, 5u);
}

TEST(TokenizerShortageTest, WhileATokenizerIsRead) {
  TemporaryFolder folder;
  std::string path =
      folder.write("tokenizer.json", tokenizerJson("template.json"));
  auto load = [&](Nothing) {
    saddle_tokenizer_t *raw = nullptr;
    saddle_status_t status = saddle_tokenizer_load(path.c_str(), &raw);
    TokenizerOwner tokenizer(raw);
    return status;
  };
  for (Call call : {Call::Read, Call::Cut})
    EXPECT_GT(walk(call, kLoss, [] { return Nothing(); }, load), 0u);
  // All of them take minutes; a stride that is no power of two meets each kind.
  EXPECT_GT(
      walk(Call::Allocate, kShortage, [] { return Nothing(); }, load), 100u);
}

//===--- Numbers that no caller should pass
//--------------------------------===//

TEST(SizeTest, EnumsOutOfRangeAreNamed) {
  std::vector<uint8_t> file = engineFileOf(*tinyEngine());
  EngineOwner engine = loadEngine(file);
  SessionOwner session = openSession(engine);
  saddle_input_t input = {0, kPrompt, 1, saddle_logits_t(3)};
  saddle_status_t status =
      saddle_session_step(session.get(), &input, 1, nullptr, 0);
  EXPECT_EQ(status.code, SADDLE_INVALID_ARGUMENT);
  EXPECT_EQ(std::string(status.message)
                .find("input 0: logits is 3, expected 0 "
                      "(none), 1 (last) or 2 (all)"),
            0u);
}

//===--- Requests that no memory could hold -------------------------------===//

TEST(SizeTest, BuffersOfAnySizeAreAnswered) {
  auto tree = tinyEngine({});
  std::vector<uint8_t> file = engineFileOf(*tree);
  EngineOwner engine = loadEngine(file);
  SessionOwner session = openSession(engine);
  for (unsigned bits = 30; bits < 64; ++bits)
    for (int near : {-1, 0, 1}) {
      size_t rows = (size_t(1) << bits) + size_t(near);
      void *data = &rows;
      saddle_status_t status =
          saddle_session_output_buffer(session.get(), "logits", rows, &data);
      if (status.code == SADDLE_OK)
        continue; // untouched memory of the system
      EXPECT_EQ(status.code, SADDLE_RESOURCE_EXHAUSTED) << rows;
      EXPECT_EQ(data, nullptr);
    }
}

} // namespace
} // namespace saddle::faults
