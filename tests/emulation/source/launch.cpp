// What is wrong with a launch before it runs.
#include <stdarg.h>
#include <stdint.h>

#include "emulation/launch.h"

namespace emulation {

thread_local const char* kernel_name;

// Says it and ends the process; with CASTOFF_EMULATION_FAULT=error gives what CUDA gives.
__attribute__((format(printf, 2, 3))) static cudaError_t refuse(cudaError_t error, const char* format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    char sentence[1000];
    vsnprintf(sentence, sizeof sentence, format, arguments);
    va_end(arguments);
    emulation_say(sentence);
    emulation_remember(error);
    return error;
}

cudaError_t check_launch(const char* name, const void* kernel, const cudaLaunchConfig_t& config)
{
    dim3 grid = config.gridDim, block = config.blockDim;
    if (grid.x == 0 || grid.y == 0 || grid.z == 0 || grid.x > 0x7fffffff || grid.y > 65535 || grid.z > 65535) {
        return refuse(cudaErrorInvalidConfiguration,
                      "kernel %s: a grid of (%u, %u, %u) blocks, of 1 to (2147483647, 65535, 65535)", name, grid.x,
                      grid.y, grid.z);
    }
    uint64_t threads = uint64_t(block.x) * block.y * block.z;
    if (threads == 0 || threads > 1024 || block.z > 64) {
        return refuse(cudaErrorInvalidConfiguration, "kernel %s: a block of (%u, %u, %u) threads, of 1 to 1024 in all",
                      name, block.x, block.y, block.z);
    }
    int limit = 0;
    if (cudaError_t error = emulation_kernel_shared_limit(kernel, &limit)) return error;
    if (config.dynamicSmemBytes > static_cast<size_t>(limit)) {
        return refuse(cudaErrorInvalidValue,
                      "kernel %s: %zu bytes of dynamic shared memory, of at most %d (cudaFuncSetAttribute raises it to "
                      "227 KB)", name, config.dynamicSmemBytes, limit);
    }
    for (unsigned i = 0; i < config.numAttrs; i++) {
        auto id = config.attrs[i].id;
        if (id == cudaLaunchAttributeCooperative || id == cudaLaunchAttributeClusterDimension) {
            return refuse(cudaErrorNotSupported, "kernel %s: cooperative and cluster launches are not emulated", name);
        }
    }
    return cudaSuccess;
}

cudaError_t check_argument(const char* name, int position, const void* pointer)
{
    cudaError_t error = emulation_check_pointer(pointer);
    if (error == cudaErrorInvalidValue) {
        return refuse(error, "kernel %s, argument %d: expected device memory, got host pointer %p", name, position,
                      pointer);
    }
    if (error == cudaErrorPeerAccessNotEnabled) {
        return refuse(error, "kernel %s, argument %d: %p is memory of another device", name, position, pointer);
    }
    return error;
}

}  // namespace emulation
