// How the ranks of a layer meet: how sums are finished, which rows are
// normalised, where experts' tokens come from, how replicas' rows lie. The
// fastest consistent plan of each entry wins; ExchangePlan.h holds the costs.

#include "passes/Dist/Passes.h"
#include "passes/StraightLine.h"

#include "dialects/Dist/Interfaces/Sharding.h"
#include "passes/Dist/ExchangePlan.h"
#include "passes/UserError.h"

#include "mlir/Dialect/Func/IR/FuncOps.h"

namespace saddle::dist {
#define GEN_PASS_DEF_CHOOSEEXCHANGES
#include "passes/Dist/Passes.h.inc"
} // namespace saddle::dist

using namespace mlir;
using namespace saddle;
using namespace saddle::dist;

namespace {

/// A decision of every entry: where a plan holds it, and what it may be.
struct Choice {
  StringRef name;
  StringRef ExchangePlan::*member;
  ArrayRef<StringRef> values;
};

} // namespace

static ArrayRef<Choice> allChoices() {
  static const StringRef reductions[] = {kAllReduce, kDeferred, kReduceScatter};
  static const StringRef norms[] = {kEarly, kLate};
  static const StringRef experts[] = {kMasked, kGathered};
  static const StringRef rows[] = {kPacked, kPadded};
  static const Choice choices[] = {
      {"reduction", &ExchangePlan::reduction, reductions},
      {"norm", &ExchangePlan::norm, norms},
      {"experts", &ExchangePlan::experts, experts},
      {"rows", &ExchangePlan::rows, rows},
  };
  return choices;
}

namespace {

/// What the user asked for; "auto" leaves a choice to the cost model.
using Wishes = llvm::StringMap<std::string>;

/// Plans of one function.
class Planner {
public:
  Planner(func::FuncOp function, const ShardingState &state, int64_t dp,
          const Target &target)
      : function(function), state(state), target(target) {
    const Mesh &mesh = state.mesh();
    tp = mesh.axisSize("tp");
    auto name = StringAttr::get(function.getContext(), "tp");
    auto group = [&](int64_t pre, int64_t size) {
      AxisRef axis = mesh.simplify(AxisRef{name, pre, size});
      return rankGroup(target.machine(), mesh,
                       axis ? ArrayRef<AxisRef>(axis) : ArrayRef<AxisRef>());
    };
    shape.replicas = dp;
    shape.all = group(1, tp);
    shape.attention = group(dp, tp / dp);
    shape.across = group(1, dp);
  }

  /// False when the function has no residual stream.
  bool measure() {
    // Behind a selection of rows there are logits rows, not tokens.
    BlockArgument tokens;
    function.walk([&](Operation *op) {
      if (!op->hasTrait<model::RowByRow>())
        return;
      BlockArgument counted = model::countedBy(op->getResult(0));
      if (stream.empty())
        tokens = counted;
      if (counted == tokens)
        stream.push_back(op);
    });
    if (stream.empty())
      return false;
    auto residual =
        cast<RankedTensorType>(stream.front()->getResult(0).getType());
    globalTokens = residual.getDimSize(0);
    shape.tokens = globalTokens / shape.replicas;
    shape.rowBytes = static_cast<double>(residual.getDimSize(1)) *
                     residual.getElementTypeBitWidth() / 8;
    auto phase = function->getAttrOfType<StringAttr>(
        model::ModelDialect::kPhaseAttrName);
    shape.decode = !phase || phase != "prefill";
    return true;
  }

  /// The fastest plan that grants every wish that can be granted here; remarks
  /// say how each choice came about.
  ExchangePlan decide(const Wishes &wishes) {
    Wishes granted = wishes;
    for (const Choice &choice : allChoices())
      if (!obstacle(choice, granted[choice.name]).empty())
        granted[choice.name] = "auto";
    std::optional<ExchangePlan> best = fastest(granted);
    assert(best && "all-reduce, and gathering replicas, are always possible");
    for (const Choice &choice : allChoices()) {
      if (!matters(choice, *best))
        continue;
      Decision decision{
          choice.name, wishes.lookup(choice.name), {}, (*best).*choice.member};
      for (StringRef value : choice.values)
        decision.candidates.push_back(candidate(choice, value, granted, *best));
      reportDecision(function, decision, target.machine().name);
    }
    return *best;
  }

