// Atomics, cached loads and streaming stores: plain accesses, as one thread runs at a time.
#pragma once

namespace emulation {
template <typename T, typename Change> T exchange(T* address, Change change)
{
    T old = *address;
    *address = change(old);
    return old;
}
}  // namespace emulation

#define EMULATED_ATOMIC(name, type, expression)                                       \
    static inline type name(type* address, type value)                                \
    {                                                                                 \
        return emulation::exchange(address, [=](type old) -> type { return expression; }); \
    }
#define EMULATED_ATOMICS(scope)                                                       \
    EMULATED_ATOMIC(atomicAdd##scope, int, static_cast<int>(static_cast<unsigned>(old) + static_cast<unsigned>(value))) \
    EMULATED_ATOMIC(atomicAdd##scope, unsigned, old + value)                          \
    EMULATED_ATOMIC(atomicAdd##scope, unsigned long long, old + value)                \
    EMULATED_ATOMIC(atomicAdd##scope, float, old + value)                             \
    EMULATED_ATOMIC(atomicAdd##scope, double, old + value)                            \
    EMULATED_ATOMIC(atomicSub##scope, int, static_cast<int>(static_cast<unsigned>(old) - static_cast<unsigned>(value))) \
    EMULATED_ATOMIC(atomicSub##scope, unsigned, old - value)                          \
    EMULATED_ATOMIC(atomicMin##scope, int, old < value ? old : value)                 \
    EMULATED_ATOMIC(atomicMin##scope, unsigned, old < value ? old : value)            \
    EMULATED_ATOMIC(atomicMin##scope, long long, old < value ? old : value)           \
    EMULATED_ATOMIC(atomicMin##scope, unsigned long long, old < value ? old : value)  \
    EMULATED_ATOMIC(atomicMax##scope, int, old > value ? old : value)                 \
    EMULATED_ATOMIC(atomicMax##scope, unsigned, old > value ? old : value)            \
    EMULATED_ATOMIC(atomicMax##scope, long long, old > value ? old : value)           \
    EMULATED_ATOMIC(atomicMax##scope, unsigned long long, old > value ? old : value)  \
    EMULATED_ATOMIC(atomicExch##scope, int, (static_cast<void>(old), value))          \
    EMULATED_ATOMIC(atomicExch##scope, unsigned, (static_cast<void>(old), value))     \
    EMULATED_ATOMIC(atomicExch##scope, unsigned long long, (static_cast<void>(old), value)) \
    EMULATED_ATOMIC(atomicExch##scope, float, (static_cast<void>(old), value))        \
    EMULATED_ATOMIC(atomicAnd##scope, int, old & value)                               \
    EMULATED_ATOMIC(atomicAnd##scope, unsigned, old & value)                          \
    EMULATED_ATOMIC(atomicAnd##scope, unsigned long long, old & value)                \
    EMULATED_ATOMIC(atomicOr##scope, int, old | value)                                \
    EMULATED_ATOMIC(atomicOr##scope, unsigned, old | value)                           \
    EMULATED_ATOMIC(atomicOr##scope, unsigned long long, old | value)                 \
    EMULATED_ATOMIC(atomicXor##scope, int, old ^ value)                               \
    EMULATED_ATOMIC(atomicXor##scope, unsigned, old ^ value)                          \
    EMULATED_ATOMIC(atomicXor##scope, unsigned long long, old ^ value)                \
    EMULATED_ATOMIC(atomicInc##scope, unsigned, old >= value ? 0 : old + 1)           \
    EMULATED_ATOMIC(atomicDec##scope, unsigned, old == 0 || old > value ? value : old - 1)
EMULATED_ATOMICS()
EMULATED_ATOMICS(_block)
EMULATED_ATOMICS(_system)
#undef EMULATED_ATOMICS
#undef EMULATED_ATOMIC

#define EMULATED_CAS(type)                                                            \
    static inline type atomicCAS(type* address, type compare, type value)             \
    {                                                                                 \
        return emulation::exchange(address, [=](type old) { return old == compare ? value : old; }); \
    }
EMULATED_CAS(int)
EMULATED_CAS(unsigned)
EMULATED_CAS(unsigned long long)
EMULATED_CAS(unsigned short)
#undef EMULATED_CAS

template <typename T> T __ldg(const T* address) { return *address; }
template <typename T> T __ldcg(const T* address) { return *address; }
template <typename T> T __ldca(const T* address) { return *address; }
template <typename T> T __ldcs(const T* address) { return *address; }
template <typename T> T __ldlu(const T* address) { return *address; }
template <typename T> T __ldcv(const T* address) { return *address; }
template <typename T> void __stwb(T* address, T value) { *address = value; }
template <typename T> void __stcg(T* address, T value) { *address = value; }
template <typename T> void __stcs(T* address, T value) { *address = value; }
template <typename T> void __stwt(T* address, T value) { *address = value; }
