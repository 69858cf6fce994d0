/* conv_tiles_engine.h - convolutions of narrow types: the body of conv_bf16.h and conv_levels.h. Rows of pixels, a row an
 * output pixel, times panels of the weight.
 *
 * Where the channels of a point are whole steps, no patches are made: each step of a row is read where its point of the kernel
 * has it. Where output pixels are input pixels that is the input; else a copy with its padding, and where the stride is
 * not 1, one copy for each remainder of a position by the stride. In such a copy any two output pixels are as far apart as
 * what any point reads for them, so that a tile of rows is at one address, with one stride, for each point, as AMX loads it. The
 * price are rows past the end of each line, which AMX computes and leaves; other levels skip them, by a table of where rows begin.
 * Where the price is too much, and with other channels (an image's three), each row is made: the patch that its pixel reads.
 *
 * Expects what gemm_tiles_engine.h expects and made of N(name), with S(sink) for G(sink), and C(name) with C(args),
 * C(make_sink)(args, image), C(padding)(args): the byte that padding is made of, C(copy)(to, x, at, count, source); ELEMENT,
 * STEP, SUM; SOURCE and OTHER_SOURCE: the two kinds of x_from, the second copied as it is; PACKS: whether the weight may come
 * unpacked. Every name is undefined again at the end.
 */

typedef struct {
    int64_t in_channels, out_channels; /* of one group */
    int64_t points, pixels, k;
    int64_t pixel_block, channel_block, pixel_blocks, channel_blocks;
    int64_t weight_bytes, patch_bytes, offset_bytes, thread_bytes;
    enum { C(AS_PATCHES), C(AS_COPIES), C(IN_PLACE) } rows;
    /* Of rows that are no patches: copies along each axis, pixels between lines, lines between layers, elements between
     * pixels, pixels of a copy, and how many more than of a block these are. */
    int64_t copies[3], pitch, lines, a_row, copy_pixels, reach;
} C(plan);

/* Whether output pixels are input pixels, which lie one after another: the patches are rows of a matrix. */
CASTOFF_INLINE int C(is_matrix)(const C(args) *a) {
    int is_same = a->kernel[0] * a->kernel[1] * a->kernel[2] == 1;
    for (int i = 0; i < 3; i++) is_same &= a->stride[i] == 1 && a->padding[i] == 0 && a->out[i] == a->in[i];
    return is_same && (a->in[1] == 1 || a->x_space[1] == a->in[2] * a->x_space[2]) &&
           (a->in[0] == 1 || a->x_space[0] == a->in[1] * a->in[2] * a->x_space[2]);
}

/* How the rows of pixels come about; p->pixels becomes what is computed. */
static CASTOFF_UNUSED void C(plan_rows)(const C(args) *a, C(plan) *p) {
    p->rows = C(AS_PATCHES);
    /* Rows a multiple of a kilobyte apart would share few sets of the first cache. */
    const int64_t patch = N(steps)(p->k) * STEP, apart = 1024 / (int64_t)sizeof(ELEMENT);
    p->a_row = patch + (patch % apart == 0 ? STEP : 0);
    if (p->in_channels == 0 || p->in_channels % STEP != 0) return;
    if (C(is_matrix)(a) && a->x_from == OTHER_SOURCE && p->pixels >= 16) {
        p->rows = C(IN_PLACE);
        p->a_row = a->x_space[2];
        return;
    }
    int64_t shift[3];
    for (int i = 0; i < 3; i++) {
        p->copies[i] = a->dilation[i] == 1 ? castoff_min_i64(a->kernel[i], a->stride[i]) : a->stride[i];
        shift[i] = (a->kernel[i] - 1) * a->dilation[i] / a->stride[i];
    }
    p->pitch = a->out[2] + shift[2];
    p->lines = a->out[1] + shift[1];
    const int64_t computed = ((a->out[0] - 1) * p->lines + a->out[1] - 1) * p->pitch + a->out[2];
    if (p->copies[0] * p->copies[1] * p->copies[2] > p->points || computed > 2 * castoff_round_up(p->pixels, 16)) return;
    p->rows = C(AS_COPIES);
    if (CASTOFF_TILE_IS_WHOLE) p->pixels = computed;
    p->reach = (shift[0] * p->lines + shift[1]) * p->pitch + shift[2] + 16; /* the last tile is read to its end */
    p->a_row = p->in_channels + (p->in_channels % apart == 0 ? STEP : 0);
}

