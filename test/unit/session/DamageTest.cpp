// Whatever the validator lets pass also runs: a flipped bit may change numbers,
// but nothing crashes or hangs.

#include "test/unit/session/Sessions.h"

#include "runtime/src/engine/EngineFile.h"

namespace saddle::session {
namespace {

TEST(DamageTest, EnginesThatLoadAlsoRun) {
  TinyOptions tiny;
  tiny.tp = 4;
  tiny.dp = tiny.pp = tiny.layers = 2;
  tiny.tokenBlocks = true;
  std::vector<uint8_t> buffer = flatBufferOf(*tinyEngine(tiny));
  SessionOptions options;
  options.timeout = 5s;
  options.kvTokens = 32;
  unsigned ran = 0;
  constexpr size_t kStride = 61; // a prime, so that all kinds of bytes are met
  for (size_t byte = 0; byte < buffer.size(); byte += kStride) {
    buffer[byte] ^= uint8_t(1u << (byte % 8));
    std::vector<uint8_t> file = packEngineFile(buffer, {});
    buffer[byte] ^= uint8_t(1u << (byte % 8));
    auto engine = Engine::fromBytes(file.data(), file.size(), "tiny");
    if (!engine.ok())
      continue;
    auto session = Session::create(std::move(*engine), "synthetic:7", options);
    if (!session.ok())
      continue; // larger than the machine
    uint64_t vocab = (*session)->engine().root().model()->vocab_size();
    std::vector<SequenceInput> inputs;
    for (int i = 0; i < 3; ++i)
      if (auto sequence = (*session)->addSequence(); sequence.ok())
        inputs.push_back({*sequence, kPrompt, LogitsWanted::Last});
    std::vector<float> logits(inputs.size() * vocab);
    Status status = stepInto(**session, inputs, logits);
    EXPECT_TRUE(status.ok() || status.code() == StatusCode::InvalidArgument ||
                status.code() == StatusCode::ResourceExhausted)
        << byte << ": " << status.message();
    ran += status.ok();
  }
  EXPECT_GT(ran, 20u);
}

} // namespace
} // namespace saddle::session
