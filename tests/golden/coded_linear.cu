/* main: kernels for the device, and the host function that launches them. */
#include "cuda/launch.cuh"
#include "cuda/strided.cuh"
#include "cuda/coded.cuh"

struct matmul_0_arguments {
    const float *p0;
    const uint8_t *p1;
    const float *p2;
    float *p3;
    int64_t batch;
};

struct matmul_0_epilogue {
    struct matmul_0_arguments arguments;
    __device__ __forceinline__ void operator()(const float tile, const int64_t b, const int64_t m, const int64_t n) const {
        float *__restrict__ const p3 = castoff_aligned(arguments.p3);
        (void)b;
        p3[m * 64 + n] = tile;
    }
};

static int matmul_0_run(castoff_frame *frame, const struct matmul_0_arguments &arguments) {
    const float *const p0 = arguments.p0;
    (void)p0;
    const uint8_t *const p1 = arguments.p1;
    (void)p1;
    const float *const p2 = arguments.p2;
    (void)p2;
    float *const p3 = arguments.p3;
    (void)p3;
    const int64_t batch = arguments.batch;
    (void)batch;

    const castoff_coded<castoff_plain<float>> product = {
        .rows = batch,
        .columns = 64,
        .depth = 128,
        .a = p0,
        .a_row = 128,
        .a_column = 1,
        .codes = (const uint8_t *)(p1),
        .scales = p2,
    };
    return castoff_run_coded<4, 0, 4096>(frame, product, matmul_0_epilogue{arguments});
}

extern "C" int castoff_run_cuda(castoff_frame *frame) {
    unsigned char *const arena = frame->arena;
    (void)arena;
    const int64_t batch = frame->symbols[0];
    (void)batch;
    {
        const struct matmul_0_arguments arguments = {.p0 = (float *)(frame->inputs[0]), .p1 = (uint8_t *)(frame->constants[0]), .p2 = (float *)(frame->constants[1]), .p3 = (float *)(frame->outputs[0]), .batch = batch};
        CASTOFF_TRY(matmul_0_run(frame, arguments));
    }
    return CASTOFF_OK;
}