  /// Why `plan`, which decide() gave, does not follow a wish; empty when it
  /// does.
  std::string whyNot(const Choice &choice, StringRef wish,
                     const ExchangePlan &plan) const {
    if (std::string why = obstacle(choice, wish); !why.empty())
      return why;
    // The same launches under another name.
    ExchangePlan alone = plan;
    alone.reduction = kAllReduce;
    if (wish == kDeferred && layerCost(target, shape, plan).total() ==
                                 layerCost(target, shape, alone).total())
      return ("no launch of " + target.name() + " finishes a sum and adds")
          .str();
    if (matters(choice, plan))
      return plan.*choice.member == wish ? "" : "another option excludes it";
    return choice.member == &ExchangePlan::norm
               ? "every rank holds all rows"
               : "there are no attention replicas";
  }

  /// The ops that work on the residual stream, row by row.
  ArrayRef<Operation *> streamOps() const { return stream; }

  /// The products of routers and the choices behind them, where each rank
  /// chooses for its own rows and the choices are gathered. That is two gathers
  /// more, some 11 us a layer, so not for decodes. For 2048 tokens of M2.5 on
  /// two ranks it costs what it saves, and entries of fewer are hardly split
  /// unless somebody asks for it (docs/benchmarks.md, one H200).
  SmallVector<Operation *> choicesOfOwnRows(const ExchangePlan &plan) const {
    SmallVector<Operation *> ops;
    if (shape.decode || shape.replicas > 1 ||
        plan.reduction != kReduceScatter || plan.norm != kEarly)
      return ops;
    for (Operation *norm : stream)
      for (Operation *user : norm->getUsers()) {
        auto router = dyn_cast<model::LinearOp>(user);
        if (!router || !router->hasOneUse() ||
            state.axisOf(router.getWeightAttr(), 0) ||
            state.axisOf(router.getWeightAttr(), 1))
          continue;
        Operation *choice = *router->user_begin();
        if (isa<model::RouterOp, model::SoftmaxRouterOp>(choice))
          ops.append({router, choice});
      }
    return ops;
  }

  /// Whether a choice makes a difference to a plan.
  bool matters(const Choice &choice, const ExchangePlan &plan) const {
    if (choice.member == &ExchangePlan::norm)
      return plan.splitsRows(shape);
    return choice.member != &ExchangePlan::rows || shape.replicas > 1;
  }

private:
  /// Why a value cannot be chosen here, whatever else is; empty when it can.
  std::string obstacle(const Choice &choice, StringRef value) const {
    auto number = [](int64_t n) { return std::to_string(n); };
    if (value == kLate && normsAreResiduals())
      return "the normed rows are the residual too, which every rank keeps for "
             "its own rows";
    if (shape.replicas > 1) {
      if (value == kReduceScatter)
        return "no layout joins shares of several replicas' rows";
      return value == kMasked ? "replicas hold different tokens" : "";
    }
    if (value != kReduceScatter && value != kGathered)
      return "";
    if (globalTokens % tp != 0)
      return number(globalTokens) +
             " tokens cannot be split over tp = " + number(tp);
    return sumsOverAllRanks() && !meetsOtherRows()
               ? ""
               : "some branch is complete, or summed over fewer ranks than "
                 "tp = " +
                     number(tp);
  }

  /// Whether the stream goes on from normed rows (post-norm layers).
  bool normsAreResiduals() const {
    return llvm::any_of(stream, [](Operation *op) {
      return op->hasTrait<model::NormalizesRows>() &&
             llvm::any_of(op->getUsers(), [](Operation *user) {
               return user->hasTrait<model::RowByRow>();
             });
    });
  }

  /// Whether what enters the residual stream is a partial sum over all of tp.
  /// It is not where the embedding is replicated, or where ranks beyond the
  /// heads repeat a share of attention.
  bool sumsOverAllRanks() const {
    return llvm::all_of(stream, [&](Operation *op) {
      return llvm::all_of(op->getOperands(), [&](Value operand) {
        Operation *branch = operand.getDefiningOp();
        return !branch || branch->hasTrait<model::RowByRow>() ||
               sumsOverAllRanks(branch);
      });
    });
  }

  /// Whether rows of the stream are joined with rows that are none of its own
  /// and that every rank holds: a draft's features.
  bool meetsOtherRows() const {
    return llvm::any_of(stream, [&](Operation *op) {
      return llvm::any_of(op->getUsers(), [&](Operation *user) {
        return llvm::any_of(user->getOperands(), [&](Value operand) {
          Operation *from = operand.getDefiningOp();
          return from && from->hasTrait<model::RowByRow>() &&
                 !llvm::is_contained(stream, from);
        });
      });
    });
  }

