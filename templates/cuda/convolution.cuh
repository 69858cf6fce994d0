/* convolution.cuh - convolution of one to three spatial axes, channels last, as a product that never exists as matrices.
 *
 * For every group: rows are output pixels of all images, columns the group's output channels, the depth kernel points
 * times input channels, channels innermost. What a block multiplies lies in shared memory as rows of 64 bytes along
 * the depth, copied there some tiles ahead (cp.async, Ampere and later): pixels found in the image, where padding gives
 * zeros, and weights, which lie as such rows when the program is built.
 *
 * Positions are found without divisions: a thread copies the same column of every tile, and from one tile to the next
 * it adds the digits of the tile's depth in the mixed radix (kernel, channels), one carry a digit.
 *
 * A Tile (tensor_convolution.cuh, blocked_convolution.cuh) says what a block makes and how it multiplies:
 *
 *     PIXELS, CHANNELS, WARP_PIXELS, WARP_CHANNELS    of a block, and of each of its warps
 *     STAGES, BLOCKS                                  tiles in shared memory; blocks that are to fit a multiprocessor
 *     sums; multiply(pixels, channels); keep(memory)  of a thread; `memory` [WARP_PIXELS][WARP_CHANNELS + 8] is the warp's
 *
 * Bounds. A tile of P pixels and C channels does 2 * P * C operations for every (P + C) * 2 bytes (16-bit) that come from
 * L2: 64 a byte for 128 x 128, 43 for 128 x 64, 32 for 64 x 64. An A100 has about 312 / 5 = 62 tensor operations for a
 * byte of L2, an H100 about 120 (mma.sync reaches some 65% of what its wgmma does). So 128 x 128 is near both bounds,
 * smaller ones are held by L2: from 70% to 80% of the peak of mma.sync are expected of large layers, 50% of layers of 64
 * channels; TF32 does half the operations a byte at half the peak, with the same shares. Of float32, 128 x 64 does 21
 * operations a byte where the machine has 4 to 13: it is held by issue, at 16 loads of shared memory for 256
 * multiply-adds: 75% to 85% of the peak. None of this was measured.
 */
#ifndef CASTOFF_CUDA_CONVOLUTION_CUH
#define CASTOFF_CUDA_CONVOLUTION_CUH

#include <cuda_pipeline_primitives.h>

#include "cuda/lanes.cuh"
#include "cuda/product.cuh"

#define CASTOFF_CONVOLUTION_DEPTH 64  /* bytes along the depth of a tile */
#define CASTOFF_CONVOLUTION_STRIDE 80 /* from row to row: eight rows in a column then lie in different banks */
#define CASTOFF_CONVOLUTION_OUTSIDE (-(1 << 30))

/* Pixels of a launch, or items of pixels, unless a single image has more. Few where tests are to see several launches. */
#if defined(CASTOFF_EMULATION)
#define CASTOFF_CONVOLUTION_PIXELS 4096
#else
#define CASTOFF_CONVOLUTION_PIXELS (1 << 29)
#endif

/* ---- division by a number that many threads divide by ---- */

/* Of numbers below 2^31. Granlund and Montgomery, "Division by Invariant Integers using Multiplication". */
struct castoff_divisor {
    uint32_t divisor, multiplier, shift;
    __device__ __forceinline__ uint32_t quotient(uint32_t x) const {
        return divisor == 1 ? x : __umulhi(x, multiplier) >> shift;
    }
};

static inline castoff_divisor castoff_divide_by(int64_t divisor) {
    castoff_divisor found = {(uint32_t)divisor, 0, 0};
    if (divisor <= 1) return found.divisor = 1, found;
    uint32_t bits = 1;
    while ((int64_t)1 << bits < divisor) ++bits;
    found.multiplier = (uint32_t)((((uint64_t)1 << (31 + bits)) + (uint64_t)divisor - 1) / (uint64_t)divisor);
    found.shift = bits - 1;
    return found;
}

/* Neighbouring channels. */
template <class T, int COUNT, int ALIGNMENT = sizeof(T) * COUNT>
struct alignas(ALIGNMENT) castoff_channels {
    T elements[COUNT];
};