/* Where the row of output pixel `pixel` begins in a copy of all pixels, in pixels. */
CASTOFF_INLINE int64_t C(place)(const C(args) *a, const C(plan) *p, int64_t pixel) {
    if (CASTOFF_TILE_IS_WHOLE) return pixel;
    const int64_t line = pixel / a->out[2];
    return (line / a->out[1] * p->lines + line % a->out[1]) * p->pitch + pixel % a->out[2];
}

/* Pixels of a copy that lie between the first and the last of a block's rows. */
CASTOFF_INLINE int64_t C(reached)(const C(args) *a, const C(plan) *p, int64_t pixel, int64_t pixels) {
    return C(place)(a, p, pixel + pixels - 1) - C(place)(a, p, pixel) + 1;
}

static CASTOFF_UNUSED C(plan) C(make_plan)(const C(args) *a, int threads) {
    C(plan) p = {.in_channels = a->in_channels / a->groups, .out_channels = a->out_channels / a->groups};
    p.points = a->kernel[0] * a->kernel[1] * a->kernel[2];
    p.pixels = a->out[0] * a->out[1] * a->out[2];
    p.k = p.points * p.in_channels;
    p.weight_bytes = a->weight_packed ? 0 : a->groups * N(size)(p.out_channels, p.k) * (int64_t)sizeof(ELEMENT);
    if (p.pixels == 0) return p;
    const int64_t row_bytes = castoff_max_i64(1, N(steps)(p.k)) * 64; /* about */
    C(plan_rows)(a, &p);
    p.pixel_block = castoff_min_i64(castoff_max_i64(32, CASTOFF_TILE_L2_BYTES / 2 / row_bytes / 32 * 32), 1024);
    const int64_t copied_bytes = p.copies[0] * p.copies[1] * p.copies[2] * p.a_row * (int64_t)sizeof(ELEMENT);
    if (p.rows == C(AS_COPIES)) /* what a block reads beyond its own is copied again for the next one */
        p.pixel_block = castoff_max_i64(castoff_max_i64(256, p.reach), CASTOFF_TILE_L2_BYTES / 2 / copied_bytes - p.reach);
    /* Blocks of about equal size. */
    p.pixel_block = castoff_round_up(castoff_ceil_div(p.pixels, castoff_max_i64(1, castoff_ceil_div(p.pixels, p.pixel_block))), 32);
    p.channel_block = castoff_round_up(p.out_channels, 64);
    const int64_t outer = a->batch * a->groups, wanted = threads > 1 ? 3 * threads : 1;
    while (p.pixel_block > 32 && outer * castoff_ceil_div(p.pixels, p.pixel_block) < wanted)
        p.pixel_block = castoff_round_up(p.pixel_block / 2, 32);
    while (p.channel_block > 64 && outer * castoff_ceil_div(p.pixels, p.pixel_block) *
                                           castoff_ceil_div(p.out_channels, p.channel_block) < threads)
        p.channel_block = castoff_round_up(p.channel_block / 2, 64);
    p.pixel_blocks = castoff_ceil_div(p.pixels, p.pixel_block);
    p.channel_blocks = castoff_ceil_div(p.out_channels, p.channel_block);
    const int64_t rows = castoff_round_up(castoff_min_i64(p.pixel_block, p.pixels), 32);
    if (p.rows == C(AS_COPIES))
        for (int64_t first = 0; first < p.pixels; first += p.pixel_block) {
            const int64_t reached = C(reached)(a, &p, first, castoff_min_i64(p.pixel_block, p.pixels - first));
            p.copy_pixels = castoff_max_i64(p.copy_pixels, p.reach + castoff_max_i64(rows, reached));
        }
    p.patch_bytes = p.rows == C(IN_PLACE)    ? 0
                    : p.rows == C(AS_COPIES) ? castoff_round_up(p.copy_pixels * copied_bytes, 64)
                                             : rows * p.a_row * (int64_t)sizeof(ELEMENT);
    p.offset_bytes = castoff_round_up(N(steps)(p.k) * (int64_t)sizeof(int64_t), 64);
    p.thread_bytes = SUM_BYTES + p.patch_bytes + p.offset_bytes +
                     (p.rows == C(AS_COPIES) && !CASTOFF_TILE_IS_WHOLE ? rows * (int64_t)sizeof(int64_t) : 0);
    return p;
}

static CASTOFF_UNUSED int64_t C(scratch)(const C(args) *a, int threads) {
    const C(plan) p = C(make_plan)(a, threads);
    return p.weight_bytes + p.thread_bytes * threads;
}

