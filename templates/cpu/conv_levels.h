/* conv_levels.h - convolution of 8-bit levels with a constant weight, exact in 32 bits.
 *
 *     castoff_conv_levels_args   as castoff_conv_f32_args (conv.h), without y, bias and bounds, but
 *         x, x_from              signed or unsigned bytes
 *         zero                   the level that stands for 0, which padding is made of
 *         weight_packed          for each group the quad panels (levels.h) of [kernel points * in_channels / groups,
 *                                out_channels / groups]: compiler/lowering/packing.py::pack_conv_quads
 *         column_sums            the sum of the weight of each output channel
 *         epilogue               its tiles are of int32_t
 *     void castoff_conv_levels_run(const castoff_conv_levels_args *, castoff_pool *, void *scratch)
 *     int64_t castoff_conv_levels_scratch(const castoff_conv_levels_args *, int threads)
 */
#ifndef CASTOFF_CPU_CONV_LEVELS_H
#define CASTOFF_CPU_CONV_LEVELS_H

#include "gemm_levels.h"

typedef struct {
    int64_t batch, groups, in_channels, out_channels;
    int64_t in[3], out[3], kernel[3], stride[3], dilation[3], padding[3];
    const void *x;
    int64_t x_batch, x_space[3];
    castoff_levels_source x_from;
    int32_t zero;
    const uint8_t *weight_packed;
    const int32_t *column_sums;
    castoff_gemm_levels_epilogue epilogue;
    const void *epilogue_context;
} castoff_conv_levels_args;

CASTOFF_INLINE castoff_gemm_levels_sink castoff_conv_levels_make_sink(const castoff_conv_levels_args *a, int64_t image) {
    return (castoff_gemm_levels_sink){castoff_levels_raised(a->zero, a->x_from), a->column_sums, a->epilogue,
                                      a->epilogue_context, image};
}

CASTOFF_INLINE int castoff_conv_levels_padding(const castoff_conv_levels_args *a) {
    return (uint8_t)castoff_levels_raised(a->zero, a->x_from);
}

CASTOFF_INLINE void castoff_conv_levels_copy(uint8_t *out, const void *x, int64_t at, int64_t count,
                                             castoff_levels_source source) {
    castoff_levels_copy(out, (const uint8_t *)x + at, count, source);
}

#define N(name) castoff_levels_##name
#define C(name) castoff_conv_levels_##name
#define S(name) castoff_gemm_levels_##name
#define ELEMENT uint8_t
#define STEP CASTOFF_LEVELS_STEP
#define TILE CASTOFF_LEVELS_TILE
#define SUM int32_t
#define SUM_BYTES CASTOFF_TILE_SUM_BYTES
#define SOURCE CASTOFF_FROM_S8
#define OTHER_SOURCE CASTOFF_FROM_U8
#define PACKS 0
#include "conv_tiles_engine.h"

#endif
