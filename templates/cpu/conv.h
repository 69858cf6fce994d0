/* conv.h - convolution of one to three spatial axes over planes (NCDHW, NCHW, NCW), as products that never exist as
 * matrices: blocks of input patches are packed into a thread's scratch and multiplied from there.
 *
 *     castoff_conv_f32_args
 *         batch, groups, in_channels, out_channels   channels of all groups together
 *         in, out, kernel, stride, dilation, padding depth, height, width; missing leading axes have 1 (padding 0);
 *                                padding is that before the first element; what lies past the end follows from out
 *         x, x_batch, x_channel, x_space             input, strides in elements; any
 *         weight                 [out_channels][in_channels / groups][kernel...], contiguous, packed on every call; or
 *         weight_packed          as compiler/lowering/packing.py::pack_conv_weight lays it out at build time:
 *                                in_channels / groups == 1: as it is; else for each group the panels (packing.h) of
 *                                [in_channels / groups * kernel points, out_channels / groups]
 *         y, y_batch, y_channel  output; the pixels of a channel are contiguous; unused with an epilogue
 *         bias, relu             NULL or out_channels values; 0 or 1; unused with an epilogue
 *         epilogue, epilogue_context    as in gemm.h: row = output channel, col = flat output pixel, batch = image
 *     void castoff_conv_f32_run(const castoff_conv_f32_args *, castoff_pool *, void *scratch)
 *     int64_t castoff_conv_f32_scratch(const castoff_conv_f32_args *, int threads)     reads no pointer but whether
 *                                weight_packed is NULL
 *
 * Two schemes, chosen by shape from a cost estimate, read the same packed weights:
 *   channels as rows   tiles of 8 channels x 32 pixels; patches are the panels. Few channel products per pixel, large images.
 *   pixels as rows     tiles of 14 pixels x 32 channels, transposed when finished. Small images, long sums.
 * One input channel a group (depthwise) has a direct kernel.
 *
 *     castoff_conv_transposed_f32_run / _scratch     the adjoint, same struct with x the small side: weight is
 *                                [in_channels][out_channels / groups][kernel...], never packed; output_padding follows from out
 */
#ifndef CASTOFF_CPU_CONV_H
#define CASTOFF_CPU_CONV_H

#include "gemm.h"

/* Up to how many output channels a 1x1 convolution reads x where it lies; more pay for its packing, as do a few where
 * the lines of all channels fall on the same cache sets. */
#define CASTOFF_CONV_IN_PLACE 512

typedef struct {
    int64_t batch, groups, in_channels, out_channels;
    int64_t in[3], out[3], kernel[3], stride[3], dilation[3], padding[3];
    const float *x;
    int64_t x_batch, x_channel, x_space[3];
    const float *weight, *weight_packed;
    float *y;
    int64_t y_batch, y_channel;
    const float *bias;
    int32_t relu;
    castoff_gemm_f32_epilogue epilogue;
    const void *epilogue_context;
} castoff_conv_f32_args;

typedef struct {
    int64_t in_channels, out_channels; /* of one group */
    int64_t points, pixels, k;
    int32_t pixels_as_rows, depthwise, in_place, threads; /* in_place: x itself serves as panels */
    int64_t pixel_block, channel_block, pixel_blocks, channel_blocks;
    int64_t weight_bytes, patch_bytes, thread_bytes;
} castoff_conv_f32_plan;

/* What one kernel point reads for pixels that follow one another in one output row: `count` elements at out[at...], of
 * which [low, high) come from x[from...] and the others are padding. */
typedef struct {
    int64_t from;
    int32_t at, count, low, high;
} castoff_conv_piece;

/* What a finished block of pixels by channels needs to be turned over. */
typedef struct {
    const castoff_gemm_f32_sink *sink;
} castoff_conv_f32_turn;

/* Where every output pixel reads one input pixel, the same one, all pixels are one row. */
static CASTOFF_UNUSED castoff_conv_f32_args castoff_conv_f32_simplify(const castoff_conv_f32_args *given) {
    castoff_conv_f32_args a = *given;
    int64_t size = 1, step = 0;
    for (int i = 2; i >= 0; i--) {
        if (a.kernel[i] != 1 || a.stride[i] != 1 || a.padding[i] != 0 || a.in[i] != a.out[i]) return *given;
        if (a.in[i] == 1) continue;
        if (step != 0 && a.x_space[i] != step * size) return *given;
        if (step == 0) step = a.x_space[i];
        size *= a.in[i];
    }
    for (int i = 0; i < 3; i++) {
        a.in[i] = a.out[i] = i == 2 ? size : 1;
        a.x_space[i] = i == 2 ? step : 0;
    }
    return a;
}

