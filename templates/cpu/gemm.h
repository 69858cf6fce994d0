/* gemm.h - matrix products C[m,n] = epilogue(A[m,k] B[k,n]), register-tiled and cache-blocked, batched, parallel.
 *
 * For each T of
 *     f32    float in, accumulated and out in float
 *     f64    double
 *     f16    IEEE half bits (uint16_t) in, accumulated and out in float
 * there are, with S the input and E the output type:
 *
 *     castoff_gemm_T_args        what to compute; all strides in elements of their operand, any sign or zero
 *         m, n, k                k = 0 gives zeros (and bias)
 *         a, a_row, a_col        A, any strides
 *         b, b_row, b_col        B at run time, any strides; unused with b_packed
 *         b_packed               B as panels (packing.h), aligned to 64 bytes for speed only
 *         batch_rank, batch_axes leading axes: {size, stride of a, of b (of panels with b_packed: k * round_up(n, 16)
 *                                for the next matrix), of c}; stride 0 repeats an operand
 *         c, c_row               plain output; element (i, j) at c[i * c_row + j]; unused with an epilogue
 *         bias_row, bias_col     NULL, or m or n values that the sums start from; at most one of the two; the same for the
 *                                whole batch
 *         relu                   0 or 1 (NaN passes)
 *         epilogue, epilogue_context   NULL, or called instead of the store, bias and relu
 *         cut                    how the product is cut, where that was measured (castoff_gemm_cut); zeros otherwise
 *     void castoff_gemm_T_run(const castoff_gemm_T_args *, castoff_pool *, void *scratch)
 *     int64_t castoff_gemm_T_scratch(batch, m, n, k, b_is_packed, threads)
 *                                bytes of scratch for any strides; align to 64; batch = product of the batch sizes
 *     int64_t castoff_gemm_T_scratch_cut(batch, m, n, k, b_is_packed, threads, cut)    the same for a product with a cut
 *
 * Epilogue: void (*)(const void *context, const E *tile, int64_t tile_stride, int64_t row0, int64_t col0,
 *                    int64_t rows, int64_t cols, int64_t batch)
 * gets finished elements (row0 + i, col0 + j) in tile[i * tile_stride + j], at most CASTOFF_EPILOGUE_ROWS x 128 at once (448
 * elements as a rule), each exactly once, in no order, from any thread; batch is the flat batch index (row-major over batch_axes).
 *
 * Results are the same bits for any number of threads, on one CPU level.
 */
#ifndef CASTOFF_CPU_GEMM_H
#define CASTOFF_CPU_GEMM_H

#include "castoff_pool.h"
#include "packing.h"

/* Rows of a register tile that is two vectors wide, four, eight: as many as the vector registers hold. */
#if CASTOFF_VECTOR_BYTES == 64
#define CASTOFF_MR 14
#define CASTOFF_MR4 6
#define CASTOFF_MR8 3
#else
#define CASTOFF_MR 6
#define CASTOFF_MR4 3
#define CASTOFF_MR8 1
#endif
#define CASTOFF_TILE_ELEMENTS 512
/* Rows that an epilogue gets at once, at most: those of the tallest tile of any level. */
#define CASTOFF_EPILOGUE_ROWS 14
/* What a unit may say of its products, for what it does not need to be left out: that none has more rows, that B is
 * packed in all. One packed row has an engine of its own, gemm_row_engine.h. */
#ifndef CASTOFF_GEMM_MOST_ROWS
#define CASTOFF_GEMM_MOST_ROWS CASTOFF_MR
#endif
#ifndef CASTOFF_GEMM_IS_PACKED
#define CASTOFF_GEMM_IS_PACKED 0
#endif

