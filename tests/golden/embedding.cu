/* main: kernels for the device, and the host function that launches them. */
#include "cuda/launch.cuh"
#include "cuda/strided.cuh"
#include "cuda/lanes.cuh"
#include "common/index.h"

struct advancedindex_0_arguments {
    const int64_t *p0;
    const float *p1;
    float *p2;
    int64_t n;
    int *fault;
};

static __global__ void __launch_bounds__(256)
advancedindex_0(const struct advancedindex_0_arguments arguments, const int64_t count) {
    const int64_t *__restrict__ const p0 = castoff_aligned(arguments.p0);
    const float *__restrict__ const p1 = castoff_aligned(arguments.p1);
    float *__restrict__ const p2 = castoff_aligned(arguments.p2);
    int *const fault = arguments.fault;
    for (int64_t row = castoff_first_row<1>(); row < count; row += castoff_row_step<1>()) {
        const int64_t i1_vector = row % (1);
        const int64_t rest0 = row / (1);
        const int64_t i0 = rest0;
        const int64_t t0 = p0[i0];
        const int64_t t1 = castoff_check_index(t0, 10, fault);
        const castoff_neighbours<4> neighbours(i1_vector);
#pragma unroll
        for (int64_t element = 0; element < 4; ++element) {
            const int64_t i1 = neighbours[element];
            const float t2 = p1[i1 + t1 * 4];
            p2[i0 * 4 + i1] = t2;
        }
    }
}

/* What to say where a step read an index out of range. */
static const char *const fault_messages[] = {
    "index out of range",
};

extern "C" int castoff_run_cuda(castoff_frame *frame) {
    unsigned char *const arena = frame->arena;
    (void)arena;
    const int64_t n = frame->symbols[0];
    (void)n;
    int *const faults = castoff_frame_faults(frame, 1);
    if (!faults) return CASTOFF_OUT_OF_MEMORY;
    {
        const struct advancedindex_0_arguments arguments = {.p0 = (int64_t *)(frame->inputs[0]), .p1 = (float *)(frame->constants[0]), .p2 = (float *)(frame->outputs[0]), .n = n, .fault = faults + 0};
        CASTOFF_TRY(castoff_launch(frame, advancedindex_0, n, 256, 256, 0, arguments));
    }
    CASTOFF_TRY(castoff_frame_report_faults(frame, 1, fault_messages));
    return CASTOFF_OK;
}
