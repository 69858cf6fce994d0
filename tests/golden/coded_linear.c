/* main: kernels and the function that runs them; compiled once per CPU level. */
#include "abi/castoff_program.h"
#include "common/types.h"
#include "cpu/gemm_coded.h"

struct matmul_0_arguments {
    float *p0;
    const float *p1;
    const uint8_t *p2;
    const float *p3;
    int64_t batch;
};

static int64_t matmul_0_scratch(const struct matmul_0_arguments *arguments, int threads) {
    (void)arguments;
    float *const p0 = arguments->p0;
    (void)p0;
    const float *const p1 = arguments->p1;
    (void)p1;
    const uint8_t *const p2 = arguments->p2;
    (void)p2;
    const float *const p3 = arguments->p3;
    (void)p3;
    const int64_t batch = arguments->batch;
    (void)batch;

    return castoff_gemm_coded_scratch(1, batch, 64, 128, 1, threads);
}

static void matmul_0(const struct matmul_0_arguments *arguments, castoff_pool *pool, void *scratch) {
    float *const p0 = arguments->p0;
    (void)p0;
    const float *const p1 = arguments->p1;
    (void)p1;
    const uint8_t *const p2 = arguments->p2;
    (void)p2;
    const float *const p3 = arguments->p3;
    (void)p3;
    const int64_t batch = arguments->batch;
    (void)batch;

    const castoff_gemm_coded_args product = {
        .m = batch,
        .n = 64,
        .k = 128,
        .a = (p1),
        .a_row = 128,
        .a_col = 1,
        .codes = p2,
        .scales = p3,
        .bits = 4,
        .group = 64,
        .narrow = 0,
        .a_from = CASTOFF_FROM_F32,
        .c = p0,
        .c_row = 64,
        .relu = 0,
    };
    castoff_gemm_coded_run(&product, pool, scratch);
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
        struct matmul_0_arguments arguments = {.p0 = frame->outputs[0], .p1 = frame->inputs[0], .p2 = frame->constants[0], .p3 = frame->constants[1], .batch = batch};
        if (!castoff_workspace_reserve(frame, &workspace, matmul_0_scratch(&arguments, threads))) return CASTOFF_OUT_OF_MEMORY;
        matmul_0(&arguments, frame->pool, workspace.memory);
    }
    return CASTOFF_OK;
}
