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

/* Pairs of tiles of the inner loop whose sums are kept at once. */
#define CASTOFF_BF16_INNER 8
#define CASTOFF_BF16_SUM_BYTES (CASTOFF_BF16_INNER * CASTOFF_BF16_SUMS * 4)

/* One block on one thread, over all of k: row tiles times pair panels. Of the two loops over blocks of 32, the outer one
 * goes once over its operand, the inner one again and again over the other, which had better be small: rows_outside
 * says which is which. */
typedef struct {
    int64_t rows, cols, steps;
    const uint16_t *a, *b;
    int64_t row0, col0;
    int32_t rows_outside;
} castoff_bf16_block;

CASTOFF_INLINE void castoff_bf16_run_strips(const castoff_bf16_block *g, const castoff_gemm_f32_sink *sink, float *sums) {
    const int64_t size = g->steps * CASTOFF_BF16_TILE;
    castoff_bf16_begin(g->rows);
    for (int64_t col = 0; col < g->cols; col += 64) {
        castoff_bf16_piece piece = {.rows = g->rows, .cols = castoff_min_i64(64, g->cols - col), .width = 64, .a_tile = size,
                                    .b_panel = size, .sums = sums};
        for (int64_t step = 0; step < g->steps; step += piece.steps, piece.add = 1) {
            piece.steps = castoff_min_i64(CASTOFF_BF16_STRIP_CHUNK, g->steps - step);
            piece.a = g->a + step * CASTOFF_BF16_TILE;
            piece.b = g->b + col / 16 * size + step * CASTOFF_BF16_TILE;
            castoff_bf16_multiply(&piece);
        }
        castoff_gemm_f32_emit(sink, sums, 64, g->row0, g->col0 + col, g->rows, piece.cols);
    }
    castoff_bf16_end();
}

/* sums: CASTOFF_BF16_SUM_BYTES. */
static CASTOFF_UNUSED void castoff_bf16_run_block(const castoff_bf16_block *g, const castoff_gemm_f32_sink *sink, float *sums) {
    if (g->steps == 0) {
        memset(sums, 0, CASTOFF_BF16_SUMS * 4);
        for (int64_t row = 0; row < g->rows; row += 32)
            for (int64_t col = 0; col < g->cols; col += 32)
                castoff_gemm_f32_emit(sink, sums, 32, g->row0 + row, g->col0 + col, castoff_min_i64(32, g->rows - row),
                                      castoff_min_i64(32, g->cols - col));
        return;
    }
    if (g->rows <= 16) {
        castoff_bf16_run_strips(g, sink, sums);
        return;
    }
    const int64_t size = g->steps * CASTOFF_BF16_TILE;
    const int64_t outer = castoff_ceil_div(g->rows_outside ? g->rows : g->cols, 32);
    const int64_t inner = castoff_ceil_div(g->rows_outside ? g->cols : g->rows, 32);
    castoff_bf16_begin(16);
    for (int64_t first = 0; first < inner; first += CASTOFF_BF16_INNER)
        for (int64_t i = 0; i < outer; i++) {
            const int64_t last = castoff_min_i64(first + CASTOFF_BF16_INNER, inner);
            for (int64_t step = 0; step < g->steps; step += CASTOFF_BF16_CHUNK)
                for (int64_t j = first; j < last; j++) {
                    const int64_t row = 32 * (g->rows_outside ? i : j), col = 32 * (g->rows_outside ? j : i);
                    const castoff_bf16_piece piece = {
                        .rows = castoff_min_i64(32, g->rows - row), .cols = castoff_min_i64(32, g->cols - col), .width = 32,
                        .steps = castoff_min_i64(CASTOFF_BF16_CHUNK, g->steps - step),
                        .a = g->a + row / 16 * size + step * CASTOFF_BF16_TILE,
                        .b = g->b + col / 16 * size + step * CASTOFF_BF16_TILE, .a_tile = size, .b_panel = size,
                        .sums = sums + (j - first) * CASTOFF_BF16_SUMS, .add = step > 0};
                    castoff_bf16_multiply(&piece);
                }
            for (int64_t j = first; j < last; j++) {
                const int64_t row = 32 * (g->rows_outside ? i : j), col = 32 * (g->rows_outside ? j : i);
                castoff_gemm_f32_emit(sink, sums + (j - first) * CASTOFF_BF16_SUMS, 32, g->row0 + row, g->col0 + col,
                                      castoff_min_i64(32, g->rows - row), castoff_min_i64(32, g->cols - col));
            }
        }
    castoff_bf16_end();
}

