/* attention_engine.h - the body of one attention kernel; attention.h includes it once per storage type and documents it.
 *
 * Expects A(name), S (storage of q, k, v), WIDEN (S to float), LOAD (a vector of it), SAME (1 where S is float), and where keys and
 * values may be wide ROUND (a vector of floats to S and back); undefined again at the end.
 */

typedef struct {
    int64_t batch, heads, kv_heads, queries, keys, size, value_size;
    const S *q;
    const void *k, *v;
    int32_t wide;
    int64_t q_batch, q_head, q_row, k_batch, k_head, k_row, v_batch, v_head, v_row;
    int64_t tail_keys;
    const S *k_tail, *v_tail;
    int64_t k_tail_batch, k_tail_head, k_tail_row, v_tail_batch, v_tail_head, v_tail_row;
    castoff_mask_kind mask_kind;
    const void *mask;
    int64_t mask_batch, mask_head, mask_row, mask_col;
    int32_t causal;
    int64_t causal_offset;
    float scale;
    float *out;
    int64_t out_batch, out_head, out_row;
    castoff_gemm_f32_epilogue epilogue;
    const void *epilogue_context;
} A(args);

/* Offsets in floats into a thread's scratch, and its size. */
typedef struct {
    int64_t group, columns, blocks; /* query heads per key head; of all queries that share keys; column blocks of those */
    int64_t q, scores, mask, sums, k, v, thread_floats;
} A(plan);

static CASTOFF_UNUSED A(plan) A(make_plan)(const A(args) *a) {
    const int64_t few = CASTOFF_ATTENTION_FEW, block = CASTOFF_ATTENTION_COLUMNS;
    A(plan) p = {.group = a->heads / castoff_max_i64(1, a->kv_heads)};
    p.columns = p.group * a->queries;
    p.blocks = castoff_ceil_div(p.columns, block);
    const int64_t columns = p.columns <= few ? p.columns : block;
    p.q = 0;
    p.scores = p.q + castoff_round_up(columns * a->size, 16);
    p.mask = p.scores + castoff_round_up(columns * CASTOFF_ATTENTION_KEYS, 16);
    p.sums = p.mask + castoff_round_up(columns * CASTOFF_ATTENTION_KEYS, 16);
    p.k = p.sums + castoff_round_up(columns * castoff_round_up(a->value_size, 16) * 2, 16);
    p.v = p.k + (SAME ? 0 : castoff_round_up(CASTOFF_ATTENTION_KEYS * a->size, 16));
    p.thread_floats = p.v + (SAME ? 0 : castoff_round_up(CASTOFF_ATTENTION_KEYS * a->value_size, 16)) + 16;
    return p;
}

static CASTOFF_UNUSED int64_t A(scratch)(const A(args) *a, int threads) {
    return A(make_plan)(a).thread_floats * 4 * threads;
}

typedef struct {
    const A(args) *args;
    A(plan) plan;
    float *scratch;
} A(job);

/* Rows that are read soon: so many, so far apart and so long, in bytes. */
typedef struct {
    const char *at;
    int64_t rows, step, bytes;
} A(soon);

/* Asks for one of them. All at once would be waited for: a processor asks for few lines at a time. */
CASTOFF_INLINE void A(ask)(A(soon) *soon) {
    if (soon->rows == 0) return;
    for (int64_t i = 0; i < soon->bytes; i += 64) __builtin_prefetch(soon->at + i, 0, 2);
    soon->at += soon->step;
    soon->rows--;
}

/* Keys [key, key + keys) and their values: as many as are left of a block, of what is visible and of the part that they lie in. */
typedef struct {
    int64_t keys, k_row, v_row;
    const void *k, *v;
    int wide;               /* floats, which are rounded to S */
    A(soon) k_soon, v_soon; /* what comes next */
} A(block);

