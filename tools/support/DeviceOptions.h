// Options of a session's memory and GPUs, alike in all tools that run engines.

#ifndef SADDLE_TOOLS_SUPPORT_DEVICEOPTIONS_H
#define SADDLE_TOOLS_SUPPORT_DEVICEOPTIONS_H

#include "tools/support/Checks.h"

#include <saddle/session.h>

#include <CLI/CLI.hpp>

#include <string>

namespace saddle::tools {

class DeviceOptions {
public:
  DeviceOptions() {
    saddle_session_options_t defaults;
    saddle_session_options_init(&defaults);
    ncclAbove = defaults.nccl_above_bytes;
  }

  void addTo(CLI::App &app) {
    app.add_flag(
        "--share-devices", shareDevices,
        "Several ranks may share a GPU where there are too few (slow)");
    app.add_option("--kv-tokens", kvTokens,
                   "Tokens that the KV pages of an attention replica hold "
                   "(default: full batch of longest sequences, or what memory "
                   "has left)")
        ->check(wholeNumber(1));
    CLI::Option *library = app.add_option(
        "--nccl", nccl,
        "Library of NCCL (libnccl.so.2) for large all-reduces on GPUs");
    app.add_option("--nccl-above", ncclAbove,
                   "Bytes on each rank from which on NCCL does an all-reduce")
        ->check(wholeNumber())
        ->capture_default_str()
        ->needs(library);
  }

  /// `session` borrows from this object.
  void applyTo(saddle_session_options_t &session) const {
    session.kv_tokens = kvTokens;
    session.share_devices = shareDevices;
    session.nccl_library = nccl.c_str();
    session.nccl_above_bytes = ncclAbove;
  }

private:
  uint64_t kvTokens = 0;
  bool shareDevices = false;
  std::string nccl;
  uint64_t ncclAbove;
};

} // namespace saddle::tools

#endif // SADDLE_TOOLS_SUPPORT_DEVICEOPTIONS_H