/* Input elements along one axis, padding included, that the output reads. */
CASTOFF_INLINE int64_t castoff_conv_f32_reach(const castoff_conv_f32_args *a, int axis) {
    return castoff_max_i64(0, a->out[axis] - 1) * a->stride[axis] + (a->kernel[axis] - 1) * a->dilation[axis] + 1;
}

static CASTOFF_UNUSED castoff_conv_f32_plan castoff_conv_f32_make_plan(const castoff_conv_f32_args *a, int threads) {
    castoff_conv_f32_plan p;
    p.threads = threads;
    p.in_channels = a->in_channels / a->groups;
    p.out_channels = a->out_channels / a->groups;
    p.points = a->kernel[0] * a->kernel[1] * a->kernel[2];
    p.pixels = a->out[0] * a->out[1] * a->out[2];
    p.k = p.in_channels * p.points;
    p.depthwise = p.in_channels == 1;
    p.weight_bytes = a->weight_packed || p.depthwise
                         ? 0
                         : castoff_round_up(a->groups * castoff_panels_size(p.k, p.out_channels) * 4, 64);
    if (p.depthwise) {
        int64_t padded = 1;
        for (int i = 0; i < 3; i++) padded *= castoff_conv_f32_reach(a, i) + (i == 2 ? a->stride[2] - 1 : 0);
        p.thread_bytes = castoff_round_up((padded + 4 * CASTOFF_PANEL) * 4, 64);
        p.pixels_as_rows = 0;
        p.pixel_block = p.pixels;
        p.channel_block = 1;
        p.pixel_blocks = p.channel_blocks = 1;
        return p;
    }
    const int64_t limit = a->x_channel % 512 == 0 ? 16 : CASTOFF_CONV_IN_PLACE;
    p.in_place = p.points == 1 && a->in[0] * a->in[1] == 1 && a->out[2] == a->in[2] && a->stride[2] == 1 &&
                 a->padding[2] == 0 && a->x_space[2] == 1 && p.out_channels <= limit;
    const double slow = 16.0 / CASTOFF_VF32_LANES, pack = a->stride[2] == 1 ? 5 : a->stride[2] == 2 ? 7 : 16;
    const double k = (double)p.k, channels = (double)p.out_channels;
    const double by_channel = (double)castoff_ceil_div(p.pixels, 16) *
                              ((double)castoff_round_up(p.out_channels, 8) / 2 * slow + (p.in_place ? 0 : pack)) * k;
    const double by_pixel = (double)(p.pixels * castoff_round_up(p.out_channels, 16)) / 32 * slow * k +
                            (double)castoff_ceil_div(p.pixels, CASTOFF_MR) * (pack * k + 6 * channels);
    p.pixels_as_rows = by_pixel < by_channel;
    p.in_place &= !p.pixels_as_rows;
    const int64_t grain = p.pixels_as_rows ? CASTOFF_MR : 32;
    p.pixel_block = castoff_max_i64(grain * 2, CASTOFF_L2_BYTES / 4 / (4 * p.k) / grain * grain);
    p.pixel_block = castoff_min_i64(p.pixel_block, 4096 / grain * grain);
    p.channel_block = p.out_channels;
    const int64_t outer = a->batch * a->groups, wanted = threads > 1 ? 3 * threads : 1;
    while (p.pixel_block > grain && outer * castoff_ceil_div(p.pixels, p.pixel_block) < wanted)
        p.pixel_block = castoff_max_i64(grain, castoff_round_up(p.pixel_block / 2, grain));
    while (p.channel_block > 64 && outer * castoff_ceil_div(p.pixels, p.pixel_block) *
                                       castoff_ceil_div(p.out_channels, p.channel_block) < threads)
        p.channel_block = castoff_round_up(p.channel_block / 2, 32);
    p.pixel_blocks = castoff_ceil_div(p.pixels, p.pixel_block);
    p.channel_blocks = castoff_ceil_div(p.out_channels, p.channel_block);
    p.patch_bytes = castoff_round_up((castoff_round_up(castoff_min_i64(p.pixel_block, p.pixels), 16) * p.k + 32) * 4, 64);
    p.thread_bytes = p.patch_bytes + castoff_round_up(16 * p.points * (int64_t)sizeof(castoff_conv_piece), 64);
    return p;
}

static CASTOFF_UNUSED int64_t castoff_conv_f32_scratch(const castoff_conv_f32_args *given, int threads) {
    const castoff_conv_f32_args a = castoff_conv_f32_simplify(given);
    const castoff_conv_f32_plan p = castoff_conv_f32_make_plan(&a, threads);
    return p.weight_bytes + p.thread_bytes * threads;
}

