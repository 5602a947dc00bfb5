// saddle-pack: the weights of an engine, cut and laid for each rank as they lie
// in its memory, so that loading them is reading a file.

#include "runtime/src/base/File.h"
#include "runtime/src/base/Hash.h"
#include "runtime/src/engine/Engine.h"
#include "runtime/src/weights/PackedFolder.h"
#include "tools/support/CommandLine.h"
#include "tools/support/Memory.h"
#include "tools/support/Print.h"
#include "tools/support/Progress.h"
#include "tools/support/Runtime.h"
#include "tools/support/Signals.h"

#include <CLI/CLI.hpp>

#include <algorithm>
#include <cstdio>
#include <filesystem>

using namespace saddle;
using namespace saddle::tools;
namespace fs = std::filesystem;

namespace {

struct Options {
  std::string engine, weights, output;
  bool verify = true;
};

const char *const kNotes = R"(
PACKED_DIR gets one file for each rank and the tokenizer's files; --weights of
saddle-run and saddle-bench takes it in place of the checkpoint. It belongs to
engines whose weights lie as in FILE's: the same model, topology and target.

What a run left that was interrupted is gone on with. It holds at most 2 GiB of
memory, whatever the size of the model.

Exit status: 0 fine, 1 the input or the run failed, 2 the command line was wrong.)";

/// Files that whoever runs the model looks for beside its weights.
constexpr const char *kCompanions[] = {
    "config.json",         "generation_config.json",
    "tokenizer.json",      "tokenizer_config.json",
    "chat_template.jinja", "special_tokens_map.json"};

/// Words that change when the checkpoint does: names, sizes and times of its
/// files.
std::string originOf(const std::string &weights) {
  std::error_code error;
  std::vector<std::string> lines;
  for (const fs::directory_entry &entry :
       fs::directory_iterator(weights, error)) {
    if (entry.path().extension() != ".safetensors")
      continue;
    lines.push_back(
        entry.path().filename().string() + " " +
        std::to_string(entry.file_size(error)) + " " +
        std::to_string(
            entry.last_write_time(error).time_since_epoch().count()));
  }
  if (lines.empty())
    return weights; // a seed
  std::sort(lines.begin(), lines.end());
  Hasher128 hasher;
  for (const std::string &line : lines)
    hasher.update(line.data(), line.size() + 1);
  return hasher.hex();
}

Status copyCompanions(const std::string &from, const std::string &to) {
  for (const char *name : kCompanions) {
    const std::string path = from + "/" + name;
    SADDLE_ASSIGN_OR_RETURN(bool isThere, exists(path));
    if (!isThere)
      continue;
    SADDLE_ASSIGN_OR_RETURN(OwnedBytes bytes, readFile(path));
    SADDLE_RETURN_IF_ERROR(writeFileAtomically(to + "/" + name, bytes.bytes()));
  }
  return {};
}

Status run(const Options &options) {
  SADDLE_ASSIGN_OR_RETURN(std::unique_ptr<Engine> engine,
                          Engine::load(options.engine));
  std::error_code ignored;
  if (fs::equivalent(options.weights, options.output, ignored))
    return makeError(StatusCode::InvalidArgument,
                     "%s: is where the weights are; give another folder",
                     options.output.c_str());
  if (weights::isPackedFolder(options.weights))
    return makeError(StatusCode::InvalidArgument,
                     "%s: is packed already; give the checkpoint",
                     options.weights.c_str());
  SADDLE_ASSIGN_OR_RETURN(std::unique_ptr<WeightSource> source,
                          WeightSource::open(engine->root(), options.weights));
  Interruption interruption;
  uint64_t bytes = 0;
  double start = now();
  auto follow = [&](Progress &progress) {
    return [&bytes, &progress](uint64_t done, uint64_t all) {
      bytes = all;
      progress.update(done, all);
      return !Interruption::isNoted();
    };
  };
  {
    Progress progress("packing", Progress::Bytes);
    SADDLE_RETURN_IF_ERROR(
        weights::packWeights(engine->root(), *source, originOf(options.weights),
                             options.output, follow(progress)));
  }
  if (fs::is_directory(options.weights, ignored))
    SADDLE_RETURN_IF_ERROR(copyCompanions(options.weights, options.output));
  double packed = now() - start;
  if (options.verify) {
    Progress progress("verifying", Progress::Bytes);
    SADDLE_RETURN_IF_ERROR(weights::verifyPacked(engine->root(), options.output,
                                                 follow(progress)));
  }
  std::fprintf(stderr, "packed %u ranks, %.3f GB, in %.1f s (%.2f GB/s)%s\n",
               engine->worldSize(), double(bytes) / 1e9, packed,
               packed > 0 ? double(bytes) / 1e9 / packed : 0,
               options.verify ? "; every hash is right" : "");
  return {};
}

} // namespace

int main(int argc, char **argv) {
  tools::endWhenOutOfMemory();
  tools::makeFileSizeAnError();
  Options options;
  CLI::App app("Packs the weights of an engine for each of its ranks.");
  app.footer(kNotes);
  app.set_version_flag("--version", "saddle-pack " SADDLE_VERSION);
  app.add_option("FILE", options.engine, "Engine file; - is standard input")
      ->required();
  app.add_option("--weights", options.weights,
                 "Checkpoint folder, or synthetic:SEED")
      ->required();
  app.add_option("-o,--output", options.output, "Folder to write")->required();
  app.add_flag_callback(
      "--no-verify", [&] { options.verify = false; },
      "Do not read back what was written");
  if (auto end = parseCommandLine(app, argc, argv, printError))
    return *end;
  Status status = run(options);
  if (!status.ok())
    printError(status);
  Interruption::passOn();
  return status.ok() ? kFine : kFailed;
}
