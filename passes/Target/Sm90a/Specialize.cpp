// Plans first, for all commands: what a module says about its uses, and how
// large exchange memory must be, is known only at the end. Then the rewrite.

#include "passes/Target/Sm90a/Describe.h"
#include "passes/Target/Sm90a/Plans/Plans.h"
#include "passes/Target/Sm90a/Printer.h"
#include "passes/Target/Sm90a/Sm90a.h"
#include "runtime/kernels/abi.h"
#include "runtime/ops/Bindings.h"

#include "mlir/IR/Builders.h"
#include "llvm/ADT/MapVector.h"
#include "llvm/ADT/StringMap.h"
#include "llvm/ADT/TypeSwitch.h"
#include "llvm/Support/MathExtras.h"

using namespace mlir;
using namespace saddle;
using namespace saddle::cuda;
using namespace saddle::engine;

namespace {

/// What is printed once, with the constants that it is launched with: those
/// that depend on the rank are no part of the source.
struct Kernel {
  std::string name;
  size_t printed;
  /// What it computes, from the kernel that it takes the place of.
  DictionaryAttr constants;
  ArrayAttr body, temporaries;
};

class Specializer {
public:
  Specializer(ModuleOp module, Tuning tuning)
      : tuning(std::move(tuning)), module(module), symbols(module),
        builder(module.getContext()) {}

  LogicalResult run() {
    for (auto kernel : module.getOps<KernelOp>())
      if (kernel.getFunctions())
        return kernel.emitError("kernel @")
               << kernel.getSymName() << " has functions already";
    WalkResult planned = module.walk([&](Operation *op) {
      return isCommand(op) && failed(plan(op)) ? WalkResult::interrupt()
                                               : WalkResult::advance();
    });
    if (planned.wasInterrupted())
      return failure();
    if (failed(createKernels()))
      return failure();
    createExchangeStates();
    for (auto [command, kernel] : commands)
      rewrite(command, kernels[kernel]);
    return success();
  }

private:
  //===--------------------------------------------------------------------===//
  // Plans
  //===--------------------------------------------------------------------===//

  LogicalResult plan(Operation *command) {
    auto launch = describe(command, symbols);
    if (failed(launch))
      return failure();
    launch->tuning = &tuning;
    std::string error;
    auto plan = planKernel(*launch, error);
    if (failed(plan))
      return command->emitError(error);
    if (plan->exchangeBytes > 0) {
      uint64_t &need = exchangeNeeds[exchangeName(command)];
      need = std::max(need, plan->exchangeBytes);
    }

    // Names count what is distinct, by op, in the order of first use.
    std::string key = contentOf(launch->op, *plan);
    auto [printed, isNew] = printedOf.try_emplace(key, printedKernels.size());
    DictionaryAttr constants = launch->constants;
    ArrayAttr body, temporaries;
    if (auto op = dyn_cast<LaunchOp>(command)) {
      auto source = symbols.lookup<KernelOp>(op.getKernel());
      body = source.getBodyAttr();
      temporaries = source.getTemporariesAttr();
    }
    auto [kernel, isNewKernel] = kernelOf.try_emplace(
        std::tuple(printed->second, constants, body), kernels.size());
    if (isNewKernel) {
      std::string name =
          launch->op + "_" + std::to_string(counts[launch->op]++);
      kernels.push_back({name, printed->second, constants, body, temporaries});
      for (const DividedProduct &product : plan->products)
        if (!product.why.empty())
          command->emitRemark()
              << "kernel " << name << ", " << product.product << ": "
              << product.division.text() << ", " << product.why;
      if (isNew)
        printedKernels.push_back({name, std::move(*launch), std::move(*plan), 0,
                                  placeOf(command).str()});
    }
    ++printedKernels[printed->second].launches;
    commands.push_back({command, kernel->second});
    return success();
  }

  /// Everything that makes two plans of one op equal.
  static std::string contentOf(StringRef op, const KernelPlan &plan) {
    std::string content;
    llvm::raw_string_ostream os(content);
    os << op << "\n"
       << plan.workspaceBytes << " " << plan.exchangeBytes << "\n";
    for (const std::string &header : plan.headers)
      os << header << "\n";
    for (const FunctionPlan &function : plan.functions)
      os << function.suffix << " " << function.grid[0] << " "
         << function.grid[1] << " " << function.grid[2] << " "
         << function.exclusiveGrid << " " << function.cluster << " "
         << function.block << " " << function.sharedBytes << " "
         << function.residentBlocks << " " << function.waitsItself << " "
         << static_cast<int>(function.next) << "\n"
         << function.body << "\n";
    return content;
  }

