/* fft.h - discrete Fourier transforms of any length along one axis.
 *
 * Arrays are contiguous [outer, length, inner]; the axis is the middle one. forward != 0 uses exp(-2 pi i jk/n), else the
 * conjugate; results are multiplied by `scale`. Rows are computed in double whatever the array's type.
 *
 *   castoff_fft_c64 / _c128(out, in, outer, length, inner, forward, scale, scratch)     complex to complex; out may be in
 *   castoff_rfft_f32 / _f64(out, in, outer, length, inner, kept, scale, scratch)        real to the first `kept` outputs
 *   castoff_irfft_f32 / _f64(out, in, outer, length, inner, scale, scratch)             length/2+1 inputs to `length` reals
 *   castoff_hfft_* is irfft of the conjugate: conjugate first.
 *
 * `scratch`: castoff_fft_scratch_bytes(length) bytes aligned to 16, one thread's own. Lengths whose prime factors are at
 * most 31 use Stockham's self-sorting mixed radix; others Bluestein's convolution at the next power of two (Bluestein,
 * IEEE Trans. Audio 18, 1970).
 */
#ifndef CASTOFF_COMMON_FFT_H
#define CASTOFF_COMMON_FFT_H

#include "types.h"

#define CASTOFF_FFT_LARGEST_RADIX 31

typedef struct {
    int64_t length;
    int factor_count, factors[64];
    castoff_c128 *roots; /* exp(-2 pi i k / length) */
    castoff_c128 *a, *b; /* rows of `length` */
} castoff_fft_direct;

typedef struct {
    int is_chirp;
    castoff_fft_direct direct; /* of the length itself, or of the convolution */
    int64_t length;
    castoff_c128 *chirp;    /* exp(-pi i k^2 / length) */
    castoff_c128 *response; /* transform of the conjugate chirp, over the convolution's length */
} castoff_fft_plan;

CASTOFF_INLINE int64_t castoff_fft_scratch_bytes(int64_t length) { return 16 * (18 * length + 64); }

CASTOFF_INLINE castoff_c128 castoff_fft_product(castoff_c128 a, castoff_c128 b) {
    return (castoff_c128){a.re * b.re - a.im * b.im, a.re * b.im + a.im * b.re};
}
/* exp(-pi i k / n) for 0 <= k < 2n. */
CASTOFF_INLINE castoff_c128 castoff_fft_root(int64_t k, int64_t n) {
    double angle = 3.14159265358979323846 * ((double)k / (double)n);
    return (castoff_c128){__builtin_cos(angle), -__builtin_sin(angle)};
}

/* The factors of n, fours first; 0 if one is too large. */
CASTOFF_LARGE int castoff_fft_factorise(int64_t n, int factors[64]) {
    int count = 0;
    while (n % 4 == 0) {
        factors[count++] = 4;
        n /= 4;
    }
    for (int p = 2; p <= CASTOFF_FFT_LARGEST_RADIX && n > 1; p++)
        while (n % p == 0) {
            factors[count++] = p;
            n /= p;
        }
    return n == 1 ? count : 0;
}

CASTOFF_LARGE castoff_c128 *castoff_fft_plan_direct(castoff_fft_direct *plan, int64_t length, castoff_c128 *memory) {
    plan->length = length;
    plan->factor_count = castoff_fft_factorise(length, plan->factors);
    plan->roots = memory;
    plan->a = memory + length;
    plan->b = memory + 2 * length;
    for (int64_t k = 0; k < length; k++) plan->roots[k] = castoff_fft_root(2 * k, length);
    return memory + 3 * length;
}

