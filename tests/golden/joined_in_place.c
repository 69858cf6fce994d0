/* main: kernels and the function that runs them; compiled once per CPU level. */
#include "abi/castoff_program.h"
#include "common/types.h"
#include "common/math_f32.h"

struct concatenate_0_arguments {
    const float *p0;
    float *p1;
};

CASTOFF_KERNEL void concatenate_0(void *context, int64_t begin, int64_t end, int thread) {
    const struct concatenate_0_arguments *const arguments = context;
    const float *restrict const p0 = arguments->p0;
    float *restrict const p1 = arguments->p1;
    (void)thread;
    for (int64_t row = begin; row < end; ++row) {
        const int64_t i0 = row;
#pragma omp simd
        for (int64_t i1 = 0; i1 < 6; ++i1) {
            const float t0 = p0[i0 * 6 + i1];
            const float t1 = castoff_neg_f32(t0);
            p1[i0 * 8 + i1] = t1;
        }
    }
}


struct concatenate_1_arguments {
    const float *p0;
    float *p1;
};

CASTOFF_KERNEL void concatenate_1(void *context, int64_t begin, int64_t end, int thread) {
    const struct concatenate_1_arguments *const arguments = context;
    const float *restrict const p0 = arguments->p0;
    float *restrict const p1 = arguments->p1;
    (void)thread;
    for (int64_t row = begin; row < end; ++row) {
        const int64_t i0 = row;
#pragma omp simd
        for (int64_t i1 = 0; i1 < 2; ++i1) {
            const float t0 = p0[i0 * 2 + i1];
            p1[i0 * 8 + i1] = t0;
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
        struct concatenate_0_arguments arguments = {.p0 = frame->inputs[0], .p1 = frame->outputs[0]};
        concatenate_0(&arguments, 0, 4, 0);
    }
    {
        struct concatenate_1_arguments arguments = {.p0 = frame->inputs[1], .p1 = (float *)frame->outputs[0] + 6};
        concatenate_1(&arguments, 0, 4, 0);
    }
    return CASTOFF_OK;
}
