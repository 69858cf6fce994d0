/* gemm_tiles_engine.h - products of narrow types, batched and parallel: the body of gemm_bf16.h and gemm_levels.h.
 *
 * Expects what tiles_engine.h made of N(name), and G(name) with G(args), G(sink), G(make_sink)(args, offset in c, item of the
 * batch), G(emit)(sink, sums, stride, row, column, rows, columns), N(size), N(steps), N(at) and N(pack_rows); ELEMENT, STEP,
 * TILE, SUM, SUM_BYTES (scratch of a block); PACKS: whether the right operand may come unpacked (N(pack_panels)); MULTIPLIES_FLOATS:
 * whether blocks of many rows are multiplied as tiles_widened.h does. Every name is undefined again at the end.
 */

/* What rows of a block stand for where they are not rows of the result one after another: lines of `pitch` of which the
 * first `width` are rows of the result, and layers of `lines` lines of which the first `height` are. */
typedef struct {
    int64_t pitch, width, lines, height;
} N(grid);

/* One block on one thread, over all of k: row tiles times pair panels. Or rows that lie a_row elements apart, or but for AMX at
 * row_at from a, steps at `offsets` from them, rows_there of them at least: where fewer than a tile are left, one that ends with
 * the last is taken instead, or where none ends before it, what comes after is read. Of the two loops over blocks of 32, the outer one
 * goes once over its operand, the inner one again and again over the other, which had better be small: rows_outside
 * says which is which. */
typedef struct {
    int64_t rows, cols, steps;
    const ELEMENT *a, *b;
    int64_t row0, col0;
    int32_t rows_outside;
    int64_t a_row, rows_there;
    const int64_t *offsets, *row_at;
    N(grid) grid; /* pitch 0: none */
} N(block);

/* Where the tile of rows from `row` on begins: there, or as far before it as there are rows missing. */
CASTOFF_INLINE int64_t N(tile_row)(const N(block) *g, int64_t row) {
    return CASTOFF_TILE_IS_WHOLE && g->a_row ? castoff_max_i64(0, castoff_min_i64(row, g->rows_there - 16)) : row;
}

CASTOFF_INLINE N(piece) N(make_piece)(const N(block) *g, int64_t row, int64_t col, int64_t step, int64_t width) {
    const int64_t size = g->steps * TILE, first = N(tile_row)(g, row);
    N(piece) piece = {.rows = castoff_min_i64(width == 64 ? 16 : 32, g->rows - row), .cols = castoff_min_i64(width, g->cols - col),
                      .width = width, .b = g->b + col / 16 * size + step * TILE, .b_panel = size};
    if (g->row_at) {
        piece.a = g->a;
        piece.row_at = g->row_at + row;
        piece.offsets = g->offsets + step;
    } else if (g->a_row) {
        piece.a = g->a + first * g->a_row;
        piece.a_row = g->a_row;
        piece.a_tile = (N(tile_row)(g, row + 16) - first) * g->a_row;
        piece.offsets = g->offsets + step;
    } else {
        piece.a = g->a + row / 16 * size + step * TILE;
        piece.a_row = STEP;
        piece.a_tile = size;
    }
    return piece;
}

/* Rows that follow one another in the block. */
static CASTOFF_UNUSED void N(emit_rows)(const N(block) *g, const G(sink) *sink, SUM *sums, int64_t width, int64_t row,
                                        int64_t col, int64_t rows, int64_t cols) {
    const N(grid) *grid = &g->grid;
    row += g->row0;
    if (grid->pitch == 0) {
        G(emit)(sink, sums, width, row, g->col0 + col, rows, cols);
        return;
    }
    for (int64_t count; rows > 0; rows -= count, row += count, sums += count * width) {
        const int64_t line = row / grid->pitch, in_line = row % grid->pitch;
        const int64_t layer = line / grid->lines, in_layer = line % grid->lines;
        count = castoff_min_i64(rows, grid->pitch - in_line);
        if (in_line < grid->width && in_layer < grid->height)
            G(emit)(sink, sums, width, (layer * grid->height + in_layer) * grid->width + in_line, g->col0 + col,
                    castoff_min_i64(count, grid->width - in_line), cols);
    }
}

