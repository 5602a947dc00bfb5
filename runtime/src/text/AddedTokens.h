// Tokens that are found in the text before anything else is done to it.

#ifndef SADDLE_RUNTIME_TEXT_ADDEDTOKENS_H
#define SADDLE_RUNTIME_TEXT_ADDEDTOKENS_H

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace saddle::text {

struct AddedToken {
  std::string content;
  int32_t id;
  bool special;
  bool lstrip; // white space to the left belongs to the token
  bool rstrip;
  bool normalized; // looked for after normalisation instead of before
};

/// A part of a text: a token, or text (id -1) still to be encoded.
struct Segment {
  std::string_view text;
  int32_t id;
};

/// Finds tokens: the leftmost match wins, then the longest.
class AddedTokenFinder {
public:
  /// Tokens with an empty content are never found.
  void add(const AddedToken &token) { tokens.push_back(token); }
  /// Cuts `text` (valid UTF-8) into segments; texts are not empty. Without
  /// `withSpecial` the content of a special token is text like any other.
  std::vector<Segment> split(std::string_view text, bool withSpecial) const;

private:
  std::vector<AddedToken> tokens;
};

} // namespace saddle::text

#endif // SADDLE_RUNTIME_TEXT_ADDEDTOKENS_H
