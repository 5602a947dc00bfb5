// What saddle-compile does when memory runs out. Its own allocations end as
// those of any tool (tools/support/Memory.h); LLVM allocates past them, grows
// the stack, and has constructors that run before main and die without a word.

#ifndef SADDLE_TOOLS_SADDLE_COMPILE_SHORTAGE_H
#define SADDLE_TOOLS_SADDLE_COMPILE_SHORTAGE_H

namespace saddle::tools {

/// Takes the stack that a compilation needs while there is room for it, and
/// makes LLVM end the process as endWhenOutOfMemory() does. That there is some
/// room at all has been checked before main.
void endWhenLLVMIsOutOfMemory();

} // namespace saddle::tools

#endif // SADDLE_TOOLS_SADDLE_COMPILE_SHORTAGE_H
