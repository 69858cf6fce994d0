/* linalg_ldl.h - L D L^T of symmetric (or, with `hermitian`, hermitian) matrices, for f32 f64 c64 c128.
 *
 *   ldl_factor(ld, pivots, info, a, batch, n, hermitian, checked, scratch)
 *   ldl_solve(x, ld, pivots, b, batch, n, columns, hermitian, scratch)      returns 1 where pivots are none of ldl_factor's
 * Each is castoff_<name>_<suffix>; conventions and scratch (of n and the wider of n and columns) as in linalg.h. Diagonal
 * pivoting of Bunch and Kaufman (Mathematics of Computation 31, 1977); what is stored is what LAPACK's sytrf and hetrf
 * store for the lower triangle: pivots are 1-based, a block of two rows has its row negative, twice.
 */
#ifndef CASTOFF_COMMON_LINALG_LDL_H
#define CASTOFF_COMMON_LINALG_LDL_H

#include "linalg.h"

#define S f32
#define T float
#define W double
#define IS_COMPLEX 0
#include "linalg_ldl_working.h"
#define S f64
#define T double
#define W double
#define IS_COMPLEX 0
#include "linalg_ldl_working.h"
#define S c64
#define T castoff_c64
#define W double _Complex
#define IS_COMPLEX 1
#include "linalg_ldl_working.h"
#define S c128
#define T castoff_c128
#define W double _Complex
#define IS_COMPLEX 1
#include "linalg_ldl_working.h"

#endif
