// --logits-out: what the model computed, as a safetensors file.

#ifndef SADDLE_TOOLS_SADDLE_RUN_LOGITSFILE_H
#define SADDLE_TOOLS_SADDLE_RUN_LOGITSFILE_H

#include "tools/saddle-run/Generate.h"

namespace saddle::tools {

/// Writes `tokens` (I32 [prompt + generated]), `logits` (F32 [tokens that
/// were fed, vocab]) and, if there are any, `hidden` (F32 [layers, columns]) of
/// each continuation; with several, the names end in ".0",
/// ".1", ... Row i belongs to token i; the last generated token is never fed,
/// so it has no row. Errors: the path is not writable, the disk is full.
Status writeLogits(const std::string &path,
                   const std::vector<Continuation> &continuations,
                   uint64_t vocab);

} // namespace saddle::tools

#endif // SADDLE_TOOLS_SADDLE_RUN_LOGITSFILE_H
