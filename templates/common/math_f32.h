/* math_f32.h - elementary functions of float, without branches, tables or library calls.
 *
 * castoff_<op>_f32, named and behaving as PyTorch's functions (NaN, infinities, signed zeros, subnormals). Choices are
 * selects, so that a compiler vectorises loops that call them at any x86-64 level (gcc: -O3 -fno-math-errno
 * -fno-trapping-math). They rely on IEEE semantics and round-to-nearest; never build them with -ffast-math. fmod,
 * remainder and floor_divide alone take a branch, since an exact remainder of a huge quotient is a loop.
 *
 * The polynomials are minimax fits made for this project (Remez exchange, 50 digits; gelu's by linear programming, each
 * coefficient rounded before the next is fitted). The hot functions (exp, exp2, log, sin, cos, tanh, erf, ndtr, sigmoid,
 * gelu) run in float, the others in double and round once. Error bounds: tests/mathematics/accuracy.py.
 */
#ifndef CASTOFF_COMMON_MATH_F32_H
#define CASTOFF_COMMON_MATH_F32_H

#include "types.h"

/* ---- sign and rounding ---- */

CASTOFF_INLINE float castoff_abs_f32(float x) { return castoff_from_bits_f32(castoff_bits_f32(x) & 0x7fffffffu); }
CASTOFF_INLINE float castoff_neg_f32(float x) { return -x; }
CASTOFF_INLINE castoff_b8 castoff_signbit_f32(float x) { return (castoff_b8)(castoff_bits_f32(x) >> 31); }
CASTOFF_INLINE castoff_b8 castoff_isnan_f32(float x) { return (castoff_b8)(x != x); }
CASTOFF_INLINE castoff_b8 castoff_isinf_f32(float x) { return (castoff_b8)(castoff_abs_f32(x) == __builtin_inff()); }
CASTOFF_INLINE castoff_b8 castoff_isfinite_f32(float x) { return (castoff_b8)(castoff_abs_f32(x) < __builtin_inff()); }
CASTOFF_INLINE float castoff_copysign_f32(float x, float sign) {
    return castoff_from_bits_f32((castoff_bits_f32(x) & 0x7fffffffu) | (castoff_bits_f32(sign) & 0x80000000u));
}
CASTOFF_INLINE double castoff_copysign_internal_f64(double x, double sign) {
    return castoff_from_bits_f64((castoff_bits_f64(x) & 0x7fffffffffffffffu) |
                                 (castoff_bits_f64(sign) & 0x8000000000000000u));
}
/* -1, 0 or 1; 0 for NaN. */
CASTOFF_INLINE float castoff_sign_f32(float x) { return (float)(x > 0.0f) - (float)(x < 0.0f); }
CASTOFF_INLINE float castoff_sgn_f32(float x) { return castoff_sign_f32(x); }

#if defined(__SSE4_1__) || defined(__aarch64__)
CASTOFF_INLINE float castoff_trunc_f32(float x) { return __builtin_truncf(x); }
CASTOFF_INLINE float castoff_floor_f32(float x) { return __builtin_floorf(x); }
CASTOFF_INLINE float castoff_ceil_f32(float x) { return __builtin_ceilf(x); }
CASTOFF_INLINE float castoff_round_f32(float x) { return __builtin_rintf(x); }
#else
CASTOFF_INLINE float castoff_trunc_f32(float x) {
    int is_small = castoff_abs_f32(x) < 0x1p23f;
    float safe = is_small ? x : 0.0f;
    float whole = castoff_copysign_f32((float)(int32_t)safe, x);
    return is_small ? whole : x;
}
CASTOFF_INLINE float castoff_floor_f32(float x) {
    float whole = castoff_trunc_f32(x);
    return whole > x ? whole - 1.0f : whole;
}
CASTOFF_INLINE float castoff_ceil_f32(float x) {
    float whole = castoff_trunc_f32(x);
    return whole < x ? castoff_copysign_f32(whole + 1.0f, x) : whole;
}
/* Half to even. */
CASTOFF_INLINE float castoff_round_f32(float x) {
    float a = castoff_abs_f32(x);
    float whole = castoff_copysign_f32((a + 0x1p23f) - 0x1p23f, x);
    return a < 0x1p23f ? whole : x;
}
#endif
CASTOFF_INLINE float castoff_frac_f32(float x) { return x - castoff_trunc_f32(x); }

/* ---- selection ---- */

/* NaN wins. Where b is a constant this is one instruction. */
CASTOFF_INLINE float castoff_maximum_f32(float a, float b) {
    float larger = b > a ? b : a;
    return b != b ? b : larger;
}
CASTOFF_INLINE float castoff_minimum_f32(float a, float b) {
    float smaller = b < a ? b : a;
    return b != b ? b : smaller;
}
/* NaN loses. */
CASTOFF_INLINE float castoff_fmax_f32(float a, float b) {
    float larger = a > b ? a : b;
    larger = b != b ? a : larger;
    return a != a ? b : larger;
}
CASTOFF_INLINE float castoff_fmin_f32(float a, float b) {
    float smaller = a < b ? a : b;
    smaller = b != b ? a : smaller;
    return a != a ? b : smaller;
}

/* ---- products and sums ---- */

#if defined(__FMA__) || defined(__CUDA_ARCH__)
#define CASTOFF_FUSES 1
#else
#define CASTOFF_FUSES 0
#endif
/* a b + c, rounded once where the CPU level or the GPU has the instruction; -ffp-contract=off leaves it to us. */
CASTOFF_INLINE float castoff_muladd_f32(float a, float b, float c) {
    return CASTOFF_FUSES ? __builtin_fmaf(a, b, c) : a * b + c;
}
CASTOFF_INLINE double castoff_muladd_f64(double a, double b, double c) {
    return CASTOFF_FUSES ? __builtin_fma(a, b, c) : a * b + c;
}
/* a b + c, rounded once; without the instruction by way of double, which holds a b. */
CASTOFF_INLINE float castoff_fused_f32(float a, float b, float c) {
    return CASTOFF_FUSES ? __builtin_fmaf(a, b, c) : (float)((double)a * (double)b + (double)c);
}

