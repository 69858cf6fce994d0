/* special_polynomial.h - orthogonal polynomials by their three-term recurrences (DLMF 18.9), in the type of x.
 *
 * castoff_<family>_polynomial_<kind>_<suffix>(x, n): the degree n is a number of x's type, cut to an integer; a negative
 * degree gives 0. Chebyshev polynomials of high degree inside the interval use their trigonometric form, and the Hermite
 * ones stop at the degree where PyTorch does (NaN beyond), so that overflow and rounding agree.
 */
#ifndef CASTOFF_COMMON_SPECIAL_POLYNOMIAL_H
#define CASTOFF_COMMON_SPECIAL_POLYNOMIAL_H

#include "types.h"

/* The cosine and sine of a multiple of acos(x), over what turns them into the polynomial of each kind. */
#define CASTOFF_CHEBYSHEV(suffix, T, m)                                                                             \
    CASTOFF_LARGE T castoff_chebyshev_recurrence_##suffix(T x, T first, int64_t n) {                                \
        if (n == 0) return (T)1;                                                                                    \
        T p = (T)1, q = first;                                                                                      \
        for (int64_t k = 2; k <= n && q == q; k++) {                                                                \
            T r = (x + x) * q - p;                                                                                  \
            p = q;                                                                                                  \
            q = r;                                                                                                  \
        }                                                                                                           \
        return q;                                                                                                   \
    }                                                                                                               \
    CASTOFF_LARGE T castoff_chebyshev_t_##suffix(T x, int64_t n, int64_t trigonometric_from) {                      \
        T size = x < 0 ? -x : x;                                                                                    \
        if (n < 0) return (T)0;                                                                                     \
        if (size == (T)1) return x > 0 || n % 2 == 0 ? (T)1 : (T)-1;                                                \
        if (n > trigonometric_from && size < (T)1) return __builtin_cos##m((T)n * __builtin_acos##m(x));            \
        return castoff_chebyshev_recurrence_##suffix(x, x, n);                                                      \
    }                                                                                                               \
    CASTOFF_LARGE T castoff_chebyshev_u_##suffix(T x, int64_t n, int64_t trigonometric_from) {                      \
        T size = x < 0 ? -x : x, count = (T)n + (T)1;                                                               \
        if (n < 0) return (T)0;                                                                                     \
        if (size == (T)1) return x > 0 || n % 2 == 0 ? count : -count;                                              \
        if (n > trigonometric_from && size < (T)1) {                                                                \
            T angle = __builtin_acos##m(x), sine = __builtin_sin##m(angle);                                         \
            if (sine != (T)0) return __builtin_sin##m(count * angle) / sine;                                        \
            return count * __builtin_cos##m(count * angle) / x;                                                     \
        }                                                                                                           \
        return castoff_chebyshev_recurrence_##suffix(x, x + x, n);                                                  \
    }                                                                                                               \
    CASTOFF_LARGE T castoff_chebyshev_v_##suffix(T x, int64_t n, int64_t trigonometric_from) {                      \
        T size = x < 0 ? -x : x, count = (T)n + (T)n + (T)1, at_left = n % 2 == 0 ? count : -count;                 \
        if (n < 0) return (T)0;                                                                                     \
        if (size == (T)1) return x > 0 ? (T)1 : at_left;                                                            \
        if (n > trigonometric_from && size < (T)1) {                                                                \
            T angle = __builtin_acos##m(x), half = angle / (T)2;                                                    \
            if (__builtin_sin##m(half) == (T)1) return at_left;                                                     \
            return __builtin_cos##m(((T)n + (T)0.5) * angle) / __builtin_cos##m(half);                              \
        }                                                                                                           \
        return castoff_chebyshev_recurrence_##suffix(x, x + x - (T)1, n);                                           \
    }                                                                                                               \
    CASTOFF_LARGE T castoff_chebyshev_w_##suffix(T x, int64_t n, int64_t trigonometric_from) {                      \
        T size = x < 0 ? -x : x, count = (T)n + (T)n + (T)1, at_left = n % 2 == 0 ? (T)1 : (T)-1;                   \
        if (n < 0) return (T)0;                                                                                     \
        if (size == (T)1) return x > 0 ? count : at_left;                                                           \
        if (n > trigonometric_from && size < (T)1) {                                                                \
            T angle = __builtin_acos##m(x), half = angle / (T)2;                                                    \
            if (__builtin_cos##m(half) == (T)1) return x > 0 ? count : at_left;                                     \
            return __builtin_sin##m(((T)n + (T)0.5) * angle) / __builtin_sin##m(half);                              \
        }                                                                                                           \
        return castoff_chebyshev_recurrence_##suffix(x, x + x + (T)1, n);                                           \
    }                                                                                                               \
    CASTOFF_INLINE T castoff_chebyshev_polynomial_t_##suffix(T x, T n) {                                            \
        return castoff_chebyshev_t_##suffix(x, castoff_##suffix##_to_i64(n), 6);                                    \
    }                                                                                                               \
    CASTOFF_INLINE T castoff_chebyshev_polynomial_u_##suffix(T x, T n) {                                            \
        return castoff_chebyshev_u_##suffix(x, castoff_##suffix##_to_i64(n), 8);                                    \
    }                                                                                                               \
    CASTOFF_INLINE T castoff_chebyshev_polynomial_v_##suffix(T x, T n) {                                            \
        return castoff_chebyshev_v_##suffix(x, castoff_##suffix##_to_i64(n), 8);                                    \
    }                                                                                                               \
    CASTOFF_INLINE T castoff_chebyshev_polynomial_w_##suffix(T x, T n) {                                            \
        return castoff_chebyshev_w_##suffix(x, castoff_##suffix##_to_i64(n), 8);                                    \
    }                                                                                                               \
    CASTOFF_INLINE T castoff_shifted_chebyshev_polynomial_t_##suffix(T x, T n) {                                    \
        return castoff_chebyshev_t_##suffix(x + x - (T)1, castoff_##suffix##_to_i64(n), 6);                         \
    }                                                                                                               \
    CASTOFF_INLINE T castoff_shifted_chebyshev_polynomial_u_##suffix(T x, T n) {                                    \
        return castoff_chebyshev_u_##suffix(x + x - (T)1, castoff_##suffix##_to_i64(n), 6);                         \
    }                                                                                                               \
    CASTOFF_INLINE T castoff_shifted_chebyshev_polynomial_v_##suffix(T x, T n) {                                    \
        return castoff_chebyshev_v_##suffix(x + x - (T)1, castoff_##suffix##_to_i64(n), 6);                         \
    }                                                                                                               \
    CASTOFF_INLINE T castoff_shifted_chebyshev_polynomial_w_##suffix(T x, T n) {                                    \
        return castoff_chebyshev_w_##suffix(x + x - (T)1, castoff_##suffix##_to_i64(n), 6);                         \
    }

