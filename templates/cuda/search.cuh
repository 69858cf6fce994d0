/* search.cuh - binary search in sorted rows, as common/search.h: a thread to a value. */
#ifndef CASTOFF_CUDA_SEARCH_CUH
#define CASTOFF_CUDA_SEARCH_CUH

#include "cuda/product.cuh"

template <class T>
static __global__ void __launch_bounds__(256)
castoff_search_rows(int64_t *__restrict__ found, const T *__restrict__ sequence, const T *__restrict__ values, const int64_t n,
                    const int64_t per_row, const bool right, const int64_t count) {
    const int64_t step = (int64_t)gridDim.x * blockDim.x;
    for (int64_t i = (int64_t)blockIdx.x * blockDim.x + threadIdx.x; i < count; i += step) {
        const T *const row = sequence + i / per_row * n;
        const T value = values[i];
        int64_t low = 0, high = n;
        while (low < high) {
            const int64_t middle = low + (high - low) / 2;
            if (right ? !(row[middle] > value) : !(row[middle] >= value))
                low = middle + 1;
            else
                high = middle;
        }
        found[i] = low;
    }
}

template <class Element>
static int castoff_device_searchsorted(castoff_frame *frame, int64_t *found, const typename Element::Stored *sequence,
                                       const typename Element::Stored *values, int64_t rows, int64_t n, int64_t per_row,
                                       int64_t right) {
    return castoff_launch_rows(frame, castoff_search_rows<typename Element::Stored>, rows * per_row, 256, 256, 0, found, sequence,
                               values, n, per_row, right != 0, rows * per_row);
}

#endif
