// Lets every call of a kind fail in turn.

#ifndef SADDLE_TEST_UNIT_FAULTS_WALK_H
#define SADDLE_TEST_UNIT_FAULTS_WALK_H

#include "test/unit/faults/Injection.h"

#include <saddle/status.h>

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdio>
#include <set>
#include <string>
#include <vector>

namespace saddle::faults {

/// What a call must answer when something in it fails.
using Codes = std::vector<saddle_code_t>;

/// Messages of all walks of this process.
inline std::set<std::string> &seenMessages() {
  static std::set<std::string> messages;
  return messages;
}
/// Whether a walk has met a message with all of these in order.
inline bool hasSeen(const std::vector<std::string> &parts) {
  return std::any_of(seenMessages().begin(), seenMessages().end(),
                     [&](const std::string &message) {
                       size_t at = 0;
                       for (const std::string &part : parts) {
                         at = message.find(part, at);
                         if (at == std::string::npos)
                           return false;
                       }
                       return true;
                     });
}

/// Runs `life` with call 1 failing, call 2, and so on, until one is not met,
/// once with that call alone and once with all from there on. `prepare` makes
/// what `life` takes, without faults. `life` answers a status, which must be an
/// error of one of `codes` with a message when a call failed, and fine
/// otherwise. Returns how many calls there are.
template <typename Prepare, typename Life>
uint64_t walk(Call call, const Codes &codes, Prepare prepare, Life life) {
  {
    // What is made once and kept is no leak.
    auto given = prepare();
    (void)life(given);
  }
  uint64_t calls = 0;
  std::set<std::string> messages;
  int64_t kept = 0; // blocks of `messages`
  const int64_t before = liveBlocks();
  for (bool lasting : {false, true})
    for (uint64_t number = 1;; ++number) {
      saddle_status_t status;
      bool failed;
      {
        auto given = prepare();
        Injection injection(call, number, lasting);
        status = life(given);
        failed = injection.hasFailed();
      }
      // One block may be the message's.
      EXPECT_LE(liveBlocks(), before + 1 + kept)
          << "call " << number << " leaks";
      int64_t blocks = liveBlocks();
      messages.insert(status.message);
      kept += liveBlocks() - blocks;
      if (!failed) {
        EXPECT_EQ(status.code, SADDLE_OK) << status.message;
        calls = number - 1;
        break;
      }
      EXPECT_NE(std::find(codes.begin(), codes.end(), status.code), codes.end())
          << "call " << number << (lasting ? " and those behind it" : "")
          << ": code " << status.code << ", " << status.message;
      EXPECT_STRNE(status.message, "") << "call " << number;
      if (testing::Test::HasFailure())
        return number;
    }
  seenMessages().merge(messages);
  const char *const names[] = {"allocations", "mappings", "reads",
                               "early ends of files", "threads"};
  std::printf("[  WALKED  ] %s: %llu %s\n",
              testing::UnitTest::GetInstance()->current_test_info()->name(),
              (unsigned long long)calls, names[int(call)]);
  return calls;
}

} // namespace saddle::faults

#endif // SADDLE_TEST_UNIT_FAULTS_WALK_H
