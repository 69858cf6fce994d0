/* The clock and the register-only fused multiply-add rate of one core, by the vectors of the level compiled for. */
#ifndef CASTOFF_MEASURE_PEAK_H
#define CASTOFF_MEASURE_PEAK_H

#include <time.h>

#include "cpu/simd.h"

static inline double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* GF/s of float, best of several tries. */
static inline double fma_peak(void) {
    double best = 0;
    castoff_vf32 x[12], y = castoff_splat_f32(0.999f), z = castoff_splat_f32(1e-3f);
    CASTOFF_UNROLL for (int i = 0; i < 12; i++) x[i] = castoff_splat_f32((float)i);
    for (int attempt = 0; attempt < 12; attempt++) {
        const long steps = 2000000;
        double start = now();
        CASTOFF_NO_UNROLL for (long s = 0; s < steps; s++)
            CASTOFF_UNROLL for (int i = 0; i < 12; i++) x[i] = castoff_fma_f32(x[i], y, z);
        double rate = (double)steps * 12 * 2 * CASTOFF_VF32_LANES / (now() - start) / 1e9;
        if (rate > best) best = rate;
    }
    volatile float sink = 0;
    CASTOFF_UNROLL for (int i = 0; i < 12; i++) sink = sink + castoff_sum_f32(x[i]);
    return best;
}

#endif
