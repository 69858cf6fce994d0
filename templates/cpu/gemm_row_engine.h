/* gemm_row_engine.h - the part of gemm_engine.h that computes, for units whose products have one row and a packed right
 * operand: a small fraction of the code to compile.
 *
 * Every element of C is the same chain of fused multiply-adds as there. Cuts are of rows, or of a depth that few rows do
 * not reach, and change nothing here.
 */

#ifndef CASTOFF_ROW_COLUMNS
#define CASTOFF_ROW_COLUMNS 128 /* what a thread takes at once */
#endif

/* out[j] = relu(start[j] + a b[, j]) for `vectors` vectors; start is NULL for zeros. */
CASTOFF_INLINE void G(row_tile)(const int vectors, int64_t k, const E *a, int64_t a_col, const S *b, int64_t panel,
                                const E *start, int32_t relu, E *out) {
    V acc[8];
    CASTOFF_UNROLL for (int j = 0; j < vectors; j++) acc[j] = start ? LOAD_E(start + j * LANES) : SPLAT(0);
    CASTOFF_NO_UNROLL for (; k > 0; k--) {
        const V x = SPLAT(*a);
        CASTOFF_UNROLL for (int j = 0; j < vectors; j++)
            acc[j] = FMA(x, LOAD_S(b + j * LANES / CASTOFF_PANEL * panel + j * LANES % CASTOFF_PANEL), acc[j]);
        a += a_col;
        b += CASTOFF_PANEL;
    }
    CASTOFF_UNROLL for (int j = 0; j < vectors; j++) STORE_E(out + j * LANES, relu ? RELU(acc[j]) : acc[j]);
}

/* Columns [col, end) of one product. Columns of b past the last, up to a whole vector, are read and dropped. */
static CASTOFF_UNUSED void G(run_columns)(const G(args) *args, const G(operands) *o, const E *a, int64_t a_col, int64_t item,
                                          int64_t col, int64_t end) {
    E buffer[8 * LANES] __attribute__((aligned(64))), start[8 * LANES];
    const int64_t panel = args->k * CASTOFF_PANEL;
    for (int64_t vectors, cols; col < end; col += cols) {
        for (vectors = 8; vectors > castoff_ceil_div(end - col, LANES);) vectors /= 2;
        cols = castoff_min_i64(vectors * LANES, end - col);
        const int is_whole = cols == vectors * LANES, in_place = is_whole && !args->epilogue;
        const S *b = o->b + col / CASTOFF_PANEL * panel + col % CASTOFF_PANEL;
        const E *from = args->bias_col ? args->bias_col + col : 0;
        E *out = in_place ? o->c + col : buffer;
        if (args->bias_row) {
            for (int64_t j = 0; j < cols; j++) start[j] = args->bias_row[0];
            from = start;
        } else if (from && !is_whole) {
            memcpy(start, from, (size_t)cols * sizeof(E));
            from = start;
        }
        switch (vectors) {
            case 8: G(row_tile)(8, args->k, a, a_col, b, panel, from, args->relu, out); break;
            case 4: G(row_tile)(4, args->k, a, a_col, b, panel, from, args->relu, out); break;
            case 2: G(row_tile)(2, args->k, a, a_col, b, panel, from, args->relu, out); break;
            default: G(row_tile)(1, args->k, a, a_col, b, panel, from, args->relu, out);
        }
        if (args->epilogue)
            args->epilogue(args->epilogue_context, out, vectors * LANES, 0, col, 1, cols, item);
        else if (!in_place)
            memcpy(o->c + col, out, (size_t)cols * sizeof(E));
    }
}

typedef struct {
    const G(args) *args;
    char *scratch;
} G(job);

/* A row of a in E, where S is another type. */
CASTOFF_INLINE int64_t G(copy_bytes)(int64_t k) { return SAME ? 0 : castoff_round_up(k * (int64_t)sizeof(E), 64); }

/* Blocks of columns of all products of the batch, one product after the other. */
static CASTOFF_UNUSED void G(columns_body)(void *context, int64_t begin, int64_t end, int thread) {
    const G(job) *job = (const G(job) *)context;
    const G(args) *args = job->args;
    const int64_t blocks = castoff_ceil_div(args->n, CASTOFF_ROW_COLUMNS);
    E *copy = (E *)(void *)(job->scratch + thread * G(copy_bytes)(args->k));
    const S *copied = 0;
    for (int64_t index = begin; index < end; index++) {
        const int64_t item = index / blocks, col = index % blocks * CASTOFF_ROW_COLUMNS;
        const G(operands) o = G(locate)(args, item);
        if (!SAME && o.a != copied)
            for (int64_t p = 0; p < args->k; p++) copy[p] = WIDEN(o.a[p * args->a_col]);
        copied = o.a;
        G(run_columns)(args, &o, SAME ? (const E *)(const void *)o.a : copy, SAME ? args->a_col : 1, item, col,
                       castoff_min_i64(col + CASTOFF_ROW_COLUMNS, args->n));
    }
}

static CASTOFF_UNUSED int64_t G(scratch)(int64_t batch, int64_t m, int64_t n, int64_t k, int b_is_packed, int threads) {
    (void)batch, (void)m, (void)n, (void)b_is_packed;
    return G(copy_bytes)(k) * threads;
}

static CASTOFF_UNUSED int64_t G(scratch_cut)(int64_t batch, int64_t m, int64_t n, int64_t k, int b_is_packed, int threads,
                                             castoff_gemm_cut cut) {
    (void)cut;
    return G(scratch)(batch, m, n, k, b_is_packed, threads);
}

static CASTOFF_UNUSED void G(run)(const G(args) *args, castoff_pool *pool, void *scratch) {
    int64_t batch = 1;
    for (int32_t axis = 0; axis < args->batch_rank; axis++) batch *= args->batch_axes[axis].size;
    if (batch == 0 || args->m == 0 || args->n == 0) return;
    G(job) job = {.args = args, .scratch = (char *)scratch};
    const int64_t work = castoff_min_i64(args->n, CASTOFF_ROW_COLUMNS) * (args->k + 1);
    castoff_parallel_for(pool, batch * castoff_ceil_div(args->n, CASTOFF_ROW_COLUMNS), castoff_ceil_div(1 << 16, work),
                         G(columns_body), &job);
}
