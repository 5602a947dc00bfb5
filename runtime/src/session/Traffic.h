// How many bytes a command must move at least: what a kernel's time is compared
// with. From shapes and run-time counts; nobody executes by it.

#ifndef SADDLE_RUNTIME_SESSION_TRAFFIC_H
#define SADDLE_RUNTIME_SESSION_TRAFFIC_H

#include "runtime/src/backend/RowCounts.h"

namespace saddle::session {

/// Bytes of one rank's memory that `command` reads and writes when each is
/// touched once: activations by their real rows, weights whole, of caches what
/// the batch's sequences hold, of tables the rows that are looked up. Of
/// experts the share that is expected when tokens choose evenly.
uint64_t bytesOf(const schema::Engine &engine, const schema::Entry &entry,
                 const schema::Command &command,
                 const backend::RowCounts &counts,
                 const backend::ReplicaBatch &batch);

} // namespace saddle::session

#endif // SADDLE_RUNTIME_SESSION_TRAFFIC_H