  bool sumsOverAllRanks(Operation *branch) const {
    auto ruled = dyn_cast<ShardingRuleOpInterface>(branch);
    if (!ruled)
      return false;
    SmallVector<AxisRef> axes = ruled.getSummedAxes(state);
    return axes.size() == 1 && axes.front().isWhole();
  }

  /// None when no plan is consistent and possible.
  std::optional<ExchangePlan> fastest(const Wishes &wishes) const {
    std::optional<ExchangePlan> best;
    double time = 0;
    visit(wishes, [&](const ExchangePlan &plan) {
      double total = layerCost(target, shape, plan).total();
      // Of equals the first: what is listed first is simpler.
      if (!best || total < time) {
        best = plan;
        time = total;
      }
    });
    return best;
  }

  void visit(const Wishes &wishes,
             llvm::function_ref<void(const ExchangePlan &)> use,
             ExchangePlan plan = {}, size_t index = 0) const {
    if (index == allChoices().size()) {
      if (isConsistent(shape, plan))
        use(plan);
      return;
    }
    const Choice &choice = allChoices()[index];
    std::string wish = wishes.lookup(choice.name);
    for (StringRef value : choice.values)
      if ((wish == "auto" || wish == value) &&
          obstacle(choice, value).empty()) {
        plan.*choice.member = value;
        visit(wishes, use, plan, index + 1);
      }
  }

  /// The fastest plan with this value beside what else was granted; for norms
  /// beside the reduction that gave them a choice.
  Candidate candidate(const Choice &choice, StringRef value, Wishes wishes,
                      const ExchangePlan &best) {
    Candidate result{value, std::nullopt, obstacle(choice, value)};
    wishes[choice.name] = value.str();
    // Where tokens are gathered and how sums are scattered go together.
    if (choice.member == &ExchangePlan::reduction)
      wishes["experts"] = "auto";
    if (choice.member == &ExchangePlan::experts)
      wishes["reduction"] = "auto";
    if (choice.member == &ExchangePlan::norm)
      wishes["reduction"] = best.reduction.str();
    if (auto plan = fastest(wishes))
      result.cost = layerCost(target, shape, *plan);
    return result;
  }

  func::FuncOp function;
  const ShardingState &state;
  const Target &target;
  LayerShape shape;
  SmallVector<Operation *> stream;
  int64_t tp, globalTokens = 0;
};

/// Which entries follow what the user asked for.
class Echo {
public:
  explicit Echo(const Wishes &wishes) {
    for (const Choice &choice : allChoices())
      if (std::string wish = wishes.lookup(choice.name); wish != "auto")
        asked.push_back({&choice, wish, 0, 0, "", ""});
  }

  void note(func::FuncOp function, const Planner &planner,
            const ExchangePlan &plan) {
    for (Asked &each : asked)
      each.note(function.getName(),
                planner.whyNot(*each.choice, each.wish, plan));
  }
  /// For all wishes, of an entry in which nothing is chosen.
  void noteNone(StringRef entry, const char *why) {
    for (Asked &each : asked)
      each.note(entry, why);
  }

  /// A wish that no entry follows is an error, one that only some follow a
  /// warning.
  LogicalResult report(ModuleOp module) const {
    LogicalResult result = success();
    for (const Asked &each : asked) {
      if (each.refused == 0)
        continue;
      std::string wish = (each.choice->name + " = " + each.wish).str();
      std::string where = "@" + each.entry + ": " + each.why;
      if (each.refused > 1)
        where += "; and " + std::to_string(each.refused - 1) + " more";
      if (each.followed) {
        asUserError("Df38b21", module.emitWarning(wish))
            << " is not followed everywhere (" << where << ")";
        continue;
      }
      result = asUserError("D8c6c4f", module.emitError(wish))
               << " has no effect: no entry can follow it (" << where
               << "); leave it at auto";
    }
    return result;
  }

private:
  struct Asked {
    const Choice *choice;
    std::string wish;
    unsigned followed, refused;
    std::string entry, why; // of the first refusal