/* The patch of output pixel `at`: kernel point by kernel point, each with its channels. */
CASTOFF_INLINE void C(patch)(const C(args) *a, int64_t start, int64_t channels, const int64_t *at, ELEMENT *row, N(source) from) {
    const int fill = C(padding)(a);
    const int64_t width = a->kernel[2] * channels, first = at[2] * a->stride[2] - a->padding[2];
    const int64_t first_d = at[0] * a->stride[0] - a->padding[0], first_h = at[1] * a->stride[1] - a->padding[1];
    const int together = a->dilation[2] == 1 && a->x_space[2] == channels; /* the points of a line of the kernel */
    for (int64_t kd = 0; kd < a->kernel[0]; kd++)
        for (int64_t kh = 0; kh < a->kernel[1]; kh++, row += width) {
            const int64_t d = first_d + kd * a->dilation[0], h = first_h + kh * a->dilation[1];
            const int64_t origin = start + d * a->x_space[0] + h * a->x_space[1];
            if ((uint64_t)d >= (uint64_t)a->in[0] || (uint64_t)h >= (uint64_t)a->in[1]) {
                memset(row, fill, (size_t)width * sizeof(ELEMENT));
            } else if (together) {
                const int64_t low = castoff_min_i64(a->kernel[2], castoff_max_i64(0, -first));
                const int64_t high = castoff_max_i64(low, castoff_min_i64(a->kernel[2], a->in[2] - first));
                if (low > 0) memset(row, fill, (size_t)(low * channels) * sizeof(ELEMENT));
                C(copy)(row + low * channels, a->x, origin + (first + low) * channels, (high - low) * channels, from);
                if (high < a->kernel[2])
                    memset(row + high * channels, fill, (size_t)((a->kernel[2] - high) * channels) * sizeof(ELEMENT));
            } else {
                for (int64_t kw = 0; kw < a->kernel[2]; kw++) {
                    const int64_t w = first + kw * a->dilation[2];
                    if ((uint64_t)w >= (uint64_t)a->in[2])
                        memset(row + kw * channels, fill, (size_t)channels * sizeof(ELEMENT));
                    else
                        C(copy)(row + kw * channels, a->x, origin + w * a->x_space[2], channels, from);
                }
            }
        }
}

/* The patches of pixels [pixel, pixel + count) of the image and group that begins at x + start. */
CASTOFF_INLINE void C(patches_from)(const C(args) *a, const C(plan) *p, int64_t start, int64_t pixel, int64_t count, ELEMENT *row,
                                    N(source) from) {
    const int is_matrix = C(is_matrix)(a);
    int64_t at[3] = {pixel / a->out[2] / a->out[1], pixel / a->out[2] % a->out[1], pixel % a->out[2]};
    for (int64_t i = pixel; i < pixel + count; i++, row += p->a_row) {
        if (is_matrix)
            C(copy)(row, a->x, start + i * a->x_space[2], p->k, from);
        else
            C(patch)(a, start, p->in_channels, at, row, from);
        memset(row + p->k, 0, (size_t)(N(steps)(p->k) * STEP - p->k) * sizeof(ELEMENT));
        if (++at[2] == a->out[2]) {
            at[2] = 0;
            if (++at[1] == a->out[1]) {
                at[1] = 0;
                at[0]++;
            }
        }
    }
}

/* The copy number `part` along an axis has positions part, part + stride, ... of the padded input; which one a point of the
 * kernel reads, and how much further on. */
CASTOFF_INLINE int64_t C(part)(const C(args) *a, int axis, int64_t point) { return point * a->dilation[axis] % a->stride[axis]; }
CASTOFF_INLINE int64_t C(shift)(const C(args) *a, int axis, int64_t point) { return point * a->dilation[axis] / a->stride[axis]; }

/* Where the steps of a row lie, from the row on. */
static CASTOFF_UNUSED void C(locate)(const C(args) *a, const C(plan) *p, int64_t *offsets) {
    if (p->rows != C(AS_COPIES)) {
        for (int64_t step = 0; step < N(steps)(p->k); step++) offsets[step] = step * STEP;
        return;
    }
    for (int64_t kd = 0; kd < a->kernel[0]; kd++)
        for (int64_t kh = 0; kh < a->kernel[1]; kh++)
            for (int64_t kw = 0; kw < a->kernel[2]; kw++) {
                const int64_t part = (C(part)(a, 0, kd) * p->copies[1] + C(part)(a, 1, kh)) * p->copies[2] + C(part)(a, 2, kw);
                const int64_t shift = (C(shift)(a, 0, kd) * p->lines + C(shift)(a, 1, kh)) * p->pitch + C(shift)(a, 2, kw);
                for (int64_t c = 0; c < p->in_channels; c += STEP)
                    *offsets++ = (part * p->copy_pixels + shift) * p->a_row + c;
            }
}

