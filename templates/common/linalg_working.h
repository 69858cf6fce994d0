/* linalg_working.h - dense linear algebra in one working type; included by linalg.h for double and double complex.
 *
 * The includer defines W (the type), N(name) (the name in that type) and CASTOFF_IS_COMPLEX. Matrices are row-major, without padding.
 */
#if CASTOFF_IS_COMPLEX
#define RE(z) (__real__(z))
#define IM(z) (__imag__(z))
#define CONJ(z) (~(z))
#define SIZE(z) __builtin_hypot(__real__(z), __imag__(z))
#else
#define RE(z) (z)
#define IM(z) 0.0
#define CONJ(z) (z)
#define SIZE(z) __builtin_fabs(z)
#endif
/* What LAPACK compares pivots by. */
#define SIZE1(z) (__builtin_fabs(RE(z)) + __builtin_fabs(IM(z)))
#define SQUARE(z) (RE(z) * RE(z) + IM(z) * IM(z))

/* LU with partial pivoting, in place; pivots are 1-based row numbers. Returns 0, or 1 + the first zero pivot's index. */
CASTOFF_LARGE int32_t N(lu)(W *a, int32_t *pivots, int64_t m, int64_t n) {
    int32_t info = 0;
    int64_t steps = m < n ? m : n;
    for (int64_t k = 0; k < steps; k++) {
        int64_t pivot = k;
        for (int64_t i = k + 1; i < m; i++)
            if (SIZE1(a[i * n + k]) > SIZE1(a[pivot * n + k])) pivot = i;
        pivots[k] = (int32_t)pivot + 1;
        if (a[pivot * n + k] == 0) {
            if (!info) info = (int32_t)k + 1;
            continue;
        }
        for (int64_t j = 0; j < n && pivot != k; j++) {
            W swapped = a[k * n + j];
            a[k * n + j] = a[pivot * n + j];
            a[pivot * n + j] = swapped;
        }
        for (int64_t i = k + 1; i < m; i++) {
            W factor = a[i * n + k] / a[k * n + k];
            a[i * n + k] = factor;
            for (int64_t j = k + 1; j < n; j++) a[i * n + j] -= factor * a[k * n + j];
        }
    }
    return info;
}

/* Solves op(T) X = B in place, T the upper or lower triangle of a; transpose: 0 none, 1 transposed, 2 adjoint. */
CASTOFF_LARGE void N(triangular)(const W *a, W *b, int64_t n, int64_t columns, int64_t upper, int64_t transpose, int64_t unit) {
    int is_backward = (upper != 0) != (transpose != 0);
    for (int64_t step = 0; step < n; step++) {
        int64_t i = is_backward ? n - 1 - step : step;
        W *row = b + i * columns;
        int64_t first = is_backward ? i + 1 : 0, last = is_backward ? n : i;
        for (int64_t k = first; k < last; k++) {
            W factor = transpose ? a[k * n + i] : a[i * n + k];
            if (transpose == 2) factor = CONJ(factor);
            for (int64_t j = 0; j < columns; j++) row[j] -= factor * b[k * columns + j];
        }
        if (unit) continue;
        W diagonal = transpose == 2 ? CONJ(a[i * n + i]) : a[i * n + i];
        for (int64_t j = 0; j < columns; j++) row[j] /= diagonal;
    }
}

/* Solves op(A) X = B in place, given A's LU. */
CASTOFF_LARGE void N(lu_solve)(const W *lu, const int32_t *pivots, W *b, int64_t n, int64_t columns, int64_t transpose) {
    if (transpose) {
        N(triangular)(lu, b, n, columns, 1, transpose, 0);
        N(triangular)(lu, b, n, columns, 0, transpose, 1);
    }
    for (int64_t step = 0; step < n; step++) {
        int64_t k = transpose ? n - 1 - step : step, pivot = pivots[k] - 1;
        for (int64_t j = 0; j < columns && pivot != k; j++) {
            W swapped = b[k * columns + j];
            b[k * columns + j] = b[pivot * columns + j];
            b[pivot * columns + j] = swapped;
        }
    }
    if (!transpose) {
        N(triangular)(lu, b, n, columns, 0, 0, 1);
        N(triangular)(lu, b, n, columns, 1, 0, 0);
    }
}