CASTOFF_INLINE A(block) A(take)(const A(args) *a, int64_t image, int64_t kv_head, int64_t key, int64_t visible, int64_t most) {
    const int64_t front = a->keys - a->tail_keys;
    if (key >= front)
        return (A(block)){
            .keys = castoff_min_i64(most, visible - key), .k_row = a->k_tail_row, .v_row = a->v_tail_row,
            .k = a->k_tail + image * a->k_tail_batch + kv_head * a->k_tail_head + (key - front) * a->k_tail_row,
            .v = a->v_tail + image * a->v_tail_batch + kv_head * a->v_tail_head + (key - front) * a->v_tail_row};
    const int64_t element = a->wide ? 4 : (int64_t)sizeof(S), keys = castoff_min_i64(most, castoff_min_i64(front, visible) - key);
    const char *k = (const char *)a->k + (image * a->k_batch + kv_head * a->k_head) * element;
    const char *v = (const char *)a->v + (image * a->v_batch + kv_head * a->v_head) * element;
    A(block) b = {.keys = keys, .k_row = a->k_row, .v_row = a->v_row, .k = k + key * a->k_row * element,
                  .v = v + key * a->v_row * element, .wide = a->wide};
    int64_t next = key + keys, rows = castoff_min_i64(most, front - next);
    if (rows == 0 && kv_head + 1 < a->kv_heads) {
        next = 0, rows = castoff_min_i64(most, front);
        k += a->k_head * element, v += a->v_head * element;
    }
    b.k_soon = (A(soon)){k + next * a->k_row * element, rows, a->k_row * element, a->size * element};
    b.v_soon = (A(soon)){v + next * a->v_row * element, rows, a->v_row * element, a->value_size * element};
    return b;
}

/* Whether a block's floats are rounded; where S is never rounded to, that form is left out. */
#ifdef ROUND
#define WIDE(block) (block).wide
#else
#define WIDE(block) 0
#endif

/* A vector, or one element, of keys or values. */
CASTOFF_INLINE castoff_vf32 A(load)(const void *p, int64_t at, const int wide) {
#ifdef ROUND
    if (wide) return ROUND(castoff_load_f32((const float *)p + at));
#else
    (void)wide;
#endif
    return LOAD((const S *)p + at);
}
CASTOFF_INLINE float A(load_one)(const void *p, int64_t at, const int wide) {
#ifdef ROUND
    if (wide) return ROUND(castoff_splat_f32(((const float *)p)[at]))[0];
#else
    (void)wide;
#endif
    return WIDEN(((const S *)p)[at]);
}

/* Rows as floats: where they lie, or widened into `copy`. */
CASTOFF_INLINE const float *A(rows)(const void *from, const int wide, int64_t *stride, int64_t rows, int64_t size, float *copy) {
#if SAME
    (void)wide, (void)stride, (void)rows, (void)size, (void)copy;
    return (const float *)from;
#else
    for (int64_t i = 0; i < rows; i++) {
        int64_t j = 0;
        for (; j + CASTOFF_VF32_LANES <= size; j += CASTOFF_VF32_LANES)
            castoff_store_f32(copy + i * size + j, A(load)(from, i * *stride + j, wide));
        for (; j < size; j++) copy[i * size + j] = A(load_one)(from, i * *stride + j, wide);
    }
    *stride = size;
    return copy;
#endif
}

/* out[i] for what the mask has at `at + i * step`: what is added to a score. */
CASTOFF_INLINE void A(mask_line)(const A(args) *a, int64_t at, int64_t step, int64_t count, float *out) {
    if (a->mask_kind == CASTOFF_MASK_KEEP) {
        const uint8_t *mask = (const uint8_t *)a->mask + at;
        const float none = -__builtin_inff(), first = count > 0 && mask[0] ? 0 : none;
        if (step == 0)
            for (int64_t i = 0; i < count; i++) out[i] = first;
        else if (step == 1)
            for (int64_t i = 0; i < count; i++) out[i] = mask[i] ? 0 : none;
        else
            for (int64_t i = 0; i < count; i++) out[i] = mask[i * step] ? 0 : none;
        return;
    }
    const float *mask = (const float *)a->mask + at;
    if (step == 1)
        memcpy(out, mask, (size_t)count * 4);
    else
        for (int64_t i = 0; i < count; i++) out[i] = mask[i * step];
}

/* What the mask adds to the scores of `rows` queries of one head from `row` on, keys [key, key + keys):
 * out[key * key_step + row * row_step], one of the steps being 1. */
