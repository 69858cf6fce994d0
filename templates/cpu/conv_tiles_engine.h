/* conv_tiles_engine.h - convolutions of narrow types: the body of conv_bf16.h and conv_levels.h. Row tiles of patches, a row
 * an output pixel, times panels of the weight.
 *
 * Expects what gemm_tiles_engine.h expects and made of N(name), with S(sink) for G(sink), and C(name) with C(args), C(make_sink)(args,
 * image), C(padding)(args): the byte that padding is made of, C(copy)(to, x, at, count, source); ELEMENT, STEP, TILE, SUM;
 * SOURCE and OTHER_SOURCE: the two kinds of x_from; PACKS: whether the weight may come unpacked. Every name is undefined
 * again at the end.
 */

typedef struct {
    int64_t in_channels, out_channels; /* of one group */
    int64_t points, pixels, k;
    int64_t pixel_block, channel_block, pixel_blocks, channel_blocks;
    int64_t weight_bytes, patch_bytes, thread_bytes;
} C(plan);

static CASTOFF_UNUSED C(plan) C(make_plan)(const C(args) *a, int threads) {
    C(plan) p;
    p.in_channels = a->in_channels / a->groups;
    p.out_channels = a->out_channels / a->groups;
    p.points = a->kernel[0] * a->kernel[1] * a->kernel[2];
    p.pixels = a->out[0] * a->out[1] * a->out[2];
    p.k = p.points * p.in_channels;
    p.weight_bytes = a->weight_packed ? 0 : a->groups * N(size)(p.out_channels, p.k) * (int64_t)sizeof(ELEMENT);
    const int64_t row_bytes = castoff_max_i64(1, N(steps)(p.k)) * 64;
    p.pixel_block = castoff_min_i64(castoff_max_i64(32, CASTOFF_TILE_L2_BYTES / 2 / row_bytes / 32 * 32), 1024);
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
    p.patch_bytes = N(size)(castoff_min_i64(p.pixel_block, p.pixels), p.k) * (int64_t)sizeof(ELEMENT);
    p.thread_bytes = CASTOFF_TILE_SUM_BYTES + p.patch_bytes + castoff_round_up(row_bytes, 64);
    return p;
}

static CASTOFF_UNUSED int64_t C(scratch)(const C(args) *a, int threads) {
    const C(plan) p = C(make_plan)(a, threads);
    return p.weight_bytes + p.thread_bytes * threads;
}

