/* conv_engine.h - the body of one convolution family; conv.h includes it once per type and documents the result.
 *
 * Expects: C(name), G(name) (the product family of the type, for its epilogue), E, V (vector of E), LANES, LOAD_E,
 * STORE_E, STORE_SOME, SPLAT, FMA, MIN, MAX. Every name is undefined again at the end.
 *
 * Each element of y is one chain of fused multiply-adds over kernel points and then channels, in order, so tile shapes and
 * the cutting among threads never show in the bits.
 */

typedef struct {
    int64_t batch, groups, in_channels, out_channels;
    int64_t in[3], out[3], kernel[3], stride[3], dilation[3], padding[3];
    const E *x;
    int64_t x_batch, x_space[3];
    const E *weight, *weight_packed;
    E *y;
    int64_t y_batch, y_pixel;
    const E *bias;
    int32_t is_bounded;
    E low, high;
    G(epilogue) epilogue;
    const void *epilogue_context;
} C(args);

typedef struct {
    int64_t inner, outer; /* channels of one group, in and out */
    int64_t points, pixels, depth; /* depth: products that one output sums */
    int32_t depthwise, by_lines;   /* by_lines: as the second part of conv_depthwise.h does it */
    int32_t copies;                /* input pixels are brought together where they would share cache sets */
    int64_t height, pixel_block, pixel_blocks, column_block, column_blocks;
    int64_t weight_bytes, zero_bytes, table_bytes, thread_bytes;
} C(plan);

typedef struct {
    C(args) args;
    C(plan) plan;
    const E *weight, *zeros;
    char *scratch;
} C(job);

/* A block of pixels of one image as tiles of `height` rows: for each tile and kernel point, where each row reads. */
typedef struct {
    int64_t image, pixel, pixels, tiles;
    int64_t least, taller; /* rows of a tile, and how many of the first tiles have one more */
    int32_t is_first; /* of this thread: it meets the weight for the first time */
    const E **rows;
} C(block);

/* What one call of a register tile computes: out[count, width] = start + x w, within bounds; rows beyond
 * count repeat the last. */
typedef struct {
    const E *const *rows;
    int64_t points, inner, shift, count; /* shift: elements from a row's pointer to the group's first channel */
    int64_t distance;                    /* of a depthwise tile: elements to what is fetched for a later one */
    const E *weight, *ahead; /* ahead: what is read later, fetched, 32 bytes a product */
    int64_t weight_step;
    const E *start;
    E *out;
    int64_t out_row;
    int32_t adds; /* to what lies in out, rather than start */
    int32_t is_far; /* the second cache does not hold what is stored: out is asked for before the products are computed */
    int32_t is_bounded;
    E low, high;
} C(tile);

/* Where every window lies inside the input and its pixels side by side, a row of the kernel is one point that has the channels
 * of all its pixels. */
static CASTOFF_UNUSED C(args) C(simplify)(const C(args) *given) {
    C(args) a = *given;
    if (a.kernel[2] > 1 && a.groups == 1 && a.dilation[2] == 1 && a.padding[2] == 0 && a.x_space[2] == a.in_channels &&
        (a.out[2] - 1) * a.stride[2] + a.kernel[2] <= a.in[2]) {
        a.in_channels *= a.kernel[2];
        a.kernel[2] = 1;
    }
    return a;
}

/* A depthwise kernel of 3 x 3 whose nine factors, one vector of channels each, fit the registers beside a few sums. Windows reach
 * over a line's ends by one pixel at most. */
CASTOFF_INLINE int C(suits_lines)(const C(args) *a) {
    return a->in[0] == 1 && a->kernel[0] == 1 && a->kernel[1] == 3 && a->kernel[2] == 3 &&
           a->padding[0] == 0 && a->dilation[1] == 1 && a->dilation[2] == 1 && a->stride[2] <= 2 && a->in[2] >= 3 &&
           a->padding[2] <= 1 && (a->out[2] - 1) * a->stride[2] - a->padding[2] + 3 <= a->in[2] + 1 &&
           a->out_channels % LANES == 0;
}

