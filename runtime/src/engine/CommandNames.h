// What commands that are no launches are called: by the kernels that run them
// on devices, in traces and in messages.

#ifndef SADDLE_RUNTIME_ENGINE_COMMANDNAMES_H
#define SADDLE_RUNTIME_ENGINE_COMMANDNAMES_H

#include "runtime/schema/engine_generated.h"

namespace saddle::engine {

/// "all_reduce_sum", ...; "unknown" for values outside the enum.
const char *opOf(schema::CollectiveKind kind);
/// "send" or "receive"; "unknown" for values outside the enum.
const char *opOf(schema::TransferKind kind);
constexpr const char *kCopyOp = "copy";

} // namespace saddle::engine

#endif // SADDLE_RUNTIME_ENGINE_COMMANDNAMES_H
