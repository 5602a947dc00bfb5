/* Engine files. C99. */

#ifndef SADDLE_ENGINE_H
#define SADDLE_ENGINE_H

#include <saddle/status.h>

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* A loaded, fully validated engine. Immutable: any number of threads and
   sessions may use one. */
typedef struct saddle_engine_t saddle_engine_t;

/* Loads and validates the engine file `path`; "-" is standard input. The caller
   owns *engine. On an error *engine is NULL: NOT_FOUND for an absent file,
   DATA_LOSS for a damaged one, UNSUPPORTED for another version or target. */
saddle_status_t saddle_engine_load(const char *path, saddle_engine_t **engine);

/* The same from `size` bytes, which are copied; `name` stands for the path in
   messages. */
saddle_status_t saddle_engine_load_memory(const void *bytes, size_t size,
                                          const char *name,
                                          saddle_engine_t **engine);

/* Sessions that were made from the engine stay valid. NULL is fine. */
void saddle_engine_destroy(saddle_engine_t *engine);

/* What an engine says about itself. Pointers are borrowed from the engine. */
typedef struct saddle_engine_info_t {
  const char *producer; /* "saddle-compile 0.1.0" */
  const char *target;   /* "cpu", "sm_90a" */
  const char *compute_dtype;
  const char *kv_dtype;
  const char *architecture;
  const char *model_name; /* may be empty */
  uint64_t vocab_size;
  uint64_t num_layers;
  uint64_t hidden_size;
  uint64_t max_batch;     /* sequences at a time, of one attention replica */
  uint64_t max_seq_len;   /* tokens of one sequence */
  uint64_t prefill_chunk; /* most tokens of one launch */
  uint64_t page_size;     /* tokens of one KV page */
  uint64_t max_sequences; /* at a time: dp * max_batch */
  uint32_t world_size;    /* ranks */
  uint32_t tp, dp, ep, pp;
  const uint32_t *eos_token_ids;
  size_t num_eos_token_ids;
  int64_t bos_token_id; /* -1: none */
  /* Best tokens of a row that a step can yield ("candidate_values",
     "candidate_tokens"); 0: none. */
  uint64_t candidates;
  /* Tokens that its draft proposes for a step, at most; 0: it has no draft. */
  uint64_t spec_tokens;
} saddle_engine_info_t;

void saddle_engine_info(const saddle_engine_t *engine,
                        saddle_engine_info_t *info);

/* An output that a step of the engine can yield (saddle_session_step). */
typedef struct saddle_output_info_t {
  const char *name;   /* "logits"; static, as the next */
  const char *dtype;  /* "f32", "i32" */
  uint64_t width;     /* elements of a row */
  uint64_t row_bytes; /* a row as the host sees it, dense */
} saddle_output_info_t;

/* How many there are; 1 or more. */
size_t saddle_engine_num_outputs(const saddle_engine_t *engine);

/* INVALID_ARGUMENT for an index beyond them; *info is zero then. */
saddle_status_t saddle_engine_output(const saddle_engine_t *engine,
                                     size_t index, saddle_output_info_t *info);

#ifdef __cplusplus
}
#endif

#endif /* SADDLE_ENGINE_H */
