#include "../../../dialects/Model/A.h"
#include "llvm/ADT/StringRef.h"
#include "saddle/status.h"
#include <mlir/IR/Value.h>
