/* gemm_exact.h - matrix products of integers, with the wrap-around of their own type, and of complex numbers.
 *
 * For each T of i8 u8 i16 u16 i32 u32 i64 u64 (int8_t ...), c64 (float _Complex) and c128 (double _Complex) there are
 * castoff_gemm_T_args, castoff_gemm_T_run(args, pool, scratch) and castoff_gemm_T_scratch(batch, m, n, k, 0, threads) as in
 * gemm.h, with input and output type T, but for b_packed, bias_row, bias_col and relu, which do not exist here.
 * The epilogue's tiles are 4 x 16 of T.
 */
#ifndef CASTOFF_CPU_GEMM_EXACT_H
#define CASTOFF_CPU_GEMM_EXACT_H

#include "gemm.h"

#define G(name) castoff_gemm_i8_##name
#define T int8_t
#define PART int8_t
#define WIDE uint32_t
#define PARTS 1
#include "gemm_exact_engine.h"

#define G(name) castoff_gemm_u8_##name
#define T uint8_t
#define PART uint8_t
#define WIDE uint32_t
#define PARTS 1
#include "gemm_exact_engine.h"

#define G(name) castoff_gemm_i16_##name
#define T int16_t
#define PART int16_t
#define WIDE uint32_t
#define PARTS 1
#include "gemm_exact_engine.h"

#define G(name) castoff_gemm_u16_##name
#define T uint16_t
#define PART uint16_t
#define WIDE uint32_t
#define PARTS 1
#include "gemm_exact_engine.h"

#define G(name) castoff_gemm_i32_##name
#define T int32_t
#define PART int32_t
#define WIDE uint32_t
#define PARTS 1
#include "gemm_exact_engine.h"

#define G(name) castoff_gemm_u32_##name
#define T uint32_t
#define PART uint32_t
#define WIDE uint32_t
#define PARTS 1
#include "gemm_exact_engine.h"

#define G(name) castoff_gemm_i64_##name
#define T int64_t
#define PART int64_t
#define WIDE uint64_t
#define PARTS 1
#include "gemm_exact_engine.h"

#define G(name) castoff_gemm_u64_##name
#define T uint64_t
#define PART uint64_t
#define WIDE uint64_t
#define PARTS 1
#include "gemm_exact_engine.h"

#define G(name) castoff_gemm_c64_##name
#define T float _Complex
#define PART float
#define WIDE float
#define PARTS 2
#include "gemm_exact_engine.h"

#define G(name) castoff_gemm_c128_##name
#define T double _Complex
#define PART double
#define WIDE double
#define PARTS 2
#include "gemm_exact_engine.h"

#endif
