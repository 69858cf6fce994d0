/* gemm_levels.h - matrix products of 8-bit levels with a constant right operand, exact in 32 bits: C[m,n] = (A[m,k] - zero)
 * B[k,n].
 *
 *     castoff_gemm_levels_args
 *         m, n, k, a, a_row, a_col, a_from   A, any strides, signed or unsigned bytes; k at most 2^31 / (255 * 128)
 *         zero                   the level that stands for 0
 *         b_packed               quad panels of signed bytes (levels.h)
 *         column_sums            of B, n numbers
 *         batch_rank, batch_axes, epilogue, epilogue_context    as in gemm.h; the tiles of an epilogue, at most 32 x 32 or
 *                                16 x 64, are of int32_t
 *     void castoff_gemm_levels_run(const castoff_gemm_levels_args *, castoff_pool *, void *scratch)
 *     int64_t castoff_gemm_levels_scratch(batch, m, n, k, b_is_packed, threads)
 */
#ifndef CASTOFF_CPU_GEMM_LEVELS_H
#define CASTOFF_CPU_GEMM_LEVELS_H

#include "gemm.h"
#include "levels.h"

typedef void (*castoff_gemm_levels_epilogue)(const void *context, const int32_t *tile, int64_t tile_stride, int64_t row0,
                                             int64_t col0, int64_t rows, int64_t cols, int64_t batch);

typedef struct {
    int64_t m, n, k;
    const void *a;
    int64_t a_row, a_col;
    castoff_levels_source a_from;
    int32_t zero;
    const uint8_t *b_packed;
    const int32_t *column_sums;
    int32_t batch_rank;
    const castoff_gemm_axis *batch_axes;
    castoff_gemm_levels_epilogue epilogue;
    const void *epilogue_context;
} castoff_gemm_levels_args;

/* Where finished tiles go; `zero` is of the levels as they were multiplied. */
typedef struct {
    int32_t zero;
    const int32_t *column_sums;
    castoff_gemm_levels_epilogue epilogue;
    const void *epilogue_context;
    int64_t batch;
} castoff_gemm_levels_sink;

CASTOFF_INLINE int32_t castoff_levels_raised(int32_t zero, castoff_levels_source source) {
    return source == CASTOFF_FROM_S8 ? zero + 128 : zero;
}

CASTOFF_INLINE castoff_gemm_levels_sink castoff_gemm_levels_make_sink(const castoff_gemm_levels_args *args, int64_t c,
                                                                      int64_t item) {
    (void)c;
    return (castoff_gemm_levels_sink){castoff_levels_raised(args->zero, args->a_from), args->column_sums, args->epilogue,
                                      args->epilogue_context, item};
}

static CASTOFF_UNUSED void castoff_gemm_levels_emit(const castoff_gemm_levels_sink *sink, int32_t *tile, int64_t stride,
                                                    int64_t row0, int64_t col0, int64_t rows, int64_t cols) {
    if (sink->zero)
        for (int64_t i = 0; i < rows; i++)
            for (int64_t j = 0; j < cols; j++) tile[i * stride + j] -= sink->zero * sink->column_sums[col0 + j];
    sink->epilogue(sink->epilogue_context, tile, stride, row0, col0, rows, cols, sink->batch);
}

#define N(name) castoff_levels_##name
#define G(name) castoff_gemm_levels_##name
#define ELEMENT uint8_t
#define STEP CASTOFF_LEVELS_STEP
#define TILE CASTOFF_LEVELS_TILE
#define SUM int32_t
#define SUM_BYTES CASTOFF_TILE_SUM_BYTES
#define MULTIPLIES_FLOATS 0
#define PACKS 0
#include "gemm_tiles_engine.h"

#endif