/* ---- powers of two ---- */

/* x between two bounds; NaN stays. Both comparisons are of x: of what the first one chose gcc makes three. */
CASTOFF_INLINE float castoff_bounded_f32(float low, float x, float high) {
    float bounded = high < x ? high : x;
    return x < low ? low : bounded;
}

/* x 2^n for -252 <= n <= 254 by two factors, so that a subnormal result is rounded once; `raised` is n + 254. */
CASTOFF_INLINE float castoff_scale_f32(float x, uint32_t raised) {
    uint32_t half = raised << 22 & 0x7f800000u;
    return x * castoff_from_bits_f32(half) * castoff_from_bits_f32((raised << 23) - half);
}

/* exp(x) / 2^n for -105 <= x <= 105 (NaN stays), |n| the least; the low bits of *shifted are those of n + bias. */
CASTOFF_INLINE float castoff_exp_reduced_f32(float x, float bias, float *shifted) {
    *shifted = castoff_muladd_f32(x, 0x1.715476p0f, 0x1.8p23f + bias); /* rint(x / ln 2) */
    float n = *shifted - (0x1.8p23f + bias);
    float r = castoff_muladd_f32(n, -0x1.62e4p-1f, x);
    r = castoff_muladd_f32(n, -0x1.7f7d1cp-20f, r);
    float p = 1.3952021e-03f;
    p = castoff_muladd_f32(p, r, 8.369599e-03f);
    p = castoff_muladd_f32(p, r, 4.1666184e-02f);
    p = castoff_muladd_f32(p, r, 1.6666512e-01f);
    p = castoff_muladd_f32(p, r, 5.e-01f);
    return CASTOFF_FUSES ? castoff_muladd_f32(castoff_muladd_f32(p, r, 1.0f), r, 1.0f) : p * (r * r) + r + 1.0f;
}

CASTOFF_INLINE float castoff_exp_f32(float x) {
    float shifted, p = castoff_exp_reduced_f32(castoff_bounded_f32(-104.0f, x, 89.0f), 254.0f, &shifted);
    return castoff_scale_f32(p, castoff_bits_f32(shifted));
}

/* exp(x) for x <= 0, at less cost: a power of two that is 2^64 too large, then 2^-64. */
CASTOFF_INLINE float castoff_exp_decay_f32(float x) {
    float bounded = -104.0f > x ? -104.0f : x, shifted;
    float p = castoff_exp_reduced_f32(bounded, 127.0f + 64.0f, &shifted);
    return p * castoff_from_bits_f32(castoff_bits_f32(shifted) << 23) * 0x1p-64f;
}

/* 2^r for |r| <= 1/2, relative error 2^-23.3. */
CASTOFF_INLINE float castoff_exp2_reduced_f32(float r) {
    float p = 1.3264726e-03f;
    p = castoff_muladd_f32(p, r, 9.671513e-03f);
    p = castoff_muladd_f32(p, r, 5.5507336e-02f);
    p = castoff_muladd_f32(p, r, 2.4022242e-01f);
    p = castoff_muladd_f32(p, r, 6.93147e-01f);
    return castoff_muladd_f32(p, r, 1.0f);
}

CASTOFF_INLINE float castoff_exp2_f32(float x) {
    float bounded = castoff_bounded_f32(-151.0f, x, 129.0f);
    float shifted = bounded + (0x1.8p23f + 254.0f);
    float r = bounded - (shifted - (0x1.8p23f + 254.0f));
    float p = 1.5477846e-04f;
    p = castoff_muladd_f32(p, r, 1.3401612e-03f);
    p = castoff_muladd_f32(p, r, 9.617998e-03f);
    p = castoff_muladd_f32(p, r, 5.5503245e-02f);
    p = castoff_muladd_f32(p, r, 2.402265e-01f);
    p = castoff_muladd_f32(p, r, 6.931472e-01f);
    p = castoff_muladd_f32(p, r, 1.0f);
    return castoff_scale_f32(p, castoff_bits_f32(shifted));
}

/* 2^n for |n| <= 1000, given n + 1.5 * 2^52. */
CASTOFF_INLINE double castoff_pow2_shifted_f64(double shifted) {
    return castoff_from_bits_f64((castoff_bits_f64(shifted) + 1023u) << 52);
}
/* exp(r) - 1 for |r| <= ln(2)/2, relative error 2^-37. */
CASTOFF_INLINE double castoff_expm1_reduced(double r) {
    double p = 2.4884412997442747e-05;
    p = castoff_muladd_f64(p, r, 0.00019906226891233195);
    p = castoff_muladd_f64(p, r, 0.00138888053786661);
    p = castoff_muladd_f64(p, r, 0.008333287175784894);
    p = castoff_muladd_f64(p, r, 0.041666666977675515);
    p = castoff_muladd_f64(p, r, 0.166666667598723);
    p = castoff_muladd_f64(p, r, 0.49999999999707756);
    return p * (r * r) + r;
}
/* exp(x) for -700 <= x <= 700 (NaN stays), relative error 2^-37. */
CASTOFF_INLINE double castoff_exp_internal(double x) {
    double shifted = x * 0x1.71547652b82fep0 + 0x1.8p52;
    double n = shifted - 0x1.8p52;
    double r = x - n * 0x1.62e42fefa39efp-1;
    return (castoff_expm1_reduced(r) + 1.0) * castoff_pow2_shifted_f64(shifted);
}

