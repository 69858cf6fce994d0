/* simd.h - native vectors of float and double, by compiler vector extensions, for any target.
 *
 * One unit is compiled once per CPU level; the width follows the level's flags: 64 bytes with AVX-512, 32 with
 * AVX2 and FMA, 16 elsewhere. No intrinsic header is included (immintrin.h alone costs a quarter of a second).
 * castoff_fma_* is one fused instruction wherever the level has one, whatever -ffp-contract says.
 * The _u types may be loaded from and stored to any address that is aligned for the element.
 */
#ifndef CASTOFF_CPU_SIMD_H
#define CASTOFF_CPU_SIMD_H

#include <stdint.h>
#include <string.h>

#if defined(__AVX512F__)
#define CASTOFF_VECTOR_BYTES 64
#elif defined(__AVX2__) && defined(__FMA__)
#define CASTOFF_VECTOR_BYTES 32
#else
#define CASTOFF_VECTOR_BYTES 16
#endif

#define CASTOFF_UNUSED __attribute__((unused))
#define CASTOFF_INLINE static inline __attribute__((always_inline, unused))
#define CASTOFF_NOINLINE static __attribute__((noinline, unused))

#if defined(__clang__)
#define CASTOFF_UNROLL _Pragma("clang loop unroll(full)")
#define CASTOFF_NO_UNROLL _Pragma("clang loop unroll(disable)")
#else
#define CASTOFF_UNROLL _Pragma("GCC unroll 32")
#define CASTOFF_NO_UNROLL _Pragma("GCC unroll 1")
#endif

#ifndef __has_builtin
#define __has_builtin(x) 0
#endif

#define CASTOFF_VF32_LANES (CASTOFF_VECTOR_BYTES / 4)
#define CASTOFF_VF64_LANES (CASTOFF_VECTOR_BYTES / 8)

typedef float castoff_vf32 __attribute__((vector_size(CASTOFF_VECTOR_BYTES), may_alias));
typedef float castoff_vf32_u __attribute__((vector_size(CASTOFF_VECTOR_BYTES), aligned(4), may_alias));
typedef int32_t castoff_vi32 __attribute__((vector_size(CASTOFF_VECTOR_BYTES), may_alias));
typedef uint32_t castoff_vu32 __attribute__((vector_size(CASTOFF_VECTOR_BYTES), may_alias));
typedef uint16_t castoff_vu16 __attribute__((vector_size(CASTOFF_VECTOR_BYTES / 2), may_alias));
typedef uint16_t castoff_vu16_u __attribute__((vector_size(CASTOFF_VECTOR_BYTES / 2), aligned(2), may_alias));
typedef double castoff_vf64 __attribute__((vector_size(CASTOFF_VECTOR_BYTES), may_alias));
typedef double castoff_vf64_u __attribute__((vector_size(CASTOFF_VECTOR_BYTES), aligned(8), may_alias));
typedef int64_t castoff_vi64 __attribute__((vector_size(CASTOFF_VECTOR_BYTES), may_alias));

typedef float castoff_f32x4 __attribute__((vector_size(16), may_alias));
typedef float castoff_f32x4_u __attribute__((vector_size(16), aligned(4), may_alias));

CASTOFF_INLINE castoff_vf32 castoff_load_f32(const float *p) { return *(const castoff_vf32_u *)p; }
CASTOFF_INLINE void castoff_store_f32(float *p, castoff_vf32 v) { *(castoff_vf32_u *)p = v; }
CASTOFF_INLINE castoff_vf64 castoff_load_f64(const double *p) { return *(const castoff_vf64_u *)p; }
CASTOFF_INLINE void castoff_store_f64(double *p, castoff_vf64 v) { *(castoff_vf64_u *)p = v; }

CASTOFF_INLINE castoff_vf32 castoff_splat_f32(float x) {
#if CASTOFF_VECTOR_BYTES == 64
    return (castoff_vf32){x, x, x, x, x, x, x, x, x, x, x, x, x, x, x, x};
#elif CASTOFF_VECTOR_BYTES == 32
    return (castoff_vf32){x, x, x, x, x, x, x, x};
#else
    return (castoff_vf32){x, x, x, x};
#endif
}

CASTOFF_INLINE castoff_vf64 castoff_splat_f64(double x) {
#if CASTOFF_VECTOR_BYTES == 64
    return (castoff_vf64){x, x, x, x, x, x, x, x};
#elif CASTOFF_VECTOR_BYTES == 32
    return (castoff_vf64){x, x, x, x};
#else
    return (castoff_vf64){x, x};
#endif
}