/* The lower Cholesky factor in place, zeros above. Returns 0, or the order of the first minor that is not positive. */
CASTOFF_LARGE int32_t N(cholesky)(W *a, int64_t n) {
    int32_t info = 0;
    for (int64_t j = 0; j < n && !info; j++) {
        for (int64_t i = j; i < n; i++) {
            W sum = a[i * n + j];
            for (int64_t k = 0; k < j; k++) sum -= a[i * n + k] * CONJ(a[j * n + k]);
            if (i > j) {
                a[i * n + j] = sum / RE(a[j * n + j]);
                continue;
            }
            if (!(RE(sum) > 0)) info = (int32_t)j + 1;
            a[i * n + j] = info ? RE(sum) : __builtin_sqrt(RE(sum));
            if (info) break;
        }
    }
    for (int64_t i = 0; i < n; i++)
        for (int64_t j = i + 1; j < n; j++) a[i * n + j] = 0;
    return info;
}

/* LAPACK's elementary reflector (xLARFG) of the column a, a + stride, ...: H = I - tau v v^H with v[0] = 1 makes it
 * (beta, 0, ...), beta real. The column becomes beta and the rest of v. */
CASTOFF_LARGE W N(reflector)(W *a, int64_t length, int64_t stride) {
    double largest = 0.0, sum = 0.0;
    for (int64_t i = 1; i < length; i++) {
        double size = SIZE1(a[i * stride]);
        largest = size > largest ? size : largest;
    }
    if (largest == 0.0 && IM(a[0]) == 0.0) return 0;
    if (SIZE1(a[0]) > largest) largest = SIZE1(a[0]);
    for (int64_t i = 0; i < length; i++) {
        W scaled = a[i * stride] / largest;
        sum += SQUARE(scaled);
    }
    double beta = -__builtin_copysign(largest * __builtin_sqrt(sum), RE(a[0]));
    W tau = (beta - a[0]) / beta, scale = a[0] - beta;
    for (int64_t i = 1; i < length; i++) a[i * stride] /= scale;
    a[0] = beta;
    return tau;
}
/* C := (I - tau v v^H) C for a block of `length` rows; v[0] = 1, the rest of v is a column of stride v_stride. */
CASTOFF_LARGE void N(reflect)(const W *v, int64_t v_stride, W tau, W *c, int64_t length, int64_t columns, int64_t stride, W *row) {
    for (int64_t j = 0; j < columns; j++) row[j] = c[j];
    for (int64_t i = 1; i < length; i++) {
        W factor = CONJ(v[i * v_stride]);
        for (int64_t j = 0; j < columns; j++) row[j] += factor * c[i * stride + j];
    }
    for (int64_t j = 0; j < columns; j++) {
        row[j] *= tau;
        c[j] -= row[j];
    }
    for (int64_t i = 1; i < length; i++) {
        W factor = v[i * v_stride];
        for (int64_t j = 0; j < columns; j++) c[i * stride + j] -= factor * row[j];
    }
}
/* Householder QR in place: R above, the reflectors below. `row` holds n elements. */
CASTOFF_LARGE void N(qr)(W *a, W *tau, int64_t m, int64_t n, W *row) {
    int64_t steps = m < n ? m : n;
    for (int64_t k = 0; k < steps; k++) {
        W *corner = a + k * n + k;
        tau[k] = N(reflector)(corner, m - k, n);
        N(reflect)(corner, n, CONJ(tau[k]), corner + 1, m - k, n - k - 1, n, row);
    }
}
/* C := H_1 ... H_k C, or its adjoint times C, for C of m rows; the reflectors are columns of a (row length n). */
CASTOFF_LARGE void N(apply_q)(const W *a, const W *tau, int64_t n, int64_t k, W *c, int64_t m, int64_t columns, int is_adjoint, W *row) {
    for (int64_t step = 0; step < k; step++) {
        int64_t i = is_adjoint ? step : k - 1 - step;
        W factor = is_adjoint ? CONJ(tau[i]) : tau[i];
        N(reflect)(a + i * n + i, n, factor, c + i * columns, m - i, columns, columns, row);
    }
}

