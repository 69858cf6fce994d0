/* conv_depthwise.h - depthwise convolution; conv_engine.h includes it once per type. Any kernel by tiles over the table of a block;
 * a kernel of 3 x 3 by lines of pixels, without a table.
 */

/* One tile of pixels by `vectors` vectors of channels, each summed over the kernel points alone. */
CASTOFF_INLINE void C(depthwise_tile)(const C(tile) *t, const int vectors) {
    V acc[CASTOFF_CONV_DEPTHWISE_ROWS][4];
    const E *const *rows = t->rows, *weight = t->weight;
    CASTOFF_UNROLL for (int j = 0; j < vectors; j++) {
        const V start = t->start ? LOAD_E(t->start + j * LANES) : SPLAT(0);
        CASTOFF_UNROLL for (int i = 0; i < CASTOFF_CONV_DEPTHWISE_ROWS; i++) acc[i][j] = start;
    }
    CASTOFF_NO_UNROLL for (int64_t point = t->points; point > 0; point--, rows += CASTOFF_CONV_DEPTHWISE_ROWS) {
        V factor[4];
        CASTOFF_UNROLL for (int j = 0; j < vectors; j++) factor[j] = LOAD_E(weight + j * LANES);
        /* The last two pixels of the window are new to the cache, all others were read for the tiles above and before. */
        if (point <= 2)
            CASTOFF_UNROLL for (int i = 0; i < CASTOFF_CONV_DEPTHWISE_ROWS; i++)
                CASTOFF_UNROLL for (int j = 0; j < vectors; j++)
                    __builtin_prefetch(rows[i] + t->shift + t->distance + j * LANES, 0, 2);
        CASTOFF_UNROLL for (int i = 0; i < CASTOFF_CONV_DEPTHWISE_ROWS; i++) {
            const E *x = rows[i] + t->shift;
            CASTOFF_UNROLL for (int j = 0; j < vectors; j++) acc[i][j] = FMA(LOAD_E(x + j * LANES), factor[j], acc[i][j]);
        }
        weight += t->weight_step;
    }
    CASTOFF_UNROLL for (int i = 0; i < CASTOFF_CONV_DEPTHWISE_ROWS; i++) {
        if (i >= t->count) break;
        CASTOFF_UNROLL for (int j = 0; j < vectors; j++)
            STORE_E(t->out + i * t->out_row + j * LANES, t->is_bounded ? C(within)(t, acc[i][j]) : acc[i][j]);
    }
}

CASTOFF_NOINLINE void C(depthwise4)(const C(tile) *t) { C(depthwise_tile)(t, 4); }
CASTOFF_NOINLINE void C(depthwise2)(const C(tile) *t) { C(depthwise_tile)(t, 2); }
CASTOFF_NOINLINE void C(depthwise1)(const C(tile) *t) { C(depthwise_tile)(t, 1); }

/* The channels after the last whole vector. */
static CASTOFF_UNUSED void C(depthwise_rest)(const C(tile) *t, int64_t channels) {
    for (int64_t i = 0; i < t->count; i++)
        for (int64_t c = 0; c < channels; c++) {
            V sum = SPLAT(t->start ? t->start[c] : 0);
            for (int64_t point = 0; point < t->points; point++)
                sum = FMA(SPLAT(t->rows[point * CASTOFF_CONV_DEPTHWISE_ROWS + i][t->shift + c]),
                          SPLAT(t->weight[point * t->weight_step + c]), sum);
            t->out[i * t->out_row + c] = (t->is_bounded ? C(within)(t, sum) : sum)[0];
        }
}