CASTOFF_INLINE float castoff_expm1_f32(float x) {
    double bounded = (double)(x > 89.0f ? 89.0f : x);
    bounded = bounded < -20.0 ? -20.0 : bounded;
    double shifted = bounded * 0x1.71547652b82fep0 + 0x1.8p52;
    double n = shifted - 0x1.8p52;
    double r = bounded - n * 0x1.62e42fefa39efp-1;
    double scale = castoff_pow2_shifted_f64(shifted);
    float result = (float)(castoff_expm1_reduced(r) * scale + (scale - 1.0));
    return x == 0.0f ? x : result;
}

/* ---- logarithms ---- */

CASTOFF_INLINE float castoff_log_f32(float x) {
    int is_tiny = x < 0x1p-126f;
    float normal = is_tiny ? x * 0x1p23f : x;
    /* x = 2^e * m with sqrt(1/2) <= m < sqrt(2) */
    uint32_t shifted = castoff_bits_f32(normal) + (0x3f800000u - 0x3f3504f3u);
    float e = (float)((int32_t)(shifted >> 23) - 127) - (is_tiny ? 23.0f : 0.0f);
    float f = castoff_from_bits_f32((shifted & 0x7fffffu) + 0x3f3504f3u) - 1.0f;
    float p = -7.859441e-02f;
    p = castoff_muladd_f32(p, f, 1.2881854e-01f);
    p = castoff_muladd_f32(p, f, -1.3128923e-01f);
    p = castoff_muladd_f32(p, f, 1.4181168e-01f);
    p = castoff_muladd_f32(p, f, -1.6624531e-01f);
    p = castoff_muladd_f32(p, f, 2.0002288e-01f);
    p = castoff_muladd_f32(p, f, -2.500081e-01f);
    p = castoff_muladd_f32(p, f, 3.3333316e-01f);
    float square = f * f;
    float low = castoff_muladd_f32(p, f * square, e * 0x1.7f7d1cp-20f);
    low = castoff_muladd_f32(-0.5f, square, low);
    float result = castoff_muladd_f32(e, 0x1.62e4p-1f, f + low);
    result = x == 0.0f ? -__builtin_inff() : result;
    result = x < 0.0f ? __builtin_nanf("") : result;
    return (x == __builtin_inff()) | (x != x) ? x : result;
}

/* x = 2^e * m, sqrt(1/2) <= m < sqrt(2), for a positive normal x: e is returned, log(m) stored (relative error 2^-45). */
CASTOFF_INLINE double castoff_log_parts(double x, double *log_m) {
    uint64_t shifted = castoff_bits_f64(x) + (0x3ff0000000000000u - 0x3fe6a09e667f3bcdu);
    double e = castoff_from_bits_f64((shifted >> 52) | 0x4330000000000000u) - (0x1p52 + 1023.0);
    double m = castoff_from_bits_f64((shifted & 0xfffffffffffffu) + 0x3fe6a09e667f3bcdu);
    double s = (m - 1.0) / (m + 1.0), z = s * s;
    double p = 0.09804849941505701;
    p = castoff_muladd_f64(p, z, 0.11087065963301192);
    p = castoff_muladd_f64(p, z, 0.14286084591136725);
    p = castoff_muladd_f64(p, z, 0.19999997429972902);
    p = castoff_muladd_f64(p, z, 0.333333333398482);
    p = castoff_muladd_f64(p, z, 0.9999999999999732);
    *log_m = 2.0 * s * p;
    return e;
}
/* What a logarithm gives at the ends of its domain; `result` elsewhere. */
CASTOFF_INLINE double castoff_log_ends(double x, double result) {
    result = x == 0.0 ? -__builtin_inf() : result;
    result = x < 0.0 ? __builtin_nan("") : result;
    return (x == __builtin_inf()) | (x != x) ? x : result;
}
CASTOFF_INLINE double castoff_log_internal(double x) {
    double log_m, e = castoff_log_parts(x, &log_m);
    return castoff_log_ends(x, e * 0x1.62e42fefa39efp-1 + log_m);
}
CASTOFF_INLINE double castoff_log2_internal(double x) {
    double log_m, e = castoff_log_parts(x, &log_m);
    return castoff_log_ends(x, e + log_m * 0x1.71547652b82fep0);
}
/* log(1 + x) for x > -1, finite (NaN stays). */
CASTOFF_INLINE double castoff_log1p_inside(double x) {
    double u = 1.0 + x;
    double log_m, e = castoff_log_parts(u, &log_m);
    double lost = (x - (u - 1.0)) / u;
    return e * 0x1.62e42fefa39efp-1 + (log_m + lost);
}
CASTOFF_INLINE double castoff_log1p_internal(double x) {
    double result = castoff_log_ends(1.0 + x, castoff_log1p_inside(x));
    return x == 0.0 ? x : result;
}
CASTOFF_INLINE float castoff_log2_f32(float x) { return (float)castoff_log2_internal((double)x); }
CASTOFF_INLINE float castoff_log10_f32(float x) {
    return (float)(castoff_log2_internal((double)x) * 0x1.34413509f79ffp-2);
}
CASTOFF_INLINE float castoff_log1p_f32(float x) { return (float)castoff_log1p_internal((double)x); }

CASTOFF_INLINE float castoff_logaddexp_f32(float a, float b) {
    float larger = castoff_maximum_f32(a, b);
    double gap = -__builtin_fabs((double)a - (double)b);
    gap = gap < -200.0 ? -200.0 : gap;
    float result = (float)((double)larger + castoff_log1p_inside(castoff_exp_internal(gap)));
    return (a == b) & (castoff_abs_f32(a) == __builtin_inff()) ? a : result;
}
CASTOFF_INLINE float castoff_logaddexp2_f32(float a, float b) {
    float larger = castoff_maximum_f32(a, b);
    double gap = -__builtin_fabs((double)a - (double)b) * 0x1.62e42fefa39efp-1;
    gap = gap < -200.0 ? -200.0 : gap;
    double rest = castoff_log1p_inside(castoff_exp_internal(gap)) * 0x1.71547652b82fep0;
    float result = (float)((double)larger + rest);
    return (a == b) & (castoff_abs_f32(a) == __builtin_inff()) ? a : result;
}

