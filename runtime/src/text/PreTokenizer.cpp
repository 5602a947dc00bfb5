#include "runtime/src/text/PreTokenizer.h"

#include <algorithm>

namespace saddle::text {

const char *const kByteLevelPattern =
    "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|"
    "\\s+(?!\\S)|\\s+";

/// Joins neighbouring parts as `behavior` says. Parts are adjacent in memory,
/// so joining is moving a boundary.
static std::vector<Regex::Part> regroup(std::vector<Regex::Part> parts,
                                        SplitBehavior behavior) {
  if (behavior == SplitBehavior::Isolated)
    return parts;
  if (behavior == SplitBehavior::Removed) {
    parts.erase(std::remove_if(parts.begin(), parts.end(),
                               [](const auto &part) { return part.matched; }),
                parts.end());
    return parts;
  }
  bool backwards = behavior == SplitBehavior::MergedWithNext;
  if (backwards)
    std::reverse(parts.begin(), parts.end());
  std::vector<Regex::Part> result;
  bool previousMatched = false;
  for (const Regex::Part &part : parts) {
    bool joins = behavior == SplitBehavior::Contiguous
                     ? part.matched == previousMatched
                     : part.matched && !previousMatched;
    previousMatched = part.matched;
    if (!joins || result.empty()) {
      result.push_back(part);
      continue;
    }
    std::string_view &last = result.back().text;
    last = {backwards ? part.text.data() : last.data(),
            last.size() + part.text.size()};
  }
  if (backwards)
    std::reverse(result.begin(), result.end());
  return result;
}

static Status runStage(const SplitStage &stage, std::string word,
                       std::vector<std::string> &words) {
  if (stage.addPrefixSpace && !word.empty() && word[0] != ' ')
    word.insert(0, 1, ' ');
  if (!stage.pattern) {
    words.push_back(std::move(word));
    return {};
  }
  SADDLE_ASSIGN_OR_RETURN(std::vector<Regex::Part> parts,
                          stage.pattern->split(word));
  if (stage.invert)
    for (Regex::Part &part : parts)
      part.matched = !part.matched;
  for (const Regex::Part &part : regroup(std::move(parts), stage.behavior))
    words.emplace_back(part.text);
  return {};
}

Status preTokenize(const std::vector<SplitStage> &stages, std::string_view text,
                   std::vector<std::string> &words) {
  std::vector<std::string> current = {std::string(text)}, next;
  for (const SplitStage &stage : stages) {
    next.clear();
    for (std::string &word : current)
      SADDLE_RETURN_IF_ERROR(runStage(stage, std::move(word), next));
    current.swap(next);
  }
  std::move(current.begin(), current.end(), std::back_inserter(words));
  return {};
}

} // namespace saddle::text
