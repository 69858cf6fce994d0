/* convolution.cuh - convolution of one to three spatial axes as a product that never exists as matrices.
 *
 * For every image and group: rows are the group's output channels, columns the flattened output positions, the depth
 * input channels times kernel points. Elements of patches are found where the tile needs them; padding gives zeros.
 */
#ifndef CASTOFF_CUDA_CONVOLUTION_CUH
#define CASTOFF_CUDA_CONVOLUTION_CUH

#include "cuda/product.cuh"

template <class Element>
struct castoff_patches {
    typedef typename Element::Value Value;
    typedef typename Element::Stored Stored;

    int64_t batch, rows, columns, depth; /* images * groups, channels of a group, output positions, products per sum */
    int64_t groups, in_channels;         /* of one group */
    int64_t in[3], out[3], kernel[3];
    int64_t stride[3], dilation[3], padding[3];
    const Stored *x, *weight; /* weight [groups * rows, in_channels, kernel...] */
    int64_t x_batch, x_channel, x_space[3];

    struct Cursor {
        const castoff_patches *p;
        const Stored *x, *weight;
        __device__ __forceinline__ Value left(int64_t row, int64_t k) const { return Element::widen(weight[row * p->depth + k]); }
        __device__ __forceinline__ Value right(int64_t k, int64_t column) const {
            int64_t offset = 0, point = k, position = column;
            bool is_inside = true;
#pragma unroll
            for (int axis = 2; axis >= 0; --axis) {
                const int64_t at = position % p->out[axis] * p->stride[axis] - p->padding[axis] +
                                   point % p->kernel[axis] * p->dilation[axis];
                position /= p->out[axis];
                point /= p->kernel[axis];
                is_inside &= (uint64_t)at < (uint64_t)p->in[axis];
                offset += at * p->x_space[axis];
            }
            return is_inside ? Element::widen(x[point * p->x_channel + offset]) : Value{};
        }
    };
    __device__ __forceinline__ Cursor cursor(int64_t entry) const {
        const int64_t image = entry / groups, group = entry % groups;
        return {this, x + image * x_batch + group * in_channels * x_channel, weight + group * rows * depth};
    }
};

/* From the rows of one group to channels of the whole output. */
template <class Epilogue>
struct castoff_of_group {
    Epilogue epilogue;
    int64_t groups, rows;
    template <class Value>
    __device__ __forceinline__ void operator()(Value value, int64_t entry, int64_t row, int64_t column) const {
        epilogue(value, entry / groups, entry % groups * rows + row, column);
    }
};

template <class Element, class Epilogue>
static int castoff_run_convolution(castoff_frame *frame, const castoff_patches<Element> &problem, const Epilogue &epilogue) {
    return castoff_run_product(frame, problem, castoff_of_group<Epilogue>{epilogue, problem.groups, problem.rows});
}

#endif
