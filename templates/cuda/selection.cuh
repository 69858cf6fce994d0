/* selection.cuh - positions of true elements, as common/selection.h: a scan that counts them says which row each is. */
#ifndef CASTOFF_CUDA_SELECTION_CUH
#define CASTOFF_CUDA_SELECTION_CUH

#include "cuda/scan.cuh"

#define CASTOFF_SELECTION_RANK 64

/* A scan of numbers of true elements, which writes the indices of each. */
struct castoff_selection {
    typedef int64_t State;

    int64_t *rows; /* [count, rank] */
    const castoff_b8 *mask;
    int64_t count;
    int rank;
    int64_t sizes[CASTOFF_SELECTION_RANK];

    static __device__ __forceinline__ State none() { return 0; }
    static __device__ __forceinline__ State combine(State a, State b) { return a + b; }
    __device__ __forceinline__ State of(int64_t at, int64_t) const { return mask[at] != 0; }
    __device__ __forceinline__ void keep(State found, int64_t at) const {
        if (!mask[at] || found > count) return;
        int64_t *const row = rows + (found - 1) * rank;
#pragma unroll 1 /* each division takes registers */
        for (int axis = rank - 1; axis > 0; --axis) {
            row[axis] = at % sizes[axis];
            at /= sizes[axis];
        }
        if (rank > 0) row[0] = at;
    }
};

static __global__ void __launch_bounds__(256) castoff_selection_fill(int64_t *rows, const int64_t fill, const int64_t count) {
    const int64_t step = (int64_t)gridDim.x * blockDim.x;
    for (int64_t i = (int64_t)blockIdx.x * blockDim.x + threadIdx.x; i < count; i += step) rows[i] = fill;
}

static inline int castoff_device_nonzero(castoff_frame *frame, int64_t *rows, const castoff_b8 *mask, int64_t rank,
                                         const int64_t *sizes, int64_t count, int64_t fill) {
    castoff_selection selection = {rows, mask, count, (int)rank, {}};
    if (rank > CASTOFF_SELECTION_RANK)
        return castoff_fail(frame, CASTOFF_RUNTIME_ERROR, "true elements of %lld dimensions are more than can be told apart",
                            (long long)rank);
    int64_t total = 1;
    for (int axis = 0; axis < rank; ++axis) total *= selection.sizes[axis] = sizes[axis];
    CASTOFF_TRY(castoff_launch_rows(frame, castoff_selection_fill, count * rank, 256, 256, 0, rows, fill, count * rank));
    return castoff_run_scan(frame, selection, 1, total, 1);
}

#endif