CASTOFF_INLINE void castoff_conv_copy16(float *out, const float *in) { memcpy(out, in, 64); }
CASTOFF_INLINE void castoff_conv_zero16(float *out) { memset(out, 0, 64); }

/* out[i] = in[2 i] for i < 16; reads 32. */
CASTOFF_INLINE void castoff_conv_even16(float *out, const float *in) {
    for (int i = 0; i < 16; i += 4) {
        castoff_f32x4 low = *(const castoff_f32x4_u *)(in + 2 * i), high = *(const castoff_f32x4_u *)(in + 2 * i + 4);
        *(castoff_f32x4_u *)(out + i) = __builtin_shufflevector(low, high, 0, 2, 4, 6);
    }
}

/* Pieces of pixels [pixel, pixel + count), kernel point by kernel point; returns how many a point has. */
static CASTOFF_UNUSED int64_t castoff_conv_f32_pieces(const castoff_conv_f32_args *a, int64_t pixel, int64_t count,
                                                      castoff_conv_piece *pieces) {
    int64_t total = 0;
    const int64_t stride = a->stride[2];
    for (int64_t kd = 0; kd < a->kernel[0]; kd++)
        for (int64_t kh = 0; kh < a->kernel[1]; kh++)
            for (int64_t kw = 0; kw < a->kernel[2]; kw++)
                for (int64_t at = 0, w = pixel % a->out[2], line = pixel / a->out[2]; at < count; w = 0, line++) {
                    const int64_t length = castoff_min_i64(count - at, a->out[2] - w);
                    const int64_t d = line / a->out[1] * a->stride[0] + kd * a->dilation[0] - a->padding[0];
                    const int64_t h = line % a->out[1] * a->stride[1] + kh * a->dilation[1] - a->padding[1];
                    const int64_t first = w * stride + kw * a->dilation[2] - a->padding[2];
                    int64_t low = first < 0 ? castoff_min_i64(length, castoff_ceil_div(-first, stride)) : 0;
                    int64_t high = first < a->in[2] ? castoff_min_i64(length, castoff_ceil_div(a->in[2] - first, stride)) : 0;
                    if ((uint64_t)d >= (uint64_t)a->in[0] || (uint64_t)h >= (uint64_t)a->in[1] || high <= low) low = high = 0;
                    pieces[total++] = (castoff_conv_piece){
                        d * a->x_space[0] + h * a->x_space[1] + (first + low * stride) * a->x_space[2], (int32_t)at,
                        (int32_t)length, (int32_t)low, (int32_t)high};
                    at += length;
                }
    return total / (a->kernel[0] * a->kernel[1] * a->kernel[2]);
}

/* Patches of pixels [pixel, pixel + count), count <= 16, of one image and group: out[k * step + j] for all k. Whole
 * vectors are written in ascending order, each mending what the one before spilt; the last spills up to 16 floats. */
static CASTOFF_UNUSED void castoff_conv_f32_pack(const castoff_conv_f32_args *a, const float *x, const float *end,
                                                 int64_t channels, int64_t pixel, int64_t count, float *out, int64_t step,
                                                 castoff_conv_piece *pieces) {
    const int64_t per_point = castoff_conv_f32_pieces(a, pixel, count, pieces);
    const int64_t points = a->kernel[0] * a->kernel[1] * a->kernel[2], hop = a->stride[2] * a->x_space[2];
    for (int64_t c = 0; c < channels; c++, x += a->x_channel) {
        const castoff_conv_piece *piece = pieces;
        const int fast = hop == 1 || hop == 2;
        for (int64_t point = 0; point < points; point++, out += step)
            for (int64_t i = 0; i < per_point; i++, piece++) {
                float *to = out + piece->at;
                if (piece->high == 0) {
                    castoff_conv_zero16(to);
                    continue;
                }
                const float *from = x + piece->from;
                if (piece->low > 0) castoff_conv_zero16(to);
                if (fast && from + 16 * hop <= end) {
                    if (hop == 1)
                        castoff_conv_copy16(to + piece->low, from);
                    else
                        castoff_conv_even16(to + piece->low, from);
                } else {
                    CASTOFF_NO_UNROLL for (int32_t j = piece->low; j < piece->high; j++) to[j] = from[(j - piece->low) * hop];
                }
                if (piece->high < piece->count) castoff_conv_zero16(to + piece->high);
            }
    }
}

