/* special_normal.h - the normal distribution and the error function's kin: erfcx, erfinv, ndtr, ndtri, log_ndtr. */
#ifndef CASTOFF_COMMON_SPECIAL_NORMAL_H
#define CASTOFF_COMMON_SPECIAL_NORMAL_H

#include "types.h"

/* exp(x^2) erfc(x) = P((x - 2)/(x + 2)) / (1 + 2x) for x >= 0 (Shepherd & Laframboise, Math. Comp. 36, 1981), with
 * coefficients interpolated at Chebyshev nodes in 40 digits. */
CASTOFF_LARGE double castoff_erfcx_f64(double x) {
    static const double coefficient[29] = {
        1.2769783815525286, -0.09276382658574592, -0.16603039761528934, 0.16405128003343042,
        -0.05422000099204235, -0.008034015081975283, 0.008722653875874661, 0.0012713389581100456,
        -0.0014568139491262834, -0.0004543407562814993, 0.00020636722448383408, 0.00015103874232474986,
        -1.5098923716599938e-06, -3.642169933727888e-05, -1.3492685520880125e-05, 3.706491606172937e-06,
        5.222670475654124e-06, 1.5114425670785466e-06, -6.905564375968931e-07, -8.437162608286793e-07,
        -2.743096274389956e-07, 1.441888281774543e-07, 1.7789335597515508e-07, 2.6121302389807338e-08,
        -4.4167724049739184e-08, -1.7168740946971525e-08, 4.46144188292224e-09, 2.5779290187405003e-09,
        3.7735156594839207e-11};
    if (x < 0.0) {
        if (x < -26.7) return __builtin_inf();
        return 2.0 * __builtin_exp(x * x) - castoff_erfcx_f64(-x);
    }
    if (x == __builtin_inf()) return 0.0;
    double t = (x - 2.0) / (x + 2.0), p = coefficient[28];
    for (int k = 27; k >= 0; k--) p = p * t + coefficient[k];
    return p / (1.0 + 2.0 * x);
}

/* y with erfc(y) = q for 0 < q <= 1: Winitzki's estimate, then Halley's iteration. */
CASTOFF_LARGE double castoff_erfcinv_internal(double q) {
    double l = __builtin_log(q * (2.0 - q)), t = 4.330746750799873 + 0.5 * l;
    double y = q == 1.0 ? 0.0 : __builtin_sqrt(__builtin_sqrt(t * t - l / 0.147) - t);
    for (int k = 0; k < 6; k++) {
        double error = q - __builtin_erfc(y);
        double u = error * 0.88622692545275801365 * __builtin_exp(y * y); /* sqrt(pi)/2 */
        double step = u / (1.0 - y * u);
        if (q < 1e-3) step = __builtin_log(q / __builtin_erfc(y)) / (2.0 * y + 1.0 / y); /* far out, on the logarithm */
        y -= step;
        if (__builtin_fabs(step) < 1e-16 * y) break;
    }
    return y;
}
CASTOFF_LARGE double castoff_erfinv_f64(double x) {
    double a = __builtin_fabs(x);
    if (!(a <= 1.0)) return __builtin_nan("");
    if (a == 1.0) return __builtin_copysign(__builtin_inf(), x);
    if (a > 0.5) return __builtin_copysign(castoff_erfcinv_internal(1.0 - a), x);
    double z = x * x;
    double y = x * 0.88622692545275801365 * (1.0 + z * (0.2617993877991494 + z * (0.14393173084921979 + z * 0.0976636195)));
    for (int k = 0; k < 3; k++) {
        double u = (__builtin_erf(y) - x) * 0.88622692545275801365 * __builtin_exp(y * y);
        y -= u / (1.0 + y * u);
    }
    return y;
}

CASTOFF_INLINE double castoff_ndtr_f64(double x) { return 0.5 * __builtin_erfc(x * -0.70710678118654752440); }
CASTOFF_LARGE double castoff_ndtri_f64(double p) {
    if (!(p >= 0.0 && p <= 1.0)) return __builtin_nan("");
    if (p == 0.0 || p == 1.0) return p == 0.0 ? -__builtin_inf() : __builtin_inf();
    double tail = p <= 0.5 ? p : 1.0 - p;
    double x = 1.41421356237309504880 * castoff_erfcinv_internal(2.0 * tail);
    return p <= 0.5 ? -x : x;
}
CASTOFF_LARGE double castoff_log_ndtr_f64(double x) {
    double t = x * 0.70710678118654752440;
    if (x < -1.0) return __builtin_log(0.5 * castoff_erfcx_f64(-t)) - t * t;
    return __builtin_log1p(-0.5 * __builtin_erfc(t));
}

CASTOFF_INLINE float castoff_erfcx_f32(float x) { return (float)castoff_erfcx_f64((double)x); }
CASTOFF_INLINE float castoff_ndtri_f32(float p) { return (float)castoff_ndtri_f64((double)p); }
CASTOFF_INLINE float castoff_log_ndtr_f32(float x) { return (float)castoff_log_ndtr_f64((double)x); }

#endif
