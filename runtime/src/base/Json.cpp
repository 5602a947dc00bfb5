#include "runtime/src/base/Json.h"

#include "runtime/src/base/Download.h"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <cinttypes>
#include <cstdarg>
#include <cstdio>
#include <cstring>
#include <string_view>

namespace saddle {

namespace {

using nlohmann::json;

/// `line L, column C (byte B)` of a byte offset; lines and columns count
/// from 1.
std::string describePosition(std::string_view text, size_t offset) {
  std::string_view before = text.substr(0, offset);
  size_t line = 1 + std::count(before.begin(), before.end(), '\n');
  size_t lineStart = before.rfind('\n');
  size_t column =
      lineStart == std::string_view::npos ? offset + 1 : offset - lineStart;
  return "line " + std::to_string(line) + ", column " + std::to_string(column) +
         " (byte " + std::to_string(offset) + ")";
}

std::string describeCharacter(std::string_view text, size_t offset) {
  if (offset >= text.size())
    return "end of file";
  unsigned char c = text[offset];
  if (c > ' ' && c < 0x7f)
    return std::string("'") + char(c) + "'";
  char code[16];
  std::snprintf(code, sizeof code, "byte 0x%02x", c);
  return code;
}

/// What every text must keep, and its first error.
class LimitedSax : public nlohmann::json_sax<json> {
public:
  LimitedSax(const std::string &name, std::string_view text)
      : name(name), text(text) {}

  bool binary(json::binary_t &) override { return false; } // not in JSON text
  bool parse_error(size_t position, const std::string &,
                   const json::exception &error) override {
    // The library counts the bytes it has read, the wrong one included.
    size_t offset = std::min(position ? position - 1 : 0, text.size());
    constexpr int numberOverflow = 406;
    if (error.id == numberOverflow)
      return refuse("%s: not valid JSON, number out of range",
                    describePosition(text, offset).c_str());
    return refuseCharacter(offset);
  }

  Status parse() {
    if (text.size() > kMaxJsonBytes) {
      refuse("%zu bytes, the limit is %" PRIu64, text.size(), kMaxJsonBytes);
      return status;
    }
    if (const char *found = describeDownload(
            {reinterpret_cast<const uint8_t *>(text.data()), text.size()})) {
      refuse("expected JSON, but this is %s", found);
      return status;
    }
    // For the library a NUL is the end, whatever stands behind it.
    if (size_t nul = text.find('\0'); nul != std::string_view::npos) {
      refuseCharacter(nul);
      return status;
    }
    json::sax_parse(text.begin(), text.end(), this);
    return status;
  }

protected:
  /// `NAME: problem`, formatted like printf.
  [[gnu::format(printf, 2, 3)]] bool refuse(const char *format, ...) {
    va_list args;
    va_start(args, format);
    Status problem = makeErrorV(StatusCode::DataLoss, format, args);
    va_end(args);
    return keep(problem.within(name));
  }
  bool refuseCharacter(size_t offset) {
    return refuse("%s: not valid JSON, unexpected %s",
                  describePosition(text, offset).c_str(),
                  describeCharacter(text, offset).c_str());
  }
  bool keep(Status result) {
    status = std::move(result);
    return status.ok();
  }
  bool enter() {
    return ++depth <= kMaxJsonDepth ||
           refuse("nested deeper than %u levels", kMaxJsonDepth);
  }
  bool leave() {
    --depth;
    return true;
  }

private:
  const std::string &name;
  std::string_view text;
  unsigned depth = 0;
  Status status;
};

/// Translates the library's events.
class EventSax : public LimitedSax {
public:
  EventSax(const std::string &name, std::string_view text, JsonHandler &handler)
      : LimitedSax(name, text), handler(handler) {}