/* The epilogue of blocks with pixels as rows: turns the tile over and passes it on. */
static CASTOFF_UNUSED void castoff_conv_f32_turned(const void *context, const float *tile, int64_t stride, int64_t pixel,
                                                   int64_t channel, int64_t pixels, int64_t channels, int64_t batch) {
    const castoff_gemm_f32_sink *sink = ((const castoff_conv_f32_turn *)context)->sink;
    float turned[128 * CASTOFF_PANEL] __attribute__((aligned(64)));
    castoff_transpose_f32(tile, stride, turned, CASTOFF_PANEL, castoff_round_up(pixels, 4), castoff_round_up(channels, 4));
    if (sink->epilogue) {
        sink->epilogue(sink->epilogue_context, turned, CASTOFF_PANEL, channel, pixel, channels, pixels, batch);
        return;
    }
    float *y = sink->c + channel * sink->c_row + pixel;
    for (int64_t c = 0; c < channels; c++, y += sink->c_row) {
        const float bias = sink->bias_row ? sink->bias_row[channel + c] : 0;
        for (int64_t i = 0; i < pixels; i += CASTOFF_VF32_LANES) {
            castoff_vf32 v = castoff_load_f32(turned + c * CASTOFF_PANEL + i) + castoff_splat_f32(bias);
            if (sink->relu) v = castoff_relu_f32(v);
            if (pixels - i >= CASTOFF_VF32_LANES)
                castoff_store_f32(y + i, v);
            else
                castoff_store_some_f32(y + i, v, pixels - i);
        }
    }
}

typedef struct {
    castoff_conv_f32_args args;
    castoff_conv_f32_plan plan;
    const float *weight;
    char *scratch;
} castoff_conv_f32_job;

static CASTOFF_UNUSED castoff_gemm_f32_sink castoff_conv_f32_sink(const castoff_conv_f32_args *a, int64_t image) {
    return (castoff_gemm_f32_sink){.c = a->y ? a->y + image * a->y_batch : 0, .c_row = a->y_channel, .bias_row = a->bias,
                                   .relu = a->relu, .epilogue = a->epilogue, .epilogue_context = a->epilogue_context,
                                   .batch = image};
}

/* One past the last element of x that belongs to the tensor, for forward strides; else x itself. */
static CASTOFF_UNUSED const float *castoff_conv_f32_end(const castoff_conv_f32_args *a) {
    const int64_t sizes[5] = {a->batch, a->in_channels, a->in[0], a->in[1], a->in[2]};
    const int64_t strides[5] = {a->x_batch, a->x_channel, a->x_space[0], a->x_space[1], a->x_space[2]};
    const float *end = a->x + 1;
    for (int i = 0; i < 5; i++) {
        if (strides[i] < 0) return a->x;
        end += (sizes[i] - 1) * strides[i];
    }
    return end;
}

/* Work items in the order image, group, pixel block, channel block. */
static CASTOFF_UNUSED void castoff_conv_f32_blocks(void *context, int64_t begin, int64_t finish, int thread) {
    const castoff_conv_f32_job *job = (const castoff_conv_f32_job *)context;
    const castoff_conv_f32_args *a = &job->args;
    const castoff_conv_f32_plan *p = &job->plan;
    float *patches = (float *)(void *)(job->scratch + p->thread_bytes * thread);
    const float *end = castoff_conv_f32_end(a);
    castoff_conv_piece *pieces = (castoff_conv_piece *)(void *)(job->scratch + p->thread_bytes * thread + p->patch_bytes);
    int64_t packed = -1;
    for (int64_t item = begin; item < finish; item++) {
        const int64_t channel = item % p->channel_blocks * p->channel_block, block_index = item / p->channel_blocks;
        const int64_t pixel = block_index % p->pixel_blocks * p->pixel_block;
        const int64_t group = block_index / p->pixel_blocks % a->groups, image = block_index / p->pixel_blocks / a->groups;
        const int64_t pixels = castoff_min_i64(p->pixel_block, p->pixels - pixel);
        const int64_t channels = castoff_min_i64(p->channel_block, p->out_channels - channel);
        const float *weight = job->weight + group * castoff_panels_size(p->k, p->out_channels) + channel * p->k;
        const float *x = a->x + image * a->x_batch + group * p->in_channels * a->x_channel;
        const castoff_gemm_f32_sink sink = castoff_conv_f32_sink(a, image);
        const int64_t first_channel = group * p->out_channels + channel;
        if (p->pixels_as_rows) {
            const castoff_tiles tiles = castoff_cut_rows(pixels, CASTOFF_ROWS_TILED);
            for (int64_t i = 0, row = 0; row < pixels && packed != block_index; i++) {
                const int64_t rows = castoff_min_i64(tiles.height + (i < tiles.taller), pixels - row);
                castoff_conv_f32_pack(a, x, end, p->in_channels, pixel + row, rows, patches + row * p->k, rows,
                                      pieces);
                row += rows;
            }
            const castoff_conv_f32_turn turn = {&sink};
            const castoff_gemm_f32_sink turned = {.epilogue = castoff_conv_f32_turned, .epilogue_context = &turn, .batch = image};
            const castoff_gemm_f32_block block = {.rows = pixels, .cols = channels, .k = p->k, .a = patches,
                                                  .a_layout = CASTOFF_ROWS_TILED, .b = weight, .b_step = CASTOFF_PANEL,
                                                  .b_panel = p->k * CASTOFF_PANEL, .row0 = pixel, .col0 = first_channel};
            castoff_gemm_f32_run_block(&block, &turned);
        } else {
            castoff_gemm_f32_block block = {.rows = channels, .cols = pixels, .k = p->k, .a = weight,
                                            .a_layout = CASTOFF_ROWS_PANELS, .b = patches, .b_step = CASTOFF_PANEL,
                                            .b_panel = p->k * CASTOFF_PANEL, .row0 = first_channel, .col0 = pixel};
            int64_t col = 0;
            if (p->in_place) {
                block.b = x + pixel;
                block.b_step = a->x_channel;
                block.b_panel = CASTOFF_PANEL;
                block.cols = col = pixels / CASTOFF_PANEL * CASTOFF_PANEL;
                castoff_gemm_f32_run_block(&block, &sink);
                block.b = patches + col * p->k;
                block.b_step = CASTOFF_PANEL;
                block.cols = pixels - col;
                block.col0 += col;
                if (block.cols == 0) continue;
            }
            for (; col < pixels && packed != block_index; col += CASTOFF_PANEL)
                castoff_conv_f32_pack(a, x, end, p->in_channels, pixel + col, castoff_min_i64(CASTOFF_PANEL, pixels - col),
                                      patches + col * p->k, CASTOFF_PANEL, pieces);
            castoff_gemm_f32_run_block(&block, &sink);
        }
        packed = block_index;
    }
}

