// What must not outlive the process: programs that it runs and folders that it
// has made for them.

#ifndef SADDLE_COMPILER_CUDA_CLEANUP_H
#define SADDLE_COMPILER_CUDA_CLEANUP_H

#include "llvm/ADT/StringRef.h"

#include <functional>
#include <string>
#include <sys/types.h>
#include <thread>

namespace saddle::cuda {

/// While one lives, INT, TERM and HUP first end the programs that were
/// announced, with all that they have started, then remove the announced
/// folders, and then end the process as they do without it. One that the
/// process ignores stays ignored. One at a time.
class CleanUp {
public:
  CleanUp();
  CleanUp(const CleanUp &) = delete;
  CleanUp &operator=(const CleanUp &) = delete;
  ~CleanUp();

  // For any thread; without an object they only keep account. When the process
  // is about to end they do not return.

  static void addFolder(llvm::StringRef path);
  static void removeFolder(llvm::StringRef path);
  /// `start` makes a process that leads a group of its own and returns its
  /// number, or none to announce (0).
  static pid_t startProgram(const std::function<pid_t()> &start);
  /// Waits for its end; the status of waitpid.
  static int waitForProgram(pid_t program);

private:
  int ends[2] = {-1, -1}; // of the pipe from the handler to the watcher
  std::thread watcher;
};

} // namespace saddle::cuda

#endif // SADDLE_COMPILER_CUDA_CLEANUP_H
