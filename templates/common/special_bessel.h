/* special_bessel.h - Bessel functions of orders 0 and 1, spherical j0, Airy Ai.
 *
 * Double throughout; the f32 form rounds the f64 result. J and Y are libm's.
 */
#ifndef CASTOFF_COMMON_SPECIAL_BESSEL_H
#define CASTOFF_COMMON_SPECIAL_BESSEL_H

#include "types.h"

/* exp(-a) I_order(a), a >= 0, order 0 or 1: power series (DLMF 10.25.2), asymptotic series (10.40.1) from 25 on. */
CASTOFF_LARGE double castoff_scaled_bessel_i(int order, double a) {
    double term = 1.0, sum = 1.0;
    if (a == __builtin_inf()) return 0.0;
    if (a >= 25.0) {
        double mu = 4.0 * order;
        for (int k = 1; k < 40; k++) {
            double next = term * -(mu - (double)(2 * k - 1) * (2 * k - 1)) / (8.0 * a * k);
            if (__builtin_fabs(next) < 1e-17) break;
            term = next;
            sum += term;
        }
        return sum / __builtin_sqrt(6.28318530717958647693 * a);
    }
    double z = 0.25 * a * a;
    for (int k = 1; k < 200 && term > 1e-18 * sum; k++) {
        term *= z / ((double)k * (k + order));
        sum += term;
    }
    return (order ? 0.5 * a * sum : sum) * __builtin_exp(-a);
}
CASTOFF_INLINE double castoff_i0e_f64(double x) { return castoff_scaled_bessel_i(0, __builtin_fabs(x)); }
CASTOFF_INLINE double castoff_i1e_f64(double x) {
    double magnitude = castoff_scaled_bessel_i(1, __builtin_fabs(x));
    return x < 0.0 ? -magnitude : magnitude;
}
CASTOFF_INLINE double castoff_i0_f64(double x) {
    double half = __builtin_exp(0.5 * __builtin_fabs(x));
    return __builtin_fabs(x) == __builtin_inf() ? __builtin_inf() : castoff_i0e_f64(x) * half * half;
}
CASTOFF_INLINE double castoff_i1_f64(double x) {
    double half = __builtin_exp(0.5 * __builtin_fabs(x));
    return __builtin_fabs(x) == __builtin_inf() ? x : castoff_i1e_f64(x) * half * half;
}
CASTOFF_INLINE double castoff_modified_bessel_i0_f64(double x) { return castoff_i0_f64(x); }
CASTOFF_INLINE double castoff_modified_bessel_i1_f64(double x) { return castoff_i1_f64(x); }

/* exp(x) K_0(x) and exp(x) K_1(x) for x > 0: power series (DLMF 10.31.1-2) up to 2, then Temme's continued fraction
 * (J. Comput. Phys. 19, 1975). */