  bool null() override { return scalar(JsonScalar::Kind::Null, "null"); }
  bool boolean(bool value) override {
    return scalar(JsonScalar::Kind::Boolean, value ? "true" : "false");
  }
  bool number_integer(int64_t value) override {
    return scalar(JsonScalar::Kind::OtherNumber, std::to_string(value));
  }
  bool number_unsigned(uint64_t value) override {
    JsonScalar event{JsonScalar::Kind::Unsigned, value, ""};
    return keep(handler.scalar(event));
  }
  bool number_float(double, const std::string &spelling) override {
    return scalar(JsonScalar::Kind::OtherNumber, spelling);
  }
  bool string(std::string &value) override {
    return scalar(JsonScalar::Kind::String, std::move(value));
  }
  bool start_object(size_t) override {
    return enter() && keep(handler.beginObject());
  }
  bool end_object() override { return leave() && keep(handler.endObject()); }
  bool start_array(size_t) override {
    return enter() && keep(handler.beginArray());
  }
  bool end_array() override { return leave() && keep(handler.endArray()); }
  bool key(std::string &value) override { return keep(handler.key(value)); }

private:
  bool scalar(JsonScalar::Kind kind, std::string text) {
    JsonScalar event{kind, 0, std::move(text)};
    return keep(handler.scalar(event));
  }

  JsonHandler &handler;
};

/// Builds a document.
class DocumentSax : public LimitedSax {
public:
  using LimitedSax::LimitedSax;

  bool null() override { return add(nullptr); }
  bool boolean(bool value) override { return add(value); }
  bool number_integer(int64_t value) override { return add(value); }
  bool number_unsigned(uint64_t value) override { return add(value); }
  bool number_float(double value, const std::string &) override {
    return add(value);
  }
  bool string(std::string &value) override { return add(std::move(value)); }
  bool start_object(size_t) override {
    return enter() && add(json::object()) && open();
  }
  bool start_array(size_t) override {
    return enter() && add(json::array()) && open();
  }
  bool end_object() override { return close(); }
  bool end_array() override { return close(); }
  bool key(std::string &value) override {
    auto &members = opened.back()->get_ref<json::object_t &>();
    auto [member, isNew] = members.emplace(value, nullptr);
    place = &member->second;
    return isNew ||
           refuse("key \"%s\" appears twice in one object", value.c_str());
  }

  JsonDocument root;

private:
  bool add(json value) {
    if (++values > kMaxJsonValues)
      return refuse("more than %" PRIu64 " values", kMaxJsonValues);
    if (opened.empty()) {
      place = &root.get();
    } else if (opened.back()->is_array()) {
      auto &elements = opened.back()->get_ref<json::array_t &>();
      elements.emplace_back();
      place = &elements.back();
    }
    *place = std::move(value);
    return true;
  }
  bool open() {
    opened.push_back(place);
    return true;
  }
  bool close() {
    opened.pop_back();
    return leave();
  }

  std::vector<json *> opened; // arrays and objects, the innermost last
  json *place = nullptr;      // of the value that was added last, or is next
  uint64_t values = 0;
};

std::string_view viewOf(Bytes text) {
  return {reinterpret_cast<const char *>(text.data()), text.size()};
}

} // namespace

Status parseJson(const std::string &name, Bytes text, JsonHandler &handler) {
  return EventSax(name, viewOf(text), handler).parse();
}

/// Empties all containers, the innermost first. Documents are no deeper than
/// kMaxJsonDepth.
static void takeApart(json &value) {
  if (auto *elements = value.get_ptr<json::array_t *>()) {
    for (json &element : *elements)
      takeApart(element);
    elements->clear();
  } else if (auto *members = value.get_ptr<json::object_t *>()) {
    for (auto &member : *members)
      takeApart(member.second);
    members->clear();
  }
}

JsonDocument::JsonDocument() : root(std::make_unique<json>()) {}
JsonDocument::JsonDocument(JsonDocument &&) noexcept = default;
JsonDocument &JsonDocument::operator=(JsonDocument &&other) noexcept {
  std::swap(root, other.root);
  return *this;
}
JsonDocument::~JsonDocument() {
  if (root)
    takeApart(*root);
}

StatusOr<JsonDocument> readJson(const std::string &name, Bytes text) {
  DocumentSax sax(name, viewOf(text));
  SADDLE_RETURN_IF_ERROR(sax.parse());
  return std::move(sax.root);
}

} // namespace saddle