/* One pass: to[q + s (p i + r')] = w^(s i r') * sum over r of from[q + s (i + m r)] * exp(-2 pi i r r' / p). */
CASTOFF_LARGE void castoff_fft_pass(const castoff_fft_direct *plan, int p, int64_t s, const castoff_c128 *from,
                                    castoff_c128 *to) {
    const castoff_c128 *roots = plan->roots;
    int64_t n = plan->length, m = n / (s * p), column = s * m;
    for (int64_t i = 0; i < m; i++) {
        const castoff_c128 *source = from + s * i;
        castoff_c128 *target = to + s * p * i;
        if (p == 2) {
            castoff_c128 w = roots[s * i];
            for (int64_t q = 0; q < s; q++) {
                castoff_c128 x0 = source[q], x1 = source[q + column];
                castoff_c128 d = {x0.re - x1.re, x0.im - x1.im};
                target[q] = (castoff_c128){x0.re + x1.re, x0.im + x1.im};
                target[q + s] = castoff_fft_product(d, w);
            }
        } else if (p == 4) {
            castoff_c128 w1 = roots[s * i], w2 = roots[2 * s * i], w3 = roots[3 * s * i];
            for (int64_t q = 0; q < s; q++) {
                castoff_c128 x0 = source[q], x1 = source[q + column];
                castoff_c128 x2 = source[q + 2 * column], x3 = source[q + 3 * column];
                castoff_c128 even = {x0.re + x2.re, x0.im + x2.im}, odd = {x1.re + x3.re, x1.im + x3.im};
                castoff_c128 even_gap = {x0.re - x2.re, x0.im - x2.im};
                castoff_c128 odd_gap = {x1.im - x3.im, x3.re - x1.re}; /* -i (x1 - x3) */
                castoff_c128 y1 = {even_gap.re + odd_gap.re, even_gap.im + odd_gap.im};
                castoff_c128 y2 = {even.re - odd.re, even.im - odd.im};
                castoff_c128 y3 = {even_gap.re - odd_gap.re, even_gap.im - odd_gap.im};
                target[q] = (castoff_c128){even.re + odd.re, even.im + odd.im};
                target[q + s] = castoff_fft_product(y1, w1);
                target[q + 2 * s] = castoff_fft_product(y2, w2);
                target[q + 3 * s] = castoff_fft_product(y3, w3);
            }
        } else {
            for (int out = 0; out < p; out++) {
                castoff_c128 w = roots[s * i * out];
                for (int64_t q = 0; q < s; q++) {
                    castoff_c128 sum = source[q];
                    for (int r = 1; r < p; r++) {
                        castoff_c128 term = castoff_fft_product(source[q + r * column], roots[(n / p) * ((r * out) % p)]);
                        sum.re += term.re;
                        sum.im += term.im;
                    }
                    target[q + s * out] = castoff_fft_product(sum, w);
                }
            }
        }
    }
}

/* Transforms plan->a; the result lies in plan->a or plan->b, which is returned. */
CASTOFF_LARGE castoff_c128 *castoff_fft_run_direct(const castoff_fft_direct *plan) {
    castoff_c128 *from = plan->a, *to = plan->b;
    int64_t s = 1;
    for (int k = 0; k < plan->factor_count; k++) {
        castoff_fft_pass(plan, plan->factors[k], s, from, to);
        s *= plan->factors[k];
        castoff_c128 *swapped = from;
        from = to;
        to = swapped;
    }
    return from;
}

CASTOFF_LARGE void castoff_fft_make_plan(castoff_fft_plan *plan, int64_t length, void *scratch) {
    int factors[64];
    castoff_c128 *memory = scratch;
    plan->length = length;
    plan->is_chirp = length > 1 && castoff_fft_factorise(length, factors) == 0;
    if (!plan->is_chirp) {
        castoff_fft_plan_direct(&plan->direct, length, memory);
        return;
    }
    int64_t padded = 1;
    while (padded < 2 * length - 1) padded *= 2;
    memory = castoff_fft_plan_direct(&plan->direct, padded, memory);
    plan->chirp = memory;
    plan->response = memory + length;
    castoff_c128 *row = plan->direct.a;
    memset(row, 0, (size_t)padded * sizeof *row);
    int64_t square = 0; /* k^2 mod 2n */
    for (int64_t k = 0; k < length; k++) {
        castoff_c128 w = castoff_fft_root(square, length);
        plan->chirp[k] = w;
        row[k] = (castoff_c128){w.re, -w.im};
        if (k > 0) row[padded - k] = row[k];
        square = (square + 2 * k + 1) % (2 * length);
    }
    memcpy(plan->response, castoff_fft_run_direct(&plan->direct), (size_t)padded * sizeof *row);
}

/* Where the caller puts a row of `length` before castoff_fft_run. */
CASTOFF_INLINE castoff_c128 *castoff_fft_row(const castoff_fft_plan *plan) { return plan->direct.a; }

/* The forward transform of that row; the row returned is valid until the next call. */
CASTOFF_LARGE const castoff_c128 *castoff_fft_run(const castoff_fft_plan *plan) {
    if (!plan->is_chirp) return castoff_fft_run_direct(&plan->direct);
    const castoff_fft_direct *direct = &plan->direct;
    int64_t padded = direct->length;
    castoff_c128 *row = direct->a;
    for (int64_t k = 0; k < plan->length; k++) row[k] = castoff_fft_product(row[k], plan->chirp[k]);
    memset(row + plan->length, 0, (size_t)(padded - plan->length) * sizeof *row);
    castoff_c128 *spectrum = castoff_fft_run_direct(direct);
    /* The inverse transform is the conjugate of the transform of the conjugate. */
    for (int64_t k = 0; k < padded; k++) {
        castoff_c128 product = castoff_fft_product(spectrum[k], plan->response[k]);
        row[k] = (castoff_c128){product.re, -product.im};
    }
    castoff_c128 *result = castoff_fft_run_direct(direct);
    double scale = 1.0 / (double)padded;
    for (int64_t k = 0; k < plan->length; k++) {
        castoff_c128 value = {result[k].re * scale, -result[k].im * scale};
        result[k] = castoff_fft_product(value, plan->chirp[k]);
    }
    return result;
}

