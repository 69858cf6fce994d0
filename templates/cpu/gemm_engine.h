/* gemm_engine.h - the body of one product kernel family; gemm.h includes it once per type and documents the result.
 *
 * Expects: G(name), E (accumulator and output), S (storage of a and b), V (vector of E), LANES, LOAD_E, STORE_E,
 * LOAD_S (LANES of S widened to V), WIDEN (S to E), SPLAT, FMA, RELU, SUM, SAME (1 where S is E), PACK_PANELS.
 * Every name is undefined again at the end.
 *
 * Each element of C is one chain of fused multiply-adds over k in ascending order (within blocks of kc where k is
 * split), so tile shapes and the cutting among threads never show in the bits.
 */

typedef void (*G(epilogue))(const void *context, const E *tile, int64_t tile_stride, int64_t row0, int64_t col0,
                            int64_t rows, int64_t cols, int64_t batch);

typedef struct {
    int64_t m, n, k;
    const S *a;
    int64_t a_row, a_col;
    const S *b;
    int64_t b_row, b_col;
    const S *b_packed;
    int32_t batch_rank;
    const castoff_gemm_axis *batch_axes;
    E *c;
    int64_t c_row;
    const E *bias_row, *bias_col;
    int32_t relu;
    G(epilogue) epilogue;
    const void *epilogue_context;
    castoff_gemm_cut cut;
} G(args);

/* One product of the batch. */
typedef struct {
    const S *a, *b;
    E *c;
} G(operands);

static CASTOFF_UNUSED G(operands) G(locate)(const G(args) *args, int64_t item) {
    G(operands) o = {args->a, args->b_packed ? args->b_packed : args->b, args->c};
    for (int32_t axis = args->batch_rank - 1; axis >= 0; axis--) {
        const castoff_gemm_axis *x = args->batch_axes + axis;
        const int64_t index = item % x->size;
        item /= x->size;
        o.a += index * x->a;
        o.b += index * x->b;
        if (o.c) o.c += index * x->c;
    }
    return o;
}

#if CASTOFF_GEMM_MOST_ROWS <= 1 && CASTOFF_GEMM_IS_PACKED
#include "gemm_row_engine.h"
#else

/* Where finished tiles go. */
typedef struct {
    E *c;
    int64_t c_row;
    const E *bias_row, *bias_col;
    int32_t relu;
    G(epilogue) epilogue;
    const void *epilogue_context;
    int64_t batch;
} G(sink);

/* What one call of a register tile computes: out[mr, width] = relu(start + a b). The sums start from the vectors at
 * start + i * start_row + j * start_col, or from start_rows[i]; either may be NULL. */
typedef struct {
    int64_t k;
    const E *a;
    int64_t a_row, a_col;
    const S *b;
    int64_t b_step, b_panel;
    E *out;
    int64_t out_row;
    const E *start, *start_rows;
    int64_t start_row, start_col;
    const char *ahead; /* what is read later, asked for ahead_step bytes a step of k */
    int64_t ahead_step;
    int32_t relu;
} G(tile);

