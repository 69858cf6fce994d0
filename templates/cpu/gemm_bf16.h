/* gemm_bf16.h - matrix products of bfloat16 with float sums, as gemm.h has them for float: batched, parallel, with
 * epilogues. Operands are multiplied as bf16.h lays them out.
 *
 *     castoff_gemm_bf16_args     as castoff_gemm_f32_args (gemm.h), the output float too, but
 *         a, b                   bfloat16 bits, or float that is rounded to bfloat16 as it is packed, as a_from and b_from say
 *         b_packed               pair panels of bfloat16, aligned to 64 bytes for speed only; the stride of a batch axis
 *                                is castoff_bf16_size(n, k) for the next matrix
 *     void castoff_gemm_bf16_run(const castoff_gemm_bf16_args *, castoff_pool *, void *scratch)
 *     int64_t castoff_gemm_bf16_scratch(batch, m, n, k, b_is_packed, threads)
 *                                bytes of scratch for any strides; align to 64; batch = product of the batch sizes
 *
 * Tiles given to an epilogue are at most 32 x 32 or 16 x 64. Results are the same bits for any number of threads, on one
 * CPU level.
 */
#ifndef CASTOFF_CPU_GEMM_BF16_H
#define CASTOFF_CPU_GEMM_BF16_H

#include "bf16.h"
#include "gemm.h"

typedef castoff_gemm_f32_epilogue castoff_gemm_bf16_epilogue;

typedef struct {
    int64_t m, n, k;
    const void *a;
    int64_t a_row, a_col;
    const void *b;
    int64_t b_row, b_col;
    const uint16_t *b_packed;
    int32_t batch_rank;
    const castoff_gemm_axis *batch_axes;
    float *c;
    int64_t c_row;
    const float *bias_row, *bias_col;
    int32_t relu;
    castoff_gemm_bf16_epilogue epilogue;
    const void *epilogue_context;
    castoff_bf16_source a_from, b_from;
} castoff_gemm_bf16_args;

typedef castoff_gemm_f32_sink castoff_gemm_bf16_sink;
#define castoff_gemm_bf16_emit castoff_gemm_f32_emit

CASTOFF_INLINE castoff_gemm_bf16_sink castoff_gemm_bf16_make_sink(const castoff_gemm_bf16_args *args, int64_t c, int64_t item) {
    return (castoff_gemm_bf16_sink){args->c ? args->c + c : 0, args->c_row, args->bias_row, args->bias_col, args->relu,
                                    args->epilogue, args->epilogue_context, item};
}

CASTOFF_INLINE const void *castoff_bf16_at(const void *p, int64_t elements, castoff_bf16_source from) {
    return from == CASTOFF_FROM_F32 ? (const void *)((const float *)p + elements) : (const void *)((const uint16_t *)p + elements);
}

/* Without instructions for bfloat16, and with so few registers that both halves of a pair do not fit beside the sums, blocks
 * are widened before they are multiplied: so many rows and columns at a time, so many steps of k. */
#define CASTOFF_BF16_MULTIPLIES_FLOATS (CASTOFF_VECTOR_BYTES < 64)
#define CASTOFF_WIDENED_ROWS 132
#define CASTOFF_WIDENED_COLUMNS 256
#define CASTOFF_WIDENED_STEPS 8
#define CASTOFF_WIDENED_BYTES                                                                                          \
    (4 * (CASTOFF_WIDENED_ROWS * (CASTOFF_WIDENED_COLUMNS + 16) +                                                     \
          CASTOFF_WIDENED_STEPS * CASTOFF_BF16_STEP * (CASTOFF_WIDENED_ROWS + 16) + CASTOFF_WIDENED_ROWS * 16))
/* Scratch of a block. */
#define CASTOFF_BF16_SUM_BYTES (CASTOFF_BF16_MULTIPLIES_FLOATS ? CASTOFF_WIDENED_BYTES : CASTOFF_TILE_SUM_BYTES)

#define N(name) castoff_bf16_##name
#define G(name) castoff_gemm_bf16_##name
#define ELEMENT uint16_t
#define STEP CASTOFF_BF16_STEP
#define TILE CASTOFF_BF16_TILE
#define SUM float
#define SUM_BYTES CASTOFF_BF16_SUM_BYTES
#define MULTIPLIES_FLOATS CASTOFF_BF16_MULTIPLIES_FLOATS
#define PACKS 1
#include "gemm_tiles_engine.h"

#endif
