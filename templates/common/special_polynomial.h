/* special_polynomial.h - orthogonal polynomials by their three-term recurrences (DLMF 18.9), in double.
 *
 * castoff_<family>_polynomial_<kind>_<suffix>(x, n): the degree n is a number of x's type, cut to an integer; a negative
 * degree gives 0. Chebyshev polynomials of high degree inside the interval use their trigonometric form, and the Hermite
 * ones stop at the degree where PyTorch does, with NaN beyond.
 */
#ifndef CASTOFF_COMMON_SPECIAL_POLYNOMIAL_H
#define CASTOFF_COMMON_SPECIAL_POLYNOMIAL_H

#include "types.h"

/* The cosine and sine of a multiple of acos(x), over what turns them into the polynomial of each kind. */
CASTOFF_LARGE double castoff_chebyshev_recurrence(double x, double first, int64_t n) {
    if (n == 0) return 1.0;
    double p = 1.0, q = first;
    for (int64_t k = 2; k <= n && q == q; k++) {
        double r = (x + x) * q - p;
        p = q;
        q = r;
    }
    return q;
}
CASTOFF_LARGE double castoff_chebyshev_t(double x, int64_t n, int64_t trigonometric_from) {
    double size = x < 0 ? -x : x;
    if (n < 0) return 0.0;
    if (size == 1.0) return x > 0 || n % 2 == 0 ? 1.0 : -1.0;
    if (n > trigonometric_from && size < 1.0) return __builtin_cos((double)n * __builtin_acos(x));
    return castoff_chebyshev_recurrence(x, x, n);
}
CASTOFF_LARGE double castoff_chebyshev_u(double x, int64_t n, int64_t trigonometric_from) {
    double size = x < 0 ? -x : x, count = (double)n + 1.0;
    if (n < 0) return 0.0;
    if (size == 1.0) return x > 0 || n % 2 == 0 ? count : -count;
    if (n > trigonometric_from && size < 1.0) {
        double angle = __builtin_acos(x), sine = __builtin_sin(angle);
        if (sine != 0.0) return __builtin_sin(count * angle) / sine;
        return count * __builtin_cos(count * angle) / x;
    }
    return castoff_chebyshev_recurrence(x, x + x, n);
}
CASTOFF_LARGE double castoff_chebyshev_v(double x, int64_t n, int64_t trigonometric_from) {
    double size = x < 0 ? -x : x, count = (double)n + (double)n + 1.0, at_left = n % 2 == 0 ? count : -count;
    if (n < 0) return 0.0;
    if (size == 1.0) return x > 0 ? 1.0 : at_left;
    if (n > trigonometric_from && size < 1.0) {
        double angle = __builtin_acos(x), half = angle / 2.0;
        if (__builtin_sin(half) == 1.0) return at_left;
        return __builtin_cos(((double)n + 0.5) * angle) / __builtin_cos(half);
    }
    return castoff_chebyshev_recurrence(x, x + x - 1.0, n);
}
CASTOFF_LARGE double castoff_chebyshev_w(double x, int64_t n, int64_t trigonometric_from) {
    double size = x < 0 ? -x : x, count = (double)n + (double)n + 1.0, at_left = n % 2 == 0 ? 1.0 : -1.0;
    if (n < 0) return 0.0;
    if (size == 1.0) return x > 0 ? count : at_left;
    if (n > trigonometric_from && size < 1.0) {
        double angle = __builtin_acos(x), half = angle / 2.0;
        if (__builtin_cos(half) == 1.0) return x > 0 ? count : at_left;
        return __builtin_sin(((double)n + 0.5) * angle) / __builtin_sin(half);
    }
    return castoff_chebyshev_recurrence(x, x + x + 1.0, n);
}
CASTOFF_INLINE double castoff_chebyshev_polynomial_t_f64(double x, double n) {
    return castoff_chebyshev_t(x, castoff_f64_to_i64(n), 6);
}
CASTOFF_INLINE double castoff_chebyshev_polynomial_u_f64(double x, double n) {
    return castoff_chebyshev_u(x, castoff_f64_to_i64(n), 8);
}
CASTOFF_INLINE double castoff_chebyshev_polynomial_v_f64(double x, double n) {
    return castoff_chebyshev_v(x, castoff_f64_to_i64(n), 8);
}
CASTOFF_INLINE double castoff_chebyshev_polynomial_w_f64(double x, double n) {
    return castoff_chebyshev_w(x, castoff_f64_to_i64(n), 8);
}
CASTOFF_INLINE double castoff_shifted_chebyshev_polynomial_t_f64(double x, double n) {
    return castoff_chebyshev_t(x + x - 1.0, castoff_f64_to_i64(n), 6);
}
CASTOFF_INLINE double castoff_shifted_chebyshev_polynomial_u_f64(double x, double n) {
    return castoff_chebyshev_u(x + x - 1.0, castoff_f64_to_i64(n), 6);
}
CASTOFF_INLINE double castoff_shifted_chebyshev_polynomial_v_f64(double x, double n) {
    return castoff_chebyshev_v(x + x - 1.0, castoff_f64_to_i64(n), 6);
}
CASTOFF_INLINE double castoff_shifted_chebyshev_polynomial_w_f64(double x, double n) {
    return castoff_chebyshev_w(x + x - 1.0, castoff_f64_to_i64(n), 6);
}