CASTOFF_INLINE castoff_vf32 castoff_fma_f32(castoff_vf32 a, castoff_vf32 b, castoff_vf32 c) {
#if defined(__clang__) && __has_builtin(__builtin_elementwise_fma)
    return __builtin_elementwise_fma(a, b, c);
#elif !defined(__clang__) && CASTOFF_VECTOR_BYTES == 64
    return __builtin_ia32_vfmaddps512_mask(a, b, c, (unsigned short)0xffff, 4);
#elif !defined(__clang__) && CASTOFF_VECTOR_BYTES == 32
    return __builtin_ia32_vfmaddps256(a, b, c);
#else
    return a * b + c;
#endif
}

CASTOFF_INLINE castoff_vf64 castoff_fma_f64(castoff_vf64 a, castoff_vf64 b, castoff_vf64 c) {
#if defined(__clang__) && __has_builtin(__builtin_elementwise_fma)
    return __builtin_elementwise_fma(a, b, c);
#elif !defined(__clang__) && CASTOFF_VECTOR_BYTES == 64
    return __builtin_ia32_vfmaddpd512_mask(a, b, c, (unsigned char)0xff, 4);
#elif !defined(__clang__) && CASTOFF_VECTOR_BYTES == 32
    return __builtin_ia32_vfmaddpd256(a, b, c);
#else
    return a * b + c;
#endif
}

/* The first `count` lanes of v to p; nothing past them is touched. */
CASTOFF_INLINE void castoff_store_some_f32(float *p, castoff_vf32 v, int64_t count) {
#if CASTOFF_VECTOR_BYTES == 64
    __builtin_ia32_storeups512_mask((void *)p, v, (unsigned short)((1u << count) - 1));
#else
    for (int64_t i = 0; i < count; i++) p[i] = v[i];
#endif
}

CASTOFF_INLINE void castoff_store_some_f64(double *p, castoff_vf64 v, int64_t count) {
    for (int64_t i = 0; i < count; i++) p[i] = v[i];
}

/* max(x, 0) that lets NaN through. */
CASTOFF_INLINE castoff_vf32 castoff_relu_f32(castoff_vf32 x) {
    return (castoff_vf32)((castoff_vi32)x & ~(castoff_vi32)(x < castoff_splat_f32(0)));
}
CASTOFF_INLINE castoff_vf64 castoff_relu_f64(castoff_vf64 x) {
    return (castoff_vf64)((castoff_vi64)x & ~(castoff_vi64)(x < castoff_splat_f64(0)));
}

/* The larger, or b where either is NaN. */
CASTOFF_INLINE castoff_vf32 castoff_max_f32(castoff_vf32 a, castoff_vf32 b) {
#if !defined(__clang__) && CASTOFF_VECTOR_BYTES == 64
    return __builtin_ia32_maxps512_mask(a, b, a, (unsigned short)0xffff, 4);
#elif !defined(__clang__) && CASTOFF_VECTOR_BYTES == 32
    return __builtin_ia32_maxps256(a, b);
#elif !defined(__clang__) && defined(__SSE2__)
    return __builtin_ia32_maxps(a, b);
#else
    const castoff_vi32 larger = (castoff_vi32)(a > b);
    return (castoff_vf32)(((castoff_vi32)a & larger) | ((castoff_vi32)b & ~larger));
#endif
}

CASTOFF_INLINE castoff_vf64 castoff_max_f64(castoff_vf64 a, castoff_vf64 b) {
    const castoff_vi64 larger = (castoff_vi64)(a > b);
    return (castoff_vf64)(((castoff_vi64)a & larger) | ((castoff_vi64)b & ~larger));
}

/* The smaller, or b where either is NaN. */
CASTOFF_INLINE castoff_vf32 castoff_min_f32(castoff_vf32 a, castoff_vf32 b) {
#if !defined(__clang__) && CASTOFF_VECTOR_BYTES == 64
    return __builtin_ia32_minps512_mask(a, b, a, (unsigned short)0xffff, 4);
#elif !defined(__clang__) && CASTOFF_VECTOR_BYTES == 32
    return __builtin_ia32_minps256(a, b);
#elif !defined(__clang__) && defined(__SSE2__)
    return __builtin_ia32_minps(a, b);
#else
    const castoff_vi32 smaller = (castoff_vi32)(a < b);
    return (castoff_vf32)(((castoff_vi32)a & smaller) | ((castoff_vi32)b & ~smaller));
#endif
}

