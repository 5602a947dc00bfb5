#include "compiler/Driver/D.h"
