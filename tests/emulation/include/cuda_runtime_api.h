/* The CUDA runtime API, for C and C++, as far as the emulation goes. */
#ifndef CASTOFF_EMULATION_CUDA_RUNTIME_API_H
#define CASTOFF_EMULATION_CUDA_RUNTIME_API_H

#define CASTOFF_EMULATION 1

#include "emulation/api_list.h"
#include "emulation/qualifiers.h"
#include "emulation/runtime_types.h"

/* Work for a stream. The driver keeps it until it has run, or as long as a graph lives; then it calls `release`. */
struct EmulatedWork {
    cudaError_t (*run)(void* data);
    void (*release)(void* data); /* or null */
    void* data;
};

#ifdef __cplusplus
extern "C" {
#endif
#define X(name, parameters, arguments) cudaError_t name parameters;
EMULATED_API(X)
EMULATED_DRIVER(X)
#undef X
const char* cudaGetErrorString(cudaError_t error);
const char* cudaGetErrorName(cudaError_t error);
cudaError_t cudaDriverGetVersion(int* version);
cudaError_t cudaRuntimeGetVersion(int* version);
cudaError_t cudaFuncSetAttribute(const void* kernel, enum cudaFuncAttribute attribute, int value);
cudaError_t cudaFuncGetAttributes(struct cudaFuncAttributes* attributes, const void* kernel);
cudaError_t cudaOccupancyMaxActiveBlocksPerMultiprocessor(
    int* blocks, const void* kernel, int block_size, size_t dynamic_shared_bytes);
#ifdef __cplusplus
}

/* The default arguments that the real header gives to C++. */
static inline cudaError_t cudaMemcpyAsync(void* to, const void* from, size_t bytes, cudaMemcpyKind kind)
{
    return cudaMemcpyAsync(to, from, bytes, kind, nullptr);
}
static inline cudaError_t cudaMemcpy2DAsync(void* to, size_t to_pitch, const void* from, size_t from_pitch,
                                            size_t width, size_t height, cudaMemcpyKind kind)
{
    return cudaMemcpy2DAsync(to, to_pitch, from, from_pitch, width, height, kind, nullptr);
}
static inline cudaError_t cudaMemsetAsync(void* pointer, int value, size_t bytes)
{
    return cudaMemsetAsync(pointer, value, bytes, nullptr);
}
static inline cudaError_t cudaStreamWaitEvent(cudaStream_t stream, cudaEvent_t event)
{
    return cudaStreamWaitEvent(stream, event, 0);
}
static inline cudaError_t cudaEventRecord(cudaEvent_t event) { return cudaEventRecord(event, nullptr); }
static inline cudaError_t cudaGraphInstantiate(cudaGraphExec_t* executable, cudaGraph_t graph)
{
    return cudaGraphInstantiate(executable, graph, 0);
}
static inline cudaError_t cudaMallocManaged(void** pointer, size_t bytes)
{
    return cudaMallocManaged(pointer, bytes, 1);
}
#endif

#endif
