/* blas.h - matrix products through cuBLASLt, which is opened when the program is loaded. */
#ifndef CASTOFF_CUDA_BLAS_H
#define CASTOFF_CUDA_BLAS_H

#include <stddef.h>
#include <stdint.h>

#include "abi/castoff_program.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Element types by cuBLASLt's numbers: cudaDataType_t. */
enum { CASTOFF_BLAS_F32 = 0, CASTOFF_BLAS_F64 = 1, CASTOFF_BLAS_F16 = 2, CASTOFF_BLAS_BF16 = 14 };

/* c[i, m, n] = sum over k of a[i, m, k] b[i, k, n], and what is asked for beside; strides in elements.
 *
 * Sums are float32 (float64 of float64). Without gaps: products are compared byte by byte. */
typedef struct castoff_blas_product {
  int type;        /* of a and b */
  int out_type;    /* of c and bias: `type`, or float32 */
  int64_t is_tf32; /* float32 may be multiplied with 10 bits of fraction */
  int64_t batch, rows, columns, depth;
  const void *a;
  int64_t a_batch, a_row, a_column;
  const void *b;
  int64_t b_batch, b_row, b_column;
  void *c; /* columns lie side by side */
  int64_t c_batch, c_row;
  const void *bias; /* one element a column; NULL: none */
} castoff_blas_product;

/* Opens the library, once. 0, or 1 with a sentence in `error`. */
int castoff_blas_open(char *error, size_t error_size);

/* Whether the library reads operands that lie like this: in each one rows or columns side by side, no row twice. */
int castoff_blas_takes(const castoff_blas_product *product);

enum { CASTOFF_BLAS_NOT_TAKEN = -1 };

/* CASTOFF_OK, what castoff_fail() returned, or CASTOFF_BLAS_NOT_TAKEN where the library has no way to compute it and
 * nothing was done. How products of these sizes are computed is asked once and remembered. */
int castoff_blas_run(castoff_frame *frame, const castoff_blas_product *product);

#ifdef __cplusplus
}
#endif
#endif
