// DeviceScan, DeviceReduce, DeviceSelect, DeviceRunLengthEncode: one pass over the elements, in their order.
#pragma once

#include "emulation/cub.h"

namespace cub {

struct DeviceScan {
    template <typename In, typename Out, typename Op, typename Count>
    static cudaError_t InclusiveScan(void* storage, size_t& bytes, In in, Out out, Op op, Count n, cudaStream_t stream = nullptr)
    {
        using T = std::decay_t<decltype(op(*in, *in))>;
        return emulation::device_algorithm(storage, bytes, static_cast<size_t>(n) / 8, stream, [=]() mutable {
            T sum{};
            for (Count i = 0; i < n; i++) out[i] = sum = i ? static_cast<T>(op(sum, in[i])) : static_cast<T>(in[i]);
        });
    }
    template <typename In, typename Out, typename Op, typename Initial, typename Count>
    static cudaError_t ExclusiveScan(void* storage, size_t& bytes, In in, Out out, Op op, Initial initial, Count n,
                                     cudaStream_t stream = nullptr)
    {
        using T = std::decay_t<decltype(op(initial, *in))>;
        return emulation::device_algorithm(storage, bytes, static_cast<size_t>(n) / 8, stream, [=]() mutable {
            T sum = initial;
            for (Count i = 0; i < n; i++) {
                T next = op(sum, in[i]);  // read before `out`, which may be `in`, is written
                out[i] = sum;
                sum = next;
            }
        });
    }
    template <typename In, typename Out, typename Count>
    static cudaError_t InclusiveSum(void* storage, size_t& bytes, In in, Out out, Count n, cudaStream_t stream = nullptr)
    {
        return InclusiveScan(storage, bytes, in, out, cuda::std::plus<>{}, n, stream);
    }
    template <typename In, typename Out, typename Count>
    static cudaError_t ExclusiveSum(void* storage, size_t& bytes, In in, Out out, Count n, cudaStream_t stream = nullptr)
    {
        using T = emulation::value_of_iterator<In>;
        return ExclusiveScan(storage, bytes, in, out, cuda::std::plus<>{}, T{}, n, stream);
    }
};

struct DeviceReduce {
    template <typename In, typename Out, typename Count, typename Op, typename T>
    static cudaError_t Reduce(void* storage, size_t& bytes, In in, Out out, Count n, Op op, T initial,
                              cudaStream_t stream = nullptr)
    {
        return emulation::device_algorithm(storage, bytes, 1024, stream, [=]() mutable {
            std::decay_t<decltype(op(initial, *in))> sum = initial;
            for (Count i = 0; i < n; i++) sum = op(sum, in[i]);
            *out = sum;
        });
    }
    template <typename In, typename Out, typename Count>
    static cudaError_t Sum(void* storage, size_t& bytes, In in, Out out, Count n, cudaStream_t stream = nullptr)
    {
        return Reduce(storage, bytes, in, out, n, cuda::std::plus<>{}, emulation::value_of_iterator<In>{}, stream);
    }
    template <typename In, typename Out, typename Count>
    static cudaError_t Min(void* storage, size_t& bytes, In in, Out out, Count n, cudaStream_t stream = nullptr)
    {
        return best(storage, bytes, in, out, n, cuda::minimum<>{}, stream);
    }
    template <typename In, typename Out, typename Count>
    static cudaError_t Max(void* storage, size_t& bytes, In in, Out out, Count n, cudaStream_t stream = nullptr)
    {
        return best(storage, bytes, in, out, n, cuda::maximum<>{}, stream);
    }

  private:
    template <typename In, typename Out, typename Count, typename Op>
    static cudaError_t best(void* storage, size_t& bytes, In in, Out out, Count n, Op op, cudaStream_t stream)
    {
        return emulation::device_algorithm(storage, bytes, 1024, stream, [=]() mutable {
            if (n == 0) return;
            emulation::value_of_iterator<In> found = in[0];
            for (Count i = 1; i < n; i++) found = op(found, static_cast<emulation::value_of_iterator<In>>(in[i]));
            *out = found;
        });
    }
};

struct DeviceSelect {
    template <typename In, typename Flags, typename Out, typename Selected>
    static cudaError_t Flagged(void* storage, size_t& bytes, In in, Flags flags, Out out, Selected selected, int64_t n,
                               cudaStream_t stream = nullptr)
    {
        return keep(storage, bytes, in, out, selected, n, stream,
                    [=](int64_t i) { return static_cast<bool>(flags[i]); });
    }
    template <typename In, typename Out, typename Selected, typename Predicate>
    static cudaError_t If(void* storage, size_t& bytes, In in, Out out, Selected selected, int64_t n, Predicate is_wanted,
                          cudaStream_t stream = nullptr)
    {
        return keep(storage, bytes, in, out, selected, n, stream,
                    [=](int64_t i) mutable { return static_cast<bool>(is_wanted(in[i])); });
    }
    template <typename In, typename Out, typename Selected>
    static cudaError_t Unique(void* storage, size_t& bytes, In in, Out out, Selected selected, int64_t n,
                              cudaStream_t stream = nullptr)
    {
        return keep(storage, bytes, in, out, selected, n, stream, [=](int64_t i) { return i == 0 || !(in[i] == in[i - 1]); });
    }

  private:
    template <typename In, typename Out, typename Selected, typename Wanted>
    static cudaError_t keep(void* storage, size_t& bytes, In in, Out out, Selected selected, int64_t n, cudaStream_t stream,
                            Wanted is_wanted)
    {
        return emulation::device_algorithm(storage, bytes, static_cast<size_t>(n) / 8, stream, [=]() mutable {
            int64_t count = 0;
            for (int64_t i = 0; i < n; i++) {
                if (is_wanted(i)) out[count++] = in[i];
            }
            *selected = static_cast<emulation::value_of_iterator<Selected>>(count);
        });
    }
};

struct DeviceRunLengthEncode {
    template <typename In, typename Unique, typename Lengths, typename Runs>
    static cudaError_t Encode(void* storage, size_t& bytes, In in, Unique unique, Lengths lengths, Runs runs, int64_t n,
                              cudaStream_t stream = nullptr)
    {
        return emulation::device_algorithm(storage, bytes, static_cast<size_t>(n) / 8, stream, [=]() mutable {
            int64_t count = 0;
            for (int64_t i = 0, length = 1; i < n; i++, length++) {
                if (i + 1 < n && in[i + 1] == in[i]) continue;
                unique[count] = in[i];
                lengths[count++] = static_cast<emulation::value_of_iterator<Lengths>>(length);
                length = 0;
            }
            *runs = static_cast<emulation::value_of_iterator<Runs>>(count);
        });
    }
};

}  // namespace cub
