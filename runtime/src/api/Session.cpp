#include "runtime/src/api/Handles.h"

#include <saddle/session.h>

#include <cstring>

using namespace saddle;
using namespace saddle::api;

static session::SessionOptions
optionsOf(const saddle_session_options_t *options) {
  session::SessionOptions result;
  if (!options)
    return result;
  result.timeout = std::chrono::milliseconds(options->timeout_ms);
  result.prefillChunk = options->prefill_chunk;
  result.microBatches = options->micro_batches;
  result.shareDevices = options->share_devices != 0;
  if (options->nccl_library)
    result.ncclLibrary = options->nccl_library;
  result.ncclAboveBytes = options->nccl_above_bytes;
  for (size_t i = 0; i < options->num_other_weights; ++i)
    result.otherWeights.push_back({options->other_weights[i].checkpoint,
                                   options->other_weights[i].place});
  result.kvTokens = options->kv_tokens;
  if (options->alone)
    result.alone = *options->alone;
  return result;
}

void saddle_session_options_init(saddle_session_options_t *options) {
  if (!options)
    return;
  session::SessionOptions defaults;
  options->timeout_ms = uint32_t(defaults.timeout.count());
  options->prefill_chunk = defaults.prefillChunk;
  options->micro_batches = uint32_t(defaults.microBatches);
  options->share_devices = defaults.shareDevices;
  options->nccl_library = nullptr;
  options->nccl_above_bytes = defaults.ncclAboveBytes;
  options->other_weights = nullptr;
  options->num_other_weights = 0;
  options->kv_tokens = defaults.kvTokens;
  options->alone = nullptr;
}

saddle_status_t saddle_session_create(const saddle_engine_t *engine,
                                      const char *weights,
                                      const saddle_session_options_t *options,
                                      saddle_session_t **session) {
  return answer([&] {
    if (!engine || !weights || !session)
      return nullArgument(!engine    ? "engine"
                          : !weights ? "weights"
                                     : "session");
    *session = nullptr;
    for (size_t i = 0; options && i < options->num_other_weights; ++i)
      if (!options->other_weights || !options->other_weights[i].checkpoint ||
          !options->other_weights[i].place)
        return nullArgument("other_weights, their checkpoint and place");
    auto created =
        session::Session::create(engine->engine, weights, optionsOf(options));
    if (created.ok())
      *session = new saddle_session_t{std::move(*created), {}, {}};
    return toC(created.status());
  });
}

void saddle_session_destroy(saddle_session_t *session) { delete session; }

saddle_status_t saddle_session_add_sequence(saddle_session_t *session,
                                            uint32_t *sequence) {
  return answer([&] {
    SADDLE_REQUIRE(session);
    SADDLE_REQUIRE(sequence);
    auto added = session->session->addSequence();
    if (added.ok())
      *sequence = *added;
    return toC(added.status());
  });
}

saddle_status_t saddle_session_remove_sequence(saddle_session_t *session,
                                               uint32_t sequence) {
  return answer([&] {
    SADDLE_REQUIRE(session);
    return toC(session->session->removeSequence(sequence));
  });
}

uint64_t saddle_session_sequence_length(const saddle_session_t *session,
                                        uint32_t sequence) {
  return session ? session->session->length(sequence) : 0;
}

uint32_t saddle_session_sequence_replica(const saddle_session_t *session,
                                         uint32_t sequence) {
  return session ? session->session->replicaOf(sequence) : 0;
}

uint64_t saddle_session_free_pages(const saddle_session_t *session) {
  return session ? session->session->freePages() : 0;
}

uint64_t saddle_session_num_pages(const saddle_session_t *session) {
  return session ? session->session->numPages() : 0;
}

saddle_status_t saddle_session_truncate(saddle_session_t *session,
                                        uint32_t sequence, uint64_t length) {
  return answer([&] {
    SADDLE_REQUIRE(session);
    return toC(session->session->truncate(sequence, length));
  });
}

saddle_status_t saddle_session_keep(saddle_session_t *session,
                                    uint32_t sequence, uint32_t *snapshot) {
  return answer([&] {
    SADDLE_REQUIRE(session);
    SADDLE_REQUIRE(snapshot);
    auto kept = session->session->keep(sequence);
    if (kept.ok())
      *snapshot = *kept;
    return toC(kept.status());
  });
}

saddle_status_t saddle_session_restore(saddle_session_t *session,
                                       uint32_t sequence, uint32_t snapshot) {
  return answer([&] {
    SADDLE_REQUIRE(session);
    return toC(session->session->restore(sequence, snapshot));
  });
}

saddle_status_t saddle_session_release(saddle_session_t *session,
                                       uint32_t snapshot) {
  return answer([&] {
    SADDLE_REQUIRE(session);
    return toC(session->session->release(snapshot));
  });
}

static_assert(int(session::LogitsWanted::None) == SADDLE_LOGITS_NONE &&
              int(session::LogitsWanted::Last) == SADDLE_LOGITS_LAST &&
              int(session::LogitsWanted::All) == SADDLE_LOGITS_ALL);

/// C passes any number for an enumerator, which C++ may not even read as one.
static int numberOf(const saddle_logits_t &logits) {
  int number = 0;
  static_assert(sizeof number == sizeof logits, "as C has them");
  std::memcpy(&number, &logits, sizeof number);
  return number;
}

