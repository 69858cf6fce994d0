/* linalg_batched.h - the functions of linalg.h for one element type; included by linalg.h once per type, and by nothing else.
 *
 * S suffix, T element, R its real type, C its complex type, W working type, WS its suffix, CS suffix of C, IS_COMPLEX.
 */
#define PASTE3_(a, b, c) a##b##_##c
#define PASTE3(a, b, c) PASTE3_(a, b, c)
#define PASTE_WORKING_(a, b) castoff_##a##_working_##b
#define PASTE_WORKING(a, b) PASTE_WORKING_(a, b)
#define PASTE_LOAD_(a, b) castoff_##a##_##b##_working
#define PASTE_LOAD(a, b) PASTE_LOAD_(a, b)
#define NAME(name) PASTE3(castoff_, name, S)
#define WORK(name) PASTE_WORKING(name, WS)
#define LOAD(x) PASTE_LOAD(load, S)(x)
#define STORE(x) PASTE_LOAD(store, S)(x)
#define STORE_COMPLEX(x) PASTE_LOAD(store, CS)(x)
#define EPSILON (sizeof(R) == 4 ? 1.1920929e-07 : 2.220446049250313e-16)
#if IS_COMPLEX
#define CONJ(z) (~(z))
#define REAL(z) (__real__(z))
#else
#define CONJ(z) (z)
#define REAL(z) (z)
#endif

CASTOFF_INLINE void NAME(load_matrix)(W *to, const T *from, int64_t count) {
    for (int64_t k = 0; k < count; k++) to[k] = LOAD(from[k]);
}
CASTOFF_INLINE void NAME(store_matrix)(T *to, const W *from, int64_t count) {
    for (int64_t k = 0; k < count; k++) to[k] = STORE(from[k]);
}
/* to [n, m] = from [m, n], transposed; conjugated too if asked. */
CASTOFF_INLINE void NAME(load_transposed)(W *to, const T *from, int64_t m, int64_t n, int64_t is_adjoint) {
    for (int64_t i = 0; i < m; i++)
        for (int64_t j = 0; j < n; j++) {
            W value = LOAD(from[i * n + j]);
            to[j * m + i] = is_adjoint ? CONJ(value) : value;
        }
}
CASTOFF_INLINE void NAME(store_transposed)(T *to, const W *from, int64_t m, int64_t n, int64_t is_adjoint) {
    for (int64_t i = 0; i < m; i++)
        for (int64_t j = 0; j < n; j++) to[j * m + i] = STORE(is_adjoint ? CONJ(from[i * n + j]) : from[i * n + j]);
}

CASTOFF_LARGE int NAME(lu_factor)(T *lu, int32_t *pivots, int32_t *info, const T *a, int64_t batch, int64_t m, int64_t n,
                                  int64_t checked, void *scratch) {
    int64_t steps = m < n ? m : n;
    int failed = 0;
    for (int64_t b = 0; b < batch; b++) {
        W *work = scratch;
        NAME(load_matrix)(work, a + b * m * n, m * n);
        info[b] = WORK(lu)(work, pivots + b * steps, m, n);
        failed |= info[b] != 0;
        NAME(store_matrix)(lu + b * m * n, work, m * n);
    }
    return checked && failed;
}

