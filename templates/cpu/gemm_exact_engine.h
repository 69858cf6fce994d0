/* gemm_exact_engine.h - the body of one product of gemm_exact.h, which includes it once per type.
 *
 * Expects G(name), T (element), PART (its scalar), WIDE (what a PART is summed in), PARTS (scalars of an element: 1, or 2
 * where they are real and imaginary); undefined again at the end.
 */

typedef void (*G(epilogue))(const void *context, const T *tile, int64_t tile_stride, int64_t row0, int64_t col0,
                            int64_t rows, int64_t cols, int64_t batch);

typedef struct {
    int64_t m, n, k;
    const T *a;
    int64_t a_row, a_col;
    const T *b;
    int64_t b_row, b_col;
    int32_t batch_rank;
    const castoff_gemm_axis *batch_axes;
    T *c;
    int64_t c_row;
    G(epilogue) epilogue;
    const void *epilogue_context;
} G(args);

typedef struct {
    const G(args) *args;
    char *scratch;
    int64_t thread_bytes;
} G(job);

static CASTOFF_UNUSED int64_t G(scratch)(int64_t batch, int64_t m, int64_t n, int64_t k, int b_is_packed, int threads) {
    (void)batch, (void)m, (void)n, (void)b_is_packed;
    return castoff_round_up(k * CASTOFF_PANEL * PARTS * (int64_t)sizeof(WIDE), 64) * threads;
}

/* Up to 4 rows of a by one panel, [k][part][16]. */
static CASTOFF_UNUSED void G(kernel)(const G(args) *args, const T *a, int64_t rows, const WIDE *panel, T *tile) {
    WIDE sum[PARTS][4][CASTOFF_PANEL] = {{{0}}};
    for (int64_t k = 0; k < args->k; k++, panel += PARTS * CASTOFF_PANEL)
        for (int64_t i = 0; i < rows; i++) {
            const PART *x = (const PART *)(const void *)(a + i * args->a_row + k * args->a_col);
#if PARTS == 1
            const WIDE scalar = (WIDE)x[0];
            for (int j = 0; j < CASTOFF_PANEL; j++) sum[0][i][j] += scalar * panel[j];
#else
            const WIDE real = x[0], imaginary = x[1];
            for (int j = 0; j < CASTOFF_PANEL; j++) {
                sum[0][i][j] += real * panel[j] - imaginary * panel[CASTOFF_PANEL + j];
                sum[1][i][j] += real * panel[CASTOFF_PANEL + j] + imaginary * panel[j];
            }
#endif
        }
    PART *out = (PART *)(void *)tile;
    for (int64_t i = 0; i < rows; i++)
        for (int j = 0; j < CASTOFF_PANEL; j++)
            for (int part = 0; part < PARTS; part++)
                out[(i * CASTOFF_PANEL + j) * PARTS + part] = (PART)sum[part][i][j];
}

/* Work items are panels of 16 columns, batch by batch. */
static CASTOFF_UNUSED void G(body)(void *context, int64_t begin, int64_t end, int thread) {
    const G(job) *job = (const G(job) *)context;
    const G(args) *args = job->args;
    WIDE *panel = (WIDE *)(void *)(job->scratch + thread * job->thread_bytes);
    const int64_t panels = castoff_ceil_div(args->n, CASTOFF_PANEL);
    for (int64_t index = begin; index < end; index++) {
        const int64_t batch = index / panels, col = index % panels * CASTOFF_PANEL;
        const int64_t cols = castoff_min_i64(CASTOFF_PANEL, args->n - col);
        const T *a = args->a, *b = args->b;
        T *c = args->c;
        for (int64_t axis = args->batch_rank - 1, item = batch; axis >= 0; axis--) {
            const castoff_gemm_axis *x = args->batch_axes + axis;
            a += item % x->size * x->a;
            b += item % x->size * x->b;
            if (c) c += item % x->size * x->c;
            item /= x->size;
        }
        for (int64_t k = 0; k < args->k; k++)
            for (int part = 0; part < PARTS; part++)
                for (int64_t j = 0; j < CASTOFF_PANEL; j++) {
                    const T *from = b + k * args->b_row + (col + (j < cols ? j : 0)) * args->b_col;
                    panel[(k * PARTS + part) * CASTOFF_PANEL + j] = (WIDE)((const PART *)(const void *)from)[part];
                }
        for (int64_t row = 0; row < args->m; row += 4) {
            const int64_t rows = castoff_min_i64(4, args->m - row);
            T tile[4 * CASTOFF_PANEL];
            G(kernel)(args, a + row * args->a_row, rows, panel, tile);
            if (args->epilogue)
                args->epilogue(args->epilogue_context, tile, CASTOFF_PANEL, row, col, rows, cols, batch);
            else
                for (int64_t i = 0; i < rows; i++)
                    memcpy(c + (row + i) * args->c_row + col, tile + i * CASTOFF_PANEL, (size_t)cols * sizeof(T));
        }
    }
}

static CASTOFF_UNUSED void G(run)(const G(args) *args, castoff_pool *pool, void *scratch) {
    G(job) job = {args, (char *)scratch, G(scratch)(1, 1, 1, args->k, 0, 1)};
    int64_t batch = 1;
    for (int32_t axis = 0; axis < args->batch_rank; axis++) batch *= args->batch_axes[axis].size;
    if (args->m == 0 || args->n == 0) return;
    castoff_parallel_for(pool, batch * castoff_ceil_div(args->n, CASTOFF_PANEL),
                         castoff_ceil_div(1 << 14, args->m * (args->k + 1)), G(body), &job);
}

#undef G
#undef T
#undef PART
#undef WIDE
#undef PARTS
