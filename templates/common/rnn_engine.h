/* rnn_engine.h - rnn.h for elements of type T: R(name), vectors V of LANES, LOAD, STORE, SPLAT, FMA.
 *
 * Units stand in blocks: a vector or two of every gate, as many sums as the registers hold, that run along the depth together. Blocks
 * are the same for any number of threads, and so are the answers. A thread gets neighbouring blocks, the same ones at every step, so
 * that its share of the weights stays in its caches.
 */

enum {
    R(ALONE) = 8 * LANES, /* units of a block: of layers with one gate, */
    R(GATED) = 2 * LANES, /* and with more */
    R(RUN) = 256          /* units whose cells are made in one loop */
};

typedef struct R(step) {
    T *next, *c;                                  /* [B, H] */
    const T *x, *h, *w, *bias;                    /* [B, G*H], [B, P], [P, G*H], [G*H] */
    T *packed;                                    /* w of whole blocks, [blocks, P, G, block], or NULL */
    T *sums;                                      /* [G*H] of the only row, made before its blocks, or NULL */
    int64_t batch, depth, hidden, gates;          /* B, P, H, G */
    int64_t block, run, shares;                   /* units of a block, of a few blocks, and what the blocks are dealt out in */
    void (*make)(const struct R(step) *, int64_t unit, int64_t count);
} R(step);

/* sums[g, j] = start[g, j] + h w[, g, j]. Gates are `hidden` apart in start, RUN in sums; start is NULL for zeros. */
CASTOFF_INLINE void R(sum_vectors)(const int gates, const int vectors, T *sums, const T *start, int64_t hidden, const T *h,
                                   int64_t depth, const T *w, int64_t w_row, int64_t w_gate) {
    V acc[8];
    CASTOFF_UNROLL for (int i = 0; i < gates * vectors; i++)
        acc[i] = start ? LOAD(start + i / vectors * hidden + i % vectors * LANES) : SPLAT(0);
    CASTOFF_NO_UNROLL for (int64_t k = 0; k < depth; k++) {
        const V x = SPLAT(h[k]);
        CASTOFF_UNROLL for (int i = 0; i < gates * vectors; i++)
            acc[i] = FMA(x, LOAD(w + i / vectors * w_gate + i % vectors * LANES), acc[i]);
        w += w_row;
    }
    CASTOFF_UNROLL for (int i = 0; i < gates * vectors; i++) STORE(sums + i / vectors * R(RUN) + i % vectors * LANES, acc[i]);
}

/* The sums of `count` units of row b; start is x, the bias or NULL. */
CASTOFF_INLINE void R(sum_block)(const R(step) *s, const int gates, T *sums, const T *start, int64_t b, int64_t unit, int64_t count) {
    const int vectors = (gates == 1 ? R(ALONE) : R(GATED)) / LANES;
    const int64_t hidden = s->hidden, depth = s->depth, width = gates * hidden;
    const T *const h = s->h + b * depth, *const w = s->w + unit;
    if (start) start += unit;
    if (count == vectors * LANES && s->packed) {
        R(sum_vectors)(gates, vectors, sums, start, hidden, h, depth, s->packed + unit * gates * depth, gates * count, count);
        return;
    }
    if (count == vectors * LANES) {
        R(sum_vectors)(gates, vectors, sums, start, hidden, h, depth, w, width, hidden);
        return;
    }
    int64_t j = 0;
    for (; j + LANES <= count; j += LANES)
        R(sum_vectors)(gates, 1, sums + j, start ? start + j : 0, hidden, h, depth, w + j, width, hidden);
    for (; j < count; j++)
        for (int gate = 0; gate < gates; gate++) {
            T sum = start ? start[gate * hidden + j] : 0;
            for (int64_t k = 0; k < depth; k++) sum += h[k] * w[k * width + gate * hidden + j];
            sums[gate * R(RUN) + j] = sum;
        }
}

/* The sums of a run of units of row b, with gates `step` apart; in `buffer` unless they are there. */
CASTOFF_INLINE const T *R(sum_run)(const R(step) *s, const int gates, T *buffer, int64_t *step, const T *start, int64_t b,
                                   int64_t unit, int64_t count) {
    *step = s->sums ? s->hidden : R(RUN);
    if (s->sums) return s->sums + unit;
    for (int64_t j = 0; j < count; j += s->block)
        R(sum_block)(s, gates, buffer + j, start, b, unit + j, count - j < s->block ? count - j : s->block);
    return buffer;
}

/* sums += h w, rows [k, k + rows) of w. */
CASTOFF_INLINE void R(add_rows)(const int rows, const R(step) *s, int64_t k) {
    const int64_t width = s->gates * s->hidden, step = s->hidden % LANES ? s->hidden : width, whole = step / LANES * LANES;
    V x[4];
    CASTOFF_UNROLL for (int i = 0; i < rows; i++) x[i] = SPLAT(s->h[k + i]);
    for (int64_t first = 0; first < width; first += step) {
        const T *const w = s->w + k * width + first;
        T *restrict sums = s->sums + first;
        for (int64_t j = 0; j < whole; j += LANES) {
            V sum = LOAD(sums + j);
            CASTOFF_UNROLL for (int i = 0; i < rows; i++) sum = FMA(x[i], LOAD(w + i * width + j), sum);
            STORE(sums + j, sum);
        }
        for (int64_t j = whole; j < step; j++)
            CASTOFF_UNROLL for (int i = 0; i < rows; i++) sums[j] += s->h[k + i] * w[i * width + j];
    }
}