CASTOFF_INLINE void G(kernel)(const G(tile) *t, const int mr, const int vectors) {
    V acc[CASTOFF_MR][8];
    const E *a[(CASTOFF_MR + 2) / 3];
    const int64_t a_row = t->a_row, a_col = t->a_col, b_step = t->b_step, b_panel = t->b_panel;
    const S *b = t->b;
    if (t->start)
        CASTOFF_UNROLL for (int i = 0; i < mr; i++)
            CASTOFF_UNROLL for (int j = 0; j < vectors; j++)
                acc[i][j] = LOAD_E(t->start + i * t->start_row + j * t->start_col);
    else
        CASTOFF_UNROLL for (int i = 0; i < mr; i++)
            CASTOFF_UNROLL for (int j = 0; j < vectors; j++) acc[i][j] = SPLAT(t->start_rows ? t->start_rows[i] : 0);
    CASTOFF_UNROLL for (int i = 0; i < mr; i += 3) a[i / 3] = t->a + i * a_row;
    const char *ahead = t->ahead;
    const int64_t ahead_step = t->ahead_step;
    CASTOFF_NO_UNROLL for (int64_t k = t->k; k > 0; k--) {
        V column[8];
        CASTOFF_UNROLL for (int j = 0; j < vectors; j++)
            column[j] = LOAD_S(b + j * LANES / CASTOFF_PANEL * b_panel + j * LANES % CASTOFF_PANEL);
        CASTOFF_UNROLL for (int i = 0; i < mr; i++) {
            const V x = SPLAT(a[i / 3][i % 3 * a_row]);
            CASTOFF_UNROLL for (int j = 0; j < vectors; j++) acc[i][j] = FMA(x, column[j], acc[i][j]);
        }
        CASTOFF_UNROLL for (int i = 0; i < mr; i += 3) a[i / 3] += a_col;
        b += b_step;
        __builtin_prefetch(ahead, 0, 2);
        ahead += ahead_step;
    }
    if (t->relu)
        CASTOFF_UNROLL for (int i = 0; i < mr; i++)
            CASTOFF_UNROLL for (int j = 0; j < vectors; j++) acc[i][j] = RELU(acc[i][j]);
    CASTOFF_UNROLL for (int i = 0; i < mr; i++)
        CASTOFF_UNROLL for (int j = 0; j < vectors; j++) STORE_E(t->out + i * t->out_row + j * LANES, acc[i][j]);
}

#define CASE(mr, vectors) \
    case mr: if (mr <= CASTOFF_GEMM_MOST_ROWS) G(kernel)(t, mr, vectors); break;
CASTOFF_NOINLINE void G(tile1)(const G(tile) *t, int mr) {
    switch (mr) {
        CASE(1, 1) CASE(2, 1) CASE(4, 1) CASE(6, 1)
#if CASTOFF_MR > 6
        CASE(8, 1) CASE(14, 1)
#endif
    }
}
CASTOFF_NOINLINE void G(tile2)(const G(tile) *t, int mr) {
    switch (mr) {
        CASE(1, 2) CASE(2, 2) CASE(4, 2) CASE(5, 2) CASE(6, 2)
#if CASTOFF_MR > 6
        CASE(7, 2) CASE(8, 2) CASE(9, 2) CASE(10, 2) CASE(11, 2) CASE(12, 2) CASE(13, 2) CASE(14, 2)
#endif
    }
}
CASTOFF_NOINLINE void G(tile4)(const G(tile) *t, int mr) {
    switch (mr) {
        CASE(1, 4) CASE(2, 4) CASE(3, 4)
#if CASTOFF_MR4 > 3
        CASE(4, 4) CASE(5, 4) CASE(6, 4)
#endif
    }
}
CASTOFF_NOINLINE void G(tile8)(const G(tile) *t, int mr) {
    switch (mr) {
        CASE(1, 8)
#if CASTOFF_MR8 > 1
        CASE(2, 8) CASE(3, 8)
#endif
    }
}
#undef CASE

/* A tile of any height: the heights that have no kernel of their own are made of those that have. */
CASTOFF_INLINE void G(run_tile)(const G(tile) *given, int64_t height, int64_t vectors) {
    /* Bit h: there is a kernel of h rows, one and two vectors wide. */
    const unsigned one = CASTOFF_MR > 6 ? 0x4156 : 0x56, two = CASTOFF_MR > 6 ? 0x7ff6 : 0x76;
    if (vectors == 8) {
        G(tile8)(given, (int)height);
    } else if (vectors == 4) {
        G(tile4)(given, (int)height);
    } else if (vectors == 2 && (two >> height & 1)) {
        G(tile2)(given, (int)height);
    } else {
        G(tile) t = *given;
        for (int64_t rows; height > 0; height -= rows) {
            rows = height;
            while (!((vectors == 2 ? two : one) >> rows & 1)) rows--;
            if (vectors == 2)
                G(tile2)(&t, (int)rows);
            else
                G(tile1)(&t, (int)rows);
            t.a += rows * t.a_row;
            t.out += rows * t.out_row;
            if (t.start) t.start += rows * t.start_row;
            if (t.start_rows) t.start_rows += rows;
        }
    }
}

