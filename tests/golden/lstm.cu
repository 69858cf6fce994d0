/* main: kernels for the device, and the host function that launches them. */
#include "cuda/launch.cuh"
#include "cuda/strided.cuh"
#include "cuda/blas_product.cuh"
#include "cuda/recurrent.cuh"
#include "cuda/lanes.cuh"
#include "common/integer.h"

struct matmul_0_arguments {
    const float *p0;
    const float *p1;
    const float *p2;
    const float *p3;
    float *p4;
    int64_t batch;
    int64_t time;
};

struct matmul_0_epilogue {
    struct matmul_0_arguments arguments;
    __device__ __forceinline__ void operator()(const float tile, const int64_t b, const int64_t m, const int64_t n) const {
        const float *__restrict__ const p2 = castoff_aligned(arguments.p2);
        const float *__restrict__ const p3 = castoff_aligned(arguments.p3);
        float *__restrict__ const p4 = castoff_aligned(arguments.p4);
        (void)b;
        const float t0 = p2[n];
        const float t1 = tile + t0;
        const float t2 = p3[n];
        const float t3 = t1 + t2;
        p4[m * 32 + n] = t3;
    }
};

static int matmul_0_run(castoff_frame *frame, const struct matmul_0_arguments &arguments) {
    const float *const p0 = arguments.p0;
    (void)p0;
    const float *const p1 = arguments.p1;
    (void)p1;
    const float *const p2 = arguments.p2;
    (void)p2;
    const float *const p3 = arguments.p3;
    (void)p3;
    float *const p4 = arguments.p4;
    (void)p4;
    const int64_t batch = arguments.batch;
    (void)batch;
    const int64_t time = arguments.time;
    (void)time;

    const castoff_matrices<castoff_plain<float>> product = {
        .batch = 1,
        .rows = batch * time,
        .columns = 32,
        .depth = 5,
        .a = p0,
        .b = p1,
        .a_row = 5,
        .a_column = 1,
        .b_row = 1,
        .b_column = 5,
        .batch_rank = 0,
        .batch_sizes = {},
        .a_batch = {},
        .b_batch = {},
    };
    const castoff_blas_store store = {
    };
    return castoff_run_matrices<true>(frame, product, matmul_0_epilogue{arguments}, store);
}


struct concatenate_0_arguments {
    const float *p0;
    float *p1;
    int64_t batch;
    int64_t time;
};

static __global__ void __launch_bounds__(256)
concatenate_0(const struct concatenate_0_arguments arguments, const int64_t count) {
    const float *__restrict__ const p0 = castoff_aligned(arguments.p0);
    float *__restrict__ const p1 = castoff_aligned(arguments.p1);
    for (int64_t row = castoff_first_row<1>(); row < count; row += castoff_row_step<1>()) {
        const int64_t i1_vector = row % (2);
        const int64_t rest0 = row / (2);
        const int64_t i0 = rest0;
        const castoff_neighbours<4> neighbours(i1_vector);
#pragma unroll
        for (int64_t element = 0; element < 4; ++element) {
            const int64_t i1 = neighbours[element];
            const float t0 = p0[i0 * 8 + i1];
            p1[i0 * 16 + i1] = t0;
        }
    }
}


struct concatenate_1_arguments {
    const float *p0;
    float *p1;
    int64_t batch;
};

static __global__ void __launch_bounds__(256)
concatenate_1(const struct concatenate_1_arguments arguments, const int64_t count) {
    const float *__restrict__ const p0 = castoff_aligned(arguments.p0);
    float *__restrict__ const p1 = castoff_aligned(arguments.p1);
    const int64_t batch = arguments.batch;
    for (int64_t row = castoff_first_row<1>(); row < count; row += castoff_row_step<1>()) {
        const int64_t i0_vector = row;
        if (i0_vector * 4 + 4 <= batch * 8) {
            const castoff_neighbours<4> neighbours(i0_vector);
#pragma unroll
            for (int64_t element = 0; element < 4; ++element) {
                const int64_t i0 = neighbours[element];
                const float t0 = p0[i0];
                p1[i0] = t0;
            }
        } else {
            for (int64_t element = i0_vector * 4; element < batch * 8; ++element) {
                const int64_t i0 = element;
                const float t1 = p0[i0];
                p1[i0] = t1;
            }
        }
    }
}


struct concatenate_2_arguments {
    const float *p0;
    float *p1;
    int64_t batch;
};

static __global__ void __launch_bounds__(256)
concatenate_2(const struct concatenate_2_arguments arguments, const int64_t count) {
    const float *__restrict__ const p0 = castoff_aligned(arguments.p0);
    float *__restrict__ const p1 = castoff_aligned(arguments.p1);
    const int64_t batch = arguments.batch;
    for (int64_t row = castoff_first_row<1>(); row < count; row += castoff_row_step<1>()) {
        const int64_t i0_vector = row;
        if (i0_vector * 4 + 4 <= batch * 8) {
            const castoff_neighbours<4> neighbours(i0_vector);
#pragma unroll
            for (int64_t element = 0; element < 4; ++element) {
                const int64_t i0 = neighbours[element];
                const float t0 = p0[i0];
                p1[batch * 8 + i0] = t0;
            }
        } else {
            for (int64_t element = i0_vector * 4; element < batch * 8; ++element) {
                const int64_t i0 = element;
                const float t1 = p0[i0];
                p1[batch * 8 + i0] = t1;
            }
        }
    }
}