static CASTOFF_UNUSED C(plan) C(make_plan)(const C(args) *a, int threads) {
    C(plan) p = {.inner = a->in_channels / a->groups, .outer = a->out_channels / a->groups};
    p.points = a->kernel[0] * a->kernel[1] * a->kernel[2];
    p.pixels = a->out[0] * a->out[1] * a->out[2];
    p.depth = p.inner * p.points;
    p.depthwise = castoff_conv_is_depthwise(a->groups, p.inner, p.outer);
    p.by_lines = p.depthwise && C(suits_lines)(a);
    p.height = p.depthwise ? CASTOFF_CONV_DEPTHWISE_ROWS : CASTOFF_CONV_ROWS;
    p.copies = p.points == 1 && a->groups == 1 && p.inner >= 512 &&
               a->stride[2] * a->x_space[2] * (int64_t)sizeof(E) % 4096 == 0;
    p.weight_bytes = a->weight_packed ? 0 : castoff_round_up(a->groups * castoff_round_up(p.outer, CASTOFF_PANEL) * p.depth *
                                                                 (int64_t)sizeof(E), 64);
    p.zero_bytes = castoff_round_up((a->in_channels + 16) * (int64_t)sizeof(E), 64);
    if (p.pixels == 0) return p;
    p.column_block = a->out_channels;
    p.pixel_block = castoff_min_i64(p.pixels, p.depthwise ? 32 * p.height : CASTOFF_CONV_TILES * p.height);
    if (p.by_lines) /* the lines that a vector of channels reads stay in the first cache */
        p.pixel_block = castoff_min_i64(p.pixels, castoff_min_i64(CASTOFF_CONV_LINE_PIXELS, a->out[2] * castoff_max_i64(1,
            castoff_min_i64(CASTOFF_CONV_LINES, CASTOFF_CONV_LINE_PIXELS / castoff_max_i64(1, a->out[2]) - 2))));
    /* Threads share the columns first: a block of fewer pixels reads the whole weight as well. */
    const int64_t wanted = threads > 1 ? 4 * threads : 1, grain = a->groups > 1 && !p.depthwise ? p.outer : 64;
    while (p.column_block > grain && a->batch * castoff_ceil_div(p.pixels, p.pixel_block) *
                                             castoff_ceil_div(a->out_channels, p.column_block) < wanted)
        p.column_block = castoff_max_i64(grain, castoff_round_up(p.column_block / 2, grain));
    p.column_blocks = castoff_ceil_div(a->out_channels, castoff_max_i64(1, p.column_block));
    if (a->groups == 1 && p.column_blocks > 1)
        p.column_block = castoff_round_up(castoff_ceil_div(a->out_channels, p.column_blocks), CASTOFF_CONV_COLUMNS);
    const int64_t shares = a->batch * p.column_blocks;
    while (p.pixel_block > p.height && shares * castoff_ceil_div(p.pixels, p.pixel_block) < wanted)
        p.pixel_block = castoff_round_up(p.pixel_block / 2, p.height);
    p.pixel_blocks = castoff_ceil_div(p.pixels, p.pixel_block);
    if (!p.depthwise) p.pixel_blocks = castoff_conv_even_blocks(p.pixels, p.height, p.pixel_blocks, shares, threads);
    if (!p.by_lines) p.pixel_block = castoff_ceil_div(p.pixels, p.pixel_blocks);
    const int64_t slots = castoff_ceil_div(p.pixel_block, p.height) * p.height;
    p.table_bytes = castoff_round_up((slots + 1) * p.points * (int64_t)sizeof(void *), 64);
    p.thread_bytes = p.table_bytes + (p.copies ? castoff_round_up(p.pixel_block * (p.inner + 16) * (int64_t)sizeof(E), 64) : 0);
    return p;
}

static CASTOFF_UNUSED int64_t C(scratch)(const C(args) *given, int threads) {
    const C(args) a = C(simplify)(given);
    const C(plan) p = C(make_plan)(&a, threads);
    return p.weight_bytes + p.zero_bytes + p.thread_bytes * threads;
}

/* Rows of tile i of a block: as equal as can be. */
CASTOFF_INLINE int64_t C(tile_rows)(const C(block) *b, int64_t tile) {
    return b->least + (tile < b->taller);
}

