/* special.h - the special functions: all of special_*.h, and the small ones made of a logarithm. */
#ifndef CASTOFF_COMMON_SPECIAL_H
#define CASTOFF_COMMON_SPECIAL_H

#include "special_bessel.h"
#include "special_gamma.h"
#include "special_normal.h"
#include "special_polynomial.h"

CASTOFF_INLINE double castoff_entr_f64(double x) {
    double inside = x == 0.0 ? 0.0 : -x * __builtin_log(x);
    return x < 0.0 ? -__builtin_inf() : inside;
}
/* x log(y), 0 where x is 0 and y is a number. */
CASTOFF_INLINE double castoff_xlogy_f64(double x, double y) {
    double product = x * __builtin_log(y);
    return y != y ? y : x == 0.0 ? 0.0 : product;
}
CASTOFF_INLINE double castoff_xlog1py_f64(double x, double y) {
    double product = x * __builtin_log1p(y);
    return y != y ? y : x == 0.0 ? 0.0 : product;
}
/* log(x / (1 - x)), x first clamped to [eps, 1 - eps] if eps >= 0. */
CASTOFF_INLINE double castoff_logit_f64(double x, double eps) {
    double low = x < eps ? eps : x, clamped = low > 1.0 - eps ? 1.0 - eps : low;
    double z = eps < 0.0 ? x : clamped;
    return __builtin_log(z / (1.0 - z));
}
CASTOFF_INLINE float castoff_entr_f32(float x) { return (float)castoff_entr_f64((double)x); }
CASTOFF_INLINE float castoff_xlogy_f32(float x, float y) { return (float)castoff_xlogy_f64((double)x, (double)y); }
CASTOFF_INLINE float castoff_xlog1py_f32(float x, float y) { return (float)castoff_xlog1py_f64((double)x, (double)y); }
/* The clamp is float's, as in PyTorch: 1 - eps is rounded. */
CASTOFF_INLINE float castoff_logit_f32(float x, float eps) {
    float low = x < eps ? eps : x, clamped = low > 1.0f - eps ? 1.0f - eps : low;
    double z = (double)(eps < 0.0f ? x : clamped);
    return (float)__builtin_log(z / (1.0 - z));
}

#endif
