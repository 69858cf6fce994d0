// DeviceRadixSort, DeviceSegmentedSort, DeviceSegmentedRadixSort, DeviceMergeSort.
#pragma once

#include "emulation/cub.h"

namespace emulation {

template <typename Key, typename Value>
cudaError_t sort_device(void* storage, size_t& bytes, const Key* keys_in, Key* keys_out, const Value* values_in,
                        Value* values_out, int64_t n, bool is_descending, int begin_bit, int end_bit, cudaStream_t stream)
{
    size_t needed = static_cast<size_t>(n) * (sizeof(Key) + sizeof(Value));
    return device_algorithm(storage, bytes, needed, stream, [=] {
        sort_range(keys_in, keys_out, values_in, values_out, n, is_descending, begin_bit, end_bit);
    });
}

template <typename Key, typename Value, typename Begin, typename End>
cudaError_t sort_segments(void* storage, size_t& bytes, const Key* keys_in, Key* keys_out, const Value* values_in,
                          Value* values_out, int64_t n, int64_t segments, Begin begins, End ends, bool is_descending,
                          int begin_bit, int end_bit, cudaStream_t stream)
{
    size_t needed = static_cast<size_t>(n) * (sizeof(Key) + sizeof(Value)) + static_cast<size_t>(segments) * 16;
    return device_algorithm(storage, bytes, needed, stream, [=] {
        for (int64_t i = 0; i < segments; i++) {
            int64_t first = begins[i], count = static_cast<int64_t>(ends[i]) - first;
            if (count <= 0) continue;
            sort_range(keys_in + first, keys_out + first, values_in ? values_in + first : nullptr,
                       values_out ? values_out + first : nullptr, count, is_descending, begin_bit, end_bit);
        }
    });
}

}  // namespace emulation

namespace cub {

#define EMULATED_SORTS(suffix, is_descending)                                                                   \
    template <typename Key, typename Value, typename Count>                                                     \
    static cudaError_t SortPairs##suffix(void* storage, size_t& bytes, const Key* keys_in, Key* keys_out,       \
                                         const Value* values_in, Value* values_out, Count n, int begin_bit = 0, \
                                         int end_bit = sizeof(Key) * 8, cudaStream_t stream = nullptr)          \
    {                                                                                                           \
        return emulation::sort_device(storage, bytes, keys_in, keys_out, values_in, values_out, n,              \
                                      is_descending, begin_bit, end_bit, stream);                               \
    }                                                                                                           \
    template <typename Key, typename Value, typename Count>                                                     \
    static cudaError_t SortPairs##suffix(void* storage, size_t& bytes, DoubleBuffer<Key>& keys,                 \
                                         DoubleBuffer<Value>& values, Count n, int begin_bit = 0,               \
                                         int end_bit = sizeof(Key) * 8, cudaStream_t stream = nullptr)          \
    {                                                                                                           \
        cudaError_t error = SortPairs##suffix(storage, bytes, keys.Current(), keys.Alternate(), values.Current(), \
                                              values.Alternate(), n, begin_bit, end_bit, stream);               \
        if (storage) keys.selector ^= 1, values.selector ^= 1;                                                  \
        return error;                                                                                           \
    }                                                                                                           \
    template <typename Key, typename Count>                                                                     \
    static cudaError_t SortKeys##suffix(void* storage, size_t& bytes, const Key* keys_in, Key* keys_out, Count n, \
                                        int begin_bit = 0, int end_bit = sizeof(Key) * 8,                       \
                                        cudaStream_t stream = nullptr)                                          \
    {                                                                                                           \
        const char* none = nullptr;                                                                             \
        return emulation::sort_device(storage, bytes, keys_in, keys_out, none, const_cast<char*>(none), n,      \
                                      is_descending, begin_bit, end_bit, stream);                               \
    }
struct DeviceRadixSort {
    EMULATED_SORTS(, false)
    EMULATED_SORTS(Descending, true)
};
#undef EMULATED_SORTS

