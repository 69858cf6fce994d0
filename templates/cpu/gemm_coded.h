/* gemm_coded.h - matrix products with a constant right operand that was rounded to int8 or int4 when the program was built:
 * weight-only compression. W[i, j] is code[i, j] * scale[i / group, j]; sums are float.
 *
 *     castoff_gemm_coded_args
 *         m, n, k, a, a_row, a_col, a_from   A[m,k], any strides, float or bfloat16
 *         bits, codes            8: panels (packing.h) of int8, element (i, col) at ((col / 16) * k + i) * 16 + col % 16
 *                                4: two rows a byte, the even one in the low half, plus 8: byte
 *                                ((col / 16) * ceil(k / 2) + i / 2) * 16 + col % 16
 *         group, scales          rows that share a scale (for 4 bits an even number), and the scales:
 *                                ((col / 16) * ceil(k / group) + i / group) * 16 + col % 16
 *         narrow                 tall products are multiplied in bfloat16 (gemm_bf16.h); else in float
 *         c, c_row, bias_row, bias_col, relu, epilogue, epilogue_context    as in gemm.h
 *     void castoff_gemm_coded_run(const castoff_gemm_coded_args *, castoff_pool *, void *scratch)
 *     int64_t castoff_gemm_coded_scratch(batch, m, n, k, b_is_packed, threads)    batch is 1
 *
 * compiler/lowering/coding.py writes codes and scales. Few rows multiply codes as they come from memory; for many, blocks of
 * columns are decoded into panels. Results are the same bits for any number of threads, on one CPU level.
 */
#ifndef CASTOFF_CPU_GEMM_CODED_H
#define CASTOFF_CPU_GEMM_CODED_H

#include "gemm_bf16.h"

#define CASTOFF_CODED_FEW 8      /* rows up to which codes are multiplied as they are */
#define CASTOFF_CODED_COLUMNS 64 /* columns of a piece of work */

typedef castoff_gemm_f32_epilogue castoff_gemm_coded_epilogue;

typedef struct {
    int64_t m, n, k;
    const void *a;
    int64_t a_row, a_col;
    castoff_bf16_source a_from;
    int32_t bits, narrow;
    const void *codes;
    int64_t group;
    const float *scales;
    float *c;
    int64_t c_row;
    const float *bias_row, *bias_col;
    int32_t relu;
    castoff_gemm_coded_epilogue epilogue;
    const void *epilogue_context;
} castoff_gemm_coded_args;

CASTOFF_INLINE const int8_t *castoff_coded_panel(const castoff_gemm_coded_args *g, int64_t panel) {
    return (const int8_t *)g->codes + panel * (g->bits == 8 ? g->k : castoff_ceil_div(g->k, 2)) * CASTOFF_PANEL;
}
CASTOFF_INLINE const float *castoff_coded_scales(const castoff_gemm_coded_args *g, int64_t panel, int64_t group) {
    return g->scales + (panel * castoff_ceil_div(g->k, g->group) + group) * CASTOFF_PANEL;
}

/* The codes of two rows: of rows i and i + 1 for 4 bits, where 8 is still to be taken away; of row i for 8. */
CASTOFF_INLINE castoff_vf32 castoff_coded_low(const int bits, const int8_t *p) {
    if (bits == 8) return __builtin_convertvector(castoff_load_i8(p), castoff_vf32);
    return __builtin_convertvector(castoff_load_u8((const uint8_t *)p) & 15, castoff_vf32);
}
CASTOFF_INLINE castoff_vf32 castoff_coded_high(const int8_t *p) {
    return __builtin_convertvector(castoff_load_u8((const uint8_t *)p) >> 4, castoff_vf32);
}

