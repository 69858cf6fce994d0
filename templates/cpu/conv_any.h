/* conv_any.h - convolutions of the types that conv.h does not have: plain, blocked by output row, no packing.
 *
 * For each T of f64, i8 u8 i16 u16 i32 u32 i64 u64 (wrap-around in their own type), c64, c128:
 *     castoff_conv_T_args        as castoff_conv_f32_args with T for float, but for weight_packed, bias and relu, which do
 *                                not exist here; weight as for the f32 form; the epilogue's tiles are 1 x up to 64 of T
 *     castoff_conv_T_run(args, pool), castoff_conv_transposed_T_run(args, pool)      no scratch
 *
 * bf16 and f16 (castoff_conv_T_args as castoff_conv_f32_args, x and weight of uint16_t, weight_packed and all else of
 * float) widen x, and weight where it is not packed, into scratch and run the f32 form:
 *     castoff_conv_T_run(args, pool, scratch), castoff_conv_T_scratch(args, threads), and the same transposed
 */
#ifndef CASTOFF_CPU_CONV_ANY_H
#define CASTOFF_CPU_CONV_ANY_H

#include "conv.h"

#define CASTOFF_CONV_ROW 64

#define C(name) castoff_conv_f64_##name
#define CT(name) castoff_conv_transposed_f64_##name
#define T double
#define PART double
#define WIDE double
#define PARTS 1
#include "conv_any_engine.h"

#define C(name) castoff_conv_i8_##name
#define CT(name) castoff_conv_transposed_i8_##name
#define T int8_t
#define PART int8_t
#define WIDE uint32_t
#define PARTS 1
#include "conv_any_engine.h"

#define C(name) castoff_conv_u8_##name
#define CT(name) castoff_conv_transposed_u8_##name
#define T uint8_t
#define PART uint8_t
#define WIDE uint32_t
#define PARTS 1
#include "conv_any_engine.h"

#define C(name) castoff_conv_i16_##name
#define CT(name) castoff_conv_transposed_i16_##name
#define T int16_t
#define PART int16_t
#define WIDE uint32_t
#define PARTS 1
#include "conv_any_engine.h"

#define C(name) castoff_conv_u16_##name
#define CT(name) castoff_conv_transposed_u16_##name
#define T uint16_t
#define PART uint16_t
#define WIDE uint32_t
#define PARTS 1
#include "conv_any_engine.h"

#define C(name) castoff_conv_i32_##name
#define CT(name) castoff_conv_transposed_i32_##name
#define T int32_t
#define PART int32_t
#define WIDE uint32_t
#define PARTS 1
#include "conv_any_engine.h"

#define C(name) castoff_conv_u32_##name
#define CT(name) castoff_conv_transposed_u32_##name
#define T uint32_t
#define PART uint32_t
#define WIDE uint32_t
#define PARTS 1
#include "conv_any_engine.h"

#define C(name) castoff_conv_i64_##name
#define CT(name) castoff_conv_transposed_i64_##name
#define T int64_t
#define PART int64_t
#define WIDE uint64_t
#define PARTS 1
#include "conv_any_engine.h"

#define C(name) castoff_conv_u64_##name
#define CT(name) castoff_conv_transposed_u64_##name
#define T uint64_t
#define PART uint64_t
#define WIDE uint64_t
#define PARTS 1
#include "conv_any_engine.h"

#define C(name) castoff_conv_c64_##name
#define CT(name) castoff_conv_transposed_c64_##name
#define T float _Complex
#define PART float
#define WIDE float
#define PARTS 2
#include "conv_any_engine.h"

#define C(name) castoff_conv_c128_##name
#define CT(name) castoff_conv_transposed_c128_##name
#define T double _Complex
#define PART double
#define WIDE double
#define PARTS 2
#include "conv_any_engine.h"

typedef struct {
    int64_t batch, groups, in_channels, out_channels;
    int64_t in[3], out[3], kernel[3], stride[3], dilation[3], padding[3];
    const uint16_t *x;
    int64_t x_batch, x_channel, x_space[3];
    const uint16_t *weight;
    const float *weight_packed;
    float *y;
    int64_t y_batch, y_channel;
    const float *bias;
    int32_t relu;
    castoff_gemm_f32_epilogue epilogue;
    const void *epilogue_context;
} castoff_conv_half_args;

typedef struct {
    const castoff_conv_half_args *args;
    float *x;
} castoff_conv_half_job;

CASTOFF_INLINE int64_t castoff_conv_half_weights(const castoff_conv_half_args *a, int transposed) {
    return (transposed ? a->in_channels * (a->out_channels / a->groups) : a->out_channels * (a->in_channels / a->groups)) *
           a->kernel[0] * a->kernel[1] * a->kernel[2];
}

