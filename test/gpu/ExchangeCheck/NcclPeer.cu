#include "test/gpu/ExchangeCheck/NcclPeer.h"

#include "test/gpu/ExchangeCheck/Matrices.h"

#include <atomic>
#include <cmath>
#include <dlfcn.h>
#include <thread>

using namespace saddle::device;
using saddle::cuda::Nccl;
using saddle::cuda::NcclId;
using saddle::cuda::NcclOp;
using saddle::cuda::NcclResult;
using saddle::cuda::NcclType;

static void end(const std::string &why) {
  std::fprintf(stderr, "NCCL: %s\n", why.c_str());
  std::exit(1);
}

void NcclPeer::check(NcclResult result, const char *call) {
  if (auto status = nccl->check(result, call); !status.ok())
    end(status.message());
}

NcclPeer::NcclPeer(Ranks &ranks, const std::string &library)
    : ranks(ranks), comms(ranks.count) {
  auto bound = Nccl::bind(library);
  if (!bound.ok())
    end(bound.status().message());
  nccl = std::move(*bound);
  // What only this program needs; the library is open.
  void *handle = dlopen(library.c_str(), RTLD_NOW | RTLD_LOCAL);
  allGather = reinterpret_cast<Joined *>(dlsym(handle, "ncclAllGather"));
  reduceScatter =
      reinterpret_cast<Scattered *>(dlsym(handle, "ncclReduceScatter"));
  if (!allGather || !reduceScatter)
    end(library + " has no ncclAllGather or no ncclReduceScatter");
  check(nccl->ncclGetVersion(&version), "ncclGetVersion");
  NcclId id;
  check(nccl->ncclGetUniqueId(&id), "ncclGetUniqueId");
  onRanks([&](uint32_t r) {
    check(nccl->ncclCommInitRank(&comms[r], int(ranks.count), id, int(r)),
          "ncclCommInitRank");
  });
}

NcclPeer::~NcclPeer() {
  onRanks([&](uint32_t r) { nccl->ncclCommDestroy(comms[r]); });
}

void NcclPeer::onRanks(const std::function<void(uint32_t)> &f) {
  std::vector<std::thread> threads;
  std::atomic<uint32_t> ready{0};
  for (uint32_t r = 0; r < ranks.count; ++r)
    threads.emplace_back([&, r] {
      ranks.use(r);
      // Together, so that none is timed while it waits for another's thread.
      ++ready;
      while (ready < ranks.count)
        std::this_thread::yield();
      f(r);
    });
  for (std::thread &thread : threads)
    thread.join();
}

void NcclPeer::enqueue(uint32_t rank, PeerOp op, const void *input,
                       void *output, size_t count, NcclType type) {
  cudaStream_t stream = ranks.streams[rank];
  if (op == PeerOp::AllReduce)
    check(nccl->ncclAllReduce(input, output, count, type, NcclOp::Sum,
                              comms[rank], stream),
          "ncclAllReduce");
  else if (op == PeerOp::AllGather)
    check(allGather(input, output, count, type, comms[rank], stream),
          "ncclAllGather");
  else
    check(reduceScatter(input, output, count, type, NcclOp::Sum, comms[rank],
                        stream),
          "ncclReduceScatter");
}

std::vector<cudaGraphExec_t> NcclPeer::graphs(PeerOp op, size_t count,
                                              uint32_t calls) {
  std::vector<cudaGraphExec_t> execs(ranks.count);
  auto add = [&](uint32_t r) {
    enqueue(r, op, ranks.at(r, ranks.places.input),
            ranks.at(r, ranks.places.output), count, NcclType::BF16);
  };
  onRanks([&](uint32_t r) {
    add(r);
    CUDA(cudaStreamSynchronize(ranks.streams[r]));
  });
  onRanks([&](uint32_t r) {
    cudaGraph_t graph;
    CUDA(cudaStreamBeginCapture(ranks.streams[r],
                                cudaStreamCaptureModeThreadLocal));
    for (uint32_t i = 0; i < calls; ++i)
      add(r);
    CUDA(cudaStreamEndCapture(ranks.streams[r], &graph));
    CUDA(cudaGraphInstantiate(&execs[r], graph, 0));
    CUDA(cudaGraphDestroy(graph));
  });
  return execs;
}

//===--- As the reference -------------------------------------------------===//