static bool isLegal(const saddle_logits_t &logits) {
  int number = numberOf(logits);
  return number == SADDLE_LOGITS_NONE || number == SADDLE_LOGITS_LAST ||
         number == SADDLE_LOGITS_ALL;
}

static session::SequenceInput fromC(const saddle_input_t &input) {
  return {input.sequence,
          {input.tokens, input.num_tokens},
          session::LogitsWanted(input.logits)};
}

size_t saddle_session_logits_rows(const saddle_input_t *inputs,
                                  size_t num_inputs) {
  size_t rows = 0;
  for (size_t i = 0; i < num_inputs; ++i)
    if (!inputs || !isLegal(inputs[i].logits) ||
        __builtin_add_overflow(rows, fromC(inputs[i]).rows(), &rows))
      return SIZE_MAX;
  return rows;
}

/// Into session->inputs.
static saddle_status_t takeInputs(saddle_session_t *session,
                                  const saddle_input_t *inputs,
                                  size_t num_inputs) {
  if (!inputs && num_inputs != 0)
    return nullArgument("inputs");
  session->inputs.clear();
  for (size_t i = 0; i < num_inputs; ++i) {
    if (!inputs[i].tokens && inputs[i].num_tokens != 0)
      return nullArgument("an input's tokens");
    if (!isLegal(inputs[i].logits))
      return toC(makeError(StatusCode::InvalidArgument,
                           "input %zu: logits is %d, expected %d (none), %d "
                           "(last) or %d (all)",
                           i, numberOf(inputs[i].logits), SADDLE_LOGITS_NONE,
                           SADDLE_LOGITS_LAST, SADDLE_LOGITS_ALL));
    session->inputs.push_back(fromC(inputs[i]));
  }
  return toC(Status());
}

/// Into session->outputs.
static saddle_status_t takeOutputs(saddle_session_t *session,
                                   const saddle_output_t *outputs,
                                   size_t num_outputs) {
  if (!outputs && num_outputs != 0)
    return nullArgument("outputs");
  session->outputs.clear();
  for (size_t i = 0; i < num_outputs; ++i) {
    if (!outputs[i].name)
      return nullArgument("an output's name");
    session->outputs.push_back(
        {outputs[i].name, outputs[i].data, outputs[i].bytes});
  }
  return toC(Status());
}

saddle_status_t saddle_session_step(saddle_session_t *session,
                                    const saddle_input_t *inputs,
                                    size_t num_inputs,
                                    const saddle_output_t *outputs,
                                    size_t num_outputs) {
  return answer([&] {
    SADDLE_REQUIRE(session);
    saddle_status_t status = takeInputs(session, inputs, num_inputs);
    if (status.code == SADDLE_OK)
      status = takeOutputs(session, outputs, num_outputs);
    if (status.code != SADDLE_OK)
      return status;
    return toC(session->session->step(session->inputs, session->outputs));
  });
}

saddle_status_t saddle_session_output_buffer(saddle_session_t *session,
                                             const char *name, size_t rows,
                                             void **data) {
  return answer([&] {
    SADDLE_REQUIRE(data);
    *data = nullptr;
    SADDLE_REQUIRE(session);
    SADDLE_REQUIRE(name);
    auto buffer = session->session->outputBuffer(name, rows);
    if (buffer.ok())
      *data = *buffer;
    return toC(buffer.status());
  });
}

void saddle_session_load_times(const saddle_session_t *session,
                               saddle_load_times_t *times) {
  if (!times)
    return;
  *times = {};
  if (!session)
    return;
  const session::LoadTimes &taken = session->session->loadTimes();
  times->devices_ns = uint64_t(taken.devices.count());
  times->memory_ns = uint64_t(taken.memory.count());
  times->weights_ns = uint64_t(taken.weights.count());
}

uint64_t saddle_session_device_ns(const saddle_session_t *session) {
  return session ? uint64_t(session->session->deviceTime().count()) : 0;
}

void saddle_session_set_trace(saddle_session_t *session, saddle_trace_fn sink,
                              void *user) {
  if (!session)
    return;
  if (!sink) {
    session->session->setTrace(nullptr);
    return;
  }
  session->session->setTrace([sink, user](const session::TraceEvent &event) {
    auto nanoseconds = [](auto duration) {
      return uint64_t(
          std::chrono::duration_cast<std::chrono::nanoseconds>(duration)
              .count());
    };
    static_assert(session::Exchange::Rows == int(SADDLE_EXCHANGE_ROWS),
                  "kinds of exchanges have the same numbers");
    saddle_trace_event_t result = {
        event.rank,
        event.entry,
        event.place,
        event.op,
        event.tokens,
        nanoseconds(event.time.start.time_since_epoch()),
        nanoseconds(event.time.end - event.time.start),
        event.batch,
        event.kernel,
        event.bytes,
        event.routing.held,
        event.routing.hit,
        event.routing.independent,
        event.time.tokens.empty() ? nullptr : event.time.tokens.data(),
        event.time.tokens.size(),
        saddle_exchange_t(event.exchange.kind),
        event.exchange.ranks,
        event.exchange.bytes,
        event.operations.all,
        event.operations.e4m3,
        event.chain.functions,
        event.chain.steps};
    sink(user, &result);
  });
}
