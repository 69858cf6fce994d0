// Floating-point numbers of 16 bits: half and bfloat16. Results are those of exact arithmetic, rounded once.
#pragma once

#include "emulation/arithmetic.h"
#include "emulation/atomics.h"
#include "emulation/vectors.h"

namespace emulation {

// To nearest even, from a double; NaN is CUDA's.
template <int exponent_bits, int mantissa_bits> uint16_t encode(double x)
{
    constexpr int lowest = 2 - (1 << (exponent_bits - 1));  // the exponent of the smallest normal number
    constexpr unsigned infinity = ((1u << exponent_bits) - 1) << mantissa_bits;
    unsigned sign = std::signbit(x) ? 0x8000 : 0;
    if (x != x) return 0x7fff;
    double magnitude = fabs(x);
    if (magnitude == 0) return static_cast<uint16_t>(sign);
    if (magnitude > 1e300) return static_cast<uint16_t>(sign | infinity);
    int exponent = std::ilogb(magnitude) > lowest ? std::ilogb(magnitude) : lowest;
    auto rounded = static_cast<unsigned>(nearbyint(ldexp(magnitude, mantissa_bits - exponent)));
    if (exponent - lowest >= 1 << exponent_bits) return static_cast<uint16_t>(sign | infinity);
    unsigned code = rounded + (static_cast<unsigned>(exponent - lowest) << mantissa_bits);
    return static_cast<uint16_t>(sign | (code < infinity ? code : infinity));
}

struct HalfFormat {
    static uint16_t from(double x) { return encode<5, 10>(x); }
#ifdef __F16C__
    static uint16_t from(float x)
    {
        return x != x ? uint16_t(0x7fff) : bits_as<uint16_t>(static_cast<_Float16>(x));
    }
    static float to(uint16_t bits) { return static_cast<float>(bits_as<_Float16>(bits)); }
#else
    static uint16_t from(float x) { return encode<5, 10>(x); }
    static float to(uint16_t bits)
    {
        int exponent = bits >> 10 & 31, mantissa = bits & 1023;
        float magnitude = exponent == 31 ? (mantissa ? NAN : INFINITY)
                          : exponent     ? ldexpf(static_cast<float>(mantissa + 1024), exponent - 25)
                                         : ldexpf(static_cast<float>(mantissa), -24);
        return bits & 0x8000 ? -magnitude : magnitude;
    }
#endif
};

struct BfloatFormat {
    static uint16_t from(double x) { return encode<8, 7>(x); }
    static uint16_t from(float x)
    {
        if (x != x) return 0x7fff;
        auto bits = bits_as<uint32_t>(x);
        return static_cast<uint16_t>((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
    }
    static float to(uint16_t bits) { return bits_as<float>(static_cast<uint32_t>(bits) << 16); }
};

// a * b + c in double, to odd where it is inexact, so that rounding it again is rounding once.
inline double fused(double a, double b, double c)
{
    double product = a * b;  // exact for operands of 16 bits
    double sum = product + c;
    double part = sum - product;
    double error = (product - (sum - part)) + (c - part);
    if (error == 0 || !std::isfinite(sum)) return sum;
    auto bits = bits_as<uint64_t>(sum);
    if (bits & 1) return sum;
    return bits_as<double>((error > 0) == (sum > 0) ? bits | 1 : bits - 1);
}

template <typename Format> struct ShortFloat {
    unsigned short bits;

    ShortFloat() = default;
    ShortFloat(float x) : bits(Format::from(x)) {}
    ShortFloat(double x) : bits(Format::from(x)) {}
    ShortFloat(int x) : ShortFloat(static_cast<double>(x)) {}
    ShortFloat(unsigned x) : ShortFloat(static_cast<double>(x)) {}
    ShortFloat(short x) : ShortFloat(static_cast<float>(x)) {}
    ShortFloat(unsigned short x) : ShortFloat(static_cast<float>(x)) {}
    ShortFloat(long x) : ShortFloat(static_cast<double>(x)) {}
    ShortFloat(unsigned long x) : ShortFloat(static_cast<double>(x)) {}
    ShortFloat(long long x) : ShortFloat(static_cast<double>(x)) {}
    ShortFloat(unsigned long long x) : ShortFloat(static_cast<double>(x)) {}
    static ShortFloat of(unsigned bits)
    {
        ShortFloat result;
        result.bits = static_cast<unsigned short>(bits);
        return result;
    }
    float value() const { return Format::to(bits); }
    operator float() const { return value(); }
    explicit operator bool() const { return (bits & 0x7fff) != 0; }
    ShortFloat& operator=(float x) { return *this = ShortFloat(x); }
    ShortFloat& operator=(double x) { return *this = ShortFloat(x); }

    friend ShortFloat operator+(const ShortFloat& a, const ShortFloat& b) { return a.value() + b.value(); }
    friend ShortFloat operator-(const ShortFloat& a, const ShortFloat& b) { return a.value() - b.value(); }
    friend ShortFloat operator*(const ShortFloat& a, const ShortFloat& b) { return a.value() * b.value(); }
    friend ShortFloat operator/(const ShortFloat& a, const ShortFloat& b) { return a.value() / b.value(); }
    friend ShortFloat& operator+=(ShortFloat& a, const ShortFloat& b) { return a = a + b; }
    friend ShortFloat& operator-=(ShortFloat& a, const ShortFloat& b) { return a = a - b; }
    friend ShortFloat& operator*=(ShortFloat& a, const ShortFloat& b) { return a = a * b; }
    friend ShortFloat& operator/=(ShortFloat& a, const ShortFloat& b) { return a = a / b; }
    friend ShortFloat operator-(const ShortFloat& a) { return of(a.bits ^ 0x8000u); }
    friend ShortFloat operator+(const ShortFloat& a) { return a; }
    friend bool operator==(const ShortFloat& a, const ShortFloat& b) { return a.value() == b.value(); }
    friend bool operator!=(const ShortFloat& a, const ShortFloat& b) { return a.value() != b.value(); }
    friend bool operator<(const ShortFloat& a, const ShortFloat& b) { return a.value() < b.value(); }
    friend bool operator>(const ShortFloat& a, const ShortFloat& b) { return a.value() > b.value(); }
    friend bool operator<=(const ShortFloat& a, const ShortFloat& b) { return a.value() <= b.value(); }
    friend bool operator>=(const ShortFloat& a, const ShortFloat& b) { return a.value() >= b.value(); }
};

template <typename Format> struct alignas(4) ShortFloat2 {
    ShortFloat<Format> x, y;
    ShortFloat2() = default;
    ShortFloat2(const ShortFloat<Format>& x, const ShortFloat<Format>& y) : x(x), y(y) {}

    friend ShortFloat2 operator+(const ShortFloat2& a, const ShortFloat2& b) { return {a.x + b.x, a.y + b.y}; }
    friend ShortFloat2 operator-(const ShortFloat2& a, const ShortFloat2& b) { return {a.x - b.x, a.y - b.y}; }
    friend ShortFloat2 operator*(const ShortFloat2& a, const ShortFloat2& b) { return {a.x * b.x, a.y * b.y}; }
    friend ShortFloat2 operator/(const ShortFloat2& a, const ShortFloat2& b) { return {a.x / b.x, a.y / b.y}; }
    friend ShortFloat2& operator+=(ShortFloat2& a, const ShortFloat2& b) { return a = a + b; }
    friend ShortFloat2& operator*=(ShortFloat2& a, const ShortFloat2& b) { return a = a * b; }
};

}  // namespace emulation

#define EMULATED_SHORT template <typename F> static inline
#define EMULATED_SHORT_BINARY(name, name2, expression)                                                     \
    EMULATED_SHORT emulation::ShortFloat<F> name(emulation::ShortFloat<F> a, emulation::ShortFloat<F> b)   \
    {                                                                                                      \
        return expression;                                                                                 \
    }                                                                                                      \
    EMULATED_SHORT emulation::ShortFloat2<F> name2(emulation::ShortFloat2<F> a, emulation::ShortFloat2<F> b) \
    {                                                                                                      \
        return {name(a.x, b.x), name(a.y, b.y)};                                                           \
    }
EMULATED_SHORT_BINARY(__hadd, __hadd2, a + b)
EMULATED_SHORT_BINARY(__hsub, __hsub2, a - b)
EMULATED_SHORT_BINARY(__hmul, __hmul2, a* b)
EMULATED_SHORT_BINARY(__hadd_rn, __hadd2_rn, a + b)
EMULATED_SHORT_BINARY(__hsub_rn, __hsub2_rn, a - b)
EMULATED_SHORT_BINARY(__hmul_rn, __hmul2_rn, a* b)
EMULATED_SHORT_BINARY(__hdiv, __h2div, a / b)
EMULATED_SHORT_BINARY(__hmax, __hmax2, fmaxf(a.value(), b.value()))
EMULATED_SHORT_BINARY(__hmin, __hmin2, fminf(a.value(), b.value()))
EMULATED_SHORT_BINARY(__hmax_nan, __hmax2_nan, a.value() != a.value() || b.value() != b.value() ? NAN : fmaxf(a.value(), b.value()))
EMULATED_SHORT_BINARY(__hmin_nan, __hmin2_nan, a.value() != a.value() || b.value() != b.value() ? NAN : fminf(a.value(), b.value()))
#undef EMULATED_SHORT_BINARY

EMULATED_SHORT emulation::ShortFloat<F> __hfma(emulation::ShortFloat<F> a, emulation::ShortFloat<F> b, emulation::ShortFloat<F> c)
{
    return emulation::fused(a.value(), b.value(), c.value());
}
EMULATED_SHORT emulation::ShortFloat2<F> __hfma2(emulation::ShortFloat2<F> a, emulation::ShortFloat2<F> b, emulation::ShortFloat2<F> c)
{
    return {__hfma(a.x, b.x, c.x), __hfma(a.y, b.y, c.y)};
}
EMULATED_SHORT emulation::ShortFloat<F> __hneg(emulation::ShortFloat<F> a) { return -a; }
EMULATED_SHORT emulation::ShortFloat<F> __habs(emulation::ShortFloat<F> a) { return a.of(a.bits & 0x7fff); }
EMULATED_SHORT bool __hisnan(emulation::ShortFloat<F> a) { return a.value() != a.value(); }
EMULATED_SHORT int __hisinf(emulation::ShortFloat<F> a) { return isinf(a.value()) ? (a.value() < 0 ? -1 : 1) : 0; }
EMULATED_SHORT bool __heq(emulation::ShortFloat<F> a, emulation::ShortFloat<F> b) { return a == b; }
EMULATED_SHORT bool __hne(emulation::ShortFloat<F> a, emulation::ShortFloat<F> b) { return a < b || a > b; }
EMULATED_SHORT bool __hlt(emulation::ShortFloat<F> a, emulation::ShortFloat<F> b) { return a < b; }
EMULATED_SHORT bool __hle(emulation::ShortFloat<F> a, emulation::ShortFloat<F> b) { return a <= b; }
EMULATED_SHORT bool __hgt(emulation::ShortFloat<F> a, emulation::ShortFloat<F> b) { return a > b; }
EMULATED_SHORT bool __hge(emulation::ShortFloat<F> a, emulation::ShortFloat<F> b) { return a >= b; }
EMULATED_SHORT float __low2float(emulation::ShortFloat2<F> a) { return a.x; }
EMULATED_SHORT float __high2float(emulation::ShortFloat2<F> a) { return a.y; }

#define EMULATED_SHORT_FUNCTION(name, function) \
    EMULATED_SHORT emulation::ShortFloat<F> name(emulation::ShortFloat<F> a) { return static_cast<float>(function(static_cast<double>(a.value()))); }
EMULATED_SHORT_FUNCTION(hsqrt, ::sqrt)
EMULATED_SHORT_FUNCTION(hrsqrt, ::rsqrt)
EMULATED_SHORT_FUNCTION(hexp, ::exp)
EMULATED_SHORT_FUNCTION(hexp2, ::exp2)
EMULATED_SHORT_FUNCTION(hlog, ::log)
EMULATED_SHORT_FUNCTION(hlog2, ::log2)
EMULATED_SHORT_FUNCTION(hsin, ::sin)
EMULATED_SHORT_FUNCTION(hcos, ::cos)
EMULATED_SHORT_FUNCTION(htanh, ::tanh)
EMULATED_SHORT_FUNCTION(hfloor, ::floor)
EMULATED_SHORT_FUNCTION(hceil, ::ceil)
EMULATED_SHORT_FUNCTION(htrunc, ::trunc)
EMULATED_SHORT_FUNCTION(hrint, ::rint)
#undef EMULATED_SHORT_FUNCTION

template <typename F> emulation::ShortFloat<F> atomicAdd(emulation::ShortFloat<F>* address, emulation::ShortFloat<F> value)
{
    return emulation::exchange(address, [=](emulation::ShortFloat<F> old) { return old + value; });
}
template <typename F> emulation::ShortFloat2<F> atomicAdd(emulation::ShortFloat2<F>* address, emulation::ShortFloat2<F> value)
{
    return emulation::exchange(address, [=](emulation::ShortFloat2<F> old) { return old + value; });
}
#undef EMULATED_SHORT
