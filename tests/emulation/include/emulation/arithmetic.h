// CUDA's device functions for integers, floats and doubles, by libm and the compiler.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>

namespace emulation {
template <typename To, typename From> To bits_as(From value)
{
    static_assert(sizeof(To) == sizeof(From));
    To result;
    memcpy(&result, &value, sizeof(To));
    return result;
}

// A float or double as an integer, held within its range; NaN is 0 (32 bits) or the lowest value (64 bits).
template <typename Integer, typename Float> Integer saturated(Float value)
{
    constexpr Integer lowest = std::is_signed_v<Integer> ? Integer(1) << (sizeof(Integer) * 8 - 1) : 0;
    constexpr Integer highest = static_cast<Integer>(~lowest);
    if (value != value) return sizeof(Integer) == 4 ? 0 : Integer(1) << 63;
    if (value <= static_cast<Float>(lowest)) return lowest;
    if (value >= static_cast<Float>(highest)) return highest;
    return static_cast<Integer>(value);
}
}  // namespace emulation

static inline float __uint_as_float(unsigned x) { return emulation::bits_as<float>(x); }
static inline float __int_as_float(int x) { return emulation::bits_as<float>(x); }
static inline unsigned __float_as_uint(float x) { return emulation::bits_as<unsigned>(x); }
static inline int __float_as_int(float x) { return emulation::bits_as<int>(x); }
static inline double __longlong_as_double(long long x) { return emulation::bits_as<double>(x); }
static inline long long __double_as_longlong(double x) { return emulation::bits_as<long long>(x); }
static inline double __hiloint2double(int high, int low)
{
    return __longlong_as_double(static_cast<long long>(high) << 32 | static_cast<unsigned>(low));
}
static inline int __double2hiint(double x) { return static_cast<int>(__double_as_longlong(x) >> 32); }
static inline int __double2loint(double x) { return static_cast<int>(__double_as_longlong(x)); }

static inline int __popc(unsigned x) { return __builtin_popcount(x); }
static inline int __popcll(unsigned long long x) { return __builtin_popcountll(x); }
static inline int __clz(int x) { return x ? __builtin_clz(static_cast<unsigned>(x)) : 32; }
static inline int __clzll(long long x) { return x ? __builtin_clzll(static_cast<unsigned long long>(x)) : 64; }
static inline int __ffs(int x) { return __builtin_ffs(x); }
static inline int __ffsll(long long x) { return __builtin_ffsll(x); }
static inline unsigned __brev(unsigned x)
{
    unsigned result = 0;
    for (int i = 0; i < 32; i++) result |= (x >> i & 1u) << (31 - i);
    return result;
}
static inline unsigned long long __brevll(unsigned long long x)
{
    return static_cast<unsigned long long>(__brev(static_cast<unsigned>(x))) << 32 | __brev(static_cast<unsigned>(x >> 32));
}
static inline unsigned __byte_perm(unsigned low, unsigned high, unsigned selector)
{
    unsigned long long bytes = static_cast<unsigned long long>(high) << 32 | low;
    unsigned result = 0;
    for (int i = 0; i < 4; i++) {
        unsigned choice = selector >> (4 * i) & 15;
        unsigned byte = static_cast<unsigned>(bytes >> (8 * (choice & 7))) & 255;
        if (choice & 8) byte = byte & 128 ? 255 : 0;
        result |= byte << (8 * i);
    }
    return result;
}
static inline unsigned __funnelshift_l(unsigned low, unsigned high, unsigned shift)
{
    return static_cast<unsigned>(((static_cast<uint64_t>(high) << 32 | low) << (shift & 31)) >> 32);
}
static inline unsigned __funnelshift_r(unsigned low, unsigned high, unsigned shift)
{
    return static_cast<unsigned>((static_cast<uint64_t>(high) << 32 | low) >> (shift & 31));
}
static inline int __mulhi(int a, int b) { return static_cast<int>(static_cast<int64_t>(a) * b >> 32); }
static inline unsigned __umulhi(unsigned a, unsigned b) { return static_cast<unsigned>(static_cast<uint64_t>(a) * b >> 32); }
static inline long long __mul64hi(long long a, long long b)
{
    return static_cast<long long>(static_cast<__int128>(a) * b >> 64);
}
static inline unsigned long long __umul64hi(unsigned long long a, unsigned long long b)
{
    return static_cast<unsigned long long>(static_cast<unsigned __int128>(a) * b >> 64);
}
static inline int __mul24(int a, int b) { return (a << 8 >> 8) * (b << 8 >> 8); }
static inline int __dp4a(int a, int b, int sum)
{
    for (int i = 0; i < 4; i++) sum += static_cast<int8_t>(a >> (8 * i)) * static_cast<int8_t>(b >> (8 * i));
    return sum;
}
static inline unsigned __dp4a(unsigned a, unsigned b, unsigned sum)
{
    for (int i = 0; i < 4; i++) sum += (a >> (8 * i) & 255) * (b >> (8 * i) & 255);
    return sum;
}

#define EMULATED_ORDER(type)                                                   \
    static constexpr inline type min(type a, type b) { return b < a ? b : a; } \
    static constexpr inline type max(type a, type b) { return a < b ? b : a; }
