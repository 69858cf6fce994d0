/* linalg.h - small dense linear algebra on batches of row-major matrices, for f32 f64 c64 c128.
 *
 * The work is done in double (complex for c64 and c128) and rounded once, with LAPACK's conventions: partial pivoting with
 * 1-based pivots, reflectors whose R may have a negative diagonal, eigenvalues of hermitian matrices ascending, singular
 * values descending, eigenvectors of unit length. T is the element, R its real part's type, C the complex type.
 * `info` gets one number per matrix (0 is success); functions with `checked` return 1 if it is set and any is not 0,
 * else 0. `scratch`: castoff_linalg_scratch_bytes(m, n) bytes aligned to 16, one thread's own, where m is the number of
 * rows and n the widest matrix of that many rows that the call meets (inputs, right-hand sides, results).
 *
 *   lu_factor(lu, pivots, info, a, batch, m, n, checked)          lu_solve(x, lu, pivots, b, batch, n, columns, left, adjoint)
 *   solve(x, lu, pivots, info, a, b, batch, n, columns, left, checked)     inverse(x, info, a, batch, n, checked)
 *   det(det, a, batch, n)      slogdet(sign, logabsdet, a, batch, n)
 *   cholesky(l, info, a, batch, n, upper, checked)  cholesky_solve(x, b, l, batch, n, columns, upper)  cholesky_inverse(x, l, batch, n, upper)
 *   triangular_solve(x, a, b, batch, n, columns, upper, transpose, unit, left)   transpose: 0 none, 1 transposed, 2 adjoint
 *   geqrf(a_out, tau, a, batch, m, n)     qr(q, r, a, batch, m, n, q_columns, r_rows)
 *   householder_product(q, a, tau, batch, m, n, k)     ormqr(c_out, a, tau, c, batch, m, n, k, left, adjoint)
 *   eigh(values, vectors, a, batch, n, upper)      eigvalsh(values, a, batch, n, upper)
 *   eig(values, vectors, a, batch, n)      eigvals(values, a, batch, n)
 *   svd(u, s, vh, a, batch, m, n, is_full)       svdvals(s, a, batch, m, n)
 *   matrix_exp(out, a, batch, n)
 * Each is castoff_<name>_<suffix> and takes `scratch` last.
 */
#ifndef CASTOFF_COMMON_LINALG_H
#define CASTOFF_COMMON_LINALG_H

#include "types.h"

CASTOFF_INLINE int64_t castoff_linalg_scratch_bytes(int64_t m, int64_t n) {
    int64_t larger = m > n ? m : n, smaller = m > n ? n : m;
    return 16 * (4 * larger * smaller + 5 * smaller * smaller + 16 * larger + 64);
}

#define W double
#define N(name) castoff_##name##_working_f64
#define CASTOFF_IS_COMPLEX 0
#include "linalg_working.h"
#undef W
#undef N
#undef CASTOFF_IS_COMPLEX
#define W double _Complex
#define N(name) castoff_##name##_working_c128
#define CASTOFF_IS_COMPLEX 1
#include "linalg_working.h"
#undef W
#undef N
#undef CASTOFF_IS_COMPLEX

#include "linalg_eigen.h"

CASTOFF_INLINE double castoff_load_f32_working(float x) { return (double)x; }
CASTOFF_INLINE double castoff_load_f64_working(double x) { return x; }
CASTOFF_INLINE double _Complex castoff_load_c64_working(castoff_c64 z) {
    double _Complex native;
    __real__ native = (double)z.re;
    __imag__ native = (double)z.im;
    return native;
}
CASTOFF_INLINE double _Complex castoff_load_c128_working(castoff_c128 z) {
    double _Complex native;
    __real__ native = z.re;
    __imag__ native = z.im;
    return native;
}
CASTOFF_INLINE float castoff_store_f32_working(double x) { return (float)x; }
CASTOFF_INLINE double castoff_store_f64_working(double x) { return x; }
CASTOFF_INLINE castoff_c64 castoff_store_c64_working(double _Complex z) {
    return (castoff_c64){(float)__real__ z, (float)__imag__ z};
}
CASTOFF_INLINE castoff_c128 castoff_store_c128_working(double _Complex z) {
    return (castoff_c128){__real__ z, __imag__ z};
}

#define S f32
#define T float
#define R float
#define C castoff_c64
#define W double
#define WS f64
#define CS c64
#define IS_COMPLEX 0
#include "linalg_batched.h"
#define S f64
#define T double
#define R double
#define C castoff_c128
#define W double
#define WS f64
#define CS c128
#define IS_COMPLEX 0
#include "linalg_batched.h"
#define S c64
#define T castoff_c64
#define R float
#define C castoff_c64
#define W double _Complex
#define WS c128
#define CS c64
#define IS_COMPLEX 1
#include "linalg_batched.h"
#define S c128
#define T castoff_c128
#define R double
#define C castoff_c128
#define W double _Complex
#define WS c128
#define CS c128
#define IS_COMPLEX 1
#include "linalg_batched.h"

#endif
