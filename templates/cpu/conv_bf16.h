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

CASTOFF_INLINE castoff_gemm_bf16_sink castoff_conv_tiled_bf16_make_sink(const castoff_conv_tiled_bf16_args *a, int64_t image) {
    return (castoff_gemm_bf16_sink){.c = a->y ? a->y + image * a->y_batch : 0, .c_row = a->y_pixel, .bias_col = a->bias,
                                    .relu = a->is_bounded, .epilogue = a->epilogue, .epilogue_context = a->epilogue_context,
                                    .batch = image};
}

CASTOFF_INLINE int castoff_conv_tiled_bf16_padding(const castoff_conv_tiled_bf16_args *a) {
    (void)a;
    return 0;
}

/* `count` elements of x that follow one another. */
CASTOFF_INLINE void castoff_conv_tiled_bf16_copy(uint16_t *out, const void *x, int64_t at, int64_t count, castoff_bf16_source from) {
    int64_t i = 0;
    if (from == CASTOFF_FROM_BF16) { /* too short for a call; the last piece may overlap the one before */
        const uint16_t *in = (const uint16_t *)x + at;
        if (count < 16) {
            for (; i + 4 <= count; i += 4) memcpy(out + i, in + i, 8);
            for (; i < count; i++) out[i] = in[i];
            return;
        }
        for (; i + 32 <= count; i += 32) memcpy(out + i, in + i, 64);
        if (count - i > 16) memcpy(out + i, in + i, 32);
        if (count > i) memcpy(out + count - 16, in + count - 16, 32);
        return;
    }
    for (; i + CASTOFF_VF32_LANES <= count; i += CASTOFF_VF32_LANES)
        *(castoff_vu16_u *)(out + i) = __builtin_convertvector(castoff_bf16_take(x, at + i, from) >> 16, castoff_vu16);
    for (; i < count; i++) out[i] = castoff_bf16_take_one(x, at + i, from);
}

#define N(name) castoff_bf16_##name
#define C(name) castoff_conv_tiled_bf16_##name
#define S(name) castoff_gemm_bf16_##name
#define ELEMENT uint16_t
#define STEP CASTOFF_BF16_STEP
#define TILE CASTOFF_BF16_TILE
#define SUM float
#define SUM_BYTES CASTOFF_BF16_SUM_BYTES
#define SOURCE CASTOFF_FROM_F32
#define OTHER_SOURCE CASTOFF_FROM_BF16
#define PACKS 1
#include "conv_tiles_engine.h"

#endif
