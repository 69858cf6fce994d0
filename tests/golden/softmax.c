/* main: kernels and the function that runs them; compiled once per CPU level. */
#include "abi/castoff_program.h"
#include "common/types.h"
#include "common/math_f32.h"

struct max_exp_decay_sum_reciprocal_0_arguments {
    const float *p0;
    float *p1;
    int64_t rows;
};

CASTOFF_KERNEL void max_exp_decay_sum_reciprocal_0(void *context, int64_t begin, int64_t end, int thread) {
    const struct max_exp_decay_sum_reciprocal_0_arguments *const arguments = context;
    const float *restrict const p0 = arguments->p0;
    float *restrict const p1 = arguments->p1;
    (void)thread;
    for (int64_t row = begin; row < end; ++row) {
        const int64_t i0 = row;
        float row_row0[64] __attribute__((aligned(64)));
        float acc0 = (-__builtin_inff());
        int acc0_nan = 0;
#pragma omp simd reduction(max:acc0) reduction(|:acc0_nan)
        for (int64_t i1 = 0; i1 < 64; ++i1) {
            const float t0 = p0[i0 * 64 + i1];
            acc0_nan |= t0 != t0;
            acc0 = t0 > acc0 ? t0 : acc0;
        }
        acc0 = acc0_nan ? __builtin_nanf("") : acc0;
        float acc1 = 0.0f;
#pragma omp simd reduction(+:acc1)
        for (int64_t i1 = 0; i1 < 64; ++i1) {
            const float t1 = p0[i0 * 64 + i1];
            const float t2 = t1 - acc0;
            const float t3 = castoff_exp_decay_f32(t2);
            row_row0[i1] = t3;
            acc1 = acc1 + t3;
        }
        const float t5 = castoff_reciprocal_f32(acc1);
#pragma omp simd
        for (int64_t i1 = 0; i1 < 64; ++i1) {
            const float t4 = row_row0[i1];
            const float t6 = t4 * t5;
            p1[i0 * 64 + i1] = t6;
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
    const int64_t rows = frame->symbols[0];
    (void)rows;
    {
        struct max_exp_decay_sum_reciprocal_0_arguments arguments = {.p0 = frame->inputs[0], .p1 = frame->outputs[0], .rows = rows};
        castoff_parallel_for(frame->pool, rows, 64, max_exp_decay_sum_reciprocal_0, &arguments);
    }
    return CASTOFF_OK;
}
