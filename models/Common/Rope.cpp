#include "models/Common/Rope.h"

#include "models/Common/Fields.h"

#include <cinttypes>
#include <cmath>

namespace saddle {

static constexpr const char *noScaling = "scaled RoPE is not implemented";

/// A number that may stand at the top, inside rope_parameters, or in both
/// places with the same value.
static std::optional<double> readNumber(ConfigReader &reader,
                                        std::optional<ConfigReader> &parameters,
                                        const char *key) {
  std::optional<double> top = reader.number(key, 0);
  std::optional<double> inner;
  if (parameters)
    inner = parameters->number(key, 0);
  if (top && inner && *top != *inner)
    reader.failExpected(key,
                        "the value of rope_parameters." + std::string(key));
  return inner ? inner : top;
}

static void refuseScaling(ConfigReader &reader,
                          std::optional<ConfigReader> &parameters) {
  reader.accept("rope_scaling", "[]", noScaling);
  if (!parameters)
    return;
  parameters->accept("rope_type", R"(["default"])", noScaling);
  parameters->accept("type", R"(["default"])", noScaling);
  for (const std::string &name : parameters->unread())
    reader.fail(name, "not a field of unscaled RoPE, expected rope_type, "
                      "rope_theta and partial_rotary_factor only");
}

/// Dims from the factor; must agree with `declared`.
static int64_t applyFactor(ConfigReader &reader, double factor, int64_t headDim,
                           std::optional<int64_t> declared) {
  double exact = factor * double(headDim);
  double whole = std::nearbyint(exact);
  char text[64];
  std::snprintf(text, sizeof text, "%g * head_dim = %g", factor, exact);
  // A factor such as 1/3 is not exact in binary; anything further away from an
  // integer than rounding explains is a mistake.
  if (!(std::fabs(exact - whole) <= 1e-6 * whole))
    reader.fail("partial_rotary_factor", "%s is not a whole number of dims",
                text);
  else if (declared && whole != double(*declared))
    reader.fail("rotary_dim",
                "%" PRId64 " contradicts partial_rotary_factor: %s", *declared,
                text);
  else if (whole > double(headDim))
    reader.fail("partial_rotary_factor", "%s exceeds head_dim", text);
  else
    return int64_t(whole);
  return headDim;
}

RopeParameters readRope(ConfigReader &reader, int64_t headDim,
                        RotaryDefault missing,
                        std::vector<std::string> &warnings) {
  RopeParameters rope;
  std::optional<ConfigReader> parameters = reader.object("rope_parameters");
  std::optional<double> theta = readNumber(reader, parameters, "rope_theta");
  std::optional<double> factor =
      readNumber(reader, parameters, "partial_rotary_factor");
  if (!theta)
    reader.failExpected("rope_theta",
                        "a number above 0, here or in rope_parameters");
  rope.theta = theta.value_or(1);
  refuseScaling(reader, parameters);
  std::optional<int64_t> declared = reader.integer("rotary_dim", 1, maxWidth);
  if (!reader.status().ok())
    return rope;
  rope.dims = declared.value_or(headDim);
  if (factor)
    rope.dims = applyFactor(reader, *factor, headDim, declared);
  else if (!declared && missing == RotaryDefault::AllDimsWithWarning)
    warn(reader, warnings,
         "rotary_dim: missing, and no partial_rotary_factor either: all "
         "%" PRId64 " dims of a head rotate",
         headDim);
  if (rope.dims > headDim || rope.dims % 2)
    reader.fail("rotary_dim",
                "%" PRId64 " must be even and at most head_dim = %" PRId64,
                rope.dims, headDim);
  return rope;
}

} // namespace saddle