/* ---- the problem ---- */

/* What a program asks for. x [images, *in, groups * in_channels], its channels side by side; sizes of up to three axes,
 * missing ones first. */
template <class Element>
struct castoff_convolution {
    typedef typename Element::Value Value;
    typedef typename Element::Stored Stored;

    int64_t images, groups, in_channels, out_channels; /* channels of one group */
    int64_t in[3], out[3], kernel[3];
    int64_t stride[3], dilation[3], padding[3];
    const Stored *x, *weight;
    int64_t x_image, x_space[3];
    int64_t wanted_blocks; /* where a tile each gives fewer blocks, the depth is split; 0: never */
};

/* The same for some of the images, as kernels need it. */
template <class Element>
struct castoff_convolution_plan {
    typedef typename Element::Value Value;
    typedef typename Element::Stored Stored;

    const Stored *x, *weight;
    Value *partial; /* sums of parts of the depth [part, pixel, channel]; NULL: the sums are whole */
    int64_t x_image, x_space[3], x_point[3], weight_row, first_image;
    int in[3], kernel[3], stride[3], dilation[3], padding[3];
    int step[4]; /* the depth of a tile in digits (kernel, channels) */
    int in_channels, out_channels, groups, pixels;
    int group_pieces; /* of 16 bytes of output channels in a group; 0: they are not whole */
    int depth_tiles, part_tiles; /* all of them; those of a part */
    castoff_divisor positions, plane, line, group_tiles, channel_tiles;
};

/* Where the image of a pixel's kernel begins: at + kernel point, where that is inside. */
struct castoff_patch {
    int64_t offset;
    int at[3];
};

template <class Plan>
static __device__ __forceinline__ castoff_patch castoff_patch_of(const Plan &p, int pixel, int group) {
    const uint32_t image = p.positions.quotient((uint32_t)pixel), position = (uint32_t)pixel - image * p.positions.divisor;
    const uint32_t plane = p.plane.quotient(position), within = position - plane * p.plane.divisor;
    const uint32_t line = p.line.quotient(within), column = within - line * p.line.divisor;
    castoff_patch patch = {(int64_t)image * p.x_image + (int64_t)group * p.in_channels,
                           {(int)plane * p.stride[0] - p.padding[0], (int)line * p.stride[1] - p.padding[1],
                            (int)column * p.stride[2] - p.padding[2]}};
#pragma unroll
    for (int axis = 0; axis < 3; ++axis) patch.offset += patch.at[axis] * p.x_space[axis];
    if (pixel >= p.pixels) patch.at[0] = CASTOFF_CONVOLUTION_OUTSIDE;
    return patch;
}

/* A place along the depth. */
struct castoff_depth {
    int point[3], channel;
    template <class Plan>
    __device__ __forceinline__ void start(const Plan &p, uint32_t element) {
        channel = (int)(element % (uint32_t)p.in_channels);
        element /= (uint32_t)p.in_channels;
        point[2] = (int)(element % (uint32_t)p.kernel[2]);
        element /= (uint32_t)p.kernel[2];
        point[1] = (int)(element % (uint32_t)p.kernel[1]);
        point[0] = (int)(element / (uint32_t)p.kernel[1]);
    }
    template <class Plan>
    __device__ __forceinline__ void advance(const Plan &p) {
        channel += p.step[3];
        int carry = channel >= p.in_channels;
        channel -= carry ? p.in_channels : 0;
#pragma unroll
        for (int axis = 2; axis > 0; --axis) {
            point[axis] += p.step[axis] + carry;
            carry = point[axis] >= p.kernel[axis];
            point[axis] -= carry ? p.kernel[axis] : 0;
        }
        point[0] += p.step[0] + carry;
    }
    template <class Plan>
    __device__ __forceinline__ bool is_there(const Plan &p) const {
        return point[0] < p.kernel[0];
    }
};

/* ---- tiles in shared memory ---- */

