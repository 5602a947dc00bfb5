/* The C API used from C99: api_test TINY.saddle TOKENIZER_FOLDER. */

#include <saddle/engine.h>
#include <saddle/generate.h>
#include <saddle/sampler.h>
#include <saddle/session.h>
#include <saddle/status.h>
#include <saddle/tokenizer.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int failures = 0;

#define EXPECT(condition)                                                      \
  do {                                                                         \
    if (!(condition)) {                                                        \
      fprintf(stderr, "%s:%d: expected %s\n", __FILE__, __LINE__, #condition); \
      ++failures;                                                              \
    }                                                                          \
  } while (0)

#define EXPECT_OK(call)                                                        \
  do {                                                                         \
    saddle_status_t status_ = (call);                                          \
    if (status_.code != SADDLE_OK) {                                           \
      fprintf(stderr, "%s:%d: %s: %s\n", __FILE__, __LINE__, #call,            \
              status_.message);                                                \
      exit(1);                                                                 \
    }                                                                          \
  } while (0)

static void expect_error(saddle_status_t status, saddle_code_t code,
                         const char *part) {
  if (status.code == code && strstr(status.message, part))
    return;
  fprintf(stderr, "expected code %d with \"%s\", got %d: %s\n", (int)code, part,
          (int)status.code, status.message);
  ++failures;
}

enum { VOCAB = 16 };

static void test_engine(const char *path) {
  saddle_engine_t *engine = NULL;
  saddle_engine_info_t info;
  saddle_output_info_t output;
  FILE *file;
  char bytes[1 << 16];
  size_t size;

  EXPECT_OK(saddle_engine_load(path, &engine));
  saddle_engine_info(engine, &info);
  EXPECT(info.vocab_size == VOCAB);
  EXPECT(info.world_size == 2 && info.tp == 2 && info.pp == 1);
  EXPECT(info.max_batch == 4 && info.max_seq_len == 16);
  EXPECT(info.max_sequences == 4);
  EXPECT(info.num_eos_token_ids == 1 && info.eos_token_ids[0] == 1);
  EXPECT(strcmp(info.target, "cpu") == 0);
  EXPECT(strcmp(info.compute_dtype, "f32") == 0);
  saddle_engine_destroy(engine);
  saddle_engine_destroy(NULL);

  expect_error(saddle_engine_load("/nowhere/x.saddle", &engine),
               SADDLE_NOT_FOUND, "/nowhere/x.saddle");
  EXPECT(engine == NULL);
  expect_error(saddle_engine_load(NULL, &engine), SADDLE_INVALID_ARGUMENT,
               "path must not be NULL");

  file = fopen(path, "rb");
  size = fread(bytes, 1, sizeof bytes, file);
  fclose(file);
  EXPECT_OK(saddle_engine_load_memory(bytes, size, "memory", &engine));
  EXPECT(saddle_engine_num_outputs(engine) == 1);
  EXPECT_OK(saddle_engine_output(engine, 0, &output));
  EXPECT(strcmp(output.name, "logits") == 0);
  EXPECT(strcmp(output.dtype, "f32") == 0);
  EXPECT(output.width == VOCAB && output.row_bytes == VOCAB * sizeof(float));
  expect_error(saddle_engine_output(engine, 1, &output),
               SADDLE_INVALID_ARGUMENT, "the engine has 1");
  EXPECT(output.name == NULL);
  saddle_engine_destroy(engine);
  expect_error(saddle_engine_load_memory(bytes, size - 1, "memory", &engine),
               SADDLE_DATA_LOSS, "memory");
  EXPECT(engine == NULL);
}

static void count_events(void *user, const saddle_trace_event_t *event) {
  EXPECT(event->rank < 2 && event->op[0] != '\0');
  ++*(size_t *)user;
}

static void test_session(const char *path) {
  const int32_t prompt[] = {3, 1, 4, 1, 5};
  const int32_t next[] = {9};
  float logits[6 * VOCAB], again[6 * VOCAB];
  saddle_engine_t *engine = NULL;
  saddle_session_t *session = NULL;
  saddle_session_options_t options;
  const saddle_weights_t draft = {"draft", "synthetic:2"};
  saddle_input_t input;
  saddle_output_t output;
  void *buffer = NULL;
  saddle_sampler_options_t sampling;
  saddle_sampler_t *sampler = NULL;
  uint32_t sequence = 99, snapshot = 99;
  size_t events = 0;
  int32_t token = -1;

  EXPECT_OK(saddle_engine_load(path, &engine));
  expect_error(
      saddle_session_create(engine, "/nowhere/weights", NULL, &session),
      SADDLE_NOT_FOUND, "/nowhere/weights");
  EXPECT(session == NULL);
  saddle_session_options_init(&options);
  EXPECT(options.timeout_ms == 10000 && options.prefill_chunk == 0);
  EXPECT(options.micro_batches == 0 && options.kv_tokens == 0);
  EXPECT(options.nccl_library == NULL && options.nccl_above_bytes == 16 << 20);
  options.nccl_library = "libnccl.so.2";
  expect_error(saddle_session_create(engine, "synthetic:1", &options, &session),
               SADDLE_INVALID_ARGUMENT, "do without NCCL");
  options.nccl_library = NULL;
  EXPECT(options.other_weights == NULL && options.num_other_weights == 0);
  options.num_other_weights = 1;
  expect_error(saddle_session_create(engine, "synthetic:1", &options, &session),
               SADDLE_INVALID_ARGUMENT, "other_weights");
  options.other_weights = &draft;
  expect_error(saddle_session_create(engine, "synthetic:1", &options, &session),
               SADDLE_INVALID_ARGUMENT, "the engine reads main");
  options.num_other_weights = 0;
  options.prefill_chunk = 99;
  expect_error(saddle_session_create(engine, "synthetic:1", &options, &session),
               SADDLE_INVALID_ARGUMENT, "prefill chunk 99");
  options.prefill_chunk = 2;
  options.micro_batches = 5000;
  expect_error(saddle_session_create(engine, "synthetic:1", &options, &session),
               SADDLE_INVALID_ARGUMENT, "micro-batches: 5000");
  options.micro_batches = 2;
  EXPECT_OK(saddle_session_create(engine, "synthetic:1", &options, &session));
  saddle_engine_destroy(engine); /* the session keeps what it needs */

  EXPECT_OK(saddle_session_add_sequence(session, &sequence));
  input.sequence = sequence;
  input.tokens = prompt;
  input.num_tokens = 5;
  input.logits = SADDLE_LOGITS_ALL;
  EXPECT(saddle_session_logits_rows(&input, 1) == 5);
  output.name = "logits";
  output.data = logits;
  output.bytes = VOCAB * sizeof(float);
  expect_error(saddle_session_step(session, &input, 1, &output, 1),
               SADDLE_INVALID_ARGUMENT, "5 rows");
  output.bytes = 5 * VOCAB * sizeof(float);
  EXPECT_OK(saddle_session_step(session, &input, 1, &output, 1));
  input.tokens = next;
  input.num_tokens = 1;
  input.logits = SADDLE_LOGITS_LAST;
  saddle_session_set_trace(session, count_events, &events);
  output.data = logits + 5 * VOCAB;
  EXPECT_OK(saddle_session_step(session, &input, 1, &output, 1));
  saddle_session_set_trace(session, NULL, NULL);
  EXPECT(events > 10);
  EXPECT(saddle_session_sequence_length(session, sequence) == 6);
  EXPECT(saddle_session_free_pages(session) == 14);
  EXPECT(saddle_session_sequence_replica(session, sequence) == 0);

  /* The last token again, from a snapshot and by cutting it off. */
  EXPECT(saddle_session_num_pages(session) == 16);
  expect_error(saddle_session_truncate(session, sequence, 7),
               SADDLE_INVALID_ARGUMENT, "it holds 6");
  EXPECT_OK(saddle_session_truncate(session, sequence, 5));
  EXPECT(saddle_session_sequence_length(session, sequence) == 5);
  expect_error(saddle_session_keep(session, sequence, NULL),
               SADDLE_INVALID_ARGUMENT, "snapshot");
  EXPECT_OK(saddle_session_keep(session, sequence, &snapshot));
  output.data = again;
  output.bytes = sizeof(again);
  EXPECT_OK(saddle_session_step(session, &input, 1, &output, 1));
  EXPECT(memcmp(again, logits + 5 * VOCAB, VOCAB * sizeof(float)) == 0);
  EXPECT_OK(saddle_session_restore(session, sequence, snapshot));
  EXPECT_OK(saddle_session_step(session, &input, 1, &output, 1));
  EXPECT(memcmp(again, logits + 5 * VOCAB, VOCAB * sizeof(float)) == 0);
  EXPECT_OK(saddle_session_release(session, snapshot));
  expect_error(saddle_session_restore(session, sequence, snapshot),
               SADDLE_INVALID_ARGUMENT, "does not exist");
  EXPECT_OK(saddle_session_step(session, NULL, 0, NULL, 0));
  expect_error(saddle_session_step(session, NULL, 1, NULL, 0),
               SADDLE_INVALID_ARGUMENT, "inputs must not be NULL");
  expect_error(saddle_session_step(session, NULL, 0, NULL, 1),
               SADDLE_INVALID_ARGUMENT, "outputs must not be NULL");
  output.name = NULL;
  expect_error(saddle_session_step(session, NULL, 0, &output, 1),
               SADDLE_INVALID_ARGUMENT, "name must not be NULL");
  output.name = "candidate_values";
  expect_error(saddle_session_step(session, NULL, 0, &output, 1),
               SADDLE_INVALID_ARGUMENT, "yields no candidate_values");
  EXPECT_OK(saddle_session_output_buffer(session, "logits", 2, &buffer));
  EXPECT(buffer != NULL);
  expect_error(saddle_session_output_buffer(session, "hidden", 2, &buffer),
               SADDLE_INVALID_ARGUMENT, "the engine yields logits");
  EXPECT(buffer == NULL);
  expect_error(saddle_session_output_buffer(session, NULL, 2, &buffer),
               SADDLE_INVALID_ARGUMENT, "name must not be NULL");
  EXPECT_OK(saddle_session_remove_sequence(session, sequence));
  expect_error(saddle_session_remove_sequence(session, sequence),
               SADDLE_INVALID_ARGUMENT, "does not exist");
  saddle_session_destroy(session);

  /* Another session with other chunks gives the same bits. */
  EXPECT_OK(saddle_engine_load(path, &engine));
  EXPECT_OK(saddle_session_create(engine, "synthetic:1", NULL, &session));
  saddle_engine_destroy(engine);
  EXPECT_OK(saddle_session_add_sequence(session, &sequence));
  {
    const int32_t all[] = {3, 1, 4, 1, 5, 9};
    input.sequence = sequence;
    input.tokens = all;
    input.num_tokens = 6;
    input.logits = SADDLE_LOGITS_ALL;
    output.name = "logits";
    output.data = again;
    output.bytes = sizeof again;
    EXPECT_OK(saddle_session_step(session, &input, 1, &output, 1));
  }
  EXPECT(memcmp(logits, again, sizeof logits) == 0);
  saddle_session_destroy(session);
  saddle_session_destroy(NULL);

  saddle_sampler_options_init(&sampling);
  EXPECT(sampling.temperature == 0 && sampling.top_p == 1);
  EXPECT_OK(saddle_sampler_create(&sampling, &sampler));
  logits[7] = 1e6f;
  EXPECT_OK(saddle_sampler_sample(sampler, logits, VOCAB, &token));
  EXPECT(token == 7);
  EXPECT(saddle_sampler_needs_only(&sampling, 2));
  {
    const float values[] = {3, 1};
    const int32_t tokens[] = {11, 2};
    EXPECT_OK(
        saddle_sampler_sample_candidates(sampler, values, tokens, 2, &token));
    EXPECT(token == 11);
    expect_error(
        saddle_sampler_sample_candidates(sampler, values, NULL, 2, &token),
        SADDLE_INVALID_ARGUMENT, "tokens must not be NULL");
  }
  saddle_sampler_destroy(sampler);
  sampling.top_p = 2;
  expect_error(saddle_sampler_create(&sampling, &sampler),
               SADDLE_INVALID_ARGUMENT, "top-p 2");
  EXPECT(sampler == NULL);
}

/* What a generator says about its requests. */
typedef struct heard_t {
  int32_t tokens[2][4];
  size_t counts[2];
  size_t rows;
  int stops[2];
} heard_t;

static void on_token(void *user, uint64_t request, int32_t token) {
  heard_t *heard = user;
  heard->tokens[request][heard->counts[request]++] = token;
}

static void on_logits(void *user, uint64_t request, const float *rows,
                      size_t count) {
  heard_t *heard = user;
  EXPECT(request == 1 && rows[0] == rows[0]);
  heard->rows += count;
}

static void on_end(void *user, uint64_t request, saddle_stop_t stop,
                   saddle_status_t error) {
  heard_t *heard = user;
  EXPECT(error.code == SADDLE_OK);
  heard->stops[request] = (int)stop;
}

static void test_generator(const char *path) {
  const int32_t prompt[] = {3, 1, 4, 1, 5};
  saddle_engine_t *engine = NULL;
  saddle_session_t *session = NULL;
  saddle_generator_t *generator = NULL;
  saddle_request_t request;
  saddle_listener_t listener = {NULL, on_token, on_logits, NULL, on_end};
  saddle_timing_t timing;
  heard_t heard;
  uint64_t number = 99;
  size_t steps = 0;

  memset(&heard, 0, sizeof heard);
  heard.stops[0] = heard.stops[1] = -1;
  listener.user = &heard;
  EXPECT_OK(saddle_engine_load(path, &engine));
  EXPECT_OK(saddle_session_create(engine, "synthetic:1", NULL, &session));
  saddle_engine_destroy(engine);
  expect_error(saddle_generator_create(session, NULL, &generator),
               SADDLE_INVALID_ARGUMENT, "listener must not be NULL");
  EXPECT_OK(saddle_generator_create(session, &listener, &generator));
  EXPECT_OK(saddle_generator_chain(generator, 4));
  expect_error(saddle_generator_chain(generator, 0), SADDLE_INVALID_ARGUMENT,
               "chains of 0 steps: expected 1 to 32");
  saddle_request_init(&request);
  EXPECT(request.max_new_tokens == 0 && request.sampling.temperature == 0);
  expect_error(saddle_generator_add(generator, &request, &number),
               SADDLE_INVALID_ARGUMENT, "the prompt has 0 tokens");
  request.num_tokens = 5;
  expect_error(saddle_generator_add(generator, &request, &number),
               SADDLE_INVALID_ARGUMENT, "tokens must not be NULL");
  request.tokens = prompt;
  request.max_new_tokens = 4;
  request.ignore_eos = 1;
  EXPECT_OK(saddle_generator_add(generator, &request, &number));
  EXPECT(number == 0);
  request.wants_logits = 1;
  request.max_new_tokens = 2;
  EXPECT_OK(saddle_generator_add(generator, &request, &number));
  EXPECT(number == 1);
  while (saddle_generator_live(generator) != 0 && steps++ < 10)
    EXPECT_OK(saddle_generator_step(generator));
  EXPECT(steps == 4);
  EXPECT(heard.counts[0] == 4 && heard.counts[1] == 2);
  EXPECT(memcmp(heard.tokens[0], heard.tokens[1], 2 * sizeof(int32_t)) == 0);
  EXPECT(heard.rows == 5 + 1);
  EXPECT(heard.stops[0] == SADDLE_STOP_LENGTH &&
         heard.stops[1] == SADDLE_STOP_LENGTH);
  saddle_generator_timing(generator, &timing);
  EXPECT(timing.prefill_tokens == 10 && timing.decode_tokens == 4);
  expect_error(saddle_generator_remove(generator, 1), SADDLE_INVALID_ARGUMENT,
               "request 1 does not exist or has ended");
  saddle_generator_destroy(generator);
  saddle_generator_destroy(NULL);
  saddle_session_destroy(session);
}

static void test_tokenizer(const char *folder) {
  const char *text = "Hello, w\xc3\xb6rld!";
  saddle_tokenizer_t *tokenizer = NULL;
  saddle_text_stream_t *stream = NULL;
  int32_t ids[64];
  char decoded[64], streamed[64] = "";
  size_t count = 0, length = 0, total, i;

  EXPECT_OK(saddle_tokenizer_load(folder, &tokenizer));
  EXPECT_OK(saddle_tokenizer_encode(tokenizer, text, strlen(text), 1, 0, NULL,
                                    0, &count));
  EXPECT(count > 1 && count < 64);
  EXPECT_OK(saddle_tokenizer_encode(tokenizer, text, strlen(text), 1, 0, ids,
                                    64, &count));
  EXPECT_OK(
      saddle_tokenizer_decode(tokenizer, ids, count, 0, NULL, 0, &length));
  EXPECT(length == strlen(text));
  EXPECT_OK(
      saddle_tokenizer_decode(tokenizer, ids, count, 0, decoded, 64, &length));
  EXPECT(strcmp(decoded, text) == 0);
  EXPECT_OK(saddle_text_stream_create(tokenizer, 1, &stream));
  for (i = 0; i < count; ++i)
    strcat(streamed, saddle_text_stream_push(stream, ids[i], NULL));
  strcat(streamed, saddle_text_stream_finish(stream, &length));
  EXPECT(length == 0);
  EXPECT(strcmp(streamed, text) == 0);
  /* U+0000 is a character like any other. */
  EXPECT_OK(
      saddle_tokenizer_encode(tokenizer, "a\0b", 3, 0, 0, ids, 64, &count));
  for (i = 0, total = 0; i < count; ++i) {
    const char *piece = saddle_text_stream_push(stream, ids[i], &length);
    memcpy(streamed + total, piece, length);
    total += length;
  }
  EXPECT(total == 3 && memcmp(streamed, "a\0b", 3) == 0);
  saddle_text_stream_destroy(stream);
  EXPECT(saddle_tokenizer_token_id(tokenizer, "[e~[") > 0);
  /* A choice: four letters, or one token. */
  EXPECT_OK(
      saddle_tokenizer_encode(tokenizer, "[e~[", 4, 0, 0, ids, 64, &count));
  EXPECT(count == 4);
  EXPECT_OK(
      saddle_tokenizer_encode(tokenizer, "[e~[", 4, 0, 1, ids, 64, &count));
  EXPECT(count == 1 && ids[0] == saddle_tokenizer_token_id(tokenizer, "[e~["));
  EXPECT(saddle_tokenizer_token_id(tokenizer, "no such token") == -1);
  EXPECT(saddle_tokenizer_vocab_size(tokenizer) > 256);
  expect_error(
      saddle_tokenizer_encode(tokenizer, "\xff", 1, 1, 0, ids, 64, &count),
      SADDLE_INVALID_ARGUMENT, "not UTF-8");
  saddle_tokenizer_destroy(tokenizer);
  expect_error(saddle_tokenizer_load("/nowhere", &tokenizer), SADDLE_NOT_FOUND,
               "/nowhere");
  EXPECT(tokenizer == NULL);
}

#define EXPECT_NULL_REFUSED(call)                                              \
  expect_error(call, SADDLE_INVALID_ARGUMENT, "must not be NULL")

/* Every pointer that may be NULL by mistake, in every function. */
static void test_nulls(const char *path) {
  saddle_engine_t *engine = NULL;
  saddle_session_t *session = NULL;
  saddle_engine_info_t info;
  saddle_output_info_t output;
  saddle_timing_t timing;
  saddle_request_t request;
  saddle_listener_t listener = {NULL, NULL, NULL, NULL, NULL};
  saddle_generator_t *generator = NULL;
  saddle_text_stream_t *stream = NULL;
  saddle_load_times_t times;
  const float logits[] = {1, 2};
  const int32_t tokens[] = {1, 2};
  uint32_t number = 0;
  uint64_t request_number = 0;
  size_t size = 7;
  int32_t token = 0;
  char text[4];
  void *data = &size;

  memset(&info, 1, sizeof info);
  saddle_engine_info(NULL, &info);
  EXPECT(info.vocab_size == 0 && info.target == NULL);
  saddle_engine_info(NULL, NULL);
  EXPECT(saddle_engine_num_outputs(NULL) == 0);
  EXPECT_NULL_REFUSED(saddle_engine_output(NULL, 0, &output));
  EXPECT_OK(saddle_engine_load(path, &engine));
  EXPECT_NULL_REFUSED(saddle_engine_output(engine, 0, NULL));
  saddle_engine_info(engine, NULL);

  saddle_session_options_init(NULL);
  EXPECT_NULL_REFUSED(saddle_session_create(NULL, "x", NULL, &session));
  EXPECT_NULL_REFUSED(saddle_session_create(engine, NULL, NULL, &session));
  EXPECT_NULL_REFUSED(saddle_session_create(engine, "x", NULL, NULL));
  EXPECT_NULL_REFUSED(saddle_session_add_sequence(NULL, &number));
  EXPECT_NULL_REFUSED(saddle_session_remove_sequence(NULL, 0));
  EXPECT(saddle_session_sequence_length(NULL, 0) == 0);
  EXPECT(saddle_session_sequence_replica(NULL, 0) == 0);
  EXPECT(saddle_session_free_pages(NULL) == 0);
  EXPECT(saddle_session_num_pages(NULL) == 0);
  EXPECT(saddle_session_device_ns(NULL) == 0);
  memset(&times, 1, sizeof(times));
  saddle_session_load_times(NULL, &times);
  EXPECT(times.devices_ns == 0 && times.memory_ns == 0 &&
         times.weights_ns == 0);
  saddle_session_load_times(NULL, NULL);
  EXPECT(saddle_session_logits_rows(NULL, 1) == SIZE_MAX);
  EXPECT_NULL_REFUSED(saddle_session_truncate(NULL, 0, 0));
  EXPECT_NULL_REFUSED(saddle_session_keep(NULL, 0, &number));
  EXPECT_NULL_REFUSED(saddle_session_restore(NULL, 0, 0));
  EXPECT_NULL_REFUSED(saddle_session_release(NULL, 0));
  EXPECT_NULL_REFUSED(saddle_session_step(NULL, NULL, 0, NULL, 0));
  EXPECT_NULL_REFUSED(saddle_session_output_buffer(NULL, "logits", 1, &data));
  EXPECT(data == NULL);
  saddle_session_set_trace(NULL, NULL, NULL);
  EXPECT_OK(saddle_session_create(engine, "synthetic:1", NULL, &session));
  EXPECT_NULL_REFUSED(saddle_session_add_sequence(session, NULL));
  EXPECT_NULL_REFUSED(saddle_session_output_buffer(session, "logits", 1, NULL));

  saddle_sampler_options_init(NULL);
  EXPECT(saddle_sampler_needs_only(NULL, 1) == 0);
  EXPECT_NULL_REFUSED(saddle_sampler_sample(NULL, logits, 2, &token));
  EXPECT_NULL_REFUSED(
      saddle_sampler_sample_candidates(NULL, logits, tokens, 2, &token));

  saddle_request_init(NULL);
  saddle_request_init(&request);
  EXPECT_NULL_REFUSED(saddle_generator_create(NULL, &listener, &generator));
  EXPECT_NULL_REFUSED(saddle_generator_create(session, NULL, &generator));
  EXPECT_NULL_REFUSED(saddle_generator_create(session, &listener, NULL));
  EXPECT_NULL_REFUSED(saddle_generator_add(NULL, &request, &request_number));
  EXPECT_NULL_REFUSED(saddle_generator_remove(NULL, 0));
  EXPECT_NULL_REFUSED(saddle_generator_chain(NULL, 1));
  EXPECT_NULL_REFUSED(saddle_generator_step(NULL));
  EXPECT(saddle_generator_live(NULL) == 0);
  memset(&timing, 1, sizeof timing);
  saddle_generator_timing(NULL, &timing);
  EXPECT(timing.prefill_tokens == 0 && timing.decode_seconds == 0);
  EXPECT_OK(saddle_generator_create(session, &listener, &generator));
  EXPECT_NULL_REFUSED(saddle_generator_add(generator, NULL, &request_number));
  EXPECT_NULL_REFUSED(saddle_generator_add(generator, &request, NULL));
  saddle_generator_timing(generator, NULL);
  saddle_generator_destroy(generator);

  EXPECT_NULL_REFUSED(saddle_tokenizer_load("x", NULL));
  EXPECT_NULL_REFUSED(
      saddle_tokenizer_encode(NULL, "a", 1, 0, 0, &token, 1, &size));
  EXPECT_NULL_REFUSED(
      saddle_tokenizer_decode(NULL, tokens, 2, 0, text, sizeof text, &size));
  EXPECT(saddle_tokenizer_token_id(NULL, "a") == -1);
  EXPECT(saddle_tokenizer_vocab_size(NULL) == 0);
  EXPECT_NULL_REFUSED(saddle_text_stream_create(NULL, 0, &stream));
  size = 7;
  EXPECT(saddle_text_stream_push(NULL, 0, &size)[0] == '\0' && size == 0);
  size = 7;
  EXPECT(saddle_text_stream_finish(NULL, &size)[0] == '\0' && size == 0);

  saddle_session_destroy(session);
  saddle_engine_destroy(engine);
}

/* Numbers that no caller means: enums without a name, sizes beyond memory. */
static void test_numbers_out_of_range(const char *path) {
  const int32_t prompt[] = {3};
  const size_t rows[] = {(size_t)1 << 57, (size_t)1 << 61, SIZE_MAX};
  saddle_engine_t *engine = NULL;
  saddle_session_t *session = NULL;
  saddle_input_t input = {0, prompt, 1, SADDLE_LOGITS_NONE};
  void *data = NULL;
  size_t i;

  EXPECT_OK(saddle_engine_load(path, &engine));
  EXPECT_OK(saddle_session_create(engine, "synthetic:1", NULL, &session));
  EXPECT_OK(saddle_session_add_sequence(session, &input.sequence));
  for (i = 0; i < 2; ++i) {
    input.logits = (saddle_logits_t)(i == 0 ? 3 : -1);
    EXPECT(saddle_session_logits_rows(&input, 1) == SIZE_MAX);
    expect_error(saddle_session_step(session, &input, 1, NULL, 0),
                 SADDLE_INVALID_ARGUMENT, "input 0: logits is");
  }
  for (i = 0; i < sizeof rows / sizeof rows[0]; ++i) {
    expect_error(
        saddle_session_output_buffer(session, "logits", rows[i], &data),
        SADDLE_RESOURCE_EXHAUSTED, "could not be allocated");
    EXPECT(data == NULL);
  }
  input.logits = SADDLE_LOGITS_LAST;
  EXPECT_OK(saddle_session_step(session, &input, 1, NULL, 0));
  saddle_session_destroy(session);
  saddle_engine_destroy(engine);
}

int main(int argc, char **argv) {
  if (argc != 3) {
    fprintf(stderr, "usage: %s TINY.saddle TOKENIZER_FOLDER\n", argv[0]);
    return 2;
  }
  test_engine(argv[1]);
  test_session(argv[1]);
  test_generator(argv[1]);
  test_tokenizer(argv[2]);
  test_nulls(argv[1]);
  test_numbers_out_of_range(argv[1]);
  if (failures == 0)
    puts("all well");
  return failures != 0;
}