/* Fills the table of a block. */
static CASTOFF_UNUSED void C(locate)(const C(job) *job, C(block) *b) {
    const C(args) *a = &job->args;
    const C(plan) *p = &job->plan;
    const E *x = a->x + b->image * a->x_batch;
    const int64_t *space = a->x_space;
    int64_t *offsets = (int64_t *)(void *)(b->rows + castoff_ceil_div(p->pixel_block, p->height) * p->height * p->points);
    int64_t reach[3], at = 0;
    for (int i = 0; i < 3; i++) reach[i] = (a->kernel[i] - 1) * a->dilation[i];
    for (int64_t kd = 0; kd < a->kernel[0]; kd++)
        for (int64_t kh = 0; kh < a->kernel[1]; kh++)
            for (int64_t kw = 0; kw < a->kernel[2]; kw++)
                offsets[at++] = kd * a->dilation[0] * space[0] + kh * a->dilation[1] * space[1] + kw * a->dilation[2] * space[2];
    int64_t w = b->pixel % a->out[2], h = b->pixel / a->out[2] % a->out[1], d = b->pixel / a->out[2] / a->out[1];
    /* Windows of the pixels [inside, outside) of a line lie inside the input's lines. */
    const int64_t inside = castoff_ceil_div(a->padding[2], a->stride[2]), last = a->in[2] - 1 - reach[2] + a->padding[2];
    const int64_t outside = last < 0 ? 0 : castoff_min_i64(a->out[2], last / a->stride[2] + 1), step = a->stride[2] * space[2];
    const E **rows = b->rows;
    for (int64_t tile = 0; tile < b->tiles; tile++, rows += p->height * p->points) {
        const int64_t count = C(tile_rows)(b, tile);
        for (int64_t i = 0, run; i < count; i += run) {
            const int64_t d0 = d * a->stride[0] - a->padding[0], h0 = h * a->stride[1] - a->padding[1];
            const int64_t w0 = w * a->stride[2] - a->padding[2];
            const E *origin = x + d0 * space[0] + h0 * space[1] + w0 * space[2];
            if (d0 >= 0 && d0 + reach[0] < a->in[0] && h0 >= 0 && h0 + reach[1] < a->in[1] && w >= inside && w < outside) {
                run = castoff_min_i64(count - i, outside - w);
                for (int64_t point = 0; point < p->points; point++) {
                    const E **row = rows + point * p->height + i, *from = origin + offsets[point];
                    if (run == CASTOFF_CONV_DEPTHWISE_ROWS) /* of a constant length: the loop costs more than the row */
                        CASTOFF_UNROLL for (int j = 0; j < CASTOFF_CONV_DEPTHWISE_ROWS; j++) row[j] = from + j * step;
                    else
                        for (int64_t j = 0; j < run; j++) row[j] = from + j * step;
                }
            } else {
                run = 1;
                const E **row = rows + i;
                for (int64_t kd = 0; kd < a->kernel[0]; kd++)
                    for (int64_t kh = 0; kh < a->kernel[1]; kh++)
                        for (int64_t kw = 0; kw < a->kernel[2]; kw++, row += p->height) {
                            const int64_t from[3] = {d0 + kd * a->dilation[0], h0 + kh * a->dilation[1], w0 + kw * a->dilation[2]};
                            const int is_inside = (uint64_t)from[0] < (uint64_t)a->in[0] &&
                                                  (uint64_t)from[1] < (uint64_t)a->in[1] &&
                                                  (uint64_t)from[2] < (uint64_t)a->in[2];
                            *row = is_inside ? x + from[0] * space[0] + from[1] * space[1] + from[2] * space[2] : job->zeros;
                        }
            }
            w += run;
            if (w == a->out[2]) {
                w = 0;
                if (++h == a->out[1]) {
                    h = 0;
                    d++;
                }
            }
        }
        for (int64_t point = 0; point < p->points; point++)
            for (int64_t i = count; i < p->height; i++) rows[point * p->height + i] = rows[point * p->height + count - 1];
    }
    if (!p->copies) return;
    E *copy = (E *)(void *)((char *)(void *)b->rows + p->table_bytes);
    rows = b->rows;
    for (int64_t tile = 0; tile < b->tiles; tile++, rows += p->height)
        for (int64_t i = 0; i < p->height; i++) {
            if (i < C(tile_rows)(b, tile)) {
                memcpy(copy, rows[i], (size_t)p->inner * sizeof(E));
                copy += p->inner + 16;
            }
            rows[i] = copy - (p->inner + 16);
        }
}

