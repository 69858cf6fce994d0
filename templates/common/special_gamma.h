/* special_gamma.h - gamma function and its kin: lgamma, mvlgamma, digamma, polygamma, zeta, igamma, igammac.
 *
 * Double throughout; the f32 form rounds the f64 result. Edges follow PyTorch.
 */
#ifndef CASTOFF_COMMON_SPECIAL_GAMMA_H
#define CASTOFF_COMMON_SPECIAL_GAMMA_H

#include "types.h"

#if defined(__CUDACC__)
CASTOFF_INLINE double castoff_lgamma_f64(double x) { return lgamma(x); }
#else
/* POSIX; unlike lgamma it writes no global, so threads may share it. */
extern double lgamma_r(double, int *);

CASTOFF_INLINE double castoff_lgamma_f64(double x) {
    int sign;
    return lgamma_r(x, &sign);
}
#endif

/* log of the multivariate gamma function of dimension p. */
CASTOFF_LARGE double castoff_mvlgamma_f64(double x, int64_t p) {
    double sum = 0.25 * (double)p * (double)(p - 1) * 1.1447298858494001741; /* log(pi) */
    for (int64_t j = 0; j < p; j++) sum += castoff_lgamma_f64(x - 0.5 * (double)j);
    return sum;
}

/* Reflection (DLMF 5.5.4), recurrence up to 10, then the asymptotic series (5.11.2). */
CASTOFF_LARGE double castoff_digamma_f64(double x) {
    double result = 0.0;
    if (x == 0.0) return __builtin_copysign(__builtin_inf(), -x);
    if (x < 0.0) {
        double fraction = x - __builtin_trunc(x);
        if (fraction == 0.0) return __builtin_nan("");
        result = -3.14159265358979323846 / __builtin_tan(3.14159265358979323846 * fraction);
        x = 1.0 - x;
    }
    for (; x < 10.0; x += 1.0) result -= 1.0 / x;
    double z = 1.0 / (x * x);
    double series = z * (1.0 / 12 - z * (1.0 / 120 - z * (1.0 / 252 - z * (1.0 / 240 - z * (1.0 / 132 - z * (691.0 / 32760 - z / 12))))));
    return result + __builtin_log(x) - 0.5 / x - series;
}

/* Hurwitz zeta, sum over k of (q + k)^-x, by Euler-Maclaurin (DLMF 25.11.28). NaN for x < 1. */
CASTOFF_LARGE double castoff_zeta_f64(double x, double q) {
    static const double bernoulli[10] = {/* B_2k / (2k)! */
        1.0 / 12, -1.0 / 720, 1.0 / 30240, -1.0 / 1209600, 1.0 / 47900160, -691.0 / 1307674368000.0, 1.0 / 74724249600.0,
        -3617.0 / 10670622842880000.0, 43867.0 / 5109094217170944000.0, -174611.0 / 802857662698291200000.0};
    if (x == 1.0) return __builtin_inf();
    if (!(x > 1.0) || q != q) return __builtin_nan("");
    if (q <= 0.0) {
        if (q == __builtin_floor(q)) return __builtin_inf();
        if (x != __builtin_floor(x)) return __builtin_nan("");
        if (q < -1e5) q += __builtin_floor(-q - 1e5); /* terms this far out do not count */
    }
    /* The expansion wants a start well above x; a steep sum ends before. */
    double sum = 0.0, a = q, power = __builtin_pow(a, -x);
    for (; a < x + 8.0; power = __builtin_pow(a, -x)) {
        sum += power;
        a += 1.0;
        if (a > 1.0 && power <= 1e-18 * __builtin_fabs(sum)) return sum;
    }
    sum += power * a / (x - 1.0) + 0.5 * power;
    double factor = x * power / a;
    for (int k = 0; k < 10; k++) {
        double term = bernoulli[k] * factor;
        sum += term;
        if (__builtin_fabs(term) <= 1e-17 * __builtin_fabs(sum)) break;
        factor *= (x + 2 * k + 1) * (x + 2 * k + 2) / (a * a);
    }
    return sum;
}

