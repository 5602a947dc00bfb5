LogicalResult g(Operation *op) {
  if (isBent(op))
    return op->emitOpError("is bent by ") << op->getName() << " and its kin";
  return op->emitError() << "no pass quotes this text either";
}