/* Within the bounds of a tile; NaN stays. */
CASTOFF_INLINE V C(within)(const C(tile) *t, V x) { return MIN(SPLAT(t->high), MAX(SPLAT(t->low), x)); }

CASTOFF_INLINE void C(kernel)(const C(tile) *t, const int rows, const int vectors) {
    V acc[CASTOFF_CONV_ROWS][2];
    const E *const *table = t->rows, *weight = t->weight, *ahead = t->ahead;
    const int64_t inner = t->inner, end = t->shift + inner;
    /* A constant where it can be one: every register counts. */
    const int64_t step = vectors * LANES == CASTOFF_CONV_COLUMNS ? CASTOFF_CONV_COLUMNS : t->weight_step;
    const int64_t count = t->count;
    if (t->is_far)
        CASTOFF_UNROLL for (int i = 0; i < rows; i++)
            CASTOFF_UNROLL for (int j = 0; j < vectors; j++)
                __builtin_prefetch(t->out + (i < count ? i : 0) * t->out_row + j * LANES, 1, 3);
    if (t->adds)
        CASTOFF_UNROLL for (int i = 0; i < rows; i++)
            CASTOFF_UNROLL for (int j = 0; j < vectors; j++)
                acc[i][j] = LOAD_E(t->out + (i < count ? i : 0) * t->out_row + j * LANES);
    else
        CASTOFF_UNROLL for (int j = 0; j < vectors; j++) {
            const V start = t->start ? LOAD_E(t->start + j * LANES) : SPLAT(0);
            CASTOFF_UNROLL for (int i = 0; i < rows; i++) acc[i][j] = start;
        }
    CASTOFF_NO_UNROLL for (int64_t point = t->points; point > 0; point--, table += CASTOFF_CONV_ROWS) {
        const E *x[CASTOFF_CONV_ROWS];
        CASTOFF_UNROLL for (int i = 0; i < rows; i++) x[i] = table[i] + end;
        ahead += inner * (32 / (int64_t)sizeof(E));
        CASTOFF_NO_UNROLL for (int64_t k = -inner; k < 0; k++) {
            V column[2];
            __builtin_prefetch((const char *)ahead + 32 * k, 0, 2);
            CASTOFF_UNROLL for (int j = 0; j < vectors; j++) column[j] = LOAD_E(weight + j * LANES);
            CASTOFF_UNROLL for (int i = 0; i < rows; i++) {
                const V element = SPLAT(x[i][k]);
                CASTOFF_UNROLL for (int j = 0; j < vectors; j++) acc[i][j] = FMA(element, column[j], acc[i][j]);
            }
            weight += step;
        }
    }
    if (t->is_bounded) {
        const V low = SPLAT(t->low), high = SPLAT(t->high);
        CASTOFF_UNROLL for (int i = 0; i < rows; i++)
            CASTOFF_UNROLL for (int j = 0; j < vectors; j++) acc[i][j] = MIN(high, MAX(low, acc[i][j]));
    }
    E *out = t->out;
    const int64_t out_row = t->out_row;
    CASTOFF_UNROLL for (int i = 0; i < rows; i++, out += out_row) {
        if (i >= count) break;
        CASTOFF_UNROLL for (int j = 0; j < vectors; j++) STORE_E(out + j * LANES, acc[i][j]);
    }
}

/* A tile of any height: the next higher one there is, whose last rows are not kept. */
#define CASE(rows, vectors) if (t->count <= rows) { C(kernel)(t, rows, vectors); return; }
CASTOFF_NOINLINE void C(tile1)(const C(tile) *t) {
    CASE(1, 1) CASE(3, 1) CASE(6, 1)
#if CASTOFF_CONV_ROWS > 6
    CASE(9, 1) CASE(12, 1)
#endif
}
CASTOFF_NOINLINE void C(tile2)(const C(tile) *t) {
    CASE(1, 2) CASE(2, 2) CASE(4, 2) CASE(5, 2) CASE(6, 2)
#if CASTOFF_CONV_ROWS > 6
    CASE(8, 2) CASE(9, 2) CASE(10, 2) CASE(11, 2) CASE(12, 2)
#endif
}
#undef CASE

