/* complex.h - complex arithmetic and elementary functions for castoff_c64 and castoff_c128.
 *
 * castoff_<op>_c64 and castoff_<op>_c128, with PyTorch's formulas for product and quotient. The elementary functions are
 * libm's C99 ones (their branch cuts and values at infinities, Annex G); the c64 forms round the c128 ones.
 */
#ifndef CASTOFF_COMMON_COMPLEX_H
#define CASTOFF_COMMON_COMPLEX_H

#include "types.h"

/* C's own complex type, which has the layout of the struct, and its functions; on a GPU those of libcu++. */
#if defined(__CUDACC__)
#include <cuda/std/complex>
#define CASTOFF_NATIVE_COMPLEX cuda::std::complex<double>
#define CASTOFF_NATIVE_FUNCTION(name) cuda::std::name
#else
#define CASTOFF_NATIVE_COMPLEX double _Complex
#define CASTOFF_NATIVE_FUNCTION(name) __builtin_c##name
#endif

CASTOFF_INLINE CASTOFF_NATIVE_COMPLEX castoff_to_native_c128(castoff_c128 z) {
    CASTOFF_NATIVE_COMPLEX native;
    memcpy(&native, &z, sizeof z);
    return native;
}
CASTOFF_INLINE castoff_c128 castoff_from_native_c128(CASTOFF_NATIVE_COMPLEX native) {
    castoff_c128 z;
    memcpy(&z, &native, sizeof z);
    return z;
}

/* ---- arithmetic: spelled out twice, since a target looks functions up by their names ---- */

CASTOFF_INLINE castoff_c64 castoff_add_c64(castoff_c64 a, castoff_c64 b) {
    return (castoff_c64){a.re + b.re, a.im + b.im};
}
CASTOFF_INLINE castoff_c64 castoff_sub_c64(castoff_c64 a, castoff_c64 b) {
    return (castoff_c64){a.re - b.re, a.im - b.im};
}
CASTOFF_INLINE castoff_c64 castoff_mul_c64(castoff_c64 a, castoff_c64 b) {
    return (castoff_c64){a.re * b.re - a.im * b.im, a.re * b.im + a.im * b.re};
}
/* Smith's scaled quotient (CACM 5, 1962). */
CASTOFF_INLINE castoff_c64 castoff_div_c64(castoff_c64 a, castoff_c64 b) {
    float size_re = b.re < 0 ? -b.re : b.re, size_im = b.im < 0 ? -b.im : b.im;
    if (size_re == 0 && size_im == 0) return (castoff_c64){a.re / size_re, a.im / size_im};
    if (size_re >= size_im) {
        float ratio = b.im / b.re, scale = 1.0f / (b.re + b.im * ratio);
        return (castoff_c64){(a.re + a.im * ratio) * scale, (a.im - a.re * ratio) * scale};
    }
    float ratio = b.re / b.im, scale = 1.0f / (b.re * ratio + b.im);
    return (castoff_c64){(a.re * ratio + a.im) * scale, (a.im * ratio - a.re) * scale};
}
CASTOFF_INLINE castoff_c64 castoff_neg_c64(castoff_c64 z) { return (castoff_c64){-z.re, -z.im}; }
CASTOFF_INLINE castoff_c64 castoff_conj_c64(castoff_c64 z) { return (castoff_c64){z.re, -z.im}; }
CASTOFF_INLINE castoff_c64 castoff_square_c64(castoff_c64 z) { return castoff_mul_c64(z, z); }
CASTOFF_INLINE castoff_c64 castoff_reciprocal_c64(castoff_c64 z) { return castoff_div_c64((castoff_c64){1, 0}, z); }
CASTOFF_INLINE float castoff_real_c64(castoff_c64 z) { return z.re; }
CASTOFF_INLINE float castoff_imag_c64(castoff_c64 z) { return z.im; }
CASTOFF_INLINE float castoff_abs_c64(castoff_c64 z) { return __builtin_hypotf(z.re, z.im); }
CASTOFF_INLINE float castoff_angle_c64(castoff_c64 z) { return __builtin_atan2f(z.im, z.re); }
CASTOFF_INLINE castoff_c64 castoff_sgn_c64(castoff_c64 z) {
    float size = castoff_abs_c64(z);
    return size == 0 ? (castoff_c64){0, 0} : (castoff_c64){z.re / size, z.im / size};
}
CASTOFF_INLINE castoff_b8 castoff_eq_c64(castoff_c64 a, castoff_c64 b) {
    return (castoff_b8)((a.re == b.re) & (a.im == b.im));
}
CASTOFF_INLINE castoff_b8 castoff_ne_c64(castoff_c64 a, castoff_c64 b) {
    return (castoff_b8)((a.re != b.re) | (a.im != b.im));
}
CASTOFF_INLINE castoff_b8 castoff_isnan_c64(castoff_c64 z) { return (castoff_b8)((z.re != z.re) | (z.im != z.im)); }
CASTOFF_INLINE castoff_b8 castoff_isinf_c64(castoff_c64 z) {
    float infinity = __builtin_inff();
    return (castoff_b8)((z.re == infinity) | (z.re == -infinity) | (z.im == infinity) | (z.im == -infinity));
}
CASTOFF_INLINE castoff_b8 castoff_isfinite_c64(castoff_c64 z) {
    return (castoff_b8)((z.re - z.re == 0) & (z.im - z.im == 0));
}