/* A finished tile that does not lie in C yet: through the epilogue, or bias, relu and a copy. */
static CASTOFF_UNUSED void G(emit)(const G(sink) *sink, const E *tile, int64_t stride, int64_t row0, int64_t col0,
                                   int64_t rows, int64_t cols) {
    if (sink->epilogue) {
        sink->epilogue(sink->epilogue_context, tile, stride, row0, col0, rows, cols, sink->batch);
        return;
    }
    for (int64_t i = 0; i < rows; i++) {
        const E row_bias = sink->bias_row ? sink->bias_row[row0 + i] : 0;
        const E *col_bias = sink->bias_col ? sink->bias_col + col0 : 0, *in = tile + i * stride;
        E *out = sink->c + (row0 + i) * sink->c_row + col0;
        int64_t j = 0;
        for (; j + LANES <= cols; j += LANES) {
            V x = LOAD_E(in + j) + SPLAT(row_bias);
            if (col_bias) x += LOAD_E(col_bias + j);
            STORE_E(out + j, sink->relu ? RELU(x) : x);
        }
        for (; j < cols; j++) {
            E x = in[j] + row_bias;
            if (col_bias) x += col_bias[j];
            out[j] = sink->relu && x < 0 ? 0 : x;
        }
    }
}

/* One block on one thread; how `a` lies is one of castoff_rows. Rows are cut into tiles of equal height (see
 * castoff_tiles), those of panels into tiles that divide a panel. Columns of b past the last, up to a whole vector, are
 * read and dropped. */
typedef struct {
    int64_t rows, cols, k;
    const E *a;
    int64_t a_row, a_col;
    castoff_rows a_layout;
    const S *b;
    int64_t b_step, b_panel;
    int64_t row0, col0;
    const E *sums; /* NULL, or what the tiles begin from in place of the bias: element (i, j) at sums[i * sums_row + j], */
    int64_t sums_row; /* in whole vectors */
    int64_t tile_rows; /* at most, or 0 */
    const char *ahead; /* NULL for what follows in b, or what is read after this block, */
    int64_t ahead_bytes;
} G(block);