/* One row x into columns [left, right) of a padded one, whose element w = i * hop + j lies at to[j * phase + i]: what output
 * pixels read at a hop, side by side. The padding is there already. */
static CASTOFF_UNUSED void castoff_conv_f32_split(float *to, const float *x, int64_t space, int64_t phase, int64_t left,
                                                  int64_t right, int64_t hop, const float *end) {
    for (int64_t j = 0; j < hop; j++, to += phase) {
        int64_t i = castoff_ceil_div(castoff_max_i64(0, left - j), hop);
        const int64_t high = castoff_ceil_div(castoff_max_i64(0, right - j), hop);
        if (i >= high) continue;
        const float *from = x + (i * hop + j - left) * space;
        const int64_t step = hop * space;
        if (step == 1) {
            for (; i < high && from + CASTOFF_VF32_LANES <= end; i += CASTOFF_VF32_LANES, from += CASTOFF_VF32_LANES) {
                if (high - i < CASTOFF_VF32_LANES) {
                    castoff_store_some_f32(to + i, castoff_load_f32(from), high - i);
                    i = high;
                    break;
                }
                castoff_store_f32(to + i, castoff_load_f32(from));
            }
        } else if (step == 2) {
            for (; i + 16 <= high && from + 32 <= end; i += 16, from += 32) castoff_conv_even16(to + i, from);
        }
        for (; i < high; i++, from += step) to[i] = *from;
    }
}

/* One vector of output pixels of a split plane: the sum over all kernel points. */
CASTOFF_INLINE castoff_vf32 castoff_conv_f32_points(const castoff_conv_f32_args *a, const float *in, const float *weight,
                                                    int64_t row, int64_t plane, int64_t phase) {
    const int64_t hop = a->stride[2];
    castoff_vf32 sum = castoff_splat_f32(0);
    for (int64_t kd = 0; kd < a->kernel[0]; kd++)
        for (int64_t kh = 0; kh < a->kernel[1]; kh++) {
            const float *from = in + kd * a->dilation[0] * plane + kh * a->dilation[1] * row;
            int64_t i = 0, j = 0;
            for (int64_t kw = 0; kw < a->kernel[2]; kw++) {
                sum = castoff_fma_f32(castoff_splat_f32(*weight++), castoff_load_f32(from + j * phase + i), sum);
                for (j += a->dilation[2]; j >= hop; j -= hop) i++;
            }
        }
    return sum;
}

