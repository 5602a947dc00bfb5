// Sessions on tiny engines with synthetic weights, and their logits.

#ifndef SADDLE_TEST_UNIT_EXEC_SESSIONS_H
#define SADDLE_TEST_UNIT_EXEC_SESSIONS_H

#include "runtime/src/session/Session.h"

#include "test/unit/engine/TinyEngine.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <thread>

namespace saddle::session {

using namespace std::chrono_literals;
using testing::HasSubstr;

constexpr size_t kVocab = 16;
using Tokens = std::vector<int32_t>;
using Rows = std::vector<float>;

inline const Tokens kPrompt = {3, 1, 4, 1, 5, 9, 2, 6, 5, 3, 5};

inline std::shared_ptr<const Engine>
engineOf(const schema::EngineT &description) {
  std::vector<uint8_t> file = engineFileOf(description);
  auto engine = Engine::fromBytes(file.data(), file.size(), "tiny");
  EXPECT_TRUE(engine.ok()) << engine.status().message();
  return engine.ok() ? std::move(*engine) : nullptr;
}

inline std::unique_ptr<Session> open(const TinyOptions &tiny,
                                     const SessionOptions &options = {}) {
  auto session =
      Session::create(engineOf(*tinyEngine(tiny)), "synthetic:7", options);
  EXPECT_TRUE(session.ok()) << session.status().message();
  return session.ok() ? std::move(*session) : nullptr;
}

/// A vector of the right size as an output.
template <typename T>
WantedOutput wanted(const char *name, std::vector<T> &rows) {
  return {name, rows.data(), rows.size() * sizeof(T)};
}

/// A step with whole logits; its error.
inline Status stepInto(Session &session, Span<const SequenceInput> inputs,
                       Rows &logits) {
  WantedOutput output = wanted("logits", logits);
  return session.step(inputs, Span<const WantedOutput>(&output, 1));
}

/// Logits of a step that must succeed.
inline Rows step(Session &session, const std::vector<SequenceInput> &inputs) {
  Rows logits(rowsOf(inputs) * kVocab, NAN);
  Status status = stepInto(session, inputs, logits);
  EXPECT_TRUE(status.ok()) << status.message();
  return logits;
}

struct Candidates {
  Rows values;
  Tokens tokens;
};

/// Candidates of a step that must succeed, `count` for each row.
inline Candidates stepCandidates(Session &session,
                                 const std::vector<SequenceInput> &inputs,
                                 size_t count) {
  size_t rows = rowsOf(inputs);
  Candidates result{Rows(rows * count, NAN), Tokens(rows * count, -1)};
  WantedOutput outputs[] = {wanted("candidate_values", result.values),
                            wanted("candidate_tokens", result.tokens)};
  Status status = session.step(inputs, Span<const WantedOutput>(outputs, 2));
  EXPECT_TRUE(status.ok()) << status.message();
  return result;
}

/// What the candidates of rows of logits must be.
inline Candidates candidatesIn(const Rows &logits, size_t count) {
  Candidates result;
  for (size_t row = 0; row < logits.size(); row += kVocab) {
    Tokens order;
    for (size_t i = 0; i < kVocab; ++i)
      order.push_back(int32_t(i));
    std::sort(order.begin(), order.end(), [&](int32_t a, int32_t b) {
      float x = logits[row + size_t(a)], y = logits[row + size_t(b)];
      return x != y ? x > y : a < b;
    });
    order.resize(count);
    for (int32_t token : order) {
      result.tokens.push_back(token);
      result.values.push_back(logits[row + size_t(token)]);
    }
  }
  return result;
}

/// Logits of every position of `tokens` in a fresh session.
inline Rows wholePrompt(const TinyOptions &tiny, const Tokens &tokens,
                        const SessionOptions &options = {}) {
  auto session = open(tiny, options);
  uint32_t sequence = *session->addSequence();
  return step(*session, {{sequence, tokens, LogitsWanted::All}});
}

inline double largestDifference(const Rows &a, const Rows &b) {
  EXPECT_EQ(a.size(), b.size());
  double largest = 0;
  for (size_t i = 0; i < a.size(); ++i)
    largest = std::fmax(largest, std::fabs(a[i] - b[i]));
  return largest;
}

inline double largestMagnitude(const Rows &rows) {
  return largestDifference(rows, Rows(rows.size()));
}

/// Rows that differ by rounding only, as other sums over ranks make them.
inline void expectClose(const Rows &found, const Rows &expected) {
  EXPECT_LE(largestDifference(found, expected),
            1e-4 * largestMagnitude(expected));
}

inline Rows rowsFrom(const Rows &rows, size_t first, size_t count = SIZE_MAX) {
  size_t begin = first * kVocab, end = rows.size();
  if (count != SIZE_MAX)
    end = begin + count * kVocab;
  return Rows(rows.begin() + begin, rows.begin() + end);
}

} // namespace saddle::session

#endif // SADDLE_TEST_UNIT_EXEC_SESSIONS_H