/* Where the rows of pixels [pixel, pixel + count) begin in a copy that begins with the first of them. */
static CASTOFF_UNUSED void C(locate_rows)(const C(args) *a, const C(plan) *p, int64_t pixel, int64_t count, int64_t *row_at) {
    int64_t w = pixel % a->out[2], h = pixel / a->out[2] % a->out[1], at = 0;
    for (int64_t i = 0; i < count; i++, at++) {
        row_at[i] = at * p->a_row;
        if (++w < a->out[2]) continue;
        w = 0;
        at += p->pitch - a->out[2];
        if (++h < a->out[1]) continue;
        h = 0;
        at += (p->lines - a->out[1]) * p->pitch;
    }
}

/* The copies that a block of `count` pixels from `pixel` on reads, of the image and group that begins at x + start. */
CASTOFF_INLINE void C(copy_from)(const C(args) *a, const C(plan) *p, int64_t start, int64_t pixel, int64_t count, ELEMENT *out,
                                 N(source) from) {
    const int fill = C(padding)(a);
    const int64_t first_w = pixel % p->pitch, first_line = pixel / p->pitch, all = count + p->reach;
    for (int64_t part = 0; part < p->copies[0] * p->copies[1] * p->copies[2]; part++, out += p->copy_pixels * p->a_row) {
        const int64_t part_w = part % p->copies[2], part_h = part / p->copies[2] % p->copies[1];
        const int64_t part_d = part / p->copies[2] / p->copies[1];
        ELEMENT *to = out;
        int64_t w = first_w, line = first_line;
        for (int64_t i = 0, run; i < all; i += run, line++, w = 0) {
            run = castoff_min_i64(all - i, p->pitch - w);
            const int64_t d = line / p->lines * a->stride[0] + part_d - a->padding[0];
            const int64_t h = line % p->lines * a->stride[1] + part_h - a->padding[1];
            const int outside = (uint64_t)d >= (uint64_t)a->in[0] || (uint64_t)h >= (uint64_t)a->in[1];
            const int64_t origin = start + d * a->x_space[0] + h * a->x_space[1];
            for (int64_t j = 0; j < run; j++, to += p->a_row) {
                const int64_t x = (w + j) * a->stride[2] + part_w - a->padding[2];
                if (outside || (uint64_t)x >= (uint64_t)a->in[2])
                    memset(to, fill, (size_t)p->in_channels * sizeof(ELEMENT));
                else
                    C(copy)(to, a->x, origin + x * a->x_space[2], p->in_channels, from);
            }
        }
    }
}

static CASTOFF_UNUSED void C(copies)(const C(args) *a, const C(plan) *p, int64_t start, int64_t pixel, int64_t count,
                                     ELEMENT *out) {
    if (a->x_from == SOURCE)
        C(copy_from)(a, p, start, pixel, count, out, SOURCE);
    else
        C(copy_from)(a, p, start, pixel, count, out, OTHER_SOURCE);
}

static CASTOFF_UNUSED void C(patches)(const C(args) *a, const C(plan) *p, int64_t start, int64_t pixel, int64_t count,
                                      ELEMENT *out) {
    if (a->x_from == SOURCE)
        C(patches_from)(a, p, start, pixel, count, out, SOURCE);
    else
        C(patches_from)(a, p, start, pixel, count, out, OTHER_SOURCE);
}

typedef struct {
    const C(args) *args;
    C(plan) plan;
    const ELEMENT *weight;
    char *scratch;
} C(job);

