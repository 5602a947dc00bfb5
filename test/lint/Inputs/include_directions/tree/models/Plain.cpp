#include "models/M.h"
#include "runtime/src/checkpoint/Checkpoint.h"
#include "llvm/ADT/StringRef.h"
#include "dialects/Model/A.h"
