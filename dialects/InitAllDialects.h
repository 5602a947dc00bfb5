// Registration of every dialect that Saddle's tools understand.

#ifndef SADDLE_DIALECTS_INITALLDIALECTS_H
#define SADDLE_DIALECTS_INITALLDIALECTS_H

namespace mlir {
class DialectRegistry;
} // namespace mlir

namespace saddle {

/// Our four dialects and the upstream ones that programs use (func).
void registerAllDialects(mlir::DialectRegistry &registry);

} // namespace saddle

#endif // SADDLE_DIALECTS_INITALLDIALECTS_H
