/* linalg_ldl_working.h - L D L^T in one element type; included by linalg_ldl.h once per type, and by nothing else.
 *
 * S suffix, T element, W working type, IS_COMPLEX.
 */
#define LDL_PASTE_(a, b) castoff_##a##_##b
#define LDL_PASTE(a, b) LDL_PASTE_(a, b)
#define NAME(name) LDL_PASTE(name, S)
#define LDL_WORKING_(a, b) castoff_##a##_##b##_working
#define LDL_WORKING(a, b) LDL_WORKING_(a, b)
#define LOAD(x) LDL_WORKING(load, S)(x)
#define STORE(x) LDL_WORKING(store, S)(x)
#if IS_COMPLEX
#define TURN(z) (hermitian ? ~(z) : (z))
#define SIZE1(z) (__builtin_fabs(__real__(z)) + __builtin_fabs(__imag__(z)))
#define REAL_PART(z) ((W)__real__(z))
#else
#define TURN(z) (z)
#define SIZE1(z) __builtin_fabs(z)
#define REAL_PART(z) (z)
#endif
#define SWAP(x, y)                                                                                                  \
    do {                                                                                                            \
        W swapped = (x);                                                                                            \
        (x) = (y);                                                                                                  \
        (y) = swapped;                                                                                              \
    } while (0)

/* The row to bring to the front of what is left from k on; *step rows make the next block of D. */
CASTOFF_LARGE int64_t NAME(ldl_pivot)(const W *a, int64_t n, int64_t k, double here, double largest, int64_t row,
                                      int *step) {
    const double threshold = 0.6403882032022076; /* (1 + sqrt(17)) / 8 */
    double beside = 0.0;
    *step = 1;
    if (here >= threshold * largest) return k;
    for (int64_t j = k; j < row; j++) beside = SIZE1(a[row * n + j]) > beside ? SIZE1(a[row * n + j]) : beside;
    for (int64_t i = row + 1; i < n; i++) beside = SIZE1(a[i * n + row]) > beside ? SIZE1(a[i * n + row]) : beside;
    if (here >= threshold * largest * (largest / beside)) return k;
    if (!(SIZE1(a[row * n + row]) >= threshold * beside)) *step = 2;
    return row;
}

/* Rows and columns `first` < `second` of the lower triangle, from `first` on, exchanged. */
CASTOFF_LARGE void NAME(ldl_swap)(W *a, int64_t n, int64_t first, int64_t second, int64_t hermitian) {
    (void)hermitian;
    for (int64_t i = second + 1; i < n; i++) SWAP(a[i * n + first], a[i * n + second]);
    for (int64_t i = first + 1; i < second; i++) {
        W left = a[i * n + first], right = a[second * n + i];
        a[i * n + first] = TURN(right);
        a[second * n + i] = TURN(left);
    }
    a[second * n + first] = TURN(a[second * n + first]);
    SWAP(a[first * n + first], a[second * n + second]);
}

/* In place, from the lower triangle; returns 0 or 1 + the index of the first zero pivot. */
CASTOFF_LARGE int32_t NAME(ldl)(W *a, int32_t *pivots, int64_t n, int64_t hermitian) {
    int32_t info = 0;
    for (int64_t i = 0; i < n; i++) {
        if (hermitian) a[i * n + i] = REAL_PART(a[i * n + i]);
        for (int64_t j = i + 1; j < n; j++) a[i * n + j] = 0;
    }
    for (int64_t k = 0, next; k < n; k = next) {
        double here = SIZE1(a[k * n + k]), largest = 0.0;
        int64_t row = k;
        int step = 1;
        next = k + 1;
        for (int64_t i = k + 1; i < n; i++)
            if (SIZE1(a[i * n + k]) > largest) largest = SIZE1(a[i * n + k]), row = i;
        if (here == 0.0 && largest == 0.0) {
            if (!info) info = (int32_t)k + 1;
            pivots[k] = (int32_t)k + 1;
            continue;
        }
        int64_t chosen = NAME(ldl_pivot)(a, n, k, here, largest, row, &step), last = k + step - 1;
        next = k + step;
        if (chosen != last) {
            NAME(ldl_swap)(a, n, last, chosen, hermitian);
            if (step == 2) SWAP(a[last * n + k], a[chosen * n + k]);
        }
        pivots[k] = pivots[last] = (int32_t)(step == 1 ? chosen + 1 : -(chosen + 1));
        if (step == 1) {
            W pivot = a[k * n + k];
            for (int64_t i = next; i < n; i++) {
                W factor = a[i * n + k] / pivot;
                for (int64_t j = next; j <= i; j++) {
                    /* Column k of the rows up to i holds L already: L[j] D is what stood there. */
                    W beside = j == i ? a[i * n + k] : a[j * n + k] * pivot;
                    a[i * n + j] -= factor * TURN(beside);
                }
                a[i * n + k] = factor;
                if (hermitian) a[i * n + i] = REAL_PART(a[i * n + i]);
            }
            continue;
        }
        /* The block [[p, turned q], [q, r]]; quotients by q keep its determinant in range. */
        W p = a[k * n + k], q = a[last * n + k], r = a[last * n + last];
        W p_over = p / TURN(q), r_over = r / q, scale = p_over * r_over - 1.0;
        for (int64_t i = next; i < n; i++) {
            W c0 = a[i * n + k], c1 = a[i * n + last];
            W l0 = (c0 * r_over - c1) / (TURN(q) * scale), l1 = (c1 * p_over - c0) / (q * scale);
            for (int64_t j = next; j <= i; j++) {
                W b0 = c0, b1 = c1;
                if (j != i) {
                    W m0 = a[j * n + k], m1 = a[j * n + last];
                    b0 = m0 * p + m1 * q;
                    b1 = m0 * TURN(q) + m1 * r;
                }
                a[i * n + j] -= l0 * TURN(b0) + l1 * TURN(b1);
            }
            a[i * n + k] = l0;
            a[i * n + last] = l1;
            if (hermitian) a[i * n + i] = REAL_PART(a[i * n + i]);
        }
    }
    return info;
}

