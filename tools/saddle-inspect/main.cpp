// saddle-inspect: what an engine file says, for people and for programs.

#include "runtime/src/base/File.h"
#include "runtime/src/engine/Engine.h"
#include "tools/saddle-inspect/Diff.h"
#include "tools/saddle-inspect/EngineJson.h"
#include "tools/saddle-inspect/Text.h"
#include "tools/support/CommandLine.h"
#include "tools/support/Memory.h"
#include "tools/support/Print.h"

#include <CLI/CLI.hpp>

#include <cstdio>

using namespace saddle;

namespace {

int fail(const Status &status) {
  tools::printError(status);
  return tools::kFailed;
}

int print(const std::string &text) {
  Bytes bytes(reinterpret_cast<const uint8_t *>(text.data()), text.size());
  Status status = writeFileAtomically("-", bytes);
  return status.ok() ? tools::kFine : fail(status);
}

/// Text with names of others in it.
int printText(const std::string &text) {
  return print(printable(text, /*indent=*/""));
}

int inspectFile(const std::string &path, bool asJson,
                const inspect::Sections &sections) {
  auto engine = Engine::load(path);
  if (!engine.ok())
    return fail(engine.status());
  if (!asJson)
    return printText(
        inspect::reportText((*engine)->root(), (*engine)->path(), sections));
  inspect::Json json = inspect::engineJson((*engine)->root());
  return print(tools::jsonText(json, 2));
}

int diffFiles(const std::string &first, const std::string &second) {
  auto a = Engine::load(first);
  if (!a.ok())
    return fail(a.status());
  auto b = Engine::load(second);
  if (!b.ok())
    return fail(b.status());
  std::string differences = inspect::diffText(
      inspect::tablesJson((*a)->root()), inspect::tablesJson((*b)->root()));
  int result = printText(differences);
  return differences.empty() ? result : tools::kFailed;
}

} // namespace

int main(int argc, char **argv) {
  tools::endWhenOutOfMemory();
  CLI::App app("Prints what a Saddle engine file says.");
  app.set_version_flag("--version", "saddle-inspect 0.1.0");
  std::string file;
  std::vector<std::string> pair;
  bool asJson = false;
  inspect::Sections sections;
  auto *fileOption =
      app.add_option("FILE", file, "the engine; - is standard input");
  auto *diffOption =
      app.add_option("--diff", pair,
                     "compare two engines field by field; the exit status is 0 "
                     "when they are equal and 1 when they differ")
          ->expected(2)
          ->type_name("A B");
  fileOption->excludes(diffOption);
  auto flag = [&](const char *name, bool &value, const char *help) {
    app.add_flag(name, value, help)->excludes(diffOption);
  };
  flag("--json", asJson, "everything as JSON, for programs");
  flag("--kernels", sections.kernels, "kernels, attributes, launches");
  flag("--memory", sections.memory, "arenas in detail");
  flag("--weights", sections.weights, "weight recipes, ignored tensors");
  flag("--commands", sections.commands, "all commands with their operands");
  if (auto end = tools::parseCommandLine(app, argc, argv, tools::printError))
    return *end;
  if (file.empty() && pair.empty()) {
    tools::printError(makeError(StatusCode::InvalidArgument,
                                "expected FILE, or --diff with two engines"));
    return tools::kUsage;
  }
  return pair.empty() ? inspectFile(file, asJson, sections)
                      : diffFiles(pair[0], pair[1]);
}
