/* Status values of the C API. C99. */

#ifndef SADDLE_STATUS_H
#define SADDLE_STATUS_H

#ifdef __cplusplus
extern "C" {
#endif

/* In all of the library: a NULL handle or pointer where one is needed, and an
   enum that has none of its values, are INVALID_ARGUMENT; functions that return
   no status answer 0, "" or -1 and leave zeroes. */

/* Values never change. */
typedef enum saddle_code_t {
  SADDLE_OK = 0,
  SADDLE_INVALID_ARGUMENT = 1, /* the caller passed something wrong */
  SADDLE_NOT_FOUND = 2,        /* a file, tensor or name does not exist */
  SADDLE_DATA_LOSS = 3, /* a file is truncated, damaged or lies about itself */
  SADDLE_UNSUPPORTED =
      4, /* well-formed, but this build or machine cannot do it */
  SADDLE_MISMATCH =
      5, /* two inputs do not belong together (weights and engine) */
  SADDLE_RESOURCE_EXHAUSTED = 6, /* memory, disk, KV pages */
  SADDLE_INTERNAL = 7,           /* a defect of ours */
  SADDLE_DEADLINE_EXCEEDED = 8,  /* a peer did not arrive in time */
  SADDLE_ABORTED = 9             /* stopped because another rank failed */
} saddle_code_t;

/* A result by value. `message` is empty on success, and otherwise borrowed: it
   belongs to the calling thread and stays valid until that thread's next call
   into the library. Behind what it says stands which message it is, whatever
   was filled in: "... [D3fa201]", as docs/Diagnostics.md lists them, to search
   for and to compare; shortages that leave no memory for it may end without. It
   is UTF-8 without control characters but line ends, also where it quotes a
   file that holds anything else. */
typedef struct saddle_status_t {
  saddle_code_t code;
  const char *message;
} saddle_status_t;

#ifdef __cplusplus
}
#endif

#endif /* SADDLE_STATUS_H */
