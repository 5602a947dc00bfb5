/* Text to token ids and back. C99. */

#ifndef SADDLE_TOKENIZER_H
#define SADDLE_TOKENIZER_H

#include <saddle/status.h>

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* A Hugging Face tokenizer.json: byte-level BPE. Immutable, thread-safe. */
typedef struct saddle_tokenizer_t saddle_tokenizer_t;

/* `path` is a tokenizer.json or a folder that holds one. The caller owns
   *tokenizer; on an error it is NULL. UNSUPPORTED names what the file asks for
   and this library does not do. */
saddle_status_t saddle_tokenizer_load(const char *path,
                                      saddle_tokenizer_t **tokenizer);

/* NULL is fine. */
void saddle_tokenizer_destroy(saddle_tokenizer_t *tokenizer);

/* Encodes `length` bytes of UTF-8. *count gets the number of ids; as many of
   them as `capacity` allows are written to `ids`. `add_special`: with the
   tokens that the file's post-processor puts around a text. `parse_special`:
   the content of a special token ("[e~[") inside the text becomes that token.
   Pass 0 for text that others wrote: they could end a turn, or speak in another
   role. INVALID_ARGUMENT: the text is not UTF-8. */
saddle_status_t saddle_tokenizer_encode(const saddle_tokenizer_t *tokenizer,
                                        const char *text, size_t length,
                                        int add_special, int parse_special,
                                        int32_t *ids, size_t capacity,
                                        size_t *count);

/* Decodes `count` ids to UTF-8. *length gets the size in bytes without a NUL;
   as many bytes as `capacity` allows are written to `text`, and a NUL where
   there is room. Ids without a token yield nothing. */
saddle_status_t saddle_tokenizer_decode(const saddle_tokenizer_t *tokenizer,
                                        const int32_t *ids, size_t count,
                                        int skip_special, char *text,
                                        size_t capacity, size_t *length);

/* The id of an added token by its content; -1 when there is none. */
int32_t saddle_tokenizer_token_id(const saddle_tokenizer_t *tokenizer,
                                  const char *content);

/* One more than the largest id. */
int32_t saddle_tokenizer_vocab_size(const saddle_tokenizer_t *tokenizer);

/* Decodes token by token and holds bytes back until they are whole characters.
   Not thread-safe; the tokenizer must outlive it. */
typedef struct saddle_text_stream_t saddle_text_stream_t;

saddle_status_t saddle_text_stream_create(const saddle_tokenizer_t *tokenizer,
                                          int skip_special,
                                          saddle_text_stream_t **stream);

/* NULL is fine. */
void saddle_text_stream_destroy(saddle_text_stream_t *stream);

/* The text that became complete with `id`, perhaps none: *length bytes and a
   NUL, borrowed until the next call on the stream. U+0000 is a character like
   any other; who passes NULL as `length` sees the text end there. NULL when
   memory is short: text is lost then. */
const char *saddle_text_stream_push(saddle_text_stream_t *stream, int32_t id,
                                    size_t *length);

/* What is still held back, as U+FFFD; borrowed likewise. */
const char *saddle_text_stream_finish(saddle_text_stream_t *stream,
                                      size_t *length);

#ifdef __cplusplus
}
#endif

#endif /* SADDLE_TOKENIZER_H */
