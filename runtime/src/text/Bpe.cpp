#include "runtime/src/text/Bpe.h"

#include <queue>
#include <tuple>

namespace saddle::text {

static uint64_t pairKey(int32_t left, int32_t right) {
  return uint64_t(uint32_t(left)) << 32 | uint32_t(right);
}

void Bpe::addToken(std::string bytes, int32_t id) {
  if (bytes.size() == 1)
    byteTokens[uint8_t(bytes[0])] = id;
  tokens.emplace(std::move(bytes), id);
}

void Bpe::addMerge(int32_t left, int32_t right, int32_t merged) {
  merges.emplace(pairKey(left, right), Merge{uint32_t(merges.size()), merged});
}

int32_t Bpe::idOf(std::string_view bytes) const {
  auto found = tokens.find(std::string(bytes));
  return found == tokens.end() ? -1 : found->second;
}

const Bpe::Merge *Bpe::findMerge(int32_t left, int32_t right) const {
  auto found = merges.find(pairKey(left, right));
  return found == merges.end() ? nullptr : &found->second;
}

namespace {
/// A token in a doubly linked list; a merged-away one has id -1.
struct Symbol {
  int32_t id;
  size_t previous, next;
};

/// A merge that was possible when it was found.
struct Candidate {
  uint32_t priority;
  size_t left; // symbol
  int32_t leftId, rightId, merged;

  /// For a queue with the best on top: lowest priority number, then leftmost.
  bool operator<(const Candidate &other) const {
    return std::tie(other.priority, other.left) < std::tie(priority, left);
  }
};

constexpr size_t kNone = ~size_t(0);
} // namespace

Status Bpe::encode(std::string_view word, std::vector<int32_t> &ids) const {
  if (ignoreMerges) {
    if (int32_t id = idOf(word); id >= 0) {
      ids.push_back(id);
      return {};
    }
  }
  std::vector<Symbol> symbols(word.size());
  for (size_t i = 0; i < word.size(); ++i) {
    int32_t id = byteTokens[uint8_t(word[i])];
    if (id < 0)
      id = unknown;
    if (id < 0)
      return makeError(StatusCode::InvalidArgument,
                       "byte 0x%02x has no token in this vocabulary",
                       uint8_t(word[i]));
    symbols[i] = {id, i == 0 ? kNone : i - 1,
                  i + 1 == word.size() ? kNone : i + 1};
  }
  std::priority_queue<Candidate> queue;
  auto consider = [&](size_t left) {
    if (left == kNone || symbols[left].next == kNone)
      return;
    int32_t leftId = symbols[left].id, rightId = symbols[symbols[left].next].id;
    if (const Merge *merge = findMerge(leftId, rightId))
      queue.push({merge->priority, left, leftId, rightId, merge->merged});
  };
  for (size_t i = 0; i < symbols.size(); ++i)
    consider(i);
  while (!queue.empty()) {
    Candidate best = queue.top();
    queue.pop();
    Symbol &left = symbols[best.left];
    if (left.id != best.leftId || left.next == kNone ||
        symbols[left.next].id != best.rightId)
      continue; // one of them has been merged since
    Symbol &right = symbols[left.next];
    left.id = best.merged;
    left.next = right.next;
    right.id = -1;
    if (left.next != kNone)
      symbols[left.next].previous = best.left;
    consider(left.previous);
    consider(best.left);
  }
  for (const Symbol &symbol : symbols)
    if (symbol.id >= 0)
      ids.push_back(symbol.id);
  return {};
}

} // namespace saddle::text