/* The patch of one output pixel: kernel point by kernel point, each with its channels. */
CASTOFF_INLINE void C(patch)(const C(args) *a, int64_t start, int64_t channels, int64_t pixel, ELEMENT *row, N(source) from) {
    const int fill = C(padding)(a);
    const int64_t line = pixel / a->out[2], width = a->kernel[2] * channels;
    const int64_t first = pixel % a->out[2] * a->stride[2] - a->padding[2];
    const int64_t first_d = line / a->out[1] * a->stride[0] - a->padding[0];
    const int64_t first_h = line % a->out[1] * a->stride[1] - a->padding[1];
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

/* The same where a step holds channels of one point alone: straight into row tiles. */
CASTOFF_INLINE void C(patch_steps)(const C(args) *a, int64_t start, int64_t channels, int64_t pixel, ELEMENT *out, N(source) from) {
    const int fill = C(padding)(a);
    const int64_t line = pixel / a->out[2], first = pixel % a->out[2] * a->stride[2] - a->padding[2];
    const int64_t first_d = line / a->out[1] * a->stride[0] - a->padding[0];
    const int64_t first_h = line % a->out[1] * a->stride[1] - a->padding[1];
    for (int64_t kd = 0; kd < a->kernel[0]; kd++)
        for (int64_t kh = 0; kh < a->kernel[1]; kh++) {
            const int64_t d = first_d + kd * a->dilation[0], h = first_h + kh * a->dilation[1];
            const int64_t origin = start + d * a->x_space[0] + h * a->x_space[1];
            const int outside = (uint64_t)d >= (uint64_t)a->in[0] || (uint64_t)h >= (uint64_t)a->in[1];
            for (int64_t kw = 0; kw < a->kernel[2]; kw++) {
                const int64_t w = first + kw * a->dilation[2], at = origin + w * a->x_space[2];
                const int nothing = outside || (uint64_t)w >= (uint64_t)a->in[2];
                for (int64_t c = 0; c < channels; c += STEP, out += TILE) {
                    if (nothing)
                        memset(out, fill, 64);
                    else
                        C(copy)(out, a->x, at + c, STEP, from);
                }
            }
        }
}

/* Whether output pixels are input pixels, which lie one after another: the patches are rows of a matrix. */
CASTOFF_INLINE int C(is_matrix)(const C(args) *a) {
    int is_same = a->kernel[0] * a->kernel[1] * a->kernel[2] == 1;
    for (int i = 0; i < 3; i++) is_same &= a->stride[i] == 1 && a->padding[i] == 0 && a->out[i] == a->in[i];
    return is_same && (a->in[1] == 1 || a->x_space[1] == a->in[2] * a->x_space[2]) &&
           (a->in[0] == 1 || a->x_space[0] == a->in[1] * a->in[2] * a->x_space[2]);
}

/* Row tiles of pixels [pixel, pixel + count) of one image and group, which begins at x + start. */
static CASTOFF_UNUSED void C(patches)(const C(args) *a, int64_t start, int64_t channels,
                                                     int64_t pixel, int64_t count, int64_t k, ELEMENT *tiles, ELEMENT *row) {
    const int64_t steps = N(steps)(k);
    if (C(is_matrix)(a)) {
        N(pack_rows)(tiles, k, N(at)(a->x, start + pixel * a->x_space[2], a->x_from), a->x_space[2], 1, count, a->x_from);
        return;
    }
    memset(row + k, 0, (size_t)(steps * STEP - k) * sizeof(ELEMENT));
    for (int64_t i = 0; i < castoff_round_up(count, 16); i++) {
        ELEMENT *out = tiles + i / 16 * steps * TILE + i % 16 * STEP;
        if (i < count && channels % STEP == 0) {
            if (a->x_from == SOURCE)
                C(patch_steps)(a, start, channels, pixel + i, out, SOURCE);
            else
                C(patch_steps)(a, start, channels, pixel + i, out, OTHER_SOURCE);
            continue;
        }
        if (i == count)
            memset(row, 0, (size_t)k * sizeof(ELEMENT));
        else if (i < count && a->x_from == SOURCE)
            C(patch)(a, start, channels, pixel + i, row, SOURCE);
        else if (i < count)
            C(patch)(a, start, channels, pixel + i, row, OTHER_SOURCE);
        for (int64_t step = 0; step < steps; step++)
            memcpy(out + step * TILE, row + step * STEP, 64);
    }
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
    ELEMENT *patches = (ELEMENT *)(void *)(scratch + CASTOFF_TILE_SUM_BYTES);
    ELEMENT *row = (ELEMENT *)(void *)(scratch + CASTOFF_TILE_SUM_BYTES + p->patch_bytes);
    int64_t packed = -1;
    for (int64_t item = begin; item < finish; item++) {
        const int64_t channel0 = item % p->channel_blocks * p->channel_block, place = item / p->channel_blocks;
        const int64_t pixel0 = place % p->pixel_blocks * p->pixel_block, outer = place / p->pixel_blocks;
        const int64_t group = outer % a->groups, image = outer / a->groups;
        const int64_t pixels = castoff_min_i64(p->pixel_block, p->pixels - pixel0);
        const int64_t channels = castoff_min_i64(p->channel_block, p->out_channels - channel0);
        if (place != packed)
            C(patches)(a, image * a->x_batch + group * p->in_channels, p->in_channels, pixel0, pixels, p->k, patches, row);
        packed = place;
        const S(sink) sink = C(make_sink)(a, image);
        const N(block) block = {
            .rows = pixels, .cols = channels, .steps = N(steps)(p->k), .a = patches,
            .b = job->weight + group * N(size)(p->out_channels, p->k) + N(size)(channel0, p->k),
            .row0 = pixel0, .col0 = group * p->out_channels + channel0, .rows_outside = pixels > channels};
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
#undef SOURCE
#undef OTHER_SOURCE
#undef PACKS
