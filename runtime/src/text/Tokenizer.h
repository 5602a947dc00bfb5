// Text to token ids and back, as a Hugging Face tokenizer.json describes it.
//
// Supported: byte-level BPE; pre-tokenizers ByteLevel and Split; normalizer
// NFC; added tokens; post-processors ByteLevel and TemplateProcessing. Anything
// else in the file is an error that names it, never a guess.

#ifndef SADDLE_RUNTIME_TEXT_TOKENIZER_H
#define SADDLE_RUNTIME_TEXT_TOKENIZER_H

#include "runtime/src/base/Span.h"
#include "runtime/src/text/AddedTokens.h"
#include "runtime/src/text/Bpe.h"
#include "runtime/src/text/PreTokenizer.h"

#include <memory>
#include <unordered_map>

namespace saddle::text {

/// Immutable, safe to share between threads.
class Tokenizer {
public:
  /// Reads a tokenizer.json.
  static StatusOr<std::unique_ptr<Tokenizer>> load(const std::string &path);
  /// The same from memory; `name` stands in messages for the path.
  static StatusOr<std::unique_ptr<Tokenizer>> fromJson(Bytes json,
                                                       const std::string &name);

  /// `addSpecial` puts the post-processor's special tokens around the text;
  /// with `parseSpecial` the content of a special token inside it becomes that
  /// token, which whoever wrote the text then may use. Errors: `text` is not
  /// UTF-8.
  StatusOr<std::vector<int32_t>> encode(std::string_view text, bool addSpecial,
                                        bool parseSpecial) const;
  /// UTF-8; U+FFFD stands for bytes that are none. Ids without a token yield
  /// nothing: models have larger vocabularies than their tokenizers.
  std::string decode(Span<const int32_t> ids, bool skipSpecial) const;

  /// The bytes of one token, perhaps a part of a character; empty when there
  /// is no such token.
  std::string_view bytesOf(int32_t id) const;
  bool isSpecial(int32_t id) const;
  /// The id of an added token by its content; -1 when there is none.
  int32_t addedTokenId(std::string_view content) const;
  /// One more than the largest id.
  int32_t vocabSize() const { return int32_t(pieces.size()); }

private:
  friend class TokenizerReader;
  struct Piece {
    std::string bytes;
    bool special = false;
  };
  Status encodeText(std::string_view text, std::vector<int32_t> &ids) const;

  bool nfc = false;
  AddedTokenFinder rawTokens, normalizedTokens;
  std::unordered_map<std::string, int32_t> addedIds;
  std::vector<SplitStage> stages;
  Bpe bpe;
  std::vector<int32_t> prefix, suffix; // of the post-processor
  std::vector<Piece> pieces;           // by id
};

/// Turns a stream of tokens into text, holding back the bytes of a character
/// until it is complete. The concatenation of all results is what
/// Tokenizer::decode gives for all ids. Borrows the tokenizer.
class StreamDecoder {
public:
  StreamDecoder(const Tokenizer &tokenizer, bool skipSpecial)
      : tokenizer(tokenizer), skipSpecial(skipSpecial) {}
  /// The text that became complete with `id`.
  std::string push(int32_t id);
  /// What is still held back, repaired. Starts anew.
  std::string finish();

private:
  const Tokenizer &tokenizer;
  bool skipSpecial;
  std::string held;
};

} // namespace saddle::text

#endif // SADDLE_RUNTIME_TEXT_TOKENIZER_H