static CASTOFF_UNUSED void A(load_mask)(const A(args) *a, int64_t image, int64_t head, int64_t row, int64_t rows, int64_t key,
                                        int64_t keys, float *out, int64_t key_step, int64_t row_step) {
    const int64_t origin = image * a->mask_batch + head * a->mask_head + row * a->mask_row + key * a->mask_col;
    if (key_step == 1)
        for (int64_t j = 0; j < rows; j++) A(mask_line)(a, origin + j * a->mask_row, a->mask_col, keys, out + j * row_step);
    else if (a->mask_kind == CASTOFF_MASK_ADD && a->mask_col == 1)
        castoff_transpose_f32((const float *)a->mask + origin, a->mask_row, out, key_step, rows, keys);
    else
        for (int64_t i = 0; i < keys; i++) A(mask_line)(a, origin + i * a->mask_col, a->mask_row, rows, out + i * key_step);
}

static CASTOFF_UNUSED void A(put)(const A(args) *a, int64_t image, int64_t head, int64_t row, int64_t rows, const float *tile,
                                  int64_t stride) {
    if (a->epilogue) {
        a->epilogue(a->epilogue_context, tile, stride, row, 0, rows, a->value_size, image * a->heads + head);
        return;
    }
    for (int64_t i = 0; i < rows; i++)
        memcpy(a->out + image * a->out_batch + head * a->out_head + (row + i) * a->out_row, tile + i * stride,
               (size_t)a->value_size * 4);
}

/* Folds the scores of one block of keys, S^T[keys][width] in units of ln 2, into the running maximum and sum of each column, turns them
 * into weights, and gives the factor by which what was summed before shrinks. */
static CASTOFF_UNUSED void A(fold)(float *scores, const float *mask, int64_t keys, int64_t width, float *top, float *total,
                                   float *factor) {
    const castoff_vf32 zero = castoff_splat_f32(0), lowest = castoff_splat_f32(-__builtin_inff());
    for (int64_t c = 0; c < width; c += CASTOFF_VF32_LANES) {
        castoff_vf32 most[4] = {castoff_load_f32(top + c), lowest, lowest, lowest}, sum[4] = {zero, zero, zero, zero};
        if (mask)
            for (int64_t i = 0; i < keys; i++)
                castoff_store_f32(scores + i * width + c,
                                  castoff_fma_f32(castoff_load_f32(mask + i * width + c), castoff_splat_f32(CASTOFF_LOG2_E),
                                                  castoff_load_f32(scores + i * width + c)));
        int64_t i = 0;
        for (; i + 4 <= keys; i += 4)
            CASTOFF_UNROLL for (int u = 0; u < 4; u++)
                most[u] = castoff_max_f32(castoff_load_f32(scores + (i + u) * width + c), most[u]);
        for (; i < keys; i++) most[0] = castoff_max_f32(castoff_load_f32(scores + i * width + c), most[0]);
        const castoff_vf32 peak = castoff_max_f32(castoff_max_f32(most[0], most[1]), castoff_max_f32(most[2], most[3]));
        const castoff_vf32 base = (castoff_vf32)((castoff_vi32)peak & ~(castoff_vi32)(peak == lowest));
        const castoff_vf32 shrink = castoff_exp2_vf32(castoff_load_f32(top + c) - base);
        for (i = 0; i + 4 <= keys; i += 4)
            CASTOFF_UNROLL for (int u = 0; u < 4; u++) {
                const castoff_vf32 weight = castoff_exp2_vf32(castoff_load_f32(scores + (i + u) * width + c) - base);
                castoff_store_f32(scores + (i + u) * width + c, weight);
                sum[u] += weight;
            }
        for (; i < keys; i++) {
            const castoff_vf32 weight = castoff_exp2_vf32(castoff_load_f32(scores + i * width + c) - base);
            castoff_store_f32(scores + i * width + c, weight);
            sum[0] += weight;
        }
        castoff_store_f32(top + c, peak);
        castoff_store_f32(factor + c, shrink);
        castoff_store_f32(total + c, castoff_fma_f32(castoff_load_f32(total + c), shrink, (sum[0] + sum[1]) + (sum[2] + sum[3])));
    }
}