static CASTOFF_UNUSED void C(depthwise)(const C(job) *job, const C(block) *b, int64_t first, int64_t channels) {
    const C(args) *a = &job->args;
    E buffer[CASTOFF_CONV_DEPTHWISE_ROWS * 4 * LANES] __attribute__((aligned(64)));
    C(tile) t = {.points = job->plan.points, .weight_step = a->out_channels, .out = buffer, .out_row = 4 * LANES,
                 .distance = 4 * CASTOFF_CONV_DEPTHWISE_ROWS * a->stride[2] * a->x_space[2],
                 .is_bounded = a->is_bounded, .low = a->low, .high = a->high};
    for (int64_t tile = 0, row = 0; tile < b->tiles; tile++, row += t.count) {
        t.rows = b->rows + tile * CASTOFF_CONV_DEPTHWISE_ROWS * t.points;
        t.count = C(tile_rows)(b, tile);
        for (int64_t c = first, count; c < first + channels; c += count) {
            const int64_t left = first + channels - c;
            count = left >= 4 * LANES ? 4 * LANES : left >= 2 * LANES ? 2 * LANES : castoff_min_i64(LANES, left);
            t.shift = c;
            t.weight = job->weight + c;
            t.start = a->bias && !a->epilogue ? a->bias + c : 0;
            if (!a->epilogue) {
                t.out_row = a->y_pixel;
                t.out = a->y + b->image * a->y_batch + (b->pixel + row) * a->y_pixel + c;
            }
            if (count == 4 * LANES)
                C(depthwise4)(&t);
            else if (count == 2 * LANES)
                C(depthwise2)(&t);
            else if (count == LANES)
                C(depthwise1)(&t);
            else
                C(depthwise_rest)(&t, count);
            if (a->epilogue) C(emit)(a, buffer, t.out_row, b, row, c, t.count, count);
        }
    }
}

/* Output pixels of one line that follow one another. Each line of the kernel begins at rows[i], its input pixels are steps[i]
 * elements apart; a line of zeros is one pixel, 0 apart. The window of the first pixel lacks its first column where `before` is 1,
 * that of the last pixel its last one where `after` is. */
typedef struct {
    const E *rows[3];
    int64_t steps[3], before, inside, after;
    E *out;
} C(run_of_pixels);

/* What one call computes: runs by one vector of channels, `shift` elements from where the pixels begin. */
typedef struct {
    const C(run_of_pixels) *runs;
    int64_t count, shift, out_shift;
    const E *weight, *start;
    int64_t weight_step, out_row;
    int64_t ahead; /* elements to the same pixel of the next run, whose last lines are new to the cache */
    int32_t is_bounded;
    E low, high;
} C(line);

/* One pixel, whose window may lack a column. */
CASTOFF_INLINE void C(line_pixel)(const C(line) *t, const C(run_of_pixels) *run, const E **rows, const V *factor, const V low, const V high,
                                  const int stride, const int missing, E *out) {
    V sum = t->start ? LOAD_E(t->start) : SPLAT(0);
    CASTOFF_UNROLL for (int i = 0; i < 3; i++) {
        const int64_t step = run->steps[i];
        CASTOFF_UNROLL for (int k = 0; k < 3; k++)
            sum = FMA(k == missing ? SPLAT(0) : LOAD_E(rows[i] + k * step), factor[3 * i + k], sum);
        rows[i] += stride * step;
    }
    STORE_E(out, t->is_bounded ? MIN(high, MAX(low, sum)) : sum);
}

/* Each input pixel is loaded once for all the sums that it is part of. */
CASTOFF_INLINE void C(line_of)(const C(line) *t, const int stride) {
    enum { PIXELS = 4 };
    V factor[9];
    const V low = SPLAT(t->low), high = SPLAT(t->high);
    const int64_t out_row = t->out_row;
    const int is_bounded = t->is_bounded;
    CASTOFF_UNROLL for (int i = 0; i < 9; i++) factor[i] = LOAD_E(t->weight + i * t->weight_step);
    for (int64_t r = 0; r < t->count; r++) {
        const C(run_of_pixels) *run = t->runs + r;
        const E *rows[3];
        E *out = run->out + t->out_shift;
        CASTOFF_UNROLL for (int i = 0; i < 3; i++) rows[i] = run->rows[i] + t->shift;
        if (run->before) {
            C(line_pixel)(t, run, rows, factor, low, high, stride, 0, out);
            out += out_row;
        }
        int64_t left = run->inside;
        CASTOFF_NO_UNROLL for (; left >= PIXELS; left -= PIXELS) {
            V sum[PIXELS];
            CASTOFF_UNROLL for (int p = 0; p < PIXELS; p++) __builtin_prefetch(out + p * out_row, 1, 3);
            CASTOFF_UNROLL for (int p = 0; p < PIXELS; p++) sum[p] = t->start ? LOAD_E(t->start) : SPLAT(0);
            CASTOFF_UNROLL for (int i = 0; i < 3; i++) {
                const E *x = rows[i];
                const int64_t step = run->steps[i];
                CASTOFF_UNROLL for (int k = 0; k < (PIXELS - 1) * stride + 3; k++, x += step) {
                    const V element = LOAD_E(x);
                    if (i >= 3 - stride && k < PIXELS * stride) __builtin_prefetch(x + t->ahead, 0, 2);
                    CASTOFF_UNROLL for (int p = 0; p < PIXELS; p++)
                        if (k >= p * stride && k < p * stride + 3)
                            sum[p] = FMA(element, factor[3 * i + k - p * stride], sum[p]);
                }
                rows[i] += PIXELS * stride * step;
            }
            if (is_bounded) CASTOFF_UNROLL for (int p = 0; p < PIXELS; p++) sum[p] = MIN(high, MAX(low, sum[p]));
            CASTOFF_UNROLL for (int p = 0; p < PIXELS; p++, out += out_row) STORE_E(out, sum[p]);
        }
        CASTOFF_NO_UNROLL for (; left > 0; left--, out += out_row) C(line_pixel)(t, run, rows, factor, low, high, stride, -1, out);
        if (run->after) C(line_pixel)(t, run, rows, factor, low, high, stride, 2, out);
    }
}

