// Checks the memory plan by replaying it, with no code of the planner: for
// every byte range it remembers which buffer was written there last. A read of
// bytes that another buffer has overwritten, or that nobody wrote, is an error.

#include "passes/Engine/Passes.h"

#include "dialects/Engine/IR/EngineDialect.h"
#include "dialects/Model/IR/ModelDialect.h"
#include "runtime/ops/Bindings.h"

#include "llvm/ADT/TypeSwitch.h"

#include <map>

namespace saddle::engine {
#define GEN_PASS_DEF_VERIFYMEMORY
#include "passes/Engine/Passes.h.inc"
} // namespace saddle::engine

using namespace mlir;
using namespace saddle::engine;

namespace {

/// Who wrote which bytes last. Disjoint ranges, keyed by their start.
class Ownership {
public:
  void write(int64_t begin, int64_t end, BufferOp owner) {
    if (begin == end)
      return;
    split(begin);
    split(end);
    ranges.erase(ranges.lower_bound(begin), ranges.lower_bound(end));
    ranges[begin] = {end, owner};
  }

  /// The first byte of [begin, end) that `owner` does not own, with its owner.
  std::optional<std::pair<int64_t, BufferOp>>
  foreign(int64_t begin, int64_t end, BufferOp owner) const {
    int64_t at = begin;
    while (at < end) {
      auto range = ranges.upper_bound(at);
      if (range == ranges.begin())
        return std::pair(at, BufferOp());
      --range;
      if (range->second.first <= at)
        return std::pair(at, BufferOp());
      if (range->second.second != owner)
        return std::pair(at, range->second.second);
      at = range->second.first;
    }
    return std::nullopt;
  }

private:
  void split(int64_t at) {
    auto range = ranges.upper_bound(at);
    if (range == ranges.begin())
      return;
    --range;
    if (range->first == at || range->second.first <= at)
      return;
    ranges[at] = range->second;
    range->second.first = at;
  }

  std::map<int64_t, std::pair<int64_t, BufferOp>> ranges;
};

class EntryChecker {
public:
  explicit EntryChecker(EntryOp entry) : entry(entry) {}

  LogicalResult check(bool isMain, bool isLastStage) {
    if (entry.getBody().getNumArguments() != 0)
      return entry.emitError("entry @")
             << entry.getSymName() << " has block arguments; expected buffers";
    for (auto bind : entry.getBody().getOps<BindOp>())
      if (!outputOf(bind))
        claim(bind.getBuffer());
    for (Operation &op : entry.getBody().front()) {
      if (auto launch = dyn_cast<LaunchOp>(op)) {
        if (failed(readAll(&op, launch.getInputs())))
          return failure();
        occupy(launch.getWorkspace());
        for (Value output : launch.getOutputs())
          claim(output);
        // Outputs must not destroy what the same launch reads.
        if (failed(readAll(&op, launch.getInputs())) ||
            failed(release(&op, launch.getWorkspace())))
          return failure();
      } else if (auto collective = dyn_cast<CollectiveOp>(op)) {
        occupy(collective.getWorkspace());
        if (failed(move(&op, collective.getInput(), collective.getOutput())) ||
            failed(release(&op, collective.getWorkspace())))
          return failure();
      } else if (auto transfer = dyn_cast<TransferOp>(op)) {
        occupy(transfer.getWorkspace());
        if (transfer.getKind() == TransferKind::Receive)
          claim(transfer.getBuffer());
        else if (failed(read(&op, transfer.getBuffer())))
          return failure();
        if (failed(release(&op, transfer.getWorkspace())))
          return failure();
      } else if (auto copy = dyn_cast<CopyOp>(op)) {
        if (failed(move(&op, copy.getSource(), copy.getDest())))
          return failure();
      }
    }
    llvm::DenseSet<const saddle::ops::Binding *> found;
    for (auto bind : entry.getBody().getOps<BindOp>()) {
      const saddle::ops::Binding *output = outputOf(bind);
      if (!output)
        continue;
      if (failed(read(bind, bind.getBuffer())))
        return failure();
      found.insert(output);
    }
    for (const saddle::ops::Binding &each : saddle::ops::outputs())
      if (!found.contains(&each) &&
          each.isRequired(isMain, /*isFirstStage=*/false, isLastStage))
        return entry.emitError("entry @")
               << entry.getSymName() << " has no binding \"" << each.name
               << "\"";
    return success();
  }

private:
  /// What the host reads; null for all other bindings, which it fills.
  static const saddle::ops::Binding *outputOf(BindOp bind) {
    const saddle::ops::Binding *known =
        saddle::ops::findBinding(bind.getBinding());
    return known && known->isOutput() ? known : nullptr;
  }

