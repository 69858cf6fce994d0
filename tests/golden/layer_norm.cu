/* main: kernels for the device, and the host function that launches them. */
#include "cuda/launch.cuh"
#include "cuda/strided.cuh"
#include "cuda/lanes.cuh"
#include "common/math_f32.h"

struct sum_div_sum_rsqrt_0_arguments {
    const float *p0;
    const float *p1;
    const float *p2;
    float *p3;
    int64_t rows;
};

static __global__ void __launch_bounds__(256)
sum_div_sum_rsqrt_0(const struct sum_div_sum_rsqrt_0_arguments arguments, const int64_t count) {
    const float *__restrict__ const p0 = castoff_aligned(arguments.p0);
    const float *__restrict__ const p1 = castoff_aligned(arguments.p1);
    const float *__restrict__ const p2 = castoff_aligned(arguments.p2);
    float *__restrict__ const p3 = castoff_aligned(arguments.p3);
    const int lane = (int)threadIdx.x % 32;
    for (int64_t row = castoff_first_row<32>(); row < count; row += castoff_row_step<32>()) {
        const int64_t i0 = row;
        float held0[8];
#pragma unroll
        for (int64_t turn = 0; turn < 2; ++turn) {
            const int64_t piece = turn * 32 + lane;
            if (turn < 1 || piece < 48) {
                const int64_t i1_piece = piece;
                const castoff_neighbours<4> neighbours(i1_piece);
#pragma unroll
                for (int64_t element = 0; element < 4; ++element) {
                    const int64_t i1 = neighbours[element];
                    held0[turn * 4 + element] = p0[i0 * 192 + i1];
                }
            }
        }
        float acc0 = 0.0f;
#pragma unroll
        for (int64_t turn = 0; turn < 2; ++turn) {
            const int64_t piece = turn * 32 + lane;
            if (turn < 1 || piece < 48) {
                const int64_t i1_piece = piece;
#pragma unroll
                for (int64_t element = 0; element < 4; ++element) {
                    const float t0 = held0[turn * 4 + element];
                    acc0 = acc0 + t0;
                }
            }
        }
        acc0 = castoff_over_lanes<32>(acc0, [](float a, float b) -> float { return a + b; });
        float acc1 = 0.0f;
        const float t2 = acc0 / 192.0f;
#pragma unroll
        for (int64_t turn = 0; turn < 2; ++turn) {
            const int64_t piece = turn * 32 + lane;
            if (turn < 1 || piece < 48) {
                const int64_t i1_piece = piece;
#pragma unroll
                for (int64_t element = 0; element < 4; ++element) {
                    const float t1 = held0[turn * 4 + element];
                    const float t3 = t1 - t2;
                    const float t4 = t3 * t3;
                    acc1 = acc1 + t4;
                }
            }
        }
        acc1 = castoff_over_lanes<32>(acc1, [](float a, float b) -> float { return a + b; });
        const float t7 = acc1 / 192.0f;
        const float t8 = t7 + 1e-05f;
        const float t9 = castoff_rsqrt_f32(t8);
#pragma unroll
        for (int64_t turn = 0; turn < 2; ++turn) {
            const int64_t piece = turn * 32 + lane;
            if (turn < 1 || piece < 48) {
                const int64_t i1_piece = piece;
                const castoff_neighbours<4> neighbours(i1_piece);
#pragma unroll
                for (int64_t element = 0; element < 4; ++element) {
                    const int64_t i1 = neighbours[element];
                    const float t5 = held0[turn * 4 + element];
                    const float t6 = t5 - t2;
                    const float t10 = t6 * t9;
                    const float t11 = p1[i1];
                    const float t12 = t10 * t11;
                    const float t13 = p2[i1];
                    const float t14 = t12 + t13;
                    p3[i0 * 192 + i1] = t14;
                }
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
        const struct sum_div_sum_rsqrt_0_arguments arguments = {.p0 = (float *)(frame->inputs[0]), .p1 = (float *)(frame->constants[0]), .p2 = (float *)(frame->constants[1]), .p3 = (float *)(frame->outputs[0]), .rows = rows};
        CASTOFF_TRY(castoff_launch(frame, sum_div_sum_rsqrt_0, rows, 8, 256, 0, arguments));
    }
    return CASTOFF_OK;
}
