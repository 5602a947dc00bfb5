#include "runtime/src/base/Status.h"
#include "runtime/schema/engine_generated.h"
#include "runtime/src/engine/Engine.h"