/* How a product is cut: a function of shape and threads; k never is. */
typedef struct {
    int64_t mc, nc, row_blocks, col_blocks;
    int32_t by_batch, pack_b;
    int64_t a_bytes, b_bytes, thread_bytes; /* scratch */
} castoff_gemm_bf16_plan;

static CASTOFF_UNUSED castoff_gemm_bf16_plan castoff_gemm_bf16_make_plan(int64_t batch, int64_t m, int64_t n, int64_t k,
                                                                         int pack_b, int threads) {
    castoff_gemm_bf16_plan p;
    const int64_t tile_bytes = castoff_max_i64(1, castoff_bf16_steps(k)) * CASTOFF_BF16_TILE * 2;
    p.by_batch = batch >= threads;
    p.pack_b = pack_b;
    p.mc = castoff_max_i64(64, CASTOFF_L2_BYTES / 2 / tile_bytes * 16 / 32 * 32);
    p.mc = castoff_max_i64(1, castoff_min_i64(p.mc, castoff_round_up(castoff_ceil_div(m, castoff_ceil_div(castoff_max_i64(m, 1), p.mc)), 32)));
    p.nc = castoff_round_up(castoff_max_i64(n, 1), 64);
    while (!p.by_batch && p.nc > 64 && castoff_ceil_div(m, p.mc) * castoff_ceil_div(n, p.nc) < (threads > 1 ? 4 * threads : 1))
        p.nc = castoff_round_up(p.nc / 2, 64);
    p.row_blocks = castoff_ceil_div(m, p.mc);
    p.col_blocks = castoff_ceil_div(n, p.nc);
    p.a_bytes = castoff_bf16_size(p.mc, k) * 2;
    p.b_bytes = pack_b ? castoff_bf16_size(n, k) * 2 : 0;
    p.thread_bytes = CASTOFF_BF16_SUM_BYTES + p.a_bytes + (p.by_batch ? p.b_bytes : 0);
    return p;
}

static CASTOFF_UNUSED int64_t castoff_gemm_bf16_scratch(int64_t batch, int64_t m, int64_t n, int64_t k, int b_is_packed,
                                                        int threads) {
    const castoff_gemm_bf16_plan p = castoff_gemm_bf16_make_plan(batch, m, n, k, !b_is_packed, threads);
    return p.thread_bytes * threads + p.b_bytes;
}

typedef struct {
    const castoff_gemm_bf16_args *args;
    castoff_gemm_bf16_plan plan;
    char *scratch;
    int64_t item;     /* of the batch, where it is not split */
    uint16_t *panels; /* of that item */
} castoff_gemm_bf16_job;

typedef struct {
    int64_t a, b, c;
} castoff_gemm_bf16_offsets;

static CASTOFF_UNUSED castoff_gemm_bf16_offsets castoff_gemm_bf16_locate(const castoff_gemm_bf16_args *args, int64_t item) {
    castoff_gemm_bf16_offsets o = {0, 0, 0};
    for (int32_t axis = args->batch_rank - 1; axis >= 0; axis--) {
        const castoff_gemm_axis *x = args->batch_axes + axis;
        const int64_t index = item % x->size;
        item /= x->size;
        o.a += index * x->a;
        o.b += index * x->b;
        o.c += index * x->c;
    }
    return o;
}

CASTOFF_INLINE const void *castoff_bf16_at(const void *p, int64_t elements, castoff_bf16_source from) {
    return from == CASTOFF_FROM_F32 ? (const void *)((const float *)p + elements) : (const void *)((const uint16_t *)p + elements);
}

/* Blocks [first, last) of one product, column blocks fastest, so that rows are packed once. */
static CASTOFF_UNUSED void castoff_gemm_bf16_run_blocks(const castoff_gemm_bf16_job *job, int64_t item, const uint16_t *panels,
                                                        char *scratch, int64_t first, int64_t last) {
    const castoff_gemm_bf16_args *args = job->args;
    const castoff_gemm_bf16_plan *plan = &job->plan;
    const castoff_gemm_bf16_offsets o = castoff_gemm_bf16_locate(args, item);
    const castoff_gemm_f32_sink sink = {args->c ? args->c + o.c : 0, args->c_row, args->bias_row, args->bias_col, args->relu,
                                        args->epilogue, args->epilogue_context, item};
    float *sums = (float *)(void *)scratch;
    uint16_t *tiles = (uint16_t *)(void *)(scratch + CASTOFF_BF16_SUM_BYTES);
    const uint16_t *b = args->b_packed ? args->b_packed + o.b : panels;
    int64_t packed = -1;
    for (int64_t index = first; index < last; index++) {
        const int64_t row0 = index / plan->col_blocks * plan->mc, rows = castoff_min_i64(plan->mc, args->m - row0);
        const int64_t col0 = index % plan->col_blocks * plan->nc, cols = castoff_min_i64(plan->nc, args->n - col0);
        if (packed != row0)
            castoff_bf16_pack_rows(tiles, args->k, castoff_bf16_at(args->a, o.a + row0 * args->a_row, args->a_from), args->a_row,
                                   args->a_col, rows, args->a_from);
        packed = row0;
        const castoff_bf16_block block = {.rows = rows, .cols = cols, .steps = castoff_bf16_steps(args->k), .a = tiles,
                                          .b = b + castoff_bf16_size(col0, args->k), .row0 = row0, .col0 = col0};
        castoff_bf16_run_block(&block, &sink, sums);
    }
}