CASTOFF_LARGE void castoff_scaled_bessel_k(double x, double *k0, double *k1) {
    if (x <= 2.0) {
        double z = 0.25 * x * x, l = __builtin_log(0.5 * x) + 0.57721566490153286061;
        double harmonic = 0.0, t0 = 1.0, t1 = 1.0, sum0 = -l, sum1 = 0.0;
        sum1 = (l - 0.5);
        for (int k = 1; k < 40; k++) {
            harmonic += 1.0 / k;
            t0 *= z / ((double)k * k);
            t1 *= z / ((double)k * (k + 1));
            sum0 += t0 * (harmonic - l);
            sum1 += t1 * (l - harmonic - 0.5 / (k + 1));
            if (t0 < 1e-18) break;
        }
        double e = __builtin_exp(x);
        *k0 = sum0 * e;
        *k1 = (1.0 / x + 0.5 * x * sum1) * e;
        return;
    }
    double b = 2.0 * (1.0 + x), d = 1.0 / b, step = d, fraction = d;
    double q_previous = 0.0, q_current = 1.0, a = -0.25, c = 0.25, q = 0.25, s = 1.0 + q * step;
    for (int i = 2; i < 1000; i++) {
        a -= 2.0 * (i - 1);
        c *= -a / i;
        double q_next = (q_previous - b * q_current) / a;
        q_previous = q_current;
        q_current = q_next;
        q += c * q_next;
        b += 2.0;
        d = 1.0 / (b + a * d);
        step *= b * d - 1.0;
        fraction += step;
        s += q * step;
        if (__builtin_fabs(q * step) < 1e-17 * __builtin_fabs(s)) break;
    }
    *k0 = __builtin_sqrt(1.57079632679489661923 / x) / s;
    *k1 = *k0 * (x + 0.5 - 0.25 * fraction) / x;
}
CASTOFF_LARGE double castoff_scaled_modified_bessel_k0_f64(double x) {
    double k0, k1;
    if (x != x || x < 0.0) return __builtin_nan("");
    if (x == 0.0 || x == __builtin_inf()) return __builtin_fabs(1.0 / x);
    castoff_scaled_bessel_k(x, &k0, &k1);
    return k0;
}
CASTOFF_LARGE double castoff_scaled_modified_bessel_k1_f64(double x) {
    double k0, k1;
    if (x != x || x < 0.0) return __builtin_nan("");
    if (x == 0.0 || x == __builtin_inf()) return __builtin_fabs(1.0 / x);
    castoff_scaled_bessel_k(x, &k0, &k1);
    return k1;
}
CASTOFF_INLINE double castoff_modified_bessel_k0_f64(double x) {
    return castoff_scaled_modified_bessel_k0_f64(x) * __builtin_exp(-x);
}
CASTOFF_INLINE double castoff_modified_bessel_k1_f64(double x) {
    return castoff_scaled_modified_bessel_k1_f64(x) * __builtin_exp(-x);
}

extern double j0(double);
extern double j1(double);
extern double y0(double);
extern double y1(double);
CASTOFF_INLINE double castoff_bessel_j0_f64(double x) { return j0(x); }
CASTOFF_INLINE double castoff_bessel_j1_f64(double x) { return j1(x); }
CASTOFF_INLINE double castoff_bessel_y0_f64(double x) {
    return x < 0.0 ? __builtin_nan("") : x == 0.0 ? -__builtin_inf() : y0(x);
}
CASTOFF_INLINE double castoff_bessel_y1_f64(double x) {
    return x < 0.0 ? __builtin_nan("") : x == 0.0 ? -__builtin_inf() : y1(x);
}
CASTOFF_INLINE double castoff_spherical_bessel_j0_f64(double x) {
    double z = x * x;
    double series = 1.0 - z / 6 * (1.0 - z / 20 * (1.0 - z / 42 * (1.0 - z / 72 * (1.0 - z / 110 * (1.0 - z / 156)))));
    return __builtin_fabs(x) == __builtin_inf() ? 0.0 : __builtin_fabs(x) < 0.5 ? series : __builtin_sin(x) / x;
}

/* Ai: its Taylor series about the nearest integer (y'' = x y gives the coefficients) within 10, the asymptotic series
 * (DLMF 9.7.5, 9.7.9) outside. */