static CASTOFF_UNUSED void G(run_block)(const G(block) *g, const G(sink) *sink) {
    E buffer[CASTOFF_TILE_ELEMENTS] __attribute__((aligned(64))), bias[8 * LANES];
    G(sink) finished = *sink;
    finished.bias_row = finished.bias_col = 0;
    finished.relu = 0;
    const int64_t most = g->tile_rows ? castoff_min_i64(g->tile_rows, CASTOFF_MR) : CASTOFF_MR;
    const castoff_tiles tiles = castoff_cut_rows(g->rows, g->a_layout, most);
    const int64_t tile_count = castoff_ceil_div(g->rows - tiles.taller, tiles.height);
    const int64_t tallest = tiles.height + (tiles.taller > 0);
    const int64_t widest = tallest <= CASTOFF_MR8 ? 8 : tallest <= CASTOFF_MR4 ? 4 : 2;
    G(tile) t = {.k = g->k, .b_step = g->b_step, .b_panel = g->b_panel, .start_col = LANES};
    for (int64_t col = 0; col < g->cols;) {
        const int64_t left = castoff_ceil_div(g->cols - col, LANES);
        int64_t vectors = widest;
        while (vectors > left) vectors /= 2;
        const int64_t width = vectors * LANES, cols = castoff_min_i64(width, g->cols - col);
        const int in_place = sink->epilogue == 0 && cols == width;
        t.b = g->b + col / CASTOFF_PANEL * g->b_panel + col % CASTOFF_PANEL;
        t.out = buffer;
        t.out_row = width;
        t.relu = sink->relu;
        t.start = sink->bias_col ? sink->bias_col + g->col0 + col : 0;
        t.start_row = 0;
        /* The first row tile waits for its part of b; while the others go by, the next part is fetched. */
        const int follows = g->b_step == CASTOFF_PANEL && (width == CASTOFF_PANEL || g->b_panel == g->k * CASTOFF_PANEL);
        const int fetches = (follows || g->ahead) && tile_count > 1;
        const int64_t bytes = g->ahead ? castoff_ceil_div(g->ahead_bytes, g->k) : width * (int64_t)sizeof(S); /* a step of k */
        const int64_t ahead_step = fetches ? castoff_min_i64(64, castoff_ceil_div(bytes, tile_count - 1)) : 0;
        const char *next = g->ahead ? g->ahead : (const char *)(t.b + width / CASTOFF_PANEL * g->b_panel);
        if (sink->bias_col && !in_place) {
            memcpy(bias, t.start, (size_t)cols * sizeof(E));
            t.start = bias;
        }
        for (int64_t i = 0, row = 0; row < g->rows; i++) {
            const int64_t mr = castoff_min_i64(tiles.height + (i < tiles.taller), g->rows - row);
            if (g->a_layout == CASTOFF_ROWS_STRIDED) {
                t.a = g->a + row * g->a_row;
                t.a_row = g->a_row;
                t.a_col = g->a_col;
            } else {
                t.a_row = 1;
                t.a = g->a + row * g->k;
                t.a_col = mr;
                if (g->a_layout == CASTOFF_ROWS_PANELS) {
                    t.a = g->a + row / CASTOFF_PANEL * CASTOFF_PANEL * g->k + row % CASTOFF_PANEL;
                    t.a_col = CASTOFF_PANEL;
                }
            }
            if (in_place) {
                t.out = sink->c + (g->row0 + row) * sink->c_row + g->col0 + col;
                t.out_row = sink->c_row;
            }
            if (g->sums) {
                t.start = g->sums + row * g->sums_row + col;
                t.start_row = g->sums_row;
            }
            t.start_rows = sink->bias_row ? sink->bias_row + g->row0 + row : 0;
            t.ahead = fetches && i > 0 ? next + (i - 1) * g->k * ahead_step : (const char *)t.b;
            t.ahead_step = fetches && i > 0 ? ahead_step : 0;
            G(run_tile)(&t, mr, vectors);
            if (!in_place) G(emit)(&finished, buffer, width, g->row0 + row, g->col0 + col, mr, cols);
            row += mr;
        }
        col += width;
    }
}

#if SAME
/* The dot products of what whole vectors leave of k, added to sums. */
CASTOFF_NOINLINE void G(add_rest)(int mr, int nr, int64_t k, const E *a, int64_t a_row, const E *b, int64_t b_col, E *out,
                                  int64_t out_row) {
    for (int i = 0; i < mr; i++)
        for (int j = 0; j < nr; j++) {
            E sum = out[i * out_row + j];
            for (int64_t p = 0; p < k; p++) sum += a[i * a_row + p] * b[j * b_col + p];
            out[i * out_row + j] = sum;
        }
}

/* Dot products of contiguous rows of a and columns of b: the form for few rows or few columns. */
CASTOFF_INLINE void G(dots)(const int mr, const int nr, int64_t k, const E *a, int64_t a_row, const E *b, int64_t b_col,
                            E *out, int64_t out_row) {
    V acc[2][8];
    CASTOFF_UNROLL for (int i = 0; i < mr; i++)
        CASTOFF_UNROLL for (int j = 0; j < nr; j++) acc[i][j] = SPLAT(0);
    int64_t p = 0;
    CASTOFF_NO_UNROLL for (; p + LANES <= k; p += LANES) {
        V x[2];
        CASTOFF_UNROLL for (int i = 0; i < mr; i++) x[i] = LOAD_E(a + i * a_row + p);
        CASTOFF_UNROLL for (int j = 0; j < nr; j++) {
            const V y = LOAD_E(b + j * b_col + p);
            CASTOFF_UNROLL for (int i = 0; i < mr; i++) acc[i][j] = FMA(x[i], y, acc[i][j]);
        }
    }
    CASTOFF_UNROLL for (int i = 0; i < mr; i++)
        CASTOFF_UNROLL for (int j = 0; j < nr; j++) {
            out[i * out_row + j] = SUM(acc[i][j]);
        }
    if (p < k) G(add_rest)(mr, nr, k - p, a + p, a_row, b + p, b_col, out, out_row);
}