/* ---- powers and roots ---- */

CASTOFF_INLINE float castoff_sqrt_f32(float x) { return __builtin_sqrtf(x); }
CASTOFF_INLINE float castoff_rsqrt_f32(float x) { return 1.0f / __builtin_sqrtf(x); }
CASTOFF_INLINE float castoff_reciprocal_f32(float x) { return 1.0f / x; }
CASTOFF_INLINE float castoff_square_f32(float x) { return x * x; }

CASTOFF_INLINE float castoff_pow_f32(float x, float y) {
    double product = (double)y * castoff_log2_internal((double)castoff_abs_f32(x));
    product = product > 200.0 ? 200.0 : product;
    product = product < -200.0 ? -200.0 : product;
    double shifted = product + 0x1.8p52;
    double r = (product - (shifted - 0x1.8p52)) * 0x1.62e42fefa39efp-1;
    float magnitude = (float)((castoff_expm1_reduced(r) + 1.0) * castoff_pow2_shifted_f64(shifted));
    float half = 0.5f * y;
    int is_whole = castoff_trunc_f32(y) == y;
    int is_odd = is_whole & (castoff_trunc_f32(half) != half);
    uint32_t sign = is_odd ? castoff_bits_f32(x) & 0x80000000u : 0u;
    float result = castoff_from_bits_f32(castoff_bits_f32(magnitude) | sign);
    result = (x < 0.0f) & (x != -__builtin_inff()) & !is_whole ? __builtin_nanf("") : result;
    result = (x == -1.0f) & (castoff_abs_f32(y) == __builtin_inff()) ? 1.0f : result;
    return (x == 1.0f) | (y == 0.0f) ? 1.0f : result;
}

CASTOFF_INLINE float castoff_hypot_f32(float x, float y) {
    float result = (float)__builtin_sqrt((double)x * (double)x + (double)y * (double)y);
    int has_infinity = (castoff_abs_f32(x) == __builtin_inff()) | (castoff_abs_f32(y) == __builtin_inff());
    return has_infinity ? __builtin_inff() : result;
}

/* ---- trigonometry ---- */

/* x * 2/pi for any finite float x as quadrant + fraction, |fraction| <= 1/2; the quadrant's low two bits are returned.
 *
 * Payne & Hanek's idea (ACM SIGNUM 18, 1983) with doubles: bits of 2/pi that contribute whole turns are left out, the
 * rest are three pieces of 29, 29 and 53 bits, whose products with a 24-bit x are exact. Which pieces depends on the size of x. */
CASTOFF_INLINE uint32_t castoff_reduce_quadrant(float x, double *fraction) {
    const double magic = 0x1.8p52;
    double a = (double)castoff_abs_f32(x);
    double c1 = 0x1.45f306dp-1, c2 = 0x1.9391054p-30, c3 = 0x1.4fe13abe8fa9ap-59;
    c1 = a >= 0x1p51 ? 0x1.727220ap-27 : c1;
    c2 = a >= 0x1p51 ? 0x1.29fc275p-56 : c2;
    c3 = a >= 0x1p51 ? 0x1.f47d4d377036ep-86 : c3;
    c1 = a >= 0x1p77 ? 0x1.4a7f09cp-54 : c1;
    c2 = a >= 0x1p77 ? 0x1.5f47d4dp-82 : c2;
    c3 = a >= 0x1p77 ? 0x1.bb81b6c52b328p-113 : c3;
    c1 = a >= 0x1p103 ? 0x1.abe8fa9p-79 : c1;
    c2 = a >= 0x1p103 ? 0x1.4ddc0dbp-108 : c2;
    c3 = a >= 0x1p103 ? 0x1.8a5664f10e41p-138 : c3;
    double p1 = a * c1, p2 = a * c2;
    double k1 = p1 + magic, k2 = p2 + magic;
    double rest = (p1 - (k1 - magic)) + ((p2 - (k2 - magic)) + a * c3);
    double k3 = rest + magic;
    *fraction = rest - (k3 - magic);
    return (uint32_t)(castoff_bits_f64(k1) + castoff_bits_f64(k2) + castoff_bits_f64(k3));
}
CASTOFF_INLINE float castoff_sin_reduced_f32(float r) {
    float z = r * r;
    float p = -1.9516682e-04f;
    p = castoff_muladd_f32(p, z, 8.332173e-03f);
    p = castoff_muladd_f32(p, z, -1.6666655e-01f);
    return castoff_muladd_f32(p, z * r, r);
}
CASTOFF_INLINE float castoff_cos_reduced_f32(float r) {
    float z = r * r;
    float p = 2.4437792e-05f;
    p = castoff_muladd_f32(p, z, -1.3887362e-03f);
    p = castoff_muladd_f32(p, z, 4.1666646e-02f);
    return castoff_muladd_f32(p, z * z, castoff_muladd_f32(-0.5f, z, 1.0f));
}
CASTOFF_INLINE float castoff_sin_f32(float x) {
    double fraction;
    uint32_t quadrant = castoff_reduce_quadrant(x, &fraction);
    float r = (float)(fraction * 0x1.921fb54442d18p0);
    float sine = castoff_sin_reduced_f32(r), cosine = castoff_cos_reduced_f32(r);
    float magnitude = (quadrant & 1u) ? cosine : sine;
    uint32_t sign = ((quadrant & 2u) << 30) ^ (castoff_bits_f32(x) & 0x80000000u);
    return castoff_from_bits_f32(castoff_bits_f32(magnitude) ^ sign);
}
CASTOFF_INLINE float castoff_cos_f32(float x) {
    double fraction;
    uint32_t quadrant = castoff_reduce_quadrant(x, &fraction);
    float r = (float)(fraction * 0x1.921fb54442d18p0);
    float sine = castoff_sin_reduced_f32(r), cosine = castoff_cos_reduced_f32(r);
    float magnitude = (quadrant & 1u) ? sine : cosine;
    return castoff_from_bits_f32(castoff_bits_f32(magnitude) ^ (((quadrant + 1u) & 2u) << 30));
}
CASTOFF_INLINE float castoff_tan_f32(float x) {
    double fraction;
    uint32_t quadrant = castoff_reduce_quadrant(x, &fraction);
    double r = fraction * 0x1.921fb54442d18p0, z = r * r;
    double s = 2.717276817186845e-06;
    s = castoff_muladd_f64(s, z, -0.0001983919491873332);
    s = castoff_muladd_f64(s, z, 0.00833332875904297);
    s = castoff_muladd_f64(s, z, -0.1666666663136162);
    s = castoff_muladd_f64(s, z, 0.9999999999956405);
    s = s * r;
    double c = -2.7167193740923876e-07;
    c = c * z + 2.4798833142390508e-05;
    c = c * z + -0.0013888879880014702;
    c = c * z + 0.041666666532619946;
    c = c * z + -0.49999999999263955;
    c = c * z + 0.9999999999999336;
    double top = (quadrant & 1u) ? -c : s, bottom = (quadrant & 1u) ? s : c;
    float result = (float)(top / bottom);
    return castoff_from_bits_f32(castoff_bits_f32(result) ^ (castoff_bits_f32(x) & 0x80000000u));
}
/* sin(pi x) / (pi x) */
CASTOFF_INLINE float castoff_sinc_f32(float x) {
    double doubled = 2.0 * (double)castoff_abs_f32(x);
    double safe = doubled < 0x1p40 ? doubled : doubled * 0.0;
    double k = safe + 0x1.8p52;
    float r = (float)((safe - (k - 0x1.8p52)) * 0x1.921fb54442d18p0);
    uint32_t quadrant = (uint32_t)castoff_bits_f64(k);
    float magnitude = (quadrant & 1u) ? castoff_cos_reduced_f32(r) : castoff_sin_reduced_f32(r);
    float sine = castoff_from_bits_f32(castoff_bits_f32(magnitude) ^ ((quadrant & 2u) << 30));
    float result = (float)((double)sine / (doubled * 0x1.921fb54442d18p0));
    return castoff_abs_f32(x) < 1e-10f ? 1.0f : result;
}

