#include "passes/Target/Target.h"

using namespace mlir;
using namespace saddle;

const Fusion *Target::fusion(StringRef name) const {
  for (const Fusion *fusion : fusions())
    if (fusion->name() == name)
      return fusion;
  return nullptr;
}

SmallVector<size_t> Target::launches(ArrayRef<TypeID> ops) const {
  SmallVector<size_t> sizes;
  while (!ops.empty()) {
    size_t size = ops.size();
    while (size > 1 && llvm::none_of(fusions(), [&](const Fusion *fusion) {
             return fusion->covers(ops.take_front(size));
           }))
      --size;
    sizes.push_back(size);
    ops = ops.drop_front(size);
  }
  return sizes;
}