/* X with A X = B or, unless left, X A = B; by adjoint, with A^H for A. B and X are [n, columns], or [columns, n]. */
CASTOFF_LARGE void NAME(lu_apply)(const W *lu, const int32_t *pivots, T *x, const T *b, int64_t n, int64_t columns,
                                  int64_t left, int64_t adjoint, W *right) {
    if (left) {
        NAME(load_matrix)(right, b, n * columns);
        WORK(lu_solve)(lu, pivots, right, n, columns, adjoint ? 2 : 0);
        NAME(store_matrix)(x, right, n * columns);
        return;
    }
    /* X A = B is A^T X^T = B^T; X A^H = B is A X^H = B^H. */
    NAME(load_transposed)(right, b, columns, n, adjoint);
    WORK(lu_solve)(lu, pivots, right, n, columns, adjoint ? 0 : 1);
    NAME(store_transposed)(x, right, n, columns, adjoint);
}
CASTOFF_LARGE void NAME(lu_solve)(T *x, const T *lu, const int32_t *pivots, const T *b, int64_t batch, int64_t n,
                                  int64_t columns, int64_t left, int64_t adjoint, void *scratch) {
    for (int64_t k = 0; k < batch; k++) {
        W *work = scratch;
        NAME(load_matrix)(work, lu + k * n * n, n * n);
        NAME(lu_apply)(work, pivots + k * n, x + k * n * columns, b + k * n * columns, n, columns, left, adjoint, work + n * n);
    }
}
CASTOFF_LARGE int NAME(solve)(T *x, T *lu, int32_t *pivots, int32_t *info, const T *a, const T *b, int64_t batch, int64_t n,
                              int64_t columns, int64_t left, int64_t checked, void *scratch) {
    int failed = 0;
    for (int64_t k = 0; k < batch; k++) {
        W *work = scratch;
        NAME(load_matrix)(work, a + k * n * n, n * n);
        info[k] = WORK(lu)(work, pivots + k * n, n, n);
        failed |= info[k] != 0;
        NAME(store_matrix)(lu + k * n * n, work, n * n);
        NAME(lu_apply)(work, pivots + k * n, x + k * n * columns, b + k * n * columns, n, columns, left, 0, work + n * n);
    }
    return checked && failed;
}
CASTOFF_LARGE int NAME(inverse)(T *x, int32_t *info, const T *a, int64_t batch, int64_t n, int64_t checked, void *scratch) {
    int failed = 0;
    for (int64_t k = 0; k < batch; k++) {
        W *work = scratch, *right = work + n * n;
        int32_t *pivots = (int32_t *)(right + n * n);
        NAME(load_matrix)(work, a + k * n * n, n * n);
        info[k] = WORK(lu)(work, pivots, n, n);
        failed |= info[k] != 0;
        for (int64_t i = 0; i < n; i++)
            for (int64_t j = 0; j < n; j++) right[i * n + j] = i == j;
        WORK(lu_solve)(work, pivots, right, n, n, 0);
        NAME(store_matrix)(x + k * n * n, right, n * n);
    }
    return checked && failed;
}
CASTOFF_LARGE void NAME(det)(T *det, const T *a, int64_t batch, int64_t n, void *scratch) {
    for (int64_t k = 0; k < batch; k++) {
        W *work = scratch, product = 1;
        int32_t *pivots = (int32_t *)(work + n * n);
        NAME(load_matrix)(work, a + k * n * n, n * n);
        WORK(lu)(work, pivots, n, n);
        for (int64_t i = 0; i < n; i++) product *= pivots[i] != i + 1 ? -work[i * n + i] : work[i * n + i];
        det[k] = STORE(product);
    }
}
CASTOFF_LARGE void NAME(slogdet)(T *sign, R *logabsdet, const T *a, int64_t batch, int64_t n, void *scratch) {
    for (int64_t k = 0; k < batch; k++) {
        W *work = scratch, unit = 1;
        double sum = 0.0;
        int32_t *pivots = (int32_t *)(work + n * n);
        NAME(load_matrix)(work, a + k * n * n, n * n);
        WORK(lu)(work, pivots, n, n);
        for (int64_t i = 0; i < n; i++) {
            W factor = pivots[i] != i + 1 ? -work[i * n + i] : work[i * n + i];
#if IS_COMPLEX
            double size = __builtin_hypot(__real__ factor, __imag__ factor);
#else
            double size = __builtin_fabs(factor);
#endif
            sum += __builtin_log(size);
            unit *= size == 0.0 ? factor : factor / size;
        }
        sign[k] = STORE(unit);
        logabsdet[k] = (R)sum;
    }
}

