/* distributions.h - one draw of a distribution, from a key of 64 random bits: gamma, Poisson, binomial.
 *
 * What a draw rejects it draws again, from the stream of numbers that its key stands for, so that results depend on
 * nothing but key and parameters. A NaN parameter gives NaN.
 *
 *   castoff_standard_gamma_f64(key, alpha)   Marsaglia and Tsang, ACM TOMS 26, 2000
 *   castoff_poisson_f64(key, rate)           products of uniforms; from 10 on PTRS, Hoermann, Insurance: Math. Econ. 12, 1993
 *   castoff_binomial_f64(key, count, p)      sums of geometric draws; from 10 on BTRS, Hoermann, J. Stat. Comput. Sim. 46, 1993
 */
#ifndef CASTOFF_COMMON_DISTRIBUTIONS_H
#define CASTOFF_COMMON_DISTRIBUTIONS_H

#include "random.h"
#include "special_gamma.h"

typedef struct {
    uint64_t key, drawn;
} castoff_draws;

/* Uniform on (0, 1]. */
CASTOFF_INLINE double castoff_draw_uniform(castoff_draws *draws) {
    return 1.0 - castoff_uniform_f64(draws->key, 0, draws->drawn++);
}

CASTOFF_LARGE double castoff_standard_gamma_f64(uint64_t key, double alpha) {
    castoff_draws draws = {key, 0};
    double scale = 1.0;
    if (!(alpha > 0.0)) return alpha == 0.0 ? 0.0 : __builtin_nan("");
    if (__builtin_isinf(alpha)) return alpha;
    if (alpha < 1.0) {
        scale = __builtin_pow(castoff_draw_uniform(&draws), 1.0 / alpha);
        alpha += 1.0;
    }
    const double d = alpha - 1.0 / 3.0, c = 1.0 / __builtin_sqrt(9.0 * d);
    for (;;) {
        double x = castoff_normal_f64(draws.key, 1, draws.drawn++), y = 1.0 + c * x;
        if (!(y > 0.0)) continue;
        double v = y * y * y, u = castoff_draw_uniform(&draws);
        if (__builtin_log(u) < 0.5 * x * x + d * (1.0 - v + __builtin_log(v))) return scale * d * v;
    }
}

CASTOFF_LARGE double castoff_poisson_f64(uint64_t key, double rate) {
    castoff_draws draws = {key, 0};
    if (!(rate > 0.0)) return rate == 0.0 ? 0.0 : __builtin_nan("");
    if (__builtin_isinf(rate)) return rate;
    if (rate < 10.0) {
        const double least = __builtin_exp(-rate);
        double count = 0.0, product = castoff_draw_uniform(&draws);
        for (; product > least; count++) product *= castoff_draw_uniform(&draws);
        return count;
    }
    const double root = __builtin_sqrt(rate), b = 0.931 + 2.53 * root, a = -0.059 + 0.02483 * b;
    const double inverse = 1.1239 + 1.1328 / (b - 3.4), squeeze = 0.9277 - 3.6224 / (b - 2.0);
    for (;;) {
        double u = castoff_draw_uniform(&draws) - 0.5, v = castoff_draw_uniform(&draws);
        double us = 0.5 - __builtin_fabs(u), k = __builtin_floor((2.0 * a / us + b) * u + rate + 0.43);
        if (us >= 0.07 && v <= squeeze) return k;
        if (k < 0.0 || (us < 0.013 && v > us)) continue;
        double left = __builtin_log(v) + __builtin_log(inverse) - __builtin_log(a / (us * us) + b);
        if (left <= k * __builtin_log(rate) - rate - castoff_lgamma_f64(k + 1.0)) return k;
    }
}

/* For p of at most one half. */
CASTOFF_LARGE double castoff_binomial_half(uint64_t key, double count, double p) {
    castoff_draws draws = {key, 0};
    const double q = 1.0 - p;
    if (count * p < 10.0) {
        const double logarithm = __builtin_log1p(-p);
        double found = -1.0, place = 0.0;
        for (; place <= count; found++) place += __builtin_ceil(__builtin_log(castoff_draw_uniform(&draws)) / logarithm);
        return found;
    }
    const double spread = __builtin_sqrt(count * p * q), b = 1.15 + 2.53 * spread;
    const double a = -0.0873 + 0.0248 * b + 0.01 * p, c = count * p + 0.5, squeeze = 0.92 - 4.2 / b;
    const double alpha = (2.83 + 5.1 / b) * spread, mode = __builtin_floor((count + 1.0) * p);
    for (;;) {
        double u = castoff_draw_uniform(&draws) - 0.5, v = castoff_draw_uniform(&draws);
        double us = 0.5 - __builtin_fabs(u), k = __builtin_floor((2.0 * a / us + b) * u + c);
        if (us >= 0.07 && v <= squeeze) return k;
        if (k < 0.0 || k > count) continue;
        double left = __builtin_log(v * alpha / (a / (us * us) + b));
        double right = (k - mode) * __builtin_log(p / q) + castoff_lgamma_f64(mode + 1.0) - castoff_lgamma_f64(k + 1.0)
                       + castoff_lgamma_f64(count - mode + 1.0) - castoff_lgamma_f64(count - k + 1.0);
        if (left <= right) return k;
    }
}

CASTOFF_LARGE double castoff_binomial_f64(uint64_t key, double count, double p) {
    if (count != count || p != p) return __builtin_nan("");
    if (count <= 0.0 || p <= 0.0) return 0.0;
    if (p >= 1.0 || __builtin_isinf(count)) return count;
    return p <= 0.5 ? castoff_binomial_half(key, count, p) : count - castoff_binomial_half(key, count, 1.0 - p);
}

#endif
