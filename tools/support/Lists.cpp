#include "tools/support/Lists.h"

#include <charconv>

namespace saddle::tools {

static std::string trimmed(const std::string &text) {
  size_t first = text.find_first_not_of(" \t\n");
  if (first == std::string::npos)
    return "";
  return text.substr(first, text.find_last_not_of(" \t\n") - first + 1);
}

StatusOr<std::vector<int64_t>> parseList(const std::string &option,
                                         const std::string &text) {
  std::vector<int64_t> numbers;
  for (size_t start = 0; start <= text.size();) {
    size_t comma = std::min(text.find(',', start), text.size());
    std::string item = trimmed(text.substr(start, comma - start));
    int64_t number = 0;
    auto [end, error] =
        std::from_chars(item.data(), item.data() + item.size(), number);
    if (error != std::errc() || end != item.data() + item.size())
      return makeError(StatusCode::InvalidArgument,
                       "%s: expected whole numbers with commas between, found "
                       "\"%s\" in place %zu",
                       option.c_str(), item.c_str(), numbers.size());
    numbers.push_back(number);
    start = comma + 1;
  }
  return numbers;
}

} // namespace saddle::tools