/* Reads one triangle only, and gives L, or with `upper` L^H. */
CASTOFF_LARGE int NAME(cholesky)(T *l, int32_t *info, const T *a, int64_t batch, int64_t n, int64_t upper, int64_t checked,
                                 void *scratch) {
    int failed = 0;
    for (int64_t k = 0; k < batch; k++) {
        W *work = scratch;
        if (upper) NAME(load_transposed)(work, a + k * n * n, n, n, 1);
        else NAME(load_matrix)(work, a + k * n * n, n * n);
        info[k] = WORK(cholesky)(work, n);
        failed |= info[k] != 0;
        if (upper) NAME(store_transposed)(l + k * n * n, work, n, n, 1);
        else NAME(store_matrix)(l + k * n * n, work, n * n);
    }
    return checked && failed;
}
CASTOFF_LARGE void NAME(cholesky_solve)(T *x, const T *b, const T *l, int64_t batch, int64_t n, int64_t columns,
                                        int64_t upper, void *scratch) {
    for (int64_t k = 0; k < batch; k++) {
        W *work = scratch, *right = work + n * n;
        NAME(load_matrix)(work, l + k * n * n, n * n);
        NAME(load_matrix)(right, b + k * n * columns, n * columns);
        WORK(triangular)(work, right, n, columns, upper, upper ? 2 : 0, 0);
        WORK(triangular)(work, right, n, columns, upper, upper ? 0 : 2, 0);
        NAME(store_matrix)(x + k * n * columns, right, n * columns);
    }
}
CASTOFF_LARGE void NAME(cholesky_inverse)(T *x, const T *l, int64_t batch, int64_t n, int64_t upper, void *scratch) {
    for (int64_t k = 0; k < batch; k++) {
        W *work = scratch, *right = work + n * n;
        NAME(load_matrix)(work, l + k * n * n, n * n);
        for (int64_t i = 0; i < n; i++)
            for (int64_t j = 0; j < n; j++) right[i * n + j] = i == j;
        WORK(triangular)(work, right, n, n, upper, upper ? 2 : 0, 0);
        WORK(triangular)(work, right, n, n, upper, upper ? 0 : 2, 0);
        NAME(store_matrix)(x + k * n * n, right, n * n);
    }
}
CASTOFF_LARGE void NAME(triangular_solve)(T *x, const T *a, const T *b, int64_t batch, int64_t n, int64_t columns,
                                          int64_t upper, int64_t transpose, int64_t unit, int64_t left, void *scratch) {
    for (int64_t k = 0; k < batch; k++) {
        W *work = scratch, *right = work + n * n;
        NAME(load_matrix)(work, a + k * n * n, n * n);
        if (left) {
            NAME(load_matrix)(right, b + k * n * columns, n * columns);
            WORK(triangular)(work, right, n, columns, upper, transpose, unit);
            NAME(store_matrix)(x + k * n * columns, right, n * columns);
            continue;
        }
        /* X op(A) = B is op(A)^T X^T = B^T; for the adjoint A X^H = B^H. */
        NAME(load_transposed)(right, b + k * n * columns, columns, n, transpose == 2);
        WORK(triangular)(work, right, n, columns, upper, transpose == 0, unit);
        NAME(store_transposed)(x + k * n * columns, right, n, columns, transpose == 2);
    }
}