static CASTOFF_UNUSED void castoff_conv_f32_depthwise(void *context, int64_t begin, int64_t finish, int thread) {
    const castoff_conv_f32_job *job = (const castoff_conv_f32_job *)context;
    const castoff_conv_f32_args *a = &job->args;
    const castoff_conv_f32_plan *p = &job->plan;
    float *padded = (float *)(void *)(job->scratch + p->thread_bytes * thread);
    float buffer[512 + CASTOFF_VF32_LANES] __attribute__((aligned(64)));
    int64_t size[3];
    for (int i = 0; i < 3; i++) size[i] = castoff_conv_f32_reach(a, i);
    const int64_t hop = a->stride[2], phase = castoff_ceil_div(size[2], hop), row = phase * hop, plane = size[1] * row;
    const int64_t points = p->points, width = a->out[2];
    const int three = points == 9 && a->kernel[2] == 3 && a->kernel[1] == 3;
    const int64_t second = a->dilation[2] % hop * phase + a->dilation[2] / hop;
    const int64_t third = 2 * a->dilation[2] % hop * phase + 2 * a->dilation[2] / hop;
    /* Rows and columns of x that the output reaches; around them the plane stays zero from one channel to the next. */
    const int64_t depth = castoff_min_i64(a->in[0], size[0] - a->padding[0]);
    const int64_t height = castoff_min_i64(a->in[1], size[1] - a->padding[1]);
    const int64_t columns = castoff_min_i64(a->in[2], size[2] - a->padding[2]);
    const float *end = castoff_conv_f32_end(a);
    memset(padded, 0, (size_t)p->thread_bytes);
    for (int64_t item = begin; item < finish; item++) {
        const int64_t group = item % a->groups, image = item / a->groups;
        const float *x = a->x + image * a->x_batch + group * a->x_channel;
        const castoff_gemm_f32_sink sink = castoff_conv_f32_sink(a, image);
        for (int64_t d = 0; d < depth; d++)
            for (int64_t h = 0; h < height; h++)
                castoff_conv_f32_split(padded + (d + a->padding[0]) * plane + (h + a->padding[1]) * row,
                                       x + d * a->x_space[0] + h * a->x_space[1], a->x_space[2], phase, a->padding[2],
                                       a->padding[2] + columns, hop, end);
        for (int64_t c = group * p->out_channels; c < (group + 1) * p->out_channels; c++) {
            const float *weight = job->weight + c * points;
            int64_t filled = 0, first = 0;
            for (int64_t line = 0; line < a->out[0] * a->out[1]; line++) {
                const float *in = padded + line / a->out[1] * a->stride[0] * plane + line % a->out[1] * a->stride[1] * row;
                for (int64_t w = 0; w < width;) {
                    const int64_t count = castoff_min_i64(CASTOFF_VF32_LANES, width - w);
                    if (filled + count > 512) {
                        castoff_gemm_f32_emit(&sink, buffer, 512, c, first, 1, filled);
                        first += filled;
                        filled = 0;
                    }
                    castoff_vf32 v;
                    if (three) {
                        const float *r0 = in + w, *r1 = r0 + a->dilation[1] * row, *r2 = r1 + a->dilation[1] * row;
                        v = castoff_splat_f32(weight[0]) * castoff_load_f32(r0);
                        v = castoff_fma_f32(castoff_splat_f32(weight[1]), castoff_load_f32(r0 + second), v);
                        v = castoff_fma_f32(castoff_splat_f32(weight[2]), castoff_load_f32(r0 + third), v);
                        v = castoff_fma_f32(castoff_splat_f32(weight[3]), castoff_load_f32(r1), v);
                        v = castoff_fma_f32(castoff_splat_f32(weight[4]), castoff_load_f32(r1 + second), v);
                        v = castoff_fma_f32(castoff_splat_f32(weight[5]), castoff_load_f32(r1 + third), v);
                        v = castoff_fma_f32(castoff_splat_f32(weight[6]), castoff_load_f32(r2), v);
                        v = castoff_fma_f32(castoff_splat_f32(weight[7]), castoff_load_f32(r2 + second), v);
                        v = castoff_fma_f32(castoff_splat_f32(weight[8]), castoff_load_f32(r2 + third), v);
                    } else {
                        v = castoff_conv_f32_points(a, in + w, weight, row, plane, phase);
                    }
                    castoff_store_f32(buffer + filled, v);
                    filled += count;
                    w += count;
                }
            }
            if (filled) castoff_gemm_f32_emit(&sink, buffer, 512, c, first, 1, filled);
        }
    }
}