template <class Tile>
struct castoff_convolution_memory {
    typedef typename Tile::Value Value;
    static constexpr int WARPS = Tile::PIXELS / Tile::WARP_PIXELS * (Tile::CHANNELS / Tile::WARP_CHANNELS);
    static constexpr int THREADS = 32 * WARPS;
    static constexpr int STAGE_BYTES = (Tile::PIXELS + Tile::CHANNELS) * CASTOFF_CONVOLUTION_STRIDE;
    static constexpr int KEPT = Tile::WARP_PIXELS * (Tile::WARP_CHANNELS + 8); /* sums of a warp */
    static constexpr int TILES_BYTES = Tile::STAGES * STAGE_BYTES > WARPS * KEPT * (int)sizeof(Value)
                                           ? Tile::STAGES * STAGE_BYTES : WARPS * KEPT * (int)sizeof(Value);
};

/* Copies tiles of a problem. PIECE: bytes of neighbouring channels that lie together in x, and how many of a tile's row a
 * thread copies at a time. IS_PACKED: weights are rows of the depth, of 64 bytes and more, zeros at the end; otherwise
 * they lie as PyTorch has them, [channel, in_channels, *kernel]. */
template <class Tile, int PIECE, bool IS_PACKED>
struct castoff_convolution_copier {
    typedef typename Tile::Stored Stored;
    typedef castoff_convolution_memory<Tile> Memory;
    static constexpr int THREADS = Memory::THREADS, DEPTH = CASTOFF_CONVOLUTION_DEPTH / (int)sizeof(Stored);
    static constexpr int PIECES = CASTOFF_CONVOLUTION_DEPTH / PIECE, AT_ONCE = THREADS / PIECES;
    static constexpr int PATCHES = Tile::PIXELS / AT_ONCE;
    static constexpr bool IN_REGISTERS = PIECE == 16; /* few enough patches for a thread to keep */
    static constexpr int SHARED_BYTES =
        Memory::TILES_BYTES + (IN_REGISTERS ? 0 : Tile::PIXELS * (int)sizeof(castoff_patch));

    castoff_patch own[IN_REGISTERS ? PATCHES : 1];
    castoff_depth depth, weight_depth;
    const castoff_patch *patches;
    const Stored *weights;
    int channels; /* there are in this tile */

    template <class Plan>
    __device__ __forceinline__ void start(const Plan &p, unsigned char *memory, int group, int pixel0, int channel0, int tile) {
        const int thread = (int)threadIdx.x;
        depth.start(p, (uint32_t)(tile * DEPTH + thread % PIECES * (PIECE / (int)sizeof(Stored))));
        if constexpr (IN_REGISTERS) {
#pragma unroll
            for (int i = 0; i < PATCHES; ++i) own[i] = castoff_patch_of(p, pixel0 + thread / PIECES + i * AT_ONCE, group);
        } else {
            castoff_patch *const table = (castoff_patch *)(memory + Memory::TILES_BYTES);
            for (int i = thread; i < Tile::PIXELS; i += THREADS) table[i] = castoff_patch_of(p, pixel0 + i, group);
            patches = table;
            __syncthreads();
        }
        channels = p.out_channels - channel0;
        weights = p.weight + ((int64_t)group * p.out_channels + channel0) * p.weight_row;
        if constexpr (IS_PACKED)
            weights += (int64_t)tile * DEPTH;
        else
            weight_depth.start(p, (uint32_t)(tile * DEPTH + thread % DEPTH));
    }

