// What a download that went wrong leaves in the place of a file.

#ifndef SADDLE_RUNTIME_BASE_DOWNLOAD_H
#define SADDLE_RUNTIME_BASE_DOWNLOAD_H

#include "runtime/src/base/Span.h"

#include <cctype>
#include <string_view>

namespace saddle {

/// What a file is that begins so, and what to do; null when it is neither a
/// pointer nor a page. No JSON and no safetensors file begins like them.
inline const char *describeDownload(Bytes start) {
  constexpr size_t kEnough = 256;
  std::string_view text(reinterpret_cast<const char *>(start.data()),
                        start.size() < kEnough ? start.size() : kEnough);
  auto begins = [&](std::string_view expected) {
    if (text.size() < expected.size())
      return false;
    for (size_t i = 0; i < expected.size(); ++i)
      if (std::tolower(uint8_t(text[i])) != expected[i])
        return false;
    return true;
  };
  if (begins("version https://git-lfs"))
    return "a pointer of Git LFS; fetch the file itself with \"git lfs pull\"";
  while (!text.empty() && std::isspace(uint8_t(text[0])))
    text.remove_prefix(1);
  if (begins("<!doctype") || begins("<html") || begins("<?xml"))
    return "a web page; download the file again, perhaps after logging in";
  return nullptr;
}

} // namespace saddle

#endif // SADDLE_RUNTIME_BASE_DOWNLOAD_H
