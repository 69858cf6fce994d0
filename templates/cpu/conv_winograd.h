/* conv_winograd.h - float convolutions of 3 x 3 with stride 1 by F(4x4, 3x3): a quarter of the multiplications.
 *
 * Lavin and Gray, "Fast Algorithms for Convolutional Neural Networks", 2015: outputs are cut into tiles of 4 x 4; each reads
 * 6 x 6 inputs, which are transformed, multiplied channel by channel with the transformed weight in 36 matrix products, and
 * transformed back. Sums are rounded in other places than by the definition: answers are off by some 1e-6 of the largest,
 * and an infinity or a NaN spreads to all of its tiles.
 *
 *     castoff_conv_winograd_f32_args     castoff_conv_f32_args (conv.h) of two axes, stride and dilation 1, one group, channels
 *                                        in and out multiples of 16; weight_packed as
 *                                        compiler/lowering/packing.py::pack_conv_winograd lays it out
 *     castoff_conv_winograd_f32_run, _scratch     as conv.h has them
 */
#ifndef CASTOFF_CPU_CONV_WINOGRAD_H
#define CASTOFF_CPU_CONV_WINOGRAD_H

#include "conv.h"

#define CASTOFF_WINOGRAD_POINTS 36
/* Tiles that go through the products together: two of the register tile's rows, so that weights are read half as often. */
#define CASTOFF_WINOGRAD_TILES (2 * CASTOFF_CONV_ROWS)
/* Elements between the rows of transformed inputs, beyond their channels: rows fall on different cache sets. */
#define CASTOFF_WINOGRAD_GAP 16

typedef castoff_conv_f32_args castoff_conv_winograd_f32_args;

typedef struct {
    int64_t across, tiles, block, blocks; /* tiles in a row, in an image, in a block; blocks in an image */
    int64_t row, input_bytes, output_bytes, thread_bytes;
} castoff_winograd_plan;

typedef struct {
    const castoff_conv_f32_args *args;
    castoff_winograd_plan plan;
    char *scratch;
} castoff_winograd_job;

static CASTOFF_UNUSED castoff_winograd_plan castoff_winograd_make_plan(const castoff_conv_f32_args *a, int threads) {
    castoff_winograd_plan p = {.across = castoff_ceil_div(a->out[2], 4), .row = a->in_channels + CASTOFF_WINOGRAD_GAP};
    p.tiles = p.across * castoff_ceil_div(a->out[1], 4);
    int64_t most = CASTOFF_WINOGRAD_TILES;
    if (threads > 1 && a->batch * castoff_ceil_div(p.tiles, most) < 3 * threads) most = CASTOFF_CONV_ROWS;
    p.blocks = castoff_ceil_div(p.tiles, most);
    p.block = p.blocks > 0 ? castoff_ceil_div(p.tiles, p.blocks) : 0;
    p.input_bytes = castoff_round_up(CASTOFF_WINOGRAD_POINTS * p.block * p.row * 4, 64);
    p.output_bytes = castoff_round_up(CASTOFF_WINOGRAD_POINTS * p.block * a->out_channels * 4, 64);
    p.thread_bytes = p.input_bytes + p.output_bytes;
    return p;
}

static CASTOFF_UNUSED int64_t castoff_conv_winograd_f32_scratch(const castoff_conv_f32_args *a, int threads) {
    return castoff_winograd_make_plan(a, threads).thread_bytes * threads;
}

/* B^T d. */
CASTOFF_INLINE void castoff_winograd_forward(const castoff_vf32 d[6], castoff_vf32 out[6]) {
    const castoff_vf32 two = castoff_splat_f32(2), four = castoff_splat_f32(4), five = castoff_splat_f32(5);
    const castoff_vf32 a = castoff_fma_f32(-four, d[2], d[4]), b = castoff_fma_f32(-four, d[1], d[3]);
    const castoff_vf32 c = d[4] - d[2], e = d[3] - d[1];
    out[0] = castoff_fma_f32(four, d[0], castoff_fma_f32(-five, d[2], d[4]));
    out[1] = a + b;
    out[2] = a - b;
    out[3] = castoff_fma_f32(two, e, c);
    out[4] = castoff_fma_f32(-two, e, c);
    out[5] = castoff_fma_f32(four, d[1], castoff_fma_f32(-five, d[3], d[5]));
}

