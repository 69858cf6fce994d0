/* main: kernels and the function that runs them; compiled once per CPU level. */
#define CASTOFF_CONV_HAS_DEPTHWISE 0
#include "abi/castoff_program.h"
#include "common/types.h"
#include "cpu/conv.h"
#include "common/math_f32.h"

struct permute_0_arguments {
    const castoff_f16 *p0;
    castoff_f16 *p1;
};

CASTOFF_KERNEL void permute_0(void *context, int64_t begin, int64_t end, int thread) {
    const struct permute_0_arguments *const arguments = context;
    const castoff_f16 *restrict const p0 = arguments->p0;
    castoff_f16 *restrict const p1 = arguments->p1;
    (void)thread;
    for (int64_t row = begin; row < end; ++row) {
        const int64_t tile_begin = row % (1) * 128;
        const int64_t tile_end = tile_begin + 128 < 90 ? tile_begin + 128 : 90;
        const int64_t outer = row / (1);
        const int64_t i0 = outer;
        for (int64_t i2 = 0; i2 < 8; ++i2) {
#pragma omp simd
            for (int64_t i1 = tile_begin; i1 < tile_end; ++i1) {
                const float t0 = castoff_f16_to_f32(p0[i0 * 720 + i1 + i2 * 90]);
                p1[i0 * 720 + i1 * 8 + i2] = castoff_f32_to_f16(t0);
            }
        }
    }
}


struct convolution_0_arguments {
    const castoff_f16 *p0;
    const float *p1;
    const castoff_f16 *p2;
    castoff_f16 *p3;
};

static void convolution_0_epilogue(const void *context, const float *tile, int64_t tile_stride, int64_t row0,
                                 int64_t col0, int64_t rows, int64_t cols, int64_t b) {
    const struct convolution_0_arguments *const arguments = context;
    const castoff_f16 *restrict const p2 = arguments->p2;
    castoff_f16 *restrict const p3 = arguments->p3;
    for (int64_t i = 0; i < rows; ++i) {
        const int64_t m = row0 + i;
#pragma omp simd
        for (int64_t j = 0; j < cols; ++j) {
            const int64_t n = col0 + j;
            const float t0 = castoff_f16_to_f32(p2[n]);
            const float t1 = tile[i * tile_stride + j] + t0;
            const float t2 = castoff_maximum_f32(t1, 0.0f);
            p3[b * 2000 + m * 40 + n] = castoff_f32_to_f16(t2);
        }
    }
}


static castoff_conv_f16_args convolution_0_make(const struct convolution_0_arguments *arguments) {
    const castoff_f16 *const p0 = arguments->p0;
    (void)p0;
    const float *const p1 = arguments->p1;
    (void)p1;
    const castoff_f16 *const p2 = arguments->p2;
    (void)p2;
    castoff_f16 *const p3 = arguments->p3;
    (void)p3;

    return (castoff_conv_f16_args){
        .batch = 2,
        .groups = 1,
        .in_channels = 8,
        .out_channels = 40,
        .in = {1, 9, 10},
        .out = {1, 5, 10},
        .kernel = {1, 3, 3},
        .stride = {1, 2, 1},
        .dilation = {1, 1, 1},
        .padding = {0, 1, 1},
        .x = p0,
        .x_batch = 720,
        .x_space = {0, 80, 8},
        .weight_packed = p1,
        .epilogue = convolution_0_epilogue,
        .epilogue_context = arguments,
    };
}

static int64_t convolution_0_scratch(const struct convolution_0_arguments *arguments, int threads) {
    const castoff_conv_f16_args convolution = convolution_0_make(arguments);
    return castoff_conv_f16_scratch(&convolution, threads);
}

static void convolution_0(const struct convolution_0_arguments *arguments, castoff_pool *pool, void *scratch) {
    const castoff_conv_f16_args convolution = convolution_0_make(arguments);
    castoff_conv_f16_run(&convolution, pool, scratch);
}

/* Scratch memory that matrix products share; it only grows. */
struct castoff_workspace {
    void *memory;
    int64_t size_bytes;
};

static int castoff_workspace_reserve(castoff_frame *frame, struct castoff_workspace *workspace, int64_t size_bytes) {
    if (workspace->size_bytes < size_bytes || !workspace->memory) {
        workspace->memory = castoff_frame_scratch(frame, (size_t)size_bytes);
        workspace->size_bytes = size_bytes;
    }
    return workspace->memory != 0;
}

#ifdef CASTOFF_NATIVE
#include "abi/castoff_cpu.h"

/* What a processor needs to run this unit. */
extern const uint64_t castoff_native_features;
const uint64_t castoff_native_features = CASTOFF_COMPILED_FEATURES;
#endif

int CASTOFF_RUN(castoff_frame *frame);

int CASTOFF_RUN(castoff_frame *frame) {
    unsigned char *const arena = frame->arena;
    int fault = 0;
    (void)arena;
    (void)fault;
    const int threads = castoff_pool_threads(frame->pool);
    struct castoff_workspace workspace = {0, 0};
    {
        struct permute_0_arguments arguments = {.p0 = frame->inputs[0], .p1 = (void *)(arena + 0)};
        permute_0(&arguments, 0, 2, 0);
    }
    {
        struct convolution_0_arguments arguments = {.p0 = (void *)(arena + 0), .p1 = frame->constants[1], .p2 = frame->constants[0], .p3 = frame->outputs[0]};
        if (!castoff_workspace_reserve(frame, &workspace, convolution_0_scratch(&arguments, threads))) return CASTOFF_OUT_OF_MEMORY;
        convolution_0(&arguments, frame->pool, workspace.memory);
    }
    return CASTOFF_OK;
}
