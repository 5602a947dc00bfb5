// Continuous batching over a session: requests enter as batch slots and KV
// pages become free, every step advances all that are in, and each leaves when
// it ends. With a draft, a step feeds every request its next token and those
// that the draft expects behind it, and keeps as many as the model itself would
// have chosen (docs/decisions/0012-speculation.md).

#ifndef SADDLE_RUNTIME_GENERATE_GENERATOR_H
#define SADDLE_RUNTIME_GENERATE_GENERATOR_H

#include "runtime/src/generate/Drafter.h"
#include "runtime/src/sample/Sampler.h"
#include "runtime/src/session/Session.h"

#include <deque>

namespace saddle::generate {

/// How a prompt is continued.
struct RequestOptions {
  uint64_t maxNewTokens = 0; // 0: the prompt is fed and nothing sampled
  bool ignoreEos = false;    // goes on behind end-of-sequence tokens
  bool wantsLogits = false;  // of every token that is fed
  sample::SamplerOptions sampling;
};
using RequestId = uint64_t;

/// Why a request ended.
enum class Stop {
  Length,        // maxNewTokens came
  Eos,           // an end-of-sequence token came
  SequenceLimit, // max_seq_len tokens are held
  Error,         // no token could be sampled; others go on
};

/// Learns what happens, during Generator::step() and on its thread. May add and
/// remove requests, not step.
class Listener {
public:
  virtual ~Listener() = default;
  /// Logits after each of the next `count` tokens that were fed, `count` rows
  /// of the vocabulary; of requests that want them, before the token that
  /// follows. The last generated token is never fed. Valid for the call.
  virtual void onLogits(RequestId request, const float *rows, size_t count) {}
  /// A generated token; an end-of-sequence token is one, too.
  virtual void onToken(RequestId request, int32_t token) = 0;
  /// Tokens that were drafted and how many of them were accepted, behind the
  /// tokens that this gave; the request may have ended.
  virtual void onDrafts(RequestId request, Span<const int32_t> drafts,
                        size_t accepted) {}
  /// The last word about a request. `error` is that of Stop::Error.
  virtual void onEnd(RequestId request, Stop stop, const Status &error) = 0;
};

/// Where the time went. A step with any prompt token counts as prefill. Tokens
/// are those that were kept.
struct Timing {
  double prefillSeconds = 0, decodeSeconds = 0;
  uint64_t prefillTokens = 0, decodeTokens = 0;
  /// Of drafting, not among the others.
  double draftSeconds = 0;
  /// Tokens that were drafted and verified, those of them that were accepted,
  /// and how often drafts of a request were verified. Each time gave a token
  /// more than were accepted.
  uint64_t draftedTokens = 0, acceptedTokens = 0, verifications = 0;
};

/// Steps that follow one another without the host unless chain() says
/// otherwise: enough to hide what the host does, and few enough for a listener.
constexpr uint64_t kChainSteps = 8;

/// Not thread-safe. Uses the session, which outlives it, beside others as long
/// as they leave it batch slots and pages.
class Generator {
public:
  Generator(session::Session &session, Listener &listener);
  /// Removes its sequences from the session.
  ~Generator();

  /// How many tokens are drafted for a request's step, at most: as many as the
  /// engine verifies, unless this says less. 0: none. InvalidArgument for more.
  Status speculate(uint64_t tokens);
  /// For measurements with weights that mean nothing: each drafted token is
  /// taken for right with this probability, 0 to 1, if the one before it was,
  /// whatever the model says. Texts mean nothing then, either. All requests
  /// accept the same numbers of tokens, whose mean is what the probability
  /// makes of it, in an even rhythm.
  Status fixAcceptance(double share);

  /// Steps without the host between them, at most, where a target can do that
  /// and all requests are greedy: one step() then gives the tokens of so many.
  /// 1: the host stands between all steps. InvalidArgument for 0 and for more
  /// than backend::kMostChainRounds.
  Status chain(uint64_t steps);

  /// Queues a request; they start in order. `prompt` is copied.
  /// InvalidArgument: no tokens or more than max_seq_len, a token outside the
  /// vocabulary, sampling options out of range. ResourceExhausted: it may need
  /// more KV pages than a replica has.
  StatusOr<RequestId> add(Span<const int32_t> prompt,
                          const RequestOptions &options);
  /// Ends a request without another word to the listener. InvalidArgument when
  /// it has ended already.
  Status remove(RequestId request);
  /// Requests that have not ended.
  size_t live() const { return waiting.size() + active.size() - removed; }

