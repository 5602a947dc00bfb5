#include "compiler/Driver/D.h"
#include "test/unit/T.h"
