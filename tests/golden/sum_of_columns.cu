/* main: kernels for the device, and the host function that launches them. */
#include "cuda/launch.cuh"
#include "cuda/strided.cuh"
#include "cuda/lanes.cuh"

struct sum_0_arguments {
    const float *p0;
    float *p1;
};

static __global__ void __launch_bounds__(256)
sum_0(const struct sum_0_arguments arguments, const int64_t count) {
    const float *__restrict__ const p0 = castoff_aligned(arguments.p0);
    float *__restrict__ const p1 = castoff_aligned(arguments.p1);
    for (int64_t row = castoff_first_row<1>(); row < count; row += castoff_row_step<1>()) {
        const int64_t i0 = row;
        float acc0 = 0.0f;
        for (int64_t i1 = 0; i1 < 32; ++i1) {
            const float t0 = p0[i0 + i1 * 48];
            acc0 = acc0 + t0;
        }
        p1[i0] = acc0;
    }
}

extern "C" int castoff_run_cuda(castoff_frame *frame) {
    unsigned char *const arena = frame->arena;
    (void)arena;
    {
        const struct sum_0_arguments arguments = {.p0 = (float *)(frame->inputs[0]), .p1 = (float *)(frame->outputs[0])};
        CASTOFF_TRY(castoff_launch(frame, sum_0, 48, 256, 256, 0, arguments));
    }
    return CASTOFF_OK;
}
