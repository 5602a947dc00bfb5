#include "runtime/src/cuda/WeightUpload.h"

#include "runtime/kernels/synthetic.h"
#include "runtime/src/base/DType.h"
#include "runtime/src/base/Prefetcher.h"
#include "runtime/src/engine/Engine.h"
#include "runtime/src/weights/WeightShape.h"

#include <algorithm>
#include <cstring>

namespace saddle::cuda {

using weights::WeightShape;

namespace {

/// Pinned buffers taken in turn; one is free again when its copy is complete.
class StagingRing {
public:
  static constexpr uint64_t kBytes = 16 << 20;
  static constexpr size_t kBuffers = 3;

  StatusOr<uint8_t *> next() {
    Buffer &buffer = buffers[turn];
    if (buffer.used)
      SADDLE_RETURN_IF_ERROR(device.driver.check(
          device.driver.cuEventSynchronize(buffer.copied.get()),
          "cuEventSynchronize"));
    return static_cast<uint8_t *>(buffer.memory.get());
  }
  /// Behind the copy from the buffer of the last next().
  Status release(CUstream stream) {
    SADDLE_CUDA(device.driver, cuEventRecord, buffers[turn].copied.get(),
                stream);
    buffers[turn].used = true;
    turn = (turn + 1) % kBuffers;
    return {};
  }

  explicit StagingRing(const Device &device) : device(device) {}
  Status allocate(uint64_t bytes) {
    for (Buffer &buffer : buffers) {
      SADDLE_ASSIGN_OR_RETURN(
          buffer.memory, allocatePinned(device, bytes, "staging of weights"));
      SADDLE_ASSIGN_OR_RETURN(buffer.copied, makeEvent(device));
    }
    return {};
  }

private:
  struct Buffer {
    PinnedMemory memory;
    Event copied;
    bool used = false;
  };
  const Device &device;
  Buffer buffers[kBuffers];
  size_t turn = 0;
};

/// Copies a part from the host; padding between rows stays as it is.
Status copyPart(const UploadTarget &target, const schema::Slice &slice,
                const WeightPart &part, const uint8_t *from) {
  const Driver &driver = target.device.driver;
  WeightShape shape(slice);
  uint64_t to = target.addresses.of(slice) + partOffset(slice, part);
  uint64_t rows = part.members * part.rows;
  if (rows == 1 || shape.rowStride == shape.cols) {
    SADDLE_CUDA(driver, cuMemcpyHtoDAsync, to, from, partBytes(slice, part),
                target.stream);
    return {};
  }
  CUDA_MEMCPY2D copy = {};
  copy.srcMemoryType = CU_MEMORYTYPE_HOST;
  copy.srcHost = from;
  copy.dstMemoryType = CU_MEMORYTYPE_DEVICE;
  copy.dstDevice = to;
  copy.srcPitch = copy.dstPitch = shape.rowStride * shape.unit;
  copy.WidthInBytes = shape.cols * shape.unit;
  copy.Height = rows;
  SADDLE_CUDA(driver, cuMemcpy2DAsync, &copy, target.stream);
  return {};
}

Status uploadParts(const UploadTarget &target, const WeightSource &source) {
  uint64_t largest = 1;
  for (const schema::Weight *weight : target.weights)
    for (const WeightPart &part :
         splitWeight(*weight->slice(), StagingRing::kBytes))
      largest = std::max(largest, partBytes(*weight->slice(), part));
  StagingRing ring(target.device);
  SADDLE_RETURN_IF_ERROR(ring.allocate(largest));
  std::vector<uint8_t> scratch;
  for (const schema::Weight *weight : target.weights)
    for (const WeightPart &part :
         splitWeight(*weight->slice(), StagingRing::kBytes)) {
      SADDLE_ASSIGN_OR_RETURN(uint8_t *buffer, ring.next());
      source.loadPart(*weight, part, target.addresses.rank, buffer, scratch);
      SADDLE_RETURN_IF_ERROR(copyPart(target, *weight->slice(), part, buffer));
      SADDLE_RETURN_IF_ERROR(ring.release(target.stream));
    }
  SADDLE_CUDA(target.device.driver, cuStreamSynchronize, target.stream);
  return source.readError();
}

/// Reads chunks of an image ahead, in their order, into pinned buffers of its
/// own: reading and hashing one while others are copied to the device.
class ImageReader {
public:
  /// Threads that read, and buffers that they fill. One stream of reads does
  /// not fill a disk or a bus.
  static constexpr size_t kThreads = 4, kBuffers = 8;