CASTOFF_NOINLINE void G(run_dots)(int64_t rows, int64_t cols, int64_t k, const E *a, int64_t a_row, const E *b,
                                  int64_t b_col, int64_t row0, int64_t col0, const G(sink) *sink) {
    E buffer[2 * 64] __attribute__((aligned(64)));
    for (int64_t col = 0; col < cols; col += 64) {
        const int64_t width = castoff_min_i64(64, cols - col);
        for (int64_t row = 0; row < rows; row += 2) {
            const int64_t height = castoff_min_i64(2, rows - row);
            const E *x = a + row * a_row, *y = b + col * b_col;
            int64_t j = 0;
            if (height == 2) {
                for (; j + 4 <= width; j += 4) G(dots)(2, 4, k, x, a_row, y + j * b_col, b_col, buffer + j, 64);
                for (; j < width; j++) G(dots)(2, 1, k, x, a_row, y + j * b_col, b_col, buffer + j, 64);
            } else {
                for (; j + 8 <= width; j += 8) G(dots)(1, 8, k, x, a_row, y + j * b_col, b_col, buffer + j, 64);
                for (; j < width; j++) G(dots)(1, 1, k, x, a_row, y + j * b_col, b_col, buffer + j, 64);
            }
            G(emit)(sink, buffer, 64, row0 + row, col0 + col, height, width);
        }
    }
}
#endif

/* How a product is cut: a function of shape and threads. kc is one of shape alone. */
typedef struct {
    int64_t mc, nc, kc, batch;
    int32_t threads, by_batch, pack_b;
    int64_t a_bytes, sum_bytes, b_bytes, thread_bytes; /* scratch */
} G(plan);

static CASTOFF_UNUSED G(plan) G(make_plan)(int64_t batch, int64_t m, int64_t n, int64_t k, int pack_b, int threads,
                                            castoff_gemm_cut cut) {
    G(plan) p;
    const int64_t size = (int64_t)sizeof(E);
    p.threads = threads;
    p.batch = batch;
    p.pack_b = pack_b;
    p.by_batch = batch >= threads;
    const int64_t depth = cut.depth ? cut.depth : m > CASTOFF_MR && k > CASTOFF_KC_MAX ? CASTOFF_KC : k;
    p.kc = depth < k ? castoff_ceil_div(k, castoff_ceil_div(k, depth)) : k;
    p.mc = castoff_max_i64(CASTOFF_LEAST_ROWS, CASTOFF_L2_BYTES * 3 / 8 / (size * castoff_max_i64(p.kc, 1)));
    if (cut.rows) p.mc = cut.rows;
    p.mc = castoff_max_i64(1, castoff_ceil_div(m, castoff_max_i64(1, castoff_ceil_div(m, p.mc)))); /* m may be 0 */
    p.nc = castoff_max_i64(256, CASTOFF_L3_BYTES / 4 / (size * castoff_max_i64(p.kc, 1)) / 128 * 128);
    if (!p.by_batch) {
        const int64_t wanted = 4 * threads;
        while (p.nc > 128 && castoff_ceil_div(m, p.mc) * castoff_ceil_div(n, p.nc) < wanted)
            p.nc = castoff_max_i64(128, castoff_round_up(p.nc < n ? p.nc / 2 : n / 2, 64));
        while (p.mc > CASTOFF_MR && castoff_ceil_div(m, p.mc) * castoff_ceil_div(n, p.nc) < threads)
            p.mc = castoff_max_i64(CASTOFF_MR, castoff_round_up(p.mc / 2, CASTOFF_MR));
    }
    p.a_bytes = castoff_round_up((p.mc + 1) * (castoff_round_up(p.kc, 16) + 16) * size, 64);
    p.sum_bytes = p.kc < k ? p.mc * CASTOFF_SUM_COLUMNS * size : 0;
    p.b_bytes = castoff_round_up((pack_b ? castoff_panels_size(k, n) : 0) * (int64_t)sizeof(S), 64);
    p.thread_bytes = p.a_bytes + p.sum_bytes + (p.by_batch ? p.b_bytes : 0);
    return p;
}