  /// The buffer behind views; null for globals.
  static BufferOp base(Value value) {
    while (auto view = value.getDefiningOp<ViewOp>())
      value = view.getSource();
    return value.getDefiningOp<BufferOp>();
  }

  static std::pair<int64_t, int64_t> range(BufferOp buffer) {
    auto type = cast<MemRefType>(buffer.getType());
    int64_t bytes = (type.getElementTypeBitWidth() + 7) / 8;
    for (int64_t extent : type.getShape())
      bytes *= extent;
    int64_t begin = *buffer.getOffset();
    return {begin, begin + bytes};
  }

  void claim(Value value) {
    BufferOp buffer = base(value);
    if (!buffer)
      return;
    auto [begin, end] = range(buffer);
    owners[buffer.getArenaAttr()].write(begin, end, buffer);
  }

  /// A command works in its workspace, so nobody else's bytes may lie there.
  /// Null when it has none.
  void occupy(Value workspace) {
    if (workspace)
      claim(workspace);
  }

  /// Behind the command: its results do not lie in the workspace, and the
  /// workspace's contents are nobody's.
  LogicalResult release(Operation *op, Value workspace) {
    if (!workspace)
      return success();
    if (failed(read(op, workspace)))
      return failure();
    BufferOp buffer = base(workspace);
    auto [begin, end] = range(buffer);
    owners[buffer.getArenaAttr()].write(begin, end, BufferOp());
    return success();
  }

  /// One buffer into another, or in place; they must not overlap in part.
  LogicalResult move(Operation *op, Value from, Value to) {
    if (failed(read(op, from)))
      return failure();
    claim(to);
    return read(op, from);
  }

  LogicalResult readAll(Operation *op, ValueRange values) {
    for (Value value : values)
      if (failed(read(op, value)))
        return failure();
    return success();
  }

  LogicalResult read(Operation *op, Value value) {
    BufferOp buffer = base(value);
    if (!buffer)
      return success();
    auto [begin, end] = range(buffer);
    auto foreign = owners[buffer.getArenaAttr()].foreign(begin, end, buffer);
    if (!foreign)
      return success();
    InFlightDiagnostic diag =
        op->emitError("reads byte ")
        << foreign->first << " of arena @" << buffer.getArena() << ", which "
        << (foreign->second ? "another buffer has overwritten"
                            : "nothing has written");
    diag.attachNote(buffer.getLoc()) << "buffer read here";
    if (foreign->second)
      diag.attachNote(foreign->second.getLoc()) << "buffer that overwrote it";
    return diag;
  }

  EntryOp entry;
  std::map<Attribute, Ownership, bool (*)(Attribute, Attribute)> owners{
      [](Attribute a, Attribute b) {
        return a.getAsOpaquePointer() < b.getAsOpaquePointer();
      }};
};

struct VerifyMemory : saddle::engine::impl::VerifyMemoryBase<VerifyMemory> {
  using Base::Base;

  void runOnOperation() override {
    if (alignment < 1) {
      getOperation().emitError("alignment must be positive, but got ")
          << alignment.getValue();
      return signalPassFailure();
    }
    if (failed(verify(getOperation())))
      signalPassFailure();
  }

private:
  LogicalResult verify(ModuleOp module) {
    WalkResult result = module.walk([](Operation *op) {
      for (Type type : op->getResultTypes())
        if (isa<TensorType>(type)) {
          op->emitError("tensor type ") << type << " is left";
          return WalkResult::interrupt();
        }
      return WalkResult::advance();
    });
    if (result.wasInterrupted())
      return failure();

    SymbolTable symbols(module);
    SmallVector<ProgramOp> programs(module.getOps<ProgramOp>());
    if (failed(verifyExchange(symbols, programs)))
      return failure();
    int64_t lastStage = 0;
    for (ProgramOp program : programs)
      lastStage = std::max<int64_t>(lastStage, program.getStage());
    std::map<int64_t, FixedPlaces> fixed; // by stage
    for (ProgramOp program : programs) {
      if (failed(verifyPlaces(symbols, program, fixed[program.getStage()])))
        return failure();
      bool last = int64_t(program.getStage()) == lastStage;
      bool main =
          program.getProgram() == saddle::model::ModelDialect::kMainProgram;
      for (auto entry : program.getBody().getOps<EntryOp>())
        if (failed(EntryChecker(entry).check(main, last)))
          return failure();
    }
    return success();
  }

