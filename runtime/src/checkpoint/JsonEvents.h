// Parses JSON as a stream of events.
//
// A document tree would silently keep one of two members with the same name;
// events let a reader see both and refuse. They also keep a header of a
// hundred thousand tensors cheap.

#ifndef SADDLE_RUNTIME_CHECKPOINT_JSONEVENTS_H
#define SADDLE_RUNTIME_CHECKPOINT_JSONEVENTS_H

#include "runtime/src/base/Span.h"
#include "runtime/src/base/Status.h"

#include <cstdint>
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

/// Returns the handler's error, or DataLoss with `name` and the byte where the
/// text stops being JSON. The nesting depth is bounded by the handler alone.
Status parseJson(const std::string &name, Bytes text, JsonHandler &handler);

} // namespace saddle

#endif // SADDLE_RUNTIME_CHECKPOINT_JSONEVENTS_H
