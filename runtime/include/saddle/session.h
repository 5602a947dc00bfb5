/* Sessions: a model with its weights, ready to run. C99.

   A session is not thread-safe: one call at a time. It starts its own threads,
   one per rank; a single rank runs on the caller's. */

#ifndef SADDLE_SESSION_H
#define SADDLE_SESSION_H

#include <saddle/engine.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct saddle_session_t saddle_session_t;

/* Where the weights of a checkpoint of an engine are. */
typedef struct saddle_weights_t {
  const char *checkpoint; /* its name in the engine: "draft" */
  const char *place;      /* a folder or "synthetic:SEED" */
} saddle_weights_t;

typedef struct saddle_session_options_t {
  /* How long a rank may make no progress while others wait for it, in
     milliseconds. A rank progresses with every command that it begins. */
  uint32_t timeout_ms;
  /* Most tokens of a prefill launch, for each attention replica; 0: the
     engine's prefill_chunk, which is also the upper limit. */
  uint64_t prefill_chunk;
  /* Launches into which a step of several sequences is cut, so that pipeline
     stages work at the same time; 0: one per stage. At most 1024. */
  uint32_t micro_batches;
  /* Of an engine for GPUs: not 0 lets several ranks share a device where there
     are fewer devices than ranks. Slow; for trying topologies out. */
  int share_devices;
  /* Of an engine for GPUs: a library of NCCL 2.18 or newer ("libnccl.so.2", a
     name for dlopen; borrowed for the call) that does all-reduces of at least
     nccl_above_bytes on each rank, counted with all rows that an entry has room
     for. NULL or "": the engine's own kernels do all. Needs a device for each
     rank. NCCL's memory is not in the check of memory; NVLink multicast in NCCL
     is turned off for the whole process (NCCL_NVLS_ENABLE=0). */
  const char *nccl_library;
  uint64_t nccl_above_bytes;
  /* Of an engine that reads several checkpoints: all but the main one, in any
     order (borrowed for the call). With synthetic weights for the main one,
     what is missing here is made from the same seed. */
  const saddle_weights_t *other_weights;
  size_t num_other_weights;
  /* Tokens that the KV pages of each attention replica have room for, rounded
     up to pages, and at most what max_batch sequences of max_seq_len fill. 0:
     as many as these fill, or else what the memory has left beside weights and
     activations (nine tenths of it on the CPU). */
  uint64_t kv_tokens;
  /* Of an engine for GPUs, for timing: a rank to run alone, on one GPU, in
     place of all (borrowed for the call); NULL: all. What it sends to others
     comes back to itself, as if all had the same data, so that a step takes
     what the rank's kernels take without links; outputs are finite numbers of
     no model. UNSUPPORTED with pipeline stages, INVALID_ARGUMENT with NCCL, on
     the CPU and for a rank that there is not. */
  const uint32_t *alone;
} saddle_session_options_t;

/* Fills in the defaults: 10 s, the engine's chunk, one launch per stage, a
   device for each rank, no NCCL (16 MiB), no other weights, KV pages by the
   rule above, all ranks. */
void saddle_session_options_init(saddle_session_options_t *options);

/* Allocates memory and loads weights. `weights` is the folder of the main
   checkpoint, one that saddle-pack wrote for this engine (it holds the weights
   of all checkpoints), or "synthetic:SEED"; `options` may be NULL for the
   defaults. The caller owns *session; on an error it is NULL. Errors: MISMATCH
   when the weights are not the engine's, DATA_LOSS for damaged files,
   RESOURCE_EXHAUSTED for too little memory or too few devices, INVALID_ARGUMENT
   for options out of range, UNSUPPORTED for an engine whose target this build
   or machine cannot run. */
saddle_status_t saddle_session_create(const saddle_engine_t *engine,
                                      const char *weights,
                                      const saddle_session_options_t *options,
                                      saddle_session_t **session);

/* Waits for a rank that is stuck after a failure. NULL is fine. */
void saddle_session_destroy(saddle_session_t *session);

/* Starts an empty sequence on the attention replica that has the fewest.
   RESOURCE_EXHAUSTED when max_sequences are live. Numbers are below
   max_sequences and reused after removal. */
