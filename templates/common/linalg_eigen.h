/* linalg_eigen.h - eigenvalues and eigenvectors of general matrices; part of linalg.h.
 *
 * Hessenberg reduction, then QR iteration: single shifts in complex arithmetic, and for real matrices Francis's double
 * shift, with LAPACK's choice of shifts, so that eigenvalues come in its order (Golub & Van Loan, 7.5).
 */
#ifndef CASTOFF_COMMON_LINALG_EIGEN_H
#define CASTOFF_COMMON_LINALG_EIGEN_H

#include "types.h"

CASTOFF_INLINE double castoff_eigen_size(double _Complex z) { return __builtin_fabs(__real__ z) + __builtin_fabs(__imag__ z); }
CASTOFF_INLINE double _Complex castoff_eigen_complex(double re, double im) {
    double _Complex z;
    __real__ z = re;
    __imag__ z = im;
    return z;
}

/* May the subdiagonal element between two diagonal ones be dropped? `above` is its mirror image. Ahues & Tisseur's test
 * (LAPACK Working Note 122) at the precision of the caller's type, which decides the order eigenvalues are found in. */
CASTOFF_LARGE int castoff_eigen_is_small(double subdiagonal, double above, double first, double second, double gap, double epsilon) {
    if (subdiagonal <= 1e-300) return 1;
    if (subdiagonal > epsilon * (first + second)) return 0;
    double ab = subdiagonal > above ? subdiagonal : above, ba = subdiagonal > above ? above : subdiagonal;
    double aa = second > gap ? second : gap, bb = second > gap ? gap : second, s = aa + ab;
    return ba * (ab / s) <= epsilon * (bb * (aa / s));
}

/* Eigenvalues of the real 2x2 (a b; c d), in the order LAPACK's standard form (xLANV2) leaves them on the diagonal. */
CASTOFF_LARGE void castoff_eigen_pair(double a, double b, double c, double d, double _Complex *first, double _Complex *second) {
    double p = 0.5 * (a - d), size_b = __builtin_fabs(b), size_c = __builtin_fabs(c);
    double larger = size_b > size_c ? size_b : size_c, smaller = size_b > size_c ? size_c : size_b;
    double signed_smaller = smaller * __builtin_copysign(1.0, b) * __builtin_copysign(1.0, c);
    *first = a;
    *second = d;
    if (c == 0.0) return;
    if (b == 0.0) {
        *first = d;
        *second = a;
        return;
    }
    double scale = __builtin_fabs(p) > larger ? __builtin_fabs(p) : larger;
    double z = p / scale * p + larger / scale * signed_smaller;
    if (z >= 4.0 * 2.220446049250313e-16) {
        z = p + __builtin_copysign(__builtin_sqrt(scale) * __builtin_sqrt(z), p);
        *first = d + z;
        *second = d - larger / z * signed_smaller;
        return;
    }
    double square = p * p + b * c, middle = d + p;
    if (square >= 0.0) {
        double root = __builtin_copysign(__builtin_sqrt(square), p);
        *first = middle + root;
        *second = middle - root;
        return;
    }
    *first = castoff_eigen_complex(middle, __builtin_sqrt(-square));
    *second = castoff_eigen_complex(middle, -__builtin_sqrt(-square));
}

/* The two shifts for a trailing (a b; c d): its eigenvalues, or the real one nearer to d twice. */
CASTOFF_LARGE void castoff_eigen_shifts(double a, double b, double c, double d, double _Complex *first, double _Complex *second) {
    double s = __builtin_fabs(a) + __builtin_fabs(b) + __builtin_fabs(c) + __builtin_fabs(d);
    *first = *second = 0;
    if (s == 0.0) return;
    a /= s, b /= s, c /= s, d /= s;
    double half = 0.5 * (a + d), determinant = (a - half) * (d - half) - b * c, root = __builtin_sqrt(__builtin_fabs(determinant));
    if (determinant >= 0.0) {
        *first = castoff_eigen_complex(half * s, root * s);
        *second = castoff_eigen_complex(half * s, -root * s);
        return;
    }
    double high = half + root, low = half - root;
    *first = *second = (__builtin_fabs(high - d) <= __builtin_fabs(low - d) ? high : low) * s;
}

