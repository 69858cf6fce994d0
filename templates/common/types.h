/* types.h - storage types of the element types C lacks, and the conversions between all element types.
 *
 * Suffixes used by every header here: f16 bf16 f8e4m3fn f8e4m3fnuz f8e5m2 f8e5m2fnuz f8e8m0fnu f32 f64 c64 c128
 * i8 i16 i32 i64 u8 u16 u32 u64 b8. The narrow floats are stored as their bits and computed with as float.
 * All conversions are free of branches, so that loops over them vectorise, and of undefined behaviour.
 * castoff_<from>_to_<to>(x) converts as x86 PyTorch does; a float that an integer type cannot hold gives what the
 * processor's conversion gives there (the most negative int32 or int64, then the low bits).
 */
#ifndef CASTOFF_COMMON_TYPES_H
#define CASTOFF_COMMON_TYPES_H

#include <stdint.h>
#include <string.h>

/* On a GPU everything here runs on both sides. */
#if defined(__CUDACC__)
#define CASTOFF_INLINE static __host__ __device__ __forceinline__
#define CASTOFF_LARGE static __host__ __device__ __attribute__((unused))
#endif

#ifndef CASTOFF_INLINE
#define CASTOFF_INLINE static inline __attribute__((always_inline, unused))
#endif
/* A loop kernel. gcc 12 must not see the constants it is called with: it drops the row loop of a kernel with one row
 * and then leaves the reduction inside scalar. */
#if defined(__GNUC__) && !defined(__clang__)
#define CASTOFF_KERNEL static __attribute__((noipa))
#else
#define CASTOFF_KERNEL static
#endif

/* For what is too large to be copied into every caller. */
#ifndef CASTOFF_LARGE
#define CASTOFF_LARGE static __attribute__((unused))
#endif

typedef uint16_t castoff_f16;
typedef uint16_t castoff_bf16;
typedef uint8_t castoff_f8e4m3fn;
typedef uint8_t castoff_f8e4m3fnuz;
typedef uint8_t castoff_f8e5m2;
typedef uint8_t castoff_f8e5m2fnuz;
typedef uint8_t castoff_f8e8m0fnu;
typedef uint8_t castoff_b8;
typedef struct { float re, im; } castoff_c64;
typedef struct { double re, im; } castoff_c128;