CASTOFF_LARGE double castoff_airy_ai_f64(double x) {
    static const double node[21][2] = {/* Ai(k), Ai'(k), k = -10 .. 10 */
        {0.04024123848644319, 0.99626504413279},
        {-0.022133721547341403, -0.9756639809263316},
        {-0.0527050503563862, 0.9355609381983065},
        {0.18428083525050565, -0.7710081684101265},
        {-0.3291451736298231, 0.3459354872813429},
        {0.35076100902411433, 0.32719281855444315},
        {-0.07026553294928951, -0.7906285753685813},
        {-0.37881429367765806, 0.3145837692165988},
        {0.22740742820168558, 0.618259020741691},
        {0.5355608832923521, -0.01016056711664521},
        {0.3550280538878172, -0.2588194037928068},
        {0.13529241631288141, -0.1591474412967932},
        {0.03492413042327438, -0.05309038443365363},
        {0.006591139357460719, -0.011912976705951319},
        {0.0009515638512048018, -0.001958640950204179},
        {0.00010834442813607442, -0.0002474138908684625},
        {9.947694360252889e-06, -2.4765200397034955e-05},
        {7.492128863997167e-07, -2.008150894738792e-06},
        {4.6922076160992316e-08, -1.3414392979067865e-07},
        {2.47116843087249e-09, -7.480641389658946e-09},
        {1.1047532552898686e-10, -3.5206336767389237e-10},
    };
    if (x != x || x == __builtin_inf() || x == -__builtin_inf()) return __builtin_nan("");
    if (__builtin_fabs(x) <= 10.0) {
        int k = (int)__builtin_floor(x + 10.5);
        double center = k - 10.0, h = x - center;
        double a = 0.0, b = node[k][0], c = node[k][1], power = h;
        double sum = b + c * h;
        for (int n = 0; n < 24; n++) { /* a, b, c: coefficients n-1, n, n+1 */
            double next = (center * b + a) / ((double)(n + 1) * (n + 2));
            power *= h;
            sum += next * power;
            a = b;
            b = c;
            c = next;
        }
        return sum;
    }
    double size = __builtin_fabs(x), root = __builtin_sqrt(size), zeta = size * root * (2.0 / 3);
    double even = 0.0, odd = 0.0, alternating = 0.0, term = 1.0;
    for (int k = 0; k < 20; k++) {
        double sign = k & 2 ? -1.0 : 1.0;
        alternating += k & 1 ? -term : term;
        if (k & 1) odd += sign * term;
        else even += sign * term;
        double next = term * (6.0 * k + 5) * (6.0 * k + 3) * (6.0 * k + 1) / ((2.0 * k + 1) * 216.0 * (k + 1) * zeta);
        if (next >= term || next < 1e-17) break;
        term = next;
    }
    double scale = 0.56418958354775628695 / __builtin_sqrt(root); /* 1/sqrt(pi) */
    if (x > 0.0) return 0.5 * scale * __builtin_exp(-zeta) * alternating;
    double phase = zeta + 0.78539816339744830962;
    return scale * (__builtin_sin(phase) * even - __builtin_cos(phase) * odd);
}

CASTOFF_INLINE float castoff_i0_f32(float x) { return (float)castoff_i0_f64((double)x); }
CASTOFF_INLINE float castoff_i0e_f32(float x) { return (float)castoff_i0e_f64((double)x); }
CASTOFF_INLINE float castoff_i1_f32(float x) { return (float)castoff_i1_f64((double)x); }
CASTOFF_INLINE float castoff_i1e_f32(float x) { return (float)castoff_i1e_f64((double)x); }
CASTOFF_INLINE float castoff_modified_bessel_i0_f32(float x) { return (float)castoff_modified_bessel_i0_f64((double)x); }
CASTOFF_INLINE float castoff_modified_bessel_i1_f32(float x) { return (float)castoff_modified_bessel_i1_f64((double)x); }
CASTOFF_INLINE float castoff_modified_bessel_k0_f32(float x) { return (float)castoff_modified_bessel_k0_f64((double)x); }
CASTOFF_INLINE float castoff_modified_bessel_k1_f32(float x) { return (float)castoff_modified_bessel_k1_f64((double)x); }
CASTOFF_INLINE float castoff_scaled_modified_bessel_k0_f32(float x) { return (float)castoff_scaled_modified_bessel_k0_f64((double)x); }
CASTOFF_INLINE float castoff_scaled_modified_bessel_k1_f32(float x) { return (float)castoff_scaled_modified_bessel_k1_f64((double)x); }
CASTOFF_INLINE float castoff_bessel_j0_f32(float x) { return (float)castoff_bessel_j0_f64((double)x); }
CASTOFF_INLINE float castoff_bessel_j1_f32(float x) { return (float)castoff_bessel_j1_f64((double)x); }
CASTOFF_INLINE float castoff_bessel_y0_f32(float x) { return (float)castoff_bessel_y0_f64((double)x); }
CASTOFF_INLINE float castoff_bessel_y1_f32(float x) { return (float)castoff_bessel_y1_f64((double)x); }
CASTOFF_INLINE float castoff_spherical_bessel_j0_f32(float x) { return (float)castoff_spherical_bessel_j0_f64((double)x); }
CASTOFF_INLINE float castoff_airy_ai_f32(float x) { return (float)castoff_airy_ai_f64((double)x); }

#endif