static CASTOFF_UNUSED void castoff_conv_f32_pack_weight(void *context, int64_t begin, int64_t finish, int thread) {
    const castoff_conv_f32_job *job = (const castoff_conv_f32_job *)context;
    const castoff_conv_f32_plan *p = &job->plan;
    (void)thread;
    for (int64_t group = begin; group < finish; group++)
        castoff_pack_panels_f32((float *)(void *)job->scratch + group * castoff_panels_size(p->k, p->out_channels), p->k,
                                p->out_channels, job->args.weight + group * p->k * p->out_channels, 1, p->k, 0,
                                castoff_ceil_div(p->out_channels, CASTOFF_PANEL));
}

static CASTOFF_UNUSED void castoff_conv_f32_run(const castoff_conv_f32_args *given, castoff_pool *pool, void *scratch) {
    castoff_conv_f32_job job = {.args = castoff_conv_f32_simplify(given), .scratch = (char *)scratch};
    const castoff_conv_f32_args *a = &job.args;
    job.plan = castoff_conv_f32_make_plan(a, castoff_pool_threads(pool));
    const castoff_conv_f32_plan *p = &job.plan;
    if (a->batch == 0 || a->out_channels == 0 || p->pixels == 0) return;
    job.weight = a->weight_packed ? a->weight_packed : a->weight;
    if (p->weight_bytes > 0) {
        castoff_parallel_for(pool, a->groups, 1, castoff_conv_f32_pack_weight, &job);
        job.weight = (const float *)(const void *)job.scratch;
        job.scratch += p->weight_bytes;
    }
    const int64_t enough = 1 << 16;
    if (p->depthwise) {
        const int64_t work = p->pixels * p->points * p->out_channels;
        castoff_parallel_for(pool, a->batch * a->groups, castoff_ceil_div(enough / 16, work), castoff_conv_f32_depthwise, &job);
        return;
    }
    const int64_t blocks = a->batch * a->groups * p->pixel_blocks * p->channel_blocks;
    const int64_t work = castoff_min_i64(p->pixel_block, p->pixels) * p->channel_block * (p->k + 1);
    castoff_parallel_for(pool, blocks, castoff_ceil_div(enough, work), castoff_conv_f32_blocks, &job);
}

/* ---- transposed: products of all kernel points at each input pixel, added into the planes they fall on ---- */

typedef struct {
    const castoff_conv_f32_args *args;
    int64_t in_channels, out_channels, points, pixels_in, pixels_out, image;
    int64_t panel_bytes, thread_bytes;
    char *scratch;
} castoff_conv_transposed_f32_job;

static CASTOFF_UNUSED castoff_conv_transposed_f32_job castoff_conv_transposed_f32_plan(const castoff_conv_f32_args *a) {
    castoff_conv_transposed_f32_job job = {.args = a};
    job.in_channels = a->in_channels / a->groups;
    job.out_channels = a->out_channels / a->groups;
    job.points = a->kernel[0] * a->kernel[1] * a->kernel[2];
    job.pixels_in = a->in[0] * a->in[1] * a->in[2];
    job.pixels_out = a->out[0] * a->out[1] * a->out[2];
    job.panel_bytes = castoff_round_up(a->groups * castoff_panels_size(job.in_channels, job.pixels_in) * 4, 64);
    job.thread_bytes = castoff_round_up(job.pixels_out * 4, 64);
    return job;
}

static CASTOFF_UNUSED int64_t castoff_conv_transposed_f32_scratch(const castoff_conv_f32_args *a, int threads) {
    const castoff_conv_transposed_f32_job job = castoff_conv_transposed_f32_plan(a);
    return job.panel_bytes + job.thread_bytes * threads;
}

/* Panels of x[channel, pixel], one group after another. */
static CASTOFF_UNUSED void castoff_conv_transposed_f32_pack(void *context, int64_t begin, int64_t finish, int thread) {
    const castoff_conv_transposed_f32_job *job = (const castoff_conv_transposed_f32_job *)context;
    const castoff_conv_f32_args *a = job->args;
    (void)thread;
    for (int64_t channel = begin; channel < finish; channel++) {
        const int64_t group = channel / job->in_channels, k = channel % job->in_channels;
        float *out = (float *)(void *)job->scratch + group * castoff_panels_size(job->in_channels, job->pixels_in);
        const float *x = a->x + job->image * a->x_batch + channel * a->x_channel;
        int64_t pixel = 0;
        for (int64_t d = 0; d < a->in[0]; d++)
            for (int64_t h = 0; h < a->in[1]; h++)
                for (int64_t w = 0; w < a->in[2]; w++, pixel++)
                    out[(pixel / CASTOFF_PANEL * job->in_channels + k) * CASTOFF_PANEL + pixel % CASTOFF_PANEL] =
                        x[d * a->x_space[0] + h * a->x_space[1] + w * a->x_space[2]];
        for (; pixel % CASTOFF_PANEL != 0; pixel++)
            out[(pixel / CASTOFF_PANEL * job->in_channels + k) * CASTOFF_PANEL + pixel % CASTOFF_PANEL] = 0;
    }
}