/* Rows p and q of `rows`, of `length`: p' = c p - s conj(e) q, q' = s p + c conj(e) q. */
CASTOFF_INLINE void N(rotate)(W *p, W *q, int64_t length, int64_t stride, double c, double s, W e) {
    W unit = CONJ(e);
    for (int64_t k = 0; k < length; k++) {
        W x = p[k * stride], y = unit * q[k * stride];
        p[k * stride] = c * x - s * y;
        q[k * stride] = s * x + c * y;
    }
}
/* The rotation that makes a 2x2 hermitian matrix (alpha, gamma; ., beta) diagonal. */
CASTOFF_INLINE void N(jacobi_angle)(double alpha, double beta, double size, double *c, double *s) {
    double theta = (beta - alpha) / (2.0 * size);
    double t = __builtin_copysign(1.0, theta) / (__builtin_fabs(theta) + __builtin_hypot(theta, 1.0));
    *c = 1.0 / __builtin_sqrt(1.0 + t * t);
    *s = t * *c;
}
/* Orders rows of v (and values) by value; direction 1 ascending, -1 descending. */
CASTOFF_LARGE void N(order)(double *values, W *v, int64_t count, int64_t length, W *u, int64_t u_length, double direction) {
    for (int64_t i = 0; i < count; i++) {
        int64_t best = i;
        for (int64_t j = i + 1; j < count; j++)
            if (direction * values[j] < direction * values[best]) best = j;
        if (best == i) continue;
        double value = values[i];
        values[i] = values[best];
        values[best] = value;
        for (int64_t k = 0; k < length && v; k++) {
            W swapped = v[i * length + k];
            v[i * length + k] = v[best * length + k];
            v[best * length + k] = swapped;
        }
        for (int64_t k = 0; k < u_length && u; k++) {
            W swapped = u[i * u_length + k];
            u[i * u_length + k] = u[best * u_length + k];
            u[best * u_length + k] = swapped;
        }
    }
}
/* Eigenvalues, ascending, and eigenvectors (rows of v, unless null) of a hermitian matrix, which is destroyed. Cyclic
 * Jacobi (Golub & Van Loan, 8.5). */
CASTOFF_LARGE void N(eigh)(W *a, double *values, W *v, int64_t n) {
    for (int64_t i = 0; i < n && v; i++)
        for (int64_t j = 0; j < n; j++) v[i * n + j] = i == j;
    for (int sweep = 0; sweep < 60; sweep++) {
        int is_done = 1;
        for (int64_t p = 0; p < n; p++)
            for (int64_t q = p + 1; q < n; q++) {
                double size = SIZE(a[p * n + q]), alpha = RE(a[p * n + p]), beta = RE(a[q * n + q]), c, s;
                if (size == 0.0 || size <= 1e-17 * __builtin_sqrt(__builtin_fabs(alpha) * __builtin_fabs(beta))) continue;
                if (size < 1e-300) continue;
                is_done = 0;
                W e = a[p * n + q] / size;
                N(jacobi_angle)(alpha, beta, size, &c, &s);
                N(rotate)(a + p, a + q, n, n, c, s, e);
                N(rotate)(a + p * n, a + q * n, n, 1, c, s, CONJ(e));
                a[p * n + q] = a[q * n + p] = 0;
                if (v) N(rotate)(v + p * n, v + q * n, n, 1, c, s, e);
            }
        if (is_done) break;
    }
    for (int64_t i = 0; i < n; i++) values[i] = RE(a[i * n + i]);
    N(order)(values, v, n, n, 0, 0, 1.0);
}