  /// Starts requests as far as there is room for their whole lives, feeds every
  /// active one what it has not been fed yet and samples its next token, or
  /// several where drafts were right. A draft changes no token of a text.
  /// Without requests nothing happens. Errors are the session's, or a shortage
  /// of memory; the requests are then as good as lost, and every further step
  /// repeats the error.
  Status step();

  const Timing &timing() const { return times; }

private:
  struct Waiting {
    RequestId id;
    RequestOptions options;
    std::vector<int32_t> tokens; // the prompt
    sample::Sampler sampler;
    uint64_t pages; // that it may need in the end
  };
  struct Active : Waiting { // `tokens` grow by generated ones
    Active(Waiting &&from, uint32_t sequence, uint32_t replica)
        : Waiting(std::move(from)), promptTokens(tokens.size()),
          sequence(sequence), replica(replica) {}
    size_t promptTokens;
    uint32_t sequence, replica;
    size_t fed = 0; // tokens that the session has
    bool hasEnded = false;
    std::vector<int32_t> drafts;  // that may follow `tokens`
    std::vector<int32_t> feeding; // with drafts: what the step feeds
    double owed = 0;              // of fixAcceptance: tokens to accept
    /// Of a verification: the sequence before it, and how many of its tokens
    /// stay, when not all do.
    std::optional<uint32_t> snapshot;
    size_t taken = 0; // tokens that the session had then
    bool feedsAgain = false;
  };
  Status stepAll();
  /// Steps that can be chained now: 1 when the host must stand between them.
  uint64_t chainable() const;
  /// So many steps without the host; false when the session refuses.
  StatusOr<bool> runChain(uint64_t rounds);
  /// What the round of a chain yielded for all requests.
  void replay(const backend::ChainPlan &plan,
              const backend::ChainResults &results, uint64_t round);
  Status admit();
  Status feed();
  /// Has sequences whose state cannot be cut take again what stayed of their
  /// step, from snapshots before it.
  Status feedAgain();
  /// What the step yielded for `active[index]`, from row `row` on.
  Status advance(size_t index, size_t row, size_t rows);
  /// Takes the tokens that rows give, from that on which is behind the last
  /// token that is decided; how many drafted ones are among them.
  size_t walk(Active &entry, size_t last);
  /// Takes the token that the row gives, or `given`; false when the request has
  /// ended.
  bool take(Active &entry, size_t row, const int32_t *given);
  /// How many of so many drafted tokens are right, as fixAcceptance() says.
  size_t owedOf(Active &entry, size_t drafts) const;
  /// Drafts for all that go on.
  Status propose();
  Status retire();
  StatusOr<int32_t> sample(Active &entry, size_t row);
  void end(Active &entry, Stop stop, const Status &error = {});
  bool isEos(int32_t token) const;
  bool needsLogits() const;

  session::Session &session;
  Listener &listener;
  std::optional<Drafter> drafter;
  uint64_t specTokens = 0;
  uint64_t chainSteps = kChainSteps;
  std::optional<double> fixedAcceptance;
  /// Whether the state of a sequence cannot be cut.
  const bool hasSequenceState;
  const uint64_t vocab, candidates, maxSeqLen, pageSize, pagesPerReplica;
  RequestId nextId = 0;
  std::deque<Waiting> waiting;
  std::vector<Active> active;
  size_t removed = 0; // of the active ones
  bool isStepping = false;
  Status broken;                  // by a throw in the middle of a step
  std::vector<uint64_t> reserved; // pages, by attention replica
  Timing times;
  // Of the current step.
  std::vector<session::SequenceInput> inputs;
  const float *logits = nullptr;
  const float *values = nullptr; // of candidates; null: logits
  const int32_t *tokens = nullptr;
  uint64_t width = 0; // candidates of a row
  std::vector<float> valueRows;
  std::vector<int32_t> tokenRows;
};

} // namespace saddle::generate

#endif // SADDLE_RUNTIME_GENERATE_GENERATOR_H
