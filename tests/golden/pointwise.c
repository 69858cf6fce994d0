/* main: kernels and the function that runs them; compiled once per CPU level. */
#include "abi/castoff_program.h"
#include "common/types.h"

struct mul_0_arguments {
    const float *p0;
    const float *p1;
    float *p2;
};

CASTOFF_KERNEL void mul_0(void *context, int64_t begin, int64_t end, int thread) {
    const struct mul_0_arguments *const arguments = context;
    const float *restrict const p0 = arguments->p0;
    const float *restrict const p1 = arguments->p1;
    float *restrict const p2 = arguments->p2;
    (void)thread;
    for (int64_t row = begin; row < end; ++row) {
        const int64_t i0 = row;
#pragma omp simd
        for (int64_t i1 = 0; i1 < 16; ++i1) {
            const float t0 = p0[i0 * 16 + i1];
            const float t1 = p1[i1];
            const float t2 = t0 + t1;
            const float t3 = t2 * t0;
            p2[i0 * 16 + i1] = t3;
        }
    }
}

#ifdef CASTOFF_NATIVE
#include "abi/castoff_cpu.h"

/* What a processor needs to run this unit. */
extern const uint64_t castoff_native_features;
const uint64_t castoff_native_features = CASTOFF_COMPILED_FEATURES;
#endif

int CASTOFF_RUN(castoff_frame *frame);

int CASTOFF_RUN(castoff_frame *frame) {
    unsigned char *const arena = frame->arena;
    int fault = 0;
    (void)arena;
    (void)fault;
    {
        struct mul_0_arguments arguments = {.p0 = frame->inputs[0], .p1 = frame->inputs[1], .p2 = frame->outputs[0]};
        mul_0(&arguments, 0, 8, 0);
    }
    return CASTOFF_OK;
}
