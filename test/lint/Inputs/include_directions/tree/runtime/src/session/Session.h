#include "runtime/src/backend/Backend.h"
#include "runtime/src/cpu/CpuProgram.h"
#include "runtime/src/generate/Generate.h"