    /* Starts the copy of the next tile of the depth. */
    template <class Plan>
    __device__ __forceinline__ void fetch(const Plan &p, unsigned char *stage) {
        const int thread = (int)threadIdx.x, column = thread % PIECES * PIECE;
        const bool is_there = depth.is_there(p);
        int64_t point = depth.channel;
        int reach[3];
#pragma unroll
        for (int axis = 0; axis < 3; ++axis) {
            point += depth.point[axis] * p.x_point[axis];
            reach[axis] = depth.point[axis] * p.dilation[axis];
        }
#pragma unroll(IN_REGISTERS ? PATCHES : 4)
        for (int i = 0; i < PATCHES; ++i) {
            const int row = thread / PIECES + i * AT_ONCE;
            castoff_patch patch;
            if constexpr (IN_REGISTERS)
                patch = own[i];
            else
                patch = patches[row];
            bool is_inside = is_there;
#pragma unroll
            for (int axis = 0; axis < 3; ++axis)
                is_inside &= (unsigned)(patch.at[axis] + reach[axis]) < (unsigned)p.in[axis];
            const Stored *const from = p.x + (is_inside ? patch.offset + point : 0);
            unsigned char *const to = stage + row * CASTOFF_CONVOLUTION_STRIDE + column;
            if constexpr (PIECE >= 4)
                __pipeline_memcpy_async(to, from, PIECE, is_inside ? 0 : PIECE);
            else
                *(Stored *)to = is_inside ? *from : Stored{};
        }
        depth.advance(p);
        fetch_weights(p, stage + Tile::PIXELS * CASTOFF_CONVOLUTION_STRIDE);
    }

    template <class Plan>
    __device__ __forceinline__ void fetch_weights(const Plan &p, unsigned char *stage) {
        const int thread = (int)threadIdx.x;
        if constexpr (IS_PACKED) {
#pragma unroll
            for (int i = 0; i < (4 * Tile::CHANNELS + THREADS - 1) / THREADS; ++i) {
                const int row = thread / 4 + i * (THREADS / 4), column = thread % 4 * 16;
                if (4 * Tile::CHANNELS < THREADS && row >= Tile::CHANNELS) break;
                const bool is_there = row < channels;
                const Stored *const from = weights + (is_there ? row * p.weight_row + column / (int)sizeof(Stored) : 0);
                __pipeline_memcpy_async(stage + row * CASTOFF_CONVOLUTION_STRIDE + column, from, 16, is_there ? 0 : 16);
            }
            weights += DEPTH;
        } else {
            const int *const k = weight_depth.point;
            const int64_t points = (int64_t)p.kernel[0] * p.kernel[1] * p.kernel[2];
            const int64_t point = ((int64_t)k[0] * p.kernel[1] + k[1]) * p.kernel[2] + k[2] + weight_depth.channel * points;
            const bool is_there = weight_depth.is_there(p);
#pragma unroll 4
            for (int row = thread / DEPTH; row < Tile::CHANNELS; row += THREADS / DEPTH)
                *(Stored *)(stage + row * CASTOFF_CONVOLUTION_STRIDE + thread % DEPTH * (int)sizeof(Stored)) =
                    is_there && row < channels ? weights[row * p.weight_row + point] : Stored{};
            weight_depth.advance(p);
        }
    }
};

/* ---- the kernel ---- */

