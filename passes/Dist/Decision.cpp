#include "passes/Dist/Decision.h"

#include "llvm/ADT/STLExtras.h"
#include "llvm/Support/Format.h"

using namespace mlir;
using namespace saddle::dist;

static void print(llvm::raw_ostream &os, const Candidate &candidate) {
  os << candidate.name;
  if (!candidate.cost) {
    os << " impossible (" << candidate.obstacle << ")";
    return;
  }
  const Cost &cost = *candidate.cost;
  os << llvm::format(" %.2f us (exchanges %.2f, launches %.2f, memory %.2f)",
                     cost.total(), cost.exchange, cost.launch, cost.memory);
}

static void printReason(llvm::raw_ostream &os, const Decision &decision,
                        StringRef target) {
  if (decision.asked == decision.chosen) {
    os << "asked for; predicted for a layer on " << target;
    return;
  }
  if (decision.asked != "auto")
    os << "although " << decision.asked << " was asked for, ";
  size_t possible = llvm::count_if(decision.candidates,
                                   [](const Candidate &c) { return c.cost; });
  os << (possible == 1 ? "the only one possible; predicted for a layer on "
                       : "the fastest predicted for a layer on ")
     << target;
}

void saddle::dist::reportDecision(func::FuncOp function,
                                  const Decision &decision, StringRef target) {
  std::string text;
  llvm::raw_string_ostream os(text);
  printReason(os, decision, target);
  os << ": ";
  llvm::interleaveComma(decision.candidates, os,
                        [&](const Candidate &c) { print(os, c); });
  function.emitRemark("@") << function.getName() << ": " << decision.name
                           << " = " << decision.chosen << ", " << text;
}
