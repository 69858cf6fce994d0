/* Every function of the CUDA runtime that the emulation has: X(name, (parameters), (arguments)).
   The declarations (cuda_runtime_api.h) and the static library that forwards to the emulated driver are made of it. */
#ifndef CASTOFF_EMULATION_API_LIST_H
#define CASTOFF_EMULATION_API_LIST_H

#define EMULATED_API(X)                                                                               \
    X(cudaGetDeviceCount, (int* count), (count))                                                      \
    X(cudaGetDevice, (int* device), (device))                                                         \
    X(cudaGetDriverEntryPointByVersion, (const char* name, void** function, unsigned version, unsigned long long flags, \
      enum cudaDriverEntryPointQueryResult* found), (name, function, version, flags, found))          \
    X(cudaSetDevice, (int device), (device))                                                          \
    X(cudaSetDeviceFlags, (unsigned flags), (flags))                                                  \
    X(cudaInitDevice, (int device, unsigned device_flags, unsigned flags), (device, device_flags, flags)) \
    X(cudaDeviceSynchronize, (void), ())                                                              \
    X(cudaDeviceReset, (void), ())                                                                    \
    X(cudaGetDeviceProperties, (struct cudaDeviceProp * properties, int device), (properties, device)) \
    X(cudaDeviceGetAttribute, (int* value, enum cudaDeviceAttr attribute, int device), (value, attribute, device)) \
    X(cudaDeviceGetStreamPriorityRange, (int* least, int* greatest), (least, greatest))               \
    X(cudaDeviceGetPCIBusId, (char* id, int length, int device), (id, length, device))                \
    X(cudaDeviceSetLimit, (enum cudaLimit limit, size_t value), (limit, value))                       \
    X(cudaDeviceGetLimit, (size_t* value, enum cudaLimit limit), (value, limit))                      \
    X(cudaDeviceCanAccessPeer, (int* can, int device, int peer), (can, device, peer))                 \
    X(cudaDeviceEnablePeerAccess, (int peer, unsigned flags), (peer, flags))                          \
    X(cudaCtxResetPersistingL2Cache, (void), ())                                                      \
    X(cudaMemGetInfo, (size_t* free_bytes, size_t* total_bytes), (free_bytes, total_bytes))           \
    X(cudaGetLastError, (void), ())                                                                   \
    X(cudaPeekAtLastError, (void), ())                                                                \
    X(cudaMalloc, (void** pointer, size_t bytes), (pointer, bytes))                                   \
    X(cudaMallocManaged, (void** pointer, size_t bytes, unsigned flags), (pointer, bytes, flags))     \
    X(cudaFree, (void* pointer), (pointer))                                                           \
    X(cudaMallocAsync, (void** pointer, size_t bytes, cudaStream_t stream), (pointer, bytes, stream)) \
    X(cudaMallocFromPoolAsync, (void** pointer, size_t bytes, cudaMemPool_t pool, cudaStream_t stream), \
      (pointer, bytes, pool, stream))                                                                 \
    X(cudaFreeAsync, (void* pointer, cudaStream_t stream), (pointer, stream))                         \
    X(cudaMallocHost, (void** pointer, size_t bytes), (pointer, bytes))                               \
    X(cudaHostAlloc, (void** pointer, size_t bytes, unsigned flags), (pointer, bytes, flags))         \
    X(cudaFreeHost, (void* pointer), (pointer))                                                       \
    X(cudaHostRegister, (void* pointer, size_t bytes, unsigned flags), (pointer, bytes, flags))       \
    X(cudaHostUnregister, (void* pointer), (pointer))                                                 \
    X(cudaHostGetDevicePointer, (void** device_pointer, void* host_pointer, unsigned flags),          \
      (device_pointer, host_pointer, flags))                                                          \
    X(cudaPointerGetAttributes, (struct cudaPointerAttributes * attributes, const void* pointer),     \
      (attributes, pointer))                                                                          \
    X(cudaMemcpy, (void* to, const void* from, size_t bytes, enum cudaMemcpyKind kind), (to, from, bytes, kind)) \
    X(cudaMemcpyAsync, (void* to, const void* from, size_t bytes, enum cudaMemcpyKind kind, cudaStream_t stream), \
      (to, from, bytes, kind, stream))                                                                \
    X(cudaMemcpyPeerAsync, (void* to, int to_device, const void* from, int from_device, size_t bytes, \
      cudaStream_t stream), (to, to_device, from, from_device, bytes, stream))                        \
    X(cudaMemcpy2D, (void* to, size_t to_pitch, const void* from, size_t from_pitch, size_t width,    \
      size_t height, enum cudaMemcpyKind kind), (to, to_pitch, from, from_pitch, width, height, kind)) \
    X(cudaMemcpy2DAsync, (void* to, size_t to_pitch, const void* from, size_t from_pitch, size_t width, \
      size_t height, enum cudaMemcpyKind kind, cudaStream_t stream),                                  \
      (to, to_pitch, from, from_pitch, width, height, kind, stream))                                  \
    X(cudaMemset, (void* pointer, int value, size_t bytes), (pointer, value, bytes))                  \
    X(cudaMemsetAsync, (void* pointer, int value, size_t bytes, cudaStream_t stream),                 \
      (pointer, value, bytes, stream))                                                                \
    X(cudaMemset2DAsync, (void* pointer, size_t pitch, int value, size_t width, size_t height, cudaStream_t stream), \
      (pointer, pitch, value, width, height, stream))                                                 \
    X(cudaDeviceGetDefaultMemPool, (cudaMemPool_t * pool, int device), (pool, device))                \
    X(cudaDeviceGetMemPool, (cudaMemPool_t * pool, int device), (pool, device))                       \
    X(cudaMemPoolSetAttribute, (cudaMemPool_t pool, enum cudaMemPoolAttr attribute, void* value),     \
      (pool, attribute, value))                                                                       \
    X(cudaMemPoolGetAttribute, (cudaMemPool_t pool, enum cudaMemPoolAttr attribute, void* value),     \
      (pool, attribute, value))                                                                       \
    X(cudaMemPoolTrimTo, (cudaMemPool_t pool, size_t bytes), (pool, bytes))                           \
    X(cudaStreamCreate, (cudaStream_t * stream), (stream))                                            \
    X(cudaStreamCreateWithFlags, (cudaStream_t * stream, unsigned flags), (stream, flags))            \
    X(cudaStreamCreateWithPriority, (cudaStream_t * stream, unsigned flags, int priority),            \
      (stream, flags, priority))                                                                      \
    X(cudaStreamDestroy, (cudaStream_t stream), (stream))                                             \
    X(cudaStreamSynchronize, (cudaStream_t stream), (stream))                                         \
    X(cudaStreamQuery, (cudaStream_t stream), (stream))                                               \
    X(cudaStreamGetDevice, (cudaStream_t stream, int* device), (stream, device))                      \
    X(cudaStreamGetFlags, (cudaStream_t stream, unsigned* flags), (stream, flags))                    \
    X(cudaStreamGetPriority, (cudaStream_t stream, int* priority), (stream, priority))                \
    X(cudaStreamWaitEvent, (cudaStream_t stream, cudaEvent_t event, unsigned flags), (stream, event, flags)) \
    X(cudaLaunchHostFunc, (cudaStream_t stream, cudaHostFn_t function, void* data), (stream, function, data)) \
    X(cudaEventCreate, (cudaEvent_t * event), (event))                                                \
    X(cudaEventCreateWithFlags, (cudaEvent_t * event, unsigned flags), (event, flags))                \
    X(cudaEventDestroy, (cudaEvent_t event), (event))                                                 \
    X(cudaEventRecord, (cudaEvent_t event, cudaStream_t stream), (event, stream))                     \
    X(cudaEventRecordWithFlags, (cudaEvent_t event, cudaStream_t stream, unsigned flags), (event, stream, flags)) \
    X(cudaEventQuery, (cudaEvent_t event), (event))                                                   \
    X(cudaEventSynchronize, (cudaEvent_t event), (event))                                             \
    X(cudaEventElapsedTime, (float* milliseconds, cudaEvent_t start, cudaEvent_t end), (milliseconds, start, end)) \
    X(cudaStreamBeginCapture, (cudaStream_t stream, enum cudaStreamCaptureMode mode), (stream, mode)) \
    X(cudaStreamEndCapture, (cudaStream_t stream, cudaGraph_t * graph), (stream, graph))              \
    X(cudaStreamIsCapturing, (cudaStream_t stream, enum cudaStreamCaptureStatus * status), (stream, status)) \
    X(cudaThreadExchangeStreamCaptureMode, (enum cudaStreamCaptureMode * mode), (mode))               \
    X(cudaGraphInstantiate, (cudaGraphExec_t * executable, cudaGraph_t graph, unsigned long long flags), \
      (executable, graph, flags))                                                                     \
    X(cudaGraphExecUpdate, (cudaGraphExec_t executable, cudaGraph_t graph, cudaGraphExecUpdateResultInfo * info), \
      (executable, graph, info))                                                                      \
    X(cudaGraphUpload, (cudaGraphExec_t executable, cudaStream_t stream), (executable, stream))       \
    X(cudaGraphLaunch, (cudaGraphExec_t executable, cudaStream_t stream), (executable, stream))       \
    X(cudaGraphGetNodes, (cudaGraph_t graph, cudaGraphNode_t * nodes, size_t * count), (graph, nodes, count)) \
    X(cudaGraphDestroy, (cudaGraph_t graph), (graph))                                                 \
    X(cudaGraphExecDestroy, (cudaGraphExec_t executable), (executable))

/* What the parts of the emulation ask of the driver beyond CUDA's own functions. */
#define EMULATED_DRIVER(X)                                                                            \
    X(emulation_submit, (cudaStream_t stream, const struct EmulatedWork* work), (stream, work))       \
    X(emulation_check_pointer, (const void* pointer), (pointer))              \
    X(emulation_kernel_shared_limit, (const void* kernel, int* bytes), (kernel, bytes))               \
    X(emulation_set_kernel_shared_limit, (const void* kernel, int bytes), (kernel, bytes))            \
    X(emulation_remember, (cudaError_t error), (error)) /* as the thread's last error */                  \
    X(emulation_fail, (cudaError_t error), (error)) /* and as what every later call answers */              \
    X(emulation_say, (const char* sentence), (sentence)) /* a broken rule; ends the process unless told not to */ \
    X(emulation_own_stacks, (const void* owner, int* was_owner), (owner, was_owner))                      \
    X(emulation_stack, (unsigned number, size_t bytes, char** stack), (number, bytes, stack))

#endif