static CASTOFF_UNUSED void castoff_gemm_bf16_pack_b(const castoff_gemm_bf16_args *args, int64_t offset, uint16_t *panels,
                                                    int64_t first, int64_t last) {
    castoff_bf16_pack_panels(panels, args->k, args->n, castoff_bf16_at(args->b, offset, args->b_from), args->b_row, args->b_col,
                             first, last, args->b_from);
}

static CASTOFF_UNUSED void castoff_gemm_bf16_items(void *context, int64_t begin, int64_t end, int thread) {
    const castoff_gemm_bf16_job *job = (const castoff_gemm_bf16_job *)context;
    const castoff_gemm_bf16_plan *plan = &job->plan;
    char *scratch = job->scratch + thread * plan->thread_bytes;
    uint16_t *panels = (uint16_t *)(void *)(scratch + CASTOFF_BF16_SUM_BYTES + plan->a_bytes);
    int64_t packed = -1;
    for (int64_t item = begin; item < end; item++) {
        const int64_t b = castoff_gemm_bf16_locate(job->args, item).b;
        if (plan->pack_b && (item == begin || b != packed))
            castoff_gemm_bf16_pack_b(job->args, b, panels, 0, castoff_ceil_div(job->args->n, 16));
        packed = b;
        castoff_gemm_bf16_run_blocks(job, item, panels, scratch, 0, plan->row_blocks * plan->col_blocks);
    }
}

static CASTOFF_UNUSED void castoff_gemm_bf16_panels(void *context, int64_t begin, int64_t end, int thread) {
    const castoff_gemm_bf16_job *job = (const castoff_gemm_bf16_job *)context;
    (void)thread;
    castoff_gemm_bf16_pack_b(job->args, castoff_gemm_bf16_locate(job->args, job->item).b, job->panels, begin, end);
}

static CASTOFF_UNUSED void castoff_gemm_bf16_blocks(void *context, int64_t begin, int64_t end, int thread) {
    const castoff_gemm_bf16_job *job = (const castoff_gemm_bf16_job *)context;
    castoff_gemm_bf16_run_blocks(job, job->item, job->panels, job->scratch + thread * job->plan.thread_bytes, begin, end);
}

static CASTOFF_UNUSED void castoff_gemm_bf16_run(const castoff_gemm_bf16_args *args, castoff_pool *pool, void *scratch) {
    int64_t batch = 1;
    for (int32_t axis = 0; axis < args->batch_rank; axis++) batch *= args->batch_axes[axis].size;
    if (batch == 0 || args->m == 0 || args->n == 0) return;
    const int threads = castoff_pool_threads(pool);
    castoff_gemm_bf16_job job = {.args = args, .scratch = (char *)scratch};
    job.plan = castoff_gemm_bf16_make_plan(batch, args->m, args->n, args->k, !args->b_packed, threads);
    const int64_t work = args->m * args->n * (args->k + 1), enough = 1 << 17;
    if (job.plan.by_batch) {
        castoff_parallel_for(pool, batch, castoff_ceil_div(enough, work), castoff_gemm_bf16_items, &job);
        return;
    }
    job.panels = (uint16_t *)(void *)(job.scratch + job.plan.thread_bytes * threads);
    const int64_t blocks = job.plan.row_blocks * job.plan.col_blocks;
    int64_t packed = -1;
    for (job.item = 0; job.item < batch; job.item++) {
        const int64_t b = castoff_gemm_bf16_locate(args, job.item).b;
        if (job.plan.pack_b && (job.item == 0 || b != packed))
            castoff_parallel_for(pool, castoff_ceil_div(args->n, 16), castoff_ceil_div(enough / 8, 16 * (args->k + 1)),
                                 castoff_gemm_bf16_panels, &job);
        packed = b;
        castoff_parallel_for(pool, blocks, castoff_ceil_div(enough * blocks, work), castoff_gemm_bf16_blocks, &job);
    }
}

#endif
