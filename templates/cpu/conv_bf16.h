/* conv_bf16.h - convolution of bfloat16 with float sums, as conv.h has it for float: row tiles of patches, a row an output
 * pixel, times pair panels of the weight (bf16.h).
 *
 *     castoff_conv_tiled_bf16_args   as castoff_conv_f32_args (conv.h), y, bias and epilogue float too, but
 *         x, weight                  bfloat16 bits, or float that is rounded as it is packed, as x_from and weight_from say
 *         is_bounded                 only with low = 0 and high = infinity
 *         weight_packed              for each group the pair panels of [kernel points * in_channels / groups, out_channels /
 *                                    groups]: compiler/lowering/packing.py::pack_conv_pairs
 *     void castoff_conv_tiled_bf16_run(const castoff_conv_tiled_bf16_args *, castoff_pool *, void *scratch)
 *     int64_t castoff_conv_tiled_bf16_scratch(const castoff_conv_tiled_bf16_args *, int threads)
 */
#ifndef CASTOFF_CPU_CONV_BF16_H
#define CASTOFF_CPU_CONV_BF16_H

#include "gemm_bf16.h"

typedef struct {
    int64_t batch, groups, in_channels, out_channels;
    int64_t in[3], out[3], kernel[3], stride[3], dilation[3], padding[3];
    const void *x;
    int64_t x_batch, x_space[3];
    const void *weight;
    const uint16_t *weight_packed;
    float *y;
    int64_t y_batch, y_pixel;
    const float *bias;
    int32_t is_bounded;
    float low, high;
    castoff_gemm_f32_epilogue epilogue;
    const void *epilogue_context;
    castoff_bf16_source x_from, weight_from;
} castoff_conv_tiled_bf16_args;

typedef struct {
    int64_t in_channels, out_channels; /* of one group */
    int64_t points, pixels, k;
    int64_t pixel_block, channel_block, pixel_blocks, channel_blocks;
    int64_t weight_bytes, patch_bytes, thread_bytes;
} castoff_conv_tiled_bf16_plan;

static CASTOFF_UNUSED castoff_conv_tiled_bf16_plan castoff_conv_tiled_bf16_make_plan(const castoff_conv_tiled_bf16_args *a,
                                                                                     int threads) {
    castoff_conv_tiled_bf16_plan p;
    p.in_channels = a->in_channels / a->groups;
    p.out_channels = a->out_channels / a->groups;
    p.points = a->kernel[0] * a->kernel[1] * a->kernel[2];
    p.pixels = a->out[0] * a->out[1] * a->out[2];
    p.k = p.points * p.in_channels;
    p.weight_bytes = a->weight_packed ? 0 : a->groups * castoff_bf16_size(p.out_channels, p.k) * 2;
    const int64_t row_bytes = castoff_max_i64(1, castoff_bf16_steps(p.k)) * CASTOFF_BF16_STEP * 2;
    p.pixel_block = castoff_min_i64(castoff_max_i64(32, CASTOFF_L2_BYTES / 2 / row_bytes / 32 * 32), 1024);
    p.channel_block = castoff_round_up(p.out_channels, 64);
    const int64_t outer = a->batch * a->groups, wanted = threads > 1 ? 3 * threads : 1;
    while (p.pixel_block > 32 && outer * castoff_ceil_div(p.pixels, p.pixel_block) < wanted)
        p.pixel_block = castoff_round_up(p.pixel_block / 2, 32);
    while (p.channel_block > 64 && outer * castoff_ceil_div(p.pixels, p.pixel_block) *
                                           castoff_ceil_div(p.out_channels, p.channel_block) < threads)
        p.channel_block = castoff_round_up(p.channel_block / 2, 64);
    p.pixel_blocks = castoff_ceil_div(p.pixels, p.pixel_block);
    p.channel_blocks = castoff_ceil_div(p.out_channels, p.channel_block);
    p.patch_bytes = castoff_bf16_size(castoff_min_i64(p.pixel_block, p.pixels), p.k) * 2;
    p.thread_bytes = CASTOFF_BF16_SUM_BYTES + p.patch_bytes + castoff_round_up(row_bytes, 64);
    return p;
}

static CASTOFF_UNUSED int64_t castoff_conv_tiled_bf16_scratch(const castoff_conv_tiled_bf16_args *a, int threads) {
    const castoff_conv_tiled_bf16_plan p = castoff_conv_tiled_bf16_make_plan(a, threads);
    return p.weight_bytes + p.thread_bytes * threads;
}

