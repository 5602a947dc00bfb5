// Offsets for everything. Transient buffers: greedy by size (Pisarchyk and Lee
// 2020, "Efficient Memory Management for Deep Neural Net Inference", 5.2).

#include "passes/Engine/Passes.h"

#include "dialects/Engine/IR/EngineDialect.h"

#include "mlir/IR/Builders.h"
#include "llvm/Support/MathExtras.h"

namespace saddle::engine {
#define GEN_PASS_DEF_PLANMEMORY
#include "passes/Engine/Passes.h.inc"
} // namespace saddle::engine

using namespace mlir;
using namespace saddle::engine;

namespace {

/// A buffer with the span of commands during which its bytes matter.
struct Life {
  BufferOp buffer;
  int64_t bytes;
  int64_t first, last;
  int64_t offset = 0;
};

struct PlanMemory : saddle::engine::impl::PlanMemoryBase<PlanMemory> {
  using Base::Base;

  void runOnOperation() override {
    if (alignment < 1 || !llvm::isPowerOf2_64(alignment)) {
      getOperation().emitError("alignment must be a power of two, but got ")
          << alignment.getValue();
      return signalPassFailure();
    }
    for (auto arena : getOperation().getOps<ArenaOp>())
      if (arena.getKind() == ArenaKind::IO)
        ioArenas.insert(arena.getSymNameAttr());
    for (auto program : getOperation().getOps<ProgramOp>()) {
      // A rank holds one stage of all programs.
      stage = program.getStage();
      for (Operation &op : program.getBody().front()) {
        if (auto weight = dyn_cast<WeightOp>(op))
          append(weight);
        else if (auto state = dyn_cast<StateOp>(op))
          append(state);
        else
          plan(cast<EntryOp>(op));
      }
    }
    Builder builder(&getContext());
    for (auto arena : getOperation().getOps<ArenaOp>()) {
      arena.setBytes(used.lookup(arena.getSymNameAttr()));
      arena.setAlignment(alignment);
    }
  }

private:
  int64_t align(int64_t offset) { return llvm::alignTo(offset, alignment); }

  /// Weights and states: one after another. What several programs of a stage
  /// name is one.
  template <typename OpTy>
  void append(OpTy op) {
    auto [known, isNew] = shared.try_emplace({op.getSymNameAttr(), stage}, 0);
    if (!isNew)
      return op.setOffset(known->second);
    int64_t &end = fixedEnd[{op.getArenaAttr().getAttr(), stage}];
    int64_t offset = align(end);
    op.setOffset(offset);
    known->second = offset;
    end = offset + denseBytes(cast<MemRefType>(op.getType()));
    int64_t &bytes = used[op.getArenaAttr().getAttr()];
    bytes = std::max(bytes, end);
  }

  void plan(EntryOp entry) {
    SmallVector<Life> lives;
    llvm::DenseMap<Attribute, int64_t> ioEnd;
    llvm::DenseMap<Operation *, int64_t> order;
    for (auto [index, op] : llvm::enumerate(entry.getBody().front()))
      order[&op] = index;
    for (auto buffer : entry.getBody().getOps<BufferOp>()) {
      int64_t bytes = denseBytes(cast<MemRefType>(buffer.getType()));
      // Arena kinds differ in one thing only: io bytes live for the whole
      // entry.
      if (ioArenas.contains(buffer.getArenaAttr().getAttr())) {
        int64_t &end = ioEnd[buffer.getArenaAttr().getAttr()];
        int64_t offset = align(end);
        buffer.setOffset(offset);
        end = offset + bytes;
        grow(buffer, end);
        continue;
      }
      Life life{buffer, bytes, order[buffer], order[buffer]};
      extend(buffer, order, life);
      lives.push_back(life);
    }
    place(lives);
  }

  /// Uses through views count as uses of the buffer.
  static void extend(Value value,
                     const llvm::DenseMap<Operation *, int64_t> &order,
                     Life &life) {
    for (Operation *user : value.getUsers()) {
      life.last = std::max(life.last, order.lookup(user));
      if (auto view = dyn_cast<ViewOp>(user))
        extend(view, order, life);
    }
  }

  void place(SmallVectorImpl<Life> &lives) {
    SmallVector<Life *> bySize;
    for (Life &life : lives)
      bySize.push_back(&life);
    llvm::sort(bySize, [](Life *a, Life *b) {
      return std::pair(-a->bytes, a->first) < std::pair(-b->bytes, b->first);
    });
    SmallVector<Life *> placed; // by offset
    for (Life *life : bySize) {
      int64_t offset = 0;
      for (Life *other : placed) {
        bool meets = life->first <= other->last && other->first <= life->last;
        if (!meets || life->buffer.getArena() != other->buffer.getArena())
          continue;
        if (offset + life->bytes <= other->offset)
          break; // the gap below `other` is wide enough
        offset = std::max(offset, align(other->offset + other->bytes));
      }
      life->offset = offset;
      life->buffer.setOffset(offset);
      grow(life->buffer, offset + life->bytes);
      placed.insert(llvm::upper_bound(
                        placed, life,
                        [](Life *a, Life *b) { return a->offset < b->offset; }),
                    life);
    }
  }

  void grow(BufferOp buffer, int64_t end) {
    int64_t &bytes = used[buffer.getArenaAttr().getAttr()];
    bytes = std::max(bytes, end);
  }

  llvm::DenseMap<Attribute, int64_t> used; // by any stage
  int64_t stage = 0;                       // of the current program
  /// Of weights and states, by arena and stage.
  llvm::DenseMap<std::pair<Attribute, int64_t>, int64_t> fixedEnd;
  /// Where they lie, by name and stage.
  llvm::DenseMap<std::pair<StringAttr, int64_t>, int64_t> shared;
  llvm::DenseSet<StringAttr> ioArenas;
};

} // namespace
