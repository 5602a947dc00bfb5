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

/// Where CTA `rank` has what lies at `address` of this one's shared memory.
/// That CTA has begun, and does not end before a barrier behind the last use.
__device__ __forceinline__ uint32_t addressInCluster(uint32_t address,
                                                     uint32_t rank) {
  uint32_t there;
  asm("mapa.shared::cluster.u32 %0, %1, %2;"
      : "=r"(there)
      : "r"(address), "r"(rank));
  return there;
}

/// Reads CTA `rank`'s copy of a variable in shared memory.
__device__ __forceinline__ int32_t loadInCluster(const int32_t *variable,
                                                 uint32_t rank) {
  int32_t value;
  asm volatile("ld.shared::cluster.s32 %0, [%1];"
               : "=r"(value)
               : "r"(addressInCluster(sharedAddress(variable), rank))
               : "memory");
  return value;
}

/// Writes to CTA `rank`'s copy of a variable in shared memory.
__device__ __forceinline__ void storeInCluster(float *variable, uint32_t rank,
                                               float value) {
  asm volatile("st.shared::cluster.f32 [%0], %1;" ::"r"(
                   addressInCluster(sharedAddress(variable), rank)),
               "f"(value)
               : "memory");
}

/// Sends 16 bytes to a CTA; both addresses are what addressInCluster() gave.
/// The barrier there, which expects bytes (ptx/barrier.cuh), counts them as it
/// does those of bulk copies: nobody here waits for that.
__device__ __forceinline__ void sendToCluster(uint32_t there, uint4 values,
                                              uint32_t barrier) {
  asm volatile(
      "st.async.weak.shared::cluster.mbarrier::complete_tx::bytes.v4.b32 "
      "[%0], {%1, %2, %3, %4}, [%5];" ::"r"(there),
      "r"(values.x), "r"(values.y), "r"(values.z), "r"(values.w), "r"(barrier)
      : "memory");
}

/// The same for two or four floats of a thread; `there` and `barrier` belong to
/// one CTA.
template <typename Values>
__device__ __forceinline__ void
sendFloatsToCluster(uint32_t there, const Values &values, uint32_t barrier) {
  if constexpr (sizeof(Values) == 16)
    asm volatile(
        "st.async.weak.shared::cluster.mbarrier::complete_tx::bytes.v4.f32 "
        "[%0], {%1, %2, %3, %4}, [%5];" ::"r"(there),
        "f"(values[0]), "f"(values[1]), "f"(values[2]), "f"(values[3]),
        "r"(barrier)
        : "memory");
  else
    asm volatile(
        "st.async.weak.shared::cluster.mbarrier::complete_tx::bytes.v2.f32 "
        "[%0], {%1, %2}, [%3];" ::"r"(there),
        "f"(values[0]), "f"(values[1]), "r"(barrier)
        : "memory");
}

/// Arrives at a barrier at what addressInCluster() gave, for a thread that has
/// only read: what it has written need not be there for those that wait, which
/// would take a fence of all of its stores.
__device__ __forceinline__ void arriveInCluster(uint32_t there) {
  asm volatile(
      "mbarrier.arrive.relaxed.cluster.shared::cluster.b64 _, [%0];" ::"r"(
          there)
      : "memory");
}

} // namespace saddle::device
