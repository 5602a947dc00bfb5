#include "runtime/src/text/Tokenizer.h"
#include "runtime/src/api/Handles.h"

#include <saddle/tokenizer.h>

#include <algorithm>
#include <sys/stat.h>

using namespace saddle;
using namespace saddle::api;

struct saddle_tokenizer_t {
  std::unique_ptr<text::Tokenizer> tokenizer;
};

struct saddle_text_stream_t {
  text::StreamDecoder decoder;
  std::string last;
};

saddle_status_t saddle_tokenizer_load(const char *path,
                                      saddle_tokenizer_t **tokenizer) {
  return answer([&] {
    if (!path || !tokenizer)
      return nullArgument(path ? "tokenizer" : "path");
    *tokenizer = nullptr;
    std::string file = path;
    struct stat facts;
    if (stat(path, &facts) == 0 && S_ISDIR(facts.st_mode))
      file += "/tokenizer.json";
    auto loaded = text::Tokenizer::load(file);
    if (loaded.ok())
      *tokenizer = new saddle_tokenizer_t{std::move(*loaded)};
    return toC(loaded.status());
  });
}

void saddle_tokenizer_destroy(saddle_tokenizer_t *tokenizer) {
  delete tokenizer;
}

saddle_status_t saddle_tokenizer_encode(const saddle_tokenizer_t *tokenizer,
                                        const char *text, size_t length,
                                        int add_special, int parse_special,
                                        int32_t *ids, size_t capacity,
                                        size_t *count) {
  return answer([&] {
    SADDLE_REQUIRE(tokenizer);
    if (!text || !count || (!ids && capacity))
      return nullArgument(!text ? "text" : !count ? "count" : "ids");
    *count = 0;
    auto encoded = tokenizer->tokenizer->encode(
        {text, length}, add_special != 0, parse_special != 0);
    if (!encoded.ok())
      return toC(encoded.status());
    *count = encoded->size();
    std::copy_n(encoded->begin(), std::min(capacity, encoded->size()), ids);
    return toC({});
  });
}

saddle_status_t saddle_tokenizer_decode(const saddle_tokenizer_t *tokenizer,
                                        const int32_t *ids, size_t count,
                                        int skip_special, char *text,
                                        size_t capacity, size_t *length) {
  return answer([&] {
    SADDLE_REQUIRE(tokenizer);
    if ((!ids && count) || !length || (!text && capacity))
      return nullArgument(!length ? "length" : !text ? "text" : "ids");
    std::string decoded =
        tokenizer->tokenizer->decode({ids, count}, skip_special != 0);
    *length = decoded.size();
    // One more than the text: c_str() ends with the NUL.
    std::copy_n(decoded.c_str(), std::min(capacity, decoded.size() + 1), text);
    return toC({});
  });
}

int32_t saddle_tokenizer_token_id(const saddle_tokenizer_t *tokenizer,
                                  const char *content) {
  int32_t id = -1;
  (void)guard([&] {
    if (tokenizer && content)
      id = tokenizer->tokenizer->addedTokenId(content);
    return Status();
  });
  return id;
}

int32_t saddle_tokenizer_vocab_size(const saddle_tokenizer_t *tokenizer) {
  return tokenizer ? tokenizer->tokenizer->vocabSize() : 0;
}

saddle_status_t saddle_text_stream_create(const saddle_tokenizer_t *tokenizer,
                                          int skip_special,
                                          saddle_text_stream_t **stream) {
  return answer([&] {
    if (!tokenizer || !stream)
      return nullArgument(tokenizer ? "stream" : "tokenizer");
    *stream = new saddle_text_stream_t{
        text::StreamDecoder(*tokenizer->tokenizer, skip_special != 0), {}};
    return toC({});
  });
}

void saddle_text_stream_destroy(saddle_text_stream_t *stream) { delete stream; }

/// The text that `decode` gives of a stream; empty without a stream, null when
/// memory is short.
template <typename Decode>
static const char *handText(saddle_text_stream_t *stream, size_t *length,
                            Decode &&decode) {
  if (length)
    *length = 0;
  if (!stream)
    return "";
  Status status = guard([&] {
    stream->last = decode(stream->decoder);
    return Status();
  });
  if (!status.ok())
    return nullptr;
  if (length)
    *length = stream->last.size();
  return stream->last.c_str();
}

const char *saddle_text_stream_push(saddle_text_stream_t *stream, int32_t id,
                                    size_t *length) {
  return handText(stream, length, [&](text::StreamDecoder &decoder) {
    return decoder.push(id);
  });
}

const char *saddle_text_stream_finish(saddle_text_stream_t *stream,
                                      size_t *length) {
  return handText(stream, length, [](text::StreamDecoder &decoder) {
    return decoder.finish();
  });
}