/* The f32 convolution of widened operands that will lie in `scratch`: x, then weight; `used` floats of it. */
static CASTOFF_UNUSED castoff_conv_f32_args castoff_conv_half_widened(const castoff_conv_half_args *a, int transposed,
                                                                      float *scratch, int64_t *used) {
    const int64_t pixels = a->in[0] * a->in[1] * a->in[2];
    const int64_t x_floats = castoff_round_up(a->batch * a->in_channels * pixels, 16);
    *used = x_floats + (a->weight_packed ? 0 : castoff_round_up(castoff_conv_half_weights(a, transposed), 16));
    castoff_conv_f32_args wide = {
        .batch = a->batch, .groups = a->groups, .in_channels = a->in_channels, .out_channels = a->out_channels, .x = scratch,
        .x_batch = a->in_channels * pixels, .x_channel = pixels, .x_space = {a->in[1] * a->in[2], a->in[2], 1},
        .weight_packed = a->weight_packed, .y = a->y, .y_batch = a->y_batch, .y_channel = a->y_channel, .bias = a->bias,
        .relu = a->relu, .epilogue = a->epilogue, .epilogue_context = a->epilogue_context};
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
        (void)thread;                                                                                                 \
        for (int64_t plane = begin; plane < end; plane++) {                                                           \
            const uint16_t *x = a->x + plane / a->in_channels * a->x_batch + plane % a->in_channels * a->x_channel;   \
            float *to = job->x + plane * a->in[0] * a->in[1] * a->in[2];                                              \
            for (int64_t d = 0; d < a->in[0]; d++)                                                                    \
                for (int64_t h = 0; h < a->in[1]; h++, to += a->in[2])                                                \
                    for (int64_t w = 0; w < a->in[2]; w++)                                                            \
                        to[w] = widen(x[d * a->x_space[0] + h * a->x_space[1] + w * a->x_space[2]]);                  \
        }                                                                                                             \
    }                                                                                                                 \
    static CASTOFF_UNUSED castoff_conv_f32_args castoff_conv_##name##_prepare(                                        \
        const castoff_conv_half_args *a, int transposed, castoff_pool *pool, float *scratch, int64_t *used) {         \
        const castoff_conv_f32_args wide = castoff_conv_half_widened(a, transposed, scratch, used);                   \
        castoff_conv_half_job job = {a, scratch};                                                                     \
        castoff_parallel_for(pool, a->batch * a->in_channels,                                                         \
                             castoff_ceil_div(1 << 14, a->in[0] * a->in[1] * a->in[2] + 1),                           \
                             castoff_conv_##name##_widen, &job);                                                      \
        if (wide.weight)                                                                                              \
            for (int64_t i = 0; i < castoff_conv_half_weights(a, transposed); i++)                                    \
                scratch[wide.weight - scratch + i] = widen(a->weight[i]);                                             \
        return wide;                                                                                                  \
    }                                                                                                                 \
    static CASTOFF_UNUSED int64_t castoff_conv_##name##_scratch(const castoff_conv_half_args *a, int threads) {       \
        int64_t used;                                                                                                 \
        const castoff_conv_f32_args wide = castoff_conv_half_widened(a, 0, 0, &used);                                 \
        return used * 4 + castoff_conv_f32_scratch(&wide, threads);                                                   \
    }                                                                                                                 \
    static CASTOFF_UNUSED void castoff_conv_##name##_run(const castoff_conv_half_args *a, castoff_pool *pool,         \
                                                         void *scratch) {                                             \
        int64_t used;                                                                                                 \
        const castoff_conv_f32_args wide = castoff_conv_##name##_prepare(a, 0, pool, (float *)scratch, &used);        \
        castoff_conv_f32_run(&wide, pool, (float *)scratch + used);                                                   \
    }                                                                                                                 \
    static CASTOFF_UNUSED int64_t castoff_conv_transposed_##name##_scratch(const castoff_conv_half_args *a,           \
                                                                           int threads) {                             \
        int64_t used;                                                                                                 \
        const castoff_conv_f32_args wide = castoff_conv_half_widened(a, 1, 0, &used);                                 \
        return used * 4 + castoff_conv_transposed_f32_scratch(&wide, threads);                                        \
    }                                                                                                                 \
    static CASTOFF_UNUSED void castoff_conv_transposed_##name##_run(const castoff_conv_half_args *a,                  \
                                                                    castoff_pool *pool, void *scratch) {              \
        int64_t used;                                                                                                 \
        const castoff_conv_f32_args wide = castoff_conv_##name##_prepare(a, 1, pool, (float *)scratch, &used);        \
        castoff_conv_transposed_f32_run(&wide, pool, (float *)scratch + used);                                        \
    }

CASTOFF_DEFINE_CONV_HALF(bf16, castoff_widen_bf16)
CASTOFF_DEFINE_CONV_HALF(f16, castoff_widen_f16)

#endif