/* A^T m. */
CASTOFF_INLINE void castoff_winograd_back(const castoff_vf32 m[6], castoff_vf32 out[4]) {
    const castoff_vf32 a = m[1] + m[2], b = m[1] - m[2], c = m[3] + m[4], d = m[3] - m[4];
    out[0] = m[0] + a + c;
    out[1] = castoff_fma_f32(castoff_splat_f32(2), d, b);
    out[2] = castoff_fma_f32(castoff_splat_f32(4), c, a);
    out[3] = castoff_fma_f32(castoff_splat_f32(8), d, b) + m[5];
}

/* The transformed input of one tile: point (i, j) at out[(i * 6 + j) * step]. */
static CASTOFF_UNUSED void castoff_winograd_read(const castoff_conv_f32_args *a, const float *x, int64_t h0, int64_t w0,
                                                 float *out, int64_t step) {
    const float *from[6][6];
    for (int64_t i = 0; i < 6; i++)
        for (int64_t j = 0; j < 6; j++) {
            const int64_t h = h0 + i, w = w0 + j;
            const int inside = (uint64_t)h < (uint64_t)a->in[1] && (uint64_t)w < (uint64_t)a->in[2];
            from[i][j] = inside ? x + h * a->x_space[1] + w * a->x_space[2] : 0;
        }
    for (int64_t c = 0; c < a->in_channels; c += CASTOFF_VF32_LANES) {
        castoff_vf32 half[6][6], column[6], turned[6];
        for (int j = 0; j < 6; j++) {
            for (int i = 0; i < 6; i++) column[i] = from[i][j] ? castoff_load_f32(from[i][j] + c) : castoff_splat_f32(0);
            castoff_winograd_forward(column, turned);
            CASTOFF_UNROLL for (int i = 0; i < 6; i++) half[i][j] = turned[i];
        }
        for (int i = 0; i < 6; i++) {
            castoff_winograd_forward(half[i], turned);
            CASTOFF_UNROLL for (int j = 0; j < 6; j++) castoff_store_f32(out + (i * 6 + j) * step + c, turned[j]);
        }
    }
}

/* One vector of channels of a tile, transformed back: 4 x 4 pixels. */
CASTOFF_INLINE void castoff_winograd_finish(const float *in, int64_t step, castoff_vf32 out[4][4]) {
    castoff_vf32 half[4][6], column[6], turned[4];
    for (int j = 0; j < 6; j++) {
        CASTOFF_UNROLL for (int i = 0; i < 6; i++) column[i] = castoff_load_f32(in + (i * 6 + j) * step);
        castoff_winograd_back(column, turned);
        CASTOFF_UNROLL for (int i = 0; i < 4; i++) half[i][j] = turned[i];
    }
    for (int i = 0; i < 4; i++) castoff_winograd_back(half[i], out[i]);
}

/* The outputs of one tile, as far as there are any. */
static CASTOFF_UNUSED void castoff_winograd_write(const castoff_conv_f32_args *a, int64_t image, int64_t h0, int64_t w0,
                                                  const float *in, int64_t step) {
    const int64_t rows = castoff_min_i64(4, a->out[1] - h0), columns = castoff_min_i64(4, a->out[2] - w0);
    const int64_t first = h0 * a->out[2] + w0, widest = CASTOFF_CONV_EPILOGUE_COLUMNS;
    float buffer[16 * CASTOFF_CONV_EPILOGUE_COLUMNS] __attribute__((aligned(64)));
    const castoff_vf32 low = castoff_splat_f32(a->low), high = castoff_splat_f32(a->high);
    for (int64_t begin = 0; begin < a->out_channels; begin += widest) {
        const int64_t channels = castoff_min_i64(widest, a->out_channels - begin);
        for (int64_t c = 0; c < channels; c += CASTOFF_VF32_LANES) {
            castoff_vf32 out[4][4];
            castoff_winograd_finish(in + begin + c, step, out);
            const int has_bias = a->bias != 0 && a->epilogue == 0;
            const castoff_vf32 bias = has_bias ? castoff_load_f32(a->bias + begin + c) : castoff_splat_f32(0);
            for (int64_t i = 0; i < rows; i++)
                for (int64_t j = 0; j < columns; j++) {
                    castoff_vf32 v = out[i][j] + bias;
                    if (a->is_bounded) v = castoff_min_f32(high, castoff_max_f32(low, v));
                    castoff_store_f32(a->epilogue ? buffer + (i * 4 + j) * widest + c
                                                  : a->y + image * a->y_batch + (first + i * a->out[2] + j) * a->y_pixel + begin + c,
                                      v);
                }
        }
        for (int64_t i = 0; a->epilogue && i < rows; i++)
            a->epilogue(a->epilogue_context, buffer + i * 4 * widest, widest, first + i * a->out[2], begin, columns, channels, image);
    }
}

