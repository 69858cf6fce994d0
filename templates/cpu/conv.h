/* conv.h - convolution of one to three spatial axes over images whose channels lie side by side (NDHWC, NHWC, NWC).
 *
 * For each T of f32 and f64, with E the element:
 *
 *     castoff_conv_T_args
 *         batch, groups, in_channels, out_channels   channels of all groups together
 *         in, out, kernel, stride, dilation, padding depth, height, width; missing leading axes have 1 (padding 0);
 *                                padding is that before the first element; what lies past the end follows from out
 *         x, x_batch, x_space    input, strides in elements; any, but for the channels, which follow one another
 *         weight                 [out_channels][in_channels / groups][kernel...], contiguous, packed on every call; or
 *         weight_packed          as compiler/lowering/packing.py::pack_conv_weight lays it out at build time: for each
 *                                group, blocks of 32 output channels (the last of 16 or 32, filled up with zeros), each
 *                                [kernel points][in_channels / groups][block]; depthwise [kernel points][channels]
 *         y, y_batch, y_pixel    output; the channels of a pixel are contiguous; unused with an epilogue
 *         bias                   NULL or out_channels values; unused with an epilogue
 *         is_bounded, low, high  1 where y is kept within bounds (NaN passes), else 0; unused with an epilogue
 *         epilogue, epilogue_context    as in gemm.h: row = flat output pixel, col = output channel, batch = image
 *     void castoff_conv_T_run(const castoff_conv_T_args *, castoff_pool *, void *scratch)
 *     int64_t castoff_conv_T_scratch(const castoff_conv_T_args *, int threads)     reads no pointer but whether
 *                                weight_packed is NULL
 *
 * A table holds, for every output pixel of a block and every kernel point, where the input's channels lie that it reads:
 * padding is a row of zeros, strides and dilation are other addresses, and one register tile of pixels by output channels
 * does them all. This is the indirect convolution of Dukhan, "The Indirect Convolution Algorithm", 2019.
 *
 * bf16 and f16 (castoff_conv_T_args as castoff_conv_f32_args, x and weight of uint16_t, all else of float) widen x, and weight
 * where it is not packed, into scratch and run the f32 form.
 */
#ifndef CASTOFF_CPU_CONV_H
#define CASTOFF_CPU_CONV_H

#include "gemm.h"

/* Whether some convolution of the unit is depthwise; a unit that knows there is none says so, and has no kernels for them. */
#ifndef CASTOFF_CONV_HAS_DEPTHWISE
#define CASTOFF_CONV_HAS_DEPTHWISE 1
#endif

/* Output channels of a block of the packed weight. */
#define CASTOFF_CONV_COLUMNS 32
/* Pixels of a register tile: as many as there are registers for sums and for pointers. Tiles of a block; of how many of them an
 * epilogue waits for all columns; and how many products a sum takes at a time, so that a second cache of 512 KiB keeps the pixels
 * of a block and the weight that they meet. */
#if CASTOFF_VECTOR_BYTES == 64
#define CASTOFF_CONV_ROWS 12
#define CASTOFF_CONV_TILES 8
#define CASTOFF_CONV_EPILOGUE_TILES 1
#define CASTOFF_CONV_DEPTH INT64_MAX
#else
#define CASTOFF_CONV_ROWS 6
#define CASTOFF_CONV_TILES 9
#define CASTOFF_CONV_EPILOGUE_TILES CASTOFF_CONV_TILES
#define CASTOFF_CONV_DEPTH 1024
#endif
#define CASTOFF_CONV_DEPTHWISE_ROWS 4
/* Pixels and lines of a block of a depthwise convolution by lines. */
#define CASTOFF_CONV_LINE_PIXELS 256
#define CASTOFF_CONV_LINES 16
/* Output channels that an epilogue gets at once, so that its loops pay. */
#define CASTOFF_CONV_EPILOGUE_COLUMNS 128
/* Bytes of an output that no second cache holds. Asking for one that it does hold costs more than it gains. */
#define CASTOFF_CONV_FAR_BYTES (2 << 20)

