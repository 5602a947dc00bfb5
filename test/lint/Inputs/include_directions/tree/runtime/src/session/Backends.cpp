#include "runtime/src/cpu/CpuProgram.h"
