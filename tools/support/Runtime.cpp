#include "tools/support/Runtime.h"

#include <algorithm>
#include <cstdint>

namespace saddle::tools {

Status fromC(saddle_status_t status) {
  if (status.code == SADDLE_OK)
    return {};
  std::string message = status.message;
  uint32_t identifier = takeLabel(message);
  return Status(StatusCode(status.code), std::move(message), identifier);
}

StatusOr<EngineOwner> loadEngine(const std::string &path) {
  saddle_engine_t *engine = nullptr;
  SADDLE_RETURN_IF_ERROR(fromC(saddle_engine_load(path.c_str(), &engine)));
  return EngineOwner(engine);
}

StatusOr<SessionOwner> createSession(const saddle_engine_t *engine,
                                     const std::string &weights,
                                     const saddle_session_options_t &options) {
  saddle_session_t *session = nullptr;
  SADDLE_RETURN_IF_ERROR(fromC(
      saddle_session_create(engine, weights.c_str(), &options, &session)));
  return SessionOwner(session);
}

StatusOr<TokenizerOwner> loadTokenizer(const std::string &path) {
  saddle_tokenizer_t *tokenizer = nullptr;
  SADDLE_RETURN_IF_ERROR(
      fromC(saddle_tokenizer_load(path.c_str(), &tokenizer)));
  return TokenizerOwner(tokenizer);
}

StatusOr<SamplerOwner> createSampler(const saddle_sampler_options_t &options) {
  saddle_sampler_t *sampler = nullptr;
  SADDLE_RETURN_IF_ERROR(fromC(saddle_sampler_create(&options, &sampler)));
  return SamplerOwner(sampler);
}

StatusOr<std::vector<int32_t>> encode(const saddle_tokenizer_t *tokenizer,
                                      const std::string &text,
                                      bool parseSpecial) {
  // A token holds one byte or more, but a post-processor may add some.
  std::vector<int32_t> ids(text.size() + 16);
  size_t count = 0;
  for (int attempt = 0; attempt < 2; ++attempt) {
    SADDLE_RETURN_IF_ERROR(fromC(saddle_tokenizer_encode(
        tokenizer, text.data(), text.size(),
        /*add_special=*/1, parseSpecial, ids.data(), ids.size(), &count)));
    bool fits = count <= ids.size();
    ids.resize(count);
    if (fits)
      break;
  }
  return ids;
}

std::string push(saddle_text_stream_t *stream, int32_t id) {
  size_t length = 0;
  const char *text = saddle_text_stream_push(stream, id, &length);
  return std::string(text, length);
}

std::string finish(saddle_text_stream_t *stream) {
  size_t length = 0;
  const char *text = saddle_text_stream_finish(stream, &length);
  return std::string(text, length);
}

std::string decode(const saddle_tokenizer_t *tokenizer,
                   const std::vector<int32_t> &ids) {
  saddle_text_stream_t *raw = nullptr;
  saddle_text_stream_create(tokenizer, /*skip_special=*/1, &raw);
  StreamOwner stream(raw);
  std::string text;
  for (int32_t id : ids)
    text += push(stream.get(), id);
  return text + finish(stream.get());
}

uint32_t toMilliseconds(double seconds) {
  return uint32_t(std::clamp(seconds * 1000, 1.0, double(UINT32_MAX)));
}

} // namespace saddle::tools