/* A finished tile that does not lie in y yet. */
static CASTOFF_UNUSED void C(emit)(const C(args) *a, const E *tile, int64_t stride, const C(block) *b, int64_t row,
                                   int64_t channel, int64_t rows, int64_t channels) {
    if (a->epilogue) {
        a->epilogue(a->epilogue_context, tile, stride, b->pixel + row, channel, rows, channels, b->image);
        return;
    }
    E *y = a->y + b->image * a->y_batch + (b->pixel + row) * a->y_pixel + channel;
    for (int64_t i = 0; i < rows; i++, y += a->y_pixel, tile += stride) {
        int64_t j = 0;
        for (; j + LANES <= channels; j += LANES) STORE_E(y + j, LOAD_E(tile + j));
        if (j < channels) STORE_SOME(y + j, LOAD_E(tile + j), channels - j);
    }
}

/* A part of what each sum takes: kernel points [point, point + points), of their channels [channel, channel + channels). */
typedef struct {
    int64_t point, points, channel, channels;
    int is_last;
} C(part);

CASTOFF_INLINE int64_t C(count_parts)(const C(plan) *p) {
    const int64_t at_once = p->points == 1 ? CASTOFF_CONV_DEPTH : castoff_max_i64(1, CASTOFF_CONV_DEPTH / castoff_max_i64(1, p->inner));
    return castoff_max_i64(1, castoff_ceil_div(p->points == 1 ? p->inner : p->points, castoff_min_i64(at_once, 1 << 30)));
}

CASTOFF_INLINE C(part) C(make_part)(const C(plan) *p, int64_t index, int64_t count) {
    const int64_t whole = p->points == 1 ? p->inner : p->points, size = castoff_ceil_div(whole, count);
    const int64_t from = castoff_min_i64(whole, index * size), length = castoff_min_i64(size, whole - from);
    if (p->points == 1) return (C(part)){0, 1, from, length, index + 1 == count};
    return (C(part)){from, length, 0, p->inner, index + 1 == count};
}

/* What comes from memory later, where fetching it begins: while the weight is new, or too large to be kept, a quarter of that of
 * the block of channels that `next` is in in each of four tiles; else the pixel after the tile's last, for the last kernel point,
 * while the first channels are computed; or nothing. */
CASTOFF_INLINE const E *C(coming)(const C(plan) *p, const C(block) *b, const C(tile) *t, const C(part) *part, const E *weight,
                                  int64_t tile, int64_t next, int is_first) {
    if (tile < 4 && (b->is_first || p->outer * p->depth * (int64_t)sizeof(E) > CASTOFF_L2_BYTES / 2))
        return weight + castoff_round_up(next, CASTOFF_CONV_COLUMNS) * p->depth +
               (part->point * p->inner + part->channel) * CASTOFF_CONV_COLUMNS +
               tile * part->points * part->channels * (32 / (int64_t)sizeof(E));
    return is_first && part->is_last ? t->rows[(part->points - 1) * p->height + t->count - 1] + p->inner : t->weight;
}

/* Where the tiles of some columns of a group go: into y, or into a buffer of a column for each. */
typedef struct {
    int64_t column, count, group;
    E *out;
    int64_t out_row;
    const E *start; /* NULL, or one for each column */
} C(columns);

/* One part of the sums of tiles [first, last), the first of which begins with pixel `row` of the block. */
CASTOFF_INLINE void C(multiply)(const C(plan) *p, const C(block) *b, const C(columns) *c, const C(part) *part, C(tile) *t,
                                const E *weight, int64_t first, int64_t last, int is_first) {
    const int64_t above = (part->point * p->inner + part->channel);
    for (int64_t done = 0; done < c->count; done += 2 * LANES) {
        const int64_t column = c->column + done, panel = column / CASTOFF_CONV_COLUMNS * CASTOFF_CONV_COLUMNS;
        const int64_t next = CASTOFF_CONV_EPILOGUE_TILES == 1 && last - first == 1 ? column + c->count : column + 2 * LANES;
        t->weight_step = castoff_min_i64(CASTOFF_CONV_COLUMNS, castoff_round_up(p->outer - panel, CASTOFF_PANEL));
        t->weight = weight + panel * p->depth + above * t->weight_step + column % CASTOFF_CONV_COLUMNS;
        t->start = c->start ? c->start + done : 0;
        t->out = c->out + done;
        for (int64_t tile = first; tile < last; tile++) {
            t->rows = b->rows + (tile * p->points + part->point) * p->height;
            t->count = C(tile_rows)(b, tile);
            t->ahead = C(coming)(p, b, t, part, weight, tile, next, is_first && done == 0);
            if (c->count - done > LANES)
                C(tile2)(t);
            else
                C(tile1)(t);
            t->out += t->count * c->out_row;
        }
    }
}

