#include "runtime/ops/Relations.h"

#include <algorithm>
#include <string>

namespace saddle::ops {

static Status checkIntAtLeast(const Call &call, const char *name,
                              int64_t least) {
  int64_t value = call.attributes.integer(name);
  if (value >= least)
    return {};
  return makeError(StatusCode::InvalidArgument,
                   "%s: attribute \"%s\" is %lld, expected %lld or more",
                   call.op, name, (long long)value, (long long)least);
}

static Status checkEqual(const Call &call, const char *what, uint64_t found,
                         const char *rule, uint64_t expected) {
  if (found == expected)
    return {};
  return makeError(StatusCode::InvalidArgument,
                   "%s: %s is %llu, expected %s = %llu", call.op, what,
                   (unsigned long long)found, rule,
                   (unsigned long long)expected);
}

static Status checkMultiple(const Call &call, const char *what, uint64_t found,
                            const char *rule, uint64_t unit) {
  if (unit != 0 && found % unit == 0)
    return {};
  return makeError(StatusCode::InvalidArgument,
                   "%s: %s is %llu, expected a multiple of %s = %llu", call.op,
                   what, (unsigned long long)found, rule,
                   (unsigned long long)unit);
}

static Status checkNonNegativeEps(const Call &call) {
  double eps = call.attributes.real("eps");
  if (eps >= 0)
    return {};
  return makeError(StatusCode::InvalidArgument,
                   "%s: attribute \"eps\" is %g, expected 0 or more", call.op,
                   eps);
}

Status normRelations(const Call &call) { return checkNonNegativeEps(call); }

Status rmsScaleRelations(const Call &call) {
  SADDLE_RETURN_IF_ERROR(checkNonNegativeEps(call));
  SADDLE_RETURN_IF_ERROR(checkIntAtLeast(call, "divisor", 1));
  SADDLE_RETURN_IF_ERROR(checkIntAtLeast(call, "column", 0));
  int64_t column = call.attributes.integer("column");
  if (uint64_t(column) < call.extents['m'])
    return {};
  return makeError(
      StatusCode::InvalidArgument,
      "%s: attribute \"column\" is %lld, but sums has %llu columns", call.op,
      (long long)column, (unsigned long long)call.extents['m']);
}

Status ropeRelations(const Call &call) {
  SADDLE_RETURN_IF_ERROR(checkIntAtLeast(call, "head_dim", 1));
  SADDLE_RETURN_IF_ERROR(checkIntAtLeast(call, "rotary_dim", 2));
  int64_t headDim = call.attributes.integer("head_dim");
  int64_t rotaryDim = call.attributes.integer("rotary_dim");
  SADDLE_RETURN_IF_ERROR(checkMultiple(call, "the width of x",
                                       call.extents['N'], "head_dim", headDim));
  if (rotaryDim % 2 != 0 || rotaryDim > headDim)
    return makeError(StatusCode::InvalidArgument,
                     "%s: attribute \"rotary_dim\" is %lld, expected an even "
                     "number up to head_dim = %lld",
                     call.op, (long long)rotaryDim, (long long)headDim);
  double theta = call.attributes.real("theta");
  if (theta > 0)
    return {};
  return makeError(StatusCode::InvalidArgument,
                   "%s: attribute \"theta\" is %g, expected more than 0",
                   call.op, theta);
}

Status scaleRelations(const Call &call) {
  SADDLE_RETURN_IF_ERROR(
      checkEqual(call, "the length of factor", call.extents['o'], "1", 1));
  return checkIntAtLeast(call, "inverse", 0);
}

Status kvAppendRelations(const Call &call) {
  return checkEqual(call, "the width of k and v", call.extents['G'],
                    "kv heads x head dim of the caches",
                    call.extents['g'] * call.extents['d']);
}

Status attentionRelations(const Call &call) {
  SADDLE_RETURN_IF_ERROR(checkIntAtLeast(call, "head_dim", 1));
  SADDLE_RETURN_IF_ERROR(
      checkEqual(call, "attribute \"head_dim\"",
                 uint64_t(call.attributes.integer("head_dim")),
                 "the caches' last dimension", call.extents['d']));
  return checkMultiple(call, "the width of q", call.extents['N'],
                       "kv heads x head_dim",
                       call.extents['g'] * call.extents['d']);
}

Status decayScanRelations(const Call &call) {
  uint64_t heads = call.extents['h'], values = call.extents['v'];
  SADDLE_RETURN_IF_ERROR(checkEqual(call, "the width of qkv", call.extents['K'],
                                    "heads x (2 x rows + columns) of the state",
                                    heads * (2 * call.extents['d'] + values)));
  SADDLE_RETURN_IF_ERROR(checkEqual(call, "the width of out", call.extents['N'],
                                    "heads x columns of the state",
                                    heads * values));
  SADDLE_RETURN_IF_ERROR(
      checkIntAtLeast(call, "heads", std::max<int64_t>(1, int64_t(heads))));
  double rate = call.attributes.real("rate");
  if (rate > 0)
    return {};
  return makeError(StatusCode::InvalidArgument,
                   "%s: attribute \"rate\" is %g, expected more than 0",
                   call.op, rate);
}

/// Rows of `width` columns with a factor for each group of `attribute`.
static Status checkFactors(const Call &call, const char *attribute,
                           uint64_t width) {
  SADDLE_RETURN_IF_ERROR(checkIntAtLeast(call, attribute, 1));
  auto group = uint64_t(call.attributes.integer(attribute));
  return checkEqual(call, "columns of factors", call.extents['G'],
                    "one for each group of a row",
                    width / group + (width % group != 0));
}

Status encodeRowsRelations(const Call &call) {
  return checkFactors(call, "group", call.extents['H']);
}

Status linearRelations(const Call &call) {
  return checkIntAtLeast(call, "act_group", 0);
}

Status linearOfCodesRelations(const Call &call) {
  return checkFactors(call, "act_group", call.extents['K']);
}

Status routerRelations(const Call &call) {
  if (call.extents['k'] <= call.extents['E'])
    return {};
  return makeError(StatusCode::InvalidArgument,
                   "%s: %llu experts are chosen out of %llu", call.op,
                   (unsigned long long)call.extents['k'],
                   (unsigned long long)call.extents['E']);
}

Status sharedGateRelations(const Call &call) {
  if (call.extents['m'] == 1)
    return {};
  return makeError(StatusCode::InvalidArgument,
                   "%s: the logit has %llu columns, expected 1", call.op,
                   (unsigned long long)call.extents['m']);
}

Status expertsRelations(const Call &call) {
  SADDLE_RETURN_IF_ERROR(checkIntAtLeast(call, "act_group", 0));
  return checkEqual(call, "rows of w13", call.extents['D'], "2 x columns of w2",
                    2 * call.extents['I']);
}

Status expertsOfCodesRelations(const Call &call) {
  SADDLE_RETURN_IF_ERROR(checkFactors(call, "act_group", call.extents['H']));
  return expertsRelations(call);
}

/// K candidates out of `given`.
static Status checkChosen(const Call &call, uint64_t given) {
  if (call.extents['K'] <= given)
    return {};
  return makeError(StatusCode::InvalidArgument,
                   "%s: %llu candidates are chosen out of %llu", call.op,
                   (unsigned long long)call.extents['K'],
                   (unsigned long long)given);
}

Status topCandidatesRelations(const Call &call) {
  return checkChosen(call, call.extents['V']);
}

Status mergeCandidatesRelations(const Call &call) {
  return checkChosen(call, call.extents['M']);
}

Status concatRelations(const Call &call) {
  // Inputs have a letter each, from A on.
  uint64_t columns = 0;
  for (char letter = 'A'; letter <= 'H'; ++letter)
    columns += call.extents[letter];
  return checkEqual(call, "columns of out", call.extents['N'],
                    "those of the inputs together", columns);
}

Status sumOfSquaresRelations(const Call &call) {
  // Inputs have a letter each, from A on.
  uint64_t inputs = 0;
  for (char letter = 'A'; letter <= 'H'; ++letter)
    inputs += call.extents[letter] != 0;
  return checkEqual(call, "columns of out", call.extents['m'],
                    "the number of inputs", inputs);
}

} // namespace saddle::ops