extern "C" int castoff_run_cuda(castoff_frame *frame) {
    unsigned char *const arena = frame->arena;
    (void)arena;
    const int64_t time = frame->symbols[0];
    (void)time;
    const int64_t batch = frame->symbols[1];
    (void)batch;
    const size_t slot0 = 1024;
    (void)slot0;
    const size_t slot1 = slot0 + (((size_t)(batch * time * 128) + 63) & ~(size_t)63);
    (void)slot1;
    const size_t slot2 = slot1 + (((size_t)(batch * time * 32) + 63) & ~(size_t)63);
    (void)slot2;
    const size_t slot3 = slot2 + (((size_t)(batch * 32) + 63) & ~(size_t)63);
    (void)slot3;
    const size_t slot4 = slot3 + (((size_t)(batch * 32) + 63) & ~(size_t)63);
    (void)slot4;
    const size_t slot5 = slot4 + (((size_t)(batch * time * 32) + 63) & ~(size_t)63);
    (void)slot5;
    const size_t slot6 = slot5 + (((size_t)(batch * 32) + 63) & ~(size_t)63);
    (void)slot6;
    {
        const struct matmul_0_arguments arguments = {.p0 = (float *)(frame->inputs[0]), .p1 = (float *)(frame->constants[0]), .p2 = (float *)(frame->constants[1]), .p3 = (float *)(frame->constants[2]), .p4 = (float *)((void *)(arena + slot0)), .batch = batch, .time = time};
        CASTOFF_TRY(matmul_0_run(frame, arguments));
    }
    {
        CASTOFF_TRY(castoff_device_rnn_lstm<castoff_plain<float>>(frame, ((float *)((void *)(arena + slot1))), ((float *)((void *)(arena + slot2))), ((float *)((void *)(arena + slot3))), ((const float *)((void *)(arena + slot0))), ((const float *)(frame->inputs[1])), ((const float *)(frame->constants[3])), ((const float *)(frame->inputs[2])), time, batch, 8, 8, 0, (void *)(arena + 0), frame->pool));
    }
    {
        const struct matmul_0_arguments arguments = {.p0 = (float *)(frame->inputs[0]), .p1 = (float *)(frame->constants[4]), .p2 = (float *)(frame->constants[5]), .p3 = (float *)(frame->constants[6]), .p4 = (float *)((void *)(arena + slot0)), .batch = batch, .time = time};
        CASTOFF_TRY(matmul_0_run(frame, arguments));
    }
    {
        CASTOFF_TRY(castoff_device_rnn_lstm<castoff_plain<float>>(frame, ((float *)((void *)(arena + slot4))), ((float *)((void *)(arena + slot5))), ((float *)((void *)(arena + slot6))), ((const float *)((void *)(arena + slot0))), ((const float *)(frame->inputs[1]) + batch * 8), ((const float *)(frame->constants[7])), ((const float *)(frame->inputs[2]) + batch * 8), time, batch, 8, 8, 1, (void *)(arena + 0), frame->pool));
    }
    {
        const struct concatenate_0_arguments arguments = {.p0 = (float *)((void *)(arena + slot1)), .p1 = (float *)(frame->outputs[0]), .batch = batch, .time = time};
        CASTOFF_TRY(castoff_launch(frame, concatenate_0, batch * time * 2, 256, 256, 0, arguments));
    }
    {
        const struct concatenate_0_arguments arguments = {.p0 = (float *)((void *)(arena + slot4)), .p1 = (float *)(frame->outputs[0]) + 8, .batch = batch, .time = time};
        CASTOFF_TRY(castoff_launch(frame, concatenate_0, batch * time * 2, 256, 256, 0, arguments));
    }
    {
        const struct concatenate_1_arguments arguments = {.p0 = (float *)((void *)(arena + slot2)), .p1 = (float *)(frame->outputs[1]), .batch = batch};
        CASTOFF_TRY(castoff_launch(frame, concatenate_1, batch * 2, 256, 256, 0, arguments));
    }
    {
        const struct concatenate_2_arguments arguments = {.p0 = (float *)((void *)(arena + slot5)), .p1 = (float *)(frame->outputs[1]), .batch = batch};
        CASTOFF_TRY(castoff_launch(frame, concatenate_2, batch * 2, 256, 256, 0, arguments));
    }
    {
        const struct concatenate_1_arguments arguments = {.p0 = (float *)((void *)(arena + slot3)), .p1 = (float *)(frame->outputs[2]), .batch = batch};
        CASTOFF_TRY(castoff_launch(frame, concatenate_1, batch * 2, 256, 256, 0, arguments));
    }
    {
        const struct concatenate_2_arguments arguments = {.p0 = (float *)((void *)(arena + slot6)), .p1 = (float *)(frame->outputs[2]), .batch = batch};
        CASTOFF_TRY(castoff_launch(frame, concatenate_2, batch * 2, 256, 256, 0, arguments));
    }
    return CASTOFF_OK;
}