/* Output channels [first, first + channels) of one group for a block of pixels: all of them where they are stored, as many as an
 * epilogue takes over; what is left of a vector goes through the buffer. */
static CASTOFF_UNUSED void C(group)(const C(job) *job, const C(block) *b, int64_t group, int64_t first, int64_t channels) {
    const C(args) *a = &job->args;
    const C(plan) *p = &job->plan;
    const E *weight = job->weight + group * castoff_round_up(p->outer, CASTOFF_PANEL) * p->depth;
    const int64_t end = first + channels, whole = first + channels / LANES * LANES, parts = C(count_parts)(p);
    E buffer[CASTOFF_CONV_EPILOGUE_TILES * CASTOFF_CONV_ROWS * CASTOFF_CONV_EPILOGUE_COLUMNS] __attribute__((aligned(64)));
    E start[2 * LANES] __attribute__((aligned(64))) = {0};
    C(tile) t = {.low = a->low, .high = a->high};
    for (int64_t column = first, count; column < end; column += count) {
        const int in_place = a->epilogue == 0 && column < whole;
        count = in_place ? whole - column : castoff_min_i64(CASTOFF_CONV_EPILOGUE_COLUMNS, end - column);
        const int64_t channel = group * p->outer + column, at_once = in_place ? b->tiles : CASTOFF_CONV_EPILOGUE_TILES;
        C(columns) c = {.column = column, .count = count, .out = buffer, .out_row = CASTOFF_CONV_EPILOGUE_COLUMNS};
        if (a->bias && !a->epilogue) {
            c.start = a->bias + channel;
            if (!in_place) c.start = memcpy(start, a->bias + channel, (size_t)count * sizeof(E));
        }
        if (in_place) {
            c.out = a->y + b->image * a->y_batch + b->pixel * a->y_pixel + channel;
            c.out_row = a->y_pixel;
        }
        t.out_row = c.out_row;
        t.is_far = in_place && p->pixels * a->y_pixel * (int64_t)sizeof(E) > CASTOFF_CONV_FAR_BYTES;
        for (int64_t tile = 0, row = 0; tile < b->tiles; tile += at_once) {
            const int64_t last = castoff_min_i64(b->tiles, tile + at_once);
            for (int64_t i = 0; i < parts; i++) {
                const C(part) part = C(make_part)(p, i, parts);
                t.points = part.points;
                t.inner = part.channels;
                t.shift = group * p->inner + part.channel;
                t.adds = i > 0;
                t.is_bounded = a->is_bounded && part.is_last;
                C(multiply)(p, b, &c, &part, &t, weight, tile, last, column == first);
            }
            for (int64_t i = tile, at = 0; i < last; i++) {
                const int64_t rows = C(tile_rows)(b, i);
                if (!in_place) C(emit)(a, buffer + at * c.out_row, c.out_row, b, row, channel, rows, count);
                row += rows;
                at += rows;
            }
        }
    }
}

#if CASTOFF_CONV_HAS_DEPTHWISE
#include "conv_depthwise.h"
#endif

