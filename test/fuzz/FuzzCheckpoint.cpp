// A folder of weights: model.safetensors alone, or with an index before it,
// which ends at the first NUL.

#include "runtime/src/checkpoint/Checkpoint.h"
#include "test/fuzz/TemporaryFile.h"

#include <cstring>

using namespace saddle;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  // A header's length has NULs of its own, so an index says that it is one.
  const void *nul =
      size != 0 && data[0] == '{' ? std::memchr(data, 0, size) : nullptr;
  const std::string index = "model.safetensors.index.json";
  std::remove((fuzzFolder() + "/" + index).c_str());
  if (nul) {
    size_t bytes = size_t(static_cast<const uint8_t *>(nul) - data);
    writeFuzzFile(index, data, bytes);
    data += bytes + 1;
    size -= bytes + 1;
  }
  writeFuzzFile("model.safetensors", data, size);
  auto checkpoint = Checkpoint::open(fuzzFolder());
  if (!checkpoint.ok() && checkpoint.status().message().empty())
    __builtin_trap();
  return 0;
}
