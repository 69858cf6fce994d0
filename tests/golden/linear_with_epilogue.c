/* main: kernels and the function that runs them; compiled once per CPU level. */
#define CASTOFF_GEMM_IS_PACKED 1
#include "abi/castoff_program.h"
#include "common/types.h"
#include "cpu/gemm.h"
#include "common/math_f32.h"

struct matmul_0_arguments {
    const float *p0;
    const float *p1;
    const float *p2;
    float *p3;
    int64_t batch;
};

static void matmul_0_epilogue(const void *context, const float *tile, int64_t tile_stride, int64_t row0,
                                 int64_t col0, int64_t rows, int64_t cols, int64_t b) {
    const struct matmul_0_arguments *const arguments = context;
    const float *restrict const p2 = arguments->p2;
    float *restrict const p3 = arguments->p3;
    (void)b;
    for (int64_t i = 0; i < rows; ++i) {
        const int64_t m = row0 + i;
#pragma omp simd
        for (int64_t j = 0; j < cols; ++j) {
            const int64_t n = col0 + j;
            const float t0 = p2[n];
            const float t1 = tile[i * tile_stride + j] + t0;
            const float t2 = castoff_sigmoid_f32(t1);
            p3[m * 8 + n] = t2;
        }
    }
}


static int64_t matmul_0_scratch(const struct matmul_0_arguments *arguments, int threads) {
    (void)arguments;
    const float *const p0 = arguments->p0;
    (void)p0;
    const float *const p1 = arguments->p1;
    (void)p1;
    const float *const p2 = arguments->p2;
    (void)p2;
    float *const p3 = arguments->p3;
    (void)p3;
    const int64_t batch = arguments->batch;
    (void)batch;

    return castoff_gemm_f32_scratch(1, batch, 8, 16, 1, threads);
}

static void matmul_0(const struct matmul_0_arguments *arguments, castoff_pool *pool, void *scratch) {
    const float *const p0 = arguments->p0;
    (void)p0;
    const float *const p1 = arguments->p1;
    (void)p1;
    const float *const p2 = arguments->p2;
    (void)p2;
    float *const p3 = arguments->p3;
    (void)p3;
    const int64_t batch = arguments->batch;
    (void)batch;

    const castoff_gemm_f32_args product = {
        .m = batch,
        .n = 8,
        .k = 16,
        .a = (p0),
        .a_row = 16,
        .a_col = 1,
        .b_packed = p1,
        .epilogue = matmul_0_epilogue,
        .epilogue_context = arguments,
    };
    castoff_gemm_f32_run(&product, pool, scratch);
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
    const int64_t batch = frame->symbols[0];
    (void)batch;
    {
        struct matmul_0_arguments arguments = {.p0 = frame->inputs[0], .p1 = frame->constants[0], .p2 = frame->constants[1], .p3 = frame->outputs[0], .batch = batch};
        if (!castoff_workspace_reserve(frame, &workspace, matmul_0_scratch(&arguments, threads))) return CASTOFF_OUT_OF_MEMORY;
        matmul_0(&arguments, frame->pool, workspace.memory);
    }
    return CASTOFF_OK;
}
