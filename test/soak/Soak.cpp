// A long random life of sessions. Whatever was done before, a sequence's logits
// are those of a fresh session that is fed its tokens, bit for bit, and as many
// pages are free as nobody's tokens need.
//
//   SaddleSoak [OPERATIONS [SEED]]
//
// Operations are spread over topologies. The first difference ends the run with
// exit status 1 and says after which operation of which seed.

#include "runtime/src/engine/Programs.h"
#include "runtime/src/session/Session.h"
#include "test/unit/engine/TinyEngine.h"

#include <cinttypes>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <random>

namespace saddle::session {
namespace {

constexpr size_t kVocab = 16;
using Tokens = std::vector<int32_t>;
using Rows = std::vector<float>;

/// What the session must know of a sequence.
struct Shadow {
  Tokens tokens;
  std::map<uint32_t, Tokens> snapshots; // by number
};

class Life {
public:
  Life(const char *name, const TinyOptions &tiny, uint64_t seed)
      : name(name), tiny(tiny), random(seed) {
    std::vector<uint8_t> file = engineFileOf(*tinyEngine(tiny));
    auto loaded = Engine::fromBytes(file.data(), file.size(), name);
    check(loaded.status());
    engine = std::move(*loaded);
    session = open();
  }

  void run(uint64_t operations) {
    for (done = 0; done < operations; ++done) {
      switch (below(12)) {
      case 0:
      case 1:
        add();
        break;
      case 2:
        remove();
        break;
      case 3:
        truncate();
        break;
      case 4:
        keep();
        break;
      case 5:
        restore();
        break;
      case 6:
        beRefused();
        break;
      default:
        step();
      }
      countPages();
      if (done % 64 == 63 && !shadows.empty())
        compare(any()->first);
    }
    while (!shadows.empty()) {
      compare(shadows.begin()->first);
      check(session->removeSequence(shadows.begin()->first));
      shadows.erase(shadows.begin());
    }
    countPages();
    std::printf("%s: %" PRIu64 " operations, %" PRIu64 " steps over %" PRIu64
                " tokens, %" PRIu64 " comparisons\n",
                name, operations, steps, fed, compared);
  }

private:
  [[noreturn]] void fail(const std::string &what) const {
    std::fprintf(stderr, "%s: after operation %" PRIu64 ": %s\n", name, done,
                 what.c_str());
    std::exit(1);
  }
  void check(const Status &status) const {
    if (!status.ok())
      fail(status.message());
  }
  uint64_t below(uint64_t bound) { return random() % bound; }
  std::map<uint32_t, Shadow>::iterator any() {
    return std::next(shadows.begin(), ptrdiff_t(below(shadows.size())));
  }
  std::unique_ptr<Session> open() const {
    SessionOptions options;
    options.timeout = std::chrono::milliseconds(60000);
    auto made = Session::create(engine, "synthetic:7", options);
    check(made.status());
    return std::move(*made);
  }

  void add() {
    auto sequence = session->addSequence();
    bool full = shadows.size() == tiny.dp * tiny.maxBatch;
    if (sequence.ok() == full)
      fail(full ? "a sequence too many" : sequence.status().message());
    if (sequence.ok() && !shadows.emplace(*sequence, Shadow()).second)
      fail("a sequence twice");
  }
  void remove() {
    if (shadows.empty())
      return;
    auto gone = any();
    check(session->removeSequence(gone->first));
    shadows.erase(gone);
  }
  /// Forgets snapshots that hold more tokens than are left.
  void forget(uint32_t sequence, Shadow &shadow, size_t length) {
    shadow.tokens.resize(length);
    for (auto it = shadow.snapshots.begin(); it != shadow.snapshots.end();) {
      bool isGone = it->second.size() > length;
      if (isGone && session->restore(sequence, it->first).ok())
        fail("a snapshot of tokens that are gone was restored");
      if (isGone)
        check(session->release(it->first));
      it = isGone ? shadow.snapshots.erase(it) : std::next(it);
    }
  }
  void truncate() {
    if (shadows.empty())
      return;
    auto &[sequence, shadow] = *any();
    uint64_t length = below(shadow.tokens.size() + 2);
    bool isSnapshot = false;
    for (const auto &each : shadow.snapshots)
      isSnapshot |= each.second.size() == length;
    bool isLegal = length <= shadow.tokens.size() &&
                   (!tiny.recurrent || length == 0 ||
                    length == shadow.tokens.size() || isSnapshot);
    Status status = session->truncate(sequence, length);
    if (status.ok() != isLegal)
      fail(isLegal ? status.message() : "an illegal cut");
    if (isLegal)
      forget(sequence, shadow, length);
  }
  void keep() {
    if (shadows.empty())
      return;
    auto &[sequence, shadow] = *any();
    if (shadow.snapshots.size() > 3)
      return;
    auto snapshot = session->keep(sequence);
    check(snapshot.status());
    shadow.snapshots[*snapshot] = shadow.tokens;
  }
  void restore() {
    if (shadows.empty())
      return;
    auto &[sequence, shadow] = *any();
    if (shadow.snapshots.empty())
      return;
    auto chosen = std::next(shadow.snapshots.begin(),
                            ptrdiff_t(below(shadow.snapshots.size())));
    check(session->restore(sequence, chosen->first));
    if (below(2)) {
      forget(sequence, shadow, chosen->second.size());
      return;
    }
    size_t length = chosen->second.size();
    check(session->release(chosen->first));
    shadow.snapshots.erase(chosen);
    forget(sequence, shadow, length);
  }

