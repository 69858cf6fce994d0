// BlockReduce, BlockScan, WarpReduce: where CUDA gives a result to one thread only, the others get poison.
#pragma once

#include "emulation/cub.h"
#include "emulation/warp.h"

namespace cub {

enum BlockReduceAlgorithm {
    BLOCK_REDUCE_RAKING_COMMUTATIVE_ONLY,
    BLOCK_REDUCE_RAKING,
    BLOCK_REDUCE_WARP_REDUCTIONS
};
enum BlockScanAlgorithm { BLOCK_SCAN_RAKING, BLOCK_SCAN_RAKING_MEMOIZE, BLOCK_SCAN_WARP_SCANS };

template <typename T, int x, BlockReduceAlgorithm = BLOCK_REDUCE_WARP_REDUCTIONS, int y = 1, int z = 1> class BlockReduce {
  public:
    struct TempStorage {
        T values[x * y * z];
    };
    explicit BlockReduce(TempStorage& storage) : storage(storage) {}

    template <typename Op> T Reduce(T input, Op op, int valid = x * y * z)
    {
        int rank = static_cast<int>(threadIdx.x + x * (threadIdx.y + y * threadIdx.z));
        storage.values[rank] = input;
        __syncthreads();
        T result;
        memset(static_cast<void*>(&result), 0xff, sizeof result);
        if (rank > 0) return result;
        result = storage.values[0];
        for (int i = 1; i < valid; i++) result = op(result, storage.values[i]);
        return result;
    }
    T Sum(T input) { return Reduce(input, cuda::std::plus<>{}); }
    T Sum(T input, int valid) { return Reduce(input, cuda::std::plus<>{}, valid); }

  private:
    TempStorage& storage;
};

template <typename T, int x, BlockScanAlgorithm = BLOCK_SCAN_RAKING, int y = 1, int z = 1> class BlockScan {
  public:
    struct TempStorage {
        T values[x * y * z];
    };
    explicit BlockScan(TempStorage& storage) : storage(storage) {}

    template <typename Op> void InclusiveScan(T input, T& output, Op op, T& aggregate)
    {
        int rank = share(input);
        output = combined(rank + 1, op);
        aggregate = combined(x * y * z, op);
    }
    template <typename Op> void InclusiveScan(T input, T& output, Op op)
    {
        T aggregate;
        InclusiveScan(input, output, op, aggregate);
    }
    template <typename Op> void ExclusiveScan(T input, T& output, T initial, Op op, T& aggregate)
    {
        int rank = share(input);
        output = rank ? op(initial, combined(rank, op)) : initial;
        aggregate = combined(x * y * z, op);
    }
    template <typename Op> void ExclusiveScan(T input, T& output, T initial, Op op)
    {
        T aggregate;
        ExclusiveScan(input, output, initial, op, aggregate);
    }
    void InclusiveSum(T input, T& output) { InclusiveScan(input, output, cuda::std::plus<>{}); }
    void InclusiveSum(T input, T& output, T& aggregate) { InclusiveScan(input, output, cuda::std::plus<>{}, aggregate); }
    void ExclusiveSum(T input, T& output) { ExclusiveScan(input, output, T{}, cuda::std::plus<>{}); }
    void ExclusiveSum(T input, T& output, T& aggregate)
    {
        ExclusiveScan(input, output, T{}, cuda::std::plus<>{}, aggregate);
    }

  private:
    TempStorage& storage;
    int share(T input)
    {
        int rank = static_cast<int>(threadIdx.x + x * (threadIdx.y + y * threadIdx.z));
        storage.values[rank] = input;
        __syncthreads();
        return rank;
    }
    template <typename Op> T combined(int count, Op op) const
    {
        T result = storage.values[0];
        for (int i = 1; i < count; i++) result = op(result, storage.values[i]);
        return result;
    }
};

template <typename T, int lanes = 32> class WarpReduce {
  public:
    struct TempStorage {};
    explicit WarpReduce(TempStorage&) {}

    template <typename Op> T Reduce(T input, Op op, int valid = lanes)
    {
        unsigned first = emulation::current_lane & ~static_cast<unsigned>(lanes - 1);
        unsigned mask = (lanes == 32 ? 0xffffffffu : (1u << (lanes % 32)) - 1) << first;
        const emulation::Meeting* meeting = emulation::meet_warp(mask, "cub::WarpReduce", &input, sizeof input);
        T result;
        memset(static_cast<void*>(&result), 0xff, sizeof result);
        if (emulation::current_lane == first) {
            result = input;
            for (int i = 1; i < valid; i++) result = op(result, emulation::value_of<T>(meeting, first + static_cast<unsigned>(i)));
        }
        emulation::leave_warp(meeting);
        return result;
    }
    T Sum(T input) { return Reduce(input, cuda::std::plus<>{}); }
    T Sum(T input, int valid) { return Reduce(input, cuda::std::plus<>{}, valid); }
};

}  // namespace cub
