#include "compiler/Driver/Topology.h"

#include "llvm/ADT/StringExtras.h"
#include "llvm/ADT/StringRef.h"
#include "llvm/ADT/StringSet.h"

using namespace saddle;

StatusOr<Topology> saddle::parseTopology(const std::string &text) {
  Topology topology;
  llvm::StringSet<> seen;
  llvm::SmallVector<llvm::StringRef> items;
  llvm::StringRef(text).split(items, ',');
  for (llvm::StringRef item : items) {
    auto [name, value] = item.split('=');
    int64_t *field = name == "tp"   ? &topology.tp
                     : name == "dp" ? &topology.dp
                     : name == "ep" ? &topology.ep
                     : name == "pp" ? &topology.pp
                                    : nullptr;
    if (!field)
      return makeError(StatusCode::InvalidArgument,
                       "--topology \"%s\": expected tp, dp, ep or pp, but got "
                       "\"%s\"",
                       text.c_str(), name.str().c_str());
    if (!seen.insert(name).second)
      return makeError(StatusCode::InvalidArgument,
                       "--topology \"%s\": %s is given twice", text.c_str(),
                       name.str().c_str());
    if (value.getAsInteger(10, *field) || *field < 1 || *field > 65536)
      return makeError(StatusCode::InvalidArgument,
                       "--topology \"%s\": expected %s to be an integer from 1 "
                       "to 65536, but got \"%s\"",
                       text.c_str(), name.str().c_str(), value.str().c_str());
  }
  return topology;
}