static CASTOFF_UNUSED int64_t G(scratch_cut)(int64_t batch, int64_t m, int64_t n, int64_t k, int b_is_packed, int threads,
                                             castoff_gemm_cut cut) {
    const G(plan) p = G(make_plan)(batch, m, n, k, !b_is_packed, threads, cut);
    return p.thread_bytes * threads + p.b_bytes;
}

static CASTOFF_UNUSED int64_t G(scratch)(int64_t batch, int64_t m, int64_t n, int64_t k, int b_is_packed, int threads) {
    return G(scratch_cut)(batch, m, n, k, b_is_packed, threads, (castoff_gemm_cut){0, 0, 0});
}

typedef struct {
    const G(args) *args;
    G(plan) plan;
    char *scratch;
    int64_t item; /* of the batch, where it is not split */
    S *panels;    /* of that item */
} G(job);

/* Rows of a into contiguous rows of E whose stride is no multiple of a power of two that caches alias on; where the
 * columns of a are the contiguous ones, into [k][rows]. */
static CASTOFF_UNUSED void G(copy_rows)(E *out, const S *a, int64_t a_row, int64_t a_col, int64_t rows, int64_t k,
                                        int64_t *out_row, int64_t *out_col) {
    if (a_row == 1 && a_col != 1) {
        *out_row = 1;
        *out_col = rows;
        for (int64_t p = 0; p < k; p++)
            for (int64_t i = 0; i < rows; i++) out[p * rows + i] = WIDEN(a[p * a_col + i]);
        return;
    }
    *out_row = castoff_round_up(k, 16) + 16;
    *out_col = 1;
    for (int64_t i = 0; i < rows; i++) {
        const S *in = a + i * a_row;
        E *row = out + i * *out_row;
        if (a_col == 1)
            for (int64_t p = 0; p < k; p++) row[p] = WIDEN(in[p]);
        else
            for (int64_t p = 0; p < k; p++) row[p] = WIDEN(in[p * a_col]);
    }
}

/* Rows [row0, row1) by columns [col0, col1) of one product. */
static CASTOFF_UNUSED void G(run_range)(const G(args) *args, const G(plan) *plan, const S *a, const S *b, int64_t b_step,
                                        int64_t b_panel, const G(sink) *sink, char *scratch, int64_t row0, int64_t row1,
                                        int64_t col0, int64_t col1) {
    const int64_t rows = row1 - row0, columns_per_sum = plan->kc < args->k ? CASTOFF_SUM_COLUMNS : col1 - col0;
    const G(sink) partial = {.c = (E *)(void *)(scratch + plan->a_bytes), .c_row = CASTOFF_SUM_COLUMNS};
    E *copy = (E *)(void *)scratch;
    for (int64_t col = col0; col < col1; col += columns_per_sum) {
        const int64_t cols = castoff_min_i64(columns_per_sum, col1 - col);
        for (int64_t k0 = 0; k0 == 0 || k0 < args->k; k0 += plan->kc) {
            const int64_t k = castoff_min_i64(plan->kc, args->k - k0);
            G(block) block = {.rows = rows, .cols = cols, .k = k, .row0 = row0, .col0 = col, .tile_rows = args->cut.tile_rows,
                              .b = b + col / CASTOFF_PANEL * b_panel + k0 * b_step, .b_step = b_step, .b_panel = b_panel};
            const S *from = a + row0 * args->a_row + k0 * args->a_col;
            const int64_t row_bytes = args->a_row * (int64_t)sizeof(S) % 2048;
            const int aliased = rows > 4 && (row_bytes < 64 || row_bytes > 2048 - 64);
            if (!SAME || (cols > 64 && (args->a_col != 1 || aliased))) {
                G(copy_rows)(copy, from, args->a_row, args->a_col, rows, k, &block.a_row, &block.a_col);
                block.a = copy;
            } else {
                block.a = (const E *)(const void *)from;
                block.a_row = args->a_row;
                block.a_col = args->a_col;
            }
            if (k0 > 0) {
                block.sums = partial.c;
                block.sums_row = partial.c_row;
            }
            if (k0 + k < args->k) {
                G(sink) to_sums = partial;
                if (k0 == 0) {
                    to_sums.bias_row = sink->bias_row ? sink->bias_row + row0 : 0;
                    to_sums.bias_col = sink->bias_col ? sink->bias_col + col : 0;
                }
                block.row0 = block.col0 = 0;
                G(run_block)(&block, &to_sums);
            } else {
                G(run_block)(&block, sink);
            }
            if (args->k == 0) break;
        }
    }
}

