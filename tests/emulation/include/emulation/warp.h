// Barriers and exchanges between the threads of a block and the lanes of a warp.
#pragma once

#include <time.h>  // clock()

#include "emulation/block.h"

static inline void __syncthreads() { emulation::meet_block(0); }
static inline int __syncthreads_count(int predicate) { return emulation::meet_block(predicate).count; }
static inline int __syncthreads_or(int predicate) { return emulation::meet_block(predicate).count != 0; }
static inline int __syncthreads_and(int predicate)
{
    emulation::Votes votes = emulation::meet_block(predicate);
    return votes.count == votes.threads;
}

static inline void __syncwarp(unsigned mask = 0xffffffffu)
{
    emulation::leave_warp(emulation::meet_warp(mask, "__syncwarp", nullptr, 0));
}

// Any subset of the lanes that are together is a right answer; this one finds code that assumes a whole warp.
static inline unsigned __activemask() { return 1u << emulation::current_lane; }

namespace emulation {

// What `lane` of the warp brought. A lane that is not there gives the poison pattern.
template <typename T> T value_of(const Meeting* meeting, unsigned lane)
{
    T value;
    memcpy(&value, meeting->values[lane], sizeof(T));
    return value;
}

template <typename T, typename Source>
T shuffle(unsigned mask, const char* operation, const T& value, int width, Source source)
{
    static_assert(sizeof(T) <= 16);
    if (width <= 0 || width > 32 || (width & (width - 1))) stop("%s: width %d is no power of two", operation, width);
    const Meeting* meeting = meet_warp(mask, operation, &value, sizeof(T));
    int first = static_cast<int>(current_lane) & ~(width - 1);
    int from = source(static_cast<int>(current_lane), first, first + width - 1);
    T result = value_of<T>(meeting, static_cast<unsigned>(from));
    leave_warp(meeting);
    return result;
}

template <typename T, typename Combine>
T reduce_warp(unsigned mask, const char* operation, T value, Combine combine)
{
    const Meeting* meeting = meet_warp(mask, operation, &value, sizeof(T));
    bool is_first = true;
    T result{};
    for (unsigned rest = meeting->present; rest; rest &= rest - 1) {
        T one = value_of<T>(meeting, static_cast<unsigned>(__builtin_ctz(rest)));
        result = is_first ? one : combine(result, one);
        is_first = false;
    }
    leave_warp(meeting);
    return result;
}

}  // namespace emulation

template <typename T> T __shfl_sync(unsigned mask, T value, int lane, int width = 32)
{
    return emulation::shuffle(mask, "__shfl_sync", value, width,
                              [=](int, int first, int) { return first + (lane & (width - 1)); });
}
template <typename T> T __shfl_up_sync(unsigned mask, T value, unsigned delta, int width = 32)
{
    return emulation::shuffle(mask, "__shfl_up_sync", value, width, [=](int own, int first, int) {
        int from = own - static_cast<int>(delta);
        return from < first ? own : from;
    });
}
template <typename T> T __shfl_down_sync(unsigned mask, T value, unsigned delta, int width = 32)
{
    return emulation::shuffle(mask, "__shfl_down_sync", value, width, [=](int own, int, int last) {
        int from = own + static_cast<int>(delta);
        return from > last ? own : from;
    });
}
template <typename T> T __shfl_xor_sync(unsigned mask, T value, int lane_mask, int width = 32)
{
    return emulation::shuffle(mask, "__shfl_xor_sync", value, width, [=](int own, int, int last) {
        int from = own ^ lane_mask;
        return from > last ? own : from;
    });
}

static inline unsigned __ballot_sync(unsigned mask, int predicate)
{
    unsigned bit = predicate ? 1u << emulation::current_lane : 0;
    return emulation::reduce_warp(mask, "__ballot_sync", bit, [](unsigned a, unsigned b) { return a | b; });
}
static inline int __any_sync(unsigned mask, int predicate)
{
    return emulation::reduce_warp(mask, "__any_sync", predicate != 0, [](bool a, bool b) { return a || b; });
}
static inline int __all_sync(unsigned mask, int predicate)
{
    return emulation::reduce_warp(mask, "__all_sync", predicate != 0, [](bool a, bool b) { return a && b; });
}
template <typename T> unsigned __match_any_sync(unsigned mask, T value)
{
    const emulation::Meeting* meeting = emulation::meet_warp(mask, "__match_any_sync", &value, sizeof(T));
    unsigned same = 0;
    for (unsigned lane = 0; lane < 32; lane++) {
        bool is_there = meeting->present >> lane & 1;
        if (is_there && memcmp(meeting->values[lane], &value, sizeof(T)) == 0) same |= 1u << lane;
    }
    emulation::leave_warp(meeting);
    return same;
}

#define EMULATED_WARP_REDUCTION(name, type, expression)                                         \
    static inline type name(unsigned mask, type value)                                          \
    {                                                                                           \
        return emulation::reduce_warp(mask, #name, value, [](type a, type b) -> type { return expression; }); \
    }
EMULATED_WARP_REDUCTION(__reduce_add_sync, unsigned, a + b)
EMULATED_WARP_REDUCTION(__reduce_add_sync, int, static_cast<int>(static_cast<unsigned>(a) + static_cast<unsigned>(b)))
EMULATED_WARP_REDUCTION(__reduce_min_sync, unsigned, a < b ? a : b)
EMULATED_WARP_REDUCTION(__reduce_min_sync, int, a < b ? a : b)
EMULATED_WARP_REDUCTION(__reduce_max_sync, unsigned, a > b ? a : b)
EMULATED_WARP_REDUCTION(__reduce_max_sync, int, a > b ? a : b)
EMULATED_WARP_REDUCTION(__reduce_and_sync, unsigned, a & b)
EMULATED_WARP_REDUCTION(__reduce_or_sync, unsigned, a | b)
EMULATED_WARP_REDUCTION(__reduce_xor_sync, unsigned, a ^ b)
#undef EMULATED_WARP_REDUCTION

// Threads are fibers of one processor thread: what one writes, the next one sees.
static inline void __threadfence() {}
static inline void __threadfence_block() {}
static inline void __threadfence_system() {}
static inline void __nanosleep(unsigned) {}
[[noreturn]] static inline void __trap() { emulation::stop("a kernel called __trap()"); }
static inline long long clock64() { return static_cast<long long>(__builtin_ia32_rdtsc()); }