/* `count` elements of x that follow one another. */
CASTOFF_INLINE void castoff_conv_bf16_copy(uint16_t *out, const void *x, int64_t at, int64_t count, castoff_bf16_source from) {
    if (from == CASTOFF_FROM_BF16) {
        memcpy(out, (const uint16_t *)x + at, (size_t)count * 2);
        return;
    }
    int64_t i = 0;
    for (; i + CASTOFF_VF32_LANES <= count; i += CASTOFF_VF32_LANES)
        *(castoff_vu16_u *)(out + i) = __builtin_convertvector(castoff_bf16_take(x, at + i, from) >> 16, castoff_vu16);
    for (; i < count; i++) out[i] = castoff_bf16_take_one(x, at + i, from);
}

/* The patch of one output pixel: kernel point by kernel point, each with its channels. */
CASTOFF_INLINE void castoff_conv_bf16_patch(const castoff_conv_tiled_bf16_args *a, int64_t start, int64_t channels, int64_t pixel,
                                            uint16_t *row, castoff_bf16_source from) {
    const int64_t line = pixel / a->out[2], width = a->kernel[2] * channels;
    const int64_t first = pixel % a->out[2] * a->stride[2] - a->padding[2];
    const int together = a->dilation[2] == 1 && a->x_space[2] == channels; /* the points of a line of the kernel */
    for (int64_t kd = 0; kd < a->kernel[0]; kd++)
        for (int64_t kh = 0; kh < a->kernel[1]; kh++, row += width) {
            const int64_t d = line / a->out[1] * a->stride[0] - a->padding[0] + kd * a->dilation[0];
            const int64_t h = line % a->out[1] * a->stride[1] - a->padding[1] + kh * a->dilation[1];
            const int64_t origin = start + d * a->x_space[0] + h * a->x_space[1];
            if ((uint64_t)d >= (uint64_t)a->in[0] || (uint64_t)h >= (uint64_t)a->in[1]) {
                memset(row, 0, (size_t)width * 2);
            } else if (together) {
                const int64_t low = castoff_min_i64(a->kernel[2], castoff_max_i64(0, -first));
                const int64_t high = castoff_max_i64(low, castoff_min_i64(a->kernel[2], a->in[2] - first));
                memset(row, 0, (size_t)(low * channels) * 2);
                castoff_conv_bf16_copy(row + low * channels, a->x, origin + (first + low) * channels, (high - low) * channels, from);
                memset(row + high * channels, 0, (size_t)((a->kernel[2] - high) * channels) * 2);
            } else {
                for (int64_t kw = 0; kw < a->kernel[2]; kw++) {
                    const int64_t w = first + kw * a->dilation[2];
                    if ((uint64_t)w >= (uint64_t)a->in[2])
                        memset(row + kw * channels, 0, (size_t)channels * 2);
                    else
                        castoff_conv_bf16_copy(row + kw * channels, a->x, origin + w * a->x_space[2], channels, from);
                }
            }
        }
}

/* Row tiles of pixels [pixel, pixel + count) of one image and group, which begins at x + start. */
static CASTOFF_UNUSED void castoff_conv_bf16_patches(const castoff_conv_tiled_bf16_args *a, int64_t start, int64_t channels,
                                                     int64_t pixel, int64_t count, int64_t k, uint16_t *tiles, uint16_t *row) {
    const int64_t steps = castoff_bf16_steps(k);
    memset(row + k, 0, (size_t)(steps * CASTOFF_BF16_STEP - k) * 2);
    for (int64_t i = 0; i < castoff_round_up(count, 16); i++) {
        uint16_t *out = tiles + i / 16 * steps * CASTOFF_BF16_TILE + i % 16 * CASTOFF_BF16_STEP;
        if (i == count)
            memset(row, 0, (size_t)k * 2);
        else if (i < count && a->x_from == CASTOFF_FROM_F32)
            castoff_conv_bf16_patch(a, start, channels, pixel + i, row, CASTOFF_FROM_F32);
        else if (i < count)
            castoff_conv_bf16_patch(a, start, channels, pixel + i, row, CASTOFF_FROM_BF16);
        for (int64_t step = 0; step < steps; step++)
            memcpy(out + step * CASTOFF_BF16_TILE, row + step * CASTOFF_BF16_STEP, 2 * CASTOFF_BF16_STEP);
    }
}

typedef struct {
    const castoff_conv_tiled_bf16_args *args;
    castoff_conv_tiled_bf16_plan plan;
    const uint16_t *weight;
    char *scratch;
} castoff_conv_tiled_bf16_job;