CASTOFF_LARGE double castoff_trigamma_f64(double x) {
    double result = 0.0, sign = 1.0;
    if (x < 0.5) {
        double sine = __builtin_sin(3.14159265358979323846 * (x - __builtin_rint(x)));
        if (x == __builtin_floor(x)) return __builtin_inf();
        result = -(3.14159265358979323846 * 3.14159265358979323846) / (sine * sine);
        x = 1.0 - x;
        sign = -1.0;
    }
    for (; x < 10.0; x += 1.0) result += 1.0 / (x * x);
    double z = 1.0 / (x * x);
    double series = 1.0 / 6 - z * (1.0 / 30 - z * (1.0 / 42 - z * (1.0 / 30 - z * (5.0 / 66 - z * 691.0 / 2730))));
    return sign * (result + (1.0 + 0.5 / x + z * series) / x);
}

/* The n-th derivative of digamma (DLMF 5.15.1, via the zeta function); n >= 0. */
CASTOFF_LARGE double castoff_polygamma_f64(int64_t n, double x) {
    if (n == 0) return castoff_digamma_f64(x);
    if (n == 1) return castoff_trigamma_f64(x);
    double magnitude = __builtin_exp(castoff_lgamma_f64((double)n + 1.0)) * castoff_zeta_f64((double)n + 1.0, x);
    return n % 2 ? magnitude : -magnitude;
}

/* x^a e^-x / gamma(a + 1), without cancellation where x is near a large a. */
CASTOFF_LARGE double castoff_igamma_prefix(double a, double x) {
    double mu = (x - a) / a;
    if (a < 10.0 || __builtin_fabs(mu) > 0.4) return __builtin_exp(a * __builtin_log(x) - x - castoff_lgamma_f64(a + 1.0));
    double z = 1.0 / (a * a);
    double stirling = (1.0 / 12 - z * (1.0 / 360 - z * (1.0 / 1260 - z * (1.0 / 1680 - z * (1.0 / 1188 - z * 691.0 / 360360))))) / a;
    return __builtin_exp(a * (__builtin_log1p(mu) - mu) - stirling) / __builtin_sqrt(6.28318530717958647693 * a);
}

/* Both regularised incomplete gamma functions for positive finite a and x; P is returned, Q stored.
 * Series (DLMF 8.11.4) below a + 1, continued fraction by Lentz's method (8.9.2) above, and for very large a the leading
 * terms of Temme's uniform expansion (8.12.3). */
CASTOFF_LARGE double castoff_igamma_pair(double a, double x, double *upper) {
    if (a > 1e6 && __builtin_fabs(x - a) < 0.3 * a) {
        double mu = (x - a) / a, square = 2.0 * (mu - __builtin_log1p(mu));
        if (__builtin_fabs(mu) < 1e-4) square = mu * mu * (1.0 - mu * (2.0 / 3 - mu * 0.5));
        double eta = __builtin_copysign(__builtin_sqrt(square), mu);
        double c = __builtin_fabs(eta) < 1e-3 ? -1.0 / 3 + eta / 12 : 1.0 / mu - 1.0 / eta;
        double rest = c * __builtin_exp(-0.5 * a * square) / __builtin_sqrt(6.28318530717958647693 * a);
        double scaled = eta * __builtin_sqrt(0.5 * a);
        *upper = 0.5 * __builtin_erfc(scaled) + rest;
        return 0.5 * __builtin_erfc(-scaled) - rest;
    }
    double prefix = castoff_igamma_prefix(a, x);
    if (a != a || x != x) return *upper = a + x;
    if (x < a + 1.0) {
        double term = 1.0, sum = 1.0;
        for (int n = 1; n < 20000 && term > 1e-17 * sum; n++) {
            term *= x / (a + n);
            sum += term;
        }
        double lower = prefix * sum;
        *upper = 1.0 - lower;
        return lower;
    }
    double b = x + 1.0 - a, c = 1e300, d = 1.0 / b, h = d;
    for (int n = 1; n < 20000; n++) {
        double numerator = n * (a - n);
        b += 2.0;
        d = numerator * d + b;
        d = d == 0.0 ? 1e300 : 1.0 / d;
        c = b + numerator / c;
        c = c == 0.0 ? 1e-300 : c;
        h *= c * d;
        if (__builtin_fabs(c * d - 1.0) < 1e-16) break;
    }
    *upper = prefix * a * h;
    return 1.0 - *upper;
}

