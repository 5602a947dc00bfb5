// PTX that does not depend on where it was made.

#ifndef SADDLE_COMPILER_CUDA_NORMALIZEPTX_H
#define SADDLE_COMPILER_CUDA_NORMALIZEPTX_H

#include "llvm/ADT/StringRef.h"

#include <string>

namespace saddle::cuda {

/// Takes `folder` (with its last slash) out of file names, and replaces the
/// number in "_INTERNAL_1234abcd_", by which the front end marks functions of
/// this translation unit, with zeros: it is a hash of the working directory.
/// Both also stand in `.b8` lists of the debug sections.
std::string normalizePtx(llvm::StringRef ptx, llvm::StringRef folder);

} // namespace saddle::cuda

#endif // SADDLE_COMPILER_CUDA_NORMALIZEPTX_H