/* Columns [first, last) of one image and key head. */
static CASTOFF_UNUSED void A(columns)(const A(job) *job, float *scratch, int64_t image, int64_t kv_head, int64_t first,
                                      int64_t last) {
    const A(args) *a = job->args;
    const A(plan) *p = &job->plan;
    const float scale = a->scale * CASTOFF_LOG2_E;
    const int64_t count = last - first, width = castoff_round_up(count, CASTOFF_PANEL);
    float *q = scratch + p->q, *scores = scratch + p->scores, *mask = scratch + p->mask, *sums = scratch + p->sums;
    float top[CASTOFF_ATTENTION_COLUMNS] __attribute__((aligned(64))), total[CASTOFF_ATTENTION_COLUMNS] __attribute__((aligned(64)));
    float factor[CASTOFF_ATTENTION_COLUMNS] __attribute__((aligned(64)));
    int64_t visible = a->keys;
    if (a->causal) visible = 0;
    for (int64_t c = 0; c < width; c++) {
        const int64_t column = castoff_min_i64(first + c, last - 1), row = column % a->queries;
        const S *from = a->q + image * a->q_batch + (kv_head * p->group + column / a->queries) * a->q_head + row * a->q_row;
        float *to = q + c / CASTOFF_PANEL * CASTOFF_PANEL * a->size + c % CASTOFF_PANEL;
        const int whole = SAME && c % CASTOFF_PANEL == 0 && c + CASTOFF_PANEL <= count && row + CASTOFF_PANEL <= a->queries;
        const int64_t lanes = whole ? CASTOFF_PANEL : 1;
        for (int64_t i = 0; i < lanes; i++, c += i < lanes) {
            top[c] = -__builtin_inff();
            total[c] = 0;
        }
        if (a->causal) visible = castoff_max_i64(visible, castoff_min_i64(a->keys, row + lanes + a->causal_offset));
#if SAME
        if (whole) {
            castoff_transpose_f32(from, a->q_row, to, CASTOFF_PANEL, CASTOFF_PANEL, a->size);
            for (int64_t j = 0; j < a->size * CASTOFF_PANEL; j++) to[j] *= scale;
            continue;
        }
#endif
        for (int64_t j = 0; j < a->size; j++) to[j * CASTOFF_PANEL] = WIDEN(from[j]) * scale;
    }
    memset(sums, 0, (size_t)(a->value_size * width) * 4);
    for (int64_t key = 0, keys; key < visible; key += keys) {
        A(block) block = A(take)(a, image, kv_head, key, visible, CASTOFF_ATTENTION_KEYS);
        keys = block.keys;
        const float *k = A(rows)(block.k, block.wide, &block.k_row, keys, a->size, scratch + p->k);
        const float *v = A(rows)(block.v, block.wide, &block.v_row, keys, a->value_size, scratch + p->v);
        const castoff_gemm_f32_block product = {.rows = keys, .cols = width, .k = a->size, .a = k, .a_row = block.k_row, .a_col = 1,
                                                .b = q, .b_step = CASTOFF_PANEL, .b_panel = CASTOFF_PANEL * a->size};
        const castoff_gemm_f32_sink to_scores = {.c = scores, .c_row = width};
        castoff_gemm_f32_run_block(&product, &to_scores);
        if (a->mask_kind != CASTOFF_MASK_NONE) {
            for (int64_t c = 0; c < count;) {
                const int64_t head = kv_head * p->group + (first + c) / a->queries, row = (first + c) % a->queries;
                const int64_t rows = castoff_min_i64(a->queries - row, count - c);
                A(load_mask)(a, image, head, row, rows, key, keys, mask + c, width, 1);
                c += rows;
            }
            for (int64_t i = 0; i < keys; i++)
                for (int64_t c = count; c < width; c++) mask[i * width + c] = 0;
        }
        if (a->causal)
            for (int64_t c = 0; c < count; c++) {
                const int64_t seen = castoff_max_i64(0, (first + c) % a->queries + a->causal_offset + 1 - key);
                for (int64_t i = seen; i < keys; i++) scores[i * width + c] = -__builtin_inff();
            }
        A(fold)(scores, a->mask_kind == CASTOFF_MASK_NONE ? 0 : mask, keys, width, top, total, factor);
        if (key > 0)
            for (int64_t i = 0; i < a->value_size; i++)
                for (int64_t c = 0; c < width; c++) sums[i * width + c] *= factor[c];
        const castoff_gemm_f32_block weighted = {.rows = a->value_size, .cols = width, .k = keys, .a = v, .a_row = 1,
                                                 .a_col = block.v_row, .b = scores, .b_step = width, .b_panel = CASTOFF_PANEL,
                                                 .sums = key > 0 ? sums : 0, .sums_row = width};
        const castoff_gemm_f32_sink to_sums = {.c = sums, .c_row = width};
        castoff_gemm_f32_run_block(&weighted, &to_sums);
    }
    for (int64_t c = 0; c < width; c++) factor[c] = total[c] == 0 ? 0 : 1 / total[c];
    for (int64_t i = 0; i < a->value_size; i++)
        for (int64_t c = 0; c < width; c++) sums[i * width + c] *= factor[c];
    float *turned = sums + a->value_size * width;
    castoff_transpose_f32(sums, width, turned, a->value_size, a->value_size, count);
    for (int64_t c = 0; c < count;) {
        const int64_t row = (first + c) % a->queries, rows = castoff_min_i64(a->queries - row, count - c);
        A(put)(a, image, kv_head * p->group + (first + c) / a->queries, row, rows, turned + c * a->value_size, a->value_size);
        c += rows;
    }
}

