#include "dialects/Kernel/IR/KernelDialect.h"

#include "mlir/IR/Builders.h"

using namespace mlir;
using namespace saddle::kernel;

#include "dialects/Kernel/IR/KernelDialect.cpp.inc"

#define GET_OP_CLASSES
#include "dialects/Kernel/IR/KernelOps.cpp.inc"

void KernelDialect::initialize() {
  addOperations<
#define GET_OP_LIST
#include "dialects/Kernel/IR/KernelOps.cpp.inc"
      >();
}

//===----------------------------------------------------------------------===//
// GroupOp: "signature" (using "impl")? (%arg = %operand, ...) : type { body }
//===----------------------------------------------------------------------===//

void GroupOp::print(OpAsmPrinter &printer) {
  printer << ' ' << getSignatureAttr();
  if (auto implementation = getImplementationAttr())
    printer << " using " << implementation;
  printer << " (";
  llvm::interleaveComma(llvm::zip_equal(getBody().getArguments(), getInputs()),
                        printer, [&](auto pair) {
                          printer << std::get<0>(pair) << " = "
                                  << std::get<1>(pair);
                        });
  printer << ") : ";
  printer.printFunctionalType(getInputs().getTypes(), getResultTypes());
  printer.printOptionalAttrDictWithKeyword(
      (*this)->getAttrs(),
      {getSignatureAttrName(), getImplementationAttrName()});
  printer << ' ';
  printer.printRegion(getBody(), /*printEntryBlockArgs=*/false);
}

ParseResult GroupOp::parse(OpAsmParser &parser, OperationState &result) {
  StringAttr signature, implementation;
  if (parser.parseAttribute(signature, getSignatureAttrName(result.name),
                            result.attributes))
    return failure();
  if (succeeded(parser.parseOptionalKeyword("using")) &&
      parser.parseAttribute(implementation,
                            getImplementationAttrName(result.name),
                            result.attributes))
    return failure();
  SmallVector<OpAsmParser::Argument> arguments;
  SmallVector<OpAsmParser::UnresolvedOperand> operands;
  SMLoc loc = parser.getCurrentLocation();
  FunctionType type;
  if (parser.parseAssignmentList(arguments, operands) ||
      parser.parseColonType(type))
    return failure();
  if (type.getNumInputs() != operands.size())
    return parser.emitError(loc, "expected ")
           << type.getNumInputs() << " operands, but got " << operands.size();
  for (auto [argument, argumentType] :
       llvm::zip_equal(arguments, type.getInputs()))
    argument.type = argumentType;
  if (parser.resolveOperands(operands, type.getInputs(), loc,
                             result.operands) ||
      parser.parseOptionalAttrDictWithKeyword(result.attributes) ||
      parser.parseRegion(*result.addRegion(), arguments))
    return failure();
  result.addTypes(type.getResults());
  return success();
}

LogicalResult GroupOp::verify() {
  Block &body = getBody().front();
  // group_c1
  if (body.getArgumentTypes() != getInputs().getTypes())
    return emitOpError("expected body arguments like the operands, but got ")
           << body.getArgumentTypes() << " for " << getInputs().getTypes();
  // group_c2
  auto yield = dyn_cast<YieldOp>(body.back());
  if (!yield)
    return emitOpError("expected the body to end with 'kernel.yield'");
  if (yield.getOperandTypes() != getResultTypes())
    return emitOpError("expected the body to yield ")
           << getResultTypes() << ", but got " << yield.getOperandTypes();
  // group_c3
  if (llvm::hasNItemsOrLess(body, 2))
    return emitOpError("expected at least two ops besides the yield");
  for (Operation &op : body)
    if (isa<GroupOp>(op)) {
      InFlightDiagnostic diag = emitOpError("expected no group inside a group");
      diag.attachNote(op.getLoc()) << "inner group here";
      return diag;
    }
  return success();
}