CASTOFF_NOINLINE void C(line1)(const C(line) *t) { C(line_of)(t, 1); }
CASTOFF_NOINLINE void C(line2)(const C(line) *t) { C(line_of)(t, 2); }

/* Channels [first, first + channels) of a block of pixels. */
static CASTOFF_UNUSED void C(lines)(const C(job) *job, const C(block) *b, int64_t first, int64_t channels) {
    enum { COLUMNS = 4 * LANES };
    const C(args) *a = &job->args;
    E buffer[CASTOFF_CONV_LINE_PIXELS * COLUMNS] __attribute__((aligned(64)));
    C(run_of_pixels) runs[CASTOFF_CONV_LINES + 2];
    C(line) t = {.runs = runs, .weight_step = a->out_channels, .is_bounded = a->is_bounded, .low = a->low, .high = a->high,
                 .out_row = a->epilogue ? COLUMNS : a->y_pixel, .ahead = a->stride[1] * a->x_space[1]};
    const E *x = a->x + b->image * a->x_batch;
    E *y = a->epilogue ? buffer : a->y + b->image * a->y_batch + b->pixel * a->y_pixel;
    const int64_t stride = a->stride[2];
    for (int64_t done = 0, count; done < b->pixels; done += count) {
        const int64_t w = (b->pixel + done) % a->out[2], h = (b->pixel + done) / a->out[2];
        count = castoff_min_i64(a->out[2] - w, b->pixels - done);
        const int64_t top = h * a->stride[1] - a->padding[1], from = w * stride - a->padding[2];
        C(run_of_pixels) *run = runs + t.count++;
        run->before = from < 0;
        run->after = from + (count - 1) * stride + 3 > a->in[2];
        run->inside = count - run->before - run->after;
        run->out = y + done * t.out_row;
        for (int i = 0; i < 3; i++) {
            const int is_inside = (uint64_t)(top + i) < (uint64_t)a->in[1];
            run->steps[i] = is_inside ? a->x_space[2] : 0;
            run->rows[i] = is_inside ? x + (top + i) * a->x_space[1] + from * a->x_space[2] : job->zeros;
        }
    }
    for (int64_t group = first; group < first + channels; group += COLUMNS) {
        const int64_t columns = castoff_min_i64(COLUMNS, first + channels - group);
        for (int64_t c = group; c < group + columns; c += LANES) {
            t.shift = c;
            t.out_shift = a->epilogue ? c - group : c;
            t.weight = job->weight + c;
            t.start = a->bias && !a->epilogue ? a->bias + c : 0;
            if (stride == 1)
                C(line1)(&t);
            else
                C(line2)(&t);
        }
        if (a->epilogue)
            for (int64_t i = 0; i < b->pixels; i += CASTOFF_EPILOGUE_ROWS)
                C(emit)(a, buffer + i * COLUMNS, COLUMNS, b, i, group, castoff_min_i64(CASTOFF_EPILOGUE_ROWS, b->pixels - i), columns);
    }
}