/* log(gamma(1 + a)) for 0 <= a <= 0.1 with a small relative error (DLMF 5.7.3). */
CASTOFF_LARGE double castoff_lgamma1p_small(double a) {
    static const double zeta_over_k[11] = {/* zeta(k) / k, k = 2 .. 12 */
        0.82246703342411320, -0.40068563438653143, 0.27058080842778454, -0.20738555102867398, 0.16955717699740818,
        -0.14404989676884612, 0.12550966952474302, -0.11133426586956469, 0.10009945751278180, -0.09095401714582904,
        0.083353840546109004};
    double sum = 0.0;
    for (int k = 10; k >= 0; k--) sum = sum * a + zeta_over_k[k];
    return a * (a * sum - 0.57721566490153286061);
}
/* The upper function for small a and x, where 1 - P cancels: DLMF 8.7.3. */
CASTOFF_LARGE double castoff_igammac_small(double a, double x) {
    double exponent = a * __builtin_log(x) - castoff_lgamma1p_small(a), term = 1.0, sum = 0.0;
    for (int n = 1; n < 40; n++) {
        term *= -x / n;
        sum += term * a / (a + n);
    }
    return -__builtin_expm1(exponent) - __builtin_exp(exponent) * sum;
}

CASTOFF_LARGE double castoff_igamma_f64(double a, double x) {
    double upper;
    if (x < 0.0 || a < 0.0) return __builtin_nan("");
    if (a == 0.0) return x > 0.0 ? 1.0 : __builtin_nan("");
    if (x == 0.0) return 0.0;
    if (a == __builtin_inf()) return x == __builtin_inf() ? __builtin_nan("") : 0.0;
    if (x == __builtin_inf()) return 1.0;
    return castoff_igamma_pair(a, x, &upper);
}
CASTOFF_LARGE double castoff_igammac_f64(double a, double x) {
    double upper;
    if (x < 0.0 || a < 0.0) return __builtin_nan("");
    if (a == 0.0) return x > 0.0 ? 0.0 : __builtin_nan("");
    if (x == 0.0) return 1.0;
    if (a == __builtin_inf()) return x == __builtin_inf() ? __builtin_nan("") : 1.0;
    if (x == __builtin_inf()) return 0.0;
    if (a <= 0.1 && x <= 1.1) return castoff_igammac_small(a, x);
    castoff_igamma_pair(a, x, &upper);
    return upper;
}

CASTOFF_INLINE float castoff_lgamma_f32(float x) { return (float)castoff_lgamma_f64((double)x); }
CASTOFF_INLINE float castoff_mvlgamma_f32(float x, int64_t p) { return (float)castoff_mvlgamma_f64((double)x, p); }
CASTOFF_INLINE float castoff_digamma_f32(float x) { return (float)castoff_digamma_f64((double)x); }
CASTOFF_INLINE float castoff_polygamma_f32(int64_t n, float x) { return (float)castoff_polygamma_f64(n, (double)x); }
CASTOFF_INLINE float castoff_zeta_f32(float x, float q) { return (float)castoff_zeta_f64((double)x, (double)q); }
CASTOFF_INLINE float castoff_igamma_f32(float a, float x) { return (float)castoff_igamma_f64((double)a, (double)x); }
CASTOFF_INLINE float castoff_igammac_f32(float a, float x) { return (float)castoff_igammac_f64((double)a, (double)x); }

#endif