/* Makes rows first..count-1 of u orthonormal to all before them, starting from unit vectors. */
CASTOFF_LARGE void N(complete)(W *u, int64_t first, int64_t count, int64_t length) {
    int64_t axis = 0;
    for (int64_t i = first; i < count; i++) {
        W *row = u + i * length;
        for (;; axis++) {
            for (int64_t k = 0; k < length; k++) row[k] = k == axis % length;
            for (int pass = 0; pass < 2; pass++)
                for (int64_t j = 0; j < i; j++) {
                    W dot = 0;
                    for (int64_t k = 0; k < length; k++) dot += CONJ(u[j * length + k]) * row[k];
                    for (int64_t k = 0; k < length; k++) row[k] -= dot * u[j * length + k];
                }
            double sum = 0.0;
            for (int64_t k = 0; k < length; k++) sum += SQUARE(row[k]);
            if (sum * (double)length < 0.25 && axis < 2 * length) continue;
            double norm = __builtin_sqrt(sum);
            for (int64_t k = 0; k < length; k++) row[k] /= norm;
            axis++;
            break;
        }
    }
}
/* Singular values, descending, of the matrix whose columns are the n rows of u (length m >= n). Rows of u become left
 * singular vectors, completed to u_count of them; rows of v (n x n, may be null) the right ones. One-sided Jacobi
 * (Hestenes, 1958). */
CASTOFF_LARGE void N(svd)(W *u, double *values, W *v, int64_t m, int64_t n, int64_t u_count) {
    for (int64_t i = 0; i < n && v; i++)
        for (int64_t j = 0; j < n; j++) v[i * n + j] = i == j;
    for (int sweep = 0; sweep < 60; sweep++) {
        int is_done = 1;
        for (int64_t p = 0; p < n; p++)
            for (int64_t q = p + 1; q < n; q++) {
                W gamma = 0;
                double alpha = 0.0, beta = 0.0, c, s;
                for (int64_t k = 0; k < m; k++) {
                    alpha += SQUARE(u[p * m + k]);
                    beta += SQUARE(u[q * m + k]);
                    gamma += CONJ(u[p * m + k]) * u[q * m + k];
                }
                double size = SIZE(gamma);
                if (!(size > 1e-16 * __builtin_sqrt(alpha * beta)) || size < 1e-300) continue;
                is_done = 0;
                N(jacobi_angle)(alpha, beta, size, &c, &s);
                N(rotate)(u + p * m, u + q * m, m, 1, c, s, gamma / size);
                if (v) N(rotate)(v + p * n, v + q * n, n, 1, c, s, gamma / size);
            }
        if (is_done) break;
    }
    for (int64_t i = 0; i < n; i++) {
        double sum = 0.0;
        for (int64_t k = 0; k < m; k++) sum += SQUARE(u[i * m + k]);
        values[i] = __builtin_sqrt(sum);
    }
    N(order)(values, u, n, m, v, n, -1.0);
    int64_t rank = 0;
    for (; rank < n && values[rank] > 1e-15 * values[0] && values[rank] > 0.0; rank++)
        for (int64_t k = 0; k < m; k++) u[rank * m + k] /= values[rank];
    N(complete)(u, rank, u_count, m);
}

CASTOFF_LARGE void N(product)(W *c, const W *a, const W *b, int64_t n) {
    for (int64_t i = 0; i < n; i++) {
        for (int64_t j = 0; j < n; j++) c[i * n + j] = 0;
        for (int64_t k = 0; k < n; k++)
            for (int64_t j = 0; j < n; j++) c[i * n + j] += a[i * n + k] * b[k * n + j];
    }
}
/* exp(A) in a, by scaling, the [13/13] Pade approximant and squaring (Higham, SIAM J. Matrix Anal. 26, 2005).
 * `work` holds 6 n n elements and pivots n. */