static CASTOFF_UNUSED void castoff_conv_tiled_bf16_blocks(void *context, int64_t begin, int64_t finish, int thread) {
    const castoff_conv_tiled_bf16_job *job = (const castoff_conv_tiled_bf16_job *)context;
    const castoff_conv_tiled_bf16_args *a = job->args;
    const castoff_conv_tiled_bf16_plan *p = &job->plan;
    char *scratch = job->scratch + p->thread_bytes * thread;
    float *sums = (float *)(void *)scratch;
    uint16_t *patches = (uint16_t *)(void *)(scratch + CASTOFF_BF16_SUM_BYTES);
    uint16_t *row = (uint16_t *)(void *)(scratch + CASTOFF_BF16_SUM_BYTES + p->patch_bytes);
    int64_t packed = -1;
    for (int64_t item = begin; item < finish; item++) {
        const int64_t channel0 = item % p->channel_blocks * p->channel_block, place = item / p->channel_blocks;
        const int64_t pixel0 = place % p->pixel_blocks * p->pixel_block, outer = place / p->pixel_blocks;
        const int64_t group = outer % a->groups, image = outer / a->groups;
        const int64_t pixels = castoff_min_i64(p->pixel_block, p->pixels - pixel0);
        const int64_t channels = castoff_min_i64(p->channel_block, p->out_channels - channel0);
        if (place != packed)
            castoff_conv_bf16_patches(a, image * a->x_batch + group * p->in_channels, p->in_channels, pixel0, pixels, p->k, patches,
                                      row);
        packed = place;
        const castoff_gemm_f32_sink sink = {.c = a->y ? a->y + image * a->y_batch : 0, .c_row = a->y_pixel, .bias_col = a->bias,
                                            .relu = a->is_bounded, .epilogue = a->epilogue, .epilogue_context = a->epilogue_context,
                                            .batch = image};
        const castoff_bf16_block block = {
            .rows = pixels, .cols = channels, .steps = castoff_bf16_steps(p->k), .a = patches,
            .b = job->weight + group * castoff_bf16_size(p->out_channels, p->k) + castoff_bf16_size(channel0, p->k),
            .row0 = pixel0, .col0 = group * p->out_channels + channel0, .rows_outside = pixels > channels};
        castoff_bf16_run_block(&block, &sink, sums);
    }
}

/* Pair panels of the weight [out][in][points], read as [points][in][out]. */
static CASTOFF_UNUSED void castoff_conv_tiled_bf16_pack_weight(void *context, int64_t begin, int64_t finish, int thread) {
    const castoff_conv_tiled_bf16_job *job = (const castoff_conv_tiled_bf16_job *)context;
    const castoff_conv_tiled_bf16_args *a = job->args;
    const castoff_conv_tiled_bf16_plan *p = &job->plan;
    const int64_t panel = castoff_bf16_size(16, p->k);
    (void)thread;
    for (int64_t channel = begin; channel < finish; channel++) {
        const int64_t group = channel / p->out_channels, column = channel % p->out_channels;
        uint16_t *out = (uint16_t *)(void *)job->scratch + group * castoff_bf16_size(p->out_channels, p->k) +
                        column / 16 * panel + column % 16 * 2;
        for (int64_t c = 0; c < p->in_channels; c++)
            for (int64_t point = 0; point < p->points; point++) {
                const int64_t k = point * p->in_channels + c;
                out[k / 2 * 32 + k % 2] =
                    castoff_bf16_take_one(a->weight, (channel * p->in_channels + c) * p->points + point, a->weight_from);
            }
    }
}

static CASTOFF_UNUSED void castoff_conv_tiled_bf16_run(const castoff_conv_tiled_bf16_args *a, castoff_pool *pool, void *scratch) {
    castoff_conv_tiled_bf16_job job = {.args = a, .weight = a->weight_packed, .scratch = (char *)scratch};
    job.plan = castoff_conv_tiled_bf16_make_plan(a, castoff_pool_threads(pool));
    const castoff_conv_tiled_bf16_plan *p = &job.plan;
    if (a->batch == 0 || a->out_channels == 0 || p->pixels == 0) return;
    const int64_t enough = 1 << 17;
    if (p->weight_bytes > 0) {
        memset(job.scratch, 0, (size_t)p->weight_bytes);
        castoff_parallel_for(pool, a->out_channels, castoff_ceil_div(1 << 14, p->k + 1), castoff_conv_tiled_bf16_pack_weight, &job);
        job.weight = (const uint16_t *)(const void *)job.scratch;
        job.scratch += p->weight_bytes;
    }
    const int64_t blocks = a->batch * a->groups * p->pixel_blocks * p->channel_blocks;
    const int64_t work = castoff_min_i64(p->pixel_block, p->pixels) * p->channel_block * (p->k + 1);
    castoff_parallel_for(pool, blocks, castoff_ceil_div(enough, work), castoff_conv_tiled_bf16_blocks, &job);
}

#endif