CASTOFF_LARGE void NAME(geqrf)(T *out, T *tau, const T *a, int64_t batch, int64_t m, int64_t n, void *scratch) {
    int64_t steps = m < n ? m : n;
    for (int64_t k = 0; k < batch; k++) {
        W *work = scratch, *factor = work + m * n, *row = factor + steps;
        NAME(load_matrix)(work, a + k * m * n, m * n);
        WORK(qr)(work, factor, m, n, row);
        NAME(store_matrix)(out + k * m * n, work, m * n);
        NAME(store_matrix)(tau + k * steps, factor, steps);
    }
}
/* q: [m, q_columns], r: [r_rows, n]; either may be 0 wide. */
CASTOFF_LARGE void NAME(qr)(T *q, T *r, const T *a, int64_t batch, int64_t m, int64_t n, int64_t q_columns, int64_t r_rows,
                            void *scratch) {
    int64_t steps = m < n ? m : n;
    for (int64_t k = 0; k < batch; k++) {
        W *work = scratch, *factor = work + m * n, *row = factor + steps, *full = row + (m > n ? m : n);
        NAME(load_matrix)(work, a + k * m * n, m * n);
        WORK(qr)(work, factor, m, n, row);
        for (int64_t i = 0; i < r_rows; i++)
            for (int64_t j = 0; j < n; j++) r[(k * r_rows + i) * n + j] = STORE(j < i ? (W)0 : work[i * n + j]);
        if (q_columns == 0) continue;
        for (int64_t i = 0; i < m; i++)
            for (int64_t j = 0; j < q_columns; j++) full[i * q_columns + j] = i == j;
        WORK(apply_q)(work, factor, n, steps, full, m, q_columns, 0, row);
        NAME(store_matrix)(q + k * m * q_columns, full, m * q_columns);
    }
}
/* The first n columns of H_1 ... H_k, whose vectors are the columns of a [m, n]. */
CASTOFF_LARGE void NAME(householder_product)(T *q, const T *a, const T *tau, int64_t batch, int64_t m, int64_t n, int64_t k,
                                             void *scratch) {
    for (int64_t b = 0; b < batch; b++) {
        W *work = scratch, *factor = work + m * n, *row = factor + k, *full = row + n;
        NAME(load_matrix)(work, a + b * m * n, m * n);
        NAME(load_matrix)(factor, tau + b * k, k);
        for (int64_t i = 0; i < m; i++)
            for (int64_t j = 0; j < n; j++) full[i * n + j] = i == j;
        WORK(apply_q)(work, factor, n, k, full, m, n, 0, row);
        NAME(store_matrix)(q + b * m * n, full, m * n);
    }
}
/* Q C, C Q, or with Q^H for Q, for C [m, n]; a is [m, k] where Q is on the left, [n, k] on the right. */
CASTOFF_LARGE void NAME(ormqr)(T *out, const T *a, const T *tau, const T *c, int64_t batch, int64_t m, int64_t n, int64_t k,
                               int64_t left, int64_t adjoint, void *scratch) {
    int64_t order = left ? m : n, columns = left ? n : m;
    for (int64_t b = 0; b < batch; b++) {
        W *work = scratch, *factor = work + order * k, *row = factor + k, *target = row + columns;
        NAME(load_matrix)(work, a + b * order * k, order * k);
        NAME(load_matrix)(factor, tau + b * k, k);
        if (left) NAME(load_matrix)(target, c + b * m * n, m * n);
        else NAME(load_transposed)(target, c + b * m * n, m, n, 1); /* C Q = (Q^H C^H)^H */
        WORK(apply_q)(work, factor, k, k, target, order, columns, left ? adjoint != 0 : adjoint == 0, row);
        if (left) NAME(store_matrix)(out + b * m * n, target, m * n);
        else NAME(store_transposed)(out + b * m * n, target, n, m, 1);
    }
}

CASTOFF_LARGE void NAME(load_hermitian)(W *to, const T *from, int64_t n, int64_t upper) {
    for (int64_t i = 0; i < n; i++)
        for (int64_t j = 0; j <= i; j++) {
            W value = LOAD(upper ? from[j * n + i] : from[i * n + j]);
            if (upper) value = CONJ(value);
            to[i * n + j] = i == j ? (W)REAL(value) : value;
            to[j * n + i] = i == j ? (W)REAL(value) : CONJ(value);
        }
}
CASTOFF_LARGE void NAME(eigh)(R *values, T *vectors, const T *a, int64_t batch, int64_t n, int64_t upper, void *scratch) {
    for (int64_t k = 0; k < batch; k++) {
        W *work = scratch, *v = work + n * n;
        double *found = (double *)(v + n * n);
        NAME(load_hermitian)(work, a + k * n * n, n, upper);
        WORK(eigh)(work, found, v, n);
        for (int64_t i = 0; i < n; i++) values[k * n + i] = (R)found[i];
        NAME(store_transposed)(vectors + k * n * n, v, n, n, 0);
    }
}
CASTOFF_LARGE void NAME(eigvalsh)(R *values, const T *a, int64_t batch, int64_t n, int64_t upper, void *scratch) {
    for (int64_t k = 0; k < batch; k++) {
        W *work = scratch;
        double *found = (double *)(work + n * n);
        NAME(load_hermitian)(work, a + k * n * n, n, upper);
        WORK(eigh)(work, found, 0, n);
        for (int64_t i = 0; i < n; i++) values[k * n + i] = (R)found[i];
    }
}
CASTOFF_LARGE void NAME(eig)(C *values, C *vectors, const T *a, int64_t batch, int64_t n, void *scratch) {
    for (int64_t k = 0; k < batch; k++) {
        double _Complex *found = scratch, *rows = found + n, *work = rows + n * n;
        for (int64_t i = 0; i < n * n; i++) work[i] = LOAD(a[k * n * n + i]);
        castoff_eig_working(work, found, rows, n, !IS_COMPLEX, EPSILON, work + n * n);
        for (int64_t i = 0; i < n; i++) {
            values[k * n + i] = STORE_COMPLEX(found[i]);
            for (int64_t j = 0; j < n; j++) vectors[(k * n + j) * n + i] = STORE_COMPLEX(rows[i * n + j]);
        }
    }
}
CASTOFF_LARGE void NAME(eigvals)(C *values, const T *a, int64_t batch, int64_t n, void *scratch) {
    for (int64_t k = 0; k < batch; k++) {
        double _Complex *found = scratch, *work = found + n;
        for (int64_t i = 0; i < n * n; i++) work[i] = LOAD(a[k * n * n + i]);
        castoff_eig_working(work, found, 0, n, !IS_COMPLEX, EPSILON, work + n * n);
        for (int64_t i = 0; i < n; i++) values[k * n + i] = STORE_COMPLEX(found[i]);
    }
}

