/* math_f64.h - elementary functions of double.
 *
 * castoff_<op>_f64, named and behaving as PyTorch's functions; the twin of math_f32.h. exp, log, tanh, sigmoid and
 * silu are branch-free and vectorise, and so does whatever is only selects; the rest calls libm, which is correct to
 * about one ulp.
 */
#ifndef CASTOFF_COMMON_MATH_F64_H
#define CASTOFF_COMMON_MATH_F64_H

#include "types.h"

/* ---- sign and rounding ---- */

CASTOFF_INLINE double castoff_abs_f64(double x) { return __builtin_fabs(x); }
CASTOFF_INLINE double castoff_neg_f64(double x) { return -x; }
CASTOFF_INLINE castoff_b8 castoff_signbit_f64(double x) { return (castoff_b8)(castoff_bits_f64(x) >> 63); }
CASTOFF_INLINE castoff_b8 castoff_isnan_f64(double x) { return (castoff_b8)(x != x); }
CASTOFF_INLINE castoff_b8 castoff_isinf_f64(double x) { return (castoff_b8)(__builtin_fabs(x) == __builtin_inf()); }
CASTOFF_INLINE castoff_b8 castoff_isfinite_f64(double x) { return (castoff_b8)(__builtin_fabs(x) < __builtin_inf()); }
CASTOFF_INLINE double castoff_copysign_f64(double x, double sign) {
    return castoff_from_bits_f64((castoff_bits_f64(x) & 0x7fffffffffffffffu) |
                                 (castoff_bits_f64(sign) & 0x8000000000000000u));
}
/* -1, 0 or 1; 0 for NaN. */
CASTOFF_INLINE double castoff_sign_f64(double x) { return (double)(x > 0.0) - (double)(x < 0.0); }
CASTOFF_INLINE double castoff_sgn_f64(double x) { return castoff_sign_f64(x); }

#if defined(__SSE4_1__) || defined(__aarch64__)
CASTOFF_INLINE double castoff_trunc_f64(double x) { return __builtin_trunc(x); }
CASTOFF_INLINE double castoff_floor_f64(double x) { return __builtin_floor(x); }
CASTOFF_INLINE double castoff_ceil_f64(double x) { return __builtin_ceil(x); }
CASTOFF_INLINE double castoff_round_f64(double x) { return __builtin_rint(x); }
#else
/* Half to even. */
CASTOFF_INLINE double castoff_round_f64(double x) {
    double a = __builtin_fabs(x);
    double whole = castoff_copysign_f64((a + 0x1p52) - 0x1p52, x);
    return a < 0x1p52 ? whole : x;
}
CASTOFF_INLINE double castoff_trunc_f64(double x) {
    double a = __builtin_fabs(x);
    double whole = (a + 0x1p52) - 0x1p52;
    whole = whole > a ? whole - 1.0 : whole;
    return a < 0x1p52 ? castoff_copysign_f64(whole, x) : x;
}
CASTOFF_INLINE double castoff_floor_f64(double x) {
    double whole = castoff_trunc_f64(x);
    return whole > x ? whole - 1.0 : whole;
}
CASTOFF_INLINE double castoff_ceil_f64(double x) {
    double whole = castoff_trunc_f64(x);
    return whole < x ? castoff_copysign_f64(whole + 1.0, x) : whole;
}
#endif
/* A whole number as a size: what is too large, and what is no number, becomes what no size is. */
CASTOFF_INLINE int64_t castoff_size_f64(double x) {
    return x >= 0x1p62 ? INT64_C(1) << 62 : x > -0x1p62 ? (int64_t)x : -(INT64_C(1) << 62);
}
CASTOFF_INLINE double castoff_frac_f64(double x) { return x - castoff_trunc_f64(x); }

/* ---- selection ---- */