    void note(StringRef where, StringRef reason) {
      if (reason.empty()) {
        ++followed;
        return;
      }
      if (refused++ > 0)
        return;
      entry = where.str();
      why = reason.str();
    }
  };
  SmallVector<Asked> asked;
};

struct ChooseExchanges
    : saddle::dist::impl::ChooseExchangesBase<ChooseExchanges> {
  using Base::Base;

  void runOnOperation() override {
    if (failed(saddle::verifyStraightLine(getOperation())))
      return signalPassFailure();
    ModuleOp module = getOperation();
    const Target *found = findTarget(target, module);
    if (!found)
      return signalPassFailure();
    Wishes wishes;
    wishes["reduction"] = reduction;
    wishes["norm"] = norm;
    wishes["experts"] = experts;
    wishes["rows"] = rows;
    if (failed(verify(wishes)))
      return signalPassFailure();
    ShardingState state(module);
    auto topology =
        module->getAttrOfType<DictionaryAttr>(DistDialect::kTopologyAttrName);
    auto dp = topology ? topology.getAs<IntegerAttr>("dp") : IntegerAttr();
    int64_t tp = state.hasMesh() ? state.mesh().axisSize("tp") : 0;
    if (!dp || tp == 0) {
      module.emitError("module has no mesh; run dist-attach-mesh first");
      return signalPassFailure();
    }
    if (dp.getInt() < 1 || tp % dp.getInt() != 0) {
      module.emitError("dp = ")
          << dp.getInt() << " does not divide tp = " << tp;
      return signalPassFailure();
    }
    Echo echo(wishes);
    for (auto function : module.getOps<func::FuncOp>()) {
      if (tp == 1) {
        echo.noteNone(function.getName(), "one rank meets nobody");
        continue;
      }
      Planner planner(function, state, dp.getInt(), *found);
      if (!planner.measure()) {
        echo.noteNone(function.getName(), "it has no residual stream");
        continue;
      }
      ExchangePlan plan = planner.decide(wishes);
      apply(function, planner, plan, dp.getInt());
      echo.note(function, planner, plan);
    }
    if (failed(echo.report(module)))
      signalPassFailure();
  }

private:
  LogicalResult verify(const Wishes &wishes) {
    for (const Choice &choice : allChoices()) {
      std::string value = wishes.lookup(choice.name);
      if (value == "auto" || llvm::is_contained(choice.values, value))
        continue;
      InFlightDiagnostic diag =
          asUserError("Db7c5b9", getOperation().emitError(choice.name))
          << " must be auto";
      for (StringRef legal : choice.values)
        diag << (legal == choice.values.back() ? " or " : ", ") << legal;
      return diag << ", but got \"" << value << "\"";
    }
    std::string sums = wishes.lookup("reduction"),
                tokens = wishes.lookup("experts");
    bool scatters = sums == kReduceScatter;
    if (sums != "auto" && tokens != "auto" && scatters != (tokens == kGathered))
      return asUserError("Dd9e673", getOperation().emitError("experts = "))
             << tokens << " does not go with reduction = " << sums
             << ": tokens are gathered where sums are scattered, and only "
                "there; leave one of them at auto";
    return success();
  }

  /// Whether what an op gives is wanted for the rows of all ranks.
  static bool feedsAllRows(Operation *op) {
    return llvm::any_of(op->getUsers(), [](Operation *user) {
      auto ruled = dyn_cast<ShardingRuleOpInterface>(user);
      return ruled && ruled.needsAllRows();
    });
  }

  /// Writes the plan into the IR: where rows are split as attributes of the
  /// row-by-row ops, all of it by name on the function.
  void apply(func::FuncOp function, const Planner &planner,
             const ExchangePlan &plan, int64_t dp) {
    Builder builder(&getContext());
    SmallVector<NamedAttribute> choices;
    for (const Choice &choice : allChoices())
      if (planner.matters(choice, plan))
        choices.push_back(builder.getNamedAttr(
            choice.name, builder.getStringAttr(plan.*choice.member)));
    function->setAttr(DistDialect::kChoicesAttrName,
                      builder.getDictionaryAttr(choices));

    auto name = FlatSymbolRefAttr::get(&getContext(), StringRef(kMeshName));
    auto everyRow = AxesAttr::get(&getContext(), name, {});
    auto ownRows =
        AxesAttr::get(&getContext(), name,
                      AxisRef{StringAttr::get(&getContext(), "tp"), 1, 0});
    bool late = plan.norm == kLate;
    for (Operation *op : planner.streamOps()) {
      bool norm = op->hasTrait<model::NormalizesRows>();
      if (dp == 1 && plan.reduction == kReduceScatter)
        op->setAttr(DistDialect::kTokenAxisAttrName,
                    norm && late ? everyRow : ownRows);
      // Attention reads its replica's tokens only, so that norm stays.
      else if (dp > 1 && late && norm && feedsAllRows(op))
        op->setAttr(DistDialect::kTokenAxisAttrName, everyRow);
    }
    for (Operation *op : planner.choicesOfOwnRows(plan))
      op->setAttr(DistDialect::kTokenAxisAttrName, ownRows);
  }
};

} // namespace