template <class Tile, int PIECE, bool IS_PACKED, class Epilogue>
static __global__ void __launch_bounds__(castoff_convolution_memory<Tile>::THREADS, Tile::BLOCKS)
castoff_convolve(const castoff_convolution_plan<typename Tile::Element> p, const Epilogue epilogue) {
    typedef typename Tile::Value Value;
    typedef castoff_convolution_memory<Tile> Memory;
    constexpr int STAGES = Tile::STAGES, PIXELS = Tile::PIXELS, PER_ROW = PIXELS / Tile::WARP_PIXELS;
    unsigned char *const memory = castoff_shared_memory();
    /* Neighbouring blocks share pixels: what they read stays in L2. */
    const int pixel_tile = (int)p.group_tiles.quotient(blockIdx.x);
    const int column = (int)blockIdx.x - pixel_tile * (int)p.group_tiles.divisor;
    const int group = (int)p.channel_tiles.quotient((uint32_t)column);
    const int channel0 = (column - group * (int)p.channel_tiles.divisor) * Tile::CHANNELS, pixel0 = pixel_tile * PIXELS;
    const int first = (int)blockIdx.y * p.part_tiles;
    const int count = first + p.part_tiles < p.depth_tiles ? p.part_tiles : p.depth_tiles - first;

    castoff_convolution_copier<Tile, PIECE, IS_PACKED> copier;
    if (count > 0) copier.start(p, memory, group, pixel0, channel0, first);
#pragma unroll
    for (int stage = 0; stage < STAGES - 1; ++stage) {
        if (stage < count) copier.fetch(p, memory + stage * Memory::STAGE_BYTES);
        __pipeline_commit();
    }
    const int warp = (int)threadIdx.x / 32, warp_pixel = warp % PER_ROW * Tile::WARP_PIXELS;
    const int warp_channel = warp / PER_ROW * Tile::WARP_CHANNELS;
    Tile tile;
    int stage = 0, next = STAGES - 1;
    for (int i = 0; i < count; ++i) {
        __pipeline_wait_prior(STAGES - 2);
        __syncthreads();
        if (i + STAGES - 1 < count) copier.fetch(p, memory + next * Memory::STAGE_BYTES);
        __pipeline_commit();
        const unsigned char *const pixels = memory + stage * Memory::STAGE_BYTES;
        tile.multiply(pixels + warp_pixel * CASTOFF_CONVOLUTION_STRIDE,
                      pixels + (PIXELS + warp_channel) * CASTOFF_CONVOLUTION_STRIDE);
        next = stage;
        stage = stage + 1 == STAGES ? 0 : stage + 1;
    }
    __pipeline_wait_prior(0);
    __syncthreads();

    /* Through shared memory, so that a thread finishes neighbouring channels. */
    constexpr int AT_ONCE = 16 / (int)sizeof(typename Tile::Stored), PIECES = Tile::WARP_CHANNELS / AT_ONCE;
    constexpr int KEPT_ROW = Tile::WARP_CHANNELS + 8;
    typedef castoff_channels<Value, AT_ONCE, 16> Sums;
    Value *const kept = (Value *)memory + warp * Memory::KEPT;
    tile.keep(kept);
    __syncwarp();
#pragma unroll 1
    for (int i = (int)threadIdx.x % 32; i < Tile::WARP_PIXELS * PIECES; i += 32) {
        const int row = i / PIECES, from = i % PIECES * AT_ONCE;
        const int pixel = pixel0 + warp_pixel + row, channel = channel0 + warp_channel + from;
        if (pixel >= p.pixels || channel >= p.out_channels) continue;
        const int there = p.out_channels - channel < AT_ONCE ? p.out_channels - channel : AT_ONCE;
        const Sums sums = *(const Sums *)(kept + row * KEPT_ROW + from);
        if (p.partial) {
            Value *const to = p.partial + ((int64_t)blockIdx.y * p.pixels + pixel) * ((int64_t)p.groups * p.out_channels) +
                              (int64_t)group * p.out_channels + channel;
#pragma unroll
            for (int e = 0; e < AT_ONCE; ++e)
                if (e < there) to[e] = sums.elements[e];
            continue;
        }
        const uint32_t image = p.positions.quotient((uint32_t)pixel);
        const int64_t b = p.first_image + image, m = (uint32_t)pixel - image * p.positions.divisor;
        if (p.group_pieces) {
            const castoff_neighbours<AT_ONCE> n(group * p.group_pieces + channel / AT_ONCE);
#pragma unroll
            for (int e = 0; e < AT_ONCE; ++e) epilogue(sums.elements[e], b, m, n[e]);
        } else {
            const Value *const each = kept + row * KEPT_ROW + from;
#pragma unroll 1
            for (int e = 0; e < there; ++e) epilogue(each[e], b, m, (int64_t)group * p.out_channels + channel + e);
        }
    }
}

/* Adds the parts of every sum, in their order. */
template <class Plan, class Epilogue>
static __global__ void __launch_bounds__(256)
castoff_finish_parts(const Plan p, const int parts, const Epilogue epilogue, const int64_t count) {
    const int channels = p.groups * p.out_channels;
    const int64_t step = (int64_t)gridDim.x * blockDim.x;
    for (int64_t i = (int64_t)blockIdx.x * blockDim.x + threadIdx.x; i < count; i += step) {
        typename Plan::Value sum = p.partial[i];
        for (int part = 1; part < parts; ++part) sum += p.partial[part * count + i];
        const uint32_t pixel = (uint32_t)(i / channels), image = p.positions.quotient(pixel);
        epilogue(sum, p.first_image + image, (int64_t)(pixel - image * p.positions.divisor), i % channels);
    }
}

