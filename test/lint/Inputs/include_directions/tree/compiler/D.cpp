#include "models/M.h"
#include "runtime/schema/engine_generated.h"
#include "runtime/src/engine/EngineFile.h"
#include "runtime/src/engine/Validate.h"