  /// The state that all exchanges of a command's rank groups share.
  std::string exchangeName(Operation *command) {
    StringRef groups;
    if (auto collective = dyn_cast<CollectiveOp>(command))
      groups = collective.getGroups();
    else if (auto launch = dyn_cast<LaunchOp>(command))
      groups = *launch.getGroups();
    else
      return "exchange.boundary";
    return ("exchange." + symbols.lookup<RankGroupsOp>(groups).getAxes()).str();
  }

  //===--------------------------------------------------------------------===//
  // Rewrite
  //===--------------------------------------------------------------------===//

  FlatSymbolRefAttr ref(const Twine &name) {
    return FlatSymbolRefAttr::get(builder.getContext(), name.str());
  }

  LogicalResult createKernels() {
    for (auto kernel : llvm::make_early_inc_range(module.getOps<KernelOp>()))
      kernel.erase();
    if (!commands.empty())
      builder.setInsertionPoint(
          commands.front().first->getParentOfType<ProgramOp>());
    // One source for each op, in the order of first use.
    llvm::MapVector<StringRef, SmallVector<const PrintedKernel *>> sources;
    for (const PrintedKernel &printed : printedKernels)
      sources[printed.launch.op].push_back(&printed);
    for (const auto &[op, printed] : sources)
      DeviceModuleOp::create(builder, module.getLoc(),
                             builder.getStringAttr(moduleName(op)),
                             builder.getStringAttr(printSource(printed)));
    for (const Kernel &kernel : kernels) {
      const PrintedKernel &printed = printedKernels[kernel.printed];
      auto functions =
          functionsOf(printed.launch.op, printed.name, printed.plan);
      if (failed(functions))
        return failure();
      KernelOp::create(
          builder, module.getLoc(), builder.getStringAttr(kernel.name),
          builder.getStringAttr(printed.launch.op), kernel.constants,
          kernel.body, kernel.temporaries, *functions);
    }
    if (failed(createUtility(
            device::kSyntheticKernel,
            "// Makes weights from a seed while an engine is loaded.\n",
            planSyntheticWeights())))
      return failure();
    return canChain() ? createUtility(device::kChainKernel,
                                      "// Stands behind each step of a chain "
                                      "of steps.\n",
                                      planChainSteps())
                      : success();
  }

  /// Whether a step's tokens lie where the inputs of the next one belong: one
  /// stage, which yields candidates.
  bool canChain() {
    bool hasCandidates = false, hasStages = false;
    for (auto program : module.getOps<ProgramOp>())
      hasStages |= program.getStage() != 0;
    module.walk([&](BindOp bind) {
      hasCandidates |= bind.getBinding() ==
                       ops::bindingOf(ops::BindingId::CandidateTokens).name;
    });
    return hasCandidates && !hasStages;
  }

  /// A kernel that the runtime launches outside of entries.
  LogicalResult createUtility(StringRef name, StringRef head,
                              const KernelPlan &plan) {
    DeviceModuleOp::create(
        builder, module.getLoc(), builder.getStringAttr(moduleName(name)),
        builder.getStringAttr(printUtility(name, head, plan)));
    auto functions = functionsOf(name, name, plan);
    if (failed(functions))
      return failure();
    KernelOp::create(builder, module.getLoc(), builder.getStringAttr(name),
                     builder.getStringAttr(name), builder.getDictionaryAttr({}),
                     /*body=*/ArrayAttr(), /*temporaries=*/ArrayAttr(),
                     *functions);
    return success();
  }

  static std::string moduleName(StringRef op) { return (op + ".cu").str(); }

  FailureOr<ArrayAttr> functionsOf(StringRef op, StringRef kernel,
                                   const KernelPlan &plan) {
    auto emitError = [&] {
      return module.emitError("kernel \"") << kernel << "\": ";
    };
    SmallVector<Attribute> functions;
    for (const FunctionPlan &function : plan.functions) {
      SmallVector<int64_t> grid(function.grid, function.grid + 3);
      auto attr = FunctionAttr::getChecked(
          llvm::function_ref<InFlightDiagnostic()>(emitError),
          builder.getContext(), ref(moduleName(op)),
          builder.getStringAttr(functionName(kernel, function)),
          ArrayRef<int64_t>(grid), static_cast<int64_t>(function.block),
          static_cast<int64_t>(function.sharedBytes),
          static_cast<int64_t>(function.exclusiveGrid));
      if (!attr)
        return failure();
      functions.push_back(attr);
    }
    return builder.getArrayAttr(functions);
  }