saddle_status_t saddle_session_add_sequence(saddle_session_t *session,
                                            uint32_t *sequence);

/* Forgets a sequence and frees its KV pages. */
saddle_status_t saddle_session_remove_sequence(saddle_session_t *session,
                                               uint32_t sequence);

/* Tokens that a sequence holds; 0 when it does not exist. */
uint64_t saddle_session_sequence_length(const saddle_session_t *session,
                                        uint32_t sequence);

/* The attention replica, 0..dp-1, whose KV pages the sequence uses. */
uint32_t saddle_session_sequence_replica(const saddle_session_t *session,
                                         uint32_t sequence);

/* KV pages that no sequence holds, of all replicas together. */
uint64_t saddle_session_free_pages(const saddle_session_t *session);

/* KV pages of each attention replica, of page_size tokens. */
uint64_t saddle_session_num_pages(const saddle_session_t *session);

/* Makes a sequence forget all but its first `length` tokens: the next step goes
   on from there as if the others had never been, to the bit. Pages that hold
   none of its tokens any more are free again. An engine with recurrent state
   takes 0, all tokens, or the length of a snapshot of the sequence.
   INVALID_ARGUMENT otherwise, for more tokens than the sequence holds, and for
   a sequence that does not exist; nothing has changed then. */
saddle_status_t saddle_session_truncate(saddle_session_t *session,
                                        uint32_t sequence, uint64_t length);

/* Keeps the sequence as it is for a later restore: a copy of its recurrent
   state on every rank; keys and values stay in their pages. Snapshots have
   numbers, which are reused; they live until they are released or their
   sequence is removed. RESOURCE_EXHAUSTED for too little memory. */
saddle_status_t saddle_session_keep(saddle_session_t *session,
                                    uint32_t sequence, uint32_t *snapshot);

/* Brings the sequence back to what it was; as often as wanted, as long as it
   was not cut to fewer tokens in between. INVALID_ARGUMENT then, and for a
   snapshot that does not exist or is of another sequence. */
saddle_status_t saddle_session_restore(saddle_session_t *session,
                                       uint32_t sequence, uint32_t snapshot);

/* Frees a snapshot. INVALID_ARGUMENT when there is none of that number. */
saddle_status_t saddle_session_release(saddle_session_t *session,
                                       uint32_t snapshot);

/* Which of an input's tokens a row of each output is wanted of. */
typedef enum saddle_logits_t {
  SADDLE_LOGITS_NONE = 0,
  SADDLE_LOGITS_LAST = 1,
  SADDLE_LOGITS_ALL = 2
} saddle_logits_t;

/* Tokens to append to a sequence: one to decode, any number to prefill. */
typedef struct saddle_input_t {
  uint32_t sequence;
  const int32_t *tokens; /* borrowed for the call */
  size_t num_tokens;     /* 1 or more */
  saddle_logits_t logits;
} saddle_input_t;

/* Rows of outputs that a step with these inputs yields: one for each token that
   `logits` names, inputs in order, tokens in order. SIZE_MAX for inputs that a
   step would refuse, or rows that no memory could hold. */
size_t saddle_session_logits_rows(const saddle_input_t *inputs,
                                  size_t num_inputs);

/* An output that a step is to yield, and the caller's memory for its rows
   (saddle_engine_output says what a row is):

   "logits"            f32, vocab_size numbers.
   "candidate_values"  f32 and
   "candidate_tokens"  i32: the row's `candidates` largest logits and their
                       tokens, best first, ties in favour of the lower token,
                       NaN before all numbers. All that greedy and top-k
                       sampling need (saddle_sampler_sample_candidates), and
                       little to copy from a GPU. */
typedef struct saddle_output_t {
  const char *name; /* borrowed for the call, as `data` */
  void *data;
  size_t bytes; /* that `data` holds */
} saddle_output_t;

/* Runs the inputs, in as many launches as the engine's limits demand, and
   writes the rows of the `num_outputs` wanted outputs. How tokens are spread
   over steps and launches, and what else is wanted, does not change a row. No
   inputs are legal: every rank runs an empty step. So are no outputs: nothing
   leaves the devices.
   INVALID_ARGUMENT and RESOURCE_EXHAUSTED refuse the inputs and change nothing;
   the former also for an output that is unknown, that the engine was compiled
   without or that is named twice, and for `data` that is NULL or too small.
   Any other error (a rank failed or stalled) breaks the session: later steps,
   additions and removals return it again, and what the outputs hold is
   undefined. */