  /// Peers reach each other's exchange memory by its offset: every program has
  /// the same states there.
  LogicalResult verifyExchange(const SymbolTable &symbols,
                               SmallVector<ProgramOp> programs) {
    auto statesOf = [&](ProgramOp program) {
      return llvm::filter_to_vector(
          program.getBody().getOps<StateOp>(), [&](StateOp state) {
            return symbols.lookup<ArenaOp>(state.getArena()).getKind() ==
                   ArenaKind::Exchange;
          });
    };
    for (ProgramOp program : programs) {
      auto expected = statesOf(programs.front()), found = statesOf(program);
      auto agree = [](StateOp a, StateOp b) {
        return a->getAttrDictionary() == b->getAttrDictionary();
      };
      if (!std::equal(expected.begin(), expected.end(), found.begin(),
                      found.end(), agree))
        return program.emitError("program @")
               << program.getSymName() << " has other exchange states than @"
               << programs.front().getSymName()
               << "; expected the same names, types and offsets in one order";
    }
    return success();
  }

  /// Weights and states of a rank's programs: by arena and start, their ends.
  using FixedPlaces = std::map<std::pair<std::string, int64_t>,
                               std::pair<int64_t, Operation *>>;

  /// Everything has an aligned offset inside its arena; weights and states do
  /// not overlap, with those of programs before it neither, unless they are one
  /// and the same.
  LogicalResult verifyPlaces(const SymbolTable &symbols, ProgramOp program,
                             FixedPlaces &fixed) {
    WalkResult result = program.walk([&](Operation *op) {
      return llvm::TypeSwitch<Operation *, WalkResult>(op)
          .Case<WeightOp, StateOp>([&](auto op) {
            if (failed(verifyPlace(symbols, op, op.getType())))
              return WalkResult::interrupt();
            int64_t begin = *op.getOffset();
            int64_t end = begin + denseBytes(cast<MemRefType>(op.getType()));
            auto [place, isFree] =
                fixed.try_emplace({op.getArena().str(), begin}, end, op);
            // Programs may share what is the same in all of them.
            Operation *other = place->second.second;
            bool isShared =
                !isFree && other->getParentOp() != program &&
                other->getName() == op->getName() &&
                other->getAttrDictionary() == op->getAttrDictionary();
            if (!isFree && !isShared) {
              op->emitError("starts at byte ")
                  << begin << " of arena @" << op.getArena()
                  << ", where another weight or state starts";
              return WalkResult::interrupt();
            }
            return WalkResult::advance();
          })
          .template Case<BufferOp>([&](BufferOp op) {
            return failed(verifyPlace(symbols, op, op.getResult().getType()))
                       ? WalkResult::interrupt()
                       : WalkResult::advance();
          })
          .Default([](Operation *) { return WalkResult::advance(); });
    });
    if (result.wasInterrupted())
      return failure();
    for (auto it = fixed.begin(); it != fixed.end(); ++it) {
      auto next = std::next(it);
      if (next == fixed.end() || next->first.first != it->first.first ||
          it->second.first <= next->first.second)
        continue;
      InFlightDiagnostic diag =
          next->second.second->emitError("starts at byte ")
          << next->first.second << " of arena @" << next->first.first
          << ", inside its neighbour, which ends at " << it->second.first;
      diag.attachNote(it->second.second->getLoc()) << "the neighbour";
      return diag;
    }
    return success();
  }

  template <typename OpTy>
  LogicalResult verifyPlace(const SymbolTable &symbols, OpTy op, Type type) {
    if (!op.getOffset())
      return op->emitError("has no offset; run engine-plan-memory");
    int64_t begin = *op.getOffset();
    if (begin < 0 || begin % alignment != 0)
      return op->emitError("expected an offset aligned to ")
             << alignment.getValue() << ", but got " << begin;
    auto arena = symbols.lookup<ArenaOp>(op.getArena());
    uint64_t bytes = arena.getBytes();
    // Unsigned: the sum of two int64_t can overflow.
    uint64_t end =
        static_cast<uint64_t>(begin) + denseBytes(cast<MemRefType>(type));
    if (end > bytes)
      return op->emitError("ends at byte ")
             << end << " of arena @" << op.getArena() << ", which has "
             << bytes;
    return success();
  }
};

} // namespace
