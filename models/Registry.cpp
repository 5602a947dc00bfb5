#include "models/Registry.h"

#include "models/Eagle3/Eagle3Draft.h"
#include "models/MiniMax/M1Importer.h"
#include "models/MiniMax/M2Importer.h"

#include <algorithm>

namespace saddle {

namespace {

// The first release of M2 called itself "minimax", which transformers uses for
// Text-01. Files of Text-01 and M1 have been published under each other's name,
// and with the types of their Python classes.
constexpr ModelFamily families[] = {
    {"MiniMaxM2ForCausalLM", "minimax_m2", {"minimax"}, importM2},
    {"MiniMaxText01ForCausalLM",
     "minimax_text_01",
     {"MiniMaxText01", "minimax_m1", "MiniMaxM1"},
     importM1},
    {"MiniMaxM1ForCausalLM",
     "minimax_m1",
     {"MiniMaxM1", "minimax_text_01", "MiniMaxText01"},
     importM1},
    {"MiniMaxForCausalLM", "minimax", {}, importM1},
};

/// Names under which EAGLE3 drafts have been published.
constexpr const char *draftArchitectures[] = {
    "LlamaForCausalLMEagle3", "Eagle3LlamaForCausalLM", "LlamaEagle3",
    "Eagle3*ForCausalLM"};

/// MiniMax models that are planned; a trailing '*' stands for any ending.
constexpr const char *plannedArchitectures[] = {"MiniMaxM3*"};
constexpr const char *plannedModelTypes[] = {"minimax_m3*"};

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

bool isTypeOf(const std::string &type, const ModelFamily &family) {
  if (type == family.modelType)
    return true;
  for (const char *other : family.otherModelTypes)
    if (other && type == other)
      return true;
  return false;
}

Status refuse(const ConfigReader &config, const std::string &field,
              const std::string &name, bool planned) {
  if (planned)
    return makeError(StatusCode::Unsupported,
                     "%s: %s: \"%s\" is not supported yet by this version",
                     config.path().c_str(), field.c_str(), name.c_str());
  std::string known;
  for (const ModelFamily &family : families)
    known += std::string(&family == families ? "" : ", ") +
             family.architecture + " (" + family.modelType + ")";
  return makeError(StatusCode::Unsupported,
                   "%s: %s: \"%s\" is not a known architecture; known: %s",
                   config.path().c_str(), field.c_str(), name.c_str(),
                   known.c_str());
}

} // namespace

StatusOr<const ModelFamily *> identifyFamily(ConfigReader config) {
  std::optional<std::vector<std::string>> names =
      config.strings("architectures");
  std::optional<std::string> type = config.string("model_type");
  SADDLE_RETURN_IF_ERROR(config.status());

  if (names && !names->empty()) {
    const std::string &name = names->front();
    for (const ModelFamily &family : families) {
      if (name != family.architecture)
        continue;
      if (!type || isTypeOf(*type, family))
        return &family;
      config.fail("model_type",
                  "expected \"%s\", which goes with architectures[0] = \"%s\", "
                  "found \"%s\"",
                  family.modelType, name.c_str(), type->c_str());
      return config.status();
    }
    return refuse(config, "architectures[0]", name,
                  matchesAny(name, plannedArchitectures));
  }
  if (type) {
    for (const ModelFamily &family : families)
      if (*type == family.modelType)
        return &family;
    return refuse(config, "model_type", *type,
                  matchesAny(*type, plannedModelTypes));
  }
  config.failExpected("architectures",
                      "a list such as [\"MiniMaxM2ForCausalLM\"]");
  return config.status();
}

StatusOr<std::unique_ptr<Importer>> importModel(const std::string &path,
                                                const ImportOptions &options) {
  SADDLE_ASSIGN_OR_RETURN(ModelSource source, ModelSource::open(path));
  SADDLE_ASSIGN_OR_RETURN(const ModelFamily *family,
                          identifyFamily(source.config));
  return family->import(source, options);
}

StatusOr<std::unique_ptr<Draft>> importDraft(const std::string &path,
                                             const ModelFacts &target,
                                             const DraftOptions &options) {
  SADDLE_ASSIGN_OR_RETURN(ModelSource source, ModelSource::open(path));
  std::optional<std::vector<std::string>> names =
      source.config.strings("architectures");
  SADDLE_RETURN_IF_ERROR(source.config.status());
  if (names && !names->empty() &&
      matchesAny(names->front(), draftArchitectures))
    return importEagle3(source, target, options);
  std::string found = names && !names->empty() ? "\"" + names->front() + "\""
                                               : std::string("none");
  return makeError(StatusCode::Unsupported,
                   "%s: architectures[0]: %s is no draft that is known; known: "
                   "%s and other spellings of it",
                   source.configPath.c_str(), found.c_str(),
                   draftArchitectures[0]);
}

} // namespace saddle
