// A folder of weights: model.safetensors alone, or with an index before it,
// which ends at the first NUL.

#include "runtime/src/checkpoint/Checkpoint.h"

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <unistd.h>

using namespace saddle;

/// A folder that lives as long as the process; its name lives longer.
static const std::string &folder() {
  static const std::string &path = *new std::string([] {
    char name[] = "/tmp/saddle-fuzz-XXXXXX";
    if (!mkdtemp(name))
      std::abort();
    std::atexit([] {
      for (const char *file :
           {"/model.safetensors.index.json", "/model.safetensors", ""})
        std::remove((folder() + file).c_str());
    });
    return std::string(name);
  }());
  return path;
}

static void write(const std::string &name, const uint8_t *data, size_t size) {
  std::FILE *file = std::fopen((folder() + name).c_str(), "wb");
  if (!file || std::fwrite(data, 1, size, file) != size)
    std::abort();
  std::fclose(file);
}

extern "C" int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  // A header's length has NULs of its own, so an index says that it is one.
  const void *nul =
      size != 0 && data[0] == '{' ? std::memchr(data, 0, size) : nullptr;
  const std::string index = "/model.safetensors.index.json";
  std::remove((folder() + index).c_str());
  if (nul) {
    size_t bytes = size_t(static_cast<const uint8_t *>(nul) - data);
    write(index, data, bytes);
    data += bytes + 1;
    size -= bytes + 1;
  }
  write("/model.safetensors", data, size);
  auto checkpoint = Checkpoint::open(folder());
  if (!checkpoint.ok() && checkpoint.status().message().empty())
    __builtin_trap();
  return 0;
}