typedef struct {
    const castoff_conv_f32_args *args;
    float *plane;
} castoff_conv_transposed_f32_target;

/* Rows are kernel points, columns input pixels. */
static CASTOFF_UNUSED void castoff_conv_transposed_f32_add(const void *context, const float *tile, int64_t stride,
                                                           int64_t row0, int64_t col0, int64_t rows, int64_t cols,
                                                           int64_t batch) {
    const castoff_conv_transposed_f32_target *target = (const castoff_conv_transposed_f32_target *)context;
    const castoff_conv_f32_args *a = target->args;
    (void)batch;
    for (int64_t i = 0; i < rows; i++) {
        const int64_t point = row0 + i, kw = point % a->kernel[2];
        const int64_t kh = point / a->kernel[2] % a->kernel[1], kd = point / a->kernel[2] / a->kernel[1];
        for (int64_t j = 0; j < cols;) {
            const int64_t pixel = col0 + j, first = pixel % a->in[2];
            const int64_t count = castoff_min_i64(cols - j, a->in[2] - first);
            const int64_t h = pixel / a->in[2] % a->in[1] * a->stride[1] + kh * a->dilation[1] - a->padding[1];
            const int64_t d = pixel / a->in[2] / a->in[1] * a->stride[0] + kd * a->dilation[0] - a->padding[0];
            if ((uint64_t)d < (uint64_t)a->out[0] && (uint64_t)h < (uint64_t)a->out[1]) {
                float *line = target->plane + (d * a->out[1] + h) * a->out[2];
                const int64_t shift = kw * a->dilation[2] - a->padding[2];
                for (int64_t w = 0; w < count; w++) {
                    const int64_t at = (first + w) * a->stride[2] + shift;
                    if ((uint64_t)at < (uint64_t)a->out[2]) line[at] += tile[i * stride + j + w];
                }
            }
            j += count;
        }
    }
}

static CASTOFF_UNUSED void castoff_conv_transposed_f32_channels(void *context, int64_t begin, int64_t finish, int thread) {
    const castoff_conv_transposed_f32_job *job = (const castoff_conv_transposed_f32_job *)context;
    const castoff_conv_f32_args *a = job->args;
    float *plane = (float *)(void *)(job->scratch + job->panel_bytes + thread * job->thread_bytes);
    const castoff_conv_transposed_f32_target target = {a, plane};
    const castoff_gemm_f32_sink add = {.epilogue = castoff_conv_transposed_f32_add, .epilogue_context = &target};
    const castoff_gemm_f32_sink sink = castoff_conv_f32_sink(a, job->image);
    for (int64_t channel = begin; channel < finish; channel++) {
        const int64_t group = channel / job->out_channels, within = channel % job->out_channels;
        const float *panels =
            (const float *)(const void *)job->scratch + group * castoff_panels_size(job->in_channels, job->pixels_in);
        memset(plane, 0, (size_t)job->pixels_out * 4);
        const castoff_gemm_f32_block block = {
            .rows = job->points, .cols = job->pixels_in, .k = job->in_channels,
            .a = a->weight + (group * job->in_channels * job->out_channels + within) * job->points, .a_row = 1,
            .a_col = job->out_channels * job->points, .b = panels, .b_step = CASTOFF_PANEL,
            .b_panel = job->in_channels * CASTOFF_PANEL};
        castoff_gemm_f32_run_block(&block, &add);
        for (int64_t pixel = 0; pixel < job->pixels_out; pixel += 512)
            castoff_gemm_f32_emit(&sink, plane + pixel, 512, channel, pixel, 1,
                                  castoff_min_i64(512, job->pixels_out - pixel));
    }
}

static CASTOFF_UNUSED void castoff_conv_transposed_f32_run(const castoff_conv_f32_args *a, castoff_pool *pool, void *scratch) {
    castoff_conv_transposed_f32_job job = castoff_conv_transposed_f32_plan(a);
    job.scratch = (char *)scratch;
    if (a->out_channels == 0 || job.pixels_out == 0) return;
    const int64_t work = job.points * job.pixels_in * (job.in_channels + 1) + 1;
    for (job.image = 0; job.image < a->batch; job.image++) {
        castoff_parallel_for(pool, a->in_channels, castoff_ceil_div(1 << 14, job.pixels_in + 1),
                             castoff_conv_transposed_f32_pack, &job);
        castoff_parallel_for(pool, a->out_channels, castoff_ceil_div(1 << 16, work), castoff_conv_transposed_f32_channels, &job);
    }
}

#endif
