#include "dialects/Model/B.h"
#include "passes/Dist/C.h"
#include "llvm/ADT/ArrayRef.h"
#include <vector>