/* NaN wins. */
CASTOFF_INLINE double castoff_maximum_f64(double a, double b) {
    double larger = a > b ? a : b;
    return a != a ? a : larger;
}
CASTOFF_INLINE double castoff_minimum_f64(double a, double b) {
    double smaller = a < b ? a : b;
    return a != a ? a : smaller;
}
/* NaN loses. */
CASTOFF_INLINE double castoff_fmax_f64(double a, double b) {
    double larger = a > b ? a : b;
    larger = b != b ? a : larger;
    return a != a ? b : larger;
}
CASTOFF_INLINE double castoff_fmin_f64(double a, double b) {
    double smaller = a < b ? a : b;
    smaller = b != b ? a : smaller;
    return a != a ? b : smaller;
}

/* ---- exponentials and logarithms ---- */

CASTOFF_INLINE double castoff_exp_f64(double x) {
    double bounded = x > 710.0 ? 710.0 : x;
    bounded = bounded < -746.0 ? -746.0 : bounded;
    double shifted = bounded * 0x1.71547652b82fep0 + 0x1.8p52; /* the low bits hold rint(x / ln 2) */
    double n = shifted - 0x1.8p52;
    double r = bounded - n * 0x1.62e42fee00000p-1;
    r = r - n * 0x1.a39ef35793c76p-33;
    /* Taylor to r^13: the remainder is below 2^-58 for |r| <= ln(2)/2 */
    double p = 1.0 / 6227020800.0;
    p = p * r + 1.0 / 479001600.0;
    p = p * r + 1.0 / 39916800.0;
    p = p * r + 1.0 / 3628800.0;
    p = p * r + 1.0 / 362880.0;
    p = p * r + 1.0 / 40320.0;
    p = p * r + 1.0 / 5040.0;
    p = p * r + 1.0 / 720.0;
    p = p * r + 1.0 / 120.0;
    p = p * r + 1.0 / 24.0;
    p = p * r + 1.0 / 6.0;
    p = p * r + 0.5;
    p = p * (r * r) + r + 1.0;
    /* 2^n as three factors, of which the last rounds a subnormal result once */
    double half = (n * 0.5 + 0x1.8p52) - 0x1.8p52;
    double first = castoff_from_bits_f64((castoff_bits_f64(half + 0x1.8p52) + 1023u) << 52);
    double second = castoff_from_bits_f64((castoff_bits_f64((n - half) + 0x1.8p52) + 1023u) << 52);
    return p * first * second;
}

CASTOFF_INLINE double castoff_exp_decay_f64(double x) { return castoff_exp_f64(x); }
CASTOFF_INLINE double castoff_log_f64(double x) {
    int is_tiny = x < 0x1p-1022;
    double normal = is_tiny ? x * 0x1p54 : x;
    uint64_t shifted = castoff_bits_f64(normal) + (0x3ff0000000000000u - 0x3fe6a09e667f3bcdu);
    double e = castoff_from_bits_f64((shifted >> 52) | 0x4330000000000000u) - (0x1p52 + 1023.0);
    e = is_tiny ? e - 54.0 : e;
    double f = castoff_from_bits_f64((shifted & 0xfffffffffffffu) + 0x3fe6a09e667f3bcdu) - 1.0;
    /* log(1 + f) = f - f^2/2 + s * (f^2/2 + z * Q(z)), s = f / (2 + f), z = s^2: Tang, ACM TOMS 16 (1990). */
    double s = f / (2.0 + f), z = s * s;
    double q = 0.13219938279290874;
    q = q * z + 0.13253982884776488;
    q = q * z + 0.15386896137552133;
    q = q * z + 0.1818178081280439;
    q = q * z + 0.22222222570565384;
    q = q * z + 0.2857142856970673;
    q = q * z + 0.4000000000000374;
    q = q * z + 0.6666666666666666;
    double half_square = 0.5 * f * f;
    double result = e * 0x1.62e42fee00000p-1 - ((half_square - (s * (half_square + q * z) + e * 0x1.a39ef35793c76p-33)) - f);
    result = x == 0.0 ? -__builtin_inf() : result;
    result = x < 0.0 ? __builtin_nan("") : result;
    return (x == __builtin_inf()) | (x != x) ? x : result;
}
CASTOFF_INLINE double castoff_exp2_f64(double x) { return __builtin_exp2(x); }
CASTOFF_INLINE double castoff_expm1_f64(double x) { return __builtin_expm1(x); }
CASTOFF_INLINE double castoff_log2_f64(double x) { return __builtin_log2(x); }
CASTOFF_INLINE double castoff_log10_f64(double x) { return __builtin_log10(x); }
CASTOFF_INLINE double castoff_log1p_f64(double x) { return __builtin_log1p(x); }
CASTOFF_INLINE double castoff_logaddexp_f64(double a, double b) {
    double larger = castoff_maximum_f64(a, b);
    double result = larger + __builtin_log1p(castoff_exp_f64(-__builtin_fabs(a - b)));
    return (a == b) & (__builtin_fabs(a) == __builtin_inf()) ? a : result;
}
CASTOFF_INLINE double castoff_logaddexp2_f64(double a, double b) {
    double larger = castoff_maximum_f64(a, b);
    double result = larger + __builtin_log1p(__builtin_exp2(-__builtin_fabs(a - b))) * 0x1.71547652b82fep0;
    return (a == b) & (__builtin_fabs(a) == __builtin_inf()) ? a : result;
}