CASTOFF_INLINE castoff_c128 castoff_add_c128(castoff_c128 a, castoff_c128 b) {
    return (castoff_c128){a.re + b.re, a.im + b.im};
}
CASTOFF_INLINE castoff_c128 castoff_sub_c128(castoff_c128 a, castoff_c128 b) {
    return (castoff_c128){a.re - b.re, a.im - b.im};
}
CASTOFF_INLINE castoff_c128 castoff_mul_c128(castoff_c128 a, castoff_c128 b) {
    return (castoff_c128){a.re * b.re - a.im * b.im, a.re * b.im + a.im * b.re};
}
/* Smith's scaled quotient (CACM 5, 1962). */
CASTOFF_INLINE castoff_c128 castoff_div_c128(castoff_c128 a, castoff_c128 b) {
    double size_re = b.re < 0 ? -b.re : b.re, size_im = b.im < 0 ? -b.im : b.im;
    if (size_re == 0 && size_im == 0) return (castoff_c128){a.re / size_re, a.im / size_im};
    if (size_re >= size_im) {
        double ratio = b.im / b.re, scale = 1.0 / (b.re + b.im * ratio);
        return (castoff_c128){(a.re + a.im * ratio) * scale, (a.im - a.re * ratio) * scale};
    }
    double ratio = b.re / b.im, scale = 1.0 / (b.re * ratio + b.im);
    return (castoff_c128){(a.re * ratio + a.im) * scale, (a.im * ratio - a.re) * scale};
}
CASTOFF_INLINE castoff_c128 castoff_neg_c128(castoff_c128 z) { return (castoff_c128){-z.re, -z.im}; }
CASTOFF_INLINE castoff_c128 castoff_conj_c128(castoff_c128 z) { return (castoff_c128){z.re, -z.im}; }
CASTOFF_INLINE castoff_c128 castoff_square_c128(castoff_c128 z) { return castoff_mul_c128(z, z); }
CASTOFF_INLINE castoff_c128 castoff_reciprocal_c128(castoff_c128 z) {
    return castoff_div_c128((castoff_c128){1, 0}, z);
}
CASTOFF_INLINE double castoff_real_c128(castoff_c128 z) { return z.re; }
CASTOFF_INLINE double castoff_imag_c128(castoff_c128 z) { return z.im; }
CASTOFF_INLINE double castoff_abs_c128(castoff_c128 z) { return __builtin_hypot(z.re, z.im); }
CASTOFF_INLINE double castoff_angle_c128(castoff_c128 z) { return __builtin_atan2(z.im, z.re); }
CASTOFF_INLINE castoff_c128 castoff_sgn_c128(castoff_c128 z) {
    double size = castoff_abs_c128(z);
    return size == 0 ? (castoff_c128){0, 0} : (castoff_c128){z.re / size, z.im / size};
}
CASTOFF_INLINE castoff_b8 castoff_eq_c128(castoff_c128 a, castoff_c128 b) {
    return (castoff_b8)((a.re == b.re) & (a.im == b.im));
}
CASTOFF_INLINE castoff_b8 castoff_ne_c128(castoff_c128 a, castoff_c128 b) {
    return (castoff_b8)((a.re != b.re) | (a.im != b.im));
}
CASTOFF_INLINE castoff_b8 castoff_isnan_c128(castoff_c128 z) { return (castoff_b8)((z.re != z.re) | (z.im != z.im)); }
CASTOFF_INLINE castoff_b8 castoff_isinf_c128(castoff_c128 z) {
    double infinity = __builtin_inf();
    return (castoff_b8)((z.re == infinity) | (z.re == -infinity) | (z.im == infinity) | (z.im == -infinity));
}
CASTOFF_INLINE castoff_b8 castoff_isfinite_c128(castoff_c128 z) {
    return (castoff_b8)((z.re - z.re == 0) & (z.im - z.im == 0));
}