/* Eigenvalues of a real upper Hessenberg matrix, which is destroyed. */
CASTOFF_LARGE void castoff_eigen_francis(double *h, double _Complex *values, int64_t n, double epsilon) {
    int64_t high = n - 1;
    for (int iteration = 0; high >= 0; iteration++) {
        int64_t low = high;
        for (; low > 0; low--) {
            const double *d = h + (low - 1) * n + low - 1;
            if (iteration > 300 ||
                castoff_eigen_is_small(__builtin_fabs(d[n]), __builtin_fabs(d[1]), __builtin_fabs(d[0]),
                                       __builtin_fabs(d[n + 1]), __builtin_fabs(d[0] - d[n + 1]), epsilon)) break;
        }
        if (low > 0) h[low * n + low - 1] = 0.0;
        if (low == high) {
            values[high] = h[high * n + high];
            high -= 1;
            iteration = -1;
            continue;
        }
        double *last = h + (high - 1) * n + high - 1;
        if (low == high - 1) {
            castoff_eigen_pair(last[0], last[1], last[n], last[n + 1], &values[high - 1], &values[high]);
            high -= 2;
            iteration = -1;
            continue;
        }
        double _Complex first, second;
        if (iteration == 10 || iteration == 20) { /* exceptional shifts of xLAHQR */
            double *at = iteration == 10 ? h + low * n + low : last + n + 1;
            double s = iteration == 10 ? __builtin_fabs(at[n]) + __builtin_fabs(at[2 * n + 1])
                                       : __builtin_fabs(last[n]) + __builtin_fabs(last[-1]);
            double diagonal = 0.75 * s + at[0];
            castoff_eigen_shifts(diagonal, -0.4375 * s, s, diagonal, &first, &second);
        } else {
            castoff_eigen_shifts(last[0], last[1], last[n], last[n + 1], &first, &second);
        }
        int64_t start = high - 2;
        double v[3];
        for (;; start--) { /* two consecutive small subdiagonal elements let the sweep start late */
            double *d = h + start * n + start, r1 = __real__ first, i1 = __imag__ first, r2 = __real__ second, i2 = __imag__ second;
            double s = __builtin_fabs(d[0] - r2) + __builtin_fabs(i2) + __builtin_fabs(d[n]), below = d[n] / s;
            v[0] = below * d[1] + (d[0] - r1) * ((d[0] - r2) / s) - i1 * (i2 / s);
            v[1] = below * (d[0] + d[n + 1] - r1 - r2);
            v[2] = below * d[2 * n + 1];
            s = __builtin_fabs(v[0]) + __builtin_fabs(v[1]) + __builtin_fabs(v[2]);
            for (int k = 0; k < 3; k++) v[k] /= s;
            if (start == low) break;
            double around = __builtin_fabs(d[-n - 1]) + __builtin_fabs(d[0]) + __builtin_fabs(d[n + 1]);
            if (__builtin_fabs(d[-1]) * (__builtin_fabs(v[1]) + __builtin_fabs(v[2])) <=
                epsilon * __builtin_fabs(v[0]) * around) break;
        }
        for (int64_t k = start; k < high; k++) {
            int64_t size = high - k + 1 < 3 ? high - k + 1 : 3;
            if (k > start)
                for (int64_t r = 0; r < size; r++) v[r] = h[(k + r) * n + k - 1];
            double tau = castoff_reflector_working_f64(v, size, 1), beta = v[0];
            if (k > start)
                for (int64_t r = 0; r < size; r++) h[(k + r) * n + k - 1] = r ? 0.0 : beta;
            else if (k > low) h[k * n + k - 1] *= 1.0 - tau;
            v[0] = 1.0;
            for (int64_t j = k; j <= high; j++) {
                double sum = 0.0;
                for (int64_t r = 0; r < size; r++) sum += v[r] * h[(k + r) * n + j];
                for (int64_t r = 0; r < size; r++) h[(k + r) * n + j] -= tau * sum * v[r];
            }
            int64_t stop = k + 3 < high ? k + 3 : high;
            for (int64_t i = low; i <= stop; i++) {
                double sum = 0.0;
                for (int64_t r = 0; r < size; r++) sum += v[r] * h[i * n + k + r];
                for (int64_t r = 0; r < size; r++) h[i * n + k + r] -= tau * sum * v[r];
            }
        }
    }
}