/* `rows` rows of contiguous floats, `stride` apart and zero up to an even number, times `vectors` vectors of columns. */
CASTOFF_INLINE void castoff_coded_kernel(const castoff_gemm_coded_args *g, const float *a, int64_t stride, int64_t col, float *out,
                                         int64_t out_stride, const int bits, const int rows, const int vectors) {
    const int8_t *codes[4], *ahead = castoff_coded_panel(g, col / CASTOFF_PANEL + 4);
    castoff_vf32 total[4][4];
    CASTOFF_UNROLL for (int j = 0; j < vectors; j++) {
        const int64_t at = col + j * CASTOFF_VF32_LANES;
        codes[j] = castoff_coded_panel(g, at / CASTOFF_PANEL) + at % CASTOFF_PANEL;
        CASTOFF_UNROLL for (int i = 0; i < rows; i++) total[i][j] = castoff_splat_f32(0);
    }
    for (int64_t first = 0, group = 0; first < g->k; first += g->group, group++) {
        const int64_t last = castoff_min_i64(first + g->group, g->k);
        castoff_vf32 sum[4][4];
        float plain[4] = {0, 0, 0, 0};
        CASTOFF_UNROLL for (int i = 0; i < rows; i++)
            CASTOFF_UNROLL for (int j = 0; j < vectors; j++) sum[i][j] = castoff_splat_f32(0);
        CASTOFF_NO_UNROLL for (int64_t p = first; p < last; p += bits == 8 ? 1 : 2) {
            if (vectors == 4 && CASTOFF_VF32_LANES == CASTOFF_PANEL) { /* the next four panels, which one run is too far from */
                __builtin_prefetch(ahead, 0, 2);
                ahead += 4 * CASTOFF_PANEL;
            }
            CASTOFF_UNROLL for (int j = 0; j < vectors; j++) {
                const castoff_vf32 low = castoff_coded_low(bits, codes[j]);
                CASTOFF_UNROLL for (int i = 0; i < rows; i++)
                    sum[i][j] = castoff_fma_f32(castoff_splat_f32(a[i * stride + p]), low, sum[i][j]);
                if (bits == 4) {
                    const castoff_vf32 high = castoff_coded_high(codes[j]);
                    CASTOFF_UNROLL for (int i = 0; i < rows; i++)
                        sum[i][j] = castoff_fma_f32(castoff_splat_f32(a[i * stride + p + 1]), high, sum[i][j]);
                }
                codes[j] += CASTOFF_PANEL;
            }
        }
        if (bits == 4)
            CASTOFF_UNROLL for (int i = 0; i < rows; i++) {
                castoff_vf32 parts = castoff_splat_f32(0);
                int64_t p = first;
                for (; p + CASTOFF_VF32_LANES <= last; p += CASTOFF_VF32_LANES) parts += castoff_load_f32(a + i * stride + p);
                plain[i] = castoff_sum_f32(parts);
                for (; p < last; p++) plain[i] += a[i * stride + p];
            }
        CASTOFF_UNROLL for (int j = 0; j < vectors; j++) {
            const int64_t at = col + j * CASTOFF_VF32_LANES;
            const castoff_vf32 scale = castoff_load_f32(castoff_coded_scales(g, at / CASTOFF_PANEL, group) + at % CASTOFF_PANEL);
            CASTOFF_UNROLL for (int i = 0; i < rows; i++) {
                if (bits == 4) sum[i][j] -= castoff_splat_f32(8 * plain[i]);
                total[i][j] = castoff_fma_f32(sum[i][j], scale, total[i][j]);
            }
        }
    }
    CASTOFF_UNROLL for (int i = 0; i < rows; i++)
        CASTOFF_UNROLL for (int j = 0; j < vectors; j++)
            castoff_store_f32(out + i * out_stride + j * CASTOFF_VF32_LANES, total[i][j]);
}

CASTOFF_INLINE void castoff_coded_strip(const castoff_gemm_coded_args *g, const float *a, int64_t stride, int64_t rows, int64_t col,
                                        int64_t cols, float *out, const int bits) {
    const int64_t width = castoff_round_up(cols, CASTOFF_PANEL);
    for (int64_t row = 0, height; row < rows; row += height) {
        const float *from = a + row * stride;
        float *to = out + row * CASTOFF_CODED_COLUMNS;
        int64_t j = 0;
        height = rows - row >= 4 ? 4 : rows - row >= 2 ? 2 : 1;
        if (height == 1)
            for (; j + 4 * CASTOFF_VF32_LANES <= width; j += 4 * CASTOFF_VF32_LANES)
                castoff_coded_kernel(g, from, stride, col + j, to + j, CASTOFF_CODED_COLUMNS, bits, 1, 4);
        for (; j < width; j += CASTOFF_VF32_LANES) {
            if (height == 4)
                castoff_coded_kernel(g, from, stride, col + j, to + j, CASTOFF_CODED_COLUMNS, bits, 4, 1);
            else if (height == 2)
                castoff_coded_kernel(g, from, stride, col + j, to + j, CASTOFF_CODED_COLUMNS, bits, 2, 1);
            else
                castoff_coded_kernel(g, from, stride, col + j, to + j, CASTOFF_CODED_COLUMNS, bits, 1, 1);
        }
    }
}