/* Cache sizes that blocking assumes. The second of AVX-512 processors has 1 or 2 MiB; taking 1 for 2 costs more than 2 for 1. */
#define CASTOFF_L1_BYTES (32 << 10)
#define CASTOFF_L2_BYTES (CASTOFF_VECTOR_BYTES == 64 ? 2 << 20 : 512 << 10)
#define CASTOFF_L3_BYTES (8 << 20)
/* Rows of a block at least, though they do not fit the second cache: with fewer, B is read from beyond it too often. */
#define CASTOFF_LEAST_ROWS (CASTOFF_VECTOR_BYTES == 64 ? 3 * CASTOFF_MR : 11 * CASTOFF_MR)
/* k up to MAX is one block; more is cut into blocks of about KC, summed through memory. */
#define CASTOFF_KC_MAX 4096
#define CASTOFF_KC 2048
#define CASTOFF_SUM_COLUMNS 256

typedef struct {
    int64_t size, a, b, c;
} castoff_gemm_axis;

/* How the rows of a block's left operand lie: by two strides; as tiles [k][height] one after another; as panels of 16
 * rows (packing.h with rows and columns changed over). */
typedef enum { CASTOFF_ROWS_STRIDED, CASTOFF_ROWS_TILED, CASTOFF_ROWS_PANELS } castoff_rows;

/* How a product is cut, where that was measured for its shape: at most so many rows in a register tile, rows in a block,
 * steps of k in a block (which decides how sums are rounded). What is 0 follows the rules of this file. */
typedef struct {
    int32_t tile_rows, rows, depth;
} castoff_gemm_cut;

/* Rows cut into tiles: the first `taller` have height + 1 rows, the rest height, the last what is left. */
typedef struct {
    int64_t height, taller;
} castoff_tiles;

CASTOFF_INLINE castoff_tiles castoff_cut_rows(int64_t rows, castoff_rows layout, int64_t most) {
    const int64_t divisor = CASTOFF_MR < 8 ? 4 : 8;
    if (layout == CASTOFF_ROWS_PANELS) return (castoff_tiles){castoff_min_i64(divisor, castoff_max_i64(rows, 1)), 0};
    const int64_t count = castoff_max_i64(1, castoff_ceil_div(rows, most));
    return (castoff_tiles){castoff_max_i64(1, rows / count), rows >= count ? rows % count : 0};
}

#define G(name) castoff_gemm_f32_##name
#define E float
#define S float
#define V castoff_vf32
#define LANES CASTOFF_VF32_LANES
#define LOAD_E castoff_load_f32
#define STORE_E castoff_store_f32
#define LOAD_S castoff_load_f32
#define WIDEN(x) (x)
#define SPLAT castoff_splat_f32
#define FMA castoff_fma_f32
#define RELU castoff_relu_f32
#define SUM castoff_sum_f32
#define SAME 1
#define PACK_PANELS castoff_pack_panels_f32
#include "gemm_engine.h"

#define G(name) castoff_gemm_f64_##name
#define E double
#define S double
#define V castoff_vf64
#define LANES CASTOFF_VF64_LANES
#define LOAD_E castoff_load_f64
#define STORE_E castoff_store_f64
#define LOAD_S castoff_load_f64
#define WIDEN(x) (x)
#define SPLAT castoff_splat_f64
#define FMA castoff_fma_f64
#define RELU castoff_relu_f64
#define SUM castoff_sum_f64
#define SAME 1
#define PACK_PANELS castoff_pack_panels_f64
#include "gemm_engine.h"

#define G(name) castoff_gemm_f16_##name
#define E float
#define S uint16_t
#define V castoff_vf32
#define LANES CASTOFF_VF32_LANES
#define LOAD_E castoff_load_f32
#define STORE_E castoff_store_f32
#define LOAD_S castoff_load_f16
#define WIDEN castoff_widen_f16
#define SPLAT castoff_splat_f32
#define FMA castoff_fma_f32
#define RELU castoff_relu_f32
#define SUM castoff_sum_f32
#define SAME 0
#define PACK_PANELS castoff_pack_panels_f16
#include "gemm_engine.h"

#endif