/* out[c * CASTOFF_ATTENTION_KEYS + i]: query c times key first + i, for `rows` c and `keys` i. */
CASTOFF_INLINE void A(dots)(const A(block) *b, int64_t first, int64_t size, const float *q, float *out, const int wide, const int rows,
                            const int keys) {
    castoff_vf32 sum[4][8];
    CASTOFF_UNROLL for (int c = 0; c < rows; c++)
        CASTOFF_UNROLL for (int i = 0; i < keys; i++) sum[c][i] = castoff_splat_f32(0);
    int64_t p = 0;
    CASTOFF_NO_UNROLL for (; p + CASTOFF_VF32_LANES <= size; p += CASTOFF_VF32_LANES)
        CASTOFF_UNROLL for (int i = 0; i < keys; i++) {
            const castoff_vf32 k = A(load)(b->k, (first + i) * b->k_row + p, wide);
            CASTOFF_UNROLL for (int c = 0; c < rows; c++)
                sum[c][i] = castoff_fma_f32(castoff_load_f32(q + c * size + p), k, sum[c][i]);
        }
    CASTOFF_UNROLL for (int c = 0; c < rows; c++)
        CASTOFF_UNROLL for (int i = 0; i < keys; i++) out[c * CASTOFF_ATTENTION_KEYS + i] = castoff_sum_f32(sum[c][i]);
    for (; p < size; p++)
        for (int i = 0; i < keys; i++) {
            const float k = A(load_one)(b->k, (first + i) * b->k_row + p, wide);
            for (int c = 0; c < rows; c++) out[c * CASTOFF_ATTENTION_KEYS + i] += q[c * size + p] * k;
        }
}

/* out[c * CASTOFF_ATTENTION_KEYS + i]: query c times key i of the block. */
CASTOFF_INLINE void A(scores)(A(block) *b, int64_t size, const float *q, int64_t count, float *out, const int wide) {
    for (int64_t i = 0, keys; i < b->keys; i += keys) {
        keys = count < 4 && b->keys - i >= 8 ? 8 : b->keys - i >= 4 ? 4 : 1;
        for (int64_t c = 0, rows; c < count; c += rows) {
            const float *from = q + c * size;
            float *to = out + c * CASTOFF_ATTENTION_KEYS + i;
            rows = keys == 4 && count - c >= 4 ? 4 : 1;
            if (rows == 4)
                A(dots)(b, i, size, from, to, wide, 4, 4);
            else if (keys == 8)
                A(dots)(b, i, size, from, to, wide, 1, 8);
            else if (keys == 4)
                A(dots)(b, i, size, from, to, wide, 1, 4);
            else
                A(dots)(b, i, size, from, to, wide, 1, 1);
        }
        for (int64_t j = 0; j < keys; j++) A(ask)(&b->k_soon);
    }
}

/* sums[c * sums_row + j] += weights[c * CASTOFF_ATTENTION_KEYS + i] times value i at column + j, for `rows` c and `vectors` vectors
 * of j. */