CASTOFF_INLINE uint32_t castoff_bits_f32(float x) {
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    return bits;
}
CASTOFF_INLINE float castoff_from_bits_f32(uint32_t bits) {
    float x;
    memcpy(&x, &bits, sizeof x);
    return x;
}
CASTOFF_INLINE uint64_t castoff_bits_f64(double x) {
    uint64_t bits;
    memcpy(&bits, &x, sizeof bits);
    return bits;
}
CASTOFF_INLINE double castoff_from_bits_f64(uint64_t bits) {
    double x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

/* ---- 16-bit floats ---- */

CASTOFF_INLINE float castoff_bf16_to_f32(castoff_bf16 x) { return castoff_from_bits_f32((uint32_t)x << 16); }

CASTOFF_INLINE castoff_bf16 castoff_f32_to_bf16(float x) {
    uint32_t bits = castoff_bits_f32(x);
    uint32_t rounded = (bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16;
    return (castoff_bf16)(x != x ? 0x7fc0u : rounded);
}

/* What is left of x in bfloat16, without the way through 16 bits, which gcc 12 vectorises no loop with. */
CASTOFF_INLINE float castoff_rounded_bf16(float x) {
    uint32_t bits = castoff_bits_f32(x);
    uint32_t rounded = (bits + 0x7fffu + ((bits >> 16) & 1u)) & 0xffff0000u;
    return castoff_from_bits_f32(x != x ? 0x7fc00000u : rounded);
}

CASTOFF_INLINE float castoff_f16_to_f32(castoff_f16 x) {
    uint32_t magnitude = (uint32_t)(x & 0x7fffu) << 13;
    uint32_t finite = castoff_bits_f32(castoff_from_bits_f32(magnitude) * 0x1p112f);
    uint32_t result = magnitude >= 0x0f800000u ? (magnitude | 0x7f800000u) : finite;
    return castoff_from_bits_f32(result | ((uint32_t)(x & 0x8000u) << 16));
}

/* Masks choose, not conditions: gcc 12 would compute the subnormal's sum behind a branch, and vectorise no loop with it. */
CASTOFF_INLINE castoff_f16 castoff_f32_to_f16(float x) {
    uint32_t bits = castoff_bits_f32(x), magnitude = bits & 0x7fffffffu;
    uint32_t normal = (magnitude + 0xfffu + ((magnitude >> 13) & 1u) - (112u << 23)) >> 13;
    normal = magnitude >= 0x477ff000u ? 0x7c00u : normal;
    normal = magnitude > 0x7f800000u ? 0x7e00u : normal;
    /* Adding 0.5 leaves the subnormal's bits, rounded to even, in the low end of the sum. */
    uint32_t subnormal = castoff_bits_f32(castoff_from_bits_f32(magnitude) + 0.5f) - 0x3f000000u;
    uint32_t is_normal = 0u - (uint32_t)(magnitude >= 0x38800000u);
    return (castoff_f16)((normal & is_normal) | (subnormal & ~is_normal) | (bits >> 31 << 15));
}

/* What is left of x in float16, as castoff_rounded_bf16. */
CASTOFF_INLINE float castoff_rounded_f16(float x) {
    uint32_t bits = castoff_bits_f32(x), magnitude = bits & 0x7fffffffu;
    uint32_t normal = (magnitude + 0xfffu + ((magnitude >> 13) & 1u)) & 0xffffe000u;
    normal = magnitude >= 0x477ff000u ? 0x7f800000u : normal;
    normal = magnitude > 0x7f800000u ? 0x7fc00000u : normal;
    uint32_t subnormal = castoff_bits_f32((castoff_from_bits_f32(magnitude) + 0.5f) - 0.5f);
    uint32_t is_normal = 0u - (uint32_t)(magnitude >= 0x38800000u);
    return castoff_from_bits_f32((normal & is_normal) | (subnormal & ~is_normal) | (bits & 0x80000000u));
}

/* ---- 8-bit floats (OCP 8-bit floating point specification; fnuz: Noune et al., arXiv 2206.02915) ----
 * What is too large becomes, as in PyTorch, the largest number in e4m3fn, infinity in e5m2, NaN in the fnuz formats. */

/* Magnitude bits of |x| in a format with `mantissa` stored bits and exponent bias `bias`, rounded to even. */
CASTOFF_INLINE uint32_t castoff_narrow_f8(uint32_t magnitude, int mantissa, int bias) {
    int shift = 23 - mantissa;
    uint32_t smallest_normal = (uint32_t)(128 - bias) << 23;
    uint32_t magic = (uint32_t)(127 + 24 - bias - mantissa) << 23;
    uint32_t normal = (magnitude + ((1u << (shift - 1)) - 1u) + ((magnitude >> shift) & 1u)
                       - ((uint32_t)(127 - bias) << 23)) >> shift;
    uint32_t subnormal =
        castoff_bits_f32(castoff_from_bits_f32(magnitude) + castoff_from_bits_f32(magic)) - magic;
    return magnitude < smallest_normal ? subnormal : normal;
}

CASTOFF_INLINE castoff_f8e4m3fn castoff_f32_to_f8e4m3fn(float x) {
    uint32_t bits = castoff_bits_f32(x), magnitude = bits & 0x7fffffffu;
    uint32_t result = magnitude > 0x43e80000u ? 0x7eu : castoff_narrow_f8(magnitude, 3, 7);
    result = magnitude > 0x7f800000u ? 0x7fu : result;
    return (castoff_f8e4m3fn)(result | (bits >> 31 << 7));
}
CASTOFF_INLINE castoff_f8e5m2 castoff_f32_to_f8e5m2(float x) {
    uint32_t bits = castoff_bits_f32(x), magnitude = bits & 0x7fffffffu;
    uint32_t result = magnitude >= 0x47800000u ? 0x7cu : castoff_narrow_f8(magnitude, 2, 15);
    result = magnitude > 0x7f800000u ? 0x7fu : result;
    return (castoff_f8e5m2)(result | (bits >> 31 << 7));
}
CASTOFF_INLINE castoff_f8e4m3fnuz castoff_f32_to_f8e4m3fnuz(float x) {
    uint32_t bits = castoff_bits_f32(x), magnitude = bits & 0x7fffffffu;
    uint32_t result = castoff_narrow_f8(magnitude, 3, 8);
    result = result == 0 ? 0u : (result | (bits >> 31 << 7));
    return (castoff_f8e4m3fnuz)(magnitude >= 0x43800000u ? 0x80u : result);
}
CASTOFF_INLINE castoff_f8e5m2fnuz castoff_f32_to_f8e5m2fnuz(float x) {
    uint32_t bits = castoff_bits_f32(x), magnitude = bits & 0x7fffffffu;
    uint32_t result = castoff_narrow_f8(magnitude, 2, 16);
    result = result == 0 ? 0u : (result | (bits >> 31 << 7));
    return (castoff_f8e5m2fnuz)(magnitude >= 0x47800000u ? 0x80u : result);
}
/* Powers of two only: ties go up from a normal number, down from a subnormal one. */
CASTOFF_INLINE castoff_f8e8m0fnu castoff_f32_to_f8e8m0fnu(float x) {
    uint32_t magnitude = castoff_bits_f32(x) & 0x7fffffffu;
    uint32_t exponent = magnitude >> 23, fraction = magnitude & 0x7fffffu;
    uint32_t tie = exponent > 0 ? 0x3fffffu : 0x400000u;
    return (castoff_f8e8m0fnu)(exponent == 255u ? 255u : exponent + (fraction > tie ? 1u : 0u));
}

CASTOFF_INLINE uint32_t castoff_widen_f8(uint8_t x, int mantissa, int bias) {
    float tiny = castoff_from_bits_f32((uint32_t)(x & 0x7fu) << (23 - mantissa));
    float scale = castoff_from_bits_f32((uint32_t)(127 + 127 - bias) << 23);
    return castoff_bits_f32(tiny * scale);
}
CASTOFF_INLINE float castoff_f8e4m3fn_to_f32(castoff_f8e4m3fn x) {
    uint32_t result = (x & 0x7fu) == 0x7fu ? 0x7fc00000u : castoff_widen_f8(x, 3, 7);
    return castoff_from_bits_f32(result | ((uint32_t)(x & 0x80u) << 24));
}
CASTOFF_INLINE float castoff_f8e5m2_to_f32(castoff_f8e5m2 x) {
    uint32_t special = (x & 0x7fu) > 0x7cu ? 0x7fc00000u : 0x7f800000u;
    uint32_t result = (x & 0x7fu) >= 0x7cu ? special : castoff_widen_f8(x, 2, 15);
    return castoff_from_bits_f32(result | ((uint32_t)(x & 0x80u) << 24));
}
CASTOFF_INLINE float castoff_f8e4m3fnuz_to_f32(castoff_f8e4m3fnuz x) {
    uint32_t result = castoff_widen_f8(x, 3, 8) | ((uint32_t)(x & 0x80u) << 24);
    return castoff_from_bits_f32(x == 0x80u ? 0x7fc00000u : result);
}
CASTOFF_INLINE float castoff_f8e5m2fnuz_to_f32(castoff_f8e5m2fnuz x) {
    uint32_t result = castoff_widen_f8(x, 2, 16) | ((uint32_t)(x & 0x80u) << 24);
    return castoff_from_bits_f32(x == 0x80u ? 0x7fc00000u : result);
}
CASTOFF_INLINE float castoff_f8e8m0fnu_to_f32(castoff_f8e8m0fnu x) {
    uint32_t result = x == 0 ? 0x00400000u : (uint32_t)x << 23;
    return castoff_from_bits_f32(x == 0xffu ? 0x7fc00000u : result);
}

/* ---- float and double to integers ---- */

CASTOFF_INLINE int32_t castoff_f32_to_i32(float x) {
    float safe = (x >= -0x1p31f) & (x < 0x1p31f) ? x : -0x1p31f;
    return (int32_t)safe;
}
CASTOFF_INLINE int32_t castoff_f64_to_i32(double x) {
    double safe = (x > -0x1.00000002p31) & (x < 0x1p31) ? x : -0x1p31;
    return (int32_t)safe;
}
CASTOFF_INLINE int64_t castoff_f64_to_i64(double x) {
    double safe = (x >= -0x1p63) & (x < 0x1p63) ? x : -0x1p63;
    return (int64_t)safe;
}
CASTOFF_INLINE int64_t castoff_f32_to_i64(float x) {
    float safe = (x >= -0x1p63f) & (x < 0x1p63f) ? x : -0x1p63f;
    return (int64_t)safe;
}
CASTOFF_INLINE uint64_t castoff_f64_to_u64(double x) {
    int is_high = x >= 0x1p63;
    uint64_t low = (uint64_t)castoff_f64_to_i64(is_high ? x - 0x1p63 : x);
    return is_high ? low ^ 0x8000000000000000u : low;
}
CASTOFF_INLINE uint64_t castoff_f32_to_u64(float x) { return castoff_f64_to_u64((double)x); }

CASTOFF_INLINE int8_t castoff_f32_to_i8(float x) { return (int8_t)castoff_f32_to_i32(x); }
CASTOFF_INLINE int16_t castoff_f32_to_i16(float x) { return (int16_t)castoff_f32_to_i32(x); }
CASTOFF_INLINE uint8_t castoff_f32_to_u8(float x) { return (uint8_t)castoff_f32_to_i32(x); }
CASTOFF_INLINE uint16_t castoff_f32_to_u16(float x) { return (uint16_t)castoff_f32_to_i32(x); }
CASTOFF_INLINE uint32_t castoff_f32_to_u32(float x) { return (uint32_t)castoff_f32_to_i64(x); }
CASTOFF_INLINE castoff_b8 castoff_f32_to_b8(float x) { return (castoff_b8)(x != 0); }
CASTOFF_INLINE int8_t castoff_f64_to_i8(double x) { return (int8_t)castoff_f64_to_i32(x); }
CASTOFF_INLINE int16_t castoff_f64_to_i16(double x) { return (int16_t)castoff_f64_to_i32(x); }
CASTOFF_INLINE uint8_t castoff_f64_to_u8(double x) { return (uint8_t)castoff_f64_to_i32(x); }
CASTOFF_INLINE uint16_t castoff_f64_to_u16(double x) { return (uint16_t)castoff_f64_to_i32(x); }
CASTOFF_INLINE uint32_t castoff_f64_to_u32(double x) { return (uint32_t)castoff_f64_to_i64(x); }
CASTOFF_INLINE castoff_b8 castoff_f64_to_b8(double x) { return (castoff_b8)(x != 0); }

/* ---- complex ---- */

CASTOFF_INLINE castoff_c128 castoff_c64_to_c128(castoff_c64 z) { return (castoff_c128){(double)z.re, (double)z.im}; }
CASTOFF_INLINE castoff_c64 castoff_c128_to_c64(castoff_c128 z) { return (castoff_c64){(float)z.re, (float)z.im}; }
CASTOFF_INLINE castoff_c64 castoff_complex_f32(float re, float im) { return (castoff_c64){re, im}; }
CASTOFF_INLINE castoff_c128 castoff_complex_f64(double re, double im) { return (castoff_c128){re, im}; }

#endif
