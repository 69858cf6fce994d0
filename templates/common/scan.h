/* scan.h - running sums, products, extremes and log-sums along one axis of [outer, size, inner] arrays.
 *
 * castoff_scan_<kind>_<suffix>(out, x, outer, size, inner). Floats accumulate in double, as PyTorch's CPU kernels do,
 * and round at every store; integers wrap. Running extremes also give the position; a NaN, once met, stays, and of
 * equal elements the last one counts.
 */
#ifndef CASTOFF_COMMON_SCAN_H
#define CASTOFF_COMMON_SCAN_H

#include <math.h>

#include "types.h"

#define CASTOFF_SCAN_SAME(x) (x)
#define CASTOFF_SCAN_ADD(a, b) ((a) + (b))
#define CASTOFF_SCAN_MUL(a, b) ((a) * (b))

/* T is how elements are stored, A what they accumulate in, LOAD and STORE convert between the two. */
#define CASTOFF_SCAN(kind, suffix, T, A, LOAD, STORE, FIRST, COMBINE)                                               \
    CASTOFF_LARGE void castoff_scan_##kind##_##suffix(T *out, const T *x, int64_t outer, int64_t size,              \
                                                      int64_t inner) {                                              \
        for (int64_t o = 0; o < outer; o++) {                                                                       \
            for (int64_t i = 0; i < inner; i++) {                                                                   \
                int64_t at = o * size * inner + i;                                                                  \
                A total = FIRST;                                                                                    \
                for (int64_t k = 0; k < size; k++, at += inner) {                                                   \
                    total = COMBINE(total, LOAD(x[at]));                                                            \
                    out[at] = STORE(total);                                                                         \
                }                                                                                                   \
            }                                                                                                       \
        }                                                                                                           \
    }

CASTOFF_INLINE double castoff_scan_log_add(double total, double x) {
    double low = total < x ? total : x, high = total < x ? x : total;
    if (isnan(total) || isnan(x)) return total + x;
    if (isinf(low) && low == high) return low;
    return high + log1p(exp(low - high));
}

CASTOFF_INLINE float castoff_scan_to_f32(double x) { return (float)x; }
CASTOFF_INLINE castoff_f16 castoff_scan_to_f16(double x) { return castoff_f32_to_f16((float)x); }
CASTOFF_INLINE castoff_bf16 castoff_scan_to_bf16(double x) { return castoff_f32_to_bf16((float)x); }

#define CASTOFF_SCAN_FLOAT(suffix, T, LOAD, STORE)                                                                  \
    CASTOFF_SCAN(sum, suffix, T, double, LOAD, STORE, 0, CASTOFF_SCAN_ADD)                                          \
    CASTOFF_SCAN(prod, suffix, T, double, LOAD, STORE, 1, CASTOFF_SCAN_MUL)                                         \
    CASTOFF_SCAN(logsumexp, suffix, T, double, LOAD, STORE, -INFINITY, castoff_scan_log_add)

CASTOFF_SCAN_FLOAT(f64, double, CASTOFF_SCAN_SAME, CASTOFF_SCAN_SAME)
CASTOFF_SCAN_FLOAT(f32, float, CASTOFF_SCAN_SAME, castoff_scan_to_f32)
CASTOFF_SCAN_FLOAT(f16, castoff_f16, castoff_f16_to_f32, castoff_scan_to_f16)
CASTOFF_SCAN_FLOAT(bf16, castoff_bf16, castoff_bf16_to_f32, castoff_scan_to_bf16)

#define CASTOFF_SCAN_INTEGER(suffix, T)                                                                             \
    CASTOFF_SCAN(sum, suffix, T, uint64_t, (uint64_t), (T), 0, CASTOFF_SCAN_ADD)                                    \
    CASTOFF_SCAN(prod, suffix, T, uint64_t, (uint64_t), (T), 1, CASTOFF_SCAN_MUL)

CASTOFF_SCAN_INTEGER(i8, int8_t)
CASTOFF_SCAN_INTEGER(i16, int16_t)
CASTOFF_SCAN_INTEGER(i32, int32_t)
CASTOFF_SCAN_INTEGER(i64, int64_t)
CASTOFF_SCAN_INTEGER(u8, uint8_t)
CASTOFF_SCAN_INTEGER(u16, uint16_t)
CASTOFF_SCAN_INTEGER(u32, uint32_t)
CASTOFF_SCAN_INTEGER(u64, uint64_t)