/* Row i of a panel: 16 numbers. */
CASTOFF_INLINE void castoff_coded_row(const castoff_gemm_coded_args *g, int64_t panel, int64_t i, float *out) {
    const int8_t *codes = castoff_coded_panel(g, panel) + (g->bits == 8 ? i : i / 2) * CASTOFF_PANEL;
    const float *scales = castoff_coded_scales(g, panel, i / g->group);
    CASTOFF_UNROLL for (int j = 0; j < CASTOFF_PANEL; j += CASTOFF_VF32_LANES) {
        castoff_vf32 code;
        if (g->bits == 8)
            code = castoff_coded_low(8, codes + j);
        else
            code = (i % 2 == 0 ? castoff_coded_low(4, codes + j) : castoff_coded_high(codes + j)) - castoff_splat_f32(8);
        castoff_store_f32(out + j, code * castoff_load_f32(scales + j));
    }
}

/* Panels of float, or pair panels of bfloat16. */
static CASTOFF_UNUSED void castoff_coded_decode(const castoff_gemm_coded_args *g, int64_t first, int64_t last, void *out) {
    for (int64_t panel = first; panel < last; panel++) {
        if (!g->narrow) {
            float *to = (float *)out + (panel - first) * g->k * CASTOFF_PANEL;
            for (int64_t i = 0; i < g->k; i++) castoff_coded_row(g, panel, i, to + i * CASTOFF_PANEL);
            continue;
        }
        uint16_t *to = (uint16_t *)out + castoff_bf16_size(16 * (panel - first), g->k);
        for (int64_t i = 0; i < castoff_bf16_steps(g->k) * CASTOFF_BF16_STEP; i += 2, to += 32) {
            float rows[2][CASTOFF_PANEL] __attribute__((aligned(64)));
            for (int64_t half = 0; half < 2; half++) {
                if (i + half < g->k)
                    castoff_coded_row(g, panel, i + half, rows[half]);
                else
                    memset(rows[half], 0, sizeof rows[half]);
            }
            CASTOFF_UNROLL for (int j = 0; j < CASTOFF_PANEL; j += CASTOFF_VF32_LANES) {
                const castoff_vu32 pair = castoff_round_bf16(castoff_load_f32(rows[0] + j)) >> 16 |
                                          castoff_round_bf16(castoff_load_f32(rows[1] + j));
                memcpy(to + 2 * j, &pair, sizeof pair);
            }
        }
    }
}

typedef struct {
    int64_t a_row, a_bytes, thread_bytes; /* a_row: of the rows as floats */
    int32_t few;
} castoff_gemm_coded_plan;

static CASTOFF_UNUSED castoff_gemm_coded_plan castoff_gemm_coded_make_plan(int64_t m, int64_t k) {
    castoff_gemm_coded_plan p;
    p.few = m <= CASTOFF_CODED_FEW;
    p.a_row = castoff_round_up(k, 16) + 16;
    /* As floats or as row tiles: either fits, k being rounded up to 32 there. */
    p.a_bytes = castoff_max_i64(m * p.a_row * 4, castoff_bf16_size(m, k) * 2);
    p.a_bytes = castoff_round_up(p.a_bytes, 64);
    p.thread_bytes = castoff_max_i64(CASTOFF_BF16_SUM_BYTES, CASTOFF_CODED_FEW * CASTOFF_CODED_COLUMNS * 4);
    if (!p.few) p.thread_bytes += castoff_round_up(castoff_bf16_steps(k) * CASTOFF_BF16_STEP, 16) * CASTOFF_CODED_COLUMNS * 4;
    return p;
}

static CASTOFF_UNUSED int64_t castoff_gemm_coded_scratch(int64_t batch, int64_t m, int64_t n, int64_t k, int b_is_packed,
                                                         int threads) {
    const castoff_gemm_coded_plan p = castoff_gemm_coded_make_plan(m, k);
    (void)batch;
    (void)n;
    (void)b_is_packed;
    return p.a_bytes + p.thread_bytes * threads;
}

typedef struct {
    const castoff_gemm_coded_args *args;
    castoff_gemm_coded_plan plan;
    char *scratch; /* rows of A, then what each thread needs */
} castoff_gemm_coded_job;

