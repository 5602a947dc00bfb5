// Status values of the runtime: a code for programs, a message for people. The
// runtime throws nothing; what the standard library throws when memory is short
// becomes a status in Guard.h.

#ifndef SADDLE_RUNTIME_BASE_STATUS_H
#define SADDLE_RUNTIME_BASE_STATUS_H

#include <cassert>
#include <cstdarg>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>

namespace saddle {

/// Codes say who can fix it. Values are part of the C API
/// (include/saddle/status.h) and never change.
enum class StatusCode : int {
  Ok = 0,
  InvalidArgument = 1, // the caller passed something wrong
  NotFound = 2,        // a file, tensor or name does not exist
  DataLoss = 3,        // a file is truncated, damaged or lies about itself
  Unsupported = 4,     // well-formed, but this build or machine cannot do it
  Mismatch = 5,        // two inputs do not belong together (weights and engine)
  ResourceExhausted = 6, // memory, disk, KV pages
  Internal = 7,          // a defect of ours
  DeadlineExceeded = 8,  // a peer did not arrive in time
  Aborted = 9,           // stopped because another rank failed
};

/// The identifier of messages of this format: a hash of it with "..." for each
/// specifier, which is how docs/Diagnostics.md lists it. Never 0.
uint32_t identify(const char *format) noexcept;

/// Success, or a code with a message that names the place, what was expected,
/// what was found and what to do. Copies never fail: where there is no memory
/// for the message, code and identifier remain, with kOutOfMemory.
class [[nodiscard]] Status {
public:
  Status() = default;
  /// An error in the words of others, who may have given it an identifier.
  /// What Saddle says itself comes from makeError().
  Status(StatusCode code, std::string message, uint32_t identifier = 0)
      : state(code), id(identifier),
        text(std::make_unique<const std::string>(std::move(message))) {
    assert(code != StatusCode::Ok && "an error needs an error code");
  }
  /// An error with the message kOutOfMemory, which costs no memory.
  static Status withoutMemory() noexcept;
  /// The same for an error of another identifier, whose own message found none.
  static Status withoutMemory(StatusCode code, uint32_t identifier) noexcept {
    Status status;
    status.state = code;
    status.id = identifier;
    return status;
  }
  Status(const Status &other) noexcept { *this = other; }
  Status &operator=(const Status &other) noexcept;
  Status(Status &&other) noexcept { *this = std::move(other); }
  Status &operator=(Status &&other) noexcept {
    state = std::exchange(other.state, StatusCode::Ok);
    id = std::exchange(other.id, 0);
    text = std::move(other.text);
    return *this;
  }

  bool ok() const { return state == StatusCode::Ok; }
  StatusCode code() const { return state; }
  /// Empty on success.
  const std::string &message() const {
    return text ? *text : ok() ? kNothing : kOutOfMemory;
  }
  /// Which message it is, whatever was filled in and around it: identify() of
  /// its format. 0 on success and for words of others.
  uint32_t identifier() const { return id; }
  /// What people are shown: the message, and behind it the identifier as
  /// docs/Diagnostics.md writes it. "m.engine: no such file [D3fa201]"
  std::string labelled() const;

  /// The same error, told by somebody who knows the place: "PLACE: message".
  /// Success stays success.
  Status within(const std::string &place) const;

private:
  static const std::string kNothing, kOutOfMemory;

  StatusCode state = StatusCode::Ok;
  uint32_t id = 0;
  std::unique_ptr<const std::string> text;
};

/// Formats like printf into an error. Never fails, as copies. The lint
/// `diagnostics` wants the format to be one literal.
[[gnu::format(printf, 2, 3)]] Status
makeError(StatusCode code, const char *format, ...) noexcept;
[[gnu::format(printf, 2, 0)]] Status
makeErrorV(StatusCode code, const char *format, va_list args) noexcept;

/// Another telling of `cause`, which keeps its code and its identifier: with
/// places, numbers or advice around its message.
[[gnu::format(printf, 2, 3)]] Status
retellError(const Status &cause, const char *format, ...) noexcept;

/// What labelled() puts behind a message, " [D3fa201]", taken off `message`:
/// the identifier, or 0 where there is none.
uint32_t takeLabel(std::string &message);

/// A value or the reason why there is none.
template <typename T>
class [[nodiscard]] StatusOr {
public:
  StatusOr(Status error) : error(std::move(error)) {
    assert(!this->error.ok() && "a StatusOr without value needs an error");
  }
  StatusOr(T value) : storage(std::move(value)) {}

  bool ok() const { return storage.has_value(); }
  const Status &status() const { return error; }
  T &operator*() { return *storage; }
  const T &operator*() const { return *storage; }
  T *operator->() { return &*storage; }
  const T *operator->() const { return &*storage; }

private:
  Status error;
  std::optional<T> storage;
};

} // namespace saddle

#define SADDLE_CONCAT_IMPL(a, b) a##b
#define SADDLE_CONCAT(a, b) SADDLE_CONCAT_IMPL(a, b)

/// Returns the error of `expr`, if it has one.
#define SADDLE_RETURN_IF_ERROR(expr)                                           \
  do {                                                                         \
    ::saddle::Status saddleStatus = (expr);                                    \
    if (!saddleStatus.ok())                                                    \
      return saddleStatus;                                                     \
  } while (false)

/// Declares `lhs` from a StatusOr, or returns its error.
#define SADDLE_ASSIGN_OR_RETURN(lhs, expr)                                     \
  SADDLE_ASSIGN_OR_RETURN_IMPL(SADDLE_CONCAT(saddleResult, __LINE__), lhs, expr)
#define SADDLE_ASSIGN_OR_RETURN_IMPL(tmp, lhs, expr)                           \
  auto tmp = (expr);                                                           \
  if (!tmp.ok())                                                               \
    return tmp.status();                                                       \
  lhs = std::move(*tmp)

#endif // SADDLE_RUNTIME_BASE_STATUS_H
