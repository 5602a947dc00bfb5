// The draft's side of speculative decoding: steps its program over tokens that
// are decided, and then, one by one, over those that it proposes.

#ifndef SADDLE_RUNTIME_GENERATE_DRAFTER_H
#define SADDLE_RUNTIME_GENERATE_DRAFTER_H

#include "runtime/src/session/Session.h"

namespace saddle::generate {

/// What a sequence wants to be drafted.
struct DraftTask {
  uint32_t sequence;
  /// All its tokens; the session has stepped over all but the last one.
  const std::vector<int32_t> *tokens;
  /// How many tokens are wanted, 1 or more; they follow the last one.
  uint64_t count;
  std::vector<int32_t> *drafts;
};

/// For an engine with a draft program. Not thread-safe.
class Drafter {
public:
  /// `program` is the draft's number in the session.
  Drafter(session::Session &session, uint32_t program)
      : session(session), program(program) {}

  /// Fills in the drafts of every task, all sequences at a time. Row t of the
  /// draft is of the token at position t, and is given the token behind it; so
  /// it follows the session's own steps, one token behind the text. What it
  /// leaves of drafted tokens is forgotten at the end: once they are decided,
  /// its rows are made anew from what the model itself computed. Errors are the
  /// session's.
  Status draft(Span<const DraftTask> tasks);

private:
  /// Steps over `inputs` and appends what follows each to the drafts of
  /// `drafting`, in order.
  Status step(Span<const DraftTask *const> drafting);

  session::Session &session;
  const uint32_t program;
  // Of the current step.
  std::vector<session::SequenceInput> inputs;
  std::vector<float> values;
  std::vector<int32_t> tokens;
};

} // namespace saddle::generate

#endif // SADDLE_RUNTIME_GENERATE_DRAFTER_H
