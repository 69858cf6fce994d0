/* depthwise_convolution.cuh - convolution of every channel by itself, channels last.
 *
 * A thread makes OUTPUTS neighbouring pixels along the last axis, of 16 bytes of channels. Weights lie with the channels
 * of a kernel point side by side. Of a kernel row whose size is known (KERNEL) each input is read once for all pixels it
 * is in, and its weights are kept in registers.
 *
 * Bounds. It reads and writes everything once from memory and does 2 operations a kernel point: the memory's rate is the
 * bound up to kernels of about 7 x 7. The multiprocessor's own cache serves
 * (OUTPUTS + KERNEL - 1 + KERNEL) / OUTPUTS reads of each kernel row: 3.5 of 16 bytes for two outputs and 3, a third of
 * what it can do in the time that memory takes for one read and one write. 80% to 90% of a copy are expected. Not measured.
 */
#ifndef CASTOFF_CUDA_DEPTHWISE_CONVOLUTION_CUH
#define CASTOFF_CUDA_DEPTHWISE_CONVOLUTION_CUH

#include "cuda/convolution.cuh"

/* KERNEL and STRIDE: those of the last axis, without dilation; 0 and 0: any. */
template <int KERNEL, int STRIDE, int OUTPUTS, int CHANNELS, class Element, class Epilogue>
static __global__ void __launch_bounds__(256, 2)
castoff_convolve_depthwise(const castoff_convolution_plan<Element> p, const castoff_divisor pieces, const castoff_divisor columns,
                           const uint32_t count, const Epilogue epilogue) {
    typedef typename Element::Value Value;
    typedef castoff_channels<typename Element::Stored, CHANNELS> Channels;
    const uint32_t item = blockIdx.x * 256 + threadIdx.x;
    if (item >= count) return;
    const uint32_t line_item = pieces.quotient(item), piece = item - line_item * pieces.divisor, channel = piece * CHANNELS;
    const uint32_t line = columns.quotient(line_item), column0 = (line_item - line * columns.divisor) * OUTPUTS;
    const castoff_patch patch = castoff_patch_of(p, (int)(line * p.line.divisor + column0), 0);
    const auto *const weights = p.weight + channel;

    Value sums[OUTPUTS][CHANNELS] = {};
    for (int plane = 0; plane < p.kernel[0]; ++plane) {
        if ((unsigned)(patch.at[0] + plane * p.dilation[0]) >= (unsigned)p.in[0]) continue;
        for (int row = 0; row < p.kernel[1]; ++row) {
            if ((unsigned)(patch.at[1] + row * p.dilation[1]) >= (unsigned)p.in[1]) continue;
            const int64_t from = patch.offset + plane * p.x_point[0] + row * p.x_point[1] + channel;
            const auto *const row_weights = weights + (int64_t)(plane * p.kernel[1] + row) * p.kernel[2] * p.out_channels;
            if constexpr (KERNEL > 0) {
                Channels kept[KERNEL];
#pragma unroll
                for (int k = 0; k < KERNEL; ++k) kept[k] = *(const Channels *)(row_weights + (int64_t)k * p.out_channels);
#pragma unroll
                for (int i = 0; i < (OUTPUTS - 1) * STRIDE + KERNEL; ++i) {
                    Channels x = {};
                    if ((unsigned)(patch.at[2] + i) < (unsigned)p.in[2]) x = *(const Channels *)(p.x + from + i * p.x_space[2]);
#pragma unroll
                    for (int o = 0; o < OUTPUTS; ++o) {
                        const int k = i - o * STRIDE;
                        if (k < 0 || k >= KERNEL) continue;
#pragma unroll
                        for (int c = 0; c < CHANNELS; ++c)
                            sums[o][c] = castoff_multiply_add(Element::widen(x.elements[c]),
                                                              Element::widen(kept[k].elements[c]), sums[o][c]);
                    }
                }
            } else {
                for (int k = 0; k < p.kernel[2]; ++k) {
                    const Channels weight = *(const Channels *)(row_weights + (int64_t)k * p.out_channels);
#pragma unroll
                    for (int o = 0; o < OUTPUTS; ++o) {
                        const int i = o * p.stride[2] + k * p.dilation[2];
                        Channels x = {};
                        if ((unsigned)(patch.at[2] + i) < (unsigned)p.in[2])
                            x = *(const Channels *)(p.x + from + i * p.x_space[2]);
#pragma unroll
                        for (int c = 0; c < CHANNELS; ++c)
                            sums[o][c] = castoff_multiply_add(Element::widen(x.elements[c]), Element::widen(weight.elements[c]),
                                                              sums[o][c]);
                    }
                }
            }
        }
    }
    const uint32_t first = line * p.line.divisor + column0, image = p.positions.quotient(first);
    const int64_t b = p.first_image + image, m = first - image * p.positions.divisor;
    const castoff_neighbours<CHANNELS> n((int)piece);
#pragma unroll
    for (int o = 0; o < OUTPUTS; ++o) {
        if (column0 + o >= p.line.divisor) break;
#pragma unroll
        for (int c = 0; c < CHANNELS; ++c) epilogue(sums[o][c], b, m + o, n[c]);
    }
}

/* c.weight [*kernel, channels]; x and its strides, and the channels, in whole pieces of CHANNELS. */
template <int KERNEL, int STRIDE, int OUTPUTS, int CHANNELS, class Element, class Epilogue>
static int castoff_run_depthwise(castoff_frame *frame, castoff_convolution<Element> c, const Epilogue &epilogue) {
    const int64_t channels = c.groups;
    c.groups = 1;
    c.in_channels = c.out_channels = channels;
    return castoff_plan_convolution(frame, c, 1, channels / CHANNELS, [&](const castoff_convolution_plan<Element> &p) {
        const int64_t columns = castoff_tiles_of(c.out[2], OUTPUTS), pieces = channels / CHANNELS;
        const int64_t lines = p.pixels / c.out[2], count = lines * columns * pieces;
        if (count > 0x7fffff00)
            return castoff_fail(frame, CASTOFF_RUNTIME_ERROR, "a convolution of %lld pieces is more than a grid can hold",
                                (long long)count);
        cudaLaunchConfig_t config = {};
        config.gridDim = dim3((unsigned)castoff_tiles_of(count, 256));
        config.blockDim = dim3(256);
        config.stream = castoff_stream(frame);
        return castoff_cuda_status(
            frame,
            cudaLaunchKernelEx(&config, castoff_convolve_depthwise<KERNEL, STRIDE, OUTPUTS, CHANNELS, Element, Epilogue>, p,
                               castoff_divide_by(pieces), castoff_divide_by(columns), (uint32_t)count, epilogue),
            "launch of a convolution");
    });
}

#endif