/* x [n, columns] in place: A x = x, from the packed factors. */
CASTOFF_LARGE void NAME(ldl_apply)(const W *a, const int32_t *pivots, W *x, int64_t n, int64_t columns,
                                   int64_t hermitian) {
    (void)hermitian;
    for (int64_t k = 0, next; k < n; k = next) {
        int step = pivots[k] > 0 ? 1 : 2;
        int64_t last = k + step - 1, chosen = (pivots[k] > 0 ? pivots[k] : -pivots[k]) - 1;
        next = k + step;
        W p = a[k * n + k], q = step == 2 ? a[last * n + k] : p, r = a[last * n + last];
        W p_over = p / TURN(q), r_over = r / q, scale = p_over * r_over - 1.0;
        for (int64_t j = 0; j < columns; j++) {
            SWAP(x[last * columns + j], x[chosen * columns + j]);
            W x0 = x[k * columns + j], x1 = x[last * columns + j];
            for (int64_t i = next; i < n; i++)
                x[i * columns + j] -= a[i * n + k] * x0 + (step == 2 ? a[i * n + last] * x1 : 0.0);
            if (step == 1) {
                x[k * columns + j] = x0 / p;
                continue;
            }
            x[k * columns + j] = (r_over * (x0 / TURN(q)) - x1 / q) / scale;
            x[last * columns + j] = (p_over * (x1 / q) - x0 / TURN(q)) / scale;
        }
    }
    for (int64_t k = n - 1; k >= 0; k--) {
        int step = pivots[k] > 0 ? 1 : 2;
        int64_t last = k, chosen = (pivots[k] > 0 ? pivots[k] : -pivots[k]) - 1;
        if (step == 2) k--;
        for (int64_t j = 0; j < columns; j++) {
            for (int64_t c = k; c <= last; c++)
                for (int64_t i = last + 1; i < n; i++) x[c * columns + j] -= TURN(a[i * n + c]) * x[i * columns + j];
            SWAP(x[last * columns + j], x[chosen * columns + j]);
        }
    }
}

CASTOFF_LARGE int NAME(ldl_factor)(T *ld, int32_t *pivots, int32_t *info, const T *a, int64_t batch, int64_t n,
                                   int64_t hermitian, int64_t checked, void *scratch) {
    W *work = scratch;
    int failed = 0;
    for (int64_t k = 0; k < batch; k++) {
        for (int64_t i = 0; i < n * n; i++) work[i] = LOAD(a[k * n * n + i]);
        info[k] = NAME(ldl)(work, pivots + k * n, n, hermitian);
        failed |= info[k] != 0;
        for (int64_t i = 0; i < n * n; i++) ld[k * n * n + i] = STORE(work[i]);
    }
    return checked && failed;
}
CASTOFF_LARGE int NAME(ldl_solve)(T *x, const T *ld, const int32_t *pivots, const T *b, int64_t batch, int64_t n,
                                  int64_t columns, int64_t hermitian, void *scratch) {
    W *work = scratch, *right = work + n * n;
    for (int64_t k = 0; k < batch; k++) {
        for (int64_t i = 0; i < n; i++) {
            int64_t row = pivots[k * n + i], mark = row > 0 ? row : -row;
            /* Blocks of two rows come in pairs and swaps stay inside: anything else is no factorisation. */
            int64_t is_pair = row < 0 && i + 1 < n && pivots[k * n + i + 1] == row;
            if (mark < 1 || mark > n || (row < 0 && !is_pair)) return 1;
            i += row < 0;
        }
        for (int64_t i = 0; i < n * n; i++) work[i] = LOAD(ld[k * n * n + i]);
        for (int64_t i = 0; i < n * columns; i++) right[i] = LOAD(b[k * n * columns + i]);
        NAME(ldl_apply)(work, pivots + k * n, right, n, columns, hermitian);
        for (int64_t i = 0; i < n * columns; i++) x[k * n * columns + i] = STORE(right[i]);
    }
    return 0;
}

#undef LDL_PASTE_
#undef LDL_PASTE
#undef NAME
#undef LDL_WORKING_
#undef LDL_WORKING
#undef LOAD
#undef STORE
#undef TURN
#undef SIZE1
#undef REAL_PART
#undef SWAP
#undef S
#undef T
#undef W
#undef IS_COMPLEX