CASTOFF_INLINE int castoff_conv_is_depthwise(int64_t groups, int64_t inner, int64_t outer) {
    return CASTOFF_CONV_HAS_DEPTHWISE && groups > 1 && inner == 1 && outer == 1;
}

/* Into how many blocks, of `least` or a few more, so many pixels are cut for the busiest thread to have the fewest tiles of `height`;
 * each block is `shares` items. Of many items every thread has about as many anyway. */
static CASTOFF_UNUSED int64_t castoff_conv_even_blocks(int64_t pixels, int64_t height, int64_t least, int64_t shares, int64_t threads) {
    int64_t best = least, fewest = INT64_MAX;
    if (threads == 1 || least * shares >= 16 * threads) return least;
    for (int64_t blocks = least; blocks <= castoff_min_i64(least + 2 * threads, castoff_ceil_div(pixels, height)); blocks++) {
        const int64_t block = castoff_ceil_div(pixels, blocks), items = shares * castoff_ceil_div(pixels, block);
        const int64_t tiles = castoff_ceil_div(items, threads) * castoff_ceil_div(block, height);
        if (tiles < fewest) best = blocks;
        if (tiles < fewest) fewest = tiles;
    }
    return best;
}

#define C(name) castoff_conv_f32_##name
#define G(name) castoff_gemm_f32_##name
#define E float
#define V castoff_vf32
#define LANES CASTOFF_VF32_LANES
#define LOAD_E castoff_load_f32
#define STORE_E castoff_store_f32
#define STORE_SOME castoff_store_some_f32
#define SPLAT castoff_splat_f32
#define FMA castoff_fma_f32
#define MIN castoff_min_f32
#define MAX castoff_max_f32
#include "conv_engine.h"

#define C(name) castoff_conv_f64_##name
#define G(name) castoff_gemm_f64_##name
#define E double
#define V castoff_vf64
#define LANES CASTOFF_VF64_LANES
#define LOAD_E castoff_load_f64
#define STORE_E castoff_store_f64
#define STORE_SOME castoff_store_some_f64
#define SPLAT castoff_splat_f64
#define FMA castoff_fma_f64
#define MIN castoff_min_f64
#define MAX castoff_max_f64
#include "conv_engine.h"

typedef struct {
    int64_t batch, groups, in_channels, out_channels;
    int64_t in[3], out[3], kernel[3], stride[3], dilation[3], padding[3];
    const uint16_t *x;
    int64_t x_batch, x_space[3];
    const uint16_t *weight;
    const float *weight_packed;
    float *y;
    int64_t y_batch, y_pixel;
    const float *bias;
    int32_t is_bounded;
    float low, high;
    castoff_gemm_f32_epilogue epilogue;
    const void *epilogue_context;
} castoff_conv_half_args;

typedef struct {
    const castoff_conv_half_args *args;
    float *x;
} castoff_conv_half_job;

CASTOFF_INLINE int64_t castoff_conv_half_weights(const castoff_conv_half_args *a) {
    return a->out_channels * (a->in_channels / a->groups) * a->kernel[0] * a->kernel[1] * a->kernel[2];
}

