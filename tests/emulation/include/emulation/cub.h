// What the emulated algorithms of CUB share: temporary storage, work on a stream, stable orders.
#pragma once

#include <cstdint>
#include <cstdlib>
#include <new>
#include <type_traits>

#include "cuda_runtime.h"
#include "emulation/functional.h"

namespace emulation {

// order[0..n): the positions of keys in ascending order, equal ones as they come.
EMULATION_HIDDEN void stable_order(int64_t n, const uint64_t* keys, int64_t* order);

template <typename T> using value_of_iterator = std::decay_t<decltype(*std::declval<T>())>;

// One call of a device algorithm: the first tells the size of the storage, the second submits the work, which
// leaves poison in the storage, as CUB leaves what it needed there.
template <typename Function>
cudaError_t device_algorithm(void* storage, size_t& storage_bytes, size_t needed, cudaStream_t stream, Function function)
{
    static_assert(std::is_trivially_destructible_v<Function>);
    needed = needed / 256 * 256 + 256;
    if (!storage) {
        storage_bytes = needed;
        return cudaSuccess;
    }
    if (storage_bytes < needed || emulation_check_pointer(storage) != cudaSuccess) {
        emulation_remember(cudaErrorInvalidValue);
        return cudaErrorInvalidValue;
    }
    struct Kept {
        Function function;
        void* storage;
        size_t needed;
    };
    auto* kept = new (malloc(sizeof(Kept))) Kept{function, storage, needed};
    EmulatedWork work{[](void* data) {
                          auto* kept = static_cast<Kept*>(data);
                          memset(kept->storage, 0xff, kept->needed);
                          kept->function();
                          return cudaSuccess;
                      },
                      free, kept};
    return emulation_submit(stream, &work);
}

template <typename T> struct Scratch {
    T* data;
    explicit Scratch(int64_t count) : data(static_cast<T*>(malloc(sizeof(T) * static_cast<size_t>(count > 0 ? count : 1)))) {}
    Scratch(const Scratch&) = delete;
    Scratch& operator=(const Scratch&) = delete;
    ~Scratch() { free(data); }
};

// A key's bits so that unsigned order is the order of the keys; -0 is +0, NaN lies beyond infinity by its sign.
template <typename T> uint64_t ordered_bits(T key, int begin_bit, int end_bit)
{
    using Bits = std::conditional_t<sizeof(T) == 1, uint8_t, std::conditional_t<sizeof(T) == 2, uint16_t,
                 std::conditional_t<sizeof(T) == 4, uint32_t, uint64_t>>>;
    constexpr Bits sign = static_cast<Bits>(Bits(1) << (sizeof(T) * 8 - 1));
    Bits bits = bits_as<Bits>(key);
    if constexpr (std::is_integral_v<T>) {
        if (std::is_signed_v<T>) bits ^= sign;
    } else {
        if (bits == sign) bits = 0;
        bits = bits & sign ? static_cast<Bits>(~bits) : static_cast<Bits>(bits | sign);
    }
    uint64_t wide = bits;
    if (end_bit < 64) wide &= (uint64_t(1) << end_bit) - 1;
    return wide >> begin_bit;
}

// Stable, by bits; values may be null.
template <typename Key, typename Value>
void sort_range(const Key* keys_in, Key* keys_out, const Value* values_in, Value* values_out, int64_t n, bool is_descending,
                int begin_bit, int end_bit)
{
    Scratch<uint64_t> bits(n);
    Scratch<int64_t> order(n);
    for (int64_t i = 0; i < n; i++) {
        uint64_t key = ordered_bits(keys_in[i], begin_bit, end_bit);
        bits.data[i] = is_descending ? ~key : key;
    }
    stable_order(n, bits.data, order.data);
    Scratch<Key> keys(n);
    for (int64_t i = 0; i < n; i++) keys.data[i] = keys_in[order.data[i]];
    memcpy(static_cast<void*>(keys_out), keys.data, static_cast<size_t>(n) * sizeof(Key));
    if (!values_in) return;
    Scratch<Value> values(n);
    for (int64_t i = 0; i < n; i++) values.data[i] = values_in[order.data[i]];
    memcpy(static_cast<void*>(values_out), values.data, static_cast<size_t>(n) * sizeof(Value));
}

}  // namespace emulation

namespace cub {
struct NullType {};
template <typename T> struct DoubleBuffer {
    T* d_buffers[2] = {nullptr, nullptr};
    int selector = 0;
    DoubleBuffer() = default;
    DoubleBuffer(T* current, T* alternate) : d_buffers{current, alternate} {}
    T* Current() { return d_buffers[selector]; }
    T* Alternate() { return d_buffers[selector ^ 1]; }
};
template <typename Offset, typename T> struct KeyValuePair {
    Offset key;
    T value;
};
}  // namespace cub