/* Makes a complex upper Hessenberg matrix upper triangular by unitary similarity; z (unless null) is carried along. */
CASTOFF_LARGE void castoff_eigen_schur(double _Complex *h, double _Complex *z, int64_t n, double epsilon, double _Complex *rotation) {
    int64_t high = n - 1;
    for (int iteration = 0; high > 0; iteration++) {
        int64_t low = high;
        for (; low > 0; low--) {
            const double _Complex *d = h + (low - 1) * n + low - 1;
            if (iteration > 300 ||
                castoff_eigen_is_small(castoff_eigen_size(d[n]), castoff_eigen_size(d[1]), castoff_eigen_size(d[0]),
                                       castoff_eigen_size(d[n + 1]), castoff_eigen_size(d[0] - d[n + 1]), epsilon)) break;
        }
        if (low > 0) h[low * n + low - 1] = 0;
        if (low == high) {
            high -= 1;
            iteration = -1;
            continue;
        }
        double _Complex a = h[(high - 1) * n + high - 1], d = h[high * n + high], shift = d;
        double _Complex product = h[(high - 1) * n + high] * h[high * n + high - 1], half = 0.5 * (a - d);
        if (iteration % 10 == 9) {
            shift += 0.75 * __builtin_fabs(__real__ h[high * n + high - 1]);
        } else if (product != 0) { /* the eigenvalue of the trailing 2x2 nearer to d */
            double _Complex root = __builtin_csqrt(half * half + product);
            if (__real__(half * ~root) < 0.0) root = -root;
            shift = d - product / (half + root);
        }
        for (int64_t k = low; k <= high; k++) h[k * n + k] -= shift;
        for (int64_t k = low; k < high; k++) {
            double _Complex x = h[k * n + k], y = h[(k + 1) * n + k];
            double size = __builtin_hypot(__builtin_hypot(__real__ x, __imag__ x), __builtin_hypot(__real__ y, __imag__ y));
            double _Complex c = size == 0.0 ? 1.0 : x / size, s = size == 0.0 ? 0.0 : y / size;
            rotation[2 * k] = c;
            rotation[2 * k + 1] = s;
            for (int64_t j = k; j < n; j++) {
                double _Complex p = h[k * n + j], q = h[(k + 1) * n + j];
                h[k * n + j] = ~c * p + ~s * q;
                h[(k + 1) * n + j] = c * q - s * p;
            }
        }
        for (int64_t k = low; k < high; k++) {
            double _Complex c = rotation[2 * k], s = rotation[2 * k + 1];
            for (int side = 0; side < 2; side++) {
                double _Complex *m = side ? z : h;
                int64_t stop = side ? n - 1 : k + 1;
                for (int64_t i = 0; i <= stop && m; i++) {
                    double _Complex p = m[i * n + k], q = m[i * n + k + 1];
                    m[i * n + k] = p * c + q * s;
                    m[i * n + k + 1] = q * ~c - p * ~s;
                }
            }
        }
        for (int64_t k = low; k <= high; k++) h[k * n + k] += shift;
    }
}

/* A := D^-1 A D with powers of two that bring the norms of row i and column i near each other (James, Langou & Lowery,
 * arXiv 1401.5766), as LAPACK does first; d is D's diagonal. */
CASTOFF_LARGE void castoff_eigen_balance(double _Complex *a, double *d, int64_t n) {
    for (int64_t i = 0; i < n; i++) d[i] = 1.0;
    for (int pass = 0, is_done = 0; pass < 100 && !is_done; pass++) {
        is_done = 1;
        for (int64_t i = 0; i < n; i++) {
            double column = 0.0, row = 0.0, factor = 1.0;
            for (int64_t k = 0; k < n; k++) {
                column = __builtin_hypot(column, __builtin_hypot(__real__ a[k * n + i], __imag__ a[k * n + i]));
                row = __builtin_hypot(row, __builtin_hypot(__real__ a[i * n + k], __imag__ a[i * n + k]));
            }
            if (!(column > 0.0 && row > 0.0) || column + row == __builtin_inf()) continue;
            double before = column + row;
            for (; column < 0.5 * row && factor < 0x1p400; factor *= 2.0) {
                column *= 2.0;
                row *= 0.5;
            }
            for (; 0.5 * column >= row && factor > 0x1p-400; factor *= 0.5) {
                column *= 0.5;
                row *= 2.0;
            }
            if (column + row >= 0.95 * before || d[i] * factor < 0x1p-500 || d[i] * factor > 0x1p500) continue;
            is_done = 0;
            d[i] *= factor;
            for (int64_t k = 0; k < n; k++) a[i * n + k] /= factor;
            for (int64_t k = 0; k < n; k++) a[k * n + i] *= factor;
        }
    }
}

