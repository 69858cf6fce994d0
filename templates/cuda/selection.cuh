/* selection.cuh - positions of true elements, as common/selection.h: a scan that counts them says which row each is. */
#ifndef CASTOFF_CUDA_SELECTION_CUH
#define CASTOFF_CUDA_SELECTION_CUH

#include "cuda/scan.cuh"

#define CASTOFF_SELECTION_RANK 64

/* A scan of numbers of true elements, which writes where each lies: its indices are divided out of that afterwards. */
struct castoff_selection {
    typedef int64_t State;

    int64_t *rows; /* [count, rank]; the position in column 0 */
    const castoff_b8 *mask;
    int64_t count;
    int64_t rank;

    static __device__ __forceinline__ State none() { return 0; }
    static __device__ __forceinline__ State combine(State a, State b) { return a + b; }
    __device__ __forceinline__ State of(int64_t at, int64_t) const { return mask[at] != 0; }
    __device__ __forceinline__ void keep(State found, int64_t at) const {
        if (mask[at] && found <= count) rows[(found - 1) * rank] = at;
    }
};

struct castoff_selection_sizes {
    int64_t of_axis[CASTOFF_SELECTION_RANK];
};

/* Rows that nothing was found for have a position below zero. */
static __global__ void __launch_bounds__(256) castoff_selection_clear(int64_t *rows, const int64_t rank, const int64_t count) {
    const int64_t step = (int64_t)gridDim.x * blockDim.x;
    for (int64_t i = (int64_t)blockIdx.x * blockDim.x + threadIdx.x; i < count; i += step) rows[i * rank] = -1;
}

static __global__ void __launch_bounds__(256)
castoff_selection_split(int64_t *rows, const int64_t rank, const castoff_selection_sizes sizes, const int64_t fill, const int64_t count) {
    const int64_t step = (int64_t)gridDim.x * blockDim.x;
    for (int64_t i = (int64_t)blockIdx.x * blockDim.x + threadIdx.x; i < count; i += step) {
        int64_t *const row = rows + i * rank;
        int64_t at = row[0];
        const bool is_found = at >= 0;
        for (int64_t axis = rank - 1; axis > 0; --axis) {
            row[axis] = is_found ? at % sizes.of_axis[axis] : fill;
            if (is_found) at /= sizes.of_axis[axis]; /* else it may be 0 */
        }
        row[0] = is_found ? at : fill;
    }
}

static inline int castoff_device_nonzero(castoff_frame *frame, int64_t *rows, const castoff_b8 *mask, int64_t rank,
                                         const int64_t *sizes, int64_t count, int64_t fill) {
    if (rank > CASTOFF_SELECTION_RANK)
        return castoff_fail(frame, CASTOFF_RUNTIME_ERROR, "true elements of %lld dimensions are more than can be told apart",
                            (long long)rank);
    if (rank == 0) return CASTOFF_OK; /* rows without elements */
    castoff_selection_sizes shape = {};
    int64_t total = 1;
    for (int axis = 0; axis < rank; ++axis) total *= shape.of_axis[axis] = sizes[axis];
    CASTOFF_TRY(castoff_launch_rows(frame, castoff_selection_clear, count, 256, 256, 0, rows, rank, count));
    CASTOFF_TRY(castoff_run_scan(frame, castoff_selection{rows, mask, count, rank}, 1, total, 1));
    return castoff_launch_rows(frame, castoff_selection_split, count, 256, 256, 0, rows, rank, shape, fill, count);
}

#endif