/* u: [m, m or min], vh: [n or min, n]; u and vh may be null together. */
CASTOFF_LARGE void NAME(svd)(T *u, R *s, T *vh, const T *a, int64_t batch, int64_t m, int64_t n, int64_t is_full,
                             void *scratch) {
    int64_t large = m > n ? m : n, small = m > n ? n : m, count = is_full && u ? large : small;
    for (int64_t k = 0; k < batch; k++) {
        W *left = scratch, *right = left + large * count;
        double *values = (double *)(right + small * small);
        /* Rows of `left` are the columns of A, or where A is wide those of A^H. */
        if (m >= n) NAME(load_transposed)(left, a + k * m * n, m, n, 0);
        else
            for (int64_t i = 0; i < m * n; i++) {
                W value = LOAD(a[k * m * n + i]);
                left[i] = CONJ(value);
            }
        WORK(svd)(left, values, u ? right : 0, large, small, count);
        for (int64_t i = 0; i < small; i++) s[k * small + i] = (R)values[i];
        if (!u) continue;
        T *u_out = u + k * m * (m >= n ? count : m), *vh_out = vh + k * n * (m >= n ? n : count);
        if (m >= n) {
            NAME(store_transposed)(u_out, left, count, m, 0);
            for (int64_t i = 0; i < n * n; i++) vh_out[i] = STORE(CONJ(right[i]));
        } else {
            NAME(store_transposed)(u_out, right, m, m, 0);
            for (int64_t i = 0; i < count * n; i++) vh_out[i] = STORE(CONJ(left[i]));
        }
    }
}
CASTOFF_LARGE void NAME(svdvals)(R *s, const T *a, int64_t batch, int64_t m, int64_t n, void *scratch) {
    NAME(svd)(0, s, 0, a, batch, m, n, 0, scratch);
}

CASTOFF_LARGE void NAME(matrix_exp)(T *out, const T *a, int64_t batch, int64_t n, void *scratch) {
    for (int64_t k = 0; k < batch; k++) {
        W *work = scratch;
        NAME(load_matrix)(work, a + k * n * n, n * n);
        WORK(matrix_exp)(work, n, work + n * n, (int32_t *)(work + 7 * n * n));
        NAME(store_matrix)(out + k * n * n, work, n * n);
    }
}

#undef PASTE3_
#undef PASTE3
#undef PASTE_WORKING_
#undef PASTE_WORKING
#undef PASTE_LOAD_
#undef PASTE_LOAD
#undef NAME
#undef WORK
#undef LOAD
#undef STORE
#undef STORE_COMPLEX
#undef CONJ
#undef EPSILON
#undef REAL
#undef S
#undef T
#undef R
#undef C
#undef W
#undef WS
#undef CS
#undef IS_COMPLEX
