// Sessions on a transport of the caller's, and who does a collective.

#include "runtime/src/backend/Collectives.h"
#include "runtime/src/comm/ThreadTransport.h"
#include "test/unit/session/Sessions.h"

#include <atomic>

namespace saddle::session {
namespace {

/// Threads as ever, with a count of what passes.
class CountingTransport : public comm::Transport {
public:
  CountingTransport(const TinyOptions &tiny, std::atomic<int> &collectives,
                    std::atomic<int> &messages)
      : threads(tiny.tp * tiny.pp, {partitionOf(tiny)},
                comm::ThreadTransportOptions()),
        collectives(collectives), messages(messages) {}

  uint32_t worldSize() const override { return threads.worldSize(); }
  Status run(uint32_t rank, const comm::Call &call,
             comm::Counts counts) override {
    ++collectives;
    return threads.run(rank, call, counts);
  }
  Status send(uint32_t rank, const comm::Message &message, uint64_t rows,
              uint64_t tag) override {
    ++messages;
    return threads.send(rank, message, rows, tag);
  }
  Status receive(uint32_t rank, const comm::Message &message, uint64_t rows,
                 uint64_t tag) override {
    ++messages;
    return threads.receive(rank, message, rows, tag);
  }
  Status checkDelivered() override { return threads.checkDelivered(); }
  void progress(uint32_t rank, const char *place) override {
    threads.progress(rank, place);
  }
  comm::Clock::time_point lastProgress(uint32_t rank) const override {
    return threads.lastProgress(rank);
  }
  const char *lastPlace(uint32_t rank) const override {
    return threads.lastPlace(rank);
  }
  void abort(uint32_t rank, const Status &error) override {
    threads.abort(rank, error);
  }
  void fail(const Status &error) override { threads.fail(error); }
  Status failure() const override { return threads.failure(); }
  bool hasFailed() const override { return threads.hasFailed(); }

private:
  /// The ranks of each stage.
  static comm::Partition partitionOf(const TinyOptions &tiny) {
    comm::Partition partition{"tp", tiny.tp, {}};
    for (uint32_t rank = 0; rank < tiny.tp * tiny.pp; ++rank)
      partition.ranks.push_back(rank);
    return partition;
  }
  comm::ThreadTransport threads;
  std::atomic<int> &collectives, &messages;
};

TEST(TransportTest, ASessionMeetsOnTheTransportThatItGets) {
  TinyOptions tiny;
  tiny.tp = 2;
  tiny.pp = 2;
  tiny.layers = 2;
  std::atomic<int> collectives{0}, messages{0};
  auto session = Session::create(
      engineOf(*tinyEngine(tiny)), "synthetic:7", {}, nullptr,
      std::make_unique<CountingTransport>(tiny, collectives, messages));
  ASSERT_TRUE(session.ok()) << session.status().message();
  uint32_t sequence = *(*session)->addSequence();
  EXPECT_EQ(step(**session, {{sequence, kPrompt, LogitsWanted::All}}),
            wholePrompt(tiny, kPrompt));
  // Eleven rows are three batches, since an entry has four. Two ranks of the
  // first stage send one tensor each, and two receive it.
  EXPECT_EQ(messages, 3 * 2 * 2);
  EXPECT_GT(collectives, 3 * 2 * 2);
}

struct NoRun {};
using Provider = backend::CollectiveProvider<NoRun>;

class Picky : public Provider {
public:
  explicit Picky(schema::CollectiveKind kind) : kind(kind) {}
  bool takes(const schema::Entry &,
             const schema::Command &command) const override {
    const auto *collective = command.action_as_Collective();
    return collective && collective->kind() == kind;
  }
  std::unique_ptr<backend::BoundCollective<NoRun>>
  bind(const backend::CollectiveSite &) override {
    return nullptr;
  }

private:
  schema::CollectiveKind kind;
};

class TakesAll : public Picky {
public:
  TakesAll() : Picky(schema::CollectiveKind::UNKNOWN) {}
  bool takes(const schema::Entry &, const schema::Command &) const override {
    return true;
  }
};

TEST(TransportTest, TheFirstProviderThatTakesACollectiveDoesIt) {
  TinyOptions tiny;
  tiny.tp = 2;
  tiny.pp = 2;
  tiny.layers = 2;
  auto engine = engineOf(*tinyEngine(tiny));
  const schema::Entry &entry =
      *engine->root().programs()->Get(1)->entries()->Get(0);
  Picky sums(schema::CollectiveKind::ALL_REDUCE_SUM);
  TakesAll rest;
  Provider *const all[] = {&sums, &rest};
  size_t bySums = 0, byRest = 0, none = 0;
  for (const schema::Command *command : *entry.commands()) {
    Provider *found = backend::providerOf<NoRun>({all, 2}, entry, *command);
    const auto *collective = command->action_as_Collective();
    bool isSum = collective &&
                 collective->kind() == schema::CollectiveKind::ALL_REDUCE_SUM;
    Provider *expected = isSum ? static_cast<Provider *>(&sums)
                         : collective || command->action_as_Transfer()
                             ? &rest
                             : nullptr;
    EXPECT_EQ(found, expected) << command->place()->c_str();
    ++(found == &sums ? bySums : found ? byRest : none);
  }
  // Sums in the layers, one receive and the gathered logits, and launches.
  EXPECT_GT(bySums, 1u);
  EXPECT_EQ(byRest, 2u);
  EXPECT_GT(none, 5u);
}

} // namespace
} // namespace saddle::session