/* A finished piece, whose tiles may begin before its rows. */
CASTOFF_INLINE void N(emit_piece)(const N(block) *g, const G(sink) *sink, const N(piece) *p, int64_t row, int64_t col) {
    const int64_t top = castoff_min_i64(p->rows, 16), skipped = row - N(tile_row)(g, row);
    const int64_t skipped_below = row + 16 - N(tile_row)(g, row + 16);
    if (p->rows <= 16 || skipped_below > 0) {
        N(emit_rows)(g, sink, p->sums + skipped * p->width, p->width, row, col, top, p->cols);
        if (p->rows > 16)
            N(emit_rows)(g, sink, p->sums + (16 + skipped_below) * p->width, p->width, row + 16, col, p->rows - 16, p->cols);
        return;
    }
    N(emit_rows)(g, sink, p->sums, p->width, row, col, p->rows, p->cols);
}

#if MULTIPLIES_FLOATS
#include "tiles_widened.h"
#endif

CASTOFF_INLINE void N(run_strips)(const N(block) *g, const G(sink) *sink, SUM *sums) {
    castoff_tiles_begin(g->rows);
    for (int64_t col = 0; col < g->cols; col += 64) {
        for (int64_t step = 0, steps; step < g->steps; step += steps) {
            N(piece) piece = N(make_piece)(g, 0, col, step, 64);
            piece.steps = steps = castoff_min_i64(CASTOFF_TILE_STRIP_CHUNK, g->steps - step);
            piece.sums = sums;
            piece.add = step > 0;
            N(multiply)(&piece);
        }
        N(emit_rows)(g, sink, sums, 64, 0, col, g->rows, castoff_min_i64(64, g->cols - col));
    }
    castoff_tiles_end();
}

/* sums: SUM_BYTES. */
static CASTOFF_UNUSED void N(run_block)(const N(block) *g, const G(sink) *sink, SUM *sums) {
    if (g->steps == 0) {
        memset(sums, 0, CASTOFF_TILE_SUMS * 4);
        for (int64_t row = 0; row < g->rows; row += 32)
            for (int64_t col = 0; col < g->cols; col += 32)
                N(emit_rows)(g, sink, sums, 32, row, col, castoff_min_i64(32, g->rows - row),
                             castoff_min_i64(32, g->cols - col));
        return;
    }
    if (g->rows <= 16) {
        N(run_strips)(g, sink, sums);
        return;
    }
#if MULTIPLIES_FLOATS
    N(run_widened)(g, sink, sums);
#else
    const int64_t size = g->steps * TILE;
    const int64_t outer = castoff_ceil_div(g->rows_outside ? g->rows : g->cols, 32);
    const int64_t inner = castoff_ceil_div(g->rows_outside ? g->cols : g->rows, 32);
    castoff_tiles_begin(16);
    for (int64_t first = 0; first < inner; first += CASTOFF_TILE_INNER)
        for (int64_t i = 0; i < outer; i++) {
            const int64_t last = castoff_min_i64(first + CASTOFF_TILE_INNER, inner);
            for (int64_t step = 0, steps; step < g->steps; step += steps) {
                steps = castoff_min_i64(CASTOFF_TILE_CHUNK, g->steps - step);
                for (int64_t j = first; j < last; j++) {
                    const int64_t row = 32 * (g->rows_outside ? i : j), col = 32 * (g->rows_outside ? j : i);
                    N(piece) piece = N(make_piece)(g, row, col, step, 32);
                    piece.steps = steps;
                    piece.sums = steps == g->steps ? sums : sums + (j - first) * CASTOFF_TILE_SUMS;
                    piece.add = step > 0;
                    /* Columns come from memory, once: a share of the next ones with each piece. */
                    if (!g->rows_outside && i + 1 < outer) {
                        piece.lines = castoff_ceil_div(32, last - first);
                        piece.ahead = (const char *)(g->b + (col / 16 + 2) * size) + (j - first) * piece.lines * g->steps * 64;
                    } else if (g->rows_outside && i == 0 && j + 1 < inner) {
                        piece.lines = 32;
                        piece.ahead = (const char *)(piece.b + 2 * size);
                    }
                    N(multiply)(&piece);
                    if (step + steps == g->steps) N(emit_piece)(g, sink, &piece, row, col);
                }
            }
        }
    castoff_tiles_end();
#endif
}

