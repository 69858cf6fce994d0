// How a kernel sees the block that runs: indices, barriers, exchanges within a warp, shared memory.
#pragma once

#include <cstring>

#include "cuda_runtime_api.h"

#define EMULATION_HIDDEN __attribute__((visibility("hidden")))

// Written by the scheduler whenever another thread goes on.
extern "C" {
extern EMULATION_HIDDEN uint3 threadIdx, blockIdx;
extern EMULATION_HIDDEN dim3 blockDim, gridDim;
}
constexpr int warpSize = 32;

namespace emulation {

struct Grid {
    const char* name;
    dim3 grid, block;
    size_t dynamic_shared_bytes;
    void (*run_thread)(const void* arguments);
    const void* arguments;
};
// Runs every block. cudaErrorLaunchFailure where a kernel broke a rule and the process is not to end.
EMULATION_HIDDEN cudaError_t run_grid(const Grid& grid);

// Says it and ends the process; with CASTOFF_EMULATION_FAULT=error ends the grid instead. For kernels.
[[noreturn]] EMULATION_HIDDEN void stop(const char* format, ...) __attribute__((format(printf, 1, 2)));

struct Votes {
    int count, threads;
};
EMULATION_HIDDEN Votes meet_block(int predicate);  // __syncthreads and its kin

// What the lanes that met brought, until leave_warp().
struct Meeting {
    unsigned char values[32][16];
    unsigned present;
    int readers;
};
EMULATION_HIDDEN const Meeting* meet_warp(unsigned mask, const char* operation, const void* value, unsigned bytes);
EMULATION_HIDDEN void leave_warp(const Meeting* meeting);

extern EMULATION_HIDDEN unsigned current_lane;
extern EMULATION_HIDDEN unsigned long long current_block;  // never the same for two blocks
extern EMULATION_HIDDEN unsigned char dynamic_shared_memory[];

// A `__shared__` variable: poisoned when a block first reaches it, and counted.
EMULATION_HIDDEN void claim_shared(void* bytes, size_t size, unsigned long long* owner);
template <typename T> struct Shared {
    unsigned long long owner;
    alignas(128) unsigned char bytes[sizeof(T)];
    T& reach()
    {
        if (__builtin_expect(owner != current_block, 0)) claim_shared(bytes, sizeof(T), &owner);
        return reinterpret_cast<T&>(bytes);
    }
};
template <typename T> T* dynamic_shared() { return reinterpret_cast<T*>(dynamic_shared_memory); }

}  // namespace emulation