EMULATED_ORDER(int)
EMULATED_ORDER(unsigned)
EMULATED_ORDER(long)
EMULATED_ORDER(unsigned long)
EMULATED_ORDER(long long)
EMULATED_ORDER(unsigned long long)
#undef EMULATED_ORDER
static inline float min(float a, float b) { return fminf(a, b); }
static inline float max(float a, float b) { return fmaxf(a, b); }
static inline double min(double a, double b) { return fmin(a, b); }
static inline double max(double a, double b) { return fmax(a, b); }
static inline unsigned umin(unsigned a, unsigned b) { return min(a, b); }
static inline unsigned umax(unsigned a, unsigned b) { return max(a, b); }
static inline long long llmin(long long a, long long b) { return min(a, b); }
static inline long long llmax(long long a, long long b) { return max(a, b); }
using std::abs;

// One function, spelled for both types: name(double) and namef(float).
#define EMULATED_FUNCTION(name, expression)                                             \
    static inline double name(double x) { return static_cast<double>(expression); }     \
    static inline float name##f(float single)                                           \
    {                                                                                   \
        double x = single;                                                              \
        return static_cast<float>(expression);                                          \
    }
EMULATED_FUNCTION(rsqrt, 1 / ::sqrt(x))
EMULATED_FUNCTION(rcbrt, 1 / ::cbrt(x))
EMULATED_FUNCTION(sinpi, ::sin(3.14159265358979323846 * ::fmod(x, 2.0)))
EMULATED_FUNCTION(cospi, ::cos(3.14159265358979323846 * ::fmod(x, 2.0)))
EMULATED_FUNCTION(normcdf, 0.5 * ::erfc(-x * 0.70710678118654752440))
#undef EMULATED_FUNCTION
static inline float fdividef(float a, float b) { return a / b; }

// libc has hidden functions of these names.
#define __expf expf
#define __exp10f exp10f
#define __logf logf
#define __log2f log2f
#define __log10f log10f
#define __sinf sinf
#define __cosf cosf
#define __tanf tanf
#define __powf powf
#define __sincosf sincosf
static inline float __fdividef(float a, float b) { return a / b; }
static inline float __saturatef(float x) { return x > 0 ? (x < 1 ? x : 1) : 0; }

static inline float __fmaf_rn(float a, float b, float c) { return ::fmaf(a, b, c); }
static inline double __fma_rn(double a, double b, double c) { return ::fma(a, b, c); }
static inline float __fadd_rn(float a, float b) { return a + b; }
static inline float __fsub_rn(float a, float b) { return a - b; }
static inline float __fmul_rn(float a, float b) { return a * b; }
static inline float __fdiv_rn(float a, float b) { return a / b; }
static inline float __frcp_rn(float a) { return 1 / a; }
static inline float __fsqrt_rn(float a) { return ::sqrtf(a); }
static inline float __frsqrt_rn(float a) { return rsqrtf(a); }
static inline double __dadd_rn(double a, double b) { return a + b; }
static inline double __dsub_rn(double a, double b) { return a - b; }
static inline double __dmul_rn(double a, double b) { return a * b; }
static inline double __ddiv_rn(double a, double b) { return a / b; }
static inline double __drcp_rn(double a) { return 1 / a; }
static inline double __dsqrt_rn(double a) { return ::sqrt(a); }

#define EMULATED_CONVERSIONS(from, type, rint, to, integer)                                      \
    static inline integer __##from##2##to##_rn(type x) { return emulation::saturated<integer>(::rint(x)); } \
    static inline integer __##from##2##to##_rz(type x) { return emulation::saturated<integer>(std::trunc(x)); } \
    static inline integer __##from##2##to##_rd(type x) { return emulation::saturated<integer>(std::floor(x)); } \
    static inline integer __##from##2##to##_ru(type x) { return emulation::saturated<integer>(std::ceil(x)); }
EMULATED_CONVERSIONS(float, float, rintf, int, int)
EMULATED_CONVERSIONS(float, float, rintf, uint, unsigned)
EMULATED_CONVERSIONS(float, float, rintf, ll, long long)
EMULATED_CONVERSIONS(float, float, rintf, ull, unsigned long long)
EMULATED_CONVERSIONS(double, double, rint, int, int)
EMULATED_CONVERSIONS(double, double, rint, uint, unsigned)
EMULATED_CONVERSIONS(double, double, rint, ll, long long)
EMULATED_CONVERSIONS(double, double, rint, ull, unsigned long long)
#undef EMULATED_CONVERSIONS
static inline float __int2float_rn(int x) { return static_cast<float>(x); }
static inline float __uint2float_rn(unsigned x) { return static_cast<float>(x); }
static inline float __ll2float_rn(long long x) { return static_cast<float>(x); }
static inline float __ull2float_rn(unsigned long long x) { return static_cast<float>(x); }
static inline double __int2double_rn(int x) { return x; }
static inline double __uint2double_rn(unsigned x) { return x; }
static inline double __ll2double_rn(long long x) { return static_cast<double>(x); }
static inline double __ull2double_rn(unsigned long long x) { return static_cast<double>(x); }
static inline float __double2float_rn(double x) { return static_cast<float>(x); }

// Shared memory has plain addresses here, and so has everything else.
static inline size_t __cvta_generic_to_shared(const void* pointer) { return reinterpret_cast<size_t>(pointer); }
static inline size_t __cvta_generic_to_global(const void* pointer) { return reinterpret_cast<size_t>(pointer); }
static inline void __builtin_assume(bool) {}
