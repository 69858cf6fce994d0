/* custom.h - how the C function of a custom operator is called.
 *
 * For `mylib::scale(Tensor x, float factor=2.0) -> Tensor` the source defines
 *
 *     int mylib_scale(const castoff_operand *inputs, const castoff_operand *outputs, double factor)
 *
 * `inputs` are the tensors of the call in the order of the schema, those of a Tensor[] one after the other; `outputs`
 * are the results, whose memory is there already. Elements are contiguous and row-major; inputs are not to be written.
 * Then follows, in the order of the schema, what is no tensor:
 *
 *     int, SymInt    int64_t x                     int[], bool[]   const int64_t *x, int64_t x_count
 *     float, Scalar  double x                      float[]         const double *x, int64_t x_count
 *     bool           int x                         Tensor[]        int64_t x_count
 *     str            const char *x                 Tensor?         int has_x   (an absent one is not in `inputs`)
 *     ScalarType     int x, an enum castoff_dtype  int?, float?, … int has_x, then the value
 *
 * The function gives 0, or anything else to make the run fail. It may be called from several threads at once. The source
 * is compiled once for each CPU level: helpers and tables in it have to be `static`, and names it shares with generated
 * code are best begun with the namespace.
 */
#ifndef CASTOFF_COMMON_CUSTOM_H
#define CASTOFF_COMMON_CUSTOM_H

#include <stdint.h>

#include "common/types.h"

enum castoff_dtype {
    CASTOFF_BOOL,
    CASTOFF_UINT8,
    CASTOFF_INT8,
    CASTOFF_INT16,
    CASTOFF_INT32,
    CASTOFF_INT64,
    CASTOFF_UINT16,
    CASTOFF_UINT32,
    CASTOFF_UINT64,
    CASTOFF_FLOAT16,
    CASTOFF_BFLOAT16,
    CASTOFF_FLOAT32,
    CASTOFF_FLOAT64,
    CASTOFF_COMPLEX32,
    CASTOFF_COMPLEX64,
    CASTOFF_COMPLEX128,
    CASTOFF_FLOAT8_E4M3FN,
    CASTOFF_FLOAT8_E5M2,
    CASTOFF_FLOAT8_E4M3FNUZ,
    CASTOFF_FLOAT8_E5M2FNUZ,
    CASTOFF_FLOAT8_E8M0FNU
};

/* A tensor. float16 and bfloat16 are held as castoff_f16 and castoff_bf16, complex as castoff_c64 and castoff_c128. */
typedef struct {
    void *data;
    const int64_t *shape;
    int64_t rank;
    int64_t count; /* of elements */
    enum castoff_dtype dtype;
} castoff_operand;

#endif
