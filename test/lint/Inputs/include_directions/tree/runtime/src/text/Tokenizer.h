#include "runtime/src/sample/Sampler.h"