/* row := D Z x / |D Z x| where x is the eigenvector of the upper triangle t for its k-th diagonal element. The largest
 * component is made real, as LAPACK does. */
CASTOFF_LARGE void castoff_eigen_vector(const double _Complex *t, const double _Complex *z, const double *d,
                                        int64_t n, int64_t k, double norm, double _Complex *row, double _Complex *x) {
    x[k] = 1;
    for (int64_t i = k - 1; i >= 0; i--) {
        double _Complex sum = 0, gap = t[i * n + i] - t[k * n + k];
        for (int64_t j = i + 1; j <= k; j++) sum -= t[i * n + j] * x[j];
        if (castoff_eigen_size(gap) < 2.220446049250313e-16 * norm) gap = 2.220446049250313e-16 * norm;
        x[i] = gap == 0 ? 0 : sum / gap;
        double size = castoff_eigen_size(x[i]);
        for (int64_t j = i; size > 1e100 && j <= k; j++) x[j] /= size;
    }
    double sum = 0.0, most = 0.0;
    double _Complex phase = 1;
    for (int64_t i = 0; i < n; i++) {
        double _Complex value = 0;
        for (int64_t j = 0; j <= k; j++) value += z[i * n + j] * x[j];
        value *= d[i];
        row[i] = value;
        double square = __real__ value * __real__ value + __imag__ value * __imag__ value;
        sum += square;
        if (square > most) {
            most = square;
            phase = ~value / __builtin_sqrt(square);
        }
    }
    phase /= __builtin_sqrt(sum);
    for (int64_t i = 0; i < n; i++) row[i] *= phase;
}

/* Eigenvalues and, unless `rows` is null, eigenvectors (rows) of a, which is destroyed. For a real matrix conjugate pairs
 * are exact and real eigenvalues have real vectors. `work` holds 2 n n + 5 n elements. */
CASTOFF_LARGE void castoff_eig_working(double _Complex *a, double _Complex *values, double _Complex *rows, int64_t n,
                                       int is_real, double epsilon, double _Complex *work) {
    double _Complex *z = rows ? work : 0, *row = work + n * n, *spare = row + 2 * n;
    double norm = 0.0, *d = (double *)(row + 3 * n);
    spare += 2 * n;
    castoff_eigen_balance(a, d, n);
    castoff_hessenberg_working_c128(a, z, n, row);
    if (is_real) {
        double *real = (double *)spare;
        for (int64_t k = 0; k < n * n; k++) real[k] = __real__ a[k];
        castoff_eigen_francis(real, values, n, epsilon);
        if (!rows) return;
    }
    castoff_eigen_schur(a, z, n, is_real ? 2.220446049250313e-16 : epsilon, row);
    if (!is_real)
        for (int64_t k = 0; k < n; k++) values[k] = a[k * n + k];
    if (!rows) return;
    for (int64_t k = 0; k < n * n; k++) norm = castoff_eigen_size(a[k]) > norm ? castoff_eigen_size(a[k]) : norm;
    char *is_used = (char *)spare;
    memset(is_used, 0, (size_t)n);
    for (int64_t i = 0; i < n; i++) {
        int64_t best = -1;
        if (is_real && i > 0 && __imag__ values[i] < 0.0) { /* the conjugate of the one before */
            for (int64_t j = 0; j < n; j++) rows[i * n + j] = ~rows[(i - 1) * n + j];
        }
        for (int64_t k = 0; k < n; k++)
            if (!is_used[k] && (best < 0 || castoff_eigen_size(a[k * n + k] - values[i]) <
                                                castoff_eigen_size(a[best * n + best] - values[i]))) best = k;
        if (!is_real) best = i;
        is_used[best] = 1;
        if (is_real && i > 0 && __imag__ values[i] < 0.0) continue;
        castoff_eigen_vector(a, z, d, n, best, norm, rows + i * n, row);
        if (is_real && __imag__ values[i] == 0.0)
            for (int64_t j = 0; j < n; j++) rows[i * n + j] = __real__ rows[i * n + j];
    }
}

#endif
