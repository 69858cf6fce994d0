/* sort_positions.cuh - what comes to one element, one after the other, in the order of the program. */
#ifndef CASTOFF_CUDA_SORT_POSITIONS_CUH
#define CASTOFF_CUDA_SORT_POSITIONS_CUH

#include <cuda_runtime.h>
#include <stddef.h>
#include <stdint.h>

/* Sorts `count` pairs by the low `bits` of their keys; equal keys keep their order. Where `memory` is NULL, sets
 * `size_bytes` to what it has to hold instead. Returns a cudaError_t. */
extern "C" int castoff_sort_positions(void *memory, size_t *size_bytes, const uint64_t *keys, uint64_t *sorted_keys,
                                      const int64_t *positions, int64_t *sorted_positions, int64_t count, int bits,
                                      cudaStream_t stream);

#endif