/* The sums of one row, bit for bit those of its blocks: one thread reads w fastest as a stream. */
static CASTOFF_UNUSED void R(stream)(const R(step) *s) {
    const T *const start = s->bias ? s->bias : s->x;
    const size_t size = (size_t)(s->gates * s->hidden) * sizeof(T);
    int64_t k = 0;
    if (start)
        memcpy(s->sums, start, size);
    else
        memset(s->sums, 0, size);
    for (; k + 4 <= s->depth; k += 4) R(add_rows)(4, s, k);
    for (; k < s->depth; k++) R(add_rows)(1, s, k);
}

static CASTOFF_UNUSED void R(make_lstm)(const R(step) *s, int64_t unit, int64_t count) {
    T buffer[4 * R(RUN)];
    int64_t step;
    for (int64_t b = 0; b < s->batch; b++) {
        const T *const i = R(sum_run)(s, 4, buffer, &step, s->x + b * 4 * s->hidden, b, unit, count);
        const T *const f = i + step, *const g = f + step, *const o = g + step;
        T *restrict next = s->next + b * s->hidden + unit, *restrict c = s->c + b * s->hidden + unit;
        for (int64_t j = 0; j < count; j++) {
            c[j] = SIGMOID(f[j]) * c[j] + SIGMOID(i[j]) * TANH(g[j]);
            next[j] = SIGMOID(o[j]) * TANH(c[j]);
        }
    }
}

static CASTOFF_UNUSED void R(make_gru)(const R(step) *s, int64_t unit, int64_t count) {
    T buffer[3 * R(RUN)];
    int64_t step;
    for (int64_t b = 0; b < s->batch; b++) {
        const T *const hr = R(sum_run)(s, 3, buffer, &step, s->bias, b, unit, count), *const hz = hr + step, *const hn = hz + step;
        const T *const xr = s->x + b * 3 * s->hidden + unit, *const xz = xr + s->hidden, *const xn = xz + s->hidden;
        const T *const h = s->h + b * s->hidden + unit;
        T *restrict next = s->next + b * s->hidden + unit;
        for (int64_t j = 0; j < count; j++) {
            const T reset = SIGMOID(xr[j] + hr[j]), update = SIGMOID(xz[j] + hz[j]), fresh = TANH(xn[j] + reset * hn[j]);
            next[j] = (h[j] - fresh) * update + fresh;
        }
    }
}

/* One gate, and what becomes of its sum. A NaN passes the rectifier, as in PyTorch. */
#define CASTOFF_RNN_ALONE(name, BECOMES)                                                                                     \
    static CASTOFF_UNUSED void R(name)(const R(step) *s, int64_t unit, int64_t count) {                                      \
        T buffer[R(RUN)];                                                                                                    \
        int64_t step;                                                                                                        \
        for (int64_t b = 0; b < s->batch; b++) {                                                                             \
            const T *const sums = R(sum_run)(s, 1, buffer, &step, s->x ? s->x + b * s->hidden : 0, b, unit, count);          \
            T *restrict next = s->next + b * s->hidden + unit;                                                               \
            for (int64_t j = 0; j < count; j++) next[j] = BECOMES(sums[j]);                                                  \
        }                                                                                                                    \
    }
CASTOFF_RNN_ALONE(make_tanh, TANH)
CASTOFF_RNN_ALONE(make_relu, CASTOFF_RNN_RECTIFY)
CASTOFF_RNN_ALONE(make_projection, )
#undef CASTOFF_RNN_ALONE

static CASTOFF_UNUSED void R(pack)(const R(step) *s, int64_t unit, int64_t count) {
    for (int64_t block = s->block; count >= block; unit += block, count -= block) {
        T *out = s->packed + unit * s->gates * s->depth;
        for (int64_t row = 0; row < s->depth * s->gates; row++, out += block)
            memcpy(out, s->w + row * s->hidden + unit, (size_t)block * sizeof(T));
    }
}

static CASTOFF_UNUSED void R(run_shares)(void *context, int64_t begin, int64_t end, int thread) {
    const R(step) *s = (const R(step) *)context;
    const int64_t blocks = (s->hidden + s->block - 1) / s->block, last = end * blocks / s->shares * s->block;
    const int64_t stop = last < s->hidden ? last : s->hidden;
    (void)thread;
    for (int64_t unit = begin * blocks / s->shares * s->block; unit < stop; unit += s->run)
        s->make(s, unit, stop - unit < s->run ? stop - unit : s->run);
}

static CASTOFF_UNUSED void R(run_step)(const R(step) *s, castoff_pool *pool) {
    if (s->sums) R(stream)(s);
    castoff_parallel_for(pool, s->shares, 1, R(run_shares), (void *)s);
}