CASTOFF_INLINE castoff_vf64 castoff_min_f64(castoff_vf64 a, castoff_vf64 b) {
    const castoff_vi64 smaller = (castoff_vi64)(a < b);
    return (castoff_vf64)(((castoff_vi64)a & smaller) | ((castoff_vi64)b & ~smaller));
}

/* 2^x for x <= 127 within 2 ulp; 0 below -126.5; NaN stays. A polynomial on [-1/2, 1/2] that is 1 at 0, times the power of
 * two that the integer part of x is the exponent of. */
CASTOFF_INLINE castoff_vf32 castoff_exp2_vf32(castoff_vf32 x) {
    const castoff_vf32 magic = castoff_splat_f32(0x1.8p23f + 127.0f); /* the low bits of a sum with it are an exponent's */
    x = castoff_max_f32(castoff_splat_f32(-127.0f), x);
    const castoff_vf32 rounded = x + magic, r = x - (rounded - magic);
    castoff_vf32 p = castoff_splat_f32(0x1.5bba14p-10f);
    p = castoff_fma_f32(p, r, castoff_splat_f32(0x1.3cea88p-7f));
    p = castoff_fma_f32(p, r, castoff_splat_f32(0x1.c6b752p-5f));
    p = castoff_fma_f32(p, r, castoff_splat_f32(0x1.ebf9bcp-3f));
    p = castoff_fma_f32(p, r, castoff_splat_f32(0x1.62e42ap-1f));
    p = castoff_fma_f32(p, r, castoff_splat_f32(1.0f));
    return p * (castoff_vf32)((castoff_vu32)rounded << 23);
}

/* Lanes are added in a fixed tree, upper half to lower, so the sum is a function of the vector alone. */
CASTOFF_INLINE float castoff_sum_f32(castoff_vf32 v) {
    castoff_f32x4 part[CASTOFF_VF32_LANES / 4];
    memcpy(part, &v, sizeof part);
#if CASTOFF_VF32_LANES == 16
    const castoff_f32x4 four = (part[0] + part[2]) + (part[1] + part[3]);
#elif CASTOFF_VF32_LANES == 8
    const castoff_f32x4 four = part[0] + part[1];
#else
    const castoff_f32x4 four = part[0];
#endif
    return (four[0] + four[2]) + (four[1] + four[3]);
}
CASTOFF_INLINE double castoff_sum_f64(castoff_vf64 v) {
#if CASTOFF_VF64_LANES == 8
    return ((v[0] + v[4]) + (v[2] + v[6])) + ((v[1] + v[5]) + (v[3] + v[7]));
#elif CASTOFF_VF64_LANES == 4
    return (v[0] + v[2]) + (v[1] + v[3]);
#else
    return v[0] + v[1];
#endif
}

/* The largest lane. */
CASTOFF_INLINE float castoff_peak_f32(castoff_vf32 v) {
    castoff_f32x4 part[CASTOFF_VF32_LANES / 4];
    memcpy(part, &v, sizeof part);
    for (int half = CASTOFF_VF32_LANES / 8; half > 0; half /= 2)
        for (int i = 0; i < half; i++)
            for (int j = 0; j < 4; j++) part[i][j] = part[i + half][j] > part[i][j] ? part[i + half][j] : part[i][j];
    const float even = part[0][0] > part[0][2] ? part[0][0] : part[0][2], odd = part[0][1] > part[0][3] ? part[0][1] : part[0][3];
    return even > odd ? even : odd;
}

/* Scalar widening of the 16-bit formats: bits in, exact float out (NaN payloads kept, subnormals included). */
CASTOFF_INLINE float castoff_float_of_bits(uint32_t bits) {
    float x;
    memcpy(&x, &bits, 4);
    return x;
}
CASTOFF_INLINE float castoff_widen_bf16(uint16_t bits) { return castoff_float_of_bits((uint32_t)bits << 16); }
CASTOFF_INLINE float castoff_widen_f16(uint16_t bits) {
    uint32_t magnitude = (uint32_t)(bits & 0x7fff) << 13;
    float scaled = castoff_float_of_bits(magnitude) * 0x1p112f;
    uint32_t result;
    memcpy(&result, &scaled, 4);
    if (magnitude >= 0x0f800000u) result = magnitude | 0x7f800000u;
    return castoff_float_of_bits(result | (uint32_t)(bits & 0x8000) << 16);
}