CASTOFF_INLINE castoff_c128 castoff_exp_c128(castoff_c128 z) {
    return castoff_from_native_c128(CASTOFF_NATIVE_FUNCTION(exp)(castoff_to_native_c128(z)));
}
CASTOFF_INLINE castoff_c128 castoff_log_c128(castoff_c128 z) {
    return castoff_from_native_c128(CASTOFF_NATIVE_FUNCTION(log)(castoff_to_native_c128(z)));
}
CASTOFF_INLINE castoff_c128 castoff_sqrt_c128(castoff_c128 z) {
    return castoff_from_native_c128(CASTOFF_NATIVE_FUNCTION(sqrt)(castoff_to_native_c128(z)));
}
CASTOFF_INLINE castoff_c128 castoff_sin_c128(castoff_c128 z) {
    return castoff_from_native_c128(CASTOFF_NATIVE_FUNCTION(sin)(castoff_to_native_c128(z)));
}
CASTOFF_INLINE castoff_c128 castoff_cos_c128(castoff_c128 z) {
    return castoff_from_native_c128(CASTOFF_NATIVE_FUNCTION(cos)(castoff_to_native_c128(z)));
}
CASTOFF_INLINE castoff_c128 castoff_tan_c128(castoff_c128 z) {
    return castoff_from_native_c128(CASTOFF_NATIVE_FUNCTION(tan)(castoff_to_native_c128(z)));
}
CASTOFF_INLINE castoff_c128 castoff_asin_c128(castoff_c128 z) {
    return castoff_from_native_c128(CASTOFF_NATIVE_FUNCTION(asin)(castoff_to_native_c128(z)));
}
CASTOFF_INLINE castoff_c128 castoff_acos_c128(castoff_c128 z) {
    return castoff_from_native_c128(CASTOFF_NATIVE_FUNCTION(acos)(castoff_to_native_c128(z)));
}
CASTOFF_INLINE castoff_c128 castoff_atan_c128(castoff_c128 z) {
    return castoff_from_native_c128(CASTOFF_NATIVE_FUNCTION(atan)(castoff_to_native_c128(z)));
}
CASTOFF_INLINE castoff_c128 castoff_sinh_c128(castoff_c128 z) {
    return castoff_from_native_c128(CASTOFF_NATIVE_FUNCTION(sinh)(castoff_to_native_c128(z)));
}
CASTOFF_INLINE castoff_c128 castoff_cosh_c128(castoff_c128 z) {
    return castoff_from_native_c128(CASTOFF_NATIVE_FUNCTION(cosh)(castoff_to_native_c128(z)));
}
CASTOFF_INLINE castoff_c128 castoff_tanh_c128(castoff_c128 z) {
    return castoff_from_native_c128(CASTOFF_NATIVE_FUNCTION(tanh)(castoff_to_native_c128(z)));
}
CASTOFF_INLINE castoff_c128 castoff_asinh_c128(castoff_c128 z) {
    return castoff_from_native_c128(CASTOFF_NATIVE_FUNCTION(asinh)(castoff_to_native_c128(z)));
}
CASTOFF_INLINE castoff_c128 castoff_acosh_c128(castoff_c128 z) {
    return castoff_from_native_c128(CASTOFF_NATIVE_FUNCTION(acosh)(castoff_to_native_c128(z)));
}
CASTOFF_INLINE castoff_c128 castoff_atanh_c128(castoff_c128 z) {
    return castoff_from_native_c128(CASTOFF_NATIVE_FUNCTION(atanh)(castoff_to_native_c128(z)));
}
CASTOFF_INLINE castoff_c128 castoff_rsqrt_c128(castoff_c128 z) { return castoff_reciprocal_c128(castoff_sqrt_c128(z)); }
CASTOFF_INLINE castoff_c128 castoff_log2_c128(castoff_c128 z) {
    castoff_c128 l = castoff_log_c128(z);
    return (castoff_c128){l.re * 1.4426950408889634074, l.im * 1.4426950408889634074};
}
CASTOFF_INLINE castoff_c128 castoff_log10_c128(castoff_c128 z) {
    castoff_c128 l = castoff_log_c128(z);
    return (castoff_c128){l.re * 0.43429448190325182765, l.im * 0.43429448190325182765};
}
CASTOFF_INLINE castoff_c128 castoff_exp2_c128(castoff_c128 z) {
    return castoff_exp_c128((castoff_c128){z.re * 0.69314718055994530942, z.im * 0.69314718055994530942});
}
/* exp(z) - 1 = expm1(x) cos(y) - 2 sin(y/2)^2 + i exp(x) sin(y) */
CASTOFF_LARGE castoff_c128 castoff_expm1_c128(castoff_c128 z) {
    double half_sine = __builtin_sin(0.5 * z.im);
    double re = __builtin_expm1(z.re) * __builtin_cos(z.im) - 2.0 * half_sine * half_sine;
    return (castoff_c128){re, z.im == 0.0 ? z.im : __builtin_exp(z.re) * __builtin_sin(z.im)};
}
/* |1 + z|^2 - 1 = x (2 + x) + y^2, taken where |z| is small enough for it to matter. */
CASTOFF_LARGE castoff_c128 castoff_log1p_c128(castoff_c128 z) {
    double size = __builtin_hypot(z.re, z.im);
    double re = size < 0.5 ? 0.5 * __builtin_log1p(z.re * (2.0 + z.re) + z.im * z.im)
                           : __builtin_log(__builtin_hypot(1.0 + z.re, z.im));
    return (castoff_c128){re, __builtin_atan2(z.im, 1.0 + z.re)};
}
CASTOFF_LARGE castoff_c128 castoff_pow_c128(castoff_c128 x, castoff_c128 y) {
    if (y.re == 0.0 && y.im == 0.0) return (castoff_c128){1.0, 0.0};
    if (x.re == 0.0 && x.im == 0.0 && y.re > 0.0) return (castoff_c128){0.0, 0.0};
    if (y.re == 1.0 && y.im == 0.0) return x;
    if (y.re == 2.0 && y.im == 0.0) return castoff_mul_c128(x, x);
    return castoff_exp_c128(castoff_mul_c128(y, castoff_log_c128(x)));
}
CASTOFF_INLINE castoff_c128 castoff_sigmoid_c128(castoff_c128 z) {
    castoff_c128 e = castoff_exp_c128(castoff_neg_c128(z));
    return castoff_reciprocal_c128((castoff_c128){1.0 + e.re, e.im});
}
CASTOFF_INLINE castoff_c128 castoff_silu_c128(castoff_c128 z) { return castoff_mul_c128(z, castoff_sigmoid_c128(z)); }
CASTOFF_LARGE castoff_c128 castoff_sinc_c128(castoff_c128 z) {
    castoff_c128 angle = {z.re * 3.14159265358979323846, z.im * 3.14159265358979323846};
    if (z.re == 0.0 && z.im == 0.0) return (castoff_c128){1.0, 0.0};
    return castoff_div_c128(castoff_sin_c128(angle), angle);
}
/* log(exp(a) + exp(b)), scaled by the number with the larger real part. */
CASTOFF_LARGE castoff_c128 castoff_logaddexp_c128(castoff_c128 a, castoff_c128 b) {
    castoff_c128 larger = a.re < b.re ? b : a, smaller = a.re < b.re ? a : b;
    if (larger.re - smaller.re != larger.re - smaller.re) {
        if (a.re == b.re && a.im == b.im) return a;
    }
    castoff_c128 rest = castoff_log1p_c128(castoff_exp_c128(castoff_sub_c128(smaller, larger)));
    return castoff_add_c128(larger, rest);
}
CASTOFF_INLINE castoff_c64 castoff_exp_c64(castoff_c64 z) {
    return castoff_c128_to_c64(castoff_exp_c128(castoff_c64_to_c128(z)));
}
CASTOFF_INLINE castoff_c64 castoff_log_c64(castoff_c64 z) {
    return castoff_c128_to_c64(castoff_log_c128(castoff_c64_to_c128(z)));
}
CASTOFF_INLINE castoff_c64 castoff_sqrt_c64(castoff_c64 z) {
    return castoff_c128_to_c64(castoff_sqrt_c128(castoff_c64_to_c128(z)));
}
CASTOFF_INLINE castoff_c64 castoff_sin_c64(castoff_c64 z) {
    return castoff_c128_to_c64(castoff_sin_c128(castoff_c64_to_c128(z)));
}
CASTOFF_INLINE castoff_c64 castoff_cos_c64(castoff_c64 z) {
    return castoff_c128_to_c64(castoff_cos_c128(castoff_c64_to_c128(z)));
}
CASTOFF_INLINE castoff_c64 castoff_tan_c64(castoff_c64 z) {
    return castoff_c128_to_c64(castoff_tan_c128(castoff_c64_to_c128(z)));
}
CASTOFF_INLINE castoff_c64 castoff_asin_c64(castoff_c64 z) {
    return castoff_c128_to_c64(castoff_asin_c128(castoff_c64_to_c128(z)));
}
CASTOFF_INLINE castoff_c64 castoff_acos_c64(castoff_c64 z) {
    return castoff_c128_to_c64(castoff_acos_c128(castoff_c64_to_c128(z)));
}
CASTOFF_INLINE castoff_c64 castoff_atan_c64(castoff_c64 z) {
    return castoff_c128_to_c64(castoff_atan_c128(castoff_c64_to_c128(z)));
}
CASTOFF_INLINE castoff_c64 castoff_sinh_c64(castoff_c64 z) {
    return castoff_c128_to_c64(castoff_sinh_c128(castoff_c64_to_c128(z)));
}
CASTOFF_INLINE castoff_c64 castoff_cosh_c64(castoff_c64 z) {
    return castoff_c128_to_c64(castoff_cosh_c128(castoff_c64_to_c128(z)));
}
CASTOFF_INLINE castoff_c64 castoff_tanh_c64(castoff_c64 z) {
    return castoff_c128_to_c64(castoff_tanh_c128(castoff_c64_to_c128(z)));
}
CASTOFF_INLINE castoff_c64 castoff_asinh_c64(castoff_c64 z) {
    return castoff_c128_to_c64(castoff_asinh_c128(castoff_c64_to_c128(z)));
}
CASTOFF_INLINE castoff_c64 castoff_acosh_c64(castoff_c64 z) {
    return castoff_c128_to_c64(castoff_acosh_c128(castoff_c64_to_c128(z)));
}
CASTOFF_INLINE castoff_c64 castoff_atanh_c64(castoff_c64 z) {
    return castoff_c128_to_c64(castoff_atanh_c128(castoff_c64_to_c128(z)));
}
CASTOFF_INLINE castoff_c64 castoff_rsqrt_c64(castoff_c64 z) {
    return castoff_c128_to_c64(castoff_rsqrt_c128(castoff_c64_to_c128(z)));
}
CASTOFF_INLINE castoff_c64 castoff_log2_c64(castoff_c64 z) {
    return castoff_c128_to_c64(castoff_log2_c128(castoff_c64_to_c128(z)));
}
CASTOFF_INLINE castoff_c64 castoff_log10_c64(castoff_c64 z) {
    return castoff_c128_to_c64(castoff_log10_c128(castoff_c64_to_c128(z)));
}
CASTOFF_INLINE castoff_c64 castoff_exp2_c64(castoff_c64 z) {
    return castoff_c128_to_c64(castoff_exp2_c128(castoff_c64_to_c128(z)));
}
CASTOFF_INLINE castoff_c64 castoff_expm1_c64(castoff_c64 z) {
    return castoff_c128_to_c64(castoff_expm1_c128(castoff_c64_to_c128(z)));
}
CASTOFF_INLINE castoff_c64 castoff_log1p_c64(castoff_c64 z) {
    return castoff_c128_to_c64(castoff_log1p_c128(castoff_c64_to_c128(z)));
}
CASTOFF_INLINE castoff_c64 castoff_sigmoid_c64(castoff_c64 z) {
    return castoff_c128_to_c64(castoff_sigmoid_c128(castoff_c64_to_c128(z)));
}
CASTOFF_INLINE castoff_c64 castoff_silu_c64(castoff_c64 z) {
    return castoff_c128_to_c64(castoff_silu_c128(castoff_c64_to_c128(z)));
}
CASTOFF_INLINE castoff_c64 castoff_sinc_c64(castoff_c64 z) {
    return castoff_c128_to_c64(castoff_sinc_c128(castoff_c64_to_c128(z)));
}
CASTOFF_INLINE castoff_c64 castoff_pow_c64(castoff_c64 x, castoff_c64 y) {
    return castoff_c128_to_c64(castoff_pow_c128(castoff_c64_to_c128(x), castoff_c64_to_c128(y)));
}
CASTOFF_INLINE castoff_c64 castoff_logaddexp_c64(castoff_c64 x, castoff_c64 y) {
    return castoff_c128_to_c64(castoff_logaddexp_c128(castoff_c64_to_c128(x), castoff_c64_to_c128(y)));
}

#endif
