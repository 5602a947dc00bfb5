// Writes the tiny engine, on two ranks, to the file of its first argument.

#include "runtime/src/base/File.h"
#include "test/unit/engine/TinyEngine.h"

#include <cstdio>

int main(int argc, char **argv) {
  saddle::TinyOptions options;
  options.tp = 2;
  std::vector<uint8_t> file =
      saddle::engineFileOf(*saddle::tinyEngine(options));
  saddle::Status status = saddle::writeFileAtomically(
      argc > 1 ? argv[1] : "-", saddle::Bytes(file.data(), file.size()));
  if (!status.ok())
    std::fprintf(stderr, "%s\n", status.message().c_str());
  return status.ok() ? 0 : 1;
}
