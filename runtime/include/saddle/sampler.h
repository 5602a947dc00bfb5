/* Choosing the next token. C99. */

#ifndef SADDLE_SAMPLER_H
#define SADDLE_SAMPLER_H

#include <saddle/status.h>

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* One stream of random draws. Not thread-safe. */
typedef struct saddle_sampler_t saddle_sampler_t;

/* Applied in this order. */
typedef struct saddle_sampler_options_t {
  double temperature; /* 0: greedy */
  uint64_t top_k;     /* keep the k likeliest; 0: all */
  double top_p;  /* keep the smallest likeliest set with this mass; 1: all */
  uint64_t seed; /* the same seed gives the same tokens */
} saddle_sampler_options_t;

/* Greedy. */
void saddle_sampler_options_init(saddle_sampler_options_t *options);

/* The caller owns *sampler; on an error it is NULL. INVALID_ARGUMENT: an option
   is out of range. */
saddle_status_t saddle_sampler_create(const saddle_sampler_options_t *options,
                                      saddle_sampler_t **sampler);

/* NULL is fine. */
void saddle_sampler_destroy(saddle_sampler_t *sampler);

/* Chooses one of `count` tokens. Ties are in favour of the lower id.
   INVALID_ARGUMENT: a logit is NaN or +infinity, or all are -infinity. */
saddle_status_t saddle_sampler_sample(saddle_sampler_t *sampler,
                                      const float *logits, size_t count,
                                      int32_t *token);

/* Not 0 when the `count` likeliest tokens of a row say all that the options ask
   for: temperature 0, or a top_k of 1 to `count`. */
int saddle_sampler_needs_only(const saddle_sampler_options_t *options,
                              size_t count);

/* Chooses one of the `count` candidates of a row, as saddle_session_step yields
   them: the token that
   saddle_sampler_sample chooses from the row itself. INVALID_ARGUMENT: the
   options need more than so many candidates, or the same faults. */
saddle_status_t saddle_sampler_sample_candidates(saddle_sampler_t *sampler,
                                                 const float *values,
                                                 const int32_t *tokens,
                                                 size_t count, int32_t *token);

#ifdef __cplusplus
}
#endif

#endif /* SADDLE_SAMPLER_H */