  Tokens draw(size_t count) {
    Tokens tokens(count);
    for (int32_t &token : tokens)
      token = int32_t(below(kVocab));
    return tokens;
  }
  /// Refused inputs change nothing.
  void beRefused() {
    Tokens tokens = draw(tiny.maxSeqLen + 1);
    uint32_t sequence = shadows.empty() ? 0 : any()->first;
    SequenceInput input{sequence, tokens, LogitsWanted::None};
    if (below(2))
      input.sequence = 1u << 20;
    if (session->step({&input, 1}, {}).ok())
      fail("too many tokens were taken");
    if (!shadows.empty()) {
      tokens = {int32_t(kVocab)};
      input = {sequence, tokens, LogitsWanted::Last};
      if (session->step({&input, 1}, {}).ok())
        fail("a token outside the vocabulary was taken");
    }
  }
  void step() {
    std::vector<SequenceInput> inputs;
    std::map<uint32_t, Tokens> fresh;
    for (auto &[sequence, shadow] : shadows) {
      uint64_t room = tiny.maxSeqLen - shadow.tokens.size();
      if (room == 0 || below(3) == 0)
        continue;
      fresh[sequence] = draw(below(2) ? 1 : 1 + below(room));
    }
    for (auto &[sequence, tokens] : fresh)
      inputs.push_back({sequence, tokens, LogitsWanted(below(3))});
    Rows logits(rowsOf(inputs) * kVocab, NAN);
    WantedOutput output{"logits", logits.data(), logits.size() * sizeof(float)};
    check(session->step(inputs, {&output, 1}));
    ++steps;
    size_t row = 0;
    for (const SequenceInput &input : inputs) {
      Shadow &shadow = shadows[input.sequence];
      shadow.tokens.insert(shadow.tokens.end(), input.tokens.begin(),
                           input.tokens.end());
      fed += input.tokens.size();
      row += input.rows();
      if (input.rows() == 0 || below(8) != 0)
        continue;
      Rows last(logits.begin() + ptrdiff_t((row - 1) * kVocab),
                logits.begin() + ptrdiff_t(row * kVocab));
      if (last != freshLogits(shadow.tokens))
        fail("logits of sequence " + std::to_string(input.sequence) +
             " are not those of a fresh session");
    }
  }

  /// Behind the last of `tokens`.
  Rows freshLogits(const Tokens &tokens) {
    std::unique_ptr<Session> other = open();
    auto sequence = other->addSequence();
    check(sequence.status());
    SequenceInput input{*sequence, tokens, LogitsWanted::Last};
    Rows logits(kVocab, NAN);
    WantedOutput output{"logits", logits.data(), logits.size() * sizeof(float)};
    check(other->step({&input, 1}, {&output, 1}));
    ++compared;
    return logits;
  }
  /// Appends a token to the sequence here and in a fresh session.
  void compare(uint32_t sequence) {
    Shadow &shadow = shadows[sequence];
    if (shadow.tokens.size() == tiny.maxSeqLen)
      return;
    Tokens token = draw(1);
    SequenceInput input{sequence, token, LogitsWanted::Last};
    Rows logits(kVocab, NAN);
    WantedOutput output{"logits", logits.data(), logits.size() * sizeof(float)};
    check(session->step({&input, 1}, {&output, 1}));
    shadow.tokens.push_back(token[0]);
    if (logits != freshLogits(shadow.tokens))
      fail("logits of sequence " + std::to_string(sequence) +
           " are not those of a fresh session");
  }

  void countPages() const {
    uint64_t used = 0;
    for (const auto &[sequence, shadow] : shadows) {
      used += (shadow.tokens.size() + tiny.pageSize - 1) / tiny.pageSize;
      if (session->length(sequence) != shadow.tokens.size())
        fail("a sequence has another length");
    }
    uint64_t expected = session->numPages() * tiny.dp - used;
    if (session->freePages() != expected)
      fail(std::to_string(session->freePages()) + " pages are free, expected " +
           std::to_string(expected));
  }

  const char *name;
  const TinyOptions tiny;
  std::mt19937_64 random;
  std::shared_ptr<const Engine> engine;
  std::unique_ptr<Session> session;
  std::map<uint32_t, Shadow> shadows; // by sequence
  uint64_t done = 0, steps = 0, fed = 0, compared = 0;
};

int soak(uint64_t operations, uint64_t seed) {
  TinyOptions one, two, recurrent, eight;
  one.maxSeqLen = 40;
  two.tp = 2;
  two.kv = schema::DType::BF16;
  recurrent.recurrent = true;
  recurrent.maxSeqLen = 40;
  eight.tp = 4;
  eight.dp = eight.pp = eight.layers = 2;
  eight.recurrent = true;
  const std::pair<const char *, TinyOptions> lives[] = {
      {"tp=1", one},
      {"tp=2, bf16 cache", two},
      {"tp=1, recurrent", recurrent},
      {"tp=4,dp=2,pp=2, recurrent", eight}};
  for (const auto &[name, tiny] : lives)
    Life(name, tiny, seed).run(operations / std::size(lives));
  return 0;
}

} // namespace
} // namespace saddle::session

int main(int argc, char **argv) {
  uint64_t operations = argc > 1 ? std::strtoull(argv[1], nullptr, 10) : 4000;
  uint64_t seed = argc > 2 ? std::strtoull(argv[2], nullptr, 10) : 1;
  return saddle::session::soak(operations, seed);
}
