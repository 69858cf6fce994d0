/* conv_any_engine.h - the body of one convolution of conv_any.h, which includes it once per type.
 *
 * Expects C(name), CT(name) (plain and transposed), T (element), PART (its scalar), WIDE (what a PART is summed in), PARTS
 * (scalars of an element: 1, or 2 where they are real and imaginary); undefined again at the end.
 */

typedef void (*C(epilogue))(const void *context, const T *tile, int64_t tile_stride, int64_t row0, int64_t col0,
                            int64_t rows, int64_t cols, int64_t batch);

typedef struct {
    int64_t batch, groups, in_channels, out_channels;
    int64_t in[3], out[3], kernel[3], stride[3], dilation[3], padding[3];
    const T *x;
    int64_t x_batch, x_channel, x_space[3];
    const T *weight;
    T *y;
    int64_t y_batch, y_channel;
    C(epilogue) epilogue;
    const void *epilogue_context;
} C(args);

/* sum[j] += weight * x[(j - low) * step] for j in [low, high). */
CASTOFF_INLINE void C(add)(WIDE (*sum)[CASTOFF_CONV_ROW], const T *weight, const T *x, int64_t step, int64_t low,
                           int64_t high) {
    const PART *w = (const PART *)(const void *)weight;
    const PART *from = (const PART *)(const void *)x;
#if PARTS == 1
    const WIDE scalar = (WIDE)w[0];
    if (step == 1)
        for (int64_t j = low; j < high; j++) sum[0][j] += scalar * (WIDE)from[j - low];
    else
        for (int64_t j = low; j < high; j++) sum[0][j] += scalar * (WIDE)from[(j - low) * step];
#else
    for (int64_t j = low; j < high; j++) {
        const WIDE real = from[2 * (j - low) * step], imaginary = from[2 * (j - low) * step + 1];
        sum[0][j] += w[0] * real - w[1] * imaginary;
        sum[1][j] += w[0] * imaginary + w[1] * real;
    }
#endif
}

static CASTOFF_UNUSED void C(put)(const C(args) *a, WIDE (*sum)[CASTOFF_CONV_ROW], int64_t image, int64_t channel,
                                  int64_t pixel, int64_t count) {
    T tile[CASTOFF_CONV_ROW];
    PART *out = (PART *)(void *)tile;
    for (int64_t j = 0; j < count; j++)
        for (int part = 0; part < PARTS; part++) out[j * PARTS + part] = (PART)sum[part][j];
    if (a->epilogue)
        a->epilogue(a->epilogue_context, tile, CASTOFF_CONV_ROW, channel, pixel, 1, count, image);
    else
        memcpy(a->y + image * a->y_batch + channel * a->y_channel + pixel, tile, (size_t)count * sizeof(T));
}

/* Work items are output lines (all but the width), channel by channel, image by image. */
static CASTOFF_UNUSED void C(body)(void *context, int64_t begin, int64_t end, int thread) {
    const C(args) *a = (const C(args) *)context;
    const int64_t lines = a->out[0] * a->out[1], channels = a->in_channels / a->groups;
    const int64_t points = a->kernel[0] * a->kernel[1] * a->kernel[2], stride = a->stride[2];
    (void)thread;
    for (int64_t item = begin; item < end; item++) {
        const int64_t line = item % lines, channel = item / lines % a->out_channels, image = item / lines / a->out_channels;
        const int64_t group = channel / (a->out_channels / a->groups);
        for (int64_t left = 0; left < a->out[2]; left += CASTOFF_CONV_ROW) {
            const int64_t count = castoff_min_i64(CASTOFF_CONV_ROW, a->out[2] - left);
            WIDE sum[PARTS][CASTOFF_CONV_ROW] = {{0}};
            for (int64_t c = 0; c < channels; c++)
                for (int64_t kd = 0; kd < a->kernel[0]; kd++)
                    for (int64_t kh = 0; kh < a->kernel[1]; kh++) {
                        const int64_t d = line / a->out[1] * a->stride[0] + kd * a->dilation[0] - a->padding[0];
                        const int64_t h = line % a->out[1] * a->stride[1] + kh * a->dilation[1] - a->padding[1];
                        if (d < 0 || d >= a->in[0] || h < 0 || h >= a->in[1]) continue;
                        const T *row = a->x + image * a->x_batch + (group * channels + c) * a->x_channel +
                                       d * a->x_space[0] + h * a->x_space[1];
                        const T *weight =
                            a->weight + (channel * channels + c) * points + (kd * a->kernel[1] + kh) * a->kernel[2];
                        for (int64_t kw = 0; kw < a->kernel[2]; kw++) {
                            const int64_t first = left * stride + kw * a->dilation[2] - a->padding[2];
                            const int64_t low = first < 0 ? castoff_ceil_div(-first, stride) : 0;
                            const int64_t high =
                                first < a->in[2] ? castoff_min_i64(count, castoff_ceil_div(a->in[2] - first, stride)) : 0;
                            if (low < high)
                                C(add)(sum, weight + kw, row + (first + low * stride) * a->x_space[2],
                                       stride * a->x_space[2], low, high);
                        }
                    }
            C(put)(a, sum, image, channel, line * a->out[2] + left, count);
        }
    }
}

