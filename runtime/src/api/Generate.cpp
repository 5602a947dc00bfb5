#include "runtime/src/api/Handles.h"
#include "runtime/src/generate/Generator.h"

#include <saddle/generate.h>

using namespace saddle;
using namespace saddle::api;

namespace {

class CListener : public generate::Listener {
public:
  explicit CListener(const saddle_listener_t &listener) : listener(listener) {}
  void onLogits(generate::RequestId request, const float *rows,
                size_t count) override {
    if (listener.on_logits)
      listener.on_logits(listener.user, request, rows, count);
  }
  void onToken(generate::RequestId request, int32_t token) override {
    if (listener.on_token)
      listener.on_token(listener.user, request, token);
  }
  void onDrafts(generate::RequestId request, Span<const int32_t> drafts,
                size_t accepted) override {
    if (listener.on_drafts)
      listener.on_drafts(listener.user, request, drafts.data(), drafts.size(),
                         accepted);
  }
  void onEnd(generate::RequestId request, generate::Stop stop,
             const Status &error) override {
    if (listener.on_end)
      listener.on_end(listener.user, request, saddle_stop_t(stop), toC(error));
  }

private:
  const saddle_listener_t listener;
};

static_assert(int(generate::Stop::Length) == SADDLE_STOP_LENGTH &&
              int(generate::Stop::Eos) == SADDLE_STOP_EOS &&
              int(generate::Stop::SequenceLimit) ==
                  SADDLE_STOP_SEQUENCE_LIMIT &&
              int(generate::Stop::Error) == SADDLE_STOP_ERROR);

} // namespace

struct saddle_generator_t {
  saddle_generator_t(session::Session &session,
                     const saddle_listener_t &functions)
      : listener(functions), generator(session, listener) {}
  CListener listener;
  generate::Generator generator;
};

void saddle_request_init(saddle_request_t *request) {
  if (!request)
    return;
  *request = {};
  saddle_sampler_options_init(&request->sampling);
}

saddle_status_t saddle_generator_create(saddle_session_t *session,
                                        const saddle_listener_t *listener,
                                        saddle_generator_t **generator) {
  return answer([&] {
    if (!session || !listener || !generator)
      return nullArgument(!session    ? "session"
                          : !listener ? "listener"
                                      : "generator");
    *generator = nullptr;
    *generator = new saddle_generator_t(*session->session, *listener);
    return toC(Status());
  });
}

void saddle_generator_destroy(saddle_generator_t *generator) {
  delete generator;
}

saddle_status_t saddle_generator_add(saddle_generator_t *generator,
                                     const saddle_request_t *request,
                                     uint64_t *number) {
  return answer([&] {
    SADDLE_REQUIRE(generator);
    SADDLE_REQUIRE(request);
    SADDLE_REQUIRE(number);
    if (!request->tokens && request->num_tokens != 0)
      return nullArgument("tokens");
    generate::RequestOptions options;
    options.maxNewTokens = request->max_new_tokens;
    options.ignoreEos = request->ignore_eos != 0;
    options.wantsLogits = request->wants_logits != 0;
    options.sampling = samplingOf(request->sampling);
    auto added = generator->generator.add(
        {request->tokens, request->num_tokens}, options);
    if (added.ok())
      *number = *added;
    return toC(added.status());
  });
}

saddle_status_t saddle_generator_remove(saddle_generator_t *generator,
                                        uint64_t number) {
  return answer([&] {
    SADDLE_REQUIRE(generator);
    return toC(generator->generator.remove(number));
  });
}

size_t saddle_generator_live(const saddle_generator_t *generator) {
  return generator ? generator->generator.live() : 0;
}

saddle_status_t saddle_generator_speculate(saddle_generator_t *generator,
                                           uint64_t tokens) {
  return answer([&] {
    SADDLE_REQUIRE(generator);
    return toC(generator->generator.speculate(tokens));
  });
}

saddle_status_t saddle_generator_chain(saddle_generator_t *generator,
                                       uint64_t steps) {
  return answer([&] {
    SADDLE_REQUIRE(generator);
    return toC(generator->generator.chain(steps));
  });
}

saddle_status_t saddle_generator_fix_acceptance(saddle_generator_t *generator,
                                                double share) {
  return answer([&] {
    SADDLE_REQUIRE(generator);
    return toC(generator->generator.fixAcceptance(share));
  });
}

saddle_status_t saddle_generator_step(saddle_generator_t *generator) {
  return answer([&] {
    SADDLE_REQUIRE(generator);
    return toC(generator->generator.step());
  });
}

void saddle_generator_timing(const saddle_generator_t *generator,
                             saddle_timing_t *timing) {
  if (!timing)
    return;
  *timing = {};
  if (!generator)
    return;
  const generate::Timing &times = generator->generator.timing();
  *timing = {times.prefillSeconds, times.decodeSeconds, times.prefillTokens,
             times.decodeTokens,   times.draftSeconds,  times.draftedTokens,
             times.acceptedTokens, times.verifications};
}