#define CASTOFF_POLYNOMIALS(suffix, T, hermite_limit)                                                               \
    CASTOFF_LARGE T castoff_hermite_polynomial_h_##suffix(T x, T degree) {                                          \
        int64_t n = castoff_##suffix##_to_i64(degree);                                                              \
        if (n < 0) return (T)0;                                                                                     \
        if (n == 0) return (T)1;                                                                                    \
        if (n > hermite_limit) return (T)__builtin_nan("");                                                         \
        T p = (T)1, q = x + x;                                                                                      \
        for (int64_t k = 2; k < n + n; k += 2) {                                                                    \
            T r = (x + x) * q - (T)k * p;                                                                           \
            p = q;                                                                                                  \
            q = r;                                                                                                  \
        }                                                                                                           \
        return q;                                                                                                   \
    }                                                                                                               \
    CASTOFF_LARGE T castoff_hermite_polynomial_he_##suffix(T x, T degree) {                                         \
        int64_t n = castoff_##suffix##_to_i64(degree);                                                              \
        if (n < 0) return (T)0;                                                                                     \
        if (n == 0) return (T)1;                                                                                    \
        if (n > hermite_limit) return (T)__builtin_nan("");                                                         \
        T p = (T)1, q = x;                                                                                          \
        for (int64_t k = 1; k < n; k++) {                                                                           \
            T r = x * q - (T)k * p;                                                                                 \
            p = q;                                                                                                  \
            q = r;                                                                                                  \
        }                                                                                                           \
        return q;                                                                                                   \
    }                                                                                                               \
    CASTOFF_LARGE T castoff_laguerre_polynomial_l_##suffix(T x, T degree) {                                         \
        int64_t n = castoff_##suffix##_to_i64(degree);                                                              \
        if (n < 0) return (T)0;                                                                                     \
        if (n == 0 || x == (T)0) return (T)1;                                                                       \
        T p = (T)1, q = (T)1 - x;                                                                                   \
        for (int64_t k = 1; k < n && q == q; k++) {                                                                 \
            T r = (((T)(k + k) + ((T)1 - x)) * q - (T)k * p) / (T)(k + 1);                                          \
            p = q;                                                                                                  \
            q = r;                                                                                                  \
        }                                                                                                           \
        return q;                                                                                                   \
    }                                                                                                               \
    CASTOFF_LARGE T castoff_legendre_polynomial_p_##suffix(T x, T degree) {                                         \
        int64_t n = castoff_##suffix##_to_i64(degree);                                                              \
        if (n < 0) return (T)0;                                                                                     \
        if (x == (T)1 || x == (T)-1) return x > 0 || n % 2 == 0 ? (T)1 : (T)-1;                                     \
        if (n == 0) return (T)1;                                                                                    \
        T p = (T)1, q = x;                                                                                          \
        for (int64_t k = 1; k < n && q == q; k++) {                                                                 \
            T r = ((T)(k + k + 1) * x * q - (T)k * p) / (T)(k + 1);                                                 \
            p = q;                                                                                                  \
            q = r;                                                                                                  \
        }                                                                                                           \
        return q;                                                                                                   \
    }

CASTOFF_CHEBYSHEV(f32, float, f)
CASTOFF_CHEBYSHEV(f64, double, )
CASTOFF_POLYNOMIALS(f32, float, 128)
CASTOFF_POLYNOMIALS(f64, double, 512)

#undef CASTOFF_CHEBYSHEV
#undef CASTOFF_POLYNOMIALS

#endif
