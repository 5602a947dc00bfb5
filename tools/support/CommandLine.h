// Command lines: what the library CLI11 finds wrong with one is an error like
// all others, with an identifier; the words that are filled in are CLI11's.
// Only for a tool's main.cpp, since CLI11 throws.

#ifndef SADDLE_TOOLS_SUPPORT_COMMANDLINE_H
#define SADDLE_TOOLS_SUPPORT_COMMANDLINE_H

#include "runtime/src/base/Status.h"

#include <CLI/CLI.hpp>

#include <optional>
#include <string>

namespace saddle::tools {

/// Exit statuses of all tools.
inline constexpr int kFine = 0, kFailed = 1, kUsage = 2;

inline Status commandLineError(const CLI::ParseError &error) {
  const auto kind = CLI::ExitCodes(error.get_exit_code());
  const char *text = error.what();
  constexpr StatusCode kCode = StatusCode::InvalidArgument;
  if (kind == CLI::ExitCodes::ExtrasError)
    return makeError(kCode, "%s; --help lists the options", text);
  if (kind == CLI::ExitCodes::RequiredError)
    return makeError(kCode, "%s; --help says what must be given", text);
  if (kind == CLI::ExitCodes::ValidationError ||
      kind == CLI::ExitCodes::ConversionError)
    return makeError(kCode, "%s; --help says which values an option takes",
                     text);
  return makeError(kCode, "%s; --help says how options go together", text);
}

/// The exit status where a command line ends the tool: after --help or
/// --version, or because it is wrong, which `report` prints.
template <typename Report>
std::optional<int> parseCommandLine(CLI::App &app, int argc, char **argv,
                                    const Report &report) {
  try {
    app.parse(argc, argv);
  } catch (const CLI::Success &asked) {
    return app.exit(asked);
  } catch (const CLI::ParseError &error) {
    report(commandLineError(error));
    return kUsage;
  }
  return std::nullopt;
}

} // namespace saddle::tools

#endif // SADDLE_TOOLS_SUPPORT_COMMANDLINE_H
