#include "runtime/src/checkpoint/JsonEvents.h"

#include <nlohmann/json.hpp>

namespace saddle {

namespace {

using nlohmann::json;

/// Translates the library's events and remembers the first error.
class Adapter : public nlohmann::json_sax<json> {
public:
  Adapter(const std::string &name, JsonHandler &handler)
      : name(name), handler(handler) {}

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
  bool binary(json::binary_t &) override { return false; } // not in JSON text
  bool start_object(size_t) override { return keep(handler.beginObject()); }
  bool end_object() override { return keep(handler.endObject()); }
  bool start_array(size_t) override { return keep(handler.beginArray()); }
  bool end_array() override { return keep(handler.endArray()); }
  bool key(std::string &value) override { return keep(handler.key(value)); }
  bool parse_error(size_t position, const std::string &token,
                   const json::exception &) override {
    return keep(makeError(StatusCode::DataLoss,
                          "%s: JSON syntax error at byte %zu, near \"%.40s\"",
                          name.c_str(), position, token.c_str()));
  }

  Status status;

private:
  bool scalar(JsonScalar::Kind kind, std::string text) {
    JsonScalar event{kind, 0, std::move(text)};
    return keep(handler.scalar(event));
  }
  bool keep(Status result) {
    status = std::move(result);
    return status.ok();
  }

  const std::string &name;
  JsonHandler &handler;
};

} // namespace

Status parseJson(const std::string &name, Bytes text, JsonHandler &handler) {
  Adapter adapter(name, handler);
  json::sax_parse(text.begin(), text.end(), &adapter);
  return adapter.status;
}

} // namespace saddle