/* ---- powers and roots ---- */

CASTOFF_INLINE double castoff_sqrt_f64(double x) { return __builtin_sqrt(x); }
CASTOFF_INLINE double castoff_rsqrt_f64(double x) { return 1.0 / __builtin_sqrt(x); }
CASTOFF_INLINE double castoff_reciprocal_f64(double x) { return 1.0 / x; }
CASTOFF_INLINE double castoff_square_f64(double x) { return x * x; }
CASTOFF_INLINE double castoff_pow_f64(double x, double y) { return __builtin_pow(x, y); }
CASTOFF_INLINE double castoff_hypot_f64(double x, double y) { return __builtin_hypot(x, y); }

/* ---- trigonometric and hyperbolic functions, error function ---- */

CASTOFF_INLINE double castoff_sin_f64(double x) { return __builtin_sin(x); }
CASTOFF_INLINE double castoff_cos_f64(double x) { return __builtin_cos(x); }
CASTOFF_INLINE double castoff_tan_f64(double x) { return __builtin_tan(x); }
CASTOFF_INLINE double castoff_asin_f64(double x) { return __builtin_asin(x); }
CASTOFF_INLINE double castoff_acos_f64(double x) { return __builtin_acos(x); }
CASTOFF_INLINE double castoff_atan_f64(double x) { return __builtin_atan(x); }
CASTOFF_INLINE double castoff_atan2_f64(double y, double x) { return __builtin_atan2(y, x); }
CASTOFF_INLINE double castoff_sinh_f64(double x) { return __builtin_sinh(x); }
CASTOFF_INLINE double castoff_cosh_f64(double x) { return __builtin_cosh(x); }
CASTOFF_INLINE double castoff_tanh_f64(double x) {
    double a = __builtin_fabs(x), z = x * x;
    double p = -1.6064340433363056e-05;
    p = p * z + 7.713103877423886e-05;
    p = p * z + -0.0002285558666862775;
    p = p * z + 0.0005863142587575128;
    p = p * z + -0.0014549588091405546;
    p = p * z + 0.0035919892978427625;
    p = p * z + -0.00886322103732813;
    p = p * z + 0.021869487580430638;
    p = p * z + -0.05396825393154204;
    p = p * z + 0.13333333333262895;
    p = p * z + -0.33333333333332865;
    double near_zero = p * (z * a) + a;
    double far = 1.0 - 2.0 / (castoff_exp_f64(a + a) + 1.0);
    return castoff_copysign_f64(a < 0.625 ? near_zero : far, x);
}
CASTOFF_INLINE double castoff_asinh_f64(double x) { return __builtin_asinh(x); }
CASTOFF_INLINE double castoff_acosh_f64(double x) { return __builtin_acosh(x); }
CASTOFF_INLINE double castoff_atanh_f64(double x) { return __builtin_atanh(x); }
CASTOFF_INLINE double castoff_erf_f64(double x) { return __builtin_erf(x); }
CASTOFF_INLINE double castoff_erfc_f64(double x) { return __builtin_erfc(x); }
/* sin(pi x) / (pi x); the argument is reduced before it meets pi. */
CASTOFF_INLINE double castoff_sinc_f64(double x) {
    double a = __builtin_fabs(x), n = castoff_round_f64(a);
    double sine = __builtin_sin((a - n) * 0x1.921fb54442d18p1);
    double half = 0.5 * n;
    sine = castoff_trunc_f64(half) != half ? -sine : sine;
    return x == 0.0 ? 1.0 : sine / (a * 0x1.921fb54442d18p1);
}

