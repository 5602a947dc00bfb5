#include "compiler/Driver/D.h"
#include "runtime/src/exec/Exec.h"
