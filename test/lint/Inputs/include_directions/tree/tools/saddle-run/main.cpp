#include "Options.h"
#include "compiler/Driver/D.h"
#include "saddle/engine.h"
#include <CLI/CLI.hpp>
