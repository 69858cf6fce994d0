// half and half2, as far as the emulation goes.
#pragma once

#include "emulation/short_float.h"

using __half = emulation::ShortFloat<emulation::HalfFormat>;
using __half2 = emulation::ShortFloat2<emulation::HalfFormat>;
using half = __half;
using half2 = __half2;

static inline __half __float2half(float x) { return x; }
static inline __half __float2half_rn(float x) { return x; }
static inline __half __double2half(double x) { return x; }
static inline float __half2float(__half x) { return x; }
static inline __half2 __float2half2_rn(float x) { return {x, x}; }
static inline __half2 __floats2half2_rn(float x, float y) { return {x, y}; }
static inline __half2 __float22half2_rn(float2 x) { return {x.x, x.y}; }
static inline float2 __half22float2(__half2 x) { return {x.x, x.y}; }
static inline __half2 __half2half2(__half x) { return {x, x}; }
static inline __half2 __halves2half2(__half x, __half y) { return {x, y}; }
static inline __half2 make_half2(__half x, __half y) { return {x, y}; }
static inline __half __low2half(__half2 x) { return x.x; }
static inline __half __high2half(__half2 x) { return x.y; }
static inline __half __ushort_as_half(unsigned short x) { return __half::of(x); }
static inline __half __short_as_half(short x) { return __half::of(static_cast<unsigned short>(x)); }
static inline unsigned short __half_as_ushort(__half x) { return x.bits; }
static inline short __half_as_short(__half x) { return static_cast<short>(x.bits); }
static inline __half __int2half_rn(int x) { return x; }
static inline __half __uint2half_rn(unsigned x) { return x; }
static inline __half __ll2half_rn(long long x) { return x; }
static inline int __half2int_rn(__half x) { return __float2int_rn(x); }
static inline int __half2int_rz(__half x) { return __float2int_rz(x); }
static inline long long __half2ll_rz(__half x) { return __float2ll_rz(x); }
