// __nv_bfloat16 and __nv_bfloat162, as far as the emulation goes.
#pragma once

#include "emulation/short_float.h"

using __nv_bfloat16 = emulation::ShortFloat<emulation::BfloatFormat>;
using __nv_bfloat162 = emulation::ShortFloat2<emulation::BfloatFormat>;
using nv_bfloat16 = __nv_bfloat16;
using nv_bfloat162 = __nv_bfloat162;

static inline __nv_bfloat16 __float2bfloat16(float x) { return x; }
static inline __nv_bfloat16 __float2bfloat16_rn(float x) { return x; }
static inline __nv_bfloat16 __double2bfloat16(double x) { return x; }
static inline float __bfloat162float(__nv_bfloat16 x) { return x; }
static inline __nv_bfloat162 __float2bfloat162_rn(float x) { return {x, x}; }
static inline __nv_bfloat162 __floats2bfloat162_rn(float x, float y) { return {x, y}; }
static inline __nv_bfloat162 __float22bfloat162_rn(float2 x) { return {x.x, x.y}; }
static inline float2 __bfloat1622float2(__nv_bfloat162 x) { return {x.x, x.y}; }
static inline __nv_bfloat162 __bfloat162bfloat162(__nv_bfloat16 x) { return {x, x}; }
static inline __nv_bfloat162 __halves2bfloat162(__nv_bfloat16 x, __nv_bfloat16 y) { return {x, y}; }
static inline __nv_bfloat162 make_bfloat162(__nv_bfloat16 x, __nv_bfloat16 y) { return {x, y}; }
static inline __nv_bfloat16 __low2bfloat16(__nv_bfloat162 x) { return x.x; }
static inline __nv_bfloat16 __high2bfloat16(__nv_bfloat162 x) { return x.y; }
static inline __nv_bfloat16 __ushort_as_bfloat16(unsigned short x) { return __nv_bfloat16::of(x); }
static inline __nv_bfloat16 __short_as_bfloat16(short x) { return __nv_bfloat16::of(static_cast<unsigned short>(x)); }
static inline unsigned short __bfloat16_as_ushort(__nv_bfloat16 x) { return x.bits; }
static inline short __bfloat16_as_short(__nv_bfloat16 x) { return static_cast<short>(x.bits); }
static inline __nv_bfloat16 __int2bfloat16_rn(int x) { return x; }
static inline __nv_bfloat16 __uint2bfloat16_rn(unsigned x) { return x; }
static inline __nv_bfloat16 __ll2bfloat16_rn(long long x) { return x; }
static inline int __bfloat162int_rn(__nv_bfloat16 x) { return __float2int_rn(x); }
static inline int __bfloat162int_rz(__nv_bfloat16 x) { return __float2int_rz(x); }
static inline long long __bfloat162ll_rz(__nv_bfloat16 x) { return __float2ll_rz(x); }