#define EMULATED_SEGMENTED_SORTS(prefix, suffix, is_descending)                                                 \
    template <typename Key, typename Value, typename Begin, typename End>                                       \
    static cudaError_t prefix##SortPairs##suffix(                                                               \
        void* storage, size_t& bytes, const Key* keys_in, Key* keys_out, const Value* values_in, Value* values_out, \
        int64_t n, int64_t segments, Begin begins, End ends, cudaStream_t stream = nullptr)                     \
    {                                                                                                           \
        return emulation::sort_segments(storage, bytes, keys_in, keys_out, values_in, values_out, n, segments, begins, \
                                        ends, is_descending, 0, sizeof(Key) * 8, stream);                       \
    }                                                                                                           \
    template <typename Key, typename Begin, typename End>                                                       \
    static cudaError_t prefix##SortKeys##suffix(void* storage, size_t& bytes, const Key* keys_in, Key* keys_out, \
                                                int64_t n, int64_t segments, Begin begins, End ends,            \
                                                cudaStream_t stream = nullptr)                                  \
    {                                                                                                           \
        const char* none = nullptr;                                                                             \
        return emulation::sort_segments(storage, bytes, keys_in, keys_out, none, const_cast<char*>(none), n, segments, \
                                        begins, ends, is_descending, 0, sizeof(Key) * 8, stream);               \
    }
struct DeviceSegmentedSort {
    EMULATED_SEGMENTED_SORTS(, , false)
    EMULATED_SEGMENTED_SORTS(, Descending, true)
    EMULATED_SEGMENTED_SORTS(Stable, , false)
    EMULATED_SEGMENTED_SORTS(Stable, Descending, true)
};
#undef EMULATED_SEGMENTED_SORTS

#define EMULATED_SEGMENTED_RADIX_SORTS(suffix, is_descending)                                                   \
    template <typename Key, typename Value, typename Begin, typename End>                                       \
    static cudaError_t SortPairs##suffix(void* storage, size_t& bytes, const Key* keys_in, Key* keys_out,       \
                                         const Value* values_in, Value* values_out, int n, int segments,        \
                                         Begin begins, End ends, int begin_bit = 0,                             \
                                         int end_bit = sizeof(Key) * 8, cudaStream_t stream = nullptr)          \
    {                                                                                                           \
        return emulation::sort_segments(storage, bytes, keys_in, keys_out, values_in, values_out, n, segments, begins, \
                                        ends, is_descending, begin_bit, end_bit, stream);                       \
    }                                                                                                           \
    template <typename Key, typename Begin, typename End>                                                       \
    static cudaError_t SortKeys##suffix(void* storage, size_t& bytes, const Key* keys_in, Key* keys_out, int n, \
                                        int segments, Begin begins, End ends, int begin_bit = 0,                \
                                        int end_bit = sizeof(Key) * 8, cudaStream_t stream = nullptr)           \
    {                                                                                                           \
        const char* none = nullptr;                                                                             \
        return emulation::sort_segments(storage, bytes, keys_in, keys_out, none, const_cast<char*>(none), n, segments, \
                                        begins, ends, is_descending, begin_bit, end_bit, stream);               \
    }
struct DeviceSegmentedRadixSort {
    EMULATED_SEGMENTED_RADIX_SORTS(, false)
    EMULATED_SEGMENTED_RADIX_SORTS(Descending, true)
};
#undef EMULATED_SEGMENTED_RADIX_SORTS

// In place, by a comparison; stable whatever it is called.
struct DeviceMergeSort {
    template <typename Keys, typename Items, typename Count, typename Less>
    static cudaError_t StableSortPairs(void* storage, size_t& bytes, Keys keys, Items items, Count n, Less is_less,
                                       cudaStream_t stream = nullptr)
    {
        using Key = emulation::value_of_iterator<Keys>;
        using Item = emulation::value_of_iterator<Items>;
        size_t needed = static_cast<size_t>(n) * (sizeof(Key) + sizeof(Item));
        return emulation::device_algorithm(storage, bytes, needed, stream, [=]() mutable {
            for (Count i = 1; i < n; i++) {  // by insertion: tests sort few elements by comparison
                Key key = keys[i];
                Item item = items[i];
                Count j = i;
                for (; j > 0 && is_less(key, keys[j - 1]); j--) {
                    keys[j] = keys[j - 1];
                    items[j] = items[j - 1];
                }
                keys[j] = key;
                items[j] = item;
            }
        });
    }
    template <typename Keys, typename Count, typename Less>
    static cudaError_t StableSortKeys(void* storage, size_t& bytes, Keys keys, Count n, Less is_less,
                                      cudaStream_t stream = nullptr)
    {
        return StableSortPairs(storage, bytes, keys, keys, n, is_less, stream);
    }
    template <typename... Arguments> static cudaError_t SortPairs(Arguments&&... arguments)
    {
        return StableSortPairs(static_cast<Arguments&&>(arguments)...);
    }
    template <typename... Arguments> static cudaError_t SortKeys(Arguments&&... arguments)
    {
        return StableSortKeys(static_cast<Arguments&&>(arguments)...);
    }
};

}  // namespace cub
