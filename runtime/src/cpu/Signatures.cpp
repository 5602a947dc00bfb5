// The signature table of the reference kernels, and the relations between
// extents and attributes that its symbols cannot express.

#include "runtime/src/cpu/Signature.h"

#include <cmath>
#include <cstring>
#include <string>

namespace saddle::cpu {

using schema::AttributeKind;

//===--- Relations -------------------------------------------------------===//

static int64_t integer(const schema::Kernel &kernel, const char *name) {
  return findAttribute(kernel, name)->int_value();
}

static Status checkIntAtLeast(const schema::Kernel &kernel, const char *name,
                              int64_t least) {
  int64_t value = integer(kernel, name);
  if (value >= least)
    return {};
  return makeError(StatusCode::InvalidArgument,
                   "%s: attribute \"%s\" is %lld, expected %lld or more",
                   kernel.op()->c_str(), name, (long long)value,
                   (long long)least);
}

Status checkEqual(const schema::Kernel &kernel, const char *what,
                  uint64_t found, const char *rule, uint64_t expected) {
  if (found == expected)
    return {};
  return makeError(StatusCode::InvalidArgument,
                   "%s: %s is %llu, expected %s = %llu", kernel.op()->c_str(),
                   what, (unsigned long long)found, rule,
                   (unsigned long long)expected);
}

static Status checkMultiple(const schema::Kernel &kernel, const char *what,
                            uint64_t found, const char *rule, uint64_t unit) {
  if (unit != 0 && found % unit == 0)
    return {};
  return makeError(StatusCode::InvalidArgument,
                   "%s: %s is %llu, expected a multiple of %s = %llu",
                   kernel.op()->c_str(), what, (unsigned long long)found, rule,
                   (unsigned long long)unit);
}

static Status noRelations(const schema::Kernel &, const Extents &) {
  return {};
}

static Status checkNonNegativeEps(const schema::Kernel &kernel) {
  double eps = findAttribute(kernel, "eps")->float_value();
  if (eps >= 0)
    return {};
  return makeError(StatusCode::InvalidArgument,
                   "%s: attribute \"eps\" is %g, expected 0 or more",
                   kernel.op()->c_str(), eps);
}

static Status rmsNormRelations(const schema::Kernel &kernel, const Extents &) {
  return checkNonNegativeEps(kernel);
}

static Status rmsScaleRelations(const schema::Kernel &kernel,
                                const Extents &extents) {
  SADDLE_RETURN_IF_ERROR(checkNonNegativeEps(kernel));
  SADDLE_RETURN_IF_ERROR(checkIntAtLeast(kernel, "divisor", 1));
  SADDLE_RETURN_IF_ERROR(checkIntAtLeast(kernel, "column", 0));
  int64_t column = integer(kernel, "column");
  if (uint64_t(column) < extents['m'])
    return {};
  return makeError(StatusCode::InvalidArgument,
                   "rms_scale: attribute \"column\" is %lld, but sums has %llu "
                   "columns",
                   (long long)column, (unsigned long long)extents['m']);
}

static Status ropeRelations(const schema::Kernel &kernel,
                            const Extents &extents) {
  SADDLE_RETURN_IF_ERROR(checkIntAtLeast(kernel, "head_dim", 1));
  SADDLE_RETURN_IF_ERROR(checkIntAtLeast(kernel, "rotary_dim", 2));
  int64_t headDim = integer(kernel, "head_dim");
  int64_t rotaryDim = integer(kernel, "rotary_dim");
  SADDLE_RETURN_IF_ERROR(checkMultiple(kernel, "the width of x", extents['N'],
                                       "head_dim", headDim));
  if (rotaryDim % 2 != 0 || rotaryDim > headDim)
    return makeError(StatusCode::InvalidArgument,
                     "%s: attribute \"rotary_dim\" is %lld, expected an even "
                     "number up to head_dim = %lld",
                     kernel.op()->c_str(), (long long)rotaryDim,
                     (long long)headDim);
  double theta = findAttribute(kernel, "theta")->float_value();
  if (theta > 0)
    return {};
  return makeError(StatusCode::InvalidArgument,
                   "%s: attribute \"theta\" is %g, expected more than 0",
                   kernel.op()->c_str(), theta);
}

static Status kvAppendRelations(const schema::Kernel &kernel,
                                const Extents &extents) {
  return checkEqual(kernel, "the width of k and v", extents['G'],
                    "kv heads x head dim of the caches",
                    extents['g'] * extents['d']);
}

static Status attentionRelations(const schema::Kernel &kernel,
                                 const Extents &extents) {
  SADDLE_RETURN_IF_ERROR(checkIntAtLeast(kernel, "head_dim", 1));
  SADDLE_RETURN_IF_ERROR(checkEqual(
      kernel, "attribute \"head_dim\"", uint64_t(integer(kernel, "head_dim")),
      "the caches' last dimension", extents['d']));
  return checkMultiple(kernel, "the width of q", extents['N'],
                       "kv heads x head_dim", extents['g'] * extents['d']);
}

static Status decayScanRelations(const schema::Kernel &kernel,
                                 const Extents &extents) {
  SADDLE_RETURN_IF_ERROR(checkEqual(kernel, "the width of q and k",
                                    extents['K'], "heads x rows of the state",
                                    extents['h'] * extents['d']));
  return checkEqual(kernel, "the width of v", extents['N'],
                    "heads x columns of the state",
                    extents['h'] * extents['v']);
}

static Status qkNormRelations(const schema::Kernel &kernel,
                              const Extents &extents) {
  SADDLE_RETURN_IF_ERROR(checkNonNegativeEps(kernel));
  SADDLE_RETURN_IF_ERROR(checkIntAtLeast(kernel, "q_divisor", 1));
  SADDLE_RETURN_IF_ERROR(checkIntAtLeast(kernel, "k_divisor", 1));
  SADDLE_RETURN_IF_ERROR(ropeRelations(kernel, extents));
  SADDLE_RETURN_IF_ERROR(kvAppendRelations(kernel, extents));
  return checkEqual(kernel, "attribute \"head_dim\"",
                    uint64_t(integer(kernel, "head_dim")),
                    "the caches' last dimension", extents['d']);
}

static Status checkScales(const schema::Kernel &kernel, const char *scale,
                          uint64_t rows, uint64_t columns, uint64_t scaleRows,
                          uint64_t scaleColumns, const char *rowsName,
                          const char *columnsName) {
  SADDLE_RETURN_IF_ERROR(checkIntAtLeast(kernel, rowsName, 1));
  SADDLE_RETURN_IF_ERROR(checkIntAtLeast(kernel, columnsName, 1));
  auto blocks = [&](uint64_t extent, const char *name) {
    uint64_t block = uint64_t(integer(kernel, name));
    return extent / block + (extent % block != 0);
  };
  std::string what = std::string("rows of ") + scale;
  SADDLE_RETURN_IF_ERROR(checkEqual(kernel, what.c_str(), scaleRows,
                                    "one per block of the weight",
                                    blocks(rows, rowsName)));
  what = std::string("columns of ") + scale;
  return checkEqual(kernel, what.c_str(), scaleColumns,
                    "one per block of the weight",
                    blocks(columns, columnsName));
}

static Status linearRelations(const schema::Kernel &kernel, const Extents &) {
  return checkIntAtLeast(kernel, "act_group", 0);
}

static Status linearScaledRelations(const schema::Kernel &kernel,
                                    const Extents &extents) {
  SADDLE_RETURN_IF_ERROR(checkIntAtLeast(kernel, "act_group", 0));
  return checkScales(kernel, "scale", extents['N'], extents['K'], extents['r'],
                     extents['c'], "block_rows", "block_cols");
}

static Status routerRelations(const schema::Kernel &kernel,
                              const Extents &extents) {
  if (extents['k'] <= extents['E'])
    return {};
  return makeError(StatusCode::InvalidArgument,
                   "router_topk: %llu experts are chosen out of %llu",
                   (unsigned long long)extents['k'],
                   (unsigned long long)extents['E']);
}

static Status expertsRelations(const schema::Kernel &kernel,
                               const Extents &extents) {
  SADDLE_RETURN_IF_ERROR(checkIntAtLeast(kernel, "act_group", 0));
  return checkEqual(kernel, "rows of w13", extents['D'], "2 x columns of w2",
                    2 * extents['I']);
}

static Status expertsScaledRelations(const schema::Kernel &kernel,
                                     const Extents &extents) {
  SADDLE_RETURN_IF_ERROR(expertsRelations(kernel, extents));
  SADDLE_RETURN_IF_ERROR(checkScales(kernel, "scale13", extents['D'],
                                     extents['H'], extents['r'], extents['c'],
                                     "block_rows13", "block_cols13"));
  return checkScales(kernel, "scale2", extents['H'], extents['I'], extents['s'],
                     extents['u'], "block_rows2", "block_cols2");
}

/// K candidates out of `given`.
static Status checkChosen(const schema::Kernel &kernel, const Extents &extents,
                          uint64_t given) {
  if (extents['K'] <= given)
    return {};
  return makeError(StatusCode::InvalidArgument,
                   "%s: %llu candidates are chosen out of %llu",
                   kernel.op()->c_str(), (unsigned long long)extents['K'],
                   (unsigned long long)given);
}

static Status topCandidatesRelations(const schema::Kernel &kernel,
                                     const Extents &extents) {
  return checkChosen(kernel, extents, extents['V']);
}

static Status mergeCandidatesRelations(const schema::Kernel &kernel,
                                       const Extents &extents) {
  return checkChosen(kernel, extents, extents['M']);
}

//===--- The table -------------------------------------------------------===//

// Symbols: n the run-time count, H/K/N widths, V vocabulary, E experts, k
// chosen experts, e experts held here, D = 2I, p pages, b page size, g kv
// heads, d head dim, B batch slots, P blocks of a sequence, T tokens of the
// step, S sequences with state of h heads, d by v.
static const std::vector<OpSpec> &signatures() {
  constexpr auto kInt = AttributeKind::INT;
  constexpr auto kFloat = AttributeKind::FLOAT;
  constexpr auto kRank = AttributeKind::RANK;
  static const std::vector<OpSpec> table = {
      {"embedding",
       {{"tokens", Type::I32, "n"},
        {"table", Type::W, "VH"},
        {"out", Type::A, "nH"}},
       {{"vocab_start", kRank}},
       noRelations},
      {"rms_norm",
       {{"x", Type::A, "nH"},
        {"weight", Type::F32, "H"},
        {"out", Type::A, "nH"}},
       {{"eps", kFloat}},
       rmsNormRelations},
      {"add",
       {{"a", Type::A, "nH"}, {"b", Type::A, "nH"}, {"out", Type::A, "nH"}},
       {},
       noRelations},
      {"add_rms_norm",
       {{"a", Type::A, "nH"},
        {"b", Type::A, "nH"},
        {"weight", Type::F32, "H"},
        {"sum", Type::A, "nH"},
        {"out", Type::A, "nH"}},
       {{"eps", kFloat}},
       rmsNormRelations},
      {"linear",
       {{"x", Type::A, "nK"},
        {"w", Type::W, "NK"},
        {"out", Type::AOrF32, "nN"}},
       {{"act_group", kInt}},
       linearRelations},
      {"linear_scaled",
       {{"x", Type::A, "nK"},
        {"w", Type::F8, "NK"},
        {"scale", Type::F32, "rc"},
        {"out", Type::AOrF32, "nN"}},
       {{"act_group", kInt}, {"block_rows", kInt}, {"block_cols", kInt}},
       linearScaledRelations},
      {"rms_scale",
       {{"x", Type::A, "nN"},
        {"sums", Type::F32, "nm"},
        {"weight", Type::F32, "N"},
        {"out", Type::A, "nN"}},
       {{"column", kInt}, {"divisor", kInt}, {"eps", kFloat}},
       rmsScaleRelations},
      {"rope",
       {{"x", Type::A, "nN"},
        {"positions", Type::I32, "n"},
        {"out", Type::A, "nN"}},
       {{"head_dim", kInt}, {"rotary_dim", kInt}, {"theta", kFloat}},
       ropeRelations},
      {"kv_append",
       {{"k", Type::A, "nG"},
        {"v", Type::A, "nG"},
        {"slots", Type::I32, "n"},
        {"kcache", Type::KV, "pbgd"},
        {"vcache", Type::KV, "pbgd"}},
       {},
       kvAppendRelations},
      {"qk_norm_rope_kv_append",
       {{"q", Type::A, "nN"},
        {"k", Type::A, "nG"},
        {"v", Type::A, "nG"},
        {"q_weight", Type::F32, "N"},
        {"k_weight", Type::F32, "G"},
        {"positions", Type::I32, "n"},
        {"slots", Type::I32, "n"},
        {"out", Type::A, "nN"},
        {"kcache", Type::KV, "pbgd"},
        {"vcache", Type::KV, "pbgd"}},
       {{"q_divisor", kInt},
        {"k_divisor", kInt},
        {"eps", kFloat},
        {"head_dim", kInt},
        {"rotary_dim", kInt},
        {"theta", kFloat}},
       qkNormRelations},
      {"attention",
       {{"q", Type::A, "nN"},
        {"kcache", Type::KV, "pbgd"},
        {"vcache", Type::KV, "pbgd"},
        {"positions", Type::I32, "n"},
        {"sequences", Type::I32, "n"},
        {"block_table", Type::I32, "BP"},
        {"out", Type::A, "nN"}},
       {{"head_dim", kInt}, {"scale", kFloat}},
       attentionRelations},
      {"decay_scan",
       {{"q", Type::A, "nK"},
        {"k", Type::A, "nK"},
        {"v", Type::A, "nN"},
        {"decay", Type::F32, "h"},
        {"positions", Type::I32, "n"},
        {"sequences", Type::I32, "n"},
        {"out", Type::A, "nN"},
        {"state", Type::F32, "Shdv"}},
       {},
       decayScanRelations},
      {"router_topk",
       {{"logits", Type::F32, "nE"},
        {"bias", Type::F32, "E"},
        {"weights", Type::F32, "nk"},
        {"experts", Type::I32, "nk"}},
       {{"routed_scale", kFloat}},
       routerRelations},
      {"experts",
       {{"x", Type::A, "nH"},
        {"weights", Type::F32, "nk"},
        {"experts", Type::I32, "nk"},
        {"w13", Type::W, "eDH"},
        {"w2", Type::W, "eHI"},
        {"out", Type::A, "nH"}},
       {{"expert_start", kRank}, {"act_group", kInt}},
       expertsRelations},
      {"experts_scaled",
       {{"x", Type::A, "nH"},
        {"weights", Type::F32, "nk"},
        {"experts", Type::I32, "nk"},
        {"w13", Type::F8, "eDH"},
        {"scale13", Type::F32, "erc"},
        {"w2", Type::F8, "eHI"},
        {"scale2", Type::F32, "esu"},
        {"out", Type::A, "nH"}},
       {{"expert_start", kRank},
        {"act_group", kInt},
        {"block_rows13", kInt},
        {"block_cols13", kInt},
        {"block_rows2", kInt},
        {"block_cols2", kInt}},
       expertsScaledRelations},
      {"select_rows",
       {{"x", Type::A, "TH"}, {"rows", Type::I32, "n"}, {"out", Type::A, "nH"}},
       {},
       noRelations},
      {"top_candidates",
       {{"logits", Type::F32, "nV"},
        {"values", Type::F32, "nK"},
        {"tokens", Type::I32, "nK"}},
       {{"vocab_start", kRank}},
       topCandidatesRelations},
      {"merge_candidates",
       {{"values", Type::F32, "nM"},
        {"tokens", Type::I32, "nM"},
        {"merged_values", Type::F32, "nK"},
        {"merged_tokens", Type::I32, "nK"}},
       {},
       mergeCandidatesRelations},
  };
  return table;
}

static Status sumOfSquaresRelations(const schema::Kernel &kernel,
                                    const Extents &extents) {
  uint64_t inputs = 0;
  for (char symbol = 'A'; symbol <= 'H'; ++symbol)
    inputs += extents[symbol] != 0;
  return checkEqual(kernel, "columns of out", extents['m'],
                    "the number of inputs", inputs);
}

/// Inputs x1 .. xm of any widths: one letter each.
static StatusOr<OpSpec> sumOfSquaresSignature(size_t operands) {
  static const char *const shapes[] = {"nA", "nB", "nC", "nD",
                                       "nE", "nF", "nG", "nH"};
  if (operands < 2 || operands > 1 + std::size(shapes))
    return makeError(StatusCode::InvalidArgument,
                     "sum_of_squares: %zu operands, expected 1 to %zu inputs "
                     "and one output",
                     operands, std::size(shapes));
  OpSpec spec{"sum_of_squares", {}, {}, sumOfSquaresRelations};
  for (size_t i = 0; i + 1 < operands; ++i)
    spec.operands.push_back({"x", Type::A, shapes[i]});
  spec.operands.push_back({"out", Type::F32, "nm"});
  return spec;
}

StatusOr<OpSpec> findSignature(const schema::Kernel &kernel, size_t operands) {
  const char *op = kernel.op()->c_str();
  // With its sums over all ranks or over this one's columns only.
  if (std::strcmp(op, "qk_norm_all_reduce_rope_kv_append") == 0)
    op = "qk_norm_rope_kv_append";
  if (std::strcmp(op, "sum_of_squares") == 0)
    return sumOfSquaresSignature(operands);
  for (const OpSpec &spec : signatures()) {
    if (std::strcmp(spec.op, op) != 0)
      continue;
    if (operands == spec.operands.size())
      return OpSpec(spec);
    return makeError(StatusCode::InvalidArgument,
                     "%s: %zu operands, expected %zu", op, operands,
                     spec.operands.size());
  }
  return makeError(StatusCode::Unsupported,
                   "kernel \"%s\": op \"%s\" is not a reference kernel of "
                   "this runtime",
                   kernel.name()->c_str(), op);
}

//===--- Facts -----------------------------------------------------------===//

const OpFacts &factsOf(const schema::Kernel &kernel) {
  constexpr unsigned kNone = OpFacts::kNone;
  static constexpr OpFacts kOthers = {""};
  static constexpr OpFacts kTable[] = {
      {"add_rms_norm", 0, 2, kNone, kNone},
      {"attention", 0, 1, 1, 5},
      {"decay_scan", 0, 2, kNone, kNone, 7},
      {"kv_append", 0, 2, 3, kNone},
      {"merge_candidates", 0, 2, kNone, kNone},
      {"qk_norm_all_reduce_rope_kv_append", 0, 3, 8, kNone, kNone, true},
      {"qk_norm_rope_kv_append", 0, 3, 8, kNone},
      {"router_topk", 0, 2, kNone, kNone},
      {"select_rows", 1, 1, kNone, kNone},
      {"top_candidates", 0, 2, kNone, kNone},
  };
  for (const OpFacts &facts : kTable)
    if (std::strcmp(kernel.op()->c_str(), facts.op) == 0)
      return facts;
  return kOthers;
}

} // namespace saddle::cpu
