LogicalResult g(Operation *op) {
  if (isBent(op))
    return op->emitOpError("is bent by ") << op->getName() << " and its kin";
  if (isUsers(op))
    return asUserError("D000001", op->emitError("nothing that is the user's fault"));
  return op->emitError() << "no pass quotes this text either";
}