/* ---- on the host ---- */

static inline int64_t castoff_tiles_of(int64_t count, int64_t size) { return (count + size - 1) / size; }

/* Calls run(plan) with images that are few enough for 31 bits to count their pixels, of so many items each. `tile_depth`: in
 * elements. */
template <class Element, class Run>
static int castoff_plan_convolution(castoff_frame *frame, const castoff_convolution<Element> &c, int64_t tile_depth,
                                    int64_t items, Run run) {
    castoff_convolution_plan<Element> p = {};
    const int64_t positions = c.out[0] * c.out[1] * c.out[2];
    if (c.images <= 0 || positions <= 0 || c.out_channels <= 0) return CASTOFF_OK;
    const int64_t most = (int64_t)1 << 29;
    bool fits = positions <= most && c.in_channels <= most && c.groups * c.out_channels <= most;
    int64_t rest = tile_depth, depth = c.in_channels;
    p.step[3] = (int)(c.in_channels > 0 ? rest % c.in_channels : 0);
    rest = c.in_channels > 0 ? rest / c.in_channels : 0;
    for (int axis = 2; axis >= 0; --axis) {
        const int64_t reach = (c.kernel[axis] - 1) * c.dilation[axis] + c.out[axis] * c.stride[axis];
        fits &= c.in[axis] + c.padding[axis] <= most && reach <= most;
        depth *= c.kernel[axis];
        p.step[axis] = (int)(axis && c.kernel[axis] > 0 ? rest % c.kernel[axis] : rest);
        rest = c.kernel[axis] > 0 ? rest / c.kernel[axis] : 0;
        p.in[axis] = (int)c.in[axis];
        p.kernel[axis] = (int)c.kernel[axis];
        p.stride[axis] = (int)c.stride[axis];
        p.dilation[axis] = (int)c.dilation[axis];
        p.padding[axis] = (int)c.padding[axis];
        p.x_space[axis] = c.x_space[axis];
        p.x_point[axis] = c.dilation[axis] * c.x_space[axis];
    }
    if (!fits || depth > most)
        return castoff_fail(frame, CASTOFF_RUNTIME_ERROR,
                            "a convolution of %lld pixels an image, %lld output channels and sums of %lld products: "
                            "at most %lld of each", (long long)positions, (long long)(c.groups * c.out_channels),
                            (long long)depth, (long long)most);
    p.weight = c.weight;
    p.x_image = c.x_image;
    p.in_channels = (int)c.in_channels;
    p.out_channels = (int)c.out_channels;
    p.groups = (int)c.groups;
    constexpr int AT_ONCE = 16 / (int)sizeof(typename Element::Stored);
    p.group_pieces = c.out_channels % AT_ONCE ? 0 : (int)c.out_channels / AT_ONCE;
    p.positions = castoff_divide_by(positions);
    p.plane = castoff_divide_by(c.out[1] * c.out[2]);
    p.line = castoff_divide_by(c.out[2]);
    int64_t at_once = CASTOFF_CONVOLUTION_PIXELS / positions / items;
    if (at_once < 1) at_once = 1;
    for (int64_t image = 0; image < c.images; image += at_once) {
        const int64_t count = c.images - image < at_once ? c.images - image : at_once;
        p.x = c.x + image * c.x_image;
        p.first_image = image;
        p.pixels = (int)(count * positions);
        CASTOFF_TRY(run(p));
    }
    return CASTOFF_OK;
}

/* How many parts the depth is split into: as many as give the blocks that are wanted, four tiles of the depth each. */
static inline int64_t castoff_convolution_parts(int64_t wanted_blocks, int64_t blocks, int64_t depth_tiles) {
    const int64_t wanted = wanted_blocks / blocks, most = depth_tiles / 4;
    return wanted < most ? (wanted > 1 ? wanted : 1) : (most > 1 ? most : 1);
}

