// The ops of the runtime. One line of the table is all that is said about an op
// besides its kernels.

#include "runtime/ops/Op.h"
#include "runtime/ops/Relations.h"

#include <algorithm>

namespace saddle::ops {

using schema::AttributeKind;

// Letters besides those of Op.h: H, K, N, G widths, V vocabulary, E experts, k
// chosen experts, e experts held here, D = 2I, g kv heads, d head dim, T tokens
// of the step, h heads of a recurrent state, d by v each.
static const std::vector<Op> &table() {
  constexpr auto kInt = AttributeKind::INT;
  constexpr auto kFloat = AttributeKind::FLOAT;
  constexpr auto kRank = AttributeKind::RANK;
  constexpr auto kIn = Role::Input;
  constexpr auto kWeight = Role::Weight;
  constexpr auto kOut = Role::Output;
  static const std::vector<Op> ops = {
      {"add",
       {{"a", kIn, Type::A, "nH"},
        {"b", kIn, Type::A, "nH"},
        {"out", kOut, Type::A, "nH"}},
       {},
       nullptr,
       "a + b"},
      {"all_reduce_sum",
       {{"x", kIn, Type::AOrF32, "nH"}, {"out", kOut, Type::AOrF32, "nH"}},
       {},
       nullptr,
       "the sum of x over the ranks of a group, added up in fp32 in their "
       "order",
       /*mostInputs=*/0,
       /*exchanges=*/true},
      {"attention",
       {{"q", kIn, Type::A, "nN"},
        {"kcache", Role::State, Type::KV, "pbgd"},
        {"vcache", Role::State, Type::KV, "pbgd"},
        {"positions", kIn, Type::I32, "n"},
        {"sequences", kIn, Type::I32, "n"},
        {"block_table", kIn, Type::I32, "SP", Traffic::Blocks},
        {"out", kOut, Type::A, "nN"}},
       {{"head_dim", kInt}, {"scale", kFloat}},
       attentionRelations,
       "causal: token t sees positions 0..positions[t] of its sequence; q head "
       "i "
       "uses kv head i/(h/g); softmax in fp32; N = h·d"},
      {"concat",
       {{"x", kIn, Type::A, "nA"}, {"out", kOut, Type::A, "nN"}},
       {},
       concatRelations,
       "the inputs' columns, left to right",
       /*mostInputs=*/8},
      {"decay_scan",
       {{"qkv", kIn, Type::A, "nK"},
        {"positions", kIn, Type::I32, "n"},
        {"sequences", kIn, Type::I32, "n"},
        {"state", Role::Update, Type::F32, "qhdv", Traffic::Slots},
        {"out", kOut, Type::A, "nN"}},
       {{"heads", kInt}, {"rate", kFloat}, {"head_start", kRank}},
       decayScanRelations,
       "per head, token by token of a sequence: state = exp(-rate · slope) · "
       "state + kᵀ v, zero before position 0; out = q · state; a head's q, k "
       "and v stand together: K = h·(2d + v), N = h·v; slopes are ALiBi's of "
       "`heads` heads, from head_start on"},
      {"divide_by_rms",
       {{"x", kIn, Type::A, "nN"},
        {"sums", kIn, Type::F32, "nm"},
        {"out", kOut, Type::A, "nN"}},
       {{"column", kInt}, {"divisor", kInt}, {"eps", kFloat}},
       rmsScaleRelations,
       "x · rsqrt(sums[t, column] / divisor + eps)"},
      {"embedding",
       {{"tokens", kIn, Type::I32, "n"},
        {"table", kWeight, Type::Values, "VH", Traffic::Lookups},
        {"out", kOut, Type::A, "nH"}},
       {{"vocab_start", kRank}},
       nullptr,
       "out[t] = table[tokens[t] - vocab_start], zero when outside 0..V-1"},
      {"encode_rows",
       {{"x", kIn, Type::A, "nH"},
        {"codes", kOut, Type::E4M3, "nH"},
        {"factors", kOut, Type::F32, "nG"}},
       {{"group", kInt}},
       encodeRowsRelations,
       "per row and group of `group` columns: factor = amax / 448, 1 where all "
       "is zero; codes = x / factor"},
      {"experts",
       {{"x", kIn, Type::A, "nH"},
        {"weights", kIn, Type::F32, "nk"},
        {"experts", kIn, Type::I32, "nk"},
        {"w13", kWeight, Type::W, "eDH", Traffic::Chosen},
        {"w2", kWeight, Type::W, "eHI", Traffic::Chosen},
        {"out", kOut, Type::A, "nH"}},
       {{"expert_start", kRank}, {"act_group", kInt}},
       expertsRelations,
       "Σ over chosen experts held here, in ascending order: weight · "
       "w2(silu(w1 x) ∘ (w3 x)); D = 2I, rows 0..I-1 of w13 are w1"},
      {"experts_of_codes",
       {{"codes", kIn, Type::E4M3, "nH"},
        {"factors", kIn, Type::F32, "nG"},
        {"weights", kIn, Type::F32, "nk"},
        {"experts", kIn, Type::I32, "nk"},
        {"w13", kWeight, Type::W, "eDH", Traffic::Chosen},
        {"w2", kWeight, Type::W, "eHI", Traffic::Chosen},
        {"out", kOut, Type::A, "nH"}},
       {{"expert_start", kRank}, {"act_group", kInt}},
       expertsOfCodesRelations,
       "`experts` of x = codes · factors, which `encode_rows` has made in "
       "groups of `act_group`"},
      {"keep_next_rows",
       {{"x", kIn, Type::A, "nH"},
        {"rows", kIn, Type::I32, "n"},
        {"positions", kIn, Type::I32, "T"},
        {"sequences", kIn, Type::I32, "T"},
        {"block_table", kIn, Type::I32, "SP", Traffic::Blocks},
        {"kept", Role::Update, Type::A, "pbH"}},
       {},
       nullptr,
       "kept[slot of position positions[rows[i]] + 1] = x[i], where the "
       "sequence has a page for it"},
      {"keep_rows",
       {{"x", kIn, Type::A, "nH"},
        {"slots", kIn, Type::I32, "n"},
        {"kept", Role::Update, Type::A, "pbH"}},
       {},
       nullptr,
       "kept[slot] = x"},
      {"kept_rows",
       {{"slots", kIn, Type::I32, "n"},
        {"kept", Role::State, Type::A, "pbH", Traffic::Tokens},
        {"out", kOut, Type::A, "nH"}},
       {},
       nullptr,
       "out = kept[slot]"},
      {"kv_append",
       {{"k", kIn, Type::A, "nG"},
        {"v", kIn, Type::A, "nG"},
        {"slots", kIn, Type::I32, "n"},
        {"kcache", Role::Update, Type::KV, "pbgd"},
        {"vcache", Role::Update, Type::KV, "pbgd"}},
       {},
       kvAppendRelations,
       "cache[slot] = k, v; G = g·d"},
      {"linear",
       {{"x", kIn, Type::A, "nK"},
        {"w", kWeight, Type::W, "NK"},
        {"out", kOut, Type::AOrF32, "nN"}},
       {{"act_group", kInt}},
       linearRelations,
       "x · wᵀ"},
      {"linear_of_codes",
       {{"codes", kIn, Type::E4M3, "nK"},
        {"factors", kIn, Type::F32, "nG"},
        {"w", kWeight, Type::W, "NK"},
        {"out", kOut, Type::AOrF32, "nN"}},
       {{"act_group", kInt}},
       linearOfCodesRelations,
       "`linear` of x = codes · factors, which `encode_rows` has made in "
       "groups of `act_group`"},
      {"map_tokens",
       {{"tokens", kIn, Type::I32, "nK"},
        {"table", kWeight, Type::I64, "V", Traffic::Lookups},
        {"out", kOut, Type::I32, "nK"}},
       {},
       nullptr,
       "tokens + table[tokens]; tokens outside the table stay as they are"},
      {"merge_candidates",
       {{"values", kIn, Type::F32, "nM"},
        {"tokens", kIn, Type::I32, "nM"},
        {"merged_values", kOut, Type::F32, "nK"},
        {"merged_tokens", kOut, Type::I32, "nK"}},
       {},
       mergeCandidatesRelations,
       "the K largest values with their tokens, ordered as `top_candidates`; "
       "ties: the earlier column"},
      {"rms_norm",
       {{"x", kIn, Type::A, "nH"},
        {"weight", kWeight, Type::F32, "H"},
        {"out", kOut, Type::A, "nH"}},
       {{"eps", kFloat}},
       normRelations,
       "x · rsqrt(mean(x²) + eps) · weight"},
      {"rms_scale",
       {{"x", kIn, Type::A, "nN"},
        {"sums", kIn, Type::F32, "nm"},
        {"weight", kWeight, Type::F32, "N"},
        {"out", kOut, Type::A, "nN"}},
       {{"column", kInt}, {"divisor", kInt}, {"eps", kFloat}},
       rmsScaleRelations,
       "x · rsqrt(sums[t, column] / divisor + eps) · weight"},
      {"rope",
       {{"x", kIn, Type::A, "nN"},
        {"positions", kIn, Type::I32, "n"},
        {"out", kOut, Type::A, "nN"}},
       {{"head_dim", kInt}, {"rotary_dim", kInt}, {"theta", kFloat}},
       ropeRelations,
       "NeoX: in each head dims j and j + rotary_dim/2 rotate by positions · "
       "theta^(-2j/rotary_dim), frequency and angle in fp32; dims from "
       "rotary_dim on pass"},
      {"router_topk",
       {{"logits", kIn, Type::F32, "nE"},
        {"bias", kWeight, Type::F32, "E"},
        {"weights", kOut, Type::F32, "nk"},
        {"experts", kOut, Type::I32, "nk"}},
       {{"routed_scale", kFloat}},
       routerRelations,
       "s = sigmoid(logits); the k experts with the largest s + bias (ties: "
       "lower index), in descending order; weights = s / Σs over the chosen · "
       "routed_scale"},
      {"scale",
       {{"x", kIn, Type::A, "nD"},
        {"factor", kWeight, Type::F32, "o"},
        {"out", kOut, Type::A, "nD"}},
       {{"inverse", kInt}},
       scaleRelations,
       "x · factor[0], or x / factor[0] with inverse 1"},
      {"scale_columns",
       {{"x", kIn, Type::A, "nN"},
        {"weight", kWeight, Type::F32, "N"},
        {"out", kOut, Type::A, "nN"}},
       {},
       nullptr,
       "x · weight"},
      {"scaled_add",
       {{"a", kIn, Type::A, "nH"},
        {"b", kIn, Type::A, "nH"},
        {"out", kOut, Type::A, "nH"}},
       {{"alpha", kFloat}, {"beta", kFloat}},
       nullptr,
       "alpha · a + beta · b"},
      {"select_rows",
       {{"x", kIn, Type::A, "TH", Traffic::Lookups},
        {"rows", kIn, Type::I32, "n"},
        {"out", kOut, Type::A, "nH"}},
       {},
       nullptr,
       "out[i] = x[rows[i]]"},
      {"shared_gate",
       {{"weights", kIn, Type::F32, "nk"},
        {"logit", kIn, Type::F32, "nm"},
        {"routed", kOut, Type::F32, "nk"},
        {"shared", kOut, Type::F32, "nm"},
        {"experts", kOut, Type::I32, "nm"}},
       {},
       sharedGateRelations,
       "c = sigmoid(logit); routed = (1 - c) · weights, shared = c, experts = "
       "0; m = 1"},
      {"sigmoid_gate",
       {{"x", kIn, Type::A, "nD"},
        {"gate", kIn, Type::A, "nD"},
        {"out", kOut, Type::A, "nD"}},
       {},
       nullptr,
       "x · sigmoid(gate)"},
      {"silu",
       {{"x", kIn, Type::A, "nD"}, {"out", kOut, Type::A, "nD"}},
       {},
       nullptr,
       "x · sigmoid(x)"},
      {"softmax_topk",
       {{"logits", kIn, Type::F32, "nE"},
        {"weights", kOut, Type::F32, "nk"},
        {"experts", kOut, Type::I32, "nk"}},
       {},
       routerRelations,
       "the k experts with the largest logits (ties: lower index), in "
       "descending order; weights = softmax(logits) / its sum over the chosen"},
      {"sum_of_squares",
       {{"x", kIn, Type::A, "nA"}, {"out", kOut, Type::F32, "nm"}},
       {},
       sumOfSquaresRelations,
       "out[t, i] = Σ xi[t]²; an input for each column of out",
       /*mostInputs=*/8},
      {"swiglu",
       {{"gate", kIn, Type::A, "nD"},
        {"up", kIn, Type::A, "nD"},
        {"out", kOut, Type::A, "nD"}},
       {},
       nullptr,
       "gate · sigmoid(gate) · up"},
      {"swiglu_oai",
       {{"gate", kIn, Type::A, "nD"},
        {"up", kIn, Type::A, "nD"},
        {"out", kOut, Type::A, "nD"}},
       {{"alpha", kFloat}, {"limit", kFloat}},
       nullptr,
       "g · sigmoid(alpha · g) · (u + 1), g = min(gate, limit), u = up clamped "
       "to ±limit"},
      {"top_candidates",
       {{"logits", kIn, Type::F32, "nV"},
        {"values", kOut, Type::F32, "nK"},
        {"tokens", kOut, Type::I32, "nK"}},
       {{"vocab_start", kRank}},
       topCandidatesRelations,
       "the K largest logits in descending order, NaN before all, ties: lower "
       "index; tokens = index + vocab_start"},
  };
  return ops;
}

Span<const Op> allOps() { return {table().data(), table().size()}; }

const Op *findOp(std::string_view name) {
  const std::vector<Op> &ops = table();
  auto found = std::lower_bound(
      ops.begin(), ops.end(), name,
      [](const Op &op, std::string_view wanted) { return op.name < wanted; });
  return found != ops.end() && found->name == name ? &*found : nullptr;
}

static Type typeOf(schema::CompanionKind kind) {
  switch (kind) {
  case schema::CompanionKind::ZERO:
    return Type::Zero;
  case schema::CompanionKind::GLOBAL_SCALE:
    return Type::F32;
  default:
    return Type::Scale;
  }
}

/// Puts companions behind their weights.
static StatusOr<std::vector<Operand>>
withCompanions(const char *op, const std::vector<Operand> &operands,
               const std::vector<Storage> &storages) {
  if (storages.empty())
    return operands;
  std::vector<Operand> all;
  size_t weights = 0;
  for (const Operand &operand : operands) {
    all.push_back(operand);
    if (operand.type != Type::W || weights++ >= storages.size())
      continue;
    all.back().encoding = storages[weights - 1].encoding;
    for (const Companion &companion : storages[weights - 1].companions) {
      const char *shape = operand.shape[2] ? "e**" : "**";
      all.emplace_back(operand.name + companion.suffix(), operand.role,
                       typeOf(companion.kind), shape, operand.traffic);
      all.back().companion = companion;
    }
  }
  if (weights == storages.size())
    return all;
  return makeError(StatusCode::InvalidArgument,
                   "%s: %zu storages, expected none or one for each of its "
                   "%zu weights that may be stored in any way",
                   op, storages.size(), weights);
}

StatusOr<std::vector<Operand>>
Op::operandsOf(size_t count, const std::vector<Storage> &storages) const {
  SADDLE_ASSIGN_OR_RETURN(std::vector<Operand> single,
                          withCompanions(name, operands, storages));
  if (mostInputs == 0) {
    if (count == single.size())
      return single;
    return makeError(StatusCode::InvalidArgument,
                     "%s: %zu operands, expected %zu", name, count,
                     single.size());
  }
  // The others stand behind the inputs.
  size_t others = single.size() - 1;
  if (count < others + 1 || count > others + mostInputs)
    return makeError(StatusCode::InvalidArgument,
                     "%s: %zu operands, expected 1 to %u inputs and %s", name,
                     count, mostInputs,
                     others == 1 ? "one output" : "the others");
  static constexpr const char *kNames[] = {"x1", "x2", "x3", "x4",
                                           "x5", "x6", "x7", "x8"};
  static constexpr const char *kShapes[] = {"nA", "nB", "nC", "nD",
                                            "nE", "nF", "nG", "nH"};
  std::vector<Operand> all;
  for (size_t i = 0; i + others < count; ++i)
    all.emplace_back(kNames[i], single[0].role, single[0].type, kShapes[i],
                     single[0].traffic);
  all.insert(all.end(), single.begin() + 1, single.end());
  return all;
}

} // namespace saddle::ops