CASTOFF_INLINE void A(weigh_tile)(A(block) *b, int64_t column, const float *weights, float *sums, int64_t sums_row, const int wide,
                                  const int rows, const int vectors) {
    castoff_vf32 sum[4][4];
    CASTOFF_UNROLL for (int c = 0; c < rows; c++)
        CASTOFF_UNROLL for (int j = 0; j < vectors; j++)
            sum[c][j] = castoff_load_f32(sums + c * sums_row + j * CASTOFF_VF32_LANES);
    CASTOFF_NO_UNROLL for (int64_t i = 0; i < b->keys; i++) {
        CASTOFF_UNROLL for (int j = 0; j < vectors; j++) {
            const castoff_vf32 v = A(load)(b->v, i * b->v_row + column + j * CASTOFF_VF32_LANES, wide);
            CASTOFF_UNROLL for (int c = 0; c < rows; c++)
                sum[c][j] = castoff_fma_f32(castoff_splat_f32(weights[c * CASTOFF_ATTENTION_KEYS + i]), v, sum[c][j]);
        }
        A(ask)(&b->v_soon);
    }
    CASTOFF_UNROLL for (int c = 0; c < rows; c++)
        CASTOFF_UNROLL for (int j = 0; j < vectors; j++)
            castoff_store_f32(sums + c * sums_row + j * CASTOFF_VF32_LANES, sum[c][j]);
}

/* sums[c * sums_row + j] += the values of the block, weighted as query c does. */
CASTOFF_INLINE void A(weigh)(A(block) *b, int64_t size, const float *weights, int64_t count, float *sums, int64_t sums_row,
                             const int wide) {
    const int64_t whole = size / CASTOFF_VF32_LANES * CASTOFF_VF32_LANES;
    for (int64_t c = 0, rows; c < count; c += rows) {
        const float *from = weights + c * CASTOFF_ATTENTION_KEYS;
        float *to = sums + c * sums_row;
        rows = count - c >= 4 ? 4 : 1;
        for (int64_t j = 0, vectors; j < whole; j += vectors * CASTOFF_VF32_LANES) {
            vectors = whole - j >= 4 * CASTOFF_VF32_LANES ? 4 : 1;
            if (rows == 4 && vectors == 4)
                A(weigh_tile)(b, j, from, to + j, sums_row, wide, 4, 4);
            else if (rows == 4)
                A(weigh_tile)(b, j, from, to + j, sums_row, wide, 4, 1);
            else if (vectors == 4)
                A(weigh_tile)(b, j, from, to + j, sums_row, wide, 1, 4);
            else
                A(weigh_tile)(b, j, from, to + j, sums_row, wide, 1, 1);
        }
        for (int64_t r = 0; r < rows && whole < size; r++)
            for (int64_t i = 0; i < b->keys; i++)
                for (int64_t j = whole; j < size; j++)
                    to[r * sums_row + j] += from[r * CASTOFF_ATTENTION_KEYS + i] * A(load_one)(b->v, i * b->v_row + j, wide);
    }
}

