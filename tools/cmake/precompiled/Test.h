// Unit tests.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <flatbuffers/flatbuffers.h>

#include <algorithm>
#include <functional>
#include <map>
#include <string>
#include <vector>
