// A file whose content changes with every input.

#ifndef SADDLE_TEST_FUZZ_TEMPORARYFILE_H
#define SADDLE_TEST_FUZZ_TEMPORARYFILE_H

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <unistd.h>

/// A folder that lives as long as the process; its name lives longer.
inline const std::string &fuzzFolder() {
  static const std::string &path = *new std::string([] {
    char name[] = "/tmp/saddle-fuzz-XXXXXX";
    if (!mkdtemp(name))
      std::abort();
    std::atexit([] {
      std::string command = "rm -rf '" + fuzzFolder() + "'";
      if (std::system(command.c_str()) != 0)
        std::perror("rm");
    });
    return std::string(name);
  }());
  return path;
}

/// Writes a file of the folder and returns its path.
inline std::string writeFuzzFile(const std::string &name, const uint8_t *data,
                                 size_t size) {
  std::string path = fuzzFolder() + "/" + name;
  std::FILE *file = std::fopen(path.c_str(), "wb");
  if (!file || std::fwrite(data, 1, size, file) != size)
    std::abort();
  std::fclose(file);
  return path;
}

#endif // SADDLE_TEST_FUZZ_TEMPORARYFILE_H
