// An engine as JSON: every field of every table under its schema name, and the
// counted facts under "facts". Keys keep their order and meaning.

#ifndef SADDLE_TOOLS_SADDLEINSPECT_ENGINEJSON_H
#define SADDLE_TOOLS_SADDLEINSPECT_ENGINEJSON_H

#include "runtime/schema/engine_generated.h"

#include <nlohmann/json.hpp>

namespace saddle::inspect {

using Json = nlohmann::ordered_json;

/// All tables, without "facts": what two engines are compared by.
Json tablesJson(const schema::Engine &engine);

/// tablesJson and the facts.
Json engineJson(const schema::Engine &engine);

} // namespace saddle::inspect

#endif // SADDLE_TOOLS_SADDLEINSPECT_ENGINEJSON_H
