/* main: kernels and the function that runs them; compiled once per CPU level. */
#include "abi/castoff_program.h"
#include "common/types.h"

struct sum_0_arguments {
    const float *p0;
    float *p1;
};

CASTOFF_KERNEL void sum_0(void *context, int64_t begin, int64_t end, int thread) {
    const struct sum_0_arguments *const arguments = context;
    const float *restrict const p0 = arguments->p0;
    float *restrict const p1 = arguments->p1;
    (void)thread;
    for (int64_t row = begin; row < end; ++row) {
        const int64_t tile_begin = row % (1) * 64;
        const int64_t tile_end = tile_begin + 64 < 48 ? tile_begin + 64 : 48;
        const int64_t outer = row / (1);
        (void)outer;
        float acc0[64];
        for (int64_t lane = 0; lane < 64; ++lane) {
            acc0[lane] = 0.0f;
        }
        for (int64_t i1 = 0; i1 < 32; ++i1) {
#pragma omp simd
            for (int64_t i0 = tile_begin; i0 < tile_end; ++i0) {
                const float t0 = p0[i0 + i1 * 48];
                acc0[i0 - tile_begin] = acc0[i0 - tile_begin] + t0;
            }
        }
#pragma omp simd
        for (int64_t i0 = tile_begin; i0 < tile_end; ++i0) {
            p1[i0] = acc0[i0 - tile_begin];
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
        struct sum_0_arguments arguments = {.p0 = frame->inputs[0], .p1 = frame->outputs[0]};
        sum_0(&arguments, 0, 1, 0);
    }
    return CASTOFF_OK;
}