/* The products of all points for `count` tiles. */
static CASTOFF_UNUSED void castoff_winograd_multiply(const castoff_conv_f32_args *a, const castoff_winograd_plan *p,
                                                     const float *in, float *out, int64_t count) {
    const float *rows[CASTOFF_WINOGRAD_TILES];
    const int64_t parts = castoff_ceil_div(count, CASTOFF_CONV_ROWS), outputs = a->out_channels, inputs = a->in_channels;
    castoff_conv_f32_tile t = {.points = 1, .inner = inputs, .out_row = outputs};
    for (int64_t point = 0; point < CASTOFF_WINOGRAD_POINTS; point++, in += p->block * p->row, out += p->block * outputs)
        for (int64_t column = 0; column < outputs; column += 2 * CASTOFF_VF32_LANES) {
            const int64_t panel = column / CASTOFF_CONV_COLUMNS * CASTOFF_CONV_COLUMNS;
            t.weight_step = castoff_min_i64(CASTOFF_CONV_COLUMNS, outputs - panel);
            t.weight = a->weight_packed + (point * outputs + panel) * inputs + column % CASTOFF_CONV_COLUMNS;
            for (int64_t part = 0, tile = 0; part < parts; part++, tile += t.count) {
                t.count = count / parts + (part < count % parts);
                for (int64_t i = 0; i < CASTOFF_CONV_ROWS; i++) rows[i] = in + (tile + castoff_min_i64(i, t.count - 1)) * p->row;
                t.rows = rows;
                t.ahead = t.weight + CASTOFF_CONV_COLUMNS * inputs + part * inputs * 8;
                t.out = out + tile * outputs + column;
                if (outputs - column > CASTOFF_VF32_LANES)
                    castoff_conv_f32_tile2(&t);
                else
                    castoff_conv_f32_tile1(&t);
            }
        }
}

static CASTOFF_UNUSED void castoff_winograd_blocks(void *context, int64_t begin, int64_t finish, int thread) {
    const castoff_winograd_job *job = (const castoff_winograd_job *)context;
    const castoff_conv_f32_args *a = job->args;
    const castoff_winograd_plan *p = &job->plan;
    float *in = (float *)(void *)(job->scratch + p->thread_bytes * thread);
    float *out = (float *)(void *)(job->scratch + p->thread_bytes * thread + p->input_bytes);
    for (int64_t item = begin; item < finish; item++) {
        const int64_t image = item / p->blocks, first = item % p->blocks * p->block;
        const int64_t count = castoff_min_i64(p->block, p->tiles - first);
        const float *x = a->x + image * a->x_batch;
        for (int64_t i = 0; i < count; i++)
            castoff_winograd_read(a, x, (first + i) / p->across * 4 - a->padding[1], (first + i) % p->across * 4 - a->padding[2],
                                  in + i * p->row, p->block * p->row);
        if (count > 0) castoff_winograd_multiply(a, p, in, out, count);
        for (int64_t i = 0; i < count; i++)
            castoff_winograd_write(a, image, (first + i) / p->across * 4, (first + i) % p->across * 4, out + i * a->out_channels,
                                   p->block * a->out_channels);
    }
}

static CASTOFF_UNUSED void castoff_conv_winograd_f32_run(const castoff_conv_f32_args *a, castoff_pool *pool, void *scratch) {
    const castoff_winograd_job job = {a, castoff_winograd_make_plan(a, castoff_pool_threads(pool)), (char *)scratch};
    const int64_t items = a->batch * job.plan.blocks;
    if (items > 0) castoff_parallel_for(pool, items, 1, castoff_winograd_blocks, (void *)&job);
}

#endif
