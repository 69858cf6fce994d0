/* wide.cuh - rows that many blocks share, each a part of them. */
#ifndef CASTOFF_CUDA_WIDE_CUH
#define CASTOFF_CUDA_WIDE_CUH

#include "cuda/launch.cuh"

/* Iterations that make a part of a row worth a block, and how many parts there are at most. */
#define CASTOFF_PART 4096
#define CASTOFF_MOST_PARTS 1024
#define CASTOFF_BUSY_THREADS (CASTOFF_MULTIPROCESSORS * 1024)

static inline int64_t castoff_part_count(int64_t inner) {
    const int64_t wanted = (inner + CASTOFF_PART - 1) / CASTOFF_PART;
    return wanted < 1 ? 1 : wanted < CASTOFF_MOST_PARTS ? wanted : CASTOFF_MOST_PARTS;
}

/* Parts of columns, each for a thread: as many as keep a device busy, of 16 iterations at least. */
static inline int64_t castoff_column_part_count(int64_t columns, int64_t inner) {
    int64_t parts = CASTOFF_BUSY_THREADS / (columns > 0 ? columns : 1);
    if (parts > inner / 16) parts = inner / 16;
    return parts < 1 ? 1 : parts < CASTOFF_MOST_PARTS ? parts : CASTOFF_MOST_PARTS;
}

/* Where part `number` of `parts` begins. */
static __device__ __forceinline__ int64_t castoff_part_begin(int64_t number, int64_t parts, int64_t total) {
    return number * (total / parts) + (number < total % parts ? number : total % parts);
}

/* Memory for `count` elements to the end of the run. */
template <class T>
static int castoff_device_scratch(castoff_frame *frame, T **memory, int64_t count) {
    *memory = (T *)castoff_frame_scratch(frame, (size_t)(count > 0 ? count : 1) * sizeof(T));
    return *memory ? CASTOFF_OK : CASTOFF_OUT_OF_MEMORY;
}

#endif
