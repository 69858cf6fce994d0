/* launch.cuh - what the host function of a program does with its stream: launches, copies, values it has to know.
 *
 * Every function returns CASTOFF_OK or what castoff_fail() returned.
 */
#ifndef CASTOFF_CUDA_LAUNCH_CUH
#define CASTOFF_CUDA_LAUNCH_CUH

#include <cuda_runtime.h>
#include <stdint.h>

#include "abi/castoff_program.h"
#include "common/types.h"

#define CASTOFF_TRY(call)                         \
    do {                                          \
        const int tried = (call);                 \
        if (tried != CASTOFF_OK) return tried;    \
    } while (0)

/* Every buffer of a program begins at a multiple of 16 bytes. */
template <class T>
static __device__ __forceinline__ T *castoff_aligned(T *pointer) {
    return (T *)__builtin_assume_aligned(pointer, 16);
}

/* Of an H100: long sums are split so that every one has something to do. The same on every GPU, and so are results. */
#define CASTOFF_MULTIPROCESSORS 132

/* Blocks that keep a device busy; rows beyond them are taken in turns. */
#define CASTOFF_MOST_BLOCKS 65536

static inline cudaStream_t castoff_stream(const castoff_frame *frame) { return (cudaStream_t)frame->stream; }

static inline int castoff_cuda_status(castoff_frame *frame, cudaError_t error, const char *what) {
    if (error == cudaSuccess) return CASTOFF_OK;
    const int status = error == cudaErrorMemoryAllocation ? CASTOFF_OUT_OF_MEMORY : CASTOFF_DEVICE_ERROR;
    return castoff_fail(frame, status, "%s: %s (%s)", what, cudaGetErrorString(error), cudaGetErrorName(error));
}

/* Dynamic shared memory that rows take at the most, as MOST_SHARED_BYTES of codegen/cuda_row_plan.py says. */
#define CASTOFF_MOST_ROW_SHARED (96 * 1024)

/* Lets a kernel have more dynamic shared memory than the 48 KiB that every kernel may have. Of one kernel it is always the
 * same: another thread may be about to launch it. */
template <class Kernel>
static int castoff_allow_shared(castoff_frame *frame, Kernel *kernel, size_t shared_bytes) {
    if (shared_bytes <= 48 * 1024) return CASTOFF_OK;
    return castoff_cuda_status(
        frame, cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, (int)shared_bytes),
        "shared memory of a kernel");
}

/* `kernel` over `count` rows, of which a block takes `rows` at a time. */
template <class... Parameters>
static int castoff_launch_rows(castoff_frame *frame, void (*kernel)(Parameters...), int64_t count, int64_t rows,
                               int threads, size_t shared_bytes, const Parameters &...parameters) {
    if (count <= 0) return CASTOFF_OK;
    const int64_t blocks = (count + rows - 1) / rows;
    cudaLaunchConfig_t config = {};
    config.gridDim = dim3((unsigned)(blocks < CASTOFF_MOST_BLOCKS ? blocks : CASTOFF_MOST_BLOCKS));
    config.blockDim = dim3((unsigned)threads);
    config.dynamicSmemBytes = shared_bytes;
    config.stream = castoff_stream(frame);
    if (shared_bytes > 48 * 1024) CASTOFF_TRY(castoff_allow_shared(frame, kernel, CASTOFF_MOST_ROW_SHARED));
    return castoff_cuda_status(frame, cudaLaunchKernelEx(&config, kernel, parameters...), "launch of a kernel");
}

template <class Arguments>
static int castoff_launch(castoff_frame *frame, void (*kernel)(Arguments, int64_t), int64_t count, int64_t rows,
                          int threads, size_t shared_bytes, const Arguments &arguments) {
    return castoff_launch_rows(frame, kernel, count, rows, threads, shared_bytes, arguments, count);
}

static inline int castoff_synchronize(castoff_frame *frame) {
    return castoff_cuda_status(frame, cudaStreamSynchronize(castoff_stream(frame)), "the run on the device");
}

static inline int castoff_copy(castoff_frame *frame, void *target, const void *source, int64_t size_bytes) {
    if (size_bytes <= 0) return CASTOFF_OK;
    return castoff_cuda_status(
        frame, cudaMemcpyAsync(target, source, (size_t)size_bytes, cudaMemcpyDeviceToDevice, castoff_stream(frame)),
        "copy on the device");
}

/* As common/copy.h. */
static inline int castoff_device_copy_bytes(castoff_frame *frame, void *out, const void *in, int64_t size_bytes) {
    return castoff_copy(frame, out, in, size_bytes);
}

/* Host memory to the end of the run. */
static inline int castoff_on_host(castoff_frame *frame, void **memory, int64_t size_bytes) {
    *memory = castoff_frame_host_scratch(frame, (size_t)(size_bytes > 0 ? size_bytes : 1));
    return *memory ? CASTOFF_OK : CASTOFF_OUT_OF_MEMORY;
}

/* What lies on the device, on the host once castoff_synchronize() was called. */
static inline int castoff_to_host(castoff_frame *frame, void **memory, const void *source, int64_t size_bytes) {
    CASTOFF_TRY(castoff_on_host(frame, memory, size_bytes));
    if (size_bytes <= 0) return CASTOFF_OK;
    return castoff_cuda_status(
        frame, cudaMemcpyAsync(*memory, source, (size_t)size_bytes, cudaMemcpyDeviceToHost, castoff_stream(frame)),
        "copy to the host");
}

static inline int castoff_to_device(castoff_frame *frame, void *target, const void *memory, int64_t size_bytes) {
    if (size_bytes <= 0) return CASTOFF_OK;
    return castoff_cuda_status(
        frame, cudaMemcpyAsync(target, memory, (size_t)size_bytes, cudaMemcpyHostToDevice, castoff_stream(frame)),
        "copy to the device");
}

/* One value, now. */
static inline int castoff_read(castoff_frame *frame, void *value, const void *source, size_t size_bytes) {
    CASTOFF_TRY(castoff_cuda_status(
        frame, cudaMemcpyAsync(value, source, size_bytes, cudaMemcpyDeviceToHost, castoff_stream(frame)),
        "copy to the host"));
    return castoff_synchronize(frame);
}

#endif