/* The f32 convolution of widened operands that will lie in `scratch`: x, then weight; `used` floats of it. */
static CASTOFF_UNUSED castoff_conv_f32_args castoff_conv_half_widened(const castoff_conv_half_args *a, float *scratch,
                                                                      int64_t *used) {
    const int64_t x_floats = castoff_round_up(a->batch * a->in_channels * a->in[0] * a->in[1] * a->in[2], 16);
    *used = x_floats + (a->weight_packed ? 0 : castoff_round_up(castoff_conv_half_weights(a), 16));
    castoff_conv_f32_args wide = {
        .batch = a->batch, .groups = a->groups, .in_channels = a->in_channels, .out_channels = a->out_channels, .x = scratch,
        .x_batch = a->in_channels * a->in[0] * a->in[1] * a->in[2],
        .x_space = {a->in[1] * a->in[2] * a->in_channels, a->in[2] * a->in_channels, a->in_channels},
        .weight_packed = a->weight_packed, .y = a->y, .y_batch = a->y_batch, .y_pixel = a->y_pixel, .bias = a->bias,
        .is_bounded = a->is_bounded, .low = a->low, .high = a->high, .epilogue = a->epilogue, .epilogue_context = a->epilogue_context};
    if (!a->weight_packed && scratch) wide.weight = scratch + x_floats;
    memcpy(wide.in, a->in, sizeof a->in);
    memcpy(wide.out, a->out, sizeof a->out);
    memcpy(wide.kernel, a->kernel, sizeof a->kernel);
    memcpy(wide.stride, a->stride, sizeof a->stride);
    memcpy(wide.dilation, a->dilation, sizeof a->dilation);
    memcpy(wide.padding, a->padding, sizeof a->padding);
    return wide;
}

#define CASTOFF_DEFINE_CONV_HALF(name, widen)                                                                          \
    typedef castoff_conv_half_args castoff_conv_##name##_args;                                                        \
    static CASTOFF_UNUSED void castoff_conv_##name##_widen(void *context, int64_t begin, int64_t end, int thread) {   \
        const castoff_conv_half_job *job = (const castoff_conv_half_job *)context;                                    \
        const castoff_conv_half_args *a = job->args;                                                                  \
        const int64_t lines = a->in[0] * a->in[1], channels = a->in_channels;                                         \
        (void)thread;                                                                                                 \
        for (int64_t line = begin; line < end; line++) {                                                              \
            const uint16_t *x = a->x + line / lines * a->x_batch + line / a->in[1] % a->in[0] * a->x_space[0] +       \
                                line % a->in[1] * a->x_space[1];                                                      \
            float *to = job->x + line * a->in[2] * channels;                                                          \
            for (int64_t w = 0; w < a->in[2]; w++, to += channels, x += a->x_space[2])                                \
                for (int64_t c = 0; c < channels; c++) to[c] = widen(x[c]);                                           \
        }                                                                                                             \
    }                                                                                                                 \
    static CASTOFF_UNUSED int64_t castoff_conv_##name##_scratch(const castoff_conv_half_args *a, int threads) {       \
        int64_t used;                                                                                                 \
        const castoff_conv_f32_args wide = castoff_conv_half_widened(a, 0, &used);                                    \
        return used * 4 + castoff_conv_f32_scratch(&wide, threads);                                                   \
    }                                                                                                                 \
    static CASTOFF_UNUSED void castoff_conv_##name##_run(const castoff_conv_half_args *a, castoff_pool *pool,         \
                                                         void *scratch) {                                             \
        int64_t used;                                                                                                 \
        const castoff_conv_f32_args wide = castoff_conv_half_widened(a, (float *)scratch, &used);                     \
        castoff_conv_half_job job = {a, (float *)scratch};                                                            \
        castoff_parallel_for(pool, a->batch * a->in[0] * a->in[1],                                                    \
                             castoff_ceil_div(1 << 14, a->in[2] * a->in_channels + 1), castoff_conv_##name##_widen,   \
                             &job);                                                                                   \
        if (wide.weight)                                                                                              \
            for (int64_t i = 0; i < castoff_conv_half_weights(a); i++)                                                \
                ((float *)scratch)[wide.weight - (float *)scratch + i] = widen(a->weight[i]);                         \
        castoff_conv_f32_run(&wide, pool, (float *)scratch + used);                                                   \
    }

CASTOFF_DEFINE_CONV_HALF(bf16, castoff_widen_bf16)
CASTOFF_DEFINE_CONV_HALF(f16, castoff_widen_f16)

#endif
