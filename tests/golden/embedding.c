/* main: kernels and the function that runs them; compiled once per CPU level. */
#include "abi/castoff_program.h"
#include "common/types.h"
#include "common/index.h"

struct advancedindex_0_arguments {
    const int64_t *p0;
    const float *p1;
    float *p2;
    int64_t n;
    int *fault;
};

CASTOFF_KERNEL void advancedindex_0(void *context, int64_t begin, int64_t end, int thread) {
    const struct advancedindex_0_arguments *const arguments = context;
    const int64_t *restrict const p0 = arguments->p0;
    const float *restrict const p1 = arguments->p1;
    float *restrict const p2 = arguments->p2;
    int *const fault = arguments->fault;
    (void)thread;
    for (int64_t row = begin; row < end; ++row) {
        const int64_t i0 = row;
        const int64_t t0 = p0[i0];
        const int64_t t1 = castoff_check_index(t0, 10, fault);
#pragma omp simd
        for (int64_t i1 = 0; i1 < 4; ++i1) {
            const float t2 = p1[i1 + t1 * 4];
            p2[i0 * 4 + i1] = t2;
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
    const int64_t n = frame->symbols[0];
    (void)n;
    {
        struct advancedindex_0_arguments arguments = {.p0 = frame->inputs[0], .p1 = frame->constants[0], .p2 = frame->outputs[0], .n = n, .fault = &fault};
        castoff_parallel_for(frame->pool, n, 4096, advancedindex_0, &arguments);
        if (fault) return castoff_fail(frame, CASTOFF_RUNTIME_ERROR, "%s", "index out of range");
    }
    return CASTOFF_OK;
}
