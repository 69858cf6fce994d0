/* main: kernels for the device, and the host function that launches them. */
#include "cuda/launch.cuh"
#include "cuda/strided.cuh"
#include "cuda/lanes.cuh"

struct mul_0_arguments {
    const float *p0;
    const float *p1;
    float *p2;
};

static __global__ void __launch_bounds__(256)
mul_0(const struct mul_0_arguments arguments, const int64_t count) {
    const float *__restrict__ const p0 = castoff_aligned(arguments.p0);
    const float *__restrict__ const p1 = castoff_aligned(arguments.p1);
    float *__restrict__ const p2 = castoff_aligned(arguments.p2);
    for (int64_t row = castoff_first_row<1>(); row < count; row += castoff_row_step<1>()) {
        const int64_t i1_vector = row % (4);
        const int64_t rest0 = row / (4);
        const int64_t i0 = rest0;
        const castoff_neighbours<4> neighbours(i1_vector);
#pragma unroll
        for (int64_t element = 0; element < 4; ++element) {
            const int64_t i1 = neighbours[element];
            const float t0 = p0[i0 * 16 + i1];
            const float t1 = p1[i1];
            const float t2 = t0 + t1;
            const float t3 = t2 * t0;
            p2[i0 * 16 + i1] = t3;
        }
    }
}

extern "C" int castoff_run_cuda(castoff_frame *frame) {
    unsigned char *const arena = frame->arena;
    (void)arena;
    {
        const struct mul_0_arguments arguments = {.p0 = (float *)(frame->inputs[0]), .p1 = (float *)(frame->inputs[1]), .p2 = (float *)(frame->outputs[0])};
        CASTOFF_TRY(castoff_launch(frame, mul_0, 32, 256, 256, 0, arguments));
    }
    return CASTOFF_OK;
}
