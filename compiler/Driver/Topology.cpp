#include "compiler/Driver/Topology.h"

#include <algorithm>
#include <charconv>
#include <set>
#include <string_view>

using namespace saddle;

/// The whole text is a number from 1 to 65536.
static bool parseCount(std::string_view text, int64_t &count) {
  const char *end = text.data() + text.size();
  auto [rest, error] = std::from_chars(text.data(), end, count);
  return error == std::errc() && rest == end && count >= 1 && count <= 65536;
}

StatusOr<Topology> saddle::parseTopology(const std::string &text) {
  Topology topology;
  std::set<std::string> seen;
  for (size_t start = 0; start <= text.size();) {
    size_t end = std::min(text.find(',', start), text.size());
    std::string item = text.substr(start, end - start);
    start = end + 1;
    size_t equals = std::min(item.find('='), item.size());
    std::string name = item.substr(0, equals);
    std::string value =
        equals < item.size() ? item.substr(equals + 1) : std::string();
    int64_t *field = name == "tp"   ? &topology.tp
                     : name == "dp" ? &topology.dp
                     : name == "ep" ? &topology.ep
                     : name == "pp" ? &topology.pp
                                    : nullptr;
    if (!field)
      return makeError(StatusCode::InvalidArgument,
                       "--topology \"%s\": expected tp, dp, ep or pp, but got "
                       "\"%s\"",
                       text.c_str(), name.c_str());
    if (!seen.insert(name).second)
      return makeError(StatusCode::InvalidArgument,
                       "--topology \"%s\": %s is given twice", text.c_str(),
                       name.c_str());
    if (!parseCount(value, *field))
      return makeError(StatusCode::InvalidArgument,
                       "--topology \"%s\": expected %s to be an integer from 1 "
                       "to 65536, but got \"%s\"",
                       text.c_str(), name.c_str(), value.c_str());
  }
  return topology;
}