/* How a product is cut: a function of shape and threads; k never is. */
typedef struct {
    int64_t mc, nc, row_blocks, col_blocks;
    int32_t by_batch, pack_b;
    int64_t a_bytes, b_bytes, thread_bytes; /* scratch */
} G(plan);

static CASTOFF_UNUSED G(plan) G(make_plan)(int64_t batch, int64_t m, int64_t n, int64_t k, int pack_b, int threads) {
    G(plan) p;
    const int64_t tile_bytes = castoff_max_i64(1, N(steps)(k)) * 1024;
    p.by_batch = batch >= threads;
    p.pack_b = pack_b;
    p.mc = castoff_max_i64(MULTIPLIES_FLOATS ? 128 : 64, CASTOFF_TILE_L2_BYTES / 2 / tile_bytes * 16 / 32 * 32);
    p.mc = castoff_max_i64(1, castoff_min_i64(p.mc, castoff_round_up(castoff_ceil_div(m, castoff_ceil_div(castoff_max_i64(m, 1), p.mc)), 32)));
    p.nc = castoff_round_up(castoff_max_i64(n, 1), 64);
    while (!p.by_batch && p.nc > 64 && castoff_ceil_div(m, p.mc) * castoff_ceil_div(n, p.nc) < (threads > 1 ? 4 * threads : 1))
        p.nc = castoff_round_up(p.nc / 2, 64);
    p.row_blocks = castoff_ceil_div(m, p.mc);
    p.col_blocks = castoff_ceil_div(n, p.nc);
    p.a_bytes = N(size)(p.mc, k) * (int64_t)sizeof(ELEMENT);
    p.b_bytes = pack_b ? N(size)(n, k) * (int64_t)sizeof(ELEMENT) : 0;
    p.thread_bytes = SUM_BYTES + p.a_bytes + (p.by_batch ? p.b_bytes : 0);
    return p;
}

static CASTOFF_UNUSED int64_t G(scratch)(int64_t batch, int64_t m, int64_t n, int64_t k, int b_is_packed, int threads) {
    const G(plan) p = G(make_plan)(batch, m, n, k, !b_is_packed, threads);
    return p.thread_bytes * threads + p.b_bytes;
}

typedef struct {
    const G(args) *args;
    G(plan) plan;
    char *scratch;
    int64_t item;     /* of the batch, where it is not split */
    ELEMENT *panels;   /* of that item */
} G(job);

typedef struct {
    int64_t a, b, c;
} G(offsets);

