// Programmatic dependent launch: a kernel may be resident while the one before
// it still runs.

#pragma once

namespace saddle::device {

/// Blocks until all kernels before this one are complete and their writes
/// visible; does nothing in an ordinary launch.
__device__ __forceinline__ void waitForPrevious() {
  asm volatile("griddepcontrol.wait;" ::: "memory");
}

/// Lets the next kernel become resident once every CTA of this one has said so
/// or has ended. The next one still sees nothing of this one's writes before
/// its own waitForPrevious(); nor, when this one has not waited yet, of those
/// of kernels before.
__device__ __forceinline__ void allowNext() {
  asm volatile("griddepcontrol.launch_dependents;" ::: "memory");
}

} // namespace saddle::device