/* One product, its row blocks [first, last) by column blocks in row-block-minor order, on one thread. */
static CASTOFF_UNUSED void G(run_blocks)(const G(args) *args, const G(plan) *plan, int64_t item, S *panels, char *scratch,
                                         int64_t first, int64_t last) {
    const G(operands) o = G(locate)(args, item);
    const G(sink) sink = {o.c, args->c_row, args->bias_row, args->bias_col, args->relu, args->epilogue,
                          args->epilogue_context, item};
    const int64_t m_blocks = castoff_ceil_div(args->m, plan->mc), panel = args->k * CASTOFF_PANEL;
    for (int64_t index = first; index < last; index++) {
        const int64_t row0 = index % m_blocks * plan->mc, row1 = castoff_min_i64(row0 + plan->mc, args->m);
        const int64_t col0 = index / m_blocks * plan->nc, col1 = castoff_min_i64(col0 + plan->nc, args->n);
        if (CASTOFF_GEMM_IS_PACKED || args->b_packed) {
            G(run_range)(args, plan, o.a, o.b, CASTOFF_PANEL, panel, &sink, scratch, row0, row1, col0, col1);
        } else if (panels) {
            G(run_range)(args, plan, o.a, panels, CASTOFF_PANEL, panel, &sink, scratch, row0, row1, col0, col1);
#if SAME
        } else if (args->b_col != 1) {
            G(run_dots)(row1 - row0, col1 - col0, args->k, o.a + row0 * args->a_row, args->a_row, o.b + col0 * args->b_col,
                        args->b_col, row0, col0, &sink);
#endif
        } else {
            const int64_t whole = castoff_max_i64(col0, col1 / CASTOFF_PANEL * CASTOFF_PANEL);
            if (whole > col0)
                G(run_range)(args, plan, o.a, o.b, args->b_row, CASTOFF_PANEL, &sink, scratch, row0, row1, col0, whole);
            if (col1 > whole) {
                S *tail = (S *)(void *)(scratch + plan->a_bytes + plan->sum_bytes);
                PACK_PANELS(tail, args->k, col1 - whole, o.b + whole, args->b_row, 1, 0, 1);
                G(run_range)(args, plan, o.a, tail, CASTOFF_PANEL, 0, &sink, scratch, row0, row1, whole, col1);
            }
        }
    }
}