#define CASTOFF_FFT_TYPE(complex_suffix, real_suffix, C, T)                                                         \
    CASTOFF_LARGE void castoff_fft_##complex_suffix(C *out, const C *in, int64_t outer, int64_t length,             \
                                                    int64_t inner, int64_t forward, double scale, void *scratch) {  \
        castoff_fft_plan plan;                                                                                      \
        double sign = forward ? 1.0 : -1.0;                                                                         \
        if (length < 1) return;                                                                                     \
        castoff_fft_make_plan(&plan, length, scratch);                                                              \
        for (int64_t o = 0; o < outer; o++)                                                                         \
            for (int64_t i = 0; i < inner; i++) {                                                                   \
                const C *from = in + o * length * inner + i;                                                        \
                C *to = out + o * length * inner + i;                                                               \
                castoff_c128 *row = castoff_fft_row(&plan);                                                         \
                for (int64_t k = 0; k < length; k++)                                                                \
                    row[k] = (castoff_c128){from[k * inner].re, sign * from[k * inner].im};                         \
                const castoff_c128 *result = castoff_fft_run(&plan);                                                \
                for (int64_t k = 0; k < length; k++)                                                                \
                    to[k * inner] = (C){(T)(result[k].re * scale), (T)(sign * result[k].im * scale)};               \
            }                                                                                                       \
    }                                                                                                               \
    /* The imaginary parts of the first output and, for an even length, of the last are 0, not what rounding leaves. */ \
    CASTOFF_LARGE void castoff_rfft_##real_suffix(C *out, const T *in, int64_t outer, int64_t length,               \
                                                  int64_t inner, int64_t kept, double scale, void *scratch) {       \
        castoff_fft_plan plan;                                                                                      \
        if (length < 1) return;                                                                                     \
        castoff_fft_make_plan(&plan, length, scratch);                                                              \
        for (int64_t o = 0; o < outer; o++)                                                                         \
            for (int64_t i = 0; i < inner; i++) {                                                                   \
                const T *from = in + o * length * inner + i;                                                        \
                C *to = out + o * kept * inner + i;                                                                 \
                castoff_c128 *row = castoff_fft_row(&plan);                                                         \
                for (int64_t k = 0; k < length; k++) row[k] = (castoff_c128){from[k * inner], 0.0};                 \
                const castoff_c128 *result = castoff_fft_run(&plan);                                                \
                for (int64_t k = 0; k < kept; k++)                                                                  \
                    to[k * inner] = (C){(T)(result[k].re * scale),                                                  \
                                        k == 0 || 2 * k == length ? (T)0 : (T)(result[k].im * scale)};              \
            }                                                                                                       \
    }                                                                                                               \
    /* The imaginary parts of the first input and, for an even length, of the last count as 0. */                   \
    CASTOFF_LARGE void castoff_irfft_##real_suffix(T *out, const C *in, int64_t outer, int64_t length,              \
                                                   int64_t inner, double scale, void *scratch) {                    \
        castoff_fft_plan plan;                                                                                      \
        if (length < 1) return;                                                                                     \
        int64_t half = length / 2 + 1;                                                                              \
        castoff_fft_make_plan(&plan, length, scratch);                                                              \
        for (int64_t o = 0; o < outer; o++)                                                                         \
            for (int64_t i = 0; i < inner; i++) {                                                                   \
                const C *from = in + o * half * inner + i;                                                          \
                T *to = out + o * length * inner + i;                                                               \
                castoff_c128 *row = castoff_fft_row(&plan);                                                         \
                /* The backward transform of a hermitian row is the forward transform of its conjugate. */          \
                row[0] = (castoff_c128){from[0].re, 0.0};                                                           \
                for (int64_t k = 1; k < half; k++) {                                                                \
                    castoff_c128 value = {from[k * inner].re, from[k * inner].im};                                  \
                    if (2 * k == length) value.im = 0.0;                                                            \
                    row[k] = (castoff_c128){value.re, -value.im};                                                   \
                    row[length - k] = value;                                                                        \
                }                                                                                                   \
                const castoff_c128 *result = castoff_fft_run(&plan);                                                \
                for (int64_t k = 0; k < length; k++) to[k * inner] = (T)(result[k].re * scale);                     \
            }                                                                                                       \
    }

CASTOFF_FFT_TYPE(c64, f32, castoff_c64, float)
CASTOFF_FFT_TYPE(c128, f64, castoff_c128, double)
#undef CASTOFF_FFT_TYPE

#endif
