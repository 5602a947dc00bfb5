// How many bytes a command must move at least: what a kernel's time is compared
// with. From shapes and run-time counts; nobody executes by it.

#ifndef SADDLE_RUNTIME_SESSION_TRAFFIC_H
#define SADDLE_RUNTIME_SESSION_TRAFFIC_H

#include "runtime/src/backend/RowCounts.h"

namespace saddle::session {

/// How the rows of a launch spread over the members of a stack of weights, as
/// those of experts; all zero for other commands.
struct Routing {
  uint64_t held = 0; // members that the rank has
  uint64_t hit = 0;  // of them, how many some row chose: counted
  /// As many as would be hit if all choices were independent and even.
  double independent = 0;
  /// Members times the rows that chose them, if all are chosen alike.
  double pairs = 0;
};

/// Multiplications and additions of products of matrices.
struct Operations {
  double all = 0;
  double e4m3 = 0; // of them, with weights in 8 bits
};
/// Those of one command; causal attention counts what it keeps.
Operations
operationsOf(const schema::Engine &engine, const schema::Entry &entry,
             const schema::Command &command, const backend::RowCounts &counts,
             const backend::ReplicaBatch &batch, const Routing &routing);

/// What a command exchanges with other ranks.
struct Exchange {
  enum Kind : uint32_t {
    None,
    Sum,     // of whole matrices, on all members
    Gather,  // parts joined, on all members
    Scatter, // each member's part of a sum
    Rows,    // numbers of rows, inside a launch that does more
  };
  Kind kind = None;
  uint32_t ranks = 0; // of the group
  /// Of the sum, or of all parts together; of numbers, 8 for each row.
  uint64_t bytes = 0;
};
Exchange exchangeOf(const schema::Engine &engine, const schema::Entry &entry,
                    const schema::Command &command,
                    const backend::RowCounts &counts);

/// How a command's work follows on one another.
struct Chain {
  uint32_t functions = 0; // of a device, one behind the other
  uint32_t steps = 0;     // ops of a launch's body
};
Chain chainOf(const schema::Engine &engine, const schema::Command &command);

/// `hit`: what a traced run of the command counted.
Routing routingOf(const schema::Engine &engine, const schema::Entry &entry,
                  const schema::Command &command,
                  const backend::RowCounts &counts, uint32_t rank,
                  uint64_t hit);

/// Bytes of one rank's memory that `command` reads and writes when each is
/// touched once: activations by their real rows, weights whole, of caches what
/// the batch's sequences hold, of tables the rows that are looked up. Of
/// stacks the members that were hit.
uint64_t bytesOf(const schema::Engine &engine, const schema::Entry &entry,
                 const schema::Command &command,
                 const backend::RowCounts &counts,
                 const backend::ReplicaBatch &batch, const Routing &routing);

} // namespace saddle::session

#endif // SADDLE_RUNTIME_SESSION_TRAFFIC_H
