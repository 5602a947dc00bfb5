#include "../../../dialects/Model/A.h"
#include "saddle/status.h"
#include "llvm/ADT/StringRef.h"
#include <mlir/IR/Value.h>