  ImageReader(const Device &device, const WeightImage &image, uint32_t rank)
      : device(device), chunks(image.chunks(rank)),
        reader(chunks.size(), kBuffers, [this, &image, rank](size_t i) {
          return read(image, rank, i);
        }) {}

  Status start() { return reader.start(kThreads); }

  const std::vector<ImageChunk> &list() const { return chunks; }

  /// Bytes of chunk `i`; waits for them.
  StatusOr<const uint8_t *> get(size_t i) {
    SADDLE_RETURN_IF_ERROR(reader.wait(i));
    return bufferOf(i);
  }
  /// Nobody needs the bytes of chunk `i` any more.
  void release(size_t i) { reader.release(i); }

private:
  /// Pins the buffer, too, when it is the first to use it: pinning takes about
  /// as long as reading as much, and so others read meanwhile.
  Status read(const WeightImage &image, uint32_t rank, size_t i) {
    if (i < kBuffers) {
      SADDLE_ASSIGN_OR_RETURN(buffers[i],
                              // The first chunk is the largest.
                              allocatePinned(device, chunks[0].bytes,
                                             "staging of weights",
                                             Content::Undefined));
    }
    return image.read(rank, i, bufferOf(i));
  }
  uint8_t *bufferOf(size_t i) {
    return static_cast<uint8_t *>(buffers[i % kBuffers].get());
  }

