// The C API with owners, and its errors as Status.

#ifndef SADDLE_TOOLS_SUPPORT_RUNTIME_H
#define SADDLE_TOOLS_SUPPORT_RUNTIME_H

#include "runtime/src/base/Status.h"

#include <saddle/engine.h>
#include <saddle/sampler.h>
#include <saddle/session.h>
#include <saddle/tokenizer.h>

#include <chrono>
#include <memory>
#include <string>
#include <vector>

namespace saddle::tools {

template <typename Handle, void (*Destroy)(Handle *)>
struct Destroyer {
  void operator()(Handle *handle) const { Destroy(handle); }
};
template <typename Handle, void (*Destroy)(Handle *)>
using Owner = std::unique_ptr<Handle, Destroyer<Handle, Destroy>>;

using EngineOwner = Owner<saddle_engine_t, saddle_engine_destroy>;
using SessionOwner = Owner<saddle_session_t, saddle_session_destroy>;
using SamplerOwner = Owner<saddle_sampler_t, saddle_sampler_destroy>;
using TokenizerOwner = Owner<saddle_tokenizer_t, saddle_tokenizer_destroy>;
using StreamOwner = Owner<saddle_text_stream_t, saddle_text_stream_destroy>;

Status fromC(saddle_status_t status);

StatusOr<EngineOwner> loadEngine(const std::string &path);
StatusOr<SessionOwner> createSession(const saddle_engine_t *engine,
                                     const std::string &weights,
                                     const saddle_session_options_t &options);
StatusOr<TokenizerOwner> loadTokenizer(const std::string &path);
StatusOr<SamplerOwner> createSampler(const saddle_sampler_options_t &options);

/// With the post-processor's tokens around the text; `parseSpecial` as in
/// saddle_tokenizer_encode().
StatusOr<std::vector<int32_t>> encode(const saddle_tokenizer_t *tokenizer,
                                      const std::string &text,
                                      bool parseSpecial);
/// The text of a stream with all its characters, U+0000 too.
std::string push(saddle_text_stream_t *stream, int32_t id);
std::string finish(saddle_text_stream_t *stream);
std::string decode(const saddle_tokenizer_t *tokenizer,
                   const std::vector<int32_t> &ids);

/// "SECONDS" of a command line as milliseconds for a session.
uint32_t toMilliseconds(double seconds);

/// Seconds since some fixed moment.
inline double now() {
  return std::chrono::duration<double>(
             std::chrono::steady_clock::now().time_since_epoch())
      .count();
}

} // namespace saddle::tools

#endif // SADDLE_TOOLS_SUPPORT_RUNTIME_H