CASTOFF_INLINE castoff_c128 castoff_scan_widen(castoff_c64 x) { return (castoff_c128){x.re, x.im}; }
CASTOFF_INLINE castoff_c64 castoff_scan_narrow(castoff_c128 x) { return (castoff_c64){(float)x.re, (float)x.im}; }
CASTOFF_INLINE castoff_c128 castoff_scan_add_c128(castoff_c128 a, castoff_c128 b) {
    return (castoff_c128){a.re + b.re, a.im + b.im};
}
CASTOFF_INLINE castoff_c128 castoff_scan_mul_c128(castoff_c128 a, castoff_c128 b) {
    return (castoff_c128){a.re * b.re - a.im * b.im, a.re * b.im + a.im * b.re};
}
/* log(exp(a) + exp(b)), the larger exponent taken out. */
CASTOFF_LARGE castoff_c128 castoff_scan_log_add_c128(castoff_c128 a, castoff_c128 b) {
    castoff_c128 low = a.re < b.re ? a : b, high = a.re < b.re ? b : a;
    if (isinf(low.re) && low.re < 0) return high;
    double size = exp(low.re - high.re), angle = low.im - high.im;
    double re = 1 + size * cos(angle), im = size * sin(angle);
    return (castoff_c128){high.re + log(hypot(re, im)), high.im + atan2(im, re)};
}

#define CASTOFF_SCAN_COMPLEX(suffix, T, LOAD, STORE)                                                                \
    CASTOFF_SCAN(sum, suffix, T, castoff_c128, LOAD, STORE, ((castoff_c128){0, 0}), castoff_scan_add_c128)          \
    CASTOFF_SCAN(prod, suffix, T, castoff_c128, LOAD, STORE, ((castoff_c128){1, 0}), castoff_scan_mul_c128)         \
    CASTOFF_SCAN(logsumexp, suffix, T, castoff_c128, LOAD, STORE, ((castoff_c128){-INFINITY, 0}),                   \
                 castoff_scan_log_add_c128)

CASTOFF_SCAN_COMPLEX(c64, castoff_c64, castoff_scan_widen, castoff_scan_narrow)
CASTOFF_SCAN_COMPLEX(c128, castoff_c128, CASTOFF_SCAN_SAME, CASTOFF_SCAN_SAME)

#define CASTOFF_SCAN_EXTREME(kind, suffix, T, A, LOAD, COMPARE)                                                     \
    CASTOFF_LARGE void castoff_scan_##kind##_##suffix(T *values, int64_t *positions, const T *x, int64_t outer,     \
                                                      int64_t size, int64_t inner) {                                \
        for (int64_t o = 0; o < outer; o++) {                                                                       \
            for (int64_t i = 0; i < inner; i++) {                                                                   \
                int64_t at = o * size * inner + i, best = at, position = 0;                                         \
                for (int64_t k = 0; k < size; k++, at += inner) {                                                   \
                    A held = LOAD(x[best]), here = LOAD(x[at]);                                                     \
                    if (here != here || (held == held && here COMPARE held)) {                                      \
                        best = at;                                                                                  \
                        position = k;                                                                               \
                    }                                                                                               \
                    values[at] = x[best];                                                                           \
                    positions[at] = position;                                                                       \
                }                                                                                                   \
            }                                                                                                       \
        }                                                                                                           \
    }

#define CASTOFF_SCAN_EXTREMES(suffix, T, A, LOAD)                                                                   \
    CASTOFF_SCAN_EXTREME(max, suffix, T, A, LOAD, >=)                                                               \
    CASTOFF_SCAN_EXTREME(min, suffix, T, A, LOAD, <=)

CASTOFF_SCAN_EXTREMES(f64, double, double, CASTOFF_SCAN_SAME)
CASTOFF_SCAN_EXTREMES(f32, float, float, CASTOFF_SCAN_SAME)
CASTOFF_SCAN_EXTREMES(f16, castoff_f16, float, castoff_f16_to_f32)
CASTOFF_SCAN_EXTREMES(bf16, castoff_bf16, float, castoff_bf16_to_f32)
CASTOFF_SCAN_EXTREMES(i8, int8_t, int8_t, CASTOFF_SCAN_SAME)
CASTOFF_SCAN_EXTREMES(i16, int16_t, int16_t, CASTOFF_SCAN_SAME)
CASTOFF_SCAN_EXTREMES(i32, int32_t, int32_t, CASTOFF_SCAN_SAME)
CASTOFF_SCAN_EXTREMES(i64, int64_t, int64_t, CASTOFF_SCAN_SAME)
CASTOFF_SCAN_EXTREMES(u8, uint8_t, uint8_t, CASTOFF_SCAN_SAME)
CASTOFF_SCAN_EXTREMES(u16, uint16_t, uint16_t, CASTOFF_SCAN_SAME)
CASTOFF_SCAN_EXTREMES(u32, uint32_t, uint32_t, CASTOFF_SCAN_SAME)
CASTOFF_SCAN_EXTREMES(u64, uint64_t, uint64_t, CASTOFF_SCAN_SAME)

#endif