CASTOFF_LARGE double castoff_hermite_h(double x, int64_t n, int64_t highest) {
    if (n < 0) return 0.0;
    if (n == 0) return 1.0;
    if (n > highest) return __builtin_nan("");
    double p = 1.0, q = x + x;
    for (int64_t k = 2; k < n + n; k += 2) {
        double r = (x + x) * q - (double)k * p;
        p = q;
        q = r;
    }
    return q;
}
CASTOFF_LARGE double castoff_hermite_he(double x, int64_t n, int64_t highest) {
    if (n < 0) return 0.0;
    if (n == 0) return 1.0;
    if (n > highest) return __builtin_nan("");
    double p = 1.0, q = x;
    for (int64_t k = 1; k < n; k++) {
        double r = x * q - (double)k * p;
        p = q;
        q = r;
    }
    return q;
}
CASTOFF_LARGE double castoff_laguerre_polynomial_l_f64(double x, double degree) {
    int64_t n = castoff_f64_to_i64(degree);
    if (n < 0) return 0.0;
    if (n == 0 || x == 0.0) return 1.0;
    double p = 1.0, q = 1.0 - x;
    for (int64_t k = 1; k < n && q == q; k++) {
        double r = (((double)(k + k) + (1.0 - x)) * q - (double)k * p) / (double)(k + 1);
        p = q;
        q = r;
    }
    return q;
}
CASTOFF_LARGE double castoff_legendre_polynomial_p_f64(double x, double degree) {
    int64_t n = castoff_f64_to_i64(degree);
    if (n < 0) return 0.0;
    if (x == 1.0 || x == -1.0) return x > 0 || n % 2 == 0 ? 1.0 : -1.0;
    if (n == 0) return 1.0;
    double p = 1.0, q = x;
    for (int64_t k = 1; k < n && q == q; k++) {
        double r = ((double)(k + k + 1) * x * q - (double)k * p) / (double)(k + 1);
        p = q;
        q = r;
    }
    return q;
}

CASTOFF_INLINE double castoff_hermite_polynomial_h_f64(double x, double n) {
    return castoff_hermite_h(x, castoff_f64_to_i64(n), 512);
}
CASTOFF_INLINE float castoff_hermite_polynomial_h_f32(float x, float n) {
    return (float)castoff_hermite_h((double)x, castoff_f32_to_i64(n), 128);
}
CASTOFF_INLINE double castoff_hermite_polynomial_he_f64(double x, double n) {
    return castoff_hermite_he(x, castoff_f64_to_i64(n), 512);
}
CASTOFF_INLINE float castoff_hermite_polynomial_he_f32(float x, float n) {
    return (float)castoff_hermite_he((double)x, castoff_f32_to_i64(n), 128);
}

CASTOFF_INLINE float castoff_chebyshev_polynomial_t_f32(float x, float n) {
    return (float)castoff_chebyshev_polynomial_t_f64((double)x, (double)n);
}
CASTOFF_INLINE float castoff_chebyshev_polynomial_u_f32(float x, float n) {
    return (float)castoff_chebyshev_polynomial_u_f64((double)x, (double)n);
}
CASTOFF_INLINE float castoff_chebyshev_polynomial_v_f32(float x, float n) {
    return (float)castoff_chebyshev_polynomial_v_f64((double)x, (double)n);
}
CASTOFF_INLINE float castoff_chebyshev_polynomial_w_f32(float x, float n) {
    return (float)castoff_chebyshev_polynomial_w_f64((double)x, (double)n);
}
CASTOFF_INLINE float castoff_shifted_chebyshev_polynomial_t_f32(float x, float n) {
    return (float)castoff_shifted_chebyshev_polynomial_t_f64((double)x, (double)n);
}
CASTOFF_INLINE float castoff_shifted_chebyshev_polynomial_u_f32(float x, float n) {
    return (float)castoff_shifted_chebyshev_polynomial_u_f64((double)x, (double)n);
}
CASTOFF_INLINE float castoff_shifted_chebyshev_polynomial_v_f32(float x, float n) {
    return (float)castoff_shifted_chebyshev_polynomial_v_f64((double)x, (double)n);
}
CASTOFF_INLINE float castoff_shifted_chebyshev_polynomial_w_f32(float x, float n) {
    return (float)castoff_shifted_chebyshev_polynomial_w_f64((double)x, (double)n);
}
CASTOFF_INLINE float castoff_laguerre_polynomial_l_f32(float x, float n) {
    return (float)castoff_laguerre_polynomial_l_f64((double)x, (double)n);
}
CASTOFF_INLINE float castoff_legendre_polynomial_p_f32(float x, float n) {
    return (float)castoff_legendre_polynomial_p_f64((double)x, (double)n);
}

#endif