/* ---- inverse trigonometry ---- */

/* asin(sqrt(z)) / sqrt(z) for 0 <= z <= 1/4 */
CASTOFF_INLINE double castoff_asin_reduced(double z) {
    double p = 0.035013698880352974;
    p = castoff_muladd_f64(p, z, 0.007170175924705203);
    p = castoff_muladd_f64(p, z, 0.024729743684573587);
    p = castoff_muladd_f64(p, z, 0.03008914669808129);
    p = castoff_muladd_f64(p, z, 0.044662300166346855);
    p = castoff_muladd_f64(p, z, 0.07499937110001219);
    p = castoff_muladd_f64(p, z, 0.16666667438456378);
    return p * z + 0.9999999999844879;
}
CASTOFF_INLINE float castoff_asin_f32(float x) {
    double a = (double)castoff_abs_f32(x);
    int is_small = a <= 0.5;
    double z = is_small ? a * a : 0.5 - 0.5 * a;
    double s = is_small ? a : __builtin_sqrt(z);
    double r = s * castoff_asin_reduced(z);
    r = is_small ? r : 0x1.921fb54442d18p0 - 2.0 * r;
    return castoff_copysign_f32((float)r, x);
}
CASTOFF_INLINE float castoff_acos_f32(float x) {
    double a = (double)castoff_abs_f32(x);
    int is_small = a <= 0.5;
    double z = is_small ? a * a : 0.5 - 0.5 * a;
    double s = is_small ? a : __builtin_sqrt(z);
    double r = s * castoff_asin_reduced(z);
    double near_zero = x < 0.0f ? 0x1.921fb54442d18p0 + r : 0x1.921fb54442d18p0 - r;
    double near_one = x < 0.0f ? 0x1.921fb54442d18p1 - 2.0 * r : 2.0 * r;
    return (float)(is_small ? near_zero : near_one);
}
/* atan(t) for |t| <= tan(pi/8), relative error 2^-35 */
CASTOFF_INLINE double castoff_atan_reduced(double t) {
    double z = t * t;
    double p = 0.04696981130637;
    p = castoff_muladd_f64(p, z, -0.08451776798652241);
    p = castoff_muladd_f64(p, z, 0.11039816883278851);
    p = castoff_muladd_f64(p, z, -0.14281545239629753);
    p = castoff_muladd_f64(p, z, 0.19999882775033098);
    p = castoff_muladd_f64(p, z, -0.33333332091878737);
    p = castoff_muladd_f64(p, z, 0.9999999999785086);
    return p * t;
}
CASTOFF_INLINE float castoff_atan_f32(float x) {
    double a = (double)castoff_abs_f32(x);
    int is_large = a > 0x1.3504f333f9de6p1, is_middle = a > 0x1.a827999fcef32p-2;
    double top = is_middle ? a - 1.0 : a, bottom = is_middle ? a + 1.0 : 1.0;
    double base = is_middle ? 0x1.921fb54442d18p-1 : 0.0;
    top = is_large ? -1.0 : top;
    bottom = is_large ? a : bottom;
    base = is_large ? 0x1.921fb54442d18p0 : base;
    return castoff_copysign_f32((float)(base + castoff_atan_reduced(top / bottom)), x);
}
CASTOFF_INLINE float castoff_atan2_f32(float y, float x) {
    double ax = (double)castoff_abs_f32(x), ay = (double)castoff_abs_f32(y);
    double large = ay > ax ? ay : ax, small = ay > ax ? ax : ay;
    int is_steep = ay > ax, is_degenerate = (small == __builtin_inf()) | (large == 0.0);
    int is_diagonal = small > 0x1.a827999fcef32p-2 * large;
    double top = is_diagonal ? small - large : small, bottom = is_diagonal ? small + large : large;
    top = is_degenerate ? 0.0 : top;
    bottom = is_degenerate ? 1.0 : bottom;
    double r = castoff_atan_reduced(top / bottom);
    r = is_diagonal | (small == __builtin_inf()) ? r + 0x1.921fb54442d18p-1 : r;
    r = is_steep ? 0x1.921fb54442d18p0 - r : r;
    r = (castoff_bits_f32(x) >> 31) ? 0x1.921fb54442d18p1 - r : r;
    float result = castoff_copysign_f32((float)r, y);
    return (x != x) | (y != y) ? x + y : result;
}