/* All columns of one image and key head, where there are few: scores by dot products, keys along the vectors. */
static CASTOFF_UNUSED void A(few)(const A(job) *job, float *scratch, int64_t image, int64_t kv_head) {
    const A(args) *a = job->args;
    const A(plan) *p = &job->plan;
    float *q = scratch + p->q, *scores = scratch + p->scores, *mask = scratch + p->mask, *sums = scratch + p->sums;
    const float scale = a->scale * CASTOFF_LOG2_E;
    const int64_t count = p->columns, padded = castoff_round_up(a->value_size, 16);
    float top[CASTOFF_ATTENTION_FEW], total[CASTOFF_ATTENTION_FEW];
    int64_t visible[CASTOFF_ATTENTION_FEW], most = 0;
    for (int64_t c = 0; c < count; c++) {
        const int64_t row = c % a->queries;
        const S *from = a->q + image * a->q_batch + (kv_head * p->group + c / a->queries) * a->q_head + row * a->q_row;
        for (int64_t j = 0; j < a->size; j++) q[c * a->size + j] = WIDEN(from[j]) * scale;
        top[c] = -__builtin_inff();
        total[c] = 0;
        visible[c] = a->causal ? castoff_max_i64(0, castoff_min_i64(a->keys, row + a->causal_offset + 1)) : a->keys;
        most = castoff_max_i64(most, visible[c]);
    }
    memset(sums, 0, (size_t)(count * padded) * 4);
    for (int64_t key = 0, keys; key < most; key += keys) {
        A(block) block = A(take)(a, image, kv_head, key, most, CASTOFF_ATTENTION_FEW_KEYS);
        keys = block.keys;
        if (WIDE(block))
            A(scores)(&block, a->size, q, count, scores, 1);
        else
            A(scores)(&block, a->size, q, count, scores, 0);
        for (int64_t c = 0; c < count; c++) {
            float *line = scores + c * CASTOFF_ATTENTION_KEYS;
            if (a->mask_kind != CASTOFF_MASK_NONE) {
                A(load_mask)(a, image, kv_head * p->group + c / a->queries, c % a->queries, 1, key, keys, mask, 1, 0);
                for (int64_t i = 0; i < keys; i++) line[i] += mask[i] * CASTOFF_LOG2_E;
            }
            for (int64_t i = castoff_max_i64(0, visible[c] - key); i < keys; i++) line[i] = -__builtin_inff();
            for (int64_t i = keys; i < castoff_round_up(keys, CASTOFF_VF32_LANES); i++) line[i] = -__builtin_inff();
            castoff_vf32 peaks = castoff_splat_f32(top[c]), sum = castoff_splat_f32(0);
            for (int64_t i = 0; i < keys; i += CASTOFF_VF32_LANES) peaks = castoff_max_f32(castoff_load_f32(line + i), peaks);
            const float peak = castoff_peak_f32(peaks);
            const castoff_vf32 base = castoff_splat_f32(peak == -__builtin_inff() ? 0 : peak);
            for (int64_t i = 0; i < keys; i += CASTOFF_VF32_LANES) {
                const castoff_vf32 weight = castoff_exp2_vf32(castoff_load_f32(line + i) - base);
                castoff_store_f32(line + i, weight);
                sum += weight;
            }
            const float shrink = castoff_exp2_vf32(castoff_splat_f32(top[c]) - base)[0];
            top[c] = peak;
            total[c] = total[c] * shrink + castoff_sum_f32(sum);
            for (int64_t j = 0; j < padded; j++) sums[c * padded + j] *= shrink;
        }
        if (WIDE(block))
            A(weigh)(&block, a->value_size, scores, count, sums, padded, 1);
        else
            A(weigh)(&block, a->value_size, scores, count, sums, padded, 0);
    }
    for (int64_t c = 0; c < count; c++) {
        const float factor = total[c] == 0 ? 0 : 1 / total[c];
        for (int64_t j = 0; j < a->value_size; j++) sums[c * padded + j] *= factor;
        A(put)(a, image, kv_head * p->group + c / a->queries, c % a->queries, 1, sums + c * padded, padded);
    }
}

static CASTOFF_UNUSED void A(body)(void *context, int64_t begin, int64_t end, int thread) {
    const A(job) *job = (const A(job) *)context;
    const A(plan) *p = &job->plan;
    float *scratch = job->scratch + thread * p->thread_floats;
    for (int64_t item = begin; item < end; item++) {
        const int64_t first = item % p->blocks * CASTOFF_ATTENTION_COLUMNS, pair = item / p->blocks;
        const int64_t kv_head = pair % job->args->kv_heads, image = pair / job->args->kv_heads;
        if (CASTOFF_ATTENTION_ARE_FEW(p->columns))
            A(few)(job, scratch, image, kv_head);
        else
            A(columns)(job, scratch, image, kv_head, first, castoff_min_i64(first + CASTOFF_ATTENTION_COLUMNS, p->columns));
    }
}

static CASTOFF_UNUSED void A(run)(const A(args) *args, castoff_pool *pool, void *scratch) {
    A(job) job = {args, A(make_plan)(args), (float *)scratch};
    const int64_t items = args->batch * args->kv_heads * job.plan.blocks;
    if (items == 0) return;
    const int64_t work =
        castoff_min_i64(job.plan.columns, CASTOFF_ATTENTION_COLUMNS) * (args->keys + 1) * (args->size + args->value_size + 16);
    castoff_parallel_for(pool, items, castoff_ceil_div(1 << 16, work), A(body), &job);
}

#undef A
#undef S
#undef WIDEN
#undef LOAD
#undef SAME
#undef ROUND
#undef WIDE