static CASTOFF_UNUSED void C(run)(const C(args) *args, castoff_pool *pool) {
    const int64_t work = args->out[2] * (args->in_channels / args->groups) * args->kernel[0] * args->kernel[1] * args->kernel[2];
    castoff_parallel_for(pool, args->batch * args->out_channels * args->out[0] * args->out[1],
                         castoff_ceil_div(1 << 15, work + 1), C(body), (void *)args);
}

/* The same for the adjoint: each output element gathers from the input elements whose kernel falls on it. */
static CASTOFF_UNUSED void CT(body)(void *context, int64_t begin, int64_t end, int thread) {
    const C(args) *a = (const C(args) *)context;
    const int64_t lines = a->out[0] * a->out[1], channels = a->in_channels / a->groups;
    const int64_t per_group = a->out_channels / a->groups, points = a->kernel[0] * a->kernel[1] * a->kernel[2];
    (void)thread;
    for (int64_t item = begin; item < end; item++) {
        const int64_t line = item % lines, channel = item / lines % a->out_channels, image = item / lines / a->out_channels;
        const int64_t group = channel / per_group;
        for (int64_t left = 0; left < a->out[2]; left += CASTOFF_CONV_ROW) {
            const int64_t count = castoff_min_i64(CASTOFF_CONV_ROW, a->out[2] - left);
            WIDE sum[PARTS][CASTOFF_CONV_ROW] = {{0}};
            for (int64_t c = 0; c < channels; c++)
                for (int64_t kd = 0; kd < a->kernel[0]; kd++)
                    for (int64_t kh = 0; kh < a->kernel[1]; kh++) {
                        const int64_t d = line / a->out[1] + a->padding[0] - kd * a->dilation[0];
                        const int64_t h = line % a->out[1] + a->padding[1] - kh * a->dilation[1];
                        if (d < 0 || d % a->stride[0] != 0 || d / a->stride[0] >= a->in[0]) continue;
                        if (h < 0 || h % a->stride[1] != 0 || h / a->stride[1] >= a->in[1]) continue;
                        const T *row = a->x + image * a->x_batch + (group * channels + c) * a->x_channel +
                                       d / a->stride[0] * a->x_space[0] + h / a->stride[1] * a->x_space[1];
                        const T *weight = a->weight + ((group * channels + c) * per_group + channel % per_group) * points +
                                          (kd * a->kernel[1] + kh) * a->kernel[2];
                        for (int64_t kw = 0; kw < a->kernel[2]; kw++)
                            for (int64_t j = 0; j < count; j++) {
                                const int64_t w = left + j + a->padding[2] - kw * a->dilation[2];
                                if (w < 0 || w % a->stride[2] != 0 || w / a->stride[2] >= a->in[2]) continue;
                                C(add)(sum, weight + kw, row + w / a->stride[2] * a->x_space[2], 1, j, j + 1);
                            }
                    }
            C(put)(a, sum, image, channel, line * a->out[2] + left, count);
        }
    }
}

static CASTOFF_UNUSED void CT(run)(const C(args) *args, castoff_pool *pool) {
    const int64_t work = args->out[2] * (args->in_channels / args->groups) * args->kernel[0] * args->kernel[1] * args->kernel[2];
    castoff_parallel_for(pool, args->batch * args->out_channels * args->out[0] * args->out[1],
                         castoff_ceil_div(1 << 13, work + 1), CT(body), (void *)args);
}

#undef C
#undef CT
#undef T
#undef PART
#undef WIDE
#undef PARTS
