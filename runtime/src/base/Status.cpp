#include "runtime/src/base/Status.h"

#include <cstdio>
#include <cstdlib>
#include <cstring>

namespace saddle {

const std::string Status::kNothing;
static constexpr char kOutOfMemoryText[] =
    "out of memory; raise the limit of memory, or use a smaller model, batch "
    "or context";
const std::string Status::kOutOfMemory = kOutOfMemoryText;

//===--- Identifiers -----------------------------------------------------===//

/// Behind the specifier that begins at `format`, which is a '%'.
static const char *endOfSpecifier(const char *format) {
  format += 1 + std::strspn(format + 1, "-+ #0");
  format += std::strspn(format, "0123456789.*");
  format += std::strspn(format, "hlzjtL");
  return *format ? format + 1 : format;
}

uint32_t identify(const char *format) noexcept {
  // FNV-1a: a few lines here and in the lint, and needs no memory.
  uint32_t hash = 2166136261u;
  auto add = [&](char c) { hash = (hash ^ uint8_t(c)) * 16777619u; };
  while (*format) {
    if (*format != '%') {
      add(*format++);
      continue;
    }
    for (char c : {'.', '.', '.'})
      add(c);
    format = endOfSpecifier(format);
  }
  uint32_t folded = (hash >> 24 ^ hash) & 0xffffff;
  return folded ? folded : 1;
}

/// " [D3fa201]"
static constexpr size_t kLabelSize = sizeof(" [D000000]") - 1;

std::string Status::labelled() const {
  std::string result = message();
  if (id) {
    char label[kLabelSize + 1];
    std::snprintf(label, sizeof label, " [D%06x]", unsigned(id & 0xffffff));
    result += label;
  }
  return result;
}

uint32_t takeLabel(std::string &message) {
  if (message.size() < kLabelSize)
    return 0;
  const char *label = message.c_str() + message.size() - kLabelSize;
  const char *digits = label + 3;
  if (std::strncmp(label, " [D", 3) != 0 ||
      std::strspn(digits, "0123456789abcdef") != 6 || digits[6] != ']')
    return 0;
  uint32_t id = uint32_t(std::strtoul(digits, nullptr, 16));
  message.resize(message.size() - kLabelSize);
  return id;
}

//===--- Errors ----------------------------------------------------------===//

Status Status::withoutMemory() noexcept {
  return withoutMemory(StatusCode::ResourceExhausted,
                       identify(kOutOfMemoryText));
}

Status &Status::operator=(const Status &other) noexcept {
  if (this == &other)
    return *this;
  state = other.state;
  id = other.id;
  text.reset();
  try {
    if (other.text)
      text = std::make_unique<const std::string>(*other.text);
  } catch (const std::bad_alloc &) {
    // The code is what remains.
  }
  return *this;
}

static std::string formatted(const char *format, va_list args) {
  va_list sizing;
  va_copy(sizing, args);
  int length = std::vsnprintf(nullptr, 0, format, sizing);
  va_end(sizing);
  std::string message(length > 0 ? size_t(length) : 0, '\0');
  if (length > 0)
    std::vsnprintf(message.data(), message.size() + 1, format, args);
  return message;
}

static Status formatError(StatusCode code, uint32_t identifier,
                          const char *format, va_list args) noexcept {
  try {
    return Status(code, formatted(format, args), identifier);
  } catch (const std::bad_alloc &) {
    return Status::withoutMemory(code, identifier);
  }
}

Status makeErrorV(StatusCode code, const char *format, va_list args) noexcept {
  return formatError(code, identify(format), format, args);
}

Status makeError(StatusCode code, const char *format, ...) noexcept {
  va_list args;
  va_start(args, format);
  Status status = makeErrorV(code, format, args);
  va_end(args);
  return status;
}

Status retellError(const Status &cause, const char *format, ...) noexcept {
  va_list args;
  va_start(args, format);
  Status status = formatError(cause.code(), cause.identifier(), format, args);
  va_end(args);
  return status;
}

Status Status::within(const std::string &place) const {
  if (ok())
    return Status();
  try {
    // Either may quote what holds a NUL.
    return Status(state, place + ": " + message(), id);
  } catch (const std::bad_alloc &) {
    return withoutMemory(state, id);
  }
}

} // namespace saddle