static CASTOFF_UNUSED void C(blocks)(void *context, int64_t begin, int64_t finish, int thread) {
    const C(job) *job = (const C(job) *)context;
    const C(args) *a = job->args;
    const C(plan) *p = &job->plan;
    char *scratch = job->scratch + p->thread_bytes * thread;
    SUM *sums = (SUM *)(void *)scratch;
    ELEMENT *patches = (ELEMENT *)(void *)(scratch + SUM_BYTES);
    int64_t *offsets = (int64_t *)(void *)(scratch + SUM_BYTES + p->patch_bytes);
    int64_t *row_at = (int64_t *)(void *)(scratch + SUM_BYTES + p->patch_bytes + p->offset_bytes);
    int64_t packed = -1;
    C(locate)(a, p, offsets);
    for (int64_t item = begin; item < finish; item++) {
        const int64_t channel0 = item % p->channel_blocks * p->channel_block, place = item / p->channel_blocks;
        const int64_t pixel0 = place % p->pixel_blocks * p->pixel_block, outer = place / p->pixel_blocks;
        const int64_t group = outer % a->groups, image = outer / a->groups;
        const int64_t pixels = castoff_min_i64(p->pixel_block, p->pixels - pixel0);
        const int64_t channels = castoff_min_i64(p->channel_block, p->out_channels - channel0);
        const int64_t start = image * a->x_batch + group * p->in_channels;
        if (place != packed && p->rows == C(AS_PATCHES))
            C(patches)(a, p, start, pixel0, pixels, patches);
        else if (place != packed && p->rows == C(AS_COPIES))
            C(copies)(a, p, start, C(place)(a, p, pixel0), C(reached)(a, p, pixel0, pixels), patches);
        if (place != packed && p->rows == C(AS_COPIES) && !CASTOFF_TILE_IS_WHOLE)
            C(locate_rows)(a, p, pixel0, pixels, row_at);
        packed = place;
        const S(sink) sink = C(make_sink)(a, image);
        N(block) block = {
            .rows = pixels, .cols = channels, .steps = N(steps)(p->k), .a = patches, .a_row = p->a_row, .offsets = offsets,
            .b = job->weight + group * N(size)(p->out_channels, p->k) + N(size)(channel0, p->k), .rows_there = INT64_MAX,
            .row0 = pixel0, .col0 = group * p->out_channels + channel0, .rows_outside = pixels > channels};
        if (p->rows == C(IN_PLACE)) {
            block.a = (const ELEMENT *)a->x + start + pixel0 * p->a_row;
            block.rows_there = pixels;
        } else if (p->rows == C(AS_COPIES) && !CASTOFF_TILE_IS_WHOLE) {
            block.row_at = row_at;
        } else if (p->rows == C(AS_COPIES)) {
            block.grid = (N(grid)){p->pitch, a->out[2], p->lines, a->out[1]};
        }
        N(run_block)(&block, &sink, sums);
    }
}

#if PACKS
/* Pair panels of the weight [out][in][points], read as [points][in][out]. */
static CASTOFF_UNUSED void C(pack_weight)(void *context, int64_t begin, int64_t finish, int thread) {
    const C(job) *job = (const C(job) *)context;
    const C(args) *a = job->args;
    const C(plan) *p = &job->plan;
    const int64_t panel = N(size)(16, p->k);
    (void)thread;
    for (int64_t channel = begin; channel < finish; channel++) {
        const int64_t group = channel / p->out_channels, column = channel % p->out_channels;
        ELEMENT *out = (ELEMENT *)(void *)job->scratch + group * N(size)(p->out_channels, p->k) +
                        column / 16 * panel + column % 16 * 2;
        for (int64_t c = 0; c < p->in_channels; c++)
            for (int64_t point = 0; point < p->points; point++) {
                const int64_t k = point * p->in_channels + c;
                out[k / 2 * 32 + k % 2] =
                    N(take_one)(a->weight, (channel * p->in_channels + c) * p->points + point, a->weight_from);
            }
    }
}
#endif

static CASTOFF_UNUSED void C(run)(const C(args) *a, castoff_pool *pool, void *scratch) {
    C(job) job = {.args = a, .weight = a->weight_packed, .scratch = (char *)scratch};
    job.plan = C(make_plan)(a, castoff_pool_threads(pool));
    const C(plan) *p = &job.plan;
    if (a->batch == 0 || a->out_channels == 0 || p->pixels == 0) return;
    const int64_t enough = 1 << 17;
#if PACKS
    if (p->weight_bytes > 0) {
        memset(job.scratch, 0, (size_t)p->weight_bytes);
        castoff_parallel_for(pool, a->out_channels, castoff_ceil_div(1 << 14, p->k + 1), C(pack_weight), &job);
        job.weight = (const ELEMENT *)(const void *)job.scratch;
        job.scratch += p->weight_bytes;
    }
#endif
    const int64_t blocks = a->batch * a->groups * p->pixel_blocks * p->channel_blocks;
    const int64_t work = castoff_min_i64(p->pixel_block, p->pixels) * p->channel_block * (p->k + 1);
    castoff_parallel_for(pool, blocks, castoff_ceil_div(enough, work), C(blocks), &job);
}

#undef N
#undef C
#undef S
#undef ELEMENT
#undef STEP
#undef TILE
#undef SUM
#undef SUM_BYTES
#undef SOURCE
#undef OTHER_SOURCE
#undef PACKS