CASTOFF_LARGE void N(matrix_exp)(W *a, int64_t n, W *work, int32_t *pivots) {
    static const double c[14] = {64764752532480000.0, 32382376266240000.0, 7771770303897600.0, 1187353796428800.0,
                                 129060195264000.0, 10559470521600.0, 670442572800.0, 33522128640.0, 1323241920.0,
                                 40840800.0, 960960.0, 16380.0, 182.0, 1.0};
    int64_t area = n * n, squarings = 0;
    W *a2 = work, *a4 = work + area, *a6 = work + 2 * area, *u = work + 3 * area, *v = work + 4 * area, *t = work + 5 * area;
    double norm = 0.0;
    for (int64_t j = 0; j < n; j++) {
        double sum = 0.0;
        for (int64_t i = 0; i < n; i++) sum += SIZE(a[i * n + j]);
        norm = sum > norm || sum != sum ? sum : norm;
    }
    for (; norm > 5.371920351148152 && squarings < 2000; norm *= 0.5) squarings++;
    double scale = __builtin_ldexp(1.0, (int)-squarings);
    for (int64_t k = 0; k < area; k++) a[k] *= scale;
    N(product)(a2, a, a, n);
    N(product)(a4, a2, a2, n);
    N(product)(a6, a4, a2, n);
    for (int64_t k = 0; k < area; k++) t[k] = c[13] * a6[k] + c[11] * a4[k] + c[9] * a2[k];
    N(product)(v, a6, t, n);
    for (int64_t k = 0; k < area; k++) v[k] += c[7] * a6[k] + c[5] * a4[k] + c[3] * a2[k];
    for (int64_t k = 0; k < n; k++) v[k * n + k] += c[1];
    N(product)(u, a, v, n);
    for (int64_t k = 0; k < area; k++) t[k] = c[12] * a6[k] + c[10] * a4[k] + c[8] * a2[k];
    N(product)(v, a6, t, n);
    for (int64_t k = 0; k < area; k++) v[k] += c[6] * a6[k] + c[4] * a4[k] + c[2] * a2[k];
    for (int64_t k = 0; k < n; k++) v[k * n + k] += c[0];
    for (int64_t k = 0; k < area; k++) {
        t[k] = v[k] - u[k];
        a[k] = v[k] + u[k];
    }
    N(lu)(t, pivots, n, n);
    N(lu_solve)(t, pivots, a, n, n, 0);
    for (; squarings > 0; squarings--) {
        N(product)(u, a, a, n);
        memcpy(a, u, (size_t)area * sizeof *a);
    }
}

/* Upper Hessenberg form in place by reflectors; z (unless null) becomes the unitary Z with A = Z H Z^H. `row` holds 2 n. */
CASTOFF_LARGE void N(hessenberg)(W *a, W *z, int64_t n, W *row) {
    for (int64_t i = 0; i < n && z; i++)
        for (int64_t j = 0; j < n; j++) z[i * n + j] = i == j;
    for (int64_t k = 0; k + 2 < n; k++) {
        int64_t length = n - k - 1;
        W tau = N(reflector)(a + (k + 1) * n + k, length, n), *v = row + n;
        v[0] = 1;
        for (int64_t i = 1; i < length; i++) {
            v[i] = a[(k + 1 + i) * n + k];
            a[(k + 1 + i) * n + k] = 0;
        }
        N(reflect)(v, 1, CONJ(tau), a + (k + 1) * n + k + 1, length, length, n, row);
        for (int side = 0; side < 2; side++) { /* (.) := (.) (I - tau v v^H) */
            W *c = side ? z : a;
            for (int64_t i = 0; i < n && c; i++) {
                W dot = 0;
                for (int64_t j = 0; j < length; j++) dot += c[i * n + k + 1 + j] * v[j];
                dot *= tau;
                for (int64_t j = 0; j < length; j++) c[i * n + k + 1 + j] -= dot * CONJ(v[j]);
            }
        }
    }
}

#undef RE
#undef IM
#undef CONJ
#undef SIZE
#undef SIZE1
#undef SQUARE