/* LANES narrow integers, widened. gcc 12 makes of __builtin_convertvector what takes apart and puts together again. */
typedef int8_t castoff_vi8_u __attribute__((vector_size(CASTOFF_VF32_LANES), aligned(1), may_alias));
typedef uint8_t castoff_vu8_u __attribute__((vector_size(CASTOFF_VF32_LANES), aligned(1), may_alias));
CASTOFF_INLINE castoff_vu32 castoff_load_u16(const uint16_t *p) {
#if CASTOFF_VECTOR_BYTES >= 32
    castoff_vu32 wide;
    __asm__("vpmovzxwd %1, %0" : "=v"(wide) : "m"(*(const castoff_vu16_u *)p));
    return wide;
#else
    return __builtin_convertvector(*(const castoff_vu16_u *)p, castoff_vu32);
#endif
}
CASTOFF_INLINE castoff_vi32 castoff_load_i8(const int8_t *p) {
#if CASTOFF_VECTOR_BYTES >= 32
    castoff_vi32 wide;
    __asm__("vpmovsxbd %1, %0" : "=v"(wide) : "m"(*(const castoff_vi8_u *)p));
    return wide;
#else
    return __builtin_convertvector(*(const castoff_vi8_u *)p, castoff_vi32);
#endif
}
CASTOFF_INLINE castoff_vi32 castoff_load_u8(const uint8_t *p) {
#if CASTOFF_VECTOR_BYTES >= 32
    castoff_vi32 wide;
    __asm__("vpmovzxbd %1, %0" : "=v"(wide) : "m"(*(const castoff_vu8_u *)p));
    return wide;
#else
    return __builtin_convertvector(*(const castoff_vu8_u *)p, castoff_vi32);
#endif
}

CASTOFF_INLINE castoff_vf32 castoff_load_bf16(const uint16_t *p) {
    castoff_vu32 wide = castoff_load_u16(p);
    return (castoff_vf32)(wide << 16);
}
/* Rounded to nearest even, in the upper halves; the lower ones are zero. NaN stays NaN. */
CASTOFF_INLINE castoff_vu32 castoff_round_bf16(castoff_vf32 x) {
    const castoff_vu32 bits = (castoff_vu32)x, rounded = bits + 0x7fffu + (bits >> 16 & 1u);
    const castoff_vu32 is_nan = (castoff_vu32)(x != x);
    return ((rounded & ~is_nan) | (is_nan & 0x7fc00000u)) & 0xffff0000u;
}
/* What an epilogue does with a vector: as the instructions have it where there are any, which take what is below 2^-126 for
 * 0 as those of products do. */
#if defined(__AVX512BF16__)
CASTOFF_INLINE castoff_vu16 castoff_narrow_bf16_vf32(castoff_vf32 x) {
    castoff_vu16 narrow;
    __asm__("vcvtneps2bf16 %1, %0" : "=v"(narrow) : "v"(x));
    return narrow;
}
CASTOFF_INLINE castoff_vf32 castoff_rounded_bf16_vf32(castoff_vf32 x) {
    const castoff_vu16 narrow = castoff_narrow_bf16_vf32(x);
    castoff_vu32 wide; /* gcc 12 makes of __builtin_convertvector what takes apart and puts together again */
    __asm__("vpmovzxwd %1, %0" : "=v"(wide) : "v"(narrow));
    return (castoff_vf32)(wide << 16);
}
#else
CASTOFF_INLINE castoff_vu16 castoff_narrow_bf16_vf32(castoff_vf32 x) {
    return __builtin_convertvector(castoff_round_bf16(x) >> 16, castoff_vu16);
}
CASTOFF_INLINE castoff_vf32 castoff_rounded_bf16_vf32(castoff_vf32 x) { return (castoff_vf32)castoff_round_bf16(x); }
#endif
CASTOFF_INLINE void castoff_store_bf16(uint16_t *p, castoff_vf32 x) {
    *(castoff_vu16_u *)p = castoff_narrow_bf16_vf32(x);
}
CASTOFF_INLINE castoff_vf32 castoff_load_f16(const uint16_t *p) {
    castoff_vu32 wide = castoff_load_u16(p);
    castoff_vu32 magnitude = (wide & 0x7fff) << 13;
    castoff_vu32 result = (castoff_vu32)((castoff_vf32)magnitude * castoff_splat_f32(0x1p112f));
    result |= (castoff_vu32)(magnitude >= 0x0f800000u) & 0x7f800000u;
    result |= (castoff_vu32)(magnitude >= 0x0f800000u) & magnitude;
    return (castoff_vf32)(result | (wide & 0x8000) << 16);
}

#endif