static CASTOFF_UNUSED G(offsets) G(locate)(const G(args) *args, int64_t item) {
    G(offsets) o = {0, 0, 0};
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

/* Blocks [first, last) of one product, column blocks fastest, so that rows are packed once. */
static CASTOFF_UNUSED void G(run_blocks)(const G(job) *job, int64_t item, const ELEMENT *panels,
                                                        char *scratch, int64_t first, int64_t last) {
    const G(args) *args = job->args;
    const G(plan) *plan = &job->plan;
    const G(offsets) o = G(locate)(args, item);
    const G(sink) sink = G(make_sink)(args, o.c, item);
    SUM *sums = (SUM *)(void *)scratch;
    ELEMENT *tiles = (ELEMENT *)(void *)(scratch + SUM_BYTES);
    const ELEMENT *b = args->b_packed ? args->b_packed + o.b : panels;
    int64_t packed = -1;
    for (int64_t index = first; index < last; index++) {
        const int64_t row0 = index / plan->col_blocks * plan->mc, rows = castoff_min_i64(plan->mc, args->m - row0);
        const int64_t col0 = index % plan->col_blocks * plan->nc, cols = castoff_min_i64(plan->nc, args->n - col0);
        if (packed != row0)
            N(pack_rows)(tiles, args->k, N(at)(args->a, o.a + row0 * args->a_row, args->a_from), args->a_row,
                                   args->a_col, rows, args->a_from);
        packed = row0;
        const N(block) block = {.rows = rows, .cols = cols, .steps = N(steps)(args->k), .a = tiles,
                                          .b = b + N(size)(col0, args->k), .row0 = row0, .col0 = col0};
        N(run_block)(&block, &sink, sums);
    }
}

#if PACKS
static CASTOFF_UNUSED void G(pack_b)(const G(args) *args, int64_t offset, ELEMENT *panels, int64_t first, int64_t last) {
    N(pack_panels)(panels, args->k, args->n, N(at)(args->b, offset, args->b_from), args->b_row, args->b_col,
                             first, last, args->b_from);
}
#endif

static CASTOFF_UNUSED void G(items)(void *context, int64_t begin, int64_t end, int thread) {
    const G(job) *job = (const G(job) *)context;
    const G(plan) *plan = &job->plan;
    char *scratch = job->scratch + thread * plan->thread_bytes;
    ELEMENT *panels = (ELEMENT *)(void *)(scratch + SUM_BYTES + plan->a_bytes);
#if PACKS
    int64_t packed = -1;
#endif
    for (int64_t item = begin; item < end; item++) {
#if PACKS
        const int64_t b = G(locate)(job->args, item).b;
        if (plan->pack_b && (item == begin || b != packed))
            G(pack_b)(job->args, b, panels, 0, castoff_ceil_div(job->args->n, 16));
        packed = b;
#endif
        G(run_blocks)(job, item, panels, scratch, 0, plan->row_blocks * plan->col_blocks);
    }
}

#if PACKS
static CASTOFF_UNUSED void G(panels)(void *context, int64_t begin, int64_t end, int thread) {
    const G(job) *job = (const G(job) *)context;
    (void)thread;
    G(pack_b)(job->args, G(locate)(job->args, job->item).b, job->panels, begin, end);
}
#endif

static CASTOFF_UNUSED void G(blocks)(void *context, int64_t begin, int64_t end, int thread) {
    const G(job) *job = (const G(job) *)context;
    G(run_blocks)(job, job->item, job->panels, job->scratch + thread * job->plan.thread_bytes, begin, end);
}

static CASTOFF_UNUSED void G(run)(const G(args) *args, castoff_pool *pool, void *scratch) {
    int64_t batch = 1;
    for (int32_t axis = 0; axis < args->batch_rank; axis++) batch *= args->batch_axes[axis].size;
    if (batch == 0 || args->m == 0 || args->n == 0) return;
    const int threads = castoff_pool_threads(pool);
    G(job) job = {.args = args, .scratch = (char *)scratch};
    job.plan = G(make_plan)(batch, args->m, args->n, args->k, !args->b_packed, threads);
    const int64_t work = args->m * args->n * (args->k + 1), enough = 1 << 17;
    if (job.plan.by_batch) {
        castoff_parallel_for(pool, batch, castoff_ceil_div(enough, work), G(items), &job);
        return;
    }
    job.panels = (ELEMENT *)(void *)(job.scratch + job.plan.thread_bytes * threads);
    const int64_t blocks = job.plan.row_blocks * job.plan.col_blocks;
#if PACKS
    int64_t packed = -1;
#endif
    for (job.item = 0; job.item < batch; job.item++) {
#if PACKS
        const int64_t b = G(locate)(args, job.item).b;
        if (job.plan.pack_b && (job.item == 0 || b != packed))
            castoff_parallel_for(pool, castoff_ceil_div(args->n, 16), castoff_ceil_div(enough / 8, 16 * (args->k + 1)),
                                 G(panels), &job);
        packed = b;
#endif
        castoff_parallel_for(pool, blocks, castoff_ceil_div(enough * blocks, work), G(blocks), &job);
    }
}

#undef N
#undef G
#undef ELEMENT
#undef STEP
#undef TILE
#undef SUM
#undef SUM_BYTES
#undef MULTIPLIES_FLOATS
#undef PACKS
