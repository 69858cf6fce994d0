/* main: kernels for the device, and the host function that launches them. */
#include "cuda/launch.cuh"
#include "cuda/strided.cuh"
#include "cuda/lanes.cuh"
#include "common/math_f32.h"

struct max_exp_decay_sum_reciprocal_0_arguments {
    const float *p0;
    float *p1;
    int64_t rows;
};

static __global__ void __launch_bounds__(256)
max_exp_decay_sum_reciprocal_0(const struct max_exp_decay_sum_reciprocal_0_arguments arguments, const int64_t count) {
    const float *__restrict__ const p0 = castoff_aligned(arguments.p0);
    float *__restrict__ const p1 = castoff_aligned(arguments.p1);
    const int lane = (int)threadIdx.x % 32;
    for (int64_t row = castoff_first_row<32>(); row < count; row += castoff_row_step<32>()) {
        const int64_t i0 = row;
        float held0[2];
#pragma unroll
        for (int64_t turn = 0; turn < 1; ++turn) {
            const int64_t piece = turn * 32 + lane;
            const int64_t i1_piece = piece;
            const castoff_neighbours<2> neighbours(i1_piece);
#pragma unroll
            for (int64_t element = 0; element < 2; ++element) {
                const int64_t i1 = neighbours[element];
                held0[turn * 2 + element] = p0[i0 * 64 + i1];
            }
        }
        float acc0 = (-__builtin_inff());
        int acc0_nan = 0;
#pragma unroll
        for (int64_t turn = 0; turn < 1; ++turn) {
            const int64_t piece = turn * 32 + lane;
            const int64_t i1_piece = piece;
#pragma unroll
            for (int64_t element = 0; element < 2; ++element) {
                const float t0 = held0[turn * 2 + element];
                acc0_nan |= t0 != t0;
                acc0 = t0 > acc0 ? t0 : acc0;
            }
        }
        acc0 = castoff_over_lanes<32>(acc0, [](float a, float b) -> float { return b > a ? b : a; });
        acc0_nan = castoff_over_lanes<32>(acc0_nan, [](int a, int b) { return a | b; });
        acc0 = acc0_nan ? __builtin_nanf("") : acc0;
        float acc1 = 0.0f;
#pragma unroll
        for (int64_t turn = 0; turn < 1; ++turn) {
            const int64_t piece = turn * 32 + lane;
            const int64_t i1_piece = piece;
#pragma unroll
            for (int64_t element = 0; element < 2; ++element) {
                const float t1 = held0[turn * 2 + element];
                const float t2 = t1 - acc0;
                const float t3 = castoff_exp_decay_f32(t2);
                held0[turn * 2 + element] = t3;
                acc1 = acc1 + t3;
            }
        }
        acc1 = castoff_over_lanes<32>(acc1, [](float a, float b) -> float { return a + b; });
        const float t5 = castoff_reciprocal_f32(acc1);
#pragma unroll
        for (int64_t turn = 0; turn < 1; ++turn) {
            const int64_t piece = turn * 32 + lane;
            const int64_t i1_piece = piece;
            const castoff_neighbours<2> neighbours(i1_piece);
#pragma unroll
            for (int64_t element = 0; element < 2; ++element) {
                const int64_t i1 = neighbours[element];
                const float t4 = held0[turn * 2 + element];
                const float t6 = t4 * t5;
                p1[i0 * 64 + i1] = t6;
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
        const struct max_exp_decay_sum_reciprocal_0_arguments arguments = {.p0 = (float *)(frame->inputs[0]), .p1 = (float *)(frame->outputs[0]), .rows = rows};
        CASTOFF_TRY(castoff_launch(frame, max_exp_decay_sum_reciprocal_0, rows, 8, 256, 0, arguments));
    }
    return CASTOFF_OK;
}
