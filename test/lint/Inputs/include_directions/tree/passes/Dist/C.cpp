#include "compiler/Driver/D.h"
#include "models/M.h"
#include "passes/Model/E.h"
// #include "compiler/Driver/D.h" in a comment is nothing
#include "runtime/ops/Bindings.h"
#include "runtime/src/comm/Transport.h"
