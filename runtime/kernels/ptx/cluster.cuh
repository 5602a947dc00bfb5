// Thread block clusters: CTAs that run at the same time and see each other's
// shared memory.

#pragma once

#include "runtime/kernels/ptx/copy_async.cuh"

namespace saddle::device {

/// The number of this CTA in its cluster.
__device__ __forceinline__ uint32_t clusterRank() {
  uint32_t rank;
  asm("mov.u32 %0, %%cluster_ctarank;" : "=r"(rank));
  return rank;
}

/// All threads of all CTAs of the cluster arrive, and then wait for each other.
/// What a thread wrote before it arrived, to shared memory of any of them too,
/// is there for those that have waited. Every arrival has its wait before the
/// next.
__device__ __forceinline__ void arriveAtCluster() {
  asm volatile("barrier.cluster.arrive.release.aligned;" ::: "memory");
}
/// The same of a CTA that has written nothing: it is there, and has begun.
__device__ __forceinline__ void beginInCluster() {
  asm volatile("barrier.cluster.arrive.relaxed.aligned;" ::: "memory");
}
__device__ __forceinline__ void waitForCluster() {
  asm volatile("barrier.cluster.wait.acquire.aligned;" ::: "memory");
}

/// Reads CTA `rank`'s copy of a variable in shared memory; as storeInCluster().
__device__ __forceinline__ int32_t loadInCluster(const int32_t *variable,
                                                 uint32_t rank) {
  int32_t value;
  asm volatile("{\n"
               ".reg .b32 there;\n"
               "mapa.shared::cluster.u32 there, %1, %2;\n"
               "ld.shared::cluster.s32 %0, [there];\n"
               "}"
               : "=r"(value)
               : "r"(sharedAddress(variable)), "r"(rank)
               : "memory");
  return value;
}

/// Writes to CTA `rank`'s copy of a variable in shared memory. That CTA has
/// begun, and does not end before a barrier behind this.
__device__ __forceinline__ void storeInCluster(float *variable, uint32_t rank,
                                               float value) {
  asm volatile("{\n"
               ".reg .b32 there;\n"
               "mapa.shared::cluster.u32 there, %0, %1;\n"
               "st.shared::cluster.f32 [there], %2;\n"
               "}" ::"r"(sharedAddress(variable)),
               "r"(rank), "f"(value)
               : "memory");
}

} // namespace saddle::device