/* ---- hyperbolic functions ---- */

CASTOFF_INLINE float castoff_tanh_f32(float x) {
    float a = castoff_abs_f32(x), z = x * x;
    float p = -5.717063e-03f;
    p = castoff_muladd_f32(p, z, 2.06506e-02f);
    p = castoff_muladd_f32(p, z, -5.37435e-02f);
    p = castoff_muladd_f32(p, z, 1.3331491e-01f);
    p = castoff_muladd_f32(p, z, -3.3333284e-01f);
    float near_zero = castoff_muladd_f32(p, z * a, a);
    float e = castoff_exp_decay_f32(-(a + a));
    float far = 1.0f - (e + e) / (1.0f + e);
    return castoff_copysign_f32(a < 0.625f ? near_zero : far, x);
}
CASTOFF_INLINE float castoff_sinh_f32(float x) {
    double a = (double)castoff_abs_f32(x), z = a * a;
    double p = 2.8196787768042662e-06;
    p = castoff_muladd_f64(p, z, 0.00019835597384737592);
    p = castoff_muladd_f64(p, z, 0.008333353835488394);
    p = castoff_muladd_f64(p, z, 0.16666666407485323);
    p = castoff_muladd_f64(p, z, 1.0000000000524085);
    double e = castoff_exp_internal(a > 100.0 ? 100.0 : a);
    double r = a < 1.0 ? a * p : 0.5 * e - 0.5 / e;
    return castoff_copysign_f32((float)r, x);
}
CASTOFF_INLINE float castoff_cosh_f32(float x) {
    double a = (double)castoff_abs_f32(x);
    double e = castoff_exp_internal(a > 100.0 ? 100.0 : a);
    return (float)(0.5 * e + 0.5 / e);
}
CASTOFF_INLINE float castoff_asinh_f32(float x) {
    double a = (double)castoff_abs_f32(x), z = a * a;
    double grown = a + z / (1.0 + __builtin_sqrt(1.0 + z));
    grown = a == __builtin_inf() ? a : grown;
    return castoff_copysign_f32((float)castoff_log1p_internal(grown), x);
}
CASTOFF_INLINE float castoff_acosh_f32(float x) {
    double wide = (double)x;
    double result = castoff_log_internal(wide + __builtin_sqrt(wide * wide - 1.0));
    return (float)(x < 1.0f ? __builtin_nan("") : result);
}
CASTOFF_INLINE float castoff_atanh_f32(float x) {
    double a = (double)castoff_abs_f32(x);
    return castoff_copysign_f32((float)(0.5 * castoff_log1p_internal((a + a) / (1.0 - a))), x);
}

/* ---- error function ---- */

/* 1 - exp(-q) where q is a polynomial for -log(erfc(|x|)); through exp(r) - 1 of what is left of q after its multiples of
 * ln 2, so that small results keep their digits. */
CASTOFF_INLINE float castoff_erf_f32(float x) {
    float a = castoff_abs_f32(x);
    float b = 3.93f < a ? 3.93f : a;
    float q = -9.256237e-06f;
    q = castoff_muladd_f32(q, b, 1.17641015e-04f);
    q = castoff_muladd_f32(q, b, -6.328359e-04f);
    q = castoff_muladd_f32(q, b, 1.6670255e-03f);
    q = castoff_muladd_f32(q, b, -1.6039357e-04f);
    q = castoff_muladd_f32(q, b, -1.9153066e-02f);
    q = castoff_muladd_f32(q, b, 1.0277783e-01f);
    q = castoff_muladd_f32(q, b, 6.366194e-01f);
    q = castoff_muladd_f32(q, b, 1.2837917e-01f); /* 2/sqrt(pi) - 1 */
    q = castoff_muladd_f32(q, b, b);
    float shifted = castoff_muladd_f32(q, -0x1.715476p0f, 0x1.8p23f);
    float r = castoff_muladd_f32(shifted - 0x1.8p23f, 0x1.62e43p-1f, q);
    float p = -1.3882518e-03f;
    p = castoff_muladd_f32(p, r, 8.366538e-03f);
    p = castoff_muladd_f32(p, r, -4.16672e-02f);
    p = castoff_muladd_f32(p, r, 1.6666543e-01f);
    p = castoff_muladd_f32(p, r, -4.9999997e-01f);
    float rest = castoff_muladd_f32(p, r * r, r); /* 1 - exp(-r) */
    float power = castoff_from_bits_f32((castoff_bits_f32(shifted) << 23) + (127u << 23));
    return castoff_copysign_f32(castoff_muladd_f32(power, rest, 1.0f - power), x);
}

