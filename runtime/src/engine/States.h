// Memory that survives steps. The file describes one page of tokens and one
// sequence; here it becomes as large as whoever loads the engine says.

#ifndef SADDLE_RUNTIME_ENGINE_STATES_H
#define SADDLE_RUNTIME_ENGINE_STATES_H

#include "runtime/schema/engine_generated.h"
#include "runtime/src/base/View.h"

namespace saddle::engine {

/// Units of state on each rank: pages of an attention replica, and its batch
/// slots.
struct StateCounts {
  uint64_t pages = 1;
  uint64_t sequences = 1;

  /// How many times what the file says an arena of `kind` is; 1 for arenas
  /// without state.
  uint64_t of(schema::ArenaKind kind) const {
    return kind == schema::ArenaKind::PAGES       ? pages
           : kind == schema::ArenaKind::SEQUENCES ? sequences
                                                  : 1;
  }
};

/// Whether arenas of `kind` hold state of tokens or sequences.
inline bool holdsState(schema::ArenaKind kind) {
  return kind == schema::ArenaKind::PAGES ||
         kind == schema::ArenaKind::SEQUENCES;
}

/// Pages that max_batch sequences of max_seq_len tokens fill; not more than
/// slots that an i32 can number.
uint64_t mostPages(const schema::Limits &limits);

/// Whether some program keeps state that only a copy brings back.
bool hasSequenceState(const schema::Engine &engine);

/// Where in its arena a slice begins.
uint64_t offsetOf(const schema::Engine &engine, const schema::Slice &slice,
                  const StateCounts &counts);

/// A valid slice without data, of all pages or sequences if it is state.
View viewOf(const schema::Engine &engine, const schema::Slice &slice,
            const StateCounts &counts);

} // namespace saddle::engine

#endif // SADDLE_RUNTIME_ENGINE_STATES_H
