#include "runtime/src/base/Status.h"
#include "runtime/src/backend/Batch.h"
