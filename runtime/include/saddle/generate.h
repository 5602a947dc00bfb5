/* Continuing prompts: continuous batching over a session. C99.

   A generator is not thread-safe, and neither is the session below it: one call
   at a time for both. */

#ifndef SADDLE_GENERATE_H
#define SADDLE_GENERATE_H

#include <saddle/sampler.h>
#include <saddle/session.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct saddle_generator_t saddle_generator_t;

/* What to continue, and how far. */
typedef struct saddle_request_t {
  const int32_t *tokens;   /* copied */
  size_t num_tokens;       /* 1 to max_seq_len */
  uint64_t max_new_tokens; /* 0: the prompt is fed and nothing sampled */
  int ignore_eos;          /* not 0: goes on behind end-of-sequence tokens */
  int wants_logits;        /* not 0: on_logits is called for it */
  saddle_sampler_options_t sampling; /* a stream of draws of its own */
} saddle_request_t;

/* No tokens, nothing new, greedy. */
void saddle_request_init(saddle_request_t *request);

typedef enum saddle_stop_t {
  SADDLE_STOP_LENGTH = 0,         /* max_new_tokens came */
  SADDLE_STOP_EOS = 1,            /* an end-of-sequence token came */
  SADDLE_STOP_SEQUENCE_LIMIT = 2, /* max_seq_len tokens are held */
  SADDLE_STOP_ERROR = 3           /* no token could be sampled */
} saddle_stop_t;

/* Called during saddle_generator_step, on its thread. May add and remove
   requests, not step. Any of them may be NULL. */
typedef struct saddle_listener_t {
  void *user; /* handed through */
  /* A generated token; an end-of-sequence token is one, too. */
  void (*on_token)(void *user, uint64_t request, int32_t token);
  /* Logits after each of the next `count` tokens that were fed, `count` rows of
     vocab_size floats, valid for the call; before the token that follows. The
     last generated token is never fed. */
  void (*on_logits)(void *user, uint64_t request, const float *rows,
                    size_t count);
  /* Tokens that were drafted for a step, and how many of them were accepted,
     behind the on_token that they gave, and perhaps behind on_end. */
  void (*on_drafts)(void *user, uint64_t request, const int32_t *tokens,
                    size_t count, size_t accepted);
  /* The last word about a request. `error` is that of SADDLE_STOP_ERROR; its
     message lives until the next call of this library. */
  void (*on_end)(void *user, uint64_t request, saddle_stop_t stop,
                 saddle_status_t error);
} saddle_listener_t;

/* The session outlives the generator. Others may use it, too, as long as they
   leave batch slots and KV pages. `listener` is copied. */
saddle_status_t saddle_generator_create(saddle_session_t *session,
                                        const saddle_listener_t *listener,
                                        saddle_generator_t **generator);

/* Removes its sequences from the session. NULL is fine. */
void saddle_generator_destroy(saddle_generator_t *generator);

/* Queues a request; they start in order. *number is new for each.
   INVALID_ARGUMENT: no tokens or more than max_seq_len, a token outside the
   vocabulary, sampling options out of range. RESOURCE_EXHAUSTED: it may need
   more KV pages than an attention replica has. */
saddle_status_t saddle_generator_add(saddle_generator_t *generator,
                                     const saddle_request_t *request,
                                     uint64_t *number);

/* Ends a request without on_end. INVALID_ARGUMENT when it has ended already. */
saddle_status_t saddle_generator_remove(saddle_generator_t *generator,
                                        uint64_t number);

/* Requests that have not ended. */
size_t saddle_generator_live(const saddle_generator_t *generator);

/* How many tokens the engine's draft proposes for a request's step, at most:
   spec_tokens of the engine unless this says less; 0: none. INVALID_ARGUMENT
   for more. It changes no token of a text, only how many a step gives. */
saddle_status_t saddle_generator_speculate(saddle_generator_t *generator,
                                           uint64_t tokens);

/* How many greedy steps devices do without the host between them, at most,
   where they can: then one saddle_generator_step gives the tokens of so many.
   1: the host stands between all; 8 unless this says otherwise. It changes no
   token. INVALID_ARGUMENT for 0 and above 32. */
saddle_status_t saddle_generator_chain(saddle_generator_t *generator,
                                       uint64_t steps);

/* For measurements with weights that mean nothing: each drafted token is taken
   for right with this probability, 0 to 1, if the one before it was. Texts mean
   nothing then, either. INVALID_ARGUMENT outside. */
saddle_status_t saddle_generator_fix_acceptance(saddle_generator_t *generator,
                                                double share);

/* Starts requests as far as there is room for their whole lives, and advances
   every one that is in by a token, or by several with a draft or in a chain. A
   chain counts as decode, drafting included. Without requests
   nothing happens. Errors are those of saddle_session_step. */
saddle_status_t saddle_generator_step(saddle_generator_t *generator);

/* Where the time of all steps went. A step with any prompt token counts as
   prefill. */
typedef struct saddle_timing_t {
  double prefill_seconds, decode_seconds;
  uint64_t prefill_tokens, decode_tokens;
  /* Of drafting; in none of the others. */
  double draft_seconds;
  /* Tokens that were drafted and verified, those of them that were accepted,
     and how often drafts of a request were verified: each time gives a token
     more than were accepted. */
  uint64_t drafted_tokens, accepted_tokens, verifications;
} saddle_timing_t;

void saddle_generator_timing(const saddle_generator_t *generator,
                             saddle_timing_t *timing);

#ifdef __cplusplus
}
#endif

#endif /* SADDLE_GENERATE_H */
