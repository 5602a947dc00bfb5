#include "runtime/src/text/AddedTokens.h"

#include "runtime/src/text/UnicodeData.h"
#include "runtime/src/text/Utf8.h"

namespace saddle::text {

static size_t whiteSpaceAtStart(std::string_view text) {
  size_t at = 0;
  while (at < text.size()) {
    Character character = firstCharacter(text.substr(at));
    if (character.kind != Character::Valid ||
        !isWhiteSpace(character.codePoint))
      break;
    at += character.length;
  }
  return at;
}

static size_t whiteSpaceAtEnd(std::string_view text) {
  size_t end = text.size();
  while (end > 0) {
    size_t start = end - 1;
    while (start > 0 && (uint8_t(text[start]) & 0xc0u) == 0x80)
      --start;
    Character character = firstCharacter(text.substr(start, end - start));
    if (character.kind != Character::Valid ||
        !isWhiteSpace(character.codePoint))
      break;
    end = start;
  }
  return text.size() - end;
}

std::vector<Segment> AddedTokenFinder::split(std::string_view text,
                                             bool withSpecial) const {
  // By first byte, so that text without tokens costs one look-up per byte.
  std::vector<const AddedToken *> byFirst[256];
  for (const AddedToken &token : tokens)
    if (!token.content.empty())
      byFirst[uint8_t(token.content[0])].push_back(&token);

  std::vector<Segment> segments;
  size_t done = 0; // everything before is in a segment
  for (size_t at = 0; at < text.size();) {
    const AddedToken *longest = nullptr;
    for (const AddedToken *token : byFirst[uint8_t(text[at])])
      if (text.substr(at, token->content.size()) == token->content &&
          (!longest || token->content.size() > longest->content.size()))
        longest = token;
    if (!longest) {
      ++at;
      continue;
    }
    size_t start = at, stop = at + longest->content.size();
    at = stop;
    // Found all the same: a token inside of it is none either.
    if (longest->special && !withSpecial)
      continue;
    if (longest->lstrip)
      start -= whiteSpaceAtEnd(text.substr(0, start));
    start = start < done ? done : start;
    if (longest->rstrip)
      stop += whiteSpaceAtStart(text.substr(stop));
    if (done < start)
      segments.push_back({text.substr(done, start - done), -1});
    segments.push_back({text.substr(start, stop - start), longest->id});
    done = stop;
    at = at < done ? done : at;
  }
  if (done < text.size())
    segments.push_back({text.substr(done), -1});
  return segments;
}

} // namespace saddle::text