/* ---- activations ---- */

CASTOFF_INLINE double castoff_sigmoid_f64(double x) {
    double e = castoff_exp_f64(-__builtin_fabs(x));
    double top = x < 0.0 ? e : 1.0;
    return top / (1.0 + e);
}
CASTOFF_INLINE double castoff_silu_f64(double x) { return x * castoff_sigmoid_f64(x); }
CASTOFF_INLINE double castoff_gelu_f64(double x) { return x * (0.5 * __builtin_erfc(x * -0.70710678118654752440)); }
CASTOFF_INLINE double castoff_log_sigmoid_f64(double x) {
    double smaller = x < 0.0 ? x : 0.0;
    return smaller - __builtin_log1p(castoff_exp_f64(-__builtin_fabs(x)));
}
CASTOFF_INLINE double castoff_softplus_f64(double x, double beta, double threshold) {
    double scaled = x * beta;
    return scaled > threshold ? x : __builtin_log1p(castoff_exp_f64(scaled)) / beta;
}

/* ---- neighbours, parts and remainders ---- */

/* x = mantissa * 2^exponent, 1/2 <= |mantissa| < 1; zeros, infinities and NaN have exponent 0. */
CASTOFF_INLINE int32_t castoff_frexp_exponent_f64(double x) {
    double a = __builtin_fabs(x);
    int is_tiny = a < 0x1p-1022;
    uint64_t bits = castoff_bits_f64(is_tiny ? a * 0x1p52 : a);
    int32_t exponent = (int32_t)(bits >> 52) - (is_tiny ? 1022 + 52 : 1022);
    return (a == 0.0) | !(a < __builtin_inf()) ? 0 : exponent;
}
CASTOFF_INLINE double castoff_frexp_mantissa_f64(double x) {
    double a = __builtin_fabs(x);
    uint64_t bits = castoff_bits_f64(a < 0x1p-1022 ? a * 0x1p52 : a);
    double mantissa = castoff_copysign_f64(castoff_from_bits_f64((bits & 0xfffffffffffffu) | 0x3fe0000000000000u), x);
    return (a == 0.0) | !(a < __builtin_inf()) ? x : mantissa;
}
CASTOFF_INLINE double castoff_nextafter_f64(double x, double y) { return __builtin_nextafter(x, y); }
CASTOFF_INLINE double castoff_fmod_f64(double x, double y) { return __builtin_fmod(x, y); }
/* The sign of the divisor. */
CASTOFF_INLINE double castoff_remainder_f64(double x, double y) {
    double rest = __builtin_fmod(x, y);
    return (rest != 0.0) & ((rest < 0.0) != (y < 0.0)) ? rest + y : rest;
}
CASTOFF_INLINE double castoff_floor_divide_f64(double x, double y) {
    double rest = __builtin_fmod(x, y);
    double quotient = (x - rest) / y;
    quotient = (rest != 0.0) & ((rest < 0.0) != (y < 0.0)) ? quotient - 1.0 : quotient;
    double whole = castoff_floor_f64(quotient);
    whole = quotient - whole > 0.5 ? whole + 1.0 : whole;
    whole = quotient == 0.0 ? castoff_copysign_f64(0.0, x / y) : whole;
    return y == 0.0 ? x / y : whole;
}
CASTOFF_INLINE double castoff_trunc_divide_f64(double x, double y) { return castoff_trunc_f64(x / y); }

#endif