  const Device &device;
  const std::vector<ImageChunk> chunks;
  PinnedMemory buffers[kBuffers];
  Prefetcher reader; // ends before its buffers do
};

Status uploadImage(const UploadTarget &target, const WeightSource &source) {
  const Driver &driver = target.device.driver;
  ImageReader reader(target.device, *source.image(), target.addresses.rank);
  SADDLE_RETURN_IF_ERROR(reader.start());
  SADDLE_ASSIGN_OR_RETURN(Event copied, makeEvent(target.device));
  auto finish = [&](size_t i) -> Status {
    SADDLE_RETURN_IF_ERROR(driver.check(driver.cuEventSynchronize(copied.get()),
                                        "cuEventSynchronize"));
    reader.release(i);
    return {};
  };
  for (size_t i = 0; i < reader.list().size(); ++i) {
    SADDLE_ASSIGN_OR_RETURN(const uint8_t *bytes, reader.get(i));
    if (i > 0)
      SADDLE_RETURN_IF_ERROR(finish(i - 1));
    for (const ImagePiece &piece : reader.list()[i].pieces)
      SADDLE_CUDA(driver, cuMemcpyHtoDAsync,
                  target.addresses.arenas[piece.arena] + piece.offset,
                  bytes + piece.inChunk, piece.bytes, target.stream);
    SADDLE_CUDA(driver, cuEventRecord, copied.get(), target.stream);
  }
  SADDLE_CUDA(driver, cuStreamSynchronize, target.stream);
  return source.readError();
}

} // namespace

//===--- Synthetic weights ------------------------------------------------===//

/// The engine's kernel for them, or its number of kernels.
static uint32_t findSyntheticKernel(const schema::Engine &engine) {
  for (uint32_t i = 0; i < engine.kernels()->size(); ++i) {
    const schema::Kernel &kernel = *engine.kernels()->Get(i);
    if (kernel.op()->str() == device::kSyntheticKernel && kernel.functions() &&
        kernel.functions()->size() != 0)
      return i;
  }
  return engine.kernels()->size();
}

static device::SyntheticPiece describe(const UploadTarget &target,
                                       const schema::Weight &weight,
                                       const schema::Piece &piece,
                                       const SyntheticValues::Tensor &tensor,
                                       uint64_t streams) {
  const schema::Slice &slice = *weight.slice();
  WeightShape shape(slice);
  uint32_t rank = target.addresses.rank;
  device::SyntheticPiece result = {};
  result.dest = reinterpret_cast<void *>(
      target.addresses.of(slice) +
      shape.unit * (piece.dest_row() * shape.rowStride + piece.dest_col()));
  result.members = piece.stack_count();
  result.rows = piece.rows();
  result.cols = piece.cols();
  result.memberStride = shape.memberStride;
  result.rowStride = shape.rowStride;
  result.memberStart = evaluate(piece.stack_start(), rank);
  result.rowStart = evaluate(piece.row_start(), rank);
  result.colStart = evaluate(piece.col_start(), rank);
  result.destBlockRows = piece.dest_block_rows();
  result.destBlockCols = piece.dest_block_cols();
  result.sourceBlockRows = piece.source_block_rows();
  result.sourceBlockCols = piece.source_block_cols();
  result.streams = reinterpret_cast<const uint64_t *>(streams);
  result.sourceRows = tensor.rows;
  result.sourceCols = tensor.cols;
  result.isStack = tensor.streams.size() > 1;
  result.from = uint32_t(tensor.dtype);
  result.to = uint32_t(slice.dtype());
  result.center = tensor.center;
  result.spread = tensor.spread;
  const schema::Source &source = *target.engine.sources()->Get(piece.source());
  if (const schema::Unpacking *how = source.unpacking()) {
    result.words.present = 1;
    result.words.bits = how->bits();
    result.words.perWord = how->order() ? how->order()->size() : 1;
    for (uint32_t i = 0; how->order() && i < how->order()->size(); ++i)
      result.words.places |= uint64_t(how->order()->Get(i)) << 4 * i;
    result.words.alongRows = how->along_rows();
    result.words.transposed = how->transposed();
    result.words.perElement = how->per_element();
    result.words.add = how->add();
    result.words.constant = tensor.constant;
  }
  return result;
}

static Status makeSynthetic(const UploadTarget &target,
                            const Launcher &launcher, uint32_t kernel,
                            const SyntheticValues &values) {
  // One table: the streams of all sources, then the pieces.
  std::vector<uint64_t> streams;
  std::vector<uint64_t> firstStream;
  for (const SyntheticValues::Tensor &tensor : values.tensors) {
    firstStream.push_back(streams.size());
    streams.insert(streams.end(), tensor.streams.begin(), tensor.streams.end());
  }
  size_t count = 0;
  for (const schema::Weight *weight : target.weights)
    count += weight->pieces()->size();
  uint64_t streamBytes = streams.size() * sizeof(uint64_t);
  uint64_t bytes = streamBytes + count * sizeof(device::SyntheticPiece);
  SADDLE_ASSIGN_OR_RETURN(
      DeviceMemory table,
      allocateDevice(target.device, bytes, "recipes of weights"));

  std::vector<device::SyntheticPiece> pieces;
  for (const schema::Weight *weight : target.weights)
    for (const schema::Piece *piece : *weight->pieces())
      pieces.push_back(describe(
          target, *weight, *piece, values.tensors[piece->source()],
          table.get() + firstStream[piece->source()] * sizeof(uint64_t)));
  const Driver &driver = target.device.driver;
  SADDLE_CUDA(driver, cuMemcpyHtoDAsync, table.get(), streams.data(),
              streamBytes, target.stream);
  SADDLE_CUDA(driver, cuMemcpyHtoDAsync, table.get() + streamBytes,
              pieces.data(), bytes - streamBytes, target.stream);
  DeviceCommand command = {};
  command.kernel = kernel;
  command.params.operands[0] =
      reinterpret_cast<void *>(table.get() + streamBytes);
  command.params.rankValues[0] = count;
  SADDLE_RETURN_IF_ERROR(
      launcher.launch(command, target.stream, /*followsKernel=*/false));
  // The table is freed behind this.
  SADDLE_CUDA(driver, cuStreamSynchronize, target.stream);
  return {};
}

Status uploadWeights(const UploadTarget &target, const Launcher &launcher,
                     const WeightSource &source) {
  uint32_t kernel = findSyntheticKernel(target.engine);
  const SyntheticValues *values = source.syntheticValues();
  if (values && kernel < target.engine.kernels()->size())
    return makeSynthetic(target, launcher, kernel, *values);
  if (source.image())
    return uploadImage(target, source);
  return uploadParts(target, source);
}

} // namespace saddle::cuda
