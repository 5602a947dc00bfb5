// Libraries of the runtime.
#include <flatbuffers/flatbuffers.h>

#include <algorithm>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>
