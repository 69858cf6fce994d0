/* integer.h - integer arithmetic with PyTorch's meaning, for i8 i16 i32 i64 u8 u16 u32 u64.
 *
 * castoff_<op>_<suffix>. Sums and products wrap (they go through unsigned arithmetic). Dividing by zero, which
 * PyTorch refuses, gives 0 here: the caller reports it; the most negative number divided by -1 wraps.
 */
#ifndef CASTOFF_COMMON_INTEGER_H
#define CASTOFF_COMMON_INTEGER_H

#include "types.h"

/* T the type, U an unsigned type at least as wide as unsigned int and T, BITS the width of T. */
#define CASTOFF_INTEGER_ANY(suffix, T, U, BITS)                                                                     \
    CASTOFF_INLINE T castoff_add_##suffix(T a, T b) { return (T)((U)a + (U)b); }                                    \
    CASTOFF_INLINE T castoff_sub_##suffix(T a, T b) { return (T)((U)a - (U)b); }                                    \
    CASTOFF_INLINE T castoff_mul_##suffix(T a, T b) { return (T)((U)a * (U)b); }                                    \
    CASTOFF_INLINE T castoff_neg_##suffix(T a) { return (T)((U)0 - (U)a); }                                         \
    CASTOFF_INLINE T castoff_sgn_##suffix(T a) { return castoff_sign_##suffix(a); }                                 \
    CASTOFF_INLINE T castoff_square_##suffix(T a) { return (T)((U)a * (U)a); }                                      \
    CASTOFF_INLINE T castoff_maximum_##suffix(T a, T b) { return a > b ? a : b; }                                   \
    CASTOFF_INLINE T castoff_minimum_##suffix(T a, T b) { return a < b ? a : b; }                                   \
    CASTOFF_INLINE T castoff_fmax_##suffix(T a, T b) { return a > b ? a : b; }                                      \
    CASTOFF_INLINE T castoff_fmin_##suffix(T a, T b) { return a < b ? a : b; }                                      \
    CASTOFF_INLINE T castoff_bitwise_and_##suffix(T a, T b) { return (T)(a & b); }                                  \
    CASTOFF_INLINE T castoff_bitwise_or_##suffix(T a, T b) { return (T)(a | b); }                                   \
    CASTOFF_INLINE T castoff_bitwise_xor_##suffix(T a, T b) { return (T)(a ^ b); }                                  \
    CASTOFF_INLINE T castoff_bitwise_not_##suffix(T a) { return (T)~a; }                                            \
    /* A count below zero or past the width shifts everything out. */                                               \
    CASTOFF_INLINE T castoff_bitwise_left_shift_##suffix(T a, T b) {                                                \
        int is_inside = (uint64_t)b < (uint64_t)BITS;                                                               \
        return is_inside ? (T)((U)a << (is_inside ? b : 0)) : (T)0;                                                 \
    }                                                                                                               \
    CASTOFF_LARGE T castoff_pow_##suffix(T base, T exponent) {                                                      \
        if ((T)-1 < (T)1 && exponent < (T)1 && exponent != (T)0) { /* negative */                                   \
            if (base == (T)1) return (T)1;                                                                          \
            if (base == (T)-1) return exponent % 2 ? (T)-1 : (T)1;                                                  \
            return (T)0;                                                                                            \
        }                                                                                                           \
        U result = 1, square = (U)base;                                                                             \
        for (uint64_t rest = (uint64_t)exponent; rest; rest >>= 1) {                                                \
            if (rest & 1) result *= square;                                                                         \
            square *= square;                                                                                       \
        }                                                                                                           \
        return (T)result;                                                                                           \
    }                                                                                                               \
    CASTOFF_LARGE T castoff_gcd_##suffix(T a, T b) {                                                                \
        a = castoff_abs_##suffix(a);                                                                                \
        b = castoff_abs_##suffix(b);                                                                                \
        while (a != 0) {                                                                                            \
            T rest = castoff_fmod_##suffix(b, a);                                                                   \
            b = a;                                                                                                  \
            a = rest;                                                                                               \
        }                                                                                                           \
        return b;                                                                                                   \
    }                                                                                                               \
    CASTOFF_LARGE T castoff_lcm_##suffix(T a, T b) {                                                                \
        T divisor = castoff_gcd_##suffix(a, b);                                                                     \
        return divisor == 0 ? (T)0                                                                                  \
                            : castoff_abs_##suffix(castoff_mul_##suffix(castoff_trunc_divide_##suffix(a, divisor), b)); \
    }

