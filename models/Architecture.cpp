#include "models/Architecture.h"

#include <algorithm>

namespace saddle {

namespace {

struct KnownArchitecture {
  Architecture architecture;
  const char *name;
  /// The first release of M2 called itself "minimax", which transformers uses
  /// for Text-01: that type only counts next to the architecture's name.
  const char *modelType;
  const char *oldModelType;
};

constexpr KnownArchitecture knownArchitectures[] = {
    {Architecture::MiniMaxM2, "MiniMaxM2ForCausalLM", "minimax_m2", "minimax"},
};

/// MiniMax models that are planned; a trailing '*' stands for any ending.
constexpr const char *plannedArchitectures[] = {
    "MiniMaxText01ForCausalLM",
    "MiniMaxM1ForCausalLM",
    "MiniMaxForCausalLM",
    "MiniMaxM3*",
};
constexpr const char *plannedModelTypes[] = {"minimax_text_01", "minimax_m1",
                                             "minimax", "minimax_m3*"};

bool matches(const std::string &name, std::string pattern) {
  if (pattern.back() != '*')
    return name == pattern;
  pattern.pop_back();
  return name.compare(0, pattern.size(), pattern) == 0;
}

template <size_t N>
bool matchesAny(const std::string &name, const char *const (&patterns)[N]) {
  return std::any_of(patterns, patterns + N, [&](const char *pattern) {
    return matches(name, pattern);
  });
}

Status refuse(const ConfigReader &config, const std::string &field,
              const std::string &name, bool planned) {
  std::string message = config.path() + ": " + field + ": \"" + name + "\" is ";
  if (planned)
    return Status(StatusCode::Unsupported,
                  message + "not supported yet by this version");
  message += "not a known architecture; known: ";
  for (const KnownArchitecture &known : knownArchitectures)
    message += std::string(&known == knownArchitectures ? "" : ", ") +
               known.name + " (" + known.modelType + ")";
  return Status(StatusCode::Unsupported, std::move(message));
}

} // namespace

const char *architectureName(Architecture architecture) {
  for (const KnownArchitecture &known : knownArchitectures)
    if (known.architecture == architecture)
      return known.name;
  return "unknown";
}

StatusOr<Architecture> identifyArchitecture(ConfigReader &config) {
  std::optional<std::vector<std::string>> names =
      config.strings("architectures");
  std::optional<std::string> type = config.string("model_type");
  SADDLE_RETURN_IF_ERROR(config.status());

  if (names && !names->empty()) {
    const std::string &name = names->front();
    for (const KnownArchitecture &known : knownArchitectures) {
      if (name != known.name)
        continue;
      if (type && *type != known.modelType && *type != known.oldModelType) {
        config.fail("model_type",
                    "expected \"" + std::string(known.modelType) +
                        "\", which goes with architectures[0] = \"" + name +
                        "\", found \"" + *type + "\"");
        return config.status();
      }
      return known.architecture;
    }
    return refuse(config, "architectures[0]", name,
                  matchesAny(name, plannedArchitectures));
  }
  if (type) {
    for (const KnownArchitecture &known : knownArchitectures)
      if (*type == known.modelType)
        return known.architecture;
    return refuse(config, "model_type", *type,
                  matchesAny(*type, plannedModelTypes));
  }
  config.failExpected("architectures",
                      "a list such as [\"MiniMaxM2ForCausalLM\"]");
  return config.status();
}

} // namespace saddle
