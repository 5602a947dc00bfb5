// config.json of both families: whatever it says, the import answers with a
// model or a message, in bounded memory.

#include "models/MiniMax/M1Weights.h"
#include "models/MiniMax/M2Weights.h"

using namespace saddle;

template <typename Config, typename List>
static void read(const ConfigReader &reader,
                 StatusOr<Config> (*readConfig)(ConfigReader,
                                                std::vector<std::string> &),
                 List list) {
  std::vector<std::string> warnings;
  auto config = readConfig(reader, warnings);
  if (!config.ok()) {
    if (config.status().message().empty())
      __builtin_trap();
    return;
  }
  // Listing a model of thousands of layers takes its time.
  if (config->checkpointLayers <= 64)
    if (auto weights = list(*config, "c.json"); weights.ok())
      (void)weights->fingerprint();
}

extern "C" int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  std::string_view text(reinterpret_cast<const char *>(data), size);
  auto reader = ConfigReader::parse(text, "c.json");
  if (!reader.ok())
    return 0;
  read(*ConfigReader::parse(text, "c.json"), readM1Config, listM1Weights);
  read(*ConfigReader::parse(text, "c.json"), readM2Config, listM2Weights);
  return 0;
}
