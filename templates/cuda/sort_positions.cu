/* sort_positions.cu - a stable sort of positions by the element they stand for; a unit of its own, since CUB takes long
 * to compile. */
#include <cub/device/device_radix_sort.cuh>

#include "cuda/sort_positions.cuh"

extern "C" int castoff_sort_positions(void *memory, size_t *size_bytes, const uint64_t *keys, uint64_t *sorted_keys,
                                      const int64_t *positions, int64_t *sorted_positions, int64_t count, int bits,
                                      cudaStream_t stream) {
    return (int)cub::DeviceRadixSort::SortPairs(memory, *size_bytes, keys, sorted_keys, positions, sorted_positions, count,
                                                0, bits, stream);
}
