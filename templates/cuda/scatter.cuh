/* scatter.cuh - updates in the order of the program: found, sorted by where they go, made. */
#ifndef CASTOFF_CUDA_SCATTER_CUH
#define CASTOFF_CUDA_SCATTER_CUH

#include "cuda/launch.cuh"
#include "cuda/sort_positions.cuh"

/* Keys and positions, as they are found and sorted. */
struct castoff_updates {
    uint64_t *keys, *sorted_keys;
    int64_t *positions, *sorted_positions;
};

/* Memory for `count` updates to the end of the run. */
static inline int castoff_updates_of(castoff_frame *frame, castoff_updates *updates, int64_t count) {
    const size_t size_bytes = (size_t)count * sizeof(uint64_t);
    unsigned char *const memory = (unsigned char *)castoff_frame_scratch(frame, 4 * size_bytes);
    if (!memory) return CASTOFF_OUT_OF_MEMORY;
    *updates = {(uint64_t *)memory, (uint64_t *)(memory + size_bytes), (int64_t *)(memory + 2 * size_bytes),
                (int64_t *)(memory + 3 * size_bytes)};
    return CASTOFF_OK;
}

/* By the lowest `bits` of the keys; equal ones stay in their order. */
static inline int castoff_sort_updates(castoff_frame *frame, const castoff_updates &updates, int64_t count, int bits) {
    size_t size_bytes = 0;
    for (void *memory = NULL;;) {
        const int error = castoff_sort_positions(memory, &size_bytes, updates.keys, updates.sorted_keys, updates.positions,
                                                 updates.sorted_positions, count, bits, castoff_stream(frame));
        CASTOFF_TRY(castoff_cuda_status(frame, (cudaError_t)error, "sort of updates"));
        if (memory) return CASTOFF_OK;
        memory = castoff_frame_scratch(frame, size_bytes > 0 ? size_bytes : 1);
        if (!memory) return CASTOFF_OUT_OF_MEMORY;
    }
}

template <class Arguments>
static int castoff_run_scatter(castoff_frame *frame, void (*find)(Arguments, int64_t, int64_t, uint64_t *, int64_t *),
                               void (*update)(Arguments, int64_t, int64_t, const uint64_t *, const int64_t *),
                               const Arguments &arguments, int64_t count, int64_t targets) {
    if (count <= 0 || targets <= 0) return CASTOFF_OK;
    int bits = 1;
    while (bits < 64 && (uint64_t)targets >> bits) ++bits;
    castoff_updates updates;
    CASTOFF_TRY(castoff_updates_of(frame, &updates, count));
    CASTOFF_TRY(castoff_launch_rows(frame, find, count, 256, 256, 0, arguments, count, targets, updates.keys,
                                    updates.positions));
    CASTOFF_TRY(castoff_sort_updates(frame, updates, count, bits));
    return castoff_launch_rows(frame, update, count, 256, 256, 0, arguments, count, targets,
                               (const uint64_t *)updates.sorted_keys, (const int64_t *)updates.sorted_positions);
}

#endif
