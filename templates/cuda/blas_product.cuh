/* blas_product.cuh - matrix products by cuBLASLt where it takes them, else tile by tile; those of few rows or columns by
 * skinny.cuh, where copies of 16 bytes reach the operands.
 *
 * What the library does at the end of a product as the program means it, adding a bias for each column and storing whole
 * rows, it does; any other epilogue follows as a kernel of its own over the products. (Its relu loses NaN.)
 */
#ifndef CASTOFF_CUDA_BLAS_PRODUCT_CUH
#define CASTOFF_CUDA_BLAS_PRODUCT_CUH

#include "cuda/blas.h"
#include "cuda/skinny.cuh"

template <class Element>
struct castoff_blas_type;
template <>
struct castoff_blas_type<castoff_plain<float>> {
    static constexpr int stored = CASTOFF_BLAS_F32, computed = CASTOFF_BLAS_F32;
};
template <>
struct castoff_blas_type<castoff_tf32> : castoff_blas_type<castoff_plain<float>> {};
template <>
struct castoff_blas_type<castoff_plain<double>> {
    static constexpr int stored = CASTOFF_BLAS_F64, computed = CASTOFF_BLAS_F64;
};
template <>
struct castoff_blas_type<castoff_half> {
    static constexpr int stored = CASTOFF_BLAS_F16, computed = CASTOFF_BLAS_F32;
};
template <>
struct castoff_blas_type<castoff_brain> {
    static constexpr int stored = CASTOFF_BLAS_BF16, computed = CASTOFF_BLAS_F32;
};

/* An epilogue that the library has: where rows go. `is_stored_type`: in the type of the operands, not that of sums. */
struct castoff_blas_store {
    void *output; /* NULL: it does not have it */
    int64_t batch_stride, row_stride;
    const void *bias;
    int is_stored_type;
};

/* The batch as one axis: 1 where the strides of all axes follow from the innermost one. */
template <class Element>
static int castoff_single_batch(const castoff_matrices<Element> &p, int64_t *a_batch, int64_t *b_batch) {
    const int last = p.batch_rank - 1;
    *a_batch = last < 0 ? 0 : p.a_batch[last];
    *b_batch = last < 0 ? 0 : p.b_batch[last];
    int64_t count = last < 0 ? 1 : p.batch_sizes[last];
    for (int axis = last - 1; axis >= 0; --axis) {
        if (p.batch_sizes[axis] > 1 && (p.a_batch[axis] != count * *a_batch || p.b_batch[axis] != count * *b_batch)) return 0;
        count *= p.batch_sizes[axis];
    }
    return 1;
}

template <class Value, class Epilogue>
static __global__ void __launch_bounds__(256)
castoff_finish_products(const Value *__restrict__ products, const int64_t rows, const int64_t columns, const Epilogue epilogue,
                        const int64_t count) {
    const int64_t step = (int64_t)gridDim.x * blockDim.x;
    for (int64_t i = (int64_t)blockIdx.x * blockDim.x + threadIdx.x; i < count; i += step) {
        const int64_t row = i / columns;
        epilogue(products[i], row / rows, row % rows, i % columns);
    }
}

/* MAY_BE_FEW: rows or columns; else the kernels for them are not compiled. */
template <bool MAY_BE_FEW, class Element, class Epilogue>
static int castoff_run_matrices(castoff_frame *frame, const castoff_matrices<Element> &p, const Epilogue &epilogue,
                                const castoff_blas_store &store) {
    typedef typename Element::Value Value;
    const int64_t count = p.batch * p.rows * p.columns;
    if (count <= 0) return CASTOFF_OK;
    if constexpr (MAY_BE_FEW && !__is_same(Value, double)) {
        const castoff_skinny<Element> skinny = {p, p.columns < p.rows};
        const castoff_skinny_way way = castoff_skinny_takes(skinny);
        if (way != CASTOFF_SKINNY_NONE) return castoff_run_skinny(frame, skinny, way, epilogue);
    }
    castoff_blas_product product = {};
    product.type = castoff_blas_type<Element>::stored;
    product.out_type = castoff_blas_type<Element>::computed;
    product.is_tf32 = __is_same(Element, castoff_tf32);
    product.batch = p.batch;
    product.rows = p.rows;
    product.columns = p.columns;
    product.depth = p.depth;
    product.a = p.a;
    product.a_row = p.a_row;
    product.a_column = p.a_column;
    product.b = p.b;
    product.b_row = p.b_row;
    product.b_column = p.b_column;
    product.c_row = p.columns;
    product.c_batch = p.rows * p.columns;
    int is_taken = castoff_single_batch(p, &product.a_batch, &product.b_batch) && castoff_blas_takes(&product);
    void *products = NULL;
    if (is_taken && store.output) {
        product.c = store.output;
        product.c_row = store.row_stride;
        product.c_batch = store.batch_stride;
        product.bias = store.bias;
        if (store.is_stored_type) product.out_type = product.type;
        is_taken = castoff_blas_takes(&product);
    } else if (is_taken) {
        products = product.c = castoff_frame_scratch(frame, (size_t)count * sizeof(Value));
        if (!products) return CASTOFF_OUT_OF_MEMORY;
    }
    /* One matrix for a batch whose rows follow each other: a single product, unless its rows repeat or overlap. */
    if (product.b_batch == 0 && product.a_batch == product.rows * product.a_row &&
        product.c_batch == product.rows * product.c_row) {
        castoff_blas_product single = product;
        single.rows *= product.batch;
        single.batch = 1;
        if (castoff_blas_takes(&single)) product = single;
    }
    if (is_taken) {
        const int status = castoff_blas_run(frame, &product);
        if (status != CASTOFF_BLAS_NOT_TAKEN) {
            if (status != CASTOFF_OK || !products) return status;
            return castoff_launch_rows(frame, castoff_finish_products<Value, Epilogue>, count, 256, 256, 0,
                                       (const Value *)products, p.rows, p.columns, epilogue, count);
        }
    }
    return castoff_run_product(frame, p, epilogue);
}

#endif
