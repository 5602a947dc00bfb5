// The one reader of JSON files: config.json, tokenizer.json, the index of a
// checkpoint and safetensors headers. All are untrusted, so all have the same
// limits, and none may say two things at once.
//
// A document tree would silently keep one of two members with the same name,
// and recursion over a deep one would overflow the stack; both are refused
// here. Events keep a header of a hundred thousand tensors cheap.

#ifndef SADDLE_RUNTIME_BASE_JSON_H
#define SADDLE_RUNTIME_BASE_JSON_H

#include "runtime/src/base/Span.h"
#include "runtime/src/base/Status.h"

#include <nlohmann/json_fwd.hpp>

#include <cstdint>
#include <memory>
#include <string>

namespace saddle {

/// A string, number, boolean or null.
struct JsonScalar {
  enum class Kind { Null, Boolean, Unsigned, OtherNumber, String };
  Kind kind;
  uint64_t number; // of Unsigned
  /// Of String: the value. Of everything else: its spelling, for messages.
  std::string text;
};

/// Receives the events of one document in order. An error ends the parse.
class JsonHandler {
public:
  virtual ~JsonHandler() = default;
  virtual Status beginObject() = 0;
  virtual Status endObject() = 0;
  virtual Status beginArray() = 0;
  virtual Status endArray() = 0;
  virtual Status key(std::string &name) = 0;
  virtual Status scalar(JsonScalar &value) = 0;
};

/// Arrays and objects in each other; no file of a model comes near it.
constexpr unsigned kMaxJsonDepth = 64;
/// Of a text, and values of a document.
constexpr uint64_t kMaxJsonBytes = uint64_t(512) << 20;
constexpr uint64_t kMaxJsonValues = uint64_t(8) << 20;

/// Returns the handler's error, or DataLoss with `name` and the place where the
/// text is not JSON: its whole length must be one value, nested no deeper than
/// kMaxJsonDepth. Names may repeat; the handler sees both.
Status parseJson(const std::string &name, Bytes text, JsonHandler &handler);

/// Owns the values of a document. nlohmann::json allocates in its destructor,
/// which ends the process when memory is short; this one takes values apart
/// from within, which costs nothing. Move-only.
class JsonDocument {
public:
  /// Null.
  JsonDocument();
  JsonDocument(JsonDocument &&other) noexcept;
  JsonDocument &operator=(JsonDocument &&other) noexcept;
  ~JsonDocument();

  const nlohmann::json &operator*() const { return *root; }
  const nlohmann::json *operator->() const { return root.get(); }
  nlohmann::json &get() { return *root; }

private:
  std::unique_ptr<nlohmann::json> root; // null after a move
};

/// A document, likewise, in which no object has two members of one name.
StatusOr<JsonDocument> readJson(const std::string &name, Bytes text);

} // namespace saddle

#endif // SADDLE_RUNTIME_BASE_JSON_H