  /// In every program, in one order: peers find each other's by the offset.
  void createExchangeStates() {
    if (exchangeNeeds.empty())
      return;
    FlatSymbolRefAttr arena = createArena("exchange", ArenaKind::Exchange);
    for (auto program : module.getOps<ProgramOp>()) {
      auto entries = program.getBody().getOps<EntryOp>();
      if (entries.empty())
        builder.setInsertionPointToEnd(&program.getBody().front());
      else
        builder.setInsertionPoint(*entries.begin());
      for (const auto &[name, need] : exchangeNeeds)
        StateOp::create(builder, program.getLoc(), builder.getStringAttr(name),
                        /*kind=*/StateKindAttr(), arena,
                        /*offset=*/IntegerAttr(),
                        TypeAttr::get(bytesType(need)));
    }
  }

  FlatSymbolRefAttr createArena(StringRef name, ArenaKind kind) {
    builder.setInsertionPointToStart(module.getBody());
    for (auto arena : module.getOps<ArenaOp>())
      builder.setInsertionPointAfter(arena);
    ArenaOp::create(builder, module.getLoc(), builder.getStringAttr(name),
                    ArenaKindAttr::get(builder.getContext(), kind),
                    builder.getI64IntegerAttr(0), builder.getI64IntegerAttr(1));
    return ref(name);
  }

  FlatSymbolRefAttr transientArena() {
    if (transient)
      return transient;
    for (auto arena : module.getOps<ArenaOp>())
      if (arena.getKind() == ArenaKind::Transient)
        return transient = ref(arena.getSymName());
    return transient = createArena("activations", ArenaKind::Transient);
  }

  MemRefType bytesType(uint64_t bytes) {
    return MemRefType::get({static_cast<int64_t>(llvm::alignTo(bytes, 256))},
                           builder.getI8Type());
  }

  void rewrite(Operation *command, const Kernel &kernel) {
    const KernelPlan &plan = printedKernels[kernel.printed].plan;
    Value workspace, exchange;
    if (plan.workspaceBytes > 0) {
      FlatSymbolRefAttr arena = transientArena();
      builder.setInsertionPoint(command);
      workspace = BufferOp::create(builder, command->getLoc(),
                                   bytesType(plan.workspaceBytes), arena,
                                   /*offset=*/IntegerAttr());
    }
    if (plan.exchangeBytes > 0) {
      std::string name = exchangeName(command);
      builder.setInsertionPoint(command);
      exchange = GlobalOp::create(builder, command->getLoc(),
                                  bytesType(exchangeNeeds[name]), ref(name));
    }
    auto setOperands = [&](auto op) {
      op.setKernelAttr(ref(kernel.name));
      if (workspace)
        op.getWorkspaceMutable().assign(workspace);
      if (exchange)
        op.getExchangeMutable().assign(exchange);
    };
    llvm::TypeSwitch<Operation *>(command)
        .Case<LaunchOp, CollectiveOp, TransferOp>(setOperands)
        .Case<CopyOp>(
            [&](CopyOp copy) { copy.setKernelAttr(ref(kernel.name)); });
  }

  const Tuning tuning;
  ModuleOp module;
  SymbolTable symbols;
  OpBuilder builder;
  FlatSymbolRefAttr transient;
  std::vector<PrintedKernel> printedKernels;
  std::vector<Kernel> kernels;
  llvm::StringMap<size_t> printedOf; // by content
  llvm::DenseMap<std::tuple<size_t, DictionaryAttr, ArrayAttr>, size_t>
      kernelOf;
  llvm::StringMap<int64_t> counts; // of kernels, by op
  SmallVector<std::pair<Operation *, size_t>> commands;
  /// Bytes by state, in the order of first use.
  llvm::MapVector<std::string, uint64_t, std::map<std::string, unsigned>>
      exchangeNeeds;
};

} // namespace

LogicalResult saddle::cuda::specializeKernels(ModuleOp module,
                                              const KernelOptions &options) {
  if (options.tuningCandidate < 0)
    return Specializer(module, Tuning::measured()).run();
  return Specializer(module, Tuning::candidate(options.tuningCandidate)).run();
}