namespace {

/// Half the distance between a number of this type and the next, relative.
template <typename T>
constexpr double kRoundoff = std::is_same_v<T, bf16> ? 1.0 / 256 : 0x1p-24;

/// Our sums of the first rows of the inputs against NCCL's.
///
/// Let S be the exact sum of an element's terms, A that of their magnitudes, u
/// the type's roundoff, G the ranks. Ours adds in fp32 and rounds once: it is
/// within u A + (G - 1) 2^-24 A of S (to first order). NCCL rounds each of G -
/// 1 partial sums, which it sends on, to the type, in whatever order: within (G
/// - 1) u A. So they differ by at most G u A for bf16, and by 2 (G - 1) u A < 2
/// G u A for f32, where our last rounding is none. 5 % cover terms of higher
/// order.
template <Way way, int size, typename M>
void checkAgainst(NcclPeer &peer, Ranks &ranks, Report &report,
                  std::initializer_list<uint32_t> counts) {
  using T = typename M::Element;
  constexpr bool isWide = std::is_same_v<T, f32>;
  static_assert(M::kStride == M::kCols, "NCCL knows no rows");
  auto in = upload<M>(ranks, ranks.places.input);
  // Each number must be written again: NaN is never within a bound.
  std::vector<T *> theirs(ranks.count);
  size_t capacity = size_t(M::kRows) * M::kCols;
  for (uint32_t r = 0; r < ranks.count; ++r) {
    ranks.use(r);
    CUDA(cudaMalloc(&theirs[r], capacity * sizeof(T)));
  }
  std::vector<T> ours(capacity), other(capacity);
  for (uint32_t n : counts) {
    size_t elements = size_t(n) * M::kCols;
    ranks.setStep({0, n});
    for (uint32_t r = 0; r < ranks.count; ++r) {
      ranks.use(r);
      CUDA(cudaMemset(ranks.at(r, ranks.places.output), 0xff,
                      elements * sizeof(T)));
      CUDA(cudaMemset(theirs[r], 0xff, elements * sizeof(T)));
    }
    ranks.sync();
    ranks.launch(run<SumBody<way, size, 1, M, M>>,
                 elements * sizeof(T) < 1 << 20 ? 32 : 128, 256);
    ranks.sync();
    peer.onRanks([&](uint32_t r) {
      peer.enqueue(r, PeerOp::AllReduce, ranks.at(r, ranks.places.input),
                   theirs[r], elements,
                   isWide ? NcclType::F32 : NcclType::BF16);
    });
    ranks.sync();
    double worst = 0; // of the bound
    for (uint32_t r = 0; r < ranks.count; ++r) {
      ranks.use(r);
      CUDA(cudaMemcpy(ours.data(), ranks.at(r, ranks.places.output),
                      elements * sizeof(T), cudaMemcpyDeviceToHost));
      CUDA(cudaMemcpy(other.data(), theirs[r], elements * sizeof(T),
                      cudaMemcpyDeviceToHost));
      for (size_t i = 0; i < elements; ++i) {
        double magnitude = 0;
        for (auto &host : in)
          magnitude += std::fabs(float(host.values[i]));
        double bound =
            1.05 * (isWide ? 2 : 1) * size * kRoundoff<T> * magnitude;
        double apart = std::fabs(double(float(ours[i])) - float(other[i]));
        if (!(apart <= bound)) // also NaN
          worst = INFINITY;
        else if (bound > 0)
          worst = std::max(worst, apart / bound);
      }
    }
    report(worst <= 1 && ranks.fault->raised == 0,
           std::string("NCCL: sum of ") + std::to_string(elements * sizeof(T)) +
               " bytes, way " + std::to_string(way) + ", ranks " +
               std::to_string(size) + ", fault " +
               std::to_string(ranks.fault->reason));
    std::printf("NCCL, %d ranks, %9zu bytes: apart by %.2f of the bound\n",
                size, elements * sizeof(T), worst);
  }
  for (uint32_t r = 0; r < ranks.count; ++r) {
    ranks.use(r);
    CUDA(cudaFree(theirs[r]));
  }
}

template <int size>
void checkSize(NcclPeer &peer, Ranks &ranks, Report &report) {
  // 8 and 64 bytes; 1 KB to 64 KB; to 512 KB; to 64 MB.
  checkAgainst<OneShot, size, Matrix<f32, 64, 2, 2>>(peer, ranks, report,
                                                     {1, 8});
  checkAgainst<OneShot, size, Matrix<bf16, 64, 512, 512>>(peer, ranks, report,
                                                          {1, 6, 64});
  checkAgainst<TwoShots, size, Matrix<bf16, 512, 512, 512>>(peer, ranks, report,
                                                            {96, 512});
  checkAgainst<Bulk, size, Matrix<f32, 4096, 512, 512>>(peer, ranks, report,
                                                        {4096});
  checkAgainst<Bulk, size, Matrix<bf16, 65536, 512, 512>>(
      peer, ranks, report, {1024, 3072, 12288, 65536});
}

} // namespace

void saddle::device::checkNccl(Ranks &ranks, Report &report,
                               const std::string &library) {
  NcclPeer peer(ranks, library);
  FOR_SIZE(checkSize, peer, ranks, report);
}
