// The static half of the runtime: what libcudart_static.a brings into an artefact, beside the scheduler.
//
// Each function is found in the driver, libcuda.so.1, which a process has once, however many artefacts it loads.
// It needs neither libstdc++ nor a name that an artefact would export.
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>

#include "emulation/api_list.h"
#include "emulation/runtime_types.h"

static int driver_version()
{
    const char* value = getenv("CASTOFF_EMULATION_DRIVER_VERSION");
    return value && *value ? atoi(value) : CUDART_VERSION;
}

static void* driver_symbol(const char* name)
{
    if (driver_version() < CUDART_VERSION) return nullptr;
    static void* library = dlopen(CASTOFF_EMULATION_DRIVER, RTLD_NOW | RTLD_LOCAL);
    void* symbol = library ? dlsym(library, name) : nullptr;
    if (!symbol) fprintf(stderr, "CUDA emulation: %s\n", dlerror());
    return symbol;
}

extern "C" {

#define X(name, parameters, arguments)                                                              \
    cudaError_t name parameters;                                                                    \
    cudaError_t name parameters                                                                     \
    {                                                                                               \
        static const auto target = reinterpret_cast<decltype(&name)>(driver_symbol(#name));         \
        return target ? target arguments : cudaErrorInsufficientDriver;                             \
    }
EMULATED_API(X)
EMULATED_DRIVER(X)
#undef X

cudaError_t cudaDriverGetVersion(int* version)
{
    *version = driver_version();
    return cudaSuccess;
}

cudaError_t cudaRuntimeGetVersion(int* version)
{
    *version = CUDART_VERSION;
    return cudaSuccess;
}

const char* cudaGetErrorName(cudaError_t error)
{
    switch (error) {
#define X(name, number, sentence) \
    case name: return #name;
        EMULATED_ERRORS(X)
#undef X
    }
    return "unrecognized error code";
}

const char* cudaGetErrorString(cudaError_t error)
{
    switch (error) {
#define X(name, number, sentence) \
    case name: return sentence;
        EMULATED_ERRORS(X)
#undef X
    }
    return "unrecognized error code";
}

cudaError_t cudaFuncSetAttribute(const void* kernel, cudaFuncAttribute attribute, int value)
{
    if (attribute != cudaFuncAttributeMaxDynamicSharedMemorySize) return cudaSuccess;
    return emulation_set_kernel_shared_limit(kernel, value);
}

cudaError_t cudaFuncGetAttributes(cudaFuncAttributes* attributes, const void* kernel)
{
    *attributes = {};
    attributes->maxThreadsPerBlock = 1024;
    attributes->numRegs = 32;
    attributes->ptxVersion = attributes->binaryVersion = 90;
    return emulation_kernel_shared_limit(kernel, &attributes->maxDynamicSharedSizeBytes);
}

cudaError_t cudaOccupancyMaxActiveBlocksPerMultiprocessor(int* blocks, const void*, int block_size,
                                                          size_t dynamic_shared_bytes)
{
    if (block_size <= 0) return cudaErrorInvalidValue;
    int by_threads = block_size > 1024 ? 0 : 2048 / block_size;
    int by_shared = static_cast<int>((228u << 10) / (dynamic_shared_bytes + 1024));
    *blocks = by_threads < by_shared ? by_threads : by_shared;
    if (*blocks > 32) *blocks = 32;
    return cudaSuccess;
}

}  // extern "C"