template <class Tile, int PIECE, bool IS_PACKED, bool MAY_SPLIT, class Element, class Epilogue>
static int castoff_run_convolution(castoff_frame *frame, const castoff_convolution<Element> &c, const Epilogue &epilogue) {
    typedef castoff_convolution_copier<Tile, PIECE, IS_PACKED> Copier;
    typedef castoff_convolution_plan<Element> Plan;
    const int64_t depth = c.in_channels * c.kernel[0] * c.kernel[1] * c.kernel[2];
    const int64_t depth_tiles = castoff_tiles_of(depth, Copier::DEPTH);
    return castoff_plan_convolution(frame, c, Copier::DEPTH, 1, [&](Plan p) {
        const int64_t channel_tiles = castoff_tiles_of(c.out_channels, Tile::CHANNELS);
        const int64_t blocks = castoff_tiles_of(p.pixels, Tile::PIXELS) * channel_tiles * c.groups;
        if (blocks > 0x7fffffff)
            return castoff_fail(frame, CASTOFF_RUNTIME_ERROR, "a convolution of %lld tiles is more than a grid can hold",
                                (long long)blocks);
        p.weight_row = IS_PACKED ? depth_tiles * Copier::DEPTH : depth;
        p.channel_tiles = castoff_divide_by(channel_tiles);
        p.group_tiles = castoff_divide_by(channel_tiles * c.groups);
        p.depth_tiles = p.part_tiles = (int)depth_tiles;
        int64_t parts = 1;
        const int64_t count = p.pixels * c.groups * c.out_channels;
        if constexpr (MAY_SPLIT) {
            parts = castoff_convolution_parts(c.wanted_blocks, blocks, depth_tiles);
            p.part_tiles = (int)castoff_tiles_of(depth_tiles, parts);
            parts = p.part_tiles ? castoff_tiles_of(depth_tiles, p.part_tiles) : 1;
            if (parts > 1) {
                p.partial = (typename Plan::Value *)castoff_frame_scratch(frame, (size_t)(parts * count) * sizeof(typename Plan::Value));
                if (!p.partial) return (int)CASTOFF_OUT_OF_MEMORY;
            }
        }
        cudaLaunchConfig_t config = {};
        config.gridDim = dim3((unsigned)blocks, (unsigned)parts);
        config.blockDim = dim3(Copier::THREADS);
        config.dynamicSmemBytes = Copier::SHARED_BYTES;
        config.stream = castoff_stream(frame);
        CASTOFF_TRY(castoff_allow_shared(frame, castoff_convolve<Tile, PIECE, IS_PACKED, Epilogue>, Copier::SHARED_BYTES));
        CASTOFF_TRY(castoff_cuda_status(
            frame, cudaLaunchKernelEx(&config, castoff_convolve<Tile, PIECE, IS_PACKED, Epilogue>, p, epilogue),
            "launch of a convolution"));
        if constexpr (MAY_SPLIT) {
            if (parts > 1)
                return castoff_launch_rows(frame, castoff_finish_parts<Plan, Epilogue>, count, 256, 256, 0, p, (int)parts, epilogue,
                                           count);
        }
        return (int)CASTOFF_OK;
    });
}

/* The first tile where it gives as many blocks as are wanted, else the second. */
template <class Large, class Small, int PIECE, bool IS_PACKED, class Element, class Epilogue>
static int castoff_run_convolution_by_size(castoff_frame *frame, const castoff_convolution<Element> &c, const Epilogue &epilogue) {
    const int64_t pixels = c.images * c.out[0] * c.out[1] * c.out[2];
    const int64_t blocks = castoff_tiles_of(pixels, Large::PIXELS) * castoff_tiles_of(c.out_channels, Large::CHANNELS) * c.groups;
    if (blocks >= c.wanted_blocks)
        return castoff_run_convolution<Large, PIECE, IS_PACKED, false>(frame, c, epilogue);
    return castoff_run_convolution<Small, PIECE, IS_PACKED, true>(frame, c, epilogue);
}

#endif