#define CASTOFF_INTEGER_SIGNED(suffix, T, U, BITS)                                                                  \
    CASTOFF_INLINE T castoff_abs_##suffix(T a) { return (T)(a < 0 ? (U)0 - (U)a : (U)a); }                          \
    CASTOFF_INLINE T castoff_sign_##suffix(T a) { return (T)((a > 0) - (a < 0)); }                                  \
    CASTOFF_INLINE castoff_b8 castoff_signbit_##suffix(T a) { return (castoff_b8)(a < 0); }                         \
    CASTOFF_INLINE T castoff_trunc_divide_##suffix(T a, T b) {                                                      \
        return b == 0 ? (T)0 : b == -1 ? (T)((U)0 - (U)a) : (T)(a / b);                                             \
    }                                                                                                               \
    CASTOFF_INLINE T castoff_fmod_##suffix(T a, T b) { return b == 0 || b == -1 ? (T)0 : (T)(a % b); }              \
    CASTOFF_INLINE T castoff_remainder_##suffix(T a, T b) {                                                         \
        T rest = castoff_fmod_##suffix(a, b);                                                                       \
        return rest != 0 && (rest < 0) != (b < 0) ? (T)(rest + b) : rest;                                           \
    }                                                                                                               \
    CASTOFF_INLINE T castoff_floor_divide_##suffix(T a, T b) {                                                      \
        T quotient = castoff_trunc_divide_##suffix(a, b), rest = castoff_fmod_##suffix(a, b);                       \
        return rest != 0 && (rest < 0) != (b < 0) ? (T)(quotient - 1) : quotient;                                   \
    }                                                                                                               \
    CASTOFF_INLINE T castoff_bitwise_right_shift_##suffix(T a, T b) {                                               \
        int is_inside = (uint64_t)b < (uint64_t)(BITS - 1);                                                         \
        return (T)(a >> (is_inside ? b : (T)(BITS - 1)));                                                           \
    }                                                                                                               \
    CASTOFF_INTEGER_ANY(suffix, T, U, BITS)

#define CASTOFF_INTEGER_UNSIGNED(suffix, T, U, BITS)                                                                \
    CASTOFF_INLINE T castoff_abs_##suffix(T a) { return a; }                                                        \
    CASTOFF_INLINE T castoff_sign_##suffix(T a) { return (T)(a != 0); }                                             \
    CASTOFF_INLINE castoff_b8 castoff_signbit_##suffix(T a) { return (castoff_b8)(a & 0); }                         \
    CASTOFF_INLINE T castoff_trunc_divide_##suffix(T a, T b) { return b == 0 ? (T)0 : (T)(a / b); }                 \
    CASTOFF_INLINE T castoff_fmod_##suffix(T a, T b) { return b == 0 ? (T)0 : (T)(a % b); }                         \
    CASTOFF_INLINE T castoff_remainder_##suffix(T a, T b) { return castoff_fmod_##suffix(a, b); }                   \
    CASTOFF_INLINE T castoff_floor_divide_##suffix(T a, T b) { return castoff_trunc_divide_##suffix(a, b); }        \
    CASTOFF_INLINE T castoff_bitwise_right_shift_##suffix(T a, T b) {                                               \
        int is_inside = (uint64_t)b < (uint64_t)BITS;                                                               \
        return is_inside ? (T)(a >> (is_inside ? b : 0)) : (T)0;                                                    \
    }                                                                                                               \
    CASTOFF_INTEGER_ANY(suffix, T, U, BITS)

CASTOFF_INTEGER_SIGNED(i8, int8_t, uint32_t, 8)
CASTOFF_INTEGER_SIGNED(i16, int16_t, uint32_t, 16)
CASTOFF_INTEGER_SIGNED(i32, int32_t, uint32_t, 32)
CASTOFF_INTEGER_SIGNED(i64, int64_t, uint64_t, 64)
CASTOFF_INTEGER_UNSIGNED(u8, uint8_t, uint32_t, 8)
CASTOFF_INTEGER_UNSIGNED(u16, uint16_t, uint32_t, 16)
CASTOFF_INTEGER_UNSIGNED(u32, uint32_t, uint32_t, 32)
CASTOFF_INTEGER_UNSIGNED(u64, uint64_t, uint64_t, 64)

#undef CASTOFF_INTEGER_ANY
#undef CASTOFF_INTEGER_SIGNED
#undef CASTOFF_INTEGER_UNSIGNED

#endif