/* erfc(x) = exp(-x^2) * P((x - 2)/(x + 2)) / (1 + 2x) for x >= 0: Shepherd & Laframboise, Math. Comp. 36 (1981). */
CASTOFF_INLINE float castoff_erfc_f32(float x) {
    double a = (double)castoff_abs_f32(x);
    a = a > 10.2 ? 10.2 : a;
    double t = (a - 2.0) / (a + 2.0);
    double p = -1.0261580461577066e-05;
    p = castoff_muladd_f64(p, t, -3.3371934811846603e-06);
    p = castoff_muladd_f64(p, t, 0.00011965876921290302);
    p = castoff_muladd_f64(p, t, 0.0001961515716490247);
    p = castoff_muladd_f64(p, t, -0.00043838037162570643);
    p = castoff_muladd_f64(p, t, -0.0014493809588852376);
    p = castoff_muladd_f64(p, t, 0.001267287916450188);
    p = castoff_muladd_f64(p, t, 0.008720579059888534);
    p = castoff_muladd_f64(p, t, -0.008033493539716437);
    p = castoff_muladd_f64(p, t, -0.05421975135720097);
    p = castoff_muladd_f64(p, t, 0.16405124912048785);
    p = castoff_muladd_f64(p, t, -0.1660304083700047);
    p = castoff_muladd_f64(p, t, -0.09276382599992607);
    p = castoff_muladd_f64(p, t, 1.2769783816260112);
    double r = castoff_exp_internal(-(a * a)) * p / (1.0 + 2.0 * a);
    return (float)(x < 0.0f ? 2.0 - r : r);
}
/* The area under the normal density up to x. Below 0 it is exp(-x^2/2) N/(sqrt(2 pi) |x| N + R), a minimax fit: what N is
 * off by nearly cancels. x^2 - 2 n ln 2 is rounded once, so no digits are lost far out; N is 2^-64 too small, and the power
 * of two 2^64 too large, so that a subnormal result is rounded once too. */
CASTOFF_INLINE float castoff_ndtr_f32(float x) {
    float a = castoff_abs_f32(x);
    a = 14.4f < a ? 14.4f : a;
    float top = 0.009092106f * 0x1p-64f;
    top = castoff_muladd_f32(top, a, 0.084202595f * 0x1p-64f);
    top = castoff_muladd_f32(top, a, 0.362167f * 0x1p-64f);
    top = castoff_muladd_f32(top, a, 0.83179474f * 0x1p-64f);
    top = castoff_muladd_f32(top, a, 0.9f * 0x1p-64f);
    float bottom = 0.02272681f;
    bottom = castoff_muladd_f32(bottom, a, 0.21257702f);
    bottom = castoff_muladd_f32(bottom, a, 0.84381443f);
    bottom = castoff_muladd_f32(bottom, a, 1.8f);
    bottom = castoff_fused_f32(top, a * (2.5066323f * 0x1p64f), bottom);
    float shifted = castoff_muladd_f32(a * a, -0x1.715476p-1f, 0x1.8p23f + 191.0f); /* the low bits are an exponent's */
    float n = shifted - (0x1.8p23f + 191.0f);
    float r = castoff_fused_f32(a, a, n * 0x1.62e4p0f);
    r = castoff_muladd_f32(n, 0x1.7f7d1cp-19f, r);
    float p = -4.3600066e-05f; /* exp(-r/2) - 1 */
    p = castoff_muladd_f32(p, r, 5.2309996e-04f);
    p = castoff_muladd_f32(p, r, -5.208273e-03f);
    p = castoff_muladd_f32(p, r, 4.166628e-02f);
    p = castoff_muladd_f32(p, r, -2.5e-01f);
    p = castoff_muladd_f32(p, r, 1.0f) * (r * -0.5f);
    float tail = castoff_muladd_f32(p, top, top) / bottom * castoff_from_bits_f32(castoff_bits_f32(shifted) << 23);
    return x < 0.0f ? tail : 1.0f - tail;
}
/* Polynomials in w = -log(1 - x^2), or in its root near the ends: Giles, GPU Computing Gems Jade (2011), ch. 10. */
CASTOFF_INLINE float castoff_erfinv_f32(float x) {
    double wide = (double)x;
    double w = -castoff_log_internal(1.0 - wide * wide);
    double v = w - 3.0;
    double p = 6.255141390283001e-10;
    p = castoff_muladd_f64(p, v, -5.473571710796833e-09);
    p = castoff_muladd_f64(p, v, -1.8335681135678168e-08);
    p = castoff_muladd_f64(p, v, 4.484218532125949e-07);
    p = castoff_muladd_f64(p, v, -1.7758278838345073e-06);
    p = castoff_muladd_f64(p, v, -1.2708824572648215e-05);
    p = castoff_muladd_f64(p, v, 0.00019512761498982354);
    p = castoff_muladd_f64(p, v, -0.0008361927215137518);
    p = castoff_muladd_f64(p, v, -0.005738193572871341);
    p = castoff_muladd_f64(p, v, 0.24163040736744862);
    p = castoff_muladd_f64(p, v, 1.6235420148507629);
    double u = __builtin_sqrt(w) - 3.2;
    double q = -5.026233566958625e-05;
    q = castoff_muladd_f64(q, u, -0.00021582345634871353);
    q = castoff_muladd_f64(q, u, 0.0010785561946418582);
    q = castoff_muladd_f64(q, u, -0.0020629521699750543);
    q = castoff_muladd_f64(q, u, 0.0029547731519593964);
    q = castoff_muladd_f64(q, u, -0.004281248494729169);
    q = castoff_muladd_f64(q, u, 0.005972649485022232);
    q = castoff_muladd_f64(q, u, 1.0046917884121747);
    q = castoff_muladd_f64(q, u, 3.033636580540994);
    float result = (float)(wide * (w <= 6.0 ? p : q));
    return castoff_abs_f32(x) == 1.0f ? castoff_copysign_f32(__builtin_inff(), x) : result;
}

/* ---- activations ---- */

/* 1 / (1 + exp(-x)), both sides of the division 2^-32 of that, so that exp(-x) has room and a subnormal is rounded once. */
CASTOFF_INLINE float castoff_sigmoid_f32(float x) {
    float shifted, p = castoff_exp_reduced_f32(-castoff_bounded_f32(-105.0f, x, 60.0f), 127.0f - 32.0f, &shifted);
    return 0x1p-32f / castoff_muladd_f32(p, castoff_from_bits_f32(castoff_bits_f32(shifted) << 23), 0x1p-32f);
}
CASTOFF_INLINE float castoff_silu_f32(float x) { return x * castoff_sigmoid_f32(x); }
/* x times the area under the normal density up to x, which on the left is 2^-(1 + a q(a)), a = |x|: a minimax fit for -log2 of
 * the area on [0, 9], weighted so that x times it is off by 2^-25 of itself, or by 2^-36. It grows on past that, and is 127
 * at the bound of a, where the power of two becomes 0. */