saddle_status_t saddle_session_step(saddle_session_t *session,
                                    const saddle_input_t *inputs,
                                    size_t num_inputs,
                                    const saddle_output_t *outputs,
                                    size_t num_outputs);

/* A buffer of the session's for `rows` rows of an output, the best one to give
   to saddle_session_step: GPUs write into it without another copy. Borrowed
   until the next call of this function for that output, and as long as the
   session. INVALID_ARGUMENT for an output that there is not, RESOURCE_EXHAUSTED
   for too little memory. */
saddle_status_t saddle_session_output_buffer(saddle_session_t *session,
                                             const char *name, size_t rows,
                                             void **data);

/* What creating a session took, in nanoseconds; of ranks, which load at the
   same time, the one that took longest. */
typedef struct saddle_load_times_t {
  uint64_t devices_ns; /* opening devices and loading code to them */
  uint64_t memory_ns;  /* memory of ranks and their graphs */
  uint64_t weights_ns; /* opening, reading and checking weights, and copying */
} saddle_load_times_t;

/* Zeros for a session that is NULL. */
void saddle_session_load_times(const saddle_session_t *session,
                               saddle_load_times_t *times);

/* How long the GPUs were busy with the last step, or chain of steps, in
   nanoseconds: on the rank that took longest, from the first input to the last
   kernel of each launch. 0 on the CPU. */
uint64_t saddle_session_device_ns(const saddle_session_t *session);

/* What a command exchanges with other ranks. */
typedef enum saddle_exchange_t {
  SADDLE_EXCHANGE_NONE = 0,
  SADDLE_EXCHANGE_SUM = 1,     /* of whole matrices, on all ranks of a group */
  SADDLE_EXCHANGE_GATHER = 2,  /* parts joined, on all */
  SADDLE_EXCHANGE_SCATTER = 3, /* each rank's part of a sum */
  SADDLE_EXCHANGE_ROWS = 4     /* numbers of rows, in a launch that does more */
} saddle_exchange_t;

/* One command of one launch on one rank. Strings are the engine's. */
typedef struct saddle_trace_event_t {
  uint32_t rank;
  const char *entry;    /* the launched program entry */
  const char *location; /* place in the model: "layers.3.attention.o_proj" */
  const char *op;       /* "linear", "all_reduce_sum", ... */
  uint64_t tokens;      /* of the rank's attention replica in the launch */
  uint64_t start_ns;    /* steady clock; of a device, since the host's launch */
  uint64_t duration_ns;
  uint64_t launch;    /* its number in the step, from 0 */
  const char *kernel; /* what ran it: "linear_3" */
  uint64_t bytes;     /* that it must read and write at least, an estimate */
  /* Of a launch of experts: how many the rank holds, how many of them its
     tokens chose, counted, and how many they would choose if all choices were
     independent and even. Else 0. */
  uint64_t experts_held, experts_hit;
  double experts_independent;
  /* Likewise what the last of its tokens was multiplied as, of so many columns;
     NULL where there is none. Valid during the call. */
  const float *hidden;
  uint64_t hidden_columns;
  /* What it exchanges, in a group of how many ranks, and the bytes of the sum
     or of all parts together. */
  saddle_exchange_t exchange;
  uint32_t exchange_ranks;
  uint64_t exchange_bytes;
  /* Multiplications and additions of its products of matrices, and those of
     them with weights in e4m3. */
  double operations, operations_e4m3;
  /* Functions of a GPU that it launches, one after the other, and ops that a
     launch computes. */
  uint32_t functions, steps;
} saddle_trace_event_t;

typedef void (*saddle_trace_fn)(void *user, const saddle_trace_event_t *event);

/* Reports every command after its step, on the thread that steps. NULL stops.
   `user` is handed through. */
void saddle_session_set_trace(saddle_session_t *session, saddle_trace_fn sink,
                              void *user);

#ifdef __cplusplus
}
#endif

#endif /* SADDLE_SESSION_H */