/* Work items in the order image, pixel block, column block. */
static CASTOFF_UNUSED void C(items)(void *context, int64_t begin, int64_t finish, int thread) {
    const C(job) *job = (const C(job) *)context;
    const C(plan) *p = &job->plan;
    C(block) b = {.rows = (const E **)(void *)(job->scratch + p->thread_bytes * thread)};
    int64_t located = -1;
    for (int64_t item = begin; item < finish; item++) {
        const int64_t block = item / p->column_blocks, first = item % p->column_blocks * p->column_block;
        const int64_t channels = castoff_min_i64(p->column_block, job->args.out_channels - first);
        if (block != located) {
            b.image = block / p->pixel_blocks;
            b.pixel = block % p->pixel_blocks * p->pixel_block;
            b.pixels = castoff_min_i64(p->pixel_block, p->pixels - b.pixel);
            b.tiles = castoff_ceil_div(b.pixels, p->height);
            b.least = b.pixels > 0 ? b.pixels / b.tiles : 0;
            b.taller = b.pixels - b.least * b.tiles;
            if (b.pixels > 0 && !p->by_lines) C(locate)(job, &b);
            b.is_first = located < 0;
            located = block;
        }
        if (b.pixels <= 0) continue;
#if CASTOFF_CONV_HAS_DEPTHWISE
        if (p->depthwise) {
            if (p->by_lines)
                C(lines)(job, &b, first, channels);
            else
                C(depthwise)(job, &b, first, channels);
            continue;
        }
#endif
        if (job->args.groups == 1)
            C(group)(job, &b, 0, first, channels);
        else
            for (int64_t group = first / p->outer; group < (first + channels) / p->outer; group++)
                C(group)(job, &b, group, 0, p->outer);
    }
}

/* The weight as pack_conv_weight of compiler/lowering/packing.py lays it out. */
static CASTOFF_UNUSED void C(pack_weight)(const C(args) *a, E *packed) {
    const int64_t inner = a->in_channels / a->groups, outer = a->out_channels / a->groups;
    const int64_t points = a->kernel[0] * a->kernel[1] * a->kernel[2], depth = inner * points;
    const int64_t rounded = castoff_round_up(outer, CASTOFF_PANEL);
    if (castoff_conv_is_depthwise(a->groups, inner, outer)) {
        for (int64_t point = 0; point < points; point++)
            for (int64_t c = 0; c < a->groups; c++) packed[point * a->groups + c] = a->weight[c * points + point];
        return;
    }
    memset(packed, 0, (size_t)(a->groups * rounded * depth) * sizeof(E));
    for (int64_t channel = 0; channel < a->out_channels; channel++) {
        const int64_t column = channel % outer, panel = column / CASTOFF_CONV_COLUMNS * CASTOFF_CONV_COLUMNS;
        const int64_t step = castoff_min_i64(CASTOFF_CONV_COLUMNS, rounded - panel);
        E *out = packed + (channel / outer * rounded + panel) * depth + column % CASTOFF_CONV_COLUMNS;
        const E *in = a->weight + channel * depth;
        for (int64_t c = 0; c < inner; c++)
            for (int64_t point = 0; point < points; point++) out[(point * inner + c) * step] = *in++;
    }
}

static CASTOFF_UNUSED void C(run)(const C(args) *given, castoff_pool *pool, void *scratch) {
    C(job) job = {.args = C(simplify)(given), .weight = given->weight_packed, .scratch = (char *)scratch};
    const C(args) *a = &job.args;
    job.plan = C(make_plan)(a, castoff_pool_threads(pool));
    const C(plan) *p = &job.plan;
    if (a->batch == 0 || a->out_channels == 0 || p->pixels == 0) return;
    if (p->weight_bytes > 0) {
        C(pack_weight)(given, (E *)scratch);
        job.weight = (const E *)scratch;
        job.scratch += p->weight_bytes;
    }
    memset(job.scratch, 0, (size_t)p->zero_bytes);
    job.zeros = (const E *)(const void *)job.scratch;
    job.scratch += p->zero_bytes;
    const int64_t items = a->batch * p->pixel_blocks * p->column_blocks;
    const int64_t work = p->pixel_block * (p->depthwise ? p->column_block : p->column_block * p->inner) * (p->points + 1);
    castoff_parallel_for(pool, items, castoff_ceil_div(1 << (p->depthwise ? 14 : 16), work + 1), C(items), &job);
}

#undef C
#undef G
#undef E
#undef V
#undef LANES
#undef LOAD_E
#undef STORE_E
#undef STORE_SOME
#undef SPLAT
#undef FMA
#undef MIN
#undef MAX
