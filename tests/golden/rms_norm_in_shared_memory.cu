/* main: kernels for the device, and the host function that launches them. */
#include "cuda/launch.cuh"
#include "cuda/strided.cuh"
#include "cuda/lanes.cuh"
#include "common/math_f32.h"

struct sum_rsqrt_mul_0_arguments {
    const float *p0;
    float *p1;
    int64_t rows;
};

static __global__ void __launch_bounds__(256)
sum_rsqrt_mul_0(const struct sum_rsqrt_mul_0_arguments arguments, const int64_t count) {
    const float *__restrict__ const p0 = castoff_aligned(arguments.p0);
    float *__restrict__ const p1 = castoff_aligned(arguments.p1);
    const int lane = (int)threadIdx.x % 256;
    for (int64_t row = castoff_first_row<256>(); row < count; row += castoff_row_step<256>()) {
        const int64_t i0 = row;
        float *const held0 = (float *)(castoff_shared_memory() + 0);
        for (int64_t piece = lane; piece < 5000; piece += 256) {
            const int64_t i1_piece = piece;
            const castoff_neighbours<4> neighbours(i1_piece);
#pragma unroll
            for (int64_t element = 0; element < 4; ++element) {
                const int64_t i1 = neighbours[element];
                held0[i1] = p0[i0 * 20000 + i1];
            }
        }
        float acc0 = 0.0f;
        for (int64_t piece = lane; piece < 5000; piece += 256) {
            const int64_t i1_piece = piece;
            const castoff_neighbours<4> neighbours(i1_piece);
#pragma unroll
            for (int64_t element = 0; element < 4; ++element) {
                const int64_t i1 = neighbours[element];
                const float t0 = held0[i1];
                const float t1 = t0 * t0;
                acc0 = acc0 + t1;
            }
        }
        acc0 = castoff_over_lanes<256>(acc0, [](float a, float b) -> float { return a + b; });
        const float t3 = acc0 / 20000.0f;
        const float t4 = t3 + 1e-05f;
        const float t5 = castoff_rsqrt_f32(t4);
        for (int64_t piece = lane; piece < 5000; piece += 256) {
            const int64_t i1_piece = piece;
            const castoff_neighbours<4> neighbours(i1_piece);
#pragma unroll
            for (int64_t element = 0; element < 4; ++element) {
                const int64_t i1 = neighbours[element];
                const float t2 = held0[i1];
                const float t6 = t2 * t5;
                p1[i0 * 20000 + i1] = t6;
            }
        }
    }
}

extern "C" int castoff_run_cuda(castoff_frame *frame) {
    unsigned char *const arena = frame->arena;
    (void)arena;
    const int64_t rows = frame->symbols[0];
    (void)rows;
    {
        const struct sum_rsqrt_mul_0_arguments arguments = {.p0 = (float *)(frame->inputs[0]), .p1 = (float *)(frame->outputs[0]), .rows = rows};
        CASTOFF_TRY(castoff_launch(frame, sum_rsqrt_mul_0, rows, 1, 256, 80000, arguments));
    }
    return CASTOFF_OK;
}