/* Rows of A by 16, as the products read them. */
static CASTOFF_UNUSED void castoff_gemm_coded_rows(void *context, int64_t begin, int64_t end, int thread) {
    const castoff_gemm_coded_job *job = (const castoff_gemm_coded_job *)context;
    const castoff_gemm_coded_args *g = job->args;
    (void)thread;
    for (int64_t tile = begin; tile < end; tile++) {
        const int64_t row = 16 * tile, rows = castoff_min_i64(16, g->m - row);
        const void *a = castoff_bf16_at(g->a, row * g->a_row, g->a_from);
        if (g->narrow && !job->plan.few) {
            uint16_t *tiles = (uint16_t *)(void *)job->scratch + castoff_bf16_size(row, g->k);
            castoff_bf16_pack_rows(tiles, g->k, a, g->a_row, g->a_col, rows, g->a_from);
            continue;
        }
        for (int64_t i = 0; i < rows; i++) {
            float *out = (float *)(void *)job->scratch + (row + i) * job->plan.a_row;
            const int64_t at = i * g->a_row;
            if (g->a_from == CASTOFF_FROM_F32)
                for (int64_t p = 0; p < g->k; p++) out[p] = ((const float *)a)[at + p * g->a_col];
            else
                for (int64_t p = 0; p < g->k; p++) out[p] = castoff_widen_bf16(((const uint16_t *)a)[at + p * g->a_col]);
            out[g->k] = 0;
        }
    }
}

static CASTOFF_UNUSED void castoff_gemm_coded_columns(void *context, int64_t begin, int64_t end, int thread) {
    const castoff_gemm_coded_job *job = (const castoff_gemm_coded_job *)context;
    const castoff_gemm_coded_args *g = job->args;
    const castoff_gemm_coded_plan *plan = &job->plan;
    const castoff_gemm_f32_sink sink = {.c = g->c, .c_row = g->c_row, .bias_row = g->bias_row, .bias_col = g->bias_col,
                                        .relu = g->relu, .epilogue = g->epilogue, .epilogue_context = g->epilogue_context};
    char *scratch = job->scratch + plan->a_bytes + thread * plan->thread_bytes;
    const float *rows = (const float *)(const void *)job->scratch;
    float *sums = (float *)(void *)scratch;
    void *panels = scratch + CASTOFF_BF16_SUM_BYTES;
    for (int64_t index = begin; index < end; index++) {
        const int64_t col = index * CASTOFF_CODED_COLUMNS, cols = castoff_min_i64(CASTOFF_CODED_COLUMNS, g->n - col);
        if (plan->few) {
            if (g->bits == 8)
                castoff_coded_strip(g, rows, plan->a_row, g->m, col, cols, sums, 8);
            else
                castoff_coded_strip(g, rows, plan->a_row, g->m, col, cols, sums, 4);
            castoff_gemm_f32_emit(&sink, sums, CASTOFF_CODED_COLUMNS, 0, col, g->m, cols);
            continue;
        }
        castoff_coded_decode(g, col / CASTOFF_PANEL, castoff_ceil_div(col + cols, CASTOFF_PANEL), panels);
        if (g->narrow) {
            const castoff_bf16_block block = {.rows = g->m, .cols = cols, .steps = castoff_bf16_steps(g->k),
                                              .a = (const uint16_t *)(const void *)job->scratch, .b = (const uint16_t *)panels,
                                              .col0 = col, .rows_outside = 1};
            castoff_bf16_run_block(&block, &sink, sums);
            continue;
        }
        const castoff_gemm_f32_block block = {.rows = g->m, .cols = cols, .k = g->k, .a = rows, .a_row = plan->a_row, .a_col = 1,
                                              .b = (const float *)panels, .b_step = CASTOFF_PANEL,
                                              .b_panel = g->k * CASTOFF_PANEL, .col0 = col};
        castoff_gemm_f32_run_block(&block, &sink);
    }
}

static CASTOFF_UNUSED void castoff_gemm_coded_run(const castoff_gemm_coded_args *args, castoff_pool *pool, void *scratch) {
    if (args->m == 0 || args->n == 0) return;
    castoff_gemm_coded_job job = {args, castoff_gemm_coded_make_plan(args->m, args->k), (char *)scratch};
    const int64_t enough = 1 << 16, columns = castoff_ceil_div(args->n, CASTOFF_CODED_COLUMNS);
    castoff_parallel_for(pool, castoff_ceil_div(args->m, 16), castoff_ceil_div(enough, 16 * args->k), castoff_gemm_coded_rows, &job);
    castoff_parallel_for(pool, columns, castoff_ceil_div(enough, CASTOFF_CODED_COLUMNS * args->m * args->k),
                         castoff_gemm_coded_columns, &job);
}

#endif