CASTOFF_INLINE float castoff_gelu_f32(float x) {
    uint32_t magnitude = castoff_bits_f32(x) & 0x7fffffffu;
    float a = castoff_from_bits_f32(magnitude < 0x412e0419u ? magnitude : 0x412e0419u); /* 10.876 at most */
    float q = 3.4436958e-08f;
    q = castoff_muladd_f32(q, a, -9.57375e-07f);
    q = castoff_muladd_f32(q, a, 1.1601329e-05f);
    q = castoff_muladd_f32(q, a, -7.800872e-05f);
    q = castoff_muladd_f32(q, a, 2.7865436e-04f);
    q = castoff_muladd_f32(q, a, 1.32124915e-05f);
    q = castoff_muladd_f32(q, a, -6.974122e-03f);
    q = castoff_muladd_f32(q, a, 5.2465424e-02f);
    q = castoff_muladd_f32(q, a, 4.5921168e-01f);
    q = castoff_muladd_f32(q, a, 1.1511053f);
    float shifted = castoff_muladd_f32(q, -a, 0x1.8p23f + 126.0f); /* the low bits are an exponent's */
    float r = castoff_fused_f32(q, -a, (0x1.8p23f + 126.0f) - shifted);
    float area = castoff_exp2_reduced_f32(r) * castoff_from_bits_f32(castoff_bits_f32(shifted) << 23);
    return x < 0.0f ? x * area : castoff_muladd_f32(-a, area, x);
}
CASTOFF_INLINE float castoff_log_sigmoid_f32(float x) {
    float smaller = x < 0.0f ? x : 0.0f;
    double gap = -(double)castoff_abs_f32(x);
    gap = gap < -200.0 ? -200.0 : gap;
    double tail = castoff_log1p_inside(castoff_exp_internal(gap));
    return (float)((double)smaller - tail);
}
CASTOFF_INLINE float castoff_softplus_f32(float x, float beta, float threshold) {
    float scaled = x * beta;
    double bounded = (double)scaled;
    bounded = bounded > 200.0 ? 200.0 : bounded;
    bounded = bounded < -200.0 ? -200.0 : bounded;
    float soft = (float)(castoff_log1p_inside(castoff_exp_internal(bounded)) / (double)beta);
    return scaled > threshold ? x : soft;
}

/* ---- neighbours, parts and remainders ---- */

/* x = mantissa * 2^exponent, 1/2 <= |mantissa| < 1; zeros, infinities and NaN have exponent 0. */
CASTOFF_INLINE int32_t castoff_frexp_exponent_f32(float x) {
    float a = castoff_abs_f32(x);
    int is_tiny = a < 0x1p-126f;
    uint32_t bits = castoff_bits_f32(is_tiny ? a * 0x1p23f : a);
    int32_t exponent = (int32_t)(bits >> 23) - (is_tiny ? 126 + 23 : 126);
    return (a == 0.0f) | !(a < __builtin_inff()) ? 0 : exponent;
}
CASTOFF_INLINE float castoff_frexp_mantissa_f32(float x) {
    float a = castoff_abs_f32(x);
    uint32_t bits = castoff_bits_f32(a < 0x1p-126f ? a * 0x1p23f : a);
    float mantissa = castoff_copysign_f32(castoff_from_bits_f32((bits & 0x7fffffu) | 0x3f000000u), x);
    return (a == 0.0f) | !(a < __builtin_inff()) ? x : mantissa;
}
CASTOFF_INLINE float castoff_nextafter_f32(float x, float y) {
    uint32_t bits = castoff_bits_f32(x);
    int is_outward = (x < y) == (x > 0.0f);
    uint32_t step = is_outward ? bits + 1u : bits - 1u;
    uint32_t from_zero = (castoff_bits_f32(y) & 0x80000000u) | 1u;
    float result = castoff_from_bits_f32(x == 0.0f ? from_zero : step);
    result = x == y ? y : result;
    return (x != x) | (y != y) ? x + y : result;
}
CASTOFF_INLINE float castoff_fmod_f32(float x, float y) {
    double a = (double)castoff_abs_f32(x), b = (double)castoff_abs_f32(y);
    if (!(a < b * 0x1p28) || b == __builtin_inf()) return __builtin_fmodf(x, y);
    double r = a - (double)(int32_t)(a / b) * b;
    r = r < 0.0 ? r + b : r; /* the quotient was rounded up */
    return castoff_copysign_f32((float)r, x);
}
/* The sign of the divisor. */
CASTOFF_INLINE float castoff_remainder_f32(float x, float y) {
    float rest = castoff_fmod_f32(x, y);
    return (rest != 0.0f) & ((rest < 0.0f) != (y < 0.0f)) ? rest + y : rest;
}
CASTOFF_INLINE float castoff_floor_divide_f32(float x, float y) {
    float rest = castoff_fmod_f32(x, y);
    float quotient = (x - rest) / y;
    quotient = (rest != 0.0f) & ((rest < 0.0f) != (y < 0.0f)) ? quotient - 1.0f : quotient;
    float whole = castoff_floor_f32(quotient);
    whole = quotient - whole > 0.5f ? whole + 1.0f : whole;
    whole = quotient == 0.0f ? castoff_copysign_f32(0.0f, x / y) : whole;
    return y == 0.0f ? x / y : whole;
}
CASTOFF_INLINE float castoff_trunc_divide_f32(float x, float y) { return castoff_trunc_f32(x / y); }

#endif
