/* main: kernels for the device, and the host function that launches them. */
#include "cuda/launch.cuh"
#include "cuda/strided.cuh"
#include "cuda/lanes.cuh"
#include "common/math_f32.h"

struct neg_0_arguments {
    const float *p0;
    float *p1;
    int64_t n;
};

static __global__ void __launch_bounds__(256)
neg_0(const struct neg_0_arguments arguments, const int64_t count) {
    const float *__restrict__ const p0 = castoff_aligned(arguments.p0);
    float *__restrict__ const p1 = castoff_aligned(arguments.p1);
    const int lane = (int)threadIdx.x % 256;
    for (int64_t row = castoff_first_row<256>(); row < count; row += castoff_row_step<256>()) {
        const int64_t i2_square = row % (3);
        const int64_t rest0 = row / (3);
        const int64_t i1_square = rest0 % (2);
        const int64_t rest1 = rest0 / (2);
        const int64_t i0 = rest1;
        __shared__ float square0[32][33];
        __syncthreads(); /* the last square has been read */
        for (int position = lane; position < 256; position += 256) {
            const int first = position % 8, second = position / 8;
            const int64_t i1_piece = i1_square * 8 + first;
            const int64_t i2 = i2_square * 32 + second;
            if (i1_piece < 16 && i2 < 96) {
                const castoff_neighbours<4> neighbours(i1_piece);
#pragma unroll
                for (int64_t element = 0; element < 4; ++element) {
                    const int64_t i1 = neighbours[element];
                    square0[second][first * 4 + element] = p0[i0 * 6144 + i1 + i2 * 64];
                }
            }
        }
        __syncthreads();
        for (int position = lane; position < 256; position += 256) {
            const int first = position % 8, second = position / 8;
            const int64_t i2_piece = i2_square * 8 + first;
            const int64_t i1 = i1_square * 32 + second;
            if (i2_piece < 24 && i1 < 64) {
                const castoff_neighbours<4> neighbours(i2_piece);
#pragma unroll
                for (int64_t element = 0; element < 4; ++element) {
                    const int64_t i2 = neighbours[element];
                    const float t0 = square0[first * 4 + element][second];
                    const float t1 = castoff_neg_f32(t0);
                    p1[i0 * 6144 + i1 * 96 + i2] = t1;
                }
            }
        }
    }
}

extern "C" int castoff_run_cuda(castoff_frame *frame) {
    unsigned char *const arena = frame->arena;
    (void)arena;
    const int64_t n = frame->symbols[0];
    (void)n;
    {
        const struct neg_0_arguments arguments = {.p0 = (float *)(frame->inputs[0]), .p1 = (float *)(frame->outputs[0]), .n = n};
        CASTOFF_TRY(castoff_launch(frame, neg_0, n * 6, 1, 256, 0, arguments));
    }
    return CASTOFF_OK;
}
