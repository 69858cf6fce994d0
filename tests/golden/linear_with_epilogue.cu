/* main: kernels for the device, and the host function that launches them. */
#include "cuda/launch.cuh"
#include "cuda/strided.cuh"
#include "cuda/blas_product.cuh"
#include "common/math_f32.h"

struct matmul_0_arguments {
    const float *p0;
    const float *p1;
    const float *p2;
    float *p3;
    int64_t batch;
};

struct matmul_0_epilogue {
    struct matmul_0_arguments arguments;
    __device__ __forceinline__ void operator()(const float tile, const int64_t b, const int64_t m, const int64_t n) const {
        const float *__restrict__ const p2 = castoff_aligned(arguments.p2);
        float *__restrict__ const p3 = castoff_aligned(arguments.p3);
        (void)b;
        const float t0 = p2[n];
        const float t1 = tile + t0;
        const float t2 = castoff_sigmoid_f32(t1);
        p3[m * 8 + n] = t2;
    }
};

static int matmul_0_run(castoff_frame *frame, const struct matmul_0_arguments &arguments) {
    const float *const p0 = arguments.p0;
    (void)p0;
    const float *const p1 = arguments.p1;
    (void)p1;
    const float *const p2 = arguments.p2;
    (void)p2;
    float *const p3 = arguments.p3;
    (void)p3;
    const int64_t batch = arguments.batch;
    (void)batch;

    const castoff_matrices<castoff_plain<float>> product = {
        .batch = 1,
        .rows = batch,
        .columns = 8,
        .depth = 16,
        .a = p0,
        .b = p1,
        .a_row = 16,
        .a_column = 1,
        .b_row = 1,
        .b_column = 16,
        .batch_rank = 0,
        .batch_sizes = {},
        .a_batch = {},
        .b_batch = {},
    };
    const castoff_blas_store store = {
    };
    return castoff_run_matrices<true>(frame, product, matmul_0_epilogue{arguments}, store);
}

extern "C" int castoff_run_cuda(castoff_frame *frame) {
    unsigned char *const arena = frame->arena;
    (void)arena;
    const int64_t batch = frame->symbols[0];
    (void)batch;
    {
        const struct matmul_0_arguments arguments = {.p0 = (float *)(frame->inputs[0]), .p1 = (float *)(frame->constants[0]), .p2 = (float *)(frame->constants[1]), .p3 = (float *)(frame->outputs[0]), .batch = batch};
        CASTOFF_TRY(matmul_0_run(frame, arguments));
    }
    return CASTOFF_OK;
}