static CASTOFF_UNUSED void G(items_body)(void *context, int64_t begin, int64_t end, int thread) {
    const G(job) *job = (const G(job) *)context;
    const G(args) *args = job->args;
    const G(plan) *plan = &job->plan;
    char *scratch = job->scratch + thread * plan->thread_bytes;
    S *panels = !CASTOFF_GEMM_IS_PACKED && plan->pack_b ? (S *)(void *)(scratch + plan->a_bytes + plan->sum_bytes) : 0;
    const S *packed = 0;
    const int64_t blocks = castoff_ceil_div(args->m, plan->mc) * castoff_ceil_div(args->n, plan->nc);
    for (int64_t item = begin; item < end; item++) {
        const S *b = G(locate)(args, item).b;
        if (panels && b != packed)
            PACK_PANELS(panels, args->k, args->n, b, args->b_row, args->b_col, 0, castoff_ceil_div(args->n, CASTOFF_PANEL));
        packed = b;
        G(run_blocks)(args, plan, item, panels, scratch, 0, blocks);
    }
}

static CASTOFF_UNUSED void G(pack_body)(void *context, int64_t begin, int64_t end, int thread) {
    const G(job) *job = (const G(job) *)context;
    const G(args) *args = job->args;
    (void)thread;
    PACK_PANELS(job->panels, args->k, args->n, G(locate)(args, job->item).b, args->b_row, args->b_col, begin, end);
}

static CASTOFF_UNUSED void G(blocks_body)(void *context, int64_t begin, int64_t end, int thread) {
    const G(job) *job = (const G(job) *)context;
    G(run_blocks)(job->args, &job->plan, job->item, job->panels, job->scratch + thread * job->plan.thread_bytes, begin,
                  end);
}

/* Is b read where it lies? Where one row tile reads it once, or it is small enough to stay in the first cache. */
static CASTOFF_UNUSED int G(reads_b_in_place)(const G(args) *args) {
    if (CASTOFF_GEMM_IS_PACKED || args->b_packed) return 1;
    if (args->b_col == 1) return args->m <= CASTOFF_MR || args->k * args->n * (int64_t)sizeof(S) <= CASTOFF_L1_BYTES / 2;
#if SAME
    return args->b_row == 1 && args->a_col == 1 && (args->m <= 6 || args->n <= 4);
#else
    return 0;
#endif
}

static CASTOFF_UNUSED void G(run)(const G(args) *args, castoff_pool *pool, void *scratch) {
    int64_t batch = 1;
    for (int32_t axis = 0; axis < args->batch_rank; axis++) batch *= args->batch_axes[axis].size;
    if (batch == 0 || args->m == 0 || args->n == 0) return;
    const int threads = castoff_pool_threads(pool);
    G(job) job = {.args = args, .scratch = (char *)scratch};
    job.plan = G(make_plan)(batch, args->m, args->n, args->k, !args->b_packed, threads, args->cut);
    job.plan.pack_b = !G(reads_b_in_place)(args);
    const int64_t work = args->m * args->n * (args->k + 1), enough = 1 << 16;
    if (job.plan.by_batch) {
        castoff_parallel_for(pool, batch, castoff_ceil_div(enough, work), G(items_body), &job);
        return;
    }
    S *shared = (S *)(void *)(job.scratch + job.plan.thread_bytes * threads);
    const S *packed = 0;
    const int64_t blocks = castoff_ceil_div(args->m, job.plan.mc) * castoff_ceil_div(args->n, job.plan.nc);
    for (job.item = 0; job.item < batch; job.item++) {
        if (!CASTOFF_GEMM_IS_PACKED && job.plan.pack_b) {
            const S *b = G(locate)(args, job.item).b;
            job.panels = shared;
            if (b != packed)
                castoff_parallel_for(pool, castoff_ceil_div(args->n, CASTOFF_PANEL),
                                     castoff_ceil_div(enough / 4, CASTOFF_PANEL * (args->k + 1)), G(pack_body), &job);
            packed = b;
        }
        castoff_parallel_for(pool, blocks, castoff_ceil_div(enough * blocks, work), G(blocks_body), &job);
    }
}

#endif

#undef G
#undef E
#undef S
#undef V
#undef LANES
#undef LOAD_E
#undef STORE_E
#undef LOAD_S
#undef WIDEN
#undef SPLAT
#undef FMA
#undef RELU
#undef SUM
#undef SAME
#undef PACK_PANELS
