/* gemm_tiles_engine.h - products of narrow types, batched and parallel: the body of gemm_bf16.h and gemm_levels.h.
 *
 * Expects what tiles_engine.h made of N(name), and G(name) with G(args), G(sink), G(make_sink)(args, offset in c, item of the
 * batch), G(emit)(sink, sums, stride, row, column, rows, columns), N(size), N(steps), N(at) and N(pack_rows); ELEMENT, STEP,
 * TILE, SUM; PACKS: whether the right operand may come unpacked (N(pack_panels)). Every name is undefined again at the end.
 */

/* One block on one thread, over all of k: row tiles times pair panels. Of the two loops over blocks of 32, the outer one
 * goes once over its operand, the inner one again and again over the other, which had better be small: rows_outside
 * says which is which. */
typedef struct {
    int64_t rows, cols, steps;
    const ELEMENT *a, *b;
    int64_t row0, col0;
    int32_t rows_outside;
} N(block);

CASTOFF_INLINE void N(run_strips)(const N(block) *g, const G(sink) *sink, SUM *sums) {
    const int64_t size = g->steps * TILE;
    castoff_tiles_begin(g->rows);
    for (int64_t col = 0; col < g->cols; col += 64) {
        N(piece) piece = {.rows = g->rows, .cols = castoff_min_i64(64, g->cols - col), .width = 64, .a_tile = size,
                                    .b_panel = size, .sums = sums};
        for (int64_t step = 0; step < g->steps; step += piece.steps, piece.add = 1) {
            piece.steps = castoff_min_i64(CASTOFF_TILE_STRIP_CHUNK, g->steps - step);
            piece.a = g->a + step * TILE;
            piece.b = g->b + col / 16 * size + step * TILE;
            N(multiply)(&piece);
        }
        G(emit)(sink, sums, 64, g->row0, g->col0 + col, g->rows, piece.cols);
    }
    castoff_tiles_end();
}

/* sums: CASTOFF_TILE_SUM_BYTES. */
static CASTOFF_UNUSED void N(run_block)(const N(block) *g, const G(sink) *sink, SUM *sums) {
    if (g->steps == 0) {
        memset(sums, 0, CASTOFF_TILE_SUMS * 4);
        for (int64_t row = 0; row < g->rows; row += 32)
            for (int64_t col = 0; col < g->cols; col += 32)
                G(emit)(sink, sums, 32, g->row0 + row, g->col0 + col, castoff_min_i64(32, g->rows - row),
                                      castoff_min_i64(32, g->cols - col));
        return;
    }
    if (g->rows <= 16) {
        N(run_strips)(g, sink, sums);
        return;
    }
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
                    N(piece) piece = {
                        .rows = castoff_min_i64(32, g->rows - row), .cols = castoff_min_i64(32, g->cols - col), .width = 32,
                        .steps = steps, .a = g->a + row / 16 * size + step * TILE,
                        .b = g->b + col / 16 * size + step * TILE, .a_tile = size, .b_panel = size,
                        .sums = steps == g->steps ? sums : sums + (j - first) * CASTOFF_TILE_SUMS, .add = step > 0};
                    /* Columns come from memory, once: a share of the next ones with each piece. */
                    if (!g->rows_outside && i + 1 < outer) {
                        piece.lines = castoff_ceil_div(32, last - first);
                        piece.ahead = (const char *)(g->b + (col / 16 + 2) * size) + (j - first) * piece.lines * g->steps * 64;
                    } else if (g->rows_outside && i == 0 && j + 1 < inner) {
                        piece.lines = 32;
                        piece.ahead = (const char *)(piece.b + 2 * size);
                    }
                    N(multiply)(&piece);
                    if (step + steps == g->steps)
                        G(emit)(sink, piece.sums, 32, g->row0 + row, g->col0 + col, piece.rows, piece.cols);
                }
            }
        }
    castoff_tiles_end();
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
    p.mc = castoff_max_i64(64, CASTOFF_TILE_L2_BYTES / 2 / tile_bytes * 16 / 32 * 32);
    p.mc = castoff_max_i64(1, castoff_min_i64(p.mc, castoff_round_up(castoff_ceil_div(m, castoff_ceil_div(castoff_max_i64(m, 1), p.mc)), 32)));
    p.nc = castoff_round_up(castoff_max_i64(n, 1), 64);
    while (!p.by_batch && p.nc > 64 && castoff_ceil_div(m, p.mc) * castoff_ceil_div(n, p.nc) < (threads > 1 ? 4 * threads : 1))
        p.nc = castoff_round_up(p.nc / 2, 64);
    p.row_blocks = castoff_ceil_div(m, p.mc);
    p.col_blocks = castoff_ceil_div(n, p.nc);
    p.a_bytes = N(size)(p.mc, k) * (int64_t)sizeof(ELEMENT);
    p.b_bytes = pack_b ? N(size)(n, k) * (int64_t)sizeof(ELEMENT) : 0;
    p.thread_bytes = CASTOFF_TILE_SUM_BYTES + p.a_bytes + (p.by_batch ? p.b_bytes : 0);
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
    ELEMENT *tiles = (ELEMENT *)(void *)(scratch + CASTOFF_TILE_SUM_BYTES);
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
    ELEMENT *panels = (ELEMENT *)(void *)(scratch + CASTOFF_TILE_SUM_BYTES + plan->a_bytes);
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
#undef PACKS