/* How the steps of a layer are made: w is read `time` times, and `memory` has room for it, or is NULL. */
static CASTOFF_UNUSED void R(deal)(R(step) *s, T *memory, int64_t time, castoff_pool *pool) {
    const int64_t threads = castoff_pool_threads(pool), worth = s->batch * s->depth * s->hidden * s->gates / CASTOFF_RNN_ENOUGH;
    s->block = s->gates == 1 ? R(ALONE) : R(GATED);
    s->run = s->batch == 1 ? R(RUN) : s->block; /* rows read the weights of a block from a near cache */
    s->shares = worth < 1 ? 1 : worth < threads ? worth : threads;
    if (!memory || s->depth == 0) return;
    if (s->shares == 1 && s->batch == 1) {
        s->sums = memory;
    } else if (time * s->batch >= CASTOFF_RNN_READS) {
        s->packed = memory;
        R(step) packing = *s;
        packing.make = R(pack);
        R(run_step)(&packing, pool);
    }
}

/* The steps of a layer. `s` has the cell, the sizes, c, w and bias. */
static CASTOFF_UNUSED void R(run)(R(step) s, T *y, T *h_last, const T *x, const T *h0, const T *projection, int64_t time,
                                  int64_t reverse, void *memory, T *state, castoff_pool *pool) {
    const int64_t size = s.batch * s.depth;
    R(step) p = {.h = state, .w = projection, .batch = s.batch, .depth = s.hidden, .hidden = s.depth, .gates = 1,
                 .make = R(make_projection)};
    R(deal)(&s, (T *)memory, time, pool);
    R(deal)(&p, s.sums, time, pool); /* which has been read by then */
    s.h = h0;
    for (int64_t step = 0; step < time; step++) {
        const int64_t t = reverse ? time - 1 - step : step;
        T *const next = y + t * size;
        s.x = x + t * s.batch * s.gates * s.hidden;
        s.next = projection ? state : next;
        p.next = next;
        R(run_step)(&s, pool);
        if (projection) R(run_step)(&p, pool);
        s.h = next;
    }
    memcpy(h_last, s.h, (size_t)size * sizeof(T));
}

static CASTOFF_UNUSED void R(lstm_projected)(T *y, T *h_last, T *c, const T *x, const T *h0, const T *w, const T *c0,
                                             const T *projection, int64_t time, int64_t batch, int64_t hidden, int64_t out,
                                             int64_t reverse, void *memory, void *state, castoff_pool *pool) {
    const R(step) s = {.c = c, .w = w, .batch = batch, .depth = out, .hidden = hidden, .gates = 4,
                       .make = R(make_lstm)};
    memcpy(c, c0, (size_t)(batch * hidden) * sizeof(T));
    R(run)(s, y, h_last, x, h0, projection, time, reverse, memory, (T *)state, pool);
}

static CASTOFF_UNUSED void R(lstm)(T *y, T *h_last, T *c, const T *x, const T *h0, const T *w, const T *c0, int64_t time,
                                   int64_t batch, int64_t hidden, int64_t out, int64_t reverse, void *memory, castoff_pool *pool) {
    R(lstm_projected)(y, h_last, c, x, h0, w, c0, 0, time, batch, hidden, out, reverse, memory, 0, pool);
}

/* `out` equals `hidden` from here on: only an lstm has a projection. */
static CASTOFF_UNUSED void R(gru)(T *y, T *h_last, const T *x, const T *h0, const T *w, const T *bias, int64_t time, int64_t batch,
                                  int64_t hidden, int64_t out, int64_t reverse, void *memory, castoff_pool *pool) {
    const R(step) s = {.w = w, .bias = bias, .batch = batch, .depth = out, .hidden = hidden, .gates = 3,
                       .make = R(make_gru)};
    R(run)(s, y, h_last, x, h0, 0, time, reverse, memory, 0, pool);
}

static CASTOFF_UNUSED void R(tanh)(T *y, T *h_last, const T *x, const T *h0, const T *w, int64_t time, int64_t batch,
                                   int64_t hidden, int64_t out, int64_t reverse, void *memory, castoff_pool *pool) {
    const R(step) s = {.w = w, .batch = batch, .depth = out, .hidden = hidden, .gates = 1,
                       .make = R(make_tanh)};
    R(run)(s, y, h_last, x, h0, 0, time, reverse, memory, 0, pool);
}

static CASTOFF_UNUSED void R(relu)(T *y, T *h_last, const T *x, const T *h0, const T *w, int64_t time, int64_t batch,
                                   int64_t hidden, int64_t out, int64_t reverse, void *memory, castoff_pool *pool) {
    const R(step) s = {.w = w, .batch = batch, .depth = out, .hidden = hidden, .gates = 1,
                       .make = R(make_relu)};
    R(run)(s, y, h_last, x, h0, 0, time, reverse, memory, 0, pool);
}

#undef R
#undef T
#undef V
#undef LANES
#undef LOAD
#undef STORE
#undef SPLAT
#undef FMA
#undef SIGMOID
#undef TANH
