// Byte-pair encoding over bytes.

#ifndef SADDLE_RUNTIME_TEXT_BPE_H
#define SADDLE_RUNTIME_TEXT_BPE_H

#include "runtime/src/base/Status.h"

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace saddle::text {

/// Vocabulary and merges. Immutable once filled.
class Bpe {
public:
  Bpe() { byteTokens.fill(-1); }

  /// Adds the token for `bytes`.
  void addToken(std::string bytes, int32_t id);
  /// Adds the next merge in order of priority: `left` and `right` become
  /// `merged`. A pair that is there already keeps its priority.
  void addMerge(int32_t left, int32_t right, int32_t merged);
  /// Words that are tokens are taken whole, whatever the merges say.
  void setIgnoreMerges(bool ignore) { ignoreMerges = ignore; }
  /// Stands for bytes without a token; -1: they are errors.
  void setUnknownToken(int32_t id) { unknown = id; }

  /// The token of exactly these bytes; -1 when there is none.
  int32_t idOf(std::string_view bytes) const;

  /// Appends the tokens of one word. O(n log n) in its length.
  Status encode(std::string_view word, std::vector<int32_t> &ids) const;

private:
  struct Merge {
    uint32_t priority; // lower goes first
    int32_t merged;
  };
  const Merge *findMerge(int32_t left, int32_t right) const;

  std::unordered_map<std::string, int32_t> tokens;
  std::array<int32_t, 256> byteTokens;
  std::unordered_map<uint64_t, Merge> merges; // by both ids
  bool ignoreMerges = false;
  int32_t unknown = -1;
};

} // namespace saddle::text

#endif // SADDLE_RUNTIME_TEXT_BPE_H
